"""Competition in a layer: at most one neuron fires in a step; and the thresholds by which it gets harder to."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import EventKind, SliceLayout, bits_for_index
from lifstream.hdl.layer.competing import CandidateLayout, CompetingUnit, adaptive_bits
from lifstream.hdl.layer.part import Emission, LayerPart
from lifstream.hdl.layer.slots import table

__all__ = ["Competition", "ThresholdAccess"]

_THRESHOLD_LATENCY = 4
"""Clocks from asking the groups for an adaptive threshold to its answer."""


class Competition(Emission):
    """The groups' candidates meet in a tree of comparators, one level per clock; the winner leaves as an event and is
    told to the groups with the next step, which therefore waits for it.

    Latency: ``log2(groups) + 1`` clocks from the groups' candidates to the winner's slice, ``lanes per group x folds +
    log2(groups) + 16`` from a step's end to its winner. Throughput: a step per that many clocks at the most.
    Comparators: two per group, of the membrane's width. No multiplier, no memory.
    """

    @property
    def slice_layout(self) -> SliceLayout:
        """The winner."""
        return SliceLayout(1, unsigned(bits_for_index(self._geometry.n_out)))

    @property
    def slice_depth(self) -> int:
        """A few steps."""
        return 4

    @property
    def outer(self) -> tuple[str, ...]:
        """Whether the layer's neurons are silent is for all to know."""
        return ("fired",)

    def _own_ports(self) -> dict[str, Any]:
        geometry = self._geometry
        return {
            "candidate": In(CandidateLayout(self._at, geometry)).array(geometry.groups),
            "candidate_ready": In(1).array(geometry.groups),
            "stepping": In(1), "fold": In(bits_for_index(geometry.folds)), "last_fold": In(1),
            "event_kind": In(EventKind),
            "refreshing": In(1),        # sums of weights, on which thresholds depend, are being made up
            "begin": In(1),             # pulse: a sample to learn from starts
            "fired": Out(1),            # a neuron has, in that sample
            "awaiting": Out(1),         # the step's winner is being found
            **{name: Out(shape) for name, shape in CompetingUnit.slot_fields(geometry).items()},
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self._geometry
        awaiting, won, fired = Signal(), Signal(name="won_now"), Signal(name="fired_now")
        winner = Signal(CandidateLayout(self._at, geometry))
        marker = Signal(EventKind)
        best, ready = self._tournament(m)
        with m.If(self.stepping & self.last_fold):
            m.d.sync += [awaiting.eq(1), marker.eq(self.event_kind)]
        found = Signal()
        m.d.sync += found.eq(ready)
        with m.If(ready):
            m.d.sync += [winner.eq(best), won.eq(best.valid)]
        with m.If(found):
            m.d.sync += awaiting.eq(0)
            with m.If(won):
                m.d.sync += fired.eq(1)
        with m.If(self.begin):
            m.d.sync += fired.eq(0)
        neuron = winner.group + table(m, winner.lane, geometry.lanes_per_group, geometry.groups)
        if geometry.folds > 1:
            neuron = neuron + table(m, winner.fold, geometry.folds, geometry.lanes)
        slices = self.slices
        m.d.comb += [
            slices.valid.eq(found), slices.p.mask.eq(won), slices.p.tag.eq(neuron), slices.p.kind.eq(marker),
            self.needed.eq(self.last_fold), self.fired.eq(fired), self.awaiting.eq(awaiting),
            # Thresholds depend on the sums of the weights.
            self.may_step.eq(~awaiting & ~self.refreshing),
            self.won.eq(won), self.winner_fold.eq(winner.fold), self.winner_lane.eq(winner.lane),
            self.winner_group.eq(winner.group), self.opening.eq(self.fold == 0),
        ]
        with m.If(self.announce):
            m.d.comb += [slices.valid.eq(1), slices.p.mask.eq(0), slices.p.kind.eq(EventKind.LEARN)]
        return m

    def _tournament(self, m: Module) -> tuple[Signal, Value]:
        """The groups' best candidate, lowest neuron on ties, and when it is known: a level per clock."""
        level: list[data.View] = list(self.candidate)
        ready: Value = self.candidate_ready[0]
        depth = 0
        layout = CandidateLayout(self._at, self._geometry)
        while len(level) > 1:
            winners = []
            for index in range(0, len(level), 2):
                winner = Signal(layout, name=f"candidate_{depth}_{index // 2}", reset_less=True)
                first = level[index]
                m.d.sync += winner.eq(first)
                if index + 1 < len(level):
                    second = level[index + 1]
                    # Groups ascend from first to second, so equals in fold and lane leave the first in place.
                    sooner = (second.fold < first.fold) | ((second.fold == first.fold) & (second.lane < first.lane))
                    better = (second.above > first.above) | ((second.above == first.above) & sooner)
                    with m.If(second.valid & (~first.valid | better)):
                        m.d.sync += winner.eq(second)
                winners.append(winner)
            later = Signal(name=f"candidate_ready_{depth}")
            m.d.sync += later.eq(ready)
            level, ready, depth = winners, later, depth + 1
        return level[0], ready


class ThresholdAccess(LayerPart):
    """Adaptive thresholds on their way in and out, one at a time, in the order of the neurons.

    Latency: 7 clocks from a pulse to the first. Throughput: one per clock in, one per 7 clocks out. Adders: three
    counters. No multiplier, no memory.
    """

    @property
    def outer(self) -> tuple[str, ...]:
        """They are state that the host loads and reads."""
        return ("thresholds", "read_thresholds", "threshold_readback")

    @property
    def state_items(self) -> dict[str, int]:
        """One per neuron."""
        return {"thresholds": self._geometry.n_out}

    @property
    def memories(self) -> list[dict[str, Any]]:
        """An adaptive threshold stands in word ``fold * lanes_per_group + lane``."""
        signals = [f"group_{group}.membrane_unit.neuron.adaptives" for group in range(self._geometry.groups)]
        return [{"quantity": "adaptive threshold", "signals": signals,
                 "lanes_per_group": self._geometry.lanes_per_group}]

    def _ports(self) -> dict[str, Any]:
        geometry, bits = self._geometry, adaptive_bits(self._at)
        address = bits_for_index(geometry.folds * geometry.lanes_per_group)
        items = stream.Signature(unsigned(bits))
        return {
            "thresholds": In(items),        # then from the start
            "read_thresholds": In(1),       # pulse: send all of them ...
            "threshold_readback": Out(items),   # ... here
            "adapt": Out(data.StructLayout({"enable": 1, "address": address, "value": bits})),
            "adapt_group": Out(geometry.groups),
            "adapted": In(bits).array(geometry.groups),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self._geometry
        adapt, select = Signal.like(self.adapt, name="adapt_now"), Signal(geometry.groups)
        m.d.comb += [self.adapt.eq(adapt), self.adapt_group.eq(select)]
        groups = geometry.groups
        neuron = Signal(range(geometry.n_out + 1))
        group = Signal(bits_for_index(groups))
        address = Signal(bits_for_index(geometry.folds * geometry.lanes_per_group))
        wait = Signal(range(_THRESHOLD_LATENCY + 1))
        following = Signal()
        m.d.sync += [select.eq(0), adapt.address.eq(address),
                     adapt.value.eq(self.thresholds.payload)]
        m.d.comb += self.threshold_readback.payload.eq(Array(self.adapted)[group])
        with m.If(following):
            m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1)]
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), address.eq(address + 1)]
            with m.If(neuron == geometry.n_out - 1):
                m.d.sync += [neuron.eq(0), group.eq(0), address.eq(0)]
        with m.FSM(name="threshold_state"):
            with m.State("LOAD"):
                m.d.comb += self.thresholds.ready.eq(1)
                with m.If(self.read_thresholds):
                    m.next = "ASK"
                with m.If(self.thresholds.valid):
                    m.d.comb += following.eq(1)
                    m.d.sync += select.eq(1 << group)
            with m.State("ASK"):
                m.d.sync += wait.eq(_THRESHOLD_LATENCY)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.threshold_readback.valid.eq(1)
                with m.If(self.threshold_readback.ready):
                    m.d.comb += following.eq(1)
                    m.next = "ASK"
                    with m.If(neuron == geometry.n_out - 1):
                        m.next = "LOAD"
        return m

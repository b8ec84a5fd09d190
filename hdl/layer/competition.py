"""Competition in a layer: at most one neuron fires in a step."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import EventKind, SliceLayout, bits_for_index
from lifstream.hdl.layer.competing import CandidateLayout, CompetingUnit
from lifstream.hdl.layer.part import Emission
from lifstream.hdl.layer.slots import table

__all__ = ["Competition"]


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

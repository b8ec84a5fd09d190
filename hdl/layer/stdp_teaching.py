"""What a layer does to learn by spike-timing-dependent plasticity."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import unsigned_bits
from lifstream.golden.contract.rules import Bounds, PairStdp
from lifstream.hdl.layer.part import Teaching
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind
from lifstream.hdl.layer.stdp_lanes import StdpLanes, stdp_rule

__all__ = ["StdpTeaching"]


class StdpTeaching(Teaching):
    """One item says whether the sample is rewarded or punished, and is passed on to the layer before. Adaptive
    thresholds rise and leak; then, if a neuron fired, all rows change.

    Latency: 1 clock and a SETTLE slot per fold from the item to the update, 1 more to pass it on. Throughput: update
    ``n_in x folds`` times ``max(T / unroll + 2, shifts + 7)`` clocks, with at most ``log2(pair sum) + 1`` shifts (31
    with stochastic rounding). Adders: one of the rate's width. No multiplier, no memory.
    """

    phases = (LayerPhase.RECEIVE, LayerPhase.PASS, LayerPhase.SETTLE)
    every_row = True
    lead = 3
    rate_bits = 6

    @property
    def slot_kind(self) -> SlotKind | None:
        """Adaptive thresholds change once per sample."""
        return SlotKind.SETTLE

    @property
    def _room_shift(self) -> int:
        """The most by which the room left lets a lane shift further."""
        return self._at.formats.weight_fraction if self._stdp.bounds is Bounds.SOFT else 0

    @property
    def deepest_bits(self) -> int:
        """A constant's."""
        return unsigned_bits(self._room_shift)

    @property
    def shifts_max(self) -> int:
        """Rounded half up, nothing is left after so many shifts; a random word can carry from further away."""
        return 31 if self._at.rounds_at_random else StdpLanes.size_bits(self._at) + 1

    @property
    def keeps_sums(self) -> bool:
        """Heavy neurons are harder to fire."""
        return self._stdp.weight_sum > 0

    @property
    def _stdp(self) -> PairStdp:
        return stdp_rule(self._at)

    def _own_ports(self) -> dict[str, Any]:
        return {
            "fired": In(1),         # a neuron has, in the sample
            "awaiting": In(1),      # the last step's winner is not known yet
            "unhurried": In(1),     # a fold may be served
            "punished": Out(1),     # changes have the opposite sign
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stdp = self._stdp
        phase, learning = Signal(LayerPhase, name="phase_now"), Signal(name="learning_now")
        punished, rate = Signal(name="punished_now"), Signal.like(self.shift_rate, name="rate_now")
        m.d.comb += [self.phase.eq(phase), self.learning.eq(learning), self.punished.eq(punished),
                     self.shift_rate.eq(rate), self.deepest.eq(self._room_shift)]
        with m.If(self.begin):
            m.d.sync += learning.eq(1)
        with m.If(self.over):
            m.d.sync += phase.eq(LayerPhase.RECEIVE)
        with m.If(phase == LayerPhase.RECEIVE):
            m.d.comb += self.desires.ready.eq(~self.awaiting)
            with m.If(self.desires.valid & self.desires.ready):
                m.d.sync += [punished.eq(self.desires.p.negative),
                             phase.eq(LayerPhase.PASS if not self._at.first else LayerPhase.SETTLE)]
        if not self._at.first:
            m.d.comb += self.back.payload.eq(Cat(Const(0, 1), Const(1, 1), punished))  # not to be skipped; active
            with m.If(phase == LayerPhase.PASS):
                m.d.comb += self.back.valid.eq(1)
                with m.If(self.back.ready):
                    m.d.sync += phase.eq(LayerPhase.SETTLE)
        m.d.comb += self.own_slot.eq((phase == LayerPhase.SETTLE) & self.unhurried)
        with m.If(self.own_slot & self.last_fold):
            m.d.sync += [phase.eq(Mux(self.fired, LayerPhase.UPDATE, LayerPhase.FORWARD)), learning.eq(self.fired)]
        with m.If(self.finish):
            m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        m.d.sync += rate.eq(self.rate + stdp.gain_shift + Mux(punished, stdp.punishment_shift, 0))
        return m

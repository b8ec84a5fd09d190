"""Neurons of which at most one fires in a step, with adaptive thresholds: a group's share of the competition.

Who fires is known only when all neurons of the layer have been compared, so reset and inhibition are applied when a
potential is next read::

    slot -> potential, adaptive threshold, weight sum of a neuron
         -> threshold -> reset or inhibit -> leak -> add current -> clamp -> above threshold? -> best of the group
                |                                      |
                +-> rises if it won -> written         +-> written
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import signed_bits, unsigned_bits
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.neurons import CompetingLif
from lifstream.hdl.arithmetic import leak
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.arrays import entry_ports
from lifstream.hdl.layer.membrane import NeuronUnit, TagLayout, carried
from lifstream.hdl.layer.slots import SlotKind

__all__ = ["CandidateLayout", "CompetingUnit", "adaptive_bits", "weight_sum_bits"]


def adaptive_bits(at: PlacedLayer) -> int:
    """Width of an adaptive threshold."""
    return unsigned_bits(at.state_array("thresholds").high)


def weight_sum_bits(at: PlacedLayer) -> int:
    """Width of the sum of a neuron's weights."""
    return unsigned_bits(at.synapses.fan_in * (at.formats.one - 1))


class CandidateLayout(data.StructLayout):
    """The neuron of a group, or of several, that is highest above its threshold, if any has reached it."""

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry) -> None:
        super().__init__({
            "valid": 1,
            "above": at.membrane_bits,
            # In this order of significance: neurons ascend with fold, then lane, then group.
            "fold": bits_for_index(geometry.folds),
            "lane": bits_for_index(geometry.lanes_per_group),
            "group": bits_for_index(geometry.groups),
        })


class CompetingUnit(NeuronUnit):
    """Thresholds, a reset that is put off, and the best of the group.

    Latency: 4 clocks from a recalled potential to the leaked one; 1 from the clamped one to the candidate. Adders: 8 of
    the membrane's width. No multiplier. Memory: an adaptive threshold per neuron.
    """

    recall_stages = 4
    store_stages = 0
    starts = (SlotKind.STEP, SlotKind.SETTLE)

    @classmethod
    def slot_fields(cls, geometry: LayerGeometry) -> dict[str, Any]:
        """Who fired in the step before."""
        return {
            "won": 1,               # STEP, SETTLE: a neuron did
            "winner_fold": bits_for_index(geometry.folds),
            "winner_lane": bits_for_index(geometry.lanes_per_group),
            "winner_group": bits_for_index(geometry.groups),
            "opening": 1,           # STEP: the step's first fold
        }

    def layer_ports(self) -> tuple[str, ...]:
        """Candidates go out; adaptive thresholds are loaded and read."""
        return ("candidate", "candidate_ready", "entry", "entry_read")

    @property
    def _neuron(self) -> CompetingLif:
        assert isinstance(self._at.neuron, CompetingLif)
        return self._at.neuron

    @property
    def _real(self) -> int:
        """Addresses of this group that are neurons; the others, at the end, are padding."""
        geometry = self._geometry
        addresses = range(geometry.folds * geometry.lanes_per_group)
        return sum(address * geometry.groups + self._index < geometry.n_out for address in addresses)

    @property
    def _threshold(self) -> Shape:
        """Shape of a threshold."""
        at, neuron = self._at, self._neuron
        highest = at.state_array("thresholds").high + at.synapses.fan_in * (at.formats.one - 1)
        return signed(signed_bits(neuron.threshold_base - neuron.weight_sum, highest + neuron.threshold_base))

    def _driven_shape(self) -> Shape:
        membrane, inhibition = self._at.membrane_bits, signed_bits(0, self._neuron.inhibition)
        return signed(max(self._threshold.width, membrane, inhibition) + 1)

    def _tag(self) -> TagLayout:
        return TagLayout(self._geometry, ("address", "lane", "fold"), {
            "settle": 1, "write": 1, "real": 1, "begin": 1, "final": 1, "winner": 1, "inhibited": 1, "rises": 1})

    def _own_ports(self) -> dict[str, Any]:
        at, geometry = self._at, self._geometry
        summed = {"served_sum": In(weight_sum_bits(at))} if self._neuron.weight_sum else {}
        return {
            **entry_ports(at, geometry),    # adaptive thresholds
            "candidate": Out(CandidateLayout(at, geometry)),
            "candidate_ready": Out(1),  # pulse: it is the step's
            **summed,                   # what the weights of the neuron being served come to
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        known = self._begin(m)
        then, now = self._thresholds(m, known)
        neuron, tags = self._neuron, self.tags
        # 3: reset or inhibit. 4: leak.
        after, leaked = (Signal(self.driven_shape, name=name, reset_less=True) for name in ("after", "leaked"))
        lost = Signal(self.driven_shape)
        m.d.comb += lost.eq(Mux(tags[2].winner, then, Mux(tags[2].inhibited, neuron.inhibition, 0)))
        m.d.sync += [after.eq(carried(m, self.recalled, 2) - lost), leaked.eq(leak(after, self._neuron.leak_shift))]
        m.d.comb += [self.driven.eq(leaked), self.stored.eq(self.integrated), self.stores.eq(~tags[-1].settle)]
        self._compare(m, carried(m, now, 4))
        return m

    def _begin(self, m: Module) -> Signal:
        """What is to be known of the neuron being served; returns its adaptive threshold."""
        at, geometry = self._at, self._geometry
        adaptive = unsigned(adaptive_bits(at))
        depth = max(2, geometry.folds * geometry.lanes_per_group)
        m.submodules.thresholds = self._adaptives = memory.Memory(shape=adaptive, depth=depth, init=[])
        remind = self._adaptives.read_port(domain="comb")
        slot, lane = self.serving_slot, self.lane
        settling = slot.kind == SlotKind.SETTLE
        # A sample's first step starts from nothing; at its end the last winner is still to be told (SETTLE).
        told = slot.won & (settling | ~slot.first)
        here = told & (slot.winner_group == self._index) & (slot.winner_fold == slot.fold) & (slot.winner_lane == lane)
        final = (lane == geometry.lanes_per_group - 1) & (slot.fold == geometry.folds - 1)
        m.d.comb += [
            self.own.settle.eq(settling), self.own.write.eq(slot.learn), self.own.real.eq(self.address < self._real),
            self.own.begin.eq(slot.opening & (lane == 0)), self.own.final.eq(final & ~settling),
            self.own.winner.eq(here), self.own.inhibited.eq(told & ~here), self.own.rises.eq(here & slot.learn),
            remind.addr.eq(Mux(self.entry.asks, self.entry.address, self.address)),
        ]
        known = Signal(adaptive, reset_less=True)
        m.d.sync += [known.eq(remind.data), self.entry_read.eq(remind.data)]
        return known

    def _thresholds(self, m: Module, known: Signal) -> tuple[Signal, Signal]:
        """The neuron's threshold as it was when it fired, and as it is now; the adaptive part changes."""
        neuron, tags = self._neuron, self.tags
        weight_sum: Value | int = 0
        if neuron.weight_sum:
            weight_sum = Signal.like(self.served_sum, name="weight_sum", reset_less=True)
            m.d.sync += weight_sum.eq(self.served_sum)
        # 1: base, adaptive part and weight sum. 2: then and now.
        total, then, now = (Signal(self._threshold, name=name, reset_less=True) for name in ("base", "then", "now"))
        risen = Signal(self._threshold)
        m.d.comb += risen.eq(total + Mux(tags[1].rises, neuron.threshold_rise, 0))
        m.d.sync += [total.eq(known + weight_sum + (neuron.threshold_base - neuron.weight_sum)),
                     then.eq(Mux(total < 1, 1, total)), now.eq(Mux(risen < 1, 1, risen))]
        # It rises, and leaks when the sample is over.
        grown, decayed = (Signal.like(known, name=name) for name in ("grown", "decayed"))
        m.d.sync += [
            grown.eq(carried(m, known, 1) + Mux(tags[1].rises, neuron.threshold_rise, 0)),
            decayed.eq(grown - Mux(tags[2].settle, grown >> neuron.threshold_leak_shift, 0)),
        ]
        write = self._adaptives.write_port()
        m.d.comb += [
            write.addr.eq(Mux(self.entry.enable, self.entry.address, tags[3].address)),
            write.data.eq(Mux(self.entry.enable, self.entry.number, decayed)),
            write.en.eq(self.entry.enable | (self.valid[3] & tags[3].write)),
        ]
        return then, now

    def _compare(self, m: Module, threshold: Signal) -> None:
        """The highest above its threshold, the first of equals."""
        tag, valid, best = self.tags[-1], self.valid[-1], self.candidate
        above = Signal(self.driven_shape)
        m.d.comb += above.eq(self.integrated - threshold)
        better = (above >= 0) & tag.real & (tag.begin | ~best.valid | (above > best.above))
        m.d.comb += best.group.eq(self._index)
        with m.If(valid & ~tag.settle):
            with m.If(better):
                m.d.sync += [best.valid.eq(1), best.above.eq(above), best.lane.eq(tag.lane), best.fold.eq(tag.fold)]
            with m.Elif(tag.begin):
                m.d.sync += best.valid.eq(0)
        m.d.sync += self.candidate_ready.eq(valid & tag.final)

"""Neurons whose step depends on their own potential and current alone: each fires as soon as it has been served."""

from __future__ import annotations

from typing import Any, ClassVar

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import EventKind, bits_for_index
from lifstream.hdl.layer.membrane import NeuronUnit, TagLayout

__all__ = ["Elementwise", "ElementwiseUnit"]


class Elementwise:
    """A neuron's step, stated in Amaranth; a derived class says how it fires and what is left for the next step.

    Parameters
    ----------
    at
        The layer at its place in the network.
    """

    def __init__(self, at: PlacedLayer) -> None:
        self.at = at

    def integrate(self, potential: Value, current: Value) -> Value:
        """What potential and current come to, before the clamp."""
        return potential + current

    def fire(self, potential: Value, threshold: Value) -> tuple[Value, Value]:
        """Whether the neuron fires, and its potential if it has."""
        raise NotImplementedError

    def decay(self, potential: Value) -> Value:
        """What is left of the potential for the next step."""
        raise NotImplementedError


class ElementwiseUnit(NeuronUnit):
    """Has elementwise neurons fire, unless they are dropped.

    Latency: 1 clock from the potential to spike and reset. Adders: those of the neuron, of the membrane's width. No
    multiplier. Memory: with dropout, two sets of a bit per neuron.
    """

    neuron: ClassVar[type[Elementwise]]
    recall_stages = 0
    store_stages = 1

    @property
    def _dropped(self) -> bool:
        """Whether dropout applies to the layer."""
        return self._at.neuron.dropout > 0

    def layer_ports(self) -> tuple[str, ...]:
        """Spikes go out, dropout masks come in."""
        return ("spike", "slice_marker", *(("slice_position",) if self._geometry.walked else ()),
                *(("mask",) if self._dropped else ()))

    def _tag(self) -> TagLayout:
        position = ("position",) if self._geometry.walked else ()
        return TagLayout(self._geometry, ("address", "marker", "masks", *position), {})

    def _own_ports(self) -> dict[str, Any]:
        masks = bits_for_index(2 * self._geometry.folds * self._geometry.lanes_per_group)
        return {
            "fired": Out(1),            # with the potential; a clock later ...
            "spike": Out(1),            # ... the same ...
            "slice_marker": Out(EventKind),     # ... and the marker that follows
            **({"slice_position": Out(bits_for_index(self._geometry.positions))} if self._geometry.walked else {}),
            **({"mask": In(data.StructLayout({"enable": 1, "kept": 1, "address": masks}))} if self._dropped else {}),
        }

    def integrate(self, potential: Value, current: Value) -> Value:
        """As its neuron does."""
        return self._step().integrate(potential, current)

    def _step(self) -> Elementwise:
        """What its neurons do."""
        return self.neuron(self._at)

    def _threshold(self, m: Module) -> Signal:
        """The firing threshold of the neuron whose potential is there."""
        # `learn` is constant while a sample is under way, so it need not travel with the tags.
        inference, training = (self._at.neuron.threshold_in(phase) for phase in Phase)
        threshold = Signal(range(max(inference, training) + 1), reset_less=True)
        m.d.sync += threshold.eq(Mux(self.serving_slot.learn, training, inference))
        return threshold

    def _drive(self, m: Module) -> Value:
        """What a current is added to."""
        value: Value = self.recalled
        return value

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, (firing, fired) = self._geometry, self.tags[-2:]
        neuron, threshold = self._step(), self._threshold(m)
        # A wide membrane may be too narrow to reach the threshold at all.
        potential = Signal(signed(max(len(self.integrated), len(threshold) + 1)))
        m.d.comb += potential.eq(self.integrated)
        fires, reset = neuron.fire(potential, threshold)
        kept: Value | int = 1
        if self._dropped:
            addresses = geometry.folds * geometry.lanes_per_group
            m.submodules.masks = masks = memory.Memory(shape=1, depth=2 * addresses, init=[])
            put, get = masks.write_port(), masks.read_port(domain="comb")
            m.d.comb += [put.addr.eq(self.mask.address), put.data.eq(self.mask.kept), put.en.eq(self.mask.enable),
                         get.addr.eq(firing.address + Mux(firing.masks, addresses, 0))]
            kept = get.data | ~self.serving_slot.learn
        after = Signal.like(self.integrated, name="after", reset_less=True)
        spike = Signal()
        m.d.sync += [spike.eq(self.fired), after.eq(Mux(self.fired, reset, self.integrated))]
        m.d.comb += [
            self.driven.eq(self._drive(m)), self.fired.eq(fires & kept), self.spike.eq(spike),
            self.slice_marker.eq(fired.marker), self.stored.eq(neuron.decay(after)), self.stores.eq(1),
        ]
        if geometry.walked:
            m.d.comb += self.slice_position.eq(fired.position)
        return m

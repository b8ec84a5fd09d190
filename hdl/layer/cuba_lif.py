"""Current-based integrate-and-fire neurons: decay, integrate, clamp, fire, reset, rest.

::

    recall potential -> decay ─────────────────────┐
                                                   + -> clamp -> fire -> write potential
    recall current --> decay -> + spikes' current ─┤
                                                   └──────────────────-> write current

Parameters that each neuron has for itself are read where they are needed, by the address that goes with the neuron.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.neurons import Comparison, CubaLif, Reset
from lifstream.golden.contract.state import StateArray
from lifstream.hdl.arithmetic import decay, decay_stages
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.arrays import array_shape, entry_ports, neuron_arrays
from lifstream.hdl.layer.elementwise import Elementwise, ElementwiseUnit
from lifstream.hdl.layer.membrane import carried

__all__ = ["CubaLifUnit"]


def _neuron(at: PlacedLayer) -> CubaLif:
    assert isinstance(at.neuron, CubaLif)
    return at.neuron


class FireAndReset(Elementwise):
    """When it fires, and where that leads: where it does not subtract, to ``value``, that neuron's."""

    def __init__(self, at: PlacedLayer, value: ValueLike) -> None:
        super().__init__(at)
        self._value = value

    def fire(self, potential: Value, threshold: Value) -> tuple[Value, Value]:
        """One subtraction does for both, unless the reset is to a value, or it never fires."""
        neuron, above = _neuron(self.at), potential - threshold
        if not neuron.fires:
            return Const(0), potential
        fires = above > 0 if neuron.comparison is Comparison.ABOVE else above >= 0
        return fires, above if neuron.reset is Reset.SUBTRACT else Value.cast(self._value)

    def decay(self, potential: Value) -> Value:
        """Nothing: it decays when it is recalled."""
        return potential


class CubaLifUnit(ElementwiseUnit):
    """Decays potential and synaptic current by shifts and additions, when they are recalled.

    Latency: before a current is added, a clock for each level of the larger decay's additions, and one more with a
    synaptic current (:attr:`recall_stages`); a step of a fold waits as much longer for the one before. Adders: 1 of the
    membrane's width beside those that all neurons have; for each decay, one less than there are non-zero digits (-1, 0,
    1) in its numerator, or bits, where neurons have their own; with a synaptic current, 1 of its width. No multiplier.
    Memory: with a synaptic current, one per neuron; with a refractory period, its steps per neuron; each parameter that
    neurons have for themselves, once per neuron.
    """

    neuron = FireAndReset

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, index: int) -> None:
        slow, stages = _neuron(at).current_decay, decay_stages(_neuron(at).potential_decay)
        # The longer of the two ways; what is recalled decays before anything is added.
        self.recall_stages = self.further_turnaround = stages if slow is None else max(stages, decay_stages(slow) + 1)
        super().__init__(at=at, geometry=geometry, index=index)
        kept = self._kept.members
        # Of the neuron whose decayed potential is there.
        self._current = Signal(kept["current"], name="current_now") if "current" in kept else None
        self._rest = Signal(kept["rest"], name="rest_now") if "rest" in kept else None
        # Of that neuron, and of the one whose sum is there, clamped.
        value: ValueLike = _neuron(at).reset_value if "reset_values" not in self._own else 0
        self._rest_value = self._reset_value = value
        if "reset_values" in self._own:
            shape = array_shape(self._own["reset_values"])
            self._rest_value, self._reset_value = (Signal(shape, name=name, reset_less=True)
                                                   for name in ("rest_value", "reset_value"))
        self._stored: dict[str, Value] = {}     # what is read of each array of parameters

    @property
    def _own(self) -> dict[str, StateArray]:
        """The arrays of parameters that neurons have for themselves."""
        return {array.name: array for array in neuron_arrays(self._at)}

    def layer_ports(self) -> tuple[str, ...]:
        """Parameters of neurons come in and out."""
        return (*super().layer_ports(), *(("entry", "entry_read") if self._own else ()))

    def _own_ports(self) -> dict[str, Any]:
        ports = super()._own_ports() | (entry_ports(self._at, self._geometry) if self._own else {})
        if "thresholds" in self._own:
            ports["threshold"] = Out(array_shape(self._own["thresholds"]))  # with the potential
        return ports

    @property
    def _kept(self) -> data.StructLayout:
        """What is kept of a neuron beside its potential."""
        at, neuron = self._at, _neuron(self._at)
        return data.StructLayout({
            **({"current": signed(at.state_array("currents").bits)} if neuron.current_decay is not None else {}),
            **({"rest": at.state_array("rests").bits} if neuron.refractory else {})})

    def integrate(self, potential: Value, current: Value) -> Value:
        """The synaptic current is added, or the neuron rests."""
        guard = _neuron(self._at).guard_bits
        total = potential + (current << guard if self._current is None else self._current)
        return total if self._rest is None else Mux(self._rest != 0, self._rest_value, total)

    def _step(self) -> Elementwise:
        return self.neuron(self._at, self._reset_value)

    def _drive(self, m: Module) -> Value:
        neuron, stages = _neuron(self._at), self.recall_stages
        return decay(m, self.recalled, neuron.potential_decay, stages=stages, name="potential",
                     own=self._parameter(m, "decays", 0))

    def _threshold(self, m: Module) -> Signal:
        own = self._parameter(m, "thresholds", self.recall_stages + 2)
        if own is None:
            return super()._threshold(m)
        m.d.comb += self.threshold.eq(own)
        return own

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        if self._kept.members:
            self._further(m)
        if "reset_values" in self._own:
            early = self._rest is not None
            value = self._parameter(m, "reset_values", self.recall_stages + (0 if early else 2))
            m.d.comb += [self._rest_value.eq(value),
                         self._reset_value.eq(carried(m, value, 2, name="value_on") if early else value)]
        if self._own:
            m.d.sync += self.entry_read.eq(Array(self._stored[name] for name in self._own)[self.entry.array])
        return m

    def _parameter(self, m: Module, name: str, stage: int) -> Signal | None:
        """A parameter of the neuron that has so many registers between itself and its recalled potential; None where
        all neurons have one. Of each there is a memory, read for one stage."""
        if name not in self._own:
            return None
        geometry, entry, shape = self._geometry, self.entry, array_shape(self._own[name])
        m.submodules[name] = stored = memory.Memory(
            shape=shape, depth=max(2, geometry.folds * geometry.lanes_per_group), init=[])
        put, get = stored.write_port(), stored.read_port(domain="sync" if geometry.deep else "comb")
        # A register is behind the memory; block RAM answers a clock later still.
        before = stage - 1 - geometry.deep
        address = self.tags[before].address if before >= 0 else self.address if before == -1 else self.recall_address
        number = get.data
        if name == "thresholds":    # where nothing is loaded, in lanes that are padding, a potential is 0
            number = Mux(number == 0, (1 << shape.width) - 1, number)
        value = Signal(shape, name=f"own_{name}", reset_less=True)
        m.d.comb += [get.addr.eq(Mux(entry.asks, entry.address, address)), put.addr.eq(entry.address),
                     put.data.eq(entry.number), put.en.eq(entry.enable & (entry.array == list(self._own).index(name)))]
        m.d.sync += value.eq(number)
        self._stored[name] = get.data
        return value

    def _further(self, m: Module) -> None:
        """Synaptic current and steps to rest: recalled, changed and written beside the potential."""
        geometry, neuron, stages, layout = self._geometry, _neuron(self._at), self.recall_stages, self._kept
        m.submodules.further = further = memory.Memory(
            shape=layout, depth=max(2, geometry.folds * geometry.lanes_per_group), init=[])
        recall, store = further.read_port(domain="sync" if geometry.deep else "comb"), further.write_port()
        recalled = Signal(layout, name="further_recalled", reset_less=True)
        m.d.sync += recalled.eq(recall.data)
        with m.If(self.serving_slot.first):
            m.d.sync += recalled.eq(0)
        m.d.comb += [recall.addr.eq(self.recall_address), store.addr.eq(self.tags[-1].address),
                     store.en.eq(self.valid[-1])]
        if self._current is not None and neuron.current_decay is not None:
            kept = decay(m, recalled.current, neuron.current_decay, stages=stages - 1, name="current",
                         own=self._parameter(m, "current_decays", 0))
            summed = Signal(layout["current"].shape, name="current_summed", reset_less=True)
            drawn = carried(m, self.drawn, stages - 1, name="drawn_on")
            m.d.sync += summed.eq(kept + (drawn << neuron.guard_bits))
            m.d.comb += [self._current.eq(summed), store.data.current.eq(carried(m, summed, 3))]
        if self._rest is not None:
            rest = carried(m, recalled.rest, stages, name="rest_on")
            m.d.comb += self._rest.eq(rest)
            integrated = carried(m, rest, 2, name="rest_integrated")
            after = Signal(layout["rest"].shape, name="rest_after", reset_less=True)
            m.d.sync += after.eq(Mux(self.fired, neuron.refractory, Mux(integrated != 0, integrated - 1, 0)))
            m.d.comb += store.data.rest.eq(after)

"""How spikes leave a layer: as slices of several neurons, then one by one."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.hdl.events import EventKind, EventSerializer, SliceLayout, bits_for_index, spike_stream
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.membrane import carried
from lifstream.hdl.layer.part import Emission
from lifstream.hdl.layer.slots import by_fold
from lifstream.hdl.queue import StreamQueue

__all__ = ["SliceCollector", "SpikeOutput"]

_ON_THEIR_WAY = 16
"""Clocks from a step being handed over to its slice being given back, and some more."""

_KEPT = 64
"""Slices of a step that a layer of maps keeps at most, beside those on their way."""


class SpikeOutput(wiring.Component):
    """Keeps slices until their spikes have left, one after another; room for a step's is reserved beforehand.

    Latency: 2 clocks from a slice to its first event. Throughput: an event per clock. Adders: two of the room's width,
    the serializer's. No multiplier. Memory: ``depth`` slices.

    Parameters
    ----------
    geometry
        The layer's folding.
    emission
        What makes the slices.
    """

    def __init__(self, *, geometry: LayerGeometry, emission: Emission) -> None:
        self._geometry = geometry
        self._layout, self._depth = emission.slice_layout, emission.slice_depth
        super().__init__({
            "slices": In(stream.Signature(self._layout)),
            "spikes": Out(spike_stream(geometry.n_out)),
            "stepping": In(1),      # a step is handed over: reserve ...
            "needed": In(range(self._depth + 1)),   # ... so much room ...
            "returned": In(1),      # ... a slice of which is not needed after all
            "announce": In(1),      # a LEARN event takes room too
            "has_room": Out(1),     # for a step
            "drained": Out(1),      # nothing is reserved, nothing is kept
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self._depth
        m.submodules.queue = queue = StreamQueue(shape=self._layout, depth=depth)
        m.submodules.serializer = serializer = EventSerializer(
            width=self._layout.width_of_mask, tag=self._layout.tag, neurons=self._geometry.n_out,
            locate=lambda tag, position: tag + position)
        connect(m, wiring.flipped(self.slices), queue.source)
        connect(m, queue.sink, serializer.slices)
        connect(m, serializer.spikes, wiring.flipped(self.spikes))
        room = Signal(range(depth + 1), init=depth)
        popped = queue.sink.valid & queue.sink.ready
        freed = Signal(2)    # room that came back a clock ago
        m.d.sync += [freed.eq(self.returned + popped),
                     room.eq(room - Mux(self.stepping, self.needed, 0) - self.announce + freed)]
        m.d.comb += [self.has_room.eq(room >= self.needed), self.drained.eq(room == depth)]
        return m


class SliceCollector(Emission):
    """Slices of one neuron per group, a clock after they fired; those with neither spike nor marker are left out.

    Latency: 1 clock, in a layer of maps 2. Throughput: a slice per clock. Adders: one of a neuron's index, in a layer
    of maps as many more as there are ones in the channels' binary number. No multiplier, no memory.
    """

    @property
    def slice_layout(self) -> SliceLayout:
        """A bit per group."""
        return SliceLayout(self._geometry.groups, unsigned(bits_for_index(self._geometry.n_out)))

    @property
    def slice_depth(self) -> int:
        """Room for two folds, one on its way out, one being served; where folds are many and short, for those on their
        way to and through the membrane units, and for spikes that the next layer takes more slowly than they come."""
        geometry = self._geometry
        two_folds = 2 * geometry.lanes_per_group + 2
        if not geometry.walked:
            return two_folds
        return two_folds + _ON_THEIR_WAY + min(_KEPT, geometry.folds * geometry.lanes_per_group)

    def _own_ports(self) -> dict[str, Any]:
        groups = self._geometry.groups
        return {"spike": In(1).array(groups), "slice_valid": In(1).array(groups),
                "slice_marker": In(EventKind).array(groups),
                **({"slice_position": In(bits_for_index(self._geometry.positions)).array(groups)}
                   if self._geometry.walked else {})}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, slices = self._geometry, self.slices
        groups, neurons = geometry.groups, geometry.padded_columns
        # Groups keep step.
        valid, marker, spikes = self.slice_valid[0], self.slice_marker[0], Signal(groups)
        m.d.comb += spikes.eq(Cat(*self.spike))
        first: Value = Const(0)     # neuron of the position
        if geometry.walked:
            valid, marker, spikes, first = (carried(m, value, 1, name=name) for name, value in (
                ("valid", valid), ("marker", marker), ("spikes", spikes),
                ("first", by_fold(m, geometry, self.slice_position[0], geometry.columns))))
        base = Signal(range(neurons + groups))  # column of the slice's first neuron
        fired: Value = spikes
        if neurons > geometry.columns:     # some are padding
            fired = spikes & Cat(base + index < geometry.columns for index in range(groups))
        wanted = fired.any() | (marker != EventKind.SPIKE)
        dropped = Signal()
        m.d.sync += [slices.valid.eq(valid & wanted), dropped.eq(valid & ~wanted),
                     slices.p.mask.eq(fired), slices.p.tag.eq(first + base), slices.p.kind.eq(marker)]
        with m.If(valid):
            m.d.sync += base.eq(Mux(base == neurons - groups, 0, base + groups))
        with m.If(self.announce):
            m.d.sync += [slices.valid.eq(1), slices.p.mask.eq(0), slices.p.kind.eq(EventKind.LEARN)]
        m.d.comb += [self.needed.eq(geometry.lanes_per_group), self.returned.eq(dropped), self.may_step.eq(1)]
        return m

"""How spikes leave a layer: as slices of several neurons, then one by one."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.hdl.events import EventKind, EventSerializer, SliceLayout, bits_for_index, spike_stream
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.part import Emission
from lifstream.hdl.queue import StreamQueue

__all__ = ["SliceCollector", "SpikeOutput"]


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

    Latency: 1 clock. Throughput: a slice per clock. Adders: one of a neuron's index. No multiplier, no memory.
    """

    @property
    def slice_layout(self) -> SliceLayout:
        """A bit per group."""
        return SliceLayout(self._geometry.groups, unsigned(bits_for_index(self._geometry.n_out)))

    @property
    def slice_depth(self) -> int:
        """Room for two folds: one on its way out, one being served."""
        return 2 * self._geometry.lanes_per_group + 2

    def _own_ports(self) -> dict[str, Any]:
        groups = self._geometry.groups
        return {"spike": In(1).array(groups), "slice_valid": In(1).array(groups),
                "slice_marker": In(EventKind).array(groups)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, slices = self._geometry, self.slices
        groups, neurons = geometry.groups, geometry.lanes * geometry.folds
        valid, marker = self.slice_valid[0], self.slice_marker[0]   # groups keep step
        base = Signal(range(neurons + groups))
        fired = Signal(groups)
        m.d.comb += fired.eq(Cat(*self.spike))
        if neurons > geometry.n_out:     # some are padding
            real = Cat(base + index < geometry.n_out for index in range(groups))
            m.d.comb += fired.eq(Cat(*self.spike) & real)
        wanted = fired.any() | (marker != EventKind.SPIKE)
        dropped = Signal()
        m.d.sync += [slices.valid.eq(valid & wanted), dropped.eq(valid & ~wanted),
                     slices.p.mask.eq(fired), slices.p.tag.eq(base), slices.p.kind.eq(marker)]
        with m.If(valid):
            m.d.sync += base.eq(Mux(base == neurons - groups, 0, base + groups))
        with m.If(self.announce):
            m.d.sync += [slices.valid.eq(1), slices.p.mask.eq(0), slices.p.kind.eq(EventKind.LEARN)]
        m.d.comb += [self.needed.eq(geometry.lanes_per_group), self.returned.eq(dropped), self.may_step.eq(1)]
        return m

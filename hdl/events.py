"""Spike events: what travels on the streams between the blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from amaranth.hdl import Module, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import unsigned_bits
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec

if TYPE_CHECKING:  # Amaranth's own has no types
    from enum import Enum
else:
    from amaranth.lib.enum import Enum

__all__ = ["DesireLayout", "EventKind", "EventSerializer", "SliceLayout", "SpikeLayout", "bits_for_index",
           "label_layout", "magnitude_bits", "spike_stream"]


def bits_for_index(count: int) -> int:
    """Bits that tell ``count`` things apart, at least one."""
    return max(1, (count - 1).bit_length())


class EventKind(Enum, shape=2):
    """What a spike event says."""

    SPIKE = 0
    """The named neuron fired in the current step."""
    STEP_END = 1
    """The current step is over; another step of the sample follows."""
    SAMPLE_END = 2
    """The current step is over and was the sample's last."""
    LEARN = 3
    """The sample that begins is to be learnt from; comes before its first event."""


class SpikeLayout(data.StructLayout):
    """A spike event: ``kind``, and the index of the ``neuron`` (0 for the markers).

    Within a step the order of spikes carries no meaning.
    """

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        super().__init__({"kind": EventKind, "neuron": bits_for_index(neurons)})


def spike_stream(neurons: int) -> stream.Signature:
    """Stream signature of spike events from ``neurons`` neurons."""
    return stream.Signature(SpikeLayout(neurons))


class SliceLayout(data.StructLayout):
    """Several neurons of one step at once: a spike ``mask``, a ``tag`` that locates its bits, and
    ``kind``, the marker that follows the last of them (SPIKE: none does)."""

    def __init__(self, width: int, tag: ShapeLike) -> None:
        self.width_of_mask, self.tag = width, tag
        super().__init__({"mask": unsigned(width), "tag": tag, "kind": EventKind})


def label_layout(spec: NetworkSpec) -> data.StructLayout:
    """A sample's ``label``; of networks of events also ``void``, whether nothing is to be learnt from it after all."""
    return data.StructLayout({"label": bits_for_index(spec.classes),
                              **({"void": 1} if isinstance(spec.input, Events) else {})})


def magnitude_bits(spec: NetworkSpec) -> int:
    """Bits of a desire's magnitude as it is stored and sent."""
    return unsigned_bits(spec.layers[-1].rule.magnitude_max(spec.steps))


class DesireLayout(data.StructLayout):
    """What a layer is told after a sample it learns from.

    Either one item with ``skip`` set (the layer has no desire at all), or one item per neuron, in
    index order: ``active`` (it has a desire), ``negative`` (to fire less) and ``magnitude``: graded, the
    deficit ``d`` of a magnitude 2**-d, 0..10; ternary, the distance from the wanted spike count, 0..T,
    which the output layer is told and hidden layers find for themselves.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__({"skip": 1, "active": 1, "negative": 1, "magnitude": magnitude_bits(spec)})


class EventSerializer(wiring.Component):
    """Turns slices into spike events, lowest set bit first, then the marker if there is one.

    Latency: 1 clock. Throughput: one event per clock, without a bubble between slices.
    Slices without spike and marker are not allowed on the input (they would cost a clock).

    Parameters
    ----------
    width
        Bits of a slice's mask.
    tag
        Shape of a slice's tag.
    neurons
        Number of neurons the events tell apart.
    locate
        Gives the neuron's index from the tag and the position of the bit.
    """

    def __init__(self, *, width: int, tag: ShapeLike, neurons: int,
                 locate: Callable[[Value, Value], Value]) -> None:
        self._width, self._locate = width, locate
        self._slice = SliceLayout(width, tag)
        super().__init__({
            "slices": In(stream.Signature(self._slice)),
            "spikes": Out(spike_stream(neurons)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pending = Signal(self._slice)
        occupied = Signal()

        lowest = Signal(self._width)
        m.d.comb += lowest.eq(pending.mask & -pending.mask)
        position = Signal(bits_for_index(self._width))
        for bit in range(self._width):
            with m.If(lowest[bit]):
                m.d.comb += position.eq(bit)
        remaining = Signal(self._width)
        m.d.comb += remaining.eq(pending.mask & ~lowest)

        spike = pending.mask.any()
        marker = pending.kind != EventKind.SPIKE
        m.d.comb += self.spikes.valid.eq(occupied)
        with m.If(spike):
            m.d.comb += self.spikes.p.kind.eq(EventKind.SPIKE)
            m.d.comb += self.spikes.p.neuron.eq(self._locate(pending.tag, position))
        with m.Else():
            m.d.comb += self.spikes.p.kind.eq(pending.kind)

        last = ~(spike & (remaining.any() | marker))
        with m.If(occupied & self.spikes.ready):
            m.d.sync += pending.mask.eq(remaining)
            m.d.sync += occupied.eq(~last)
        m.d.comb += self.slices.ready.eq(~occupied | (self.spikes.ready & last))
        with m.If(self.slices.valid & self.slices.ready):
            m.d.sync += pending.eq(self.slices.payload)
            m.d.sync += occupied.eq(1)
        return m

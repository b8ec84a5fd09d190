"""Readout: counts output spikes over a sample and names the unique most active class."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.events import EventKind, bits_for_index, spike_stream

__all__ = ["Readout", "ResultLayout"]


class ResultLayout(data.StructLayout):
    """A sample's result: ``prediction`` is meaningful when ``unique`` is set, that is, when no two
    classes share the largest spike count; ``counts`` holds every class's spike count."""

    def __init__(self, *, classes: int, count_bits: int) -> None:
        super().__init__({
            "prediction": bits_for_index(classes),
            "unique": 1,
            "counts": data.ArrayLayout(unsigned(count_bits), classes),
        })


class Readout(wiring.Component):
    """Counts the spikes of each class until the sample ends, then scans the counts once.

    Latency: ``classes + 1`` clocks from a sample's end to its result. Throughput: one event per
    clock; events wait during the scan and while a result waits to be taken.
    One adder and one comparator of the count's width. No multiplier, no memory.

    Parameters
    ----------
    classes
        Output neurons.
    count_bits
        Width of a spike count.
    """

    def __init__(self, *, classes: int, count_bits: int) -> None:
        self._classes, self._count_bits = classes, count_bits
        super().__init__({
            "spikes": In(spike_stream(classes)),
            "result": Out(stream.Signature(ResultLayout(classes=classes, count_bits=count_bits))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = Array([Signal(self._count_bits, name=f"count_{index}") for index in range(self._classes)])
        scan = Signal(bits_for_index(self._classes))
        largest = Signal(self._count_bits)
        winner = Signal.like(scan)
        unique = Signal(init=1)
        m.d.comb += [
            self.result.p.prediction.eq(winner),
            self.result.p.unique.eq(unique),
        ]
        m.d.comb += [self.result.p.counts[index].eq(count) for index, count in enumerate(counts)]

        with m.FSM(name="readout_state"):
            with m.State("COUNT"):
                m.d.comb += self.spikes.ready.eq(1)
                with m.If(self.spikes.valid):
                    with m.If(self.spikes.p.kind == EventKind.SPIKE):
                        m.d.sync += counts[self.spikes.p.neuron].eq(counts[self.spikes.p.neuron] + 1)
                    with m.If(self.spikes.p.kind == EventKind.SAMPLE_END):
                        m.d.sync += [largest.eq(counts[0]), winner.eq(0), unique.eq(1), scan.eq(1)]
                        m.next = "SCAN" if self._classes > 1 else "RESULT"
            with m.State("SCAN"):
                with m.If(counts[scan] > largest):
                    m.d.sync += [largest.eq(counts[scan]), winner.eq(scan), unique.eq(1)]
                with m.Elif(counts[scan] == largest):
                    m.d.sync += unique.eq(0)
                m.d.sync += scan.eq(scan + 1)
                with m.If(scan == self._classes - 1):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.result.valid.eq(1)
                with m.If(self.result.ready):
                    m.d.sync += [count.eq(0) for count in counts]
                    m.next = "COUNT"
        return m

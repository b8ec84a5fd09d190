"""A stream queue."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import bits_for_index

__all__ = ["StreamQueue"]


class StreamQueue(wiring.Component):
    """First in, first out; valid and ready depend on the level alone, never on each other.

    Latency: 1 clock. Throughput: one transfer per clock. Memory: ``depth`` payloads, read without
    latency. Two counters, no multiplier. Proved against a shift register by k-induction.

    Parameters
    ----------
    shape
        Shape of the payload.
    depth
        Transfers it holds, at least 2.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if depth < 2:
            raise ValueError(f"depth: {depth} is out of bounds, must be at least 2")
        self.depth = depth
        self.storage = memory.Memory(shape=shape, depth=depth, init=[])
        self.level = Signal(range(depth + 1))
        self.head = Signal(bits_for_index(depth))
        self.tail = Signal(bits_for_index(depth))
        super().__init__({
            "source": In(stream.Signature(shape)),
            "sink": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = self.storage
        write = self.storage.write_port()
        read = self.storage.read_port(domain="comb")
        put = self.source.valid & self.source.ready
        get = self.sink.valid & self.sink.ready
        m.d.comb += [
            self.source.ready.eq(self.level != self.depth),
            self.sink.valid.eq(self.level != 0),
            write.addr.eq(self.tail),
            write.data.eq(self.source.payload),
            write.en.eq(put),
            read.addr.eq(self.head),
            self.sink.payload.eq(read.data),
        ]
        m.d.sync += self.level.eq(self.level + put - get)
        with m.If(put):
            m.d.sync += self.tail.eq(Mux(self.tail == self.depth - 1, 0, self.tail + 1))
        with m.If(get):
            m.d.sync += self.head.eq(Mux(self.head == self.depth - 1, 0, self.head + 1))
        return m

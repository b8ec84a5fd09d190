"""Wide event counters that share one adder."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Counters"]


class Counters(wiring.Component):
    """Counts clocks in which each of several signals is set; nothing is ever lost.

    The counters live in a memory and are brought up to date in turn, one per clock; until then a few bits hold
    what has happened since. Reset and ``clear`` make all of them start at zero.

    Latency: the counter ``turn`` stands on ``value``, exact, once every ``count`` clocks. Throughput: every signal
    in every clock. Adders: one of ``width``, ``count`` of a few bits. Memory: ``count x width`` bits.

    Parameters
    ----------
    count
        Number of counters, at least 4.
    width
        Bits of each; it wraps.
    """

    def __init__(self, *, count: int, width: int) -> None:
        self._count, self._width = count, width
        super().__init__({
            "events": In(count),
            "clear": In(1),     # pulse; events of the clock before no longer count
            "turn": Out(range(count)),
            "value": Out(width),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self._count
        m.submodules.storage = storage = memory.Memory(shape=self._width, depth=count, init=[])
        read, write = storage.read_port(), storage.write_port()

        def following(turn: Signal) -> Value:
            return Mux(turn == count - 1, 0, turn + 1)

        # A counter is read, its news are collected, and a clock later both are added.
        asked = Signal(range(count), init=2)
        collected = Signal(range(count), init=1)
        m.d.sync += [asked.eq(following(asked)), collected.eq(asked), self.turn.eq(collected)]
        seen = Signal(count)
        m.d.sync += seen.eq(self.events)
        news = Array([Signal(range(count + 1), name=f"news_{index}") for index in range(count)])
        stale = Signal(count, init=-1)  # counters that start anew
        before, more = Signal(self._width), Signal(range(count + 2))
        for index in range(count):
            m.d.sync += news[index].eq(Mux(collected == index, 0, news[index] + seen[index]))
        m.d.sync += [
            before.eq(Mux(stale.bit_select(collected, 1), 0, read.data)),
            more.eq(news[collected] + seen.bit_select(collected, 1)),
            stale.bit_select(collected, 1).eq(0),
        ]
        with m.If(self.clear):
            m.d.sync += [stale.eq(-1), *(each.eq(0) for each in news)]
        m.d.comb += [
            read.addr.eq(asked),
            self.value.eq(before + more),
            write.addr.eq(self.turn), write.data.eq(self.value), write.en.eq(1),
        ]
        return m

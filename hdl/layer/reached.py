"""The positions of a map that a sample has reached: at all others membrane potentials rest at zero."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import bits_for_index

__all__ = ["ReachedPositions"]


class ReachedPositions(wiring.Component):
    """Lists the positions that spikes of a sample have reached, in the order in which they were first reached.

    Only these are served at a step's end. Where no spike has arrived since the sample began, a potential is zero, leaks
    to zero and reaches no threshold. A step before which nothing was reached serves position 0, so that its end is
    told. The list is kept until the next sample begins.

    Latency: 5 clocks from a spike's slot to ``settled``. Throughput: a spike per clock; a position every other clock.
    Adders: two counters. No multiplier. Memory: ``positions x log2(positions)`` bits, and ``positions`` flip-flops.

    Parameters
    ----------
    positions
        How many there are, at least 1.
    """

    def __init__(self, *, positions: int) -> None:
        self._positions = positions
        position = bits_for_index(positions)
        super().__init__({
            "reach": In(1),         # a spike's slot is issued ...
            "ask": In(1),           # ... or another that wants to know
            "reaching": In(position),   # ... of this position; a clock later
            "known": Out(1),        # ... whether that had been reached
            "ending": In(1),        # a step's end waits to be told
            "settled": Out(1),      # the list is complete, and not empty
            "position": Out(position),  # to be served now ...
            "newly": Out(1),        # ... for the first time in the sample
            "last": Out(1),         # ... after which there is none
            "next": In(1),          # it is served; no sooner than two clocks after the one before
            "forget": In(1),        # the sample is over
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        positions = self._positions
        m.submodules.order = order = memory.Memory(shape=bits_for_index(positions), depth=max(2, positions), init=[])
        put, get = order.write_port(), order.read_port()
        reached = Signal(positions)
        count, served = Signal(range(positions + 1)), Signal(range(positions + 1))
        place, ahead = Signal(bits_for_index(positions)), Signal(bits_for_index(positions), init=1 % positions)
        first = Signal.like(self.position, name="first_position")
        reaching, marking, recent = Signal.like(self.reaching, name="reached_last"), Signal(), Signal(2)
        fresh, arrived = Signal(), Signal.like(self.reaching, name="arrived")
        quiet = ~marking & (recent == 0)
        m.d.comb += [
            self.known.eq(reached.bit_select(reaching, 1)),
            put.addr.eq(count), put.data.eq(arrived), put.en.eq(fresh),
            get.addr.eq(ahead),
        ]
        m.d.sync += [self.settled.eq(~self.reach & quiet & (count != 0) & ~self.forget),
                     fresh.eq(marking & ~self.known), arrived.eq(reaching), marking.eq(self.reach),
                     recent.eq(Cat(marking, recent)),
                     self.newly.eq(place >= served), self.last.eq(place == count - 1)]
        with m.If(self.next):   # the one behind it has been read ahead
            m.d.sync += [place.eq(Mux(self.last, 0, ahead)), ahead.eq(Mux(self.last, 1, ahead + 1)),
                         self.position.eq(Mux(self.last, first, get.data))]
        with m.If(self.reach | self.ask):
            m.d.sync += reaching.eq(self.reaching)
        with m.Elif(self.ending & (count == 0) & quiet):
            m.d.sync += [reaching.eq(0), marking.eq(1)]
        with m.If(marking):     # once more does no harm, and is decided sooner
            m.d.sync += reached.bit_select(reaching, 1).eq(1)
        with m.If(put.en):
            m.d.sync += count.eq(count + 1)
            with m.If(count == 0):
                m.d.sync += [first.eq(arrived), self.position.eq(arrived)]
        with m.If(self.next & self.last):
            m.d.sync += served.eq(count)
        with m.If(self.forget):
            m.d.sync += [reached.eq(0), count.eq(0), served.eq(0)]
        return m

"""Dropout masks from xorshift32, one set ahead of the sample that uses them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.arithmetic import xorshift32
from lifstream.hdl.events import bits_for_index

__all__ = ["DropoutMasks"]


class DropoutMasks(wiring.Component):
    """Draws a mask per neuron and sample; the next sample's while the present one runs.

    A draw is one step of xorshift32 (shifts 13, 17, 5); the neuron is kept when its top byte is at
    least ``dropout``. Draws go in index order and restart from the seed at reset,
    and from any state on demand.

    Latency: ``neurons`` clocks per set. Throughput: one draw per clock. One comparator of 8 bits, no
    multiplier. Memory: ``2 x neurons`` bits.

    Parameters
    ----------
    neurons
        Neurons of the layer.
    dropout
        Probability of being dropped, in 1/256.
    seed
        State after reset, not zero.
    """

    def __init__(self, *, neurons: int, dropout: int, seed: int) -> None:
        self._neurons, self._dropout, self._seed = neurons, dropout, seed
        super().__init__({
            "ready": Out(1),        # the next set is complete
            "begin": In(1),         # pulse: the next sample starts
            "current": Out(1),      # number of the set in force
            "drawing": Out(1),      # `neuron` of set `~current` has just been drawn
            "kept": Out(1),
            "neuron": Out(unsigned(bits_for_index(neurons))),
            "reseed": In(1),        # pulse: draw the next set anew, from `state`
            "state": In(32),
            "ask": In(unsigned(bits_for_index(neurons))),
            "answer": Out(1),       # whether `ask` is kept in the present sample; no latency
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sets = sets = memory.Memory(shape=1, depth=2 * self._neurons, init=[])
        write = sets.write_port()
        read = sets.read_port(domain="comb")
        state = Signal(32, init=self._seed)
        draw = Signal(32)
        m.d.comb += [
            draw.eq(xorshift32(state)),
            self.drawing.eq(~self.ready),
            self.kept.eq(draw[24:] >= self._dropout),
            write.addr.eq(self.neuron + Mux(self.current, 0, self._neurons)),
            write.data.eq(self.kept),
            write.en.eq(self.drawing),
            read.addr.eq(self.ask + Mux(self.current, self._neurons, 0)),
            self.answer.eq(read.data),
        ]
        with m.If(self.drawing):
            m.d.sync += [state.eq(draw), self.neuron.eq(self.neuron + 1)]
            with m.If(self.neuron == self._neurons - 1):
                m.d.sync += [self.neuron.eq(0), self.ready.eq(1)]
        with m.If(self.reseed):
            m.d.sync += [state.eq(self.state), self.neuron.eq(0), self.ready.eq(0)]
        with m.If(self.begin):
            m.d.sync += [self.current.eq(~self.current), self.ready.eq(0)]
        return m

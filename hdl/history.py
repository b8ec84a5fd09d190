"""Spike history: which presynaptic neurons fired in a sample, and when."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hdl.events import bits_for_index

__all__ = ["SpikeHistory"]

_GENERATION_BITS = 8


class SpikeHistory(wiring.Component):
    """Records the spike train of every neuron of a sample, and lists the neurons that fired.

    A word holds a neuron's train and the number of the sample it belongs to, so that nothing has to
    be cleared between samples: a word of another sample counts as empty. Sample numbers repeat after
    255 samples; then, and after reset, all words are cleared.

    Latency: 2 clocks to record, 3 clocks from ``index`` to ``neuron`` and ``train``. Throughput: one
    spike per clock; the same neuron may spike again after 2 clocks at the earliest (a step marker
    lies between). Clearing takes ``neurons`` clocks, during which ``busy`` is set.
    Memory: ``neurons x (T + 8)`` bits and ``neurons x log2(neurons)`` bits. One adder, no multiplier.

    Parameters
    ----------
    neurons
        Presynaptic neurons.
    steps
        ``T``, time steps per sample.
    every
        List all neurons, silent ones with an empty train, and keep no list of those that fired.
    """

    def __init__(self, *, neurons: int, steps: int, every: bool = False) -> None:
        self._neurons, self._steps, self._every = neurons, steps, every
        index = bits_for_index(neurons)
        super().__init__({
            "begin": In(1),         # pulse: a new sample starts
            "busy": Out(1),         # clearing; do not begin or record
            "spike": In(1),         # record a spike
            "spiking": In(index),   # ... of this neuron
            "step": In(bits_for_index(steps)),
            "count": Out(bits_for_index(neurons + 1)),  # neurons that fired
            "index": In(index),     # ask for the index-th of them
            "neuron": Out(index),
            "train": Out(steps),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry = data.StructLayout({"train": self._steps, "generation": _GENERATION_BITS})
        depth = max(2, self._neurons)
        m.submodules.trains = trains = memory.Memory(shape=entry, depth=depth, init=[])
        read = trains.read_port()
        write = trains.write_port()
        if not self._every:
            m.submodules.fired = fired = memory.Memory(shape=bits_for_index(self._neurons), depth=depth, init=[])
            listed = fired.read_port()
            listing = fired.write_port()

        generation = Signal(_GENERATION_BITS)
        clearing = Signal(init=1)
        sweep = Signal(bits_for_index(depth))
        with m.If(self.begin):
            m.d.sync += generation.eq(generation + 1)
            if not self._every:
                m.d.sync += self.count.eq(0)
            with m.If(generation == 2**_GENERATION_BITS - 1):
                m.d.sync += clearing.eq(1)
        m.d.comb += self.busy.eq(clearing)

        recording = Signal()
        neuron = Signal(bits_for_index(self._neurons))
        bit = Signal(self._steps)
        m.d.sync += [recording.eq(self.spike), neuron.eq(self.spiking), bit.eq(1 << self.step)]
        known = read.data.generation == generation
        with m.If(clearing):
            m.d.comb += [write.en.eq(1), write.addr.eq(sweep)]
            m.d.sync += sweep.eq(sweep + 1)
            with m.If(sweep == depth - 1):
                # Generation 0 means cleared; samples are numbered from 1.
                m.d.sync += [sweep.eq(0), clearing.eq(0), generation.eq(1)]
        with m.Elif(recording):
            m.d.comb += [
                write.en.eq(1),
                write.addr.eq(neuron),
                write.data.generation.eq(generation),
                write.data.train.eq(Mux(known, read.data.train, 0) | bit),
            ]
            if not self._every:
                m.d.comb += [listing.en.eq(~known), listing.addr.eq(self.count), listing.data.eq(neuron)]
                with m.If(~known):
                    m.d.sync += self.count.eq(self.count + 1)

        # Recording and playback never overlap: a sample is learnt from when it is over.
        named = Signal(bits_for_index(self._neurons))
        asked = Signal.like(named)
        if self._every:
            m.d.sync += named.eq(self.index)
            m.d.comb += self.count.eq(self._neurons)
        else:
            m.d.comb += [listed.addr.eq(self.index), named.eq(listed.data)]
        m.d.comb += read.addr.eq(Mux(self.spike, self.spiking, named))
        m.d.sync += asked.eq(named)
        m.d.sync += [self.neuron.eq(asked), self.train.eq(Mux(known, read.data.train, 0) if self._every
                                                          else read.data.train)]
        return m

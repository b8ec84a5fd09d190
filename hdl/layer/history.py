"""Spike history: which presynaptic neurons fired in a sample, and when."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import bits_for_index
from lifstream.hdl.layer.membrane import carried

__all__ = ["SpikeHistory"]

_GENERATION_BITS = 8

_BANKED = 4_096
"""Words from which on synthesis puts a memory together of block RAMs of unlike depths."""


class SpikeHistory(wiring.Component):
    """Records the spike train of every neuron of a sample, and names the neurons that fired.

    A word holds a neuron's train and the number of the sample it belongs to, so that nothing has to
    be cleared between samples: a word of another sample counts as empty. Sample numbers repeat after
    255 samples; then, and after reset, all words are cleared.

    Latency: ``again`` clocks to record, ``latency`` from ``index`` to ``neuron`` and ``train``, ``count_latency`` from
    ``counted`` to ``often``. Throughput: one spike, or one neuron whose spikes are counted, per clock; the same
    neuron may spike again after ``again`` clocks at the earliest. Clearing takes ``neurons`` clocks, during which
    ``busy`` is set. Memory: ``neurons x (T + 8)`` bits and, for a list in the order of first spikes, ``neurons x
    log2(neurons)`` bits; ascending and of more than 4,096 neurons, as many words as the next power of two.
    Adders: one, and with a limit those that count the ones of a train. No multiplier.

    Parameters
    ----------
    neurons
        Presynaptic neurons.
    steps
        ``T``, time steps per sample.
    every
        List all neurons, silent ones with an empty train, and keep no list of those that fired.
    ascending
        Look for those that fired in ascending order, while ``scan`` is set, and keep no list: a clock for each neuron,
        5 for one that fired. The next is looked for as soon as one is taken. For memories so large that they are
        spread over the chip: nothing but registers is next to them.
    limit
        Tell of any neuron whether it spiked so often, 1..T, while ``counting`` is set; None: no such ports.
    """

    latency = 4
    """Clocks from ``index`` to ``neuron`` and ``train``."""

    @staticmethod
    def count_latency(*, ascending: bool) -> int:
        """Clocks from ``counted`` to ``often``."""
        return 5 if ascending else 4

    def __init__(self, *, neurons: int, steps: int, every: bool = False, ascending: bool = False,
                 limit: int | None = None) -> None:
        self._neurons, self._steps, self._every, self._ascending = neurons, steps, every, ascending
        self._limit = limit
        self.again = 5 if ascending else 3
        index = bits_for_index(neurons)
        super().__init__({
            "begin": In(1),         # pulse: a new sample starts
            "busy": Out(1),         # clearing; do not begin or record
            "spike": In(1),         # record a spike
            "spiking": In(index),   # ... of this neuron
            "step": In(bits_for_index(steps)),
            "neuron": Out(index),
            "train": Out(steps),
            **({
                "scan": In(1),      # all spikes are recorded: look for neurons that fired
                "found": Out(1),    # one is there ...
                "take": In(1),      # ... and taken
                "exhausted": Out(1),    # none is there, and none is left
            } if ascending else {
                "count": Out(bits_for_index(neurons + 1)),  # neurons that fired
                "index": In(index),     # ask for the index-th of them
            }),
            **({
                "counting": In(1),      # neither record nor ask for trains, but ...
                "counted": In(index),   # ... count the spikes of this neuron
                "often": Out(1),        # it spiked as often as the limit says
            } if limit is not None else {}),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry = data.StructLayout({"train": self._steps, "generation": _GENERATION_BITS})
        depth = max(2, self._neurons)
        # Of a power of two no bits of the address choose between block RAMs, behind their answers.
        words = 1 << (depth - 1).bit_length() if self._ascending and depth > _BANKED else depth
        m.submodules.trains = trains = memory.Memory(shape=entry, depth=words, init=[])
        read = trains.read_port()
        write = trains.write_port()
        lists = not self._every and not self._ascending
        if lists:
            m.submodules.fired = fired = memory.Memory(shape=bits_for_index(self._neurons), depth=depth, init=[])
            listed = fired.read_port()
            listing = fired.write_port()

        generation = Signal(_GENERATION_BITS)
        clearing = Signal(init=1)
        sweep = Signal(bits_for_index(depth))
        with m.If(self.begin):
            m.d.sync += generation.eq(generation + 1)
            if lists:
                m.d.sync += self.count.eq(0)
            with m.If(generation == 2**_GENERATION_BITS - 1):
                m.d.sync += clearing.eq(1)
        m.d.comb += self.busy.eq(clearing)

        # A spike's word is read, taken over, and written back with one bit more.
        reading, recording = Signal(), Signal()
        spiking, neuron = (Signal(bits_for_index(self._neurons), name=name) for name in ("spiking_now", "spiked"))
        step, bit = Signal.like(self.step), Signal(self._steps)
        found = Signal(entry, reset_less=True)
        m.d.sync += [reading.eq(self.spike), spiking.eq(self.spiking), step.eq(self.step), found.eq(read.data),
                     recording.eq(reading), neuron.eq(spiking), bit.eq(1 << step)]
        further = 1 if self._ascending else 0   # registers behind the memory, and in front of it
        known, train, neuron, bit, recording = (carried(m, value, further, name=name) for name, value in (
            ("known", found.generation == generation), ("train_found", found.train), ("spiked", neuron), ("bit", bit),
            ("recording", recording)))
        putting = Signal(data.StructLayout({"en": 1, "addr": len(sweep), "data": entry}))
        put = carried(m, putting, further, name="put")
        m.d.comb += [write.en.eq(put.en), write.addr.eq(put.addr), write.data.eq(put.data)]
        with m.If(clearing):
            m.d.comb += [putting.en.eq(1), putting.addr.eq(sweep)]
            m.d.sync += sweep.eq(sweep + 1)
            with m.If(sweep == depth - 1):
                # Generation 0 means cleared; samples are numbered from 1.
                m.d.sync += [sweep.eq(0), clearing.eq(0), generation.eq(1)]
        with m.Elif(recording):
            m.d.comb += [
                putting.en.eq(1),
                putting.addr.eq(neuron),
                putting.data.generation.eq(generation),
                putting.data.train.eq(Mux(known, train, 0) | bit),
            ]
            if lists:
                m.d.comb += [listing.en.eq(~known), listing.addr.eq(self.count), listing.data.eq(neuron)]
                with m.If(~known):
                    m.d.sync += self.count.eq(self.count + 1)

        # Recording and playback never overlap: a sample is learnt from when it is over.
        if self._ascending:
            wanted = self._scan(m, known, train)
        else:
            wanted, asked = (Signal(bits_for_index(self._neurons), name=name) for name in ("named", "asked"))
            if self._every:
                m.d.sync += wanted.eq(self.index)
                m.d.comb += self.count.eq(self._neurons)
            else:
                m.d.comb += listed.addr.eq(self.index)
                m.d.sync += wanted.eq(listed.data)
            m.d.sync += [asked.eq(wanted), self.neuron.eq(asked)]
            m.d.comb += self.train.eq(Mux(known, train, 0) if self._every else train)
        address: Value = wanted
        if self._limit is not None:
            address = Mux(self.counting, self.counted, wanted)
            self._count(m, known, train)
        m.d.comb += read.addr.eq(Mux(self.spike, self.spiking, address))
        return m

    def _count(self, m: Module, known: Value, train: Value) -> None:
        """Whether the word that is there holds as many spikes as the limit says."""
        spikes, fresh = Signal(range(self._steps + 1), name="spikes_counted"), Signal(name="spikes_known")
        m.d.sync += [spikes.eq(sum(train)), fresh.eq(known), self.often.eq(fresh & (spikes >= self._limit))]

    def _scan(self, m: Module, known: Value, train: Value) -> Signal:
        """Look through the words for those of this sample, and stop at each until it is taken; returns the neuron whose
        word is to be read."""
        places = [Signal(bits_for_index(self._neurons), name=f"place_{stage}") for stage in range(4)]
        reading = [Signal(name=f"looking_{stage}") for stage in range(4)]
        started, hit = Signal(), Signal()
        for pipeline in (places, reading):
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(pipeline)]
        m.d.comb += [hit.eq(reading[-1] & known), self.exhausted.eq(started & ~Cat(reading).any() & ~self.found)]
        last = self._neurons - 1
        with m.If(reading[0]):
            m.d.sync += [places[0].eq(places[0] + 1), reading[0].eq(places[0] != last)]
        with m.If(self.scan & ~started):
            m.d.sync += [started.eq(1), places[0].eq(0), reading[0].eq(1)]
        with m.If(hit):     # what is behind it in the pipeline is read again
            m.d.sync += [self.found.eq(1), self.neuron.eq(places[-1]), self.train.eq(train),
                         *(each.eq(0) for each in reading)]
        with m.If(self.take):
            m.d.sync += [self.found.eq(0), places[0].eq(self.neuron + 1), reading[0].eq(self.neuron != last)]
        with m.If(self.begin):
            m.d.sync += [started.eq(0), self.found.eq(0), *(each.eq(0) for each in reading)]
        return places[0]

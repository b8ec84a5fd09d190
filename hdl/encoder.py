"""Rate encoder: pixels come in, spike events go out; silent pixels cost nothing after loading."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.contract.formats import PIXEL_MAX
from lifstream.hdl.events import EventKind, EventSerializer, SliceLayout, bits_for_index, spike_stream
from lifstream.hdl.queue import StreamQueue

__all__ = ["Encoder", "PixelLayout"]


class PixelLayout(data.StructLayout):
    """A pixel: its ``intensity``; ``learn``, whether its image is to be learnt from (the last pixel's
    counts); or ``abort``: no pixel, the image under way is given up."""

    def __init__(self) -> None:
        super().__init__({"intensity": 8, "learn": 1, "abort": 1})


def _pattern_rom(steps: int) -> list[int]:
    """Spike train of every intensity as a word, step 0 in the lowest bit."""
    words = []
    for intensity in range(PIXEL_MAX + 1):
        accumulator = word = 0
        for step in range(steps):
            accumulator += intensity
            if accumulator >= PIXEL_MAX:
                accumulator -= PIXEL_MAX
                word |= 1 << step
        words.append(word)
    return words


@dataclass(frozen=True, kw_only=True)
class _Banks:
    """Two banks of packed pixels: one is filled while the other plays."""

    ports: list[tuple[Value, Value]]
    """Per place in a word: where its pixel is written, and read."""
    words: int
    """Words of a bank; the second follows the first."""
    full: Signal
    """A bit per bank: it holds an image."""
    learn: Signal
    """A bit per bank: its image is to be learnt from."""
    word_count: Array
    """Per bank: words that its image takes."""


@dataclass(frozen=True, kw_only=True)
class _Filling:
    """Where the next pixel that spikes goes."""

    bank: Signal
    word: Signal
    position: Signal
    padding: Signal
    """Instead of a pixel, what is left of the word is filled with silence."""


class Encoder(wiring.Component):
    """Turns images into spike events.

    While an image is loaded, a ROM gives each pixel's spike train; pixels that never spike are
    dropped and the others packed ``pixels_per_clock`` to a word. Playing an image, the words are read once
    per step and their bits of that step serialised. Two banks: the next image is loaded while the
    present one plays.

    Latency: an image's first event follows its last pixel by about 10 clocks. Throughput: one pixel
    per clock in; out, per step, ``max(spikes, words)`` clocks and one for the marker.
    Memory: 256 x T bits of ROM and ``2 x n x (T + log2 n)`` bits. No adder wider than an index.

    Parameters
    ----------
    pixels
        Pixels per image.
    steps
        ``T``, time steps per sample.
    pixels_per_clock
        Pixels examined per clock.
    """

    def __init__(self, *, pixels: int, steps: int, pixels_per_clock: int) -> None:
        self._pixels, self._steps = pixels, steps
        self._pixels_per_clock = min(pixels_per_clock, pixels)
        tag = data.ArrayLayout(unsigned(bits_for_index(pixels)), self._pixels_per_clock)
        self._entry = data.StructLayout({"index": bits_for_index(pixels), "train": steps})
        self._slice = SliceLayout(self._pixels_per_clock, tag)
        self.queue = StreamQueue(shape=self._slice, depth=max(2, self._pixels_per_clock))
        super().__init__({
            "pixels": In(stream.Signature(PixelLayout())),
            "loading": Out(1),  # an image is partly loaded
            "playing": Out(1),
            "spikes": Out(spike_stream(pixels)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.trains = trains = memory.Memory(shape=self._steps, depth=256, init=_pattern_rom(self._steps))
        rom = trains.read_port()
        banks = self._banks(m)
        taken = self._load(m, rom, banks)
        self._serialise(m)
        play_bank = Signal()
        playing = banks.full.bit_select(play_bank, 1)
        m.d.comb += [self.playing.eq(playing), self.loading.eq(taken != 0)]
        self._play(m, banks, play_bank, playing)
        return m

    def _banks(self, m: Module) -> _Banks:
        words = -(-self._pixels // self._pixels_per_clock)
        ports = []
        for position in range(self._pixels_per_clock):
            bank = memory.Memory(shape=self._entry, depth=2 * words, init=[])
            m.submodules[f"bank_{position}"] = bank
            ports.append((bank.write_port(), bank.read_port()))
        word_count = [Signal(bits_for_index(words + 1), name=f"word_count_{bank}") for bank in range(2)]
        return _Banks(ports=ports, words=words, full=Signal(2, name="full"), learn=Signal(2, name="learn"),
                      word_count=Array(word_count))

    def _load(self, m: Module, rom: Value, banks: _Banks) -> Value:
        """Take one pixel per clock, look its spike train up, pack it if it spikes; returns how many were taken."""
        index_bits = bits_for_index(self._pixels)
        index = Signal(index_bits)
        index_delayed = Signal(index_bits)
        store = Signal()
        filling = _Filling(bank=Signal(name="load_bank"), word=Signal(bits_for_index(banks.words + 1), name="word"),
                           position=Signal(bits_for_index(self._pixels_per_clock), name="position"),
                           padding=Signal(name="padding"))
        m.d.comb += rom.addr.eq(self.pixels.p.intensity)
        # The ROM's answer is taken over before it is stored; where nothing is padded it goes straight on.
        stored, stored_index, stored_train = Signal(), Signal(index_bits), Signal(self._steps)
        m.d.sync += [store.eq(0), index_delayed.eq(index)]
        taking = m.d.sync if self._pixels_per_clock > 1 else m.d.comb
        taking += [stored.eq(store), stored_index.eq(index_delayed), stored_train.eq(rom.data)]
        self._pack(m, banks, filling, stored, stored_index, stored_train)

        # A pixel spikes at all when T * p reaches 255.
        audible = -(-PIXEL_MAX // self._steps)
        with m.FSM(name="load_state"):
            with m.State("PIXELS"):
                m.d.comb += self.pixels.ready.eq(~banks.full.bit_select(filling.bank, 1))
                with m.If(self.pixels.valid & self.pixels.ready):
                    m.d.sync += store.eq(self.pixels.p.intensity >= audible)
                    m.d.sync += index.eq(index + 1)
                    with m.If(self.pixels.p.abort):
                        m.d.sync += [store.eq(0), index.eq(0)]
                        m.next = "ABORT"
                    with m.Elif(index == self._pixels - 1):
                        m.d.sync += [index.eq(0), banks.learn.bit_select(filling.bank, 1).eq(self.pixels.p.learn)]
                        m.next = "FLUSH"
            with m.State("ABORT"):
                m.next = "ABORTED"
            with m.State("ABORTED"):  # a pixel before may have been on its way until now
                m.d.sync += [filling.position.eq(0), filling.word.eq(0)]
                m.next = "PIXELS"
            with m.State("FLUSH"):
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "PAD"
            with m.State("PAD"):
                m.d.comb += filling.padding.eq(filling.position != 0)
                m.d.sync += [
                    banks.word_count[filling.bank].eq(filling.word + (filling.position != 0)),
                    banks.full.bit_select(filling.bank, 1).eq(1),
                    filling.bank.eq(~filling.bank),
                    filling.position.eq(0),
                    filling.word.eq(0),
                ]
                m.next = "PIXELS"
        return index

    def _pack(self, m: Module, banks: _Banks, filling: _Filling, stored: Value, index: Value, train: Value) -> None:
        """Write a pixel that is ``stored`` into the next place of the word, or pad the word."""
        last = self._pixels_per_clock - 1
        position = filling.position
        for place, (write, _) in enumerate(banks.ports):
            m.d.comb += [
                write.addr.eq(filling.word + Mux(filling.bank, banks.words, 0)),
                write.data.index.eq(index),
                write.data.train.eq(Mux(filling.padding, 0, train)),
                write.en.eq(Mux(filling.padding, 1 if place == last else position <= place,
                                stored & (position == place))),
            ]
        with m.If(stored):
            with m.If(position == last):
                m.d.sync += [position.eq(0), filling.word.eq(filling.word + 1)]
            with m.Else():
                m.d.sync += position.eq(position + 1)

    def _serialise(self, m: Module) -> None:
        """Send the queued slices as events."""
        m.submodules.queue = self.queue
        m.submodules.serializer = serializer = EventSerializer(
            width=self._pixels_per_clock, tag=self._slice.tag, neurons=self._pixels,
            # Not tag[place]: that would multiply the place by the width of an index.
            locate=lambda tag, place: Array(tag[item] for item in range(self._pixels_per_clock))[place])
        connect(m, wiring.flipped(self.spikes), serializer.spikes)
        connect(m, self.queue.sink, serializer.slices)

    def _play(self, m: Module, banks: _Banks, play_bank: Signal, playing: Value) -> None:
        """While ``playing``: read a bank's words once per step, select the step's bits, queue what spikes."""
        queue = self.queue
        step = Signal(bits_for_index(self._steps))
        play_word = Signal(bits_for_index(banks.words + 1))
        count = banks.word_count[play_bank]
        announced = Signal()  # the LEARN event of the image has been sent
        announcing = playing & banks.learn.bit_select(play_bank, 1) & ~announced
        last_word = play_word + 1 >= count
        last_step = step == self._steps - 1

        # The memory's answer is taken over (`held`) before its bits are picked.
        fetched, held = Signal(), Signal()
        held_words = Signal(data.ArrayLayout(self._entry, self._pixels_per_clock), reset_less=True)
        what = data.StructLayout({"step": step.shape(), "kind": EventKind, "blank": 1})
        fetched_what, held_what = Signal(what), Signal(what)
        selected = Signal()
        selection = Signal(self._slice)
        advance = Signal()
        m.d.comb += advance.eq(~selected | queue.source.ready)
        m.d.comb += [queue.source.valid.eq(selected), queue.source.payload.eq(selection)]

        mask = Cat(word.train.bit_select(held_what.step, 1) for word in held_words)
        for _, read in banks.ports:
            m.d.comb += [read.addr.eq(play_word + Mux(play_bank, banks.words, 0)), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                fetched.eq(playing), held.eq(fetched), held_what.eq(fetched_what),
                fetched_what.step.eq(step),
                fetched_what.blank.eq((count == 0) | announcing),
                fetched_what.kind.eq(Mux(announcing, EventKind.LEARN,
                                         Mux(last_word, Mux(last_step, EventKind.SAMPLE_END, EventKind.STEP_END),
                                             EventKind.SPIKE))),
                announced.eq(announced | announcing),
                selected.eq(held & ((mask.any() & ~held_what.blank) | (held_what.kind != EventKind.SPIKE))),
                selection.mask.eq(Mux(held_what.blank, 0, mask)),
                selection.kind.eq(held_what.kind),
            ]
            for place, (_, read) in enumerate(banks.ports):
                m.d.sync += [held_words[place].eq(read.data), selection.tag[place].eq(held_words[place].index)]
            with m.If(playing & ~announcing):
                m.d.sync += play_word.eq(play_word + 1)
                with m.If(last_word):
                    m.d.sync += [play_word.eq(0), step.eq(step + 1)]
                    with m.If(last_step):
                        m.d.sync += [
                            step.eq(0),
                            announced.eq(0),
                            banks.full.bit_select(play_bank, 1).eq(0),
                            play_bank.eq(~play_bank),
                        ]

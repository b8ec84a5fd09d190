"""Rate encoder: pixels come in, spike events go out; silent pixels cost nothing after loading."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.spec import PIXEL_MAX
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


class Encoder(wiring.Component):
    """Turns images into spike events.

    While an image is loaded, a ROM gives each pixel's spike train; pixels that never spike are
    dropped and the others packed ``window`` to a word. Playing an image, the words are read once
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
    window
        Pixels examined per clock.
    """

    def __init__(self, *, pixels: int, steps: int, window: int) -> None:
        self._pixels, self._steps = pixels, steps
        self._window = min(window, pixels)
        tag = data.ArrayLayout(unsigned(bits_for_index(pixels)), self._window)
        self.queue = StreamQueue(shape=SliceLayout(self._window, tag), depth=max(2, self._window))
        super().__init__({
            "pixels": In(stream.Signature(PixelLayout())),
            "loading": Out(1),  # an image is partly loaded
            "playing": Out(1),
            "spikes": Out(spike_stream(pixels)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        window, steps = self._window, self._steps
        index_bits = bits_for_index(self._pixels)
        words = -(-self._pixels // window)
        word_bits = bits_for_index(words + 1)
        entry = data.StructLayout({"index": index_bits, "train": steps})

        m.submodules.trains = trains = memory.Memory(shape=steps, depth=256, init=_pattern_rom(steps))
        rom = trains.read_port()
        banks = []
        for position in range(window):
            bank = memory.Memory(shape=entry, depth=2 * words, init=[])
            m.submodules[f"bank_{position}"] = bank
            banks.append((bank.write_port(), bank.read_port()))

        full = Signal(2)
        learn = Signal(2)
        word_count = Array([Signal(word_bits, name=f"word_count_{bank}") for bank in range(2)])

        # -- load: one pixel per clock, compacted ------------------------------------------------
        load_bank = Signal()
        index = Signal(index_bits)
        index_delayed = Signal(index_bits)
        word = Signal(word_bits)
        position = Signal(bits_for_index(window))
        store = Signal()
        m.d.comb += rom.addr.eq(self.pixels.p.intensity)
        # The ROM's answer is taken over before it is stored; where nothing is padded it goes straight on.
        stored, stored_index, stored_train = Signal(), Signal(index_bits), Signal(steps)
        m.d.sync += [store.eq(0), index_delayed.eq(index)]
        taking = m.d.sync if window > 1 else m.d.comb
        taking += [stored.eq(store), stored_index.eq(index_delayed), stored_train.eq(rom.data)]
        padding = Signal()
        for place, (write, _) in enumerate(banks):
            m.d.comb += [
                write.addr.eq(word + Mux(load_bank, words, 0)),
                write.data.index.eq(stored_index),
                write.data.train.eq(Mux(padding, 0, stored_train)),
                write.en.eq(Mux(padding, 1 if place == window - 1 else position <= place,
                                stored & (position == place))),
            ]
        with m.If(stored):
            with m.If(position == window - 1):
                m.d.sync += [position.eq(0), word.eq(word + 1)]
            with m.Else():
                m.d.sync += position.eq(position + 1)

        # A pixel spikes at all when T * p reaches 255.
        audible = -(-PIXEL_MAX // steps)
        with m.FSM(name="load_state"):
            with m.State("PIXELS"):
                m.d.comb += self.pixels.ready.eq(~full.bit_select(load_bank, 1))
                with m.If(self.pixels.valid & self.pixels.ready):
                    m.d.sync += store.eq(self.pixels.p.intensity >= audible)
                    m.d.sync += index.eq(index + 1)
                    with m.If(self.pixels.p.abort):
                        m.d.sync += [store.eq(0), index.eq(0)]
                        m.next = "ABORT"
                    with m.Elif(index == self._pixels - 1):
                        m.d.sync += [index.eq(0), learn.bit_select(load_bank, 1).eq(self.pixels.p.learn)]
                        m.next = "FLUSH"
            with m.State("ABORT"):
                m.next = "ABORTED"
            with m.State("ABORTED"):  # a pixel before may have been on its way until now
                m.d.sync += [position.eq(0), word.eq(0)]
                m.next = "PIXELS"
            with m.State("FLUSH"):
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "PAD"
            with m.State("PAD"):
                m.d.comb += padding.eq(position != 0)
                m.d.sync += [
                    word_count[load_bank].eq(word + (position != 0)),
                    full.bit_select(load_bank, 1).eq(1),
                    load_bank.eq(~load_bank),
                    position.eq(0),
                    word.eq(0),
                ]
                m.next = "PIXELS"

        # -- play: fetch a word, select the step's bits, queue what spikes -----------------------
        tags = data.ArrayLayout(unsigned(index_bits), window)
        slice_layout = SliceLayout(window, tags)
        m.submodules.queue = queue = self.queue
        m.submodules.serializer = serializer = EventSerializer(
            width=window, tag=tags, neurons=self._pixels,
            # Not tag[place]: that would multiply the place by the width of an index.
            locate=lambda tag, place: Array(tag[item] for item in range(window))[place])
        connect(m, wiring.flipped(self.spikes), serializer.spikes)
        connect(m, queue.sink, serializer.slices)

        play_bank = Signal()
        step = Signal(bits_for_index(steps))
        play_word = Signal(word_bits)
        playing = full.bit_select(play_bank, 1)
        count = word_count[play_bank]
        announced = Signal()  # the LEARN event of the image has been sent
        announcing = playing & learn.bit_select(play_bank, 1) & ~announced
        m.d.comb += [self.playing.eq(playing), self.loading.eq(index != 0)]
        last_word = play_word + 1 >= count
        last_step = step == steps - 1

        # The memory's answer is taken over (`held`) before its bits are picked.
        fetched, held = Signal(), Signal()
        held_words = Signal(data.ArrayLayout(entry, window), reset_less=True)
        what = data.StructLayout({"step": step.shape(), "kind": EventKind, "blank": 1})
        fetched_what, held_what = Signal(what), Signal(what)
        selected = Signal()
        selection = Signal(slice_layout)
        advance = Signal()
        m.d.comb += advance.eq(~selected | queue.source.ready)
        m.d.comb += [queue.source.valid.eq(selected), queue.source.payload.eq(selection)]

        mask = Cat(held_words[place].train.bit_select(held_what.step, 1) for place in range(window))
        for _, read in banks:
            m.d.comb += [read.addr.eq(play_word + Mux(play_bank, words, 0)), read.en.eq(advance)]
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
            for place, (_, read) in enumerate(banks):
                m.d.sync += [held_words[place].eq(read.data), selection.tag[place].eq(held_words[place].index)]
            with m.If(playing & ~announcing):
                m.d.sync += play_word.eq(play_word + 1)
                with m.If(last_word):
                    m.d.sync += [play_word.eq(0), step.eq(step + 1)]
                    with m.If(last_step):
                        m.d.sync += [
                            step.eq(0),
                            announced.eq(0),
                            full.bit_select(play_bank, 1).eq(0),
                            play_bank.eq(~play_bank),
                        ]
        return m

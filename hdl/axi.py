"""The core behind AXI: packets on two AXI4-Streams, control and counters on an AXI4-Lite port.

Port names are those that block-design tools infer interfaces from (``s_axis_tdata``, ``s_axi_awaddr``, ``aclk``,
``aresetn``; AMBA AXI4-Stream and AXI4-Lite, ARM IHI 0051 and IHI 0022).
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Module, Mux, ResetSignal, Signal, unsigned
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from golden.protocol import COUNTER_BYTES, COUNTERS
from golden.spec import InputError, NetworkSpec
from hdl.core import ByteLayout, Core
from hdl.events import bits_for_index
from hdl.geometry import Geometry

__all__ = ["AXI_VERSION", "AxiCore", "Narrow", "Register", "Widen", "register_map"]

AXI_VERSION = 0x4C46_0001
"""Content of the first register: "LF" and the version of this register map."""


class Register(enum.IntEnum):
    """Byte addresses of the AXI4-Lite registers, 32 bits each; counters follow, low word first."""

    VERSION = 0x00
    """Read: :data:`AXI_VERSION`."""
    CONTROL = 0x04
    """Write: bit 0 resets the core for eight clocks (its weights are kept); bit 1 clears the counters once it is
    idle. Read: bit 0, the core is being reset; bit 1, a clearing is waiting; bit 8, the core is idle."""
    DIGEST_LOW = 0x08
    """Read: the contract's digest, its first four bytes, the first one lowest."""
    DIGEST_HIGH = 0x0C
    """Read: its last four bytes."""
    COUNTERS = 0x40
    """Read: the first counter; see :func:`register_map`."""


def register_map() -> dict[str, int]:
    """Byte address of every register by name; of a counter, of its low word, which holds the high word still."""
    addresses = {register.name.lower(): int(register) for register in Register if register is not Register.COUNTERS}
    return addresses | {name: Register.COUNTERS + 8 * index for index, name in enumerate(COUNTERS)}


class Narrow(wiring.Component):
    """AXI4-Stream words to bytes: the bytes that ``keep`` names, lowest first; null bytes are dropped.

    Latency: 1 clock. Throughput: one byte per clock. No adder, no multiplier; memory: one word. A packet whose
    last word keeps no byte ends with the byte before, which is therefore held until the next word is seen.

    Parameters
    ----------
    width
        Bytes of a word, 1 to 8.
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        super().__init__({
            "tdata": In(8 * width), "tkeep": In(width), "tlast": In(1), "tvalid": In(1), "tready": Out(1),
            "bytes": Out(stream.Signature(ByteLayout())),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, keep, last, occupied = Signal(8 * self._width), Signal(self._width), Signal(), Signal()
        held, holding = Signal(8), Signal()     # a byte that may turn out to be the packet's last
        lowest = keep & -keep
        remaining = Signal(self._width)
        byte = Signal(8)
        m.d.comb += remaining.eq(keep & ~lowest)
        for index in range(self._width):
            with m.If(lowest[index]):
                m.d.comb += byte.eq(word.word_select(index, 8))
        final = occupied & last & (remaining == 0)
        ends_empty = occupied & last & (keep == 0)
        out = self.bytes
        m.d.comb += out.p.data.eq(held)
        with m.If(holding):
            # What is held goes out when a byte follows it, or as the last when nothing does.
            m.d.comb += [out.valid.eq(occupied & ((keep != 0) | last)), out.p.last.eq(ends_empty)]
        moved = Signal()
        m.d.comb += moved.eq(occupied & (keep != 0) & (~holding | out.ready))
        with m.If(out.valid & out.ready):
            m.d.sync += holding.eq(0)
        with m.If(moved):
            m.d.sync += [held.eq(byte), holding.eq(1), keep.eq(remaining)]
        # A word is done when all its bytes have moved on; a packet's last stays, empty, until its end is told.
        done = Signal()
        m.d.comb += done.eq(occupied & Mux(last, (keep == 0) & (~holding | out.ready),
                                           (keep == 0) | (moved & (remaining == 0))))
        m.d.comb += self.tready.eq(~occupied | done)
        with m.If(done):
            m.d.sync += occupied.eq(0)
        with m.If(self.tvalid & self.tready):
            m.d.sync += [occupied.eq(1), word.eq(self.tdata), keep.eq(self.tkeep), last.eq(self.tlast)]
        _ = final
        return m


class Widen(wiring.Component):
    """Bytes to AXI4-Stream words: full words, but for a packet's last, whose ``tkeep`` says how many bytes it has.

    Latency: 1 clock from a word's last byte. Throughput: one byte per clock. One counter; memory: one word.

    Parameters
    ----------
    width
        Bytes of a word, 1 to 8.
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        super().__init__({
            "bytes": In(stream.Signature(ByteLayout())),
            "tdata": Out(8 * width), "tkeep": Out(width), "tlast": Out(1), "tvalid": Out(1), "tready": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Signal(bits_for_index(self._width))
        taken = self.bytes.valid & self.bytes.ready
        m.d.comb += self.bytes.ready.eq(~self.tvalid | self.tready)
        with m.If(self.tvalid & self.tready):
            m.d.sync += [self.tvalid.eq(0), self.tkeep.eq(0), self.tdata.eq(0)]
        with m.If(taken):
            for index in range(self._width):
                with m.If(place == index):
                    m.d.sync += [self.tdata.word_select(index, 8).eq(self.bytes.p.data), self.tkeep[index].eq(1)]
            m.d.sync += [place.eq(place + 1), self.tlast.eq(self.bytes.p.last)]
            with m.If(self.bytes.p.last | (place == self._width - 1)):
                m.d.sync += [place.eq(0), self.tvalid.eq(1)]
        return m

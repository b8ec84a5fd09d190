"""What an FPGA family makes of a memory: block RAM, memory of LUTs, or registers, as synthesis decides it.

Every shape that a family has is tried, and the cheapest taken, by the costs that yosys has for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lifstream.boards.rewrites import BEFORE_LOGIC
from lifstream.boards.targets import Family
from lifstream.hdl.census import MemoryShape

__all__ = ["Mapped", "mapped"]


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What a memory takes.

    Parameters
    ----------
    block_rams, single_port_rams
        Blocks.
    lut_rams
        Memories of 16 words of 4 bits made of LUTs.
    registers
        Flip-flops, of a memory too small for anything else.
    selected
        Bits that are one of several blocks' or registers' answers.
    word_bits
        Bits of a block RAM's words.
    """

    block_rams: int = 0
    single_port_rams: int = 0
    lut_rams: int = 0
    registers: int = 0
    selected: int = 0
    word_bits: int = 0


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """A family's block RAM: the shapes it may have, and its cost in bits of registers."""

    shapes: tuple[tuple[int, int], ...]     # words, bits of each
    cost: int


_BLOCKS = {
    Family.ECP5: _Blocks(shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)), cost=128),
    Family.ICE40: _Blocks(shapes=((2048, 2), (1024, 4), (512, 8), (256, 16)), cost=64),
    Family.GOWIN: _Blocks(shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)), cost=128),
}
_LUT_RAM_WORDS, _LUT_RAM_BITS = 16, 4
_ROM_SAVING = 16    # bits of a ROM that cost as much as one that can be written
_SELECT_COST = 0.4
"""Of a bit that is one of several blocks' answers: between what makes of 64 words of 26 bits a block, and of 40 words
of 130 none."""
_SINGLE_PORT = (16384, 16)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _choices(memory: MemoryShape, family: Family) -> Iterator[tuple[float, Mapped]]:
    reads = max(1, memory.sync_reads + memory.async_reads)
    asynchronous = memory.async_reads > 0 and family is not Family.ICE40   # an iCE40's are made synchronous
    near = family is Family.ECP5 and memory.name in BEFORE_LOGIC
    if not near:    # first: registers are taken where a block would cost as much
        if memory.writes:
            yield memory.bits, Mapped(registers=memory.bits, selected=memory.bits * reads)
        else:
            yield memory.bits / _ROM_SAVING, Mapped(selected=memory.bits // _ROM_SAVING)
    if not asynchronous and not near:
        blocks = _BLOCKS[family]
        for words, bits in blocks.shapes:
            deep, wide = _ceil_div(memory.depth, words), _ceil_div(memory.width, bits)
            selected = (deep - 1) * memory.width * reads
            count = deep * wide * reads
            yield count * blocks.cost + _SELECT_COST * selected, Mapped(
                block_rams=count, selected=selected, word_bits=bits)
    if family is not Family.ICE40 and memory.writes:
        deep = _ceil_div(memory.depth, _LUT_RAM_WORDS)
        selected = (deep - 1) * memory.width * reads
        yield (deep * memory.width * reads + _SELECT_COST * selected,
               Mapped(lut_rams=deep * _ceil_div(memory.width, _LUT_RAM_BITS) * reads, selected=selected))


@lru_cache(maxsize=4096)
def mapped(memory: MemoryShape, family: Family) -> Mapped:
    """What a family makes of a memory."""
    if family is Family.ICE40 and memory.name == "weights":
        words, bits = _SINGLE_PORT
        return Mapped(single_port_rams=_ceil_div(memory.depth, words) * _ceil_div(memory.width, bits))
    return min(_choices(memory, family), key=lambda choice: choice[0])[1]

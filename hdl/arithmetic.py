"""Arithmetic the numeric contract leaves no choice about; each is proved against a naive model.

All shifts are arithmetic and round towards minus infinity. Additions, comparisons and wires only.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

__all__ = ["add_rounded", "leak", "saturate", "shift_rounding", "xorshift32"]


def saturate(value: Value, low: int, high: int) -> Value:
    """``value`` limited to ``low..high``: two comparisons, or none where the range is all numbers of so many bits."""
    bits = high.bit_length()
    if (low, high) not in ((-1 << bits, (1 << bits) - 1), (0, (1 << bits) - 1)):
        return Mux(value < low, low, Mux(value > high, high, value))
    if bits == 0 or not value.shape().signed or len(value) <= bits + 1:
        value = value + Const(0, signed(bits + 2))  # widened: the bits above tell
    kept, above, negative = value[:bits], value[bits:], value[-1]
    if low == 0:
        return Mux(above.any(), (~negative).replicate(bits), kept)
    return Cat(Mux(above.any() & ~above.all(), (~negative).replicate(bits), kept), negative).as_signed()


def leak(value: Value, leak_shift: int) -> Value:
    """``((2**k - 1) * value) >> k`` with one subtraction."""
    return ((value << leak_shift) - value) >> leak_shift


def shift_rounding(m: Module, *, value: Signal, carry: Signal, random: Value | None = None) -> None:
    """One clock of a serial right shift; after ``r`` clocks ``value + carry`` is the start value over 2**r, rounded.

    Half up without ``random``: the last bit shifted out is the carry. Otherwise a random word comes in on
    ``random``, lowest bit first, and is added to what is shifted out: a full adder's carry.
    """
    out = value[0]
    m.d.sync += [value.eq(value >> 1),
                 carry.eq(out if random is None else (out & random) | (out & carry) | (random & carry))]


def xorshift32(state: Value) -> Value:
    """The next draw of the generator with shifts 13, 17, 5: exclusive ors of 32 bits."""
    first = (state ^ (state << 13))[:32]
    second = first ^ (first >> 17)
    return (second ^ (second << 5))[:32]


def add_rounded(*, weight: Value, magnitude: Value, carry: Value, negative: Value) -> Value:
    """``weight`` plus, or minus, ``magnitude + carry``: one adder. ``w - s - c`` is ``w + ~s + (1 - c)``."""
    widened = Cat(magnitude, Const(0, 1))
    return weight + (widened ^ negative.replicate(len(widened))).as_signed() + (carry ^ negative)

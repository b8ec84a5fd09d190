"""Arithmetic the numeric contract leaves no choice about; each is proved against a naive model.

All shifts are arithmetic and round towards minus infinity. Additions, comparisons and wires only.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

__all__ = ["add_rounded", "leak", "saturate", "shift_rounding"]


def saturate(value: Value, low: int, high: int) -> Value:
    """``value`` limited to ``low..high``: two comparisons."""
    return Mux(value < low, low, Mux(value > high, high, value))


def leak(value: Value, leak_shift: int) -> Value:
    """``((2**k - 1) * value) >> k`` with one subtraction."""
    return ((value << leak_shift) - value) >> leak_shift


def shift_rounding(m: Module, *, value: Signal, carry: Signal) -> None:
    """One clock of a serial right shift: the last bit shifted out is the rounding carry.

    After ``r`` clocks ``value + carry`` is the value at the start over 2**r, rounded half up.
    """
    m.d.sync += [value.eq(value >> 1), carry.eq(value[0])]


def add_rounded(m: Module, *, weight: Value, magnitude: Value, carry: Value, negative: Value,
                low: int, high: int) -> Value:
    """``weight`` plus, or minus, ``magnitude + carry``, limited to ``low..high``: one adder.

    ``w - s - c`` is ``w + ~s + (1 - c)``.
    """
    widened = Cat(magnitude, Const(0, 1))
    total = Signal(signed(max(len(weight), len(widened)) + 2))
    m.d.comb += total.eq(weight + (widened ^ negative.replicate(len(widened))).as_signed() + (carry ^ negative))
    return saturate(total, low, high)

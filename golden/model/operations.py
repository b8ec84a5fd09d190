"""The operations that formulas are written in: each works on NumPy arrays and, compiled, on single numbers.

All values are whole numbers of LSBs; all arithmetic is exact and rounds towards minus infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["at_least", "clamp", "decay", "leak", "round_shift", "round_shift_random", "scaled_up",
           "xorshift32"]

# Arrays or numbers, in and out alike; a compiler finds the types by itself.
Number = Any


def leak(value: Number, leak_shift: int) -> Number:
    """Decay by 2**-k: ``((2**k - 1) * value) >> k``."""
    return (((1 << leak_shift) - 1) * value) >> leak_shift


def decay(value: Number, numerator: int, shift: int) -> Number:
    """``(numerator * value) >> shift``."""
    return (numerator * value) >> shift


def scaled_up(value: Number, bits: int) -> Number:
    """The value with so many fraction bits more: ``value << bits``."""
    return value << bits


def clamp(value: Number, low: Number, high: Number) -> Number:
    """``value`` limited to ``low..high``."""
    return np.minimum(np.maximum(value, low), high)


def at_least(value: Number, low: Number) -> Number:
    """``value``, or ``low`` where that is larger."""
    return np.maximum(value, low)


def round_shift(value: Number, shift: Number) -> Number:
    """``value / 2**shift`` rounded half up, for shifts of at least 0 (then it is ``value``)."""
    return (value + ((1 << shift) >> 1)) >> shift


def round_shift_random(value: Number, shift: Number, word: Number) -> Number:
    """``value / 2**shift`` rounded up with the probability of its remainder, by the low bits of ``word``."""
    return (value + (word & ((1 << shift) - 1))) >> shift


def xorshift32(state: Number) -> Number:
    """One draw: G. Marsaglia, "Xorshift RNGs", 2003, shifts 13, 17, 5. 32 bits in and out, in 64-bit arithmetic."""
    state = state ^ ((state << 13) & 0xFFFF_FFFF)
    state = state ^ (state >> 17)
    return state ^ ((state << 5) & 0xFFFF_FFFF)

"""The one rounding of a weight update."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["round_shift", "round_shift_random"]

IntArray = NDArray[np.int64]


def round_shift(value: IntArray, shift: IntArray) -> IntArray:
    """``value / 2**shift`` rounded half up, for shifts of at least 0 (then it is ``value``)."""
    return (value + ((1 << shift) >> 1)) >> shift


def round_shift_random(value: IntArray, shift: IntArray, word: IntArray) -> IntArray:
    """``value / 2**shift`` rounded up with the probability of its remainder, by the low bits of ``word``."""
    return (value + (word & ((1 << shift) - 1))) >> shift

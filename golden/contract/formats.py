"""Number formats, and what happens at their ends."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError

__all__ = ["PIXEL_MAX", "Formats", "Overflow", "Phase", "Rounding", "signed_bits", "unsigned_bits"]

PIXEL_MAX = 255
"""Largest pixel intensity; a pixel of this value spikes at every step."""


class Overflow(enum.StrEnum):
    """What happens at the end of a number's range."""

    SATURATE = "saturate"
    """Clamp to the nearest representable value."""
    WIDE = "wide"
    """The format is wide enough that the end is never reached."""


class Rounding(enum.StrEnum):
    """How a weight update is rounded to weight LSBs."""

    HALF_UP = "half-up"
    """``(v + (1 << (r - 1))) >> r``, once per weight write."""
    STOCHASTIC = "stochastic"
    """``(v + (word & (2**r - 1))) >> r`` with a random word: right on average, however small ``v`` is."""


class Phase(enum.StrEnum):
    """Whether a sample is only classified, or learnt from (dropout is active)."""

    INFERENCE = "inference"
    TRAINING = "training"


def unsigned_bits(maximum: int) -> int:
    """Bits of the narrowest unsigned format (at least one) that holds ``0..maximum``."""
    return max(1, maximum.bit_length())


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's-complement format that holds ``low..high``."""
    return 1 + max(low if low >= 0 else ~low, high if high >= 0 else ~high, 0).bit_length()


@dataclass(frozen=True, kw_only=True)
class Formats(Declaration):
    """Number formats of a layer's weights and membrane potentials.

    Parameters
    ----------
    weight_bits
        ``W``, width of a two's-complement weight, 2..24; writes saturate.
    weight_fraction
        ``F``, fraction bits of a weight and of the membrane potential, 4..22.
    membrane_overflow, membrane_clamp
        With ``SATURATE`` the membrane potential is clamped to ``-c * one .. c * one - 1`` with
        ``c = membrane_clamp``, 2..4,096; with ``WIDE`` no clamp is ever reached and ``c`` must be 0.
    """

    weight_bits: int = 16
    weight_fraction: int = 14
    membrane_overflow: Overflow = Overflow.SATURATE
    membrane_clamp: int = 2

    def __post_init__(self) -> None:
        require_integer("weight_bits", self.weight_bits, 2, 24)
        require_integer("weight_fraction", self.weight_fraction, 4, 22)
        if not isinstance(self.membrane_overflow, Overflow):
            raise InputError(f"membrane_overflow: {self.membrane_overflow!r} is not an Overflow")
        if self.membrane_overflow is Overflow.SATURATE:
            require_integer("membrane_clamp", self.membrane_clamp, 2, 4_096)
        else:
            require_integer("membrane_clamp", self.membrane_clamp, 0, 0)

    @property
    def one(self) -> int:
        """The real value 1 in weight LSBs."""
        return 1 << self.weight_fraction

    @property
    def weight_min(self) -> int:
        """Most negative weight, in LSBs."""
        return -(1 << (self.weight_bits - 1))

    @property
    def weight_max(self) -> int:
        """Largest weight, in LSBs."""
        return (1 << (self.weight_bits - 1)) - 1

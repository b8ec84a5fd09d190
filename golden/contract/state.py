"""State: the arrays that layers and readouts keep, declared, so that whoever stores or compares them iterates."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Lifetime", "StateArray"]


class Lifetime(enum.Enum):
    """How long an array's content lasts."""

    SAMPLE = "sample"
    """From its reset value at a sample's start to the sample's end."""
    LEARNT = "learnt"
    """From sample to sample: part of the model, loaded and read by the host."""


@dataclass(frozen=True, kw_only=True)
class StateArray:
    """An array of integers.

    Parameters
    ----------
    name
        What it is called in model files and in the protocol, in the plural: ``weights``, ``thresholds``.
    quantity
        What one of its elements is called in messages: ``weight``, ``adaptive threshold``.
    shape
        One axis of neurons, or presynaptic by postsynaptic neurons.
    bits
        Width of its format.
    low, high
        Smallest and largest value (inclusive), which may be less than the format holds.
    reset
        Value it starts with.
    lifetime
        See the enum.
    """

    name: str
    quantity: str
    shape: tuple[int, ...]
    bits: int
    low: int
    high: int
    reset: int = 0
    lifetime: Lifetime = Lifetime.LEARNT

    @property
    def size(self) -> int:
        """Number of elements."""
        product = 1
        for length in self.shape:
            product *= length
        return product

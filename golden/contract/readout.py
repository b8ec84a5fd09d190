"""Readouts: how the last layer's spikes become an answer."""

from __future__ import annotations

from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.state import StateArray

__all__ = ["CLASSES_MAX", "Readout", "SpikeCounts", "Votes"]


CLASSES_MAX = 256
"""A prediction is a byte."""


class Readout(Declaration, family="readout"):
    """Base of the readouts. The prediction is the class of the unique largest score, none on a tie."""

    def classes(self, neurons: int) -> int:
        """Number of classes that the last layer's ``neurons`` tell apart."""
        raise NotImplementedError

    def state(self, neurons: int) -> tuple[StateArray, ...]:
        """The arrays it keeps."""
        return ()


@dataclass(frozen=True, kw_only=True)
class SpikeCounts(Readout, kind="counts"):
    """Each neuron of the last layer is a class; its spikes are counted."""

    def classes(self, neurons: int) -> int:
        return neurons


@dataclass(frozen=True, kw_only=True)
class Votes(Readout, kind="votes"):
    """Each spike of a neuron adds its votes to the classes' totals. The votes do not learn on chip.

    Parameters
    ----------
    count
        Classes, 1..256.
    vote_bits
        Width of a two's-complement vote, 2..24.
    """

    count: int
    vote_bits: int

    def __post_init__(self) -> None:
        require_integer("count", self.count, 1, CLASSES_MAX)
        require_integer("vote_bits", self.vote_bits, 2, 24)

    def classes(self, neurons: int) -> int:
        return self.count

    @property
    def vote_range(self) -> tuple[int, int]:
        """Smallest and largest vote (inclusive)."""
        return -(1 << (self.vote_bits - 1)), (1 << (self.vote_bits - 1)) - 1

    def state(self, neurons: int) -> tuple[StateArray, ...]:
        low, high = self.vote_range
        return (StateArray(name="weights", quantity="weight", shape=(neurons, self.count), bits=self.vote_bits,
                           low=low, high=high),)

"""Readouts: how what the last layer's neurons do becomes an answer."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.state import StateArray

__all__ = ["CLASSES_MAX", "Potentials", "Readout", "SpikeCounts", "Statistic", "Votes"]


CLASSES_MAX = 256
"""A prediction is a byte."""


class Readout(Declaration, family="readout"):
    """Base of the readouts. The prediction is the class of the unique largest score, none on a tie."""

    def classes(self, neurons: int) -> int:
        """Number of classes that the last layer's ``neurons`` tell apart."""
        raise NotImplementedError

    @property
    def response(self) -> str:
        """What the number is called that is told of a neuron of the last layer."""
        return "spike count"

    def response_range(self, *, membrane: tuple[int, int], steps: int) -> tuple[int, int]:
        """Smallest and largest number that is told of a neuron of the last layer (inclusive), given the range of its
        membrane potential and the steps of a sample: here of its spike count."""
        return 0, steps

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


class Statistic(enum.StrEnum):
    """What is told of a neuron's membrane potentials over a sample."""

    MAXIMUM = "maximum"
    """The largest."""
    MEAN = "mean"
    """Their sum, ``T`` times the mean."""
    LAST = "last"
    """That of the last step."""


@dataclass(frozen=True, kw_only=True)
class Potentials(Readout, kind="potentials"):
    """Each neuron of the last layer is a class; its membrane potential says how much speaks for it: what non-spiking
    leaky integrators (NIR's LI and CubaLI) are there for. It is read after integration, before a reset.

    Parameters
    ----------
    statistic
        Which number its potentials over the sample come to.
    """

    statistic: Statistic

    def __post_init__(self) -> None:
        if not isinstance(self.statistic, Statistic):
            raise InputError(f"statistic: {self.statistic!r} is not a Statistic")

    def classes(self, neurons: int) -> int:
        return neurons

    @property
    def response(self) -> str:
        return f"{'summed' if self.statistic is Statistic.MEAN else self.statistic.value} potential"

    def response_range(self, *, membrane: tuple[int, int], steps: int) -> tuple[int, int]:
        factor = steps if self.statistic is Statistic.MEAN else 1
        return factor * membrane[0], factor * membrane[1]

"""What every kind of neuron declares."""

from __future__ import annotations

import enum
from typing import ClassVar

from lifstream.golden.contract.declaration import Declaration
from lifstream.golden.contract.formats import Formats, Phase, signed_bits
from lifstream.golden.contract.state import Lifetime, StateArray

__all__ = ["DROPOUT_SCALE", "Neuron", "Population"]

DROPOUT_SCALE = 256
"""Denominator of a dropout probability."""


class Population(enum.Enum):
    """Whether a neuron's spikes depend on its neighbours."""

    INDEPENDENT = "independent"
    """Each fires by itself."""
    COMPETING = "competing"
    """In a step the neuron highest above its threshold fires, and no other."""


class Neuron(Declaration, family="kind of neuron"):
    """Base of the kinds of neurons. Potentials and thresholds are in weight LSBs."""

    population: ClassVar[Population] = Population.INDEPENDENT
    dropout: int = 0
    """Probability that a neuron is dropped in a training sample, in 1/256; kinds that can be give it a field."""

    @property
    def fires(self) -> bool:
        """Whether they spike at all: others are read by their potentials."""
        return True

    guard_bits: int = 0
    """Fraction bits that potentials have beyond the weights', for kinds that can."""

    weight_sum: int = 0
    """Where the weights of a neuron should sum to, weight LSBs, for kinds that care; 0: anywhere."""

    def decay(self, potential: int) -> int:
        """What is left of a membrane potential a step later."""
        raise NotImplementedError

    def threshold_in(self, phase: Phase) -> int:
        """Firing threshold in a phase; of neurons that have thresholds of their own, the lowest."""
        raise NotImplementedError

    def potential_range(self, *, current: tuple[int, int], steps: int) -> tuple[int, int]:
        """Smallest and largest membrane potential of ``steps`` steps without a clamp, before firing (inclusive)."""
        low = high = 0
        for _ in range(steps):
            low, high = self.decay(low) + current[0], self.decay(high) + current[1]
        return low, high

    def check(self, formats: Formats) -> None:
        """Raise InputError, beginning with a field of this neuron or of the formats, where they do not go together."""

    def state(self, *, neurons: int, membrane: tuple[int, int], current: tuple[int, int],
              steps: int) -> tuple[StateArray, ...]:
        """The arrays that ``neurons`` of them keep, the membrane potential first.

        ``membrane`` is its range, ``current`` that of a step's synaptic current, ``steps`` those of a sample.
        """
        return (StateArray(name="potentials", quantity="membrane potential", shape=(neurons,),
                           bits=signed_bits(*membrane), low=membrane[0], high=membrane[1],
                           lifetime=Lifetime.SAMPLE),)

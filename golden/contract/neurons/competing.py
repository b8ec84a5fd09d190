"""Competing neurons with adaptive thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Overflow, Phase, unsigned_bits
from lifstream.golden.contract.neurons.base import Neuron, Population
from lifstream.golden.contract.neurons.lif import leaked
from lifstream.golden.contract.state import StateArray

__all__ = ["CompetingLif"]


@dataclass(frozen=True, kw_only=True)
class CompetingLif(Neuron, kind="competing-lif"):
    """Leaky neurons of which the one highest above its threshold fires (P. U. Diehl & M. Cook, 2015).

    Parameters
    ----------
    leak_shift
        ``k``, 1..8.
    threshold_base
        Firing threshold without the adaptive part, weight LSBs, 1..2**30.
    threshold_rise
        What each spike of a training sample adds to the neuron's adaptive threshold, weight LSBs, 0..2**24.
    threshold_leak_shift
        ``a -= a >> threshold_leak_shift`` at the end of each training sample, 1..31.
    inhibition
        Subtracted, after a step in which a neuron fired, from the membrane potential of all others; weight
        LSBs, 0..2**30.
    weight_sum
        Where a neuron's weights should sum to: its threshold is higher by what they are above it. Weight LSBs,
        1..2**30, or 0 for no such effect.
    """

    population: ClassVar[Population] = Population.COMPETING

    leak_shift: int = 2
    threshold_base: int
    threshold_rise: int
    threshold_leak_shift: int = 16
    inhibition: int
    weight_sum: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("leak_shift", 1, 8), ("threshold_base", 1, 1 << 30), ("threshold_rise", 0, 1 << 24),
                                ("threshold_leak_shift", 1, 31), ("inhibition", 0, 1 << 30),
                                ("weight_sum", 0, 1 << 30)):
            require_integer(name, getattr(self, name), low, high)

    def decay(self, potential: int) -> int:
        return leaked(potential, self.leak_shift)

    def threshold_in(self, phase: Phase) -> int:
        return self.threshold_base

    def check(self, formats: Formats) -> None:
        if formats.membrane_overflow is not Overflow.SATURATE:
            raise InputError("membrane_overflow: wide is not supported with competing neurons, give saturate")

    def adaptive_threshold_max(self, membrane_max: int) -> int:
        """Largest adaptive threshold: a neuron that high above the membrane's range fires no more."""
        return membrane_max + self.weight_sum + self.threshold_rise

    def state(self, *, neurons: int, membrane: tuple[int, int], current: tuple[int, int],
              steps: int) -> tuple[StateArray, ...]:
        high = self.adaptive_threshold_max(membrane[1])
        adaptive = StateArray(name="thresholds", quantity="adaptive threshold", shape=(neurons,),
                              bits=unsigned_bits(high), low=0, high=high)
        return (*super().state(neurons=neurons, membrane=membrane, current=current, steps=steps), adaptive)

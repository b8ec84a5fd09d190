"""Pair-based spike-timing-dependent plasticity."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.neurons import Neuron, Population
from lifstream.golden.contract.readout import Readout, Votes
from lifstream.golden.contract.rules.base import SHIFT_MAX, Rule
from lifstream.golden.contract.synapses import Dense, Synapses

__all__ = ["Bounds", "Modulation", "PairStdp"]


class Modulation(enum.StrEnum):
    """What decides the sign of spike-timing-dependent plasticity."""

    NONE = "none"
    """Nothing: unsupervised learning; neurons are labelled afterwards (Diehl & Cook 2015)."""
    REWARD = "reward"
    """One bit for all neurons: a wrong prediction turns potentiation into depression and the other way
    round (Mozafari et al. 2018)."""


class Bounds(enum.StrEnum):
    """How weights stay between 0 and one."""

    SATURATE = "saturate"
    """They are clamped."""
    SOFT = "soft"
    """A change is first halved for every factor of two by which the room left is smaller than one."""


@dataclass(frozen=True, kw_only=True)
class PairStdp(Rule, kind="stdp"):
    """Pair-based plasticity among competing neurons, deferred to the sample's end.

    With presynaptic traces x and postsynaptic traces y, one change per weight and sample::

        dw_ij = A+ * sum_t s_i[t] * (x_j[t] - x_target) - A- * sum_t s_j[t] * y_i[t]

    rounded once; ``A+`` is 2**-rate_shift.

    Parameters
    ----------
    modulation
        Unsupervised, or by a reward.
    bounds
        How weights stay within 0..one.
    presynaptic_target
        ``x_target`` in units of 2**-X, 0..512; doubled for a neuron whose weights sum to more than ``weight_sum``.
    depression_shift
        ``A- = A+ * 2**-depression_shift``, 0..4; None leaves the second term out.
    weight_sum
        See ``presynaptic_target``; weight LSBs, 1..2**30, or 0: never doubled. The neuron's, if it has one.
    punishment_shift
        Changes after a wrong prediction are smaller by 2**-punishment_shift, 0..4.
    trace_fraction, trace_leak_shift, rounding
        See :class:`Rule`.
    """

    teaches: ClassVar[Population] = Population.COMPETING
    readouts: ClassVar[tuple[type[Readout], ...]] = (Votes,)
    synapses: ClassVar[type[Synapses]] = Dense
    every_row: ClassVar[bool] = True

    modulation: Modulation = Modulation.NONE
    bounds: Bounds = Bounds.SOFT
    presynaptic_target: int = 21
    depression_shift: int | None = None
    weight_sum: int = 0
    punishment_shift: int = 0
    trace_fraction: int = 4
    trace_leak_shift: int = 2
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        self._check_shared()
        for name, kind in (("modulation", Modulation), ("bounds", Bounds)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        for name, low, high in (("presynaptic_target", 0, 512), ("weight_sum", 0, 1 << 30),
                                ("punishment_shift", 0, 4)):
            require_integer(name, getattr(self, name), low, high)
        if self.depression_shift is not None:
            require_integer("depression_shift", self.depression_shift, 0, 4)

    def check(self, *, synapses: Synapses, formats: Formats, neuron: Neuron, steps: int) -> None:
        super().check(synapses=synapses, formats=formats, neuron=neuron, steps=steps)
        if formats.weight_fraction >= formats.weight_bits:
            raise InputError(f"weight_fraction: {formats.weight_fraction} is out of bounds, with stdp weights reach "
                             f"one, so at most {formats.weight_bits - 1}")
        if self.weight_sum != (wanted := neuron.weight_sum):
            raise InputError(f"weight_sum: the rule's is {self.weight_sum}, the neuron's {wanted}; give both the same")
        if (deepest := self.extra_shift(formats)) > SHIFT_MAX:
            raise InputError(f"weight_fraction: {formats.weight_fraction} needs shifts of {deepest} bits "
                             f"with stdp, at most {SHIFT_MAX} are supported")

    @property
    def labelled_afterwards(self) -> bool:
        return self.modulation is Modulation.NONE

    @property
    def gain_shift(self) -> int:
        """Fraction bits a correlation needs for the depression's weaker rate."""
        return self.depression_shift or 0

    def weight_range(self, formats: Formats) -> tuple[int, int]:
        return 0, formats.one - 1

    def correlation_range(self, steps: int) -> tuple[int, int]:
        """Of pair sums, in units of 2**-(X + gain_shift)."""
        largest = steps * self.trace_max(steps)
        target = self.presynaptic_target * (2 if self.weight_sum else 1)
        depression = 0 if self.depression_shift is None else largest
        return -(steps * target << self.gain_shift) - depression, largest << self.gain_shift

    def extra_shift(self, formats: Formats) -> int:
        soft = formats.weight_fraction if self.bounds is Bounds.SOFT else 0
        return soft + self.gain_shift + self.punishment_shift

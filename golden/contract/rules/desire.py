"""Desire backpropagation (D. Gerlinghoff, T. Luo, R. S. M. Goh, W.-F. Wong, arXiv 2211.05412)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.neurons import Neuron, PerNeuron
from lifstream.golden.contract.readout import Readout, SpikeCounts
from lifstream.golden.contract.rules.base import Rule
from lifstream.golden.contract.synapses import Synapses

__all__ = ["DESIRE_EXPONENT_MIN", "HIDDEN_THRESHOLD", "HIDDEN_THRESHOLD_FRACTION", "DesireBackpropagation",
           "Eligibility", "Magnitude"]

DESIRE_EXPONENT_MIN = -10
"""Smallest exponent of a graded desire: magnitudes are powers of two from 2**-10 to 1."""

HIDDEN_THRESHOLD_FRACTION = 16
"""Fraction bits of a hidden threshold."""

HIDDEN_THRESHOLD = 655
"""Hidden threshold unless said: 0.01."""


class Eligibility(enum.StrEnum):
    """When a neuron's synapses take part in a weight update."""

    SPIKE = "spike"
    """At steps where the neuron fired (the paper's rule)."""
    MEMBRANE = "membrane"
    """At steps where the membrane reached half the threshold; always, for the output layer."""


class Magnitude(enum.StrEnum):
    """How large a desire is."""

    TERNARY = "ternary"
    """-1, 0 or 1 in the update; the exact spike-count error when passed back (the paper's rule)."""
    GRADED = "graded"
    """The largest power of two not above the error, in both places: shifts, no multiplication."""


@dataclass(frozen=True, kw_only=True)
class DesireBackpropagation(Rule, kind="desire"):
    """Output neurons are wanted to fire more or less; hidden ones as it would have helped those behind them.

    Parameters
    ----------
    eligibility, magnitude
        The form of the rule; see the enums.
    desire_margin
        The label neuron is wanted to spike ``D = T - desire_margin`` times; 0..T-1.
    output_threshold
        Smallest spike-count error (counts) that gives a neuron of the last layer a desire, 1..T.
    hidden_threshold
        Smallest absolute weighted sum, in units of 2**-16, that gives a neuron of another layer a desire, 1..2**24.
    rise_threshold
        The same for the desire to fire more, in units of 2**-16, 1..2**24; None: ``hidden_threshold``. Somewhat larger
        than that it keeps the layer's activity from growing, of which output neurons that want more make most.
    rise_limit
        Spikes in the sample from which a neuron of a layer that is not the last is not wanted to fire more, 1..T;
        None: however often it fired. With the label neuron's ``D`` no neuron is driven to fire at every step, where it
        has nothing more to tell.
    trace_fraction, trace_leak_shift, rounding
        See :class:`Rule`.
    rate_offset
        Added to the rate shift in this layer, -8..8: below 0 it learns faster, as weights that many positions share
        want to.
    """

    readouts: ClassVar[tuple[type[Readout], ...]] = (SpikeCounts,)
    added: ClassVar[tuple[str, ...]] = ("rate_offset", "rise_threshold", "rise_limit")

    eligibility: Eligibility = Eligibility.MEMBRANE
    magnitude: Magnitude = Magnitude.GRADED
    desire_margin: int = 4
    output_threshold: int = 1
    hidden_threshold: int = HIDDEN_THRESHOLD
    trace_fraction: int = 4
    trace_leak_shift: int = 2
    rounding: Rounding = Rounding.HALF_UP
    rate_offset: int = 0
    rise_threshold: int | None = None
    rise_limit: int | None = None

    def __post_init__(self) -> None:
        self._check_shared()
        require_integer("rate_offset", self.rate_offset, -8, 8)
        for name, kind in (("eligibility", Eligibility), ("magnitude", Magnitude)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        require_integer("hidden_threshold", self.hidden_threshold, 1, 1 << 24)
        if self.rise_threshold is not None:
            require_integer("rise_threshold", self.rise_threshold, 1, 1 << 24)

    def check(self, *, synapses: Synapses, formats: Formats, neuron: Neuron, steps: int) -> None:
        super().check(synapses=synapses, formats=formats, neuron=neuron, steps=steps)
        require_integer("desire_margin", self.desire_margin, 0, steps - 1)
        require_integer("output_threshold", self.output_threshold, 1, steps)
        if self.rise_limit is not None:
            require_integer("rise_limit", self.rise_limit, 1, steps)
        threshold = getattr(neuron, "threshold", None)
        if isinstance(threshold, PerNeuron) and self.eligibility is Eligibility.MEMBRANE:
            # From 1 a neuron would be eligible at rest; whether any is, has to be known before the numbers are.
            require_integer("neuron.threshold.low", threshold.low, 2, 1 << 30)

    def magnitude_max(self, steps: int) -> int:
        """Of a graded desire the negated exponent, of a ternary one the distance in spike counts."""
        return -DESIRE_EXPONENT_MIN if self.magnitude is Magnitude.GRADED else steps

    def check_network(self, rules: tuple[Rule, ...]) -> None:
        for index, rule in enumerate(rules):
            for name in ("eligibility", "magnitude", "desire_margin"):
                if getattr(rule, name) != getattr(self, name):
                    raise InputError(f"layers[{index}].rule.{name}: {getattr(rule, name)}, the first layer's is "
                                     f"{getattr(self, name)}; desires travel between layers of one form")

    def desired_count(self, steps: int) -> int:
        """``D``: spikes wanted of the label neuron."""
        return steps - self.desire_margin

    @property
    def hidden_thresholds(self) -> tuple[int, int]:
        """``hidden_threshold`` and ``rise_threshold``: of the desires to fire less, and more."""
        return self.hidden_threshold, self.hidden_threshold if self.rise_threshold is None else self.rise_threshold

    @property
    def hidden_thresholds_real(self) -> tuple[float, float]:
        """The hidden thresholds as real numbers."""
        fall, rise = self.hidden_thresholds
        return fall / (1 << HIDDEN_THRESHOLD_FRACTION), rise / (1 << HIDDEN_THRESHOLD_FRACTION)

    def hidden_thresholds_raw(self, *, fraction: int, steps: int) -> tuple[int, int]:
        """The hidden thresholds in the units of the weighted sum they are compared with.

        Graded: LSBs of the weights behind, which have ``fraction`` fraction bits, times 2**-10 (exponents carry 10
        fraction bits). Ternary: these LSBs times spike counts, that is, the real sum times ``D``. Rounded up:
        ``sum >= real`` is the same statement.
        """
        def raw(threshold: int) -> int:
            if self.magnitude is Magnitude.GRADED:
                scaled = threshold << (fraction - DESIRE_EXPONENT_MIN)
            else:
                scaled = (threshold * self.desired_count(steps)) << fraction
            return -(-scaled >> HIDDEN_THRESHOLD_FRACTION)

        fall, rise = self.hidden_thresholds
        return raw(fall), raw(rise)

    def correlation_range(self, steps: int) -> tuple[int, int]:
        return 0, steps * self.trace_max(steps)

    def extra_shift(self, formats: Formats) -> int:
        return -DESIRE_EXPONENT_MIN

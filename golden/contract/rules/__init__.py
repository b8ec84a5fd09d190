"""Learning rules: what a layer records of a sample, and what it changes. A kind per file."""

from lifstream.golden.contract.rules.base import Rule
from lifstream.golden.contract.rules.desire import (
    DESIRE_EXPONENT_MIN,
    HIDDEN_THRESHOLD,
    DesireBackpropagation,
    Eligibility,
    Magnitude,
)
from lifstream.golden.contract.rules.fixed import Fixed
from lifstream.golden.contract.rules.stdp import Bounds, Modulation, PairStdp

__all__ = ["DESIRE_EXPONENT_MIN", "HIDDEN_THRESHOLD", "Bounds", "DesireBackpropagation", "Eligibility", "Fixed",
           "Magnitude", "Modulation", "PairStdp", "Rule"]

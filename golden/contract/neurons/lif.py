"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.neurons.base import DROPOUT_SCALE, Neuron

__all__ = ["Lif", "Reset", "leaked", "threshold_behind"]


class Reset(enum.StrEnum):
    """What a spike does to the membrane potential."""

    SUBTRACT = "subtract"
    """The threshold is subtracted (soft reset)."""
    VALUE = "value"
    """It becomes a certain value (hard reset); of :class:`CubaLif`."""


def leaked(value: int, leak_shift: int) -> int:
    """``((2**k - 1) * value) >> k``: the decay of membrane potential and trace in a step."""
    return (((1 << leak_shift) - 1) * value) >> leak_shift


def threshold_behind(dropout: int, *, threshold: int) -> int | None:
    """The training threshold behind neurons that are dropped with a probability of ``dropout`` / 256; 0: None.

    ``threshold * (256 - dropout) >> 8``: the threshold of what is left of them.
    """
    return threshold * (DROPOUT_SCALE - dropout) // DROPOUT_SCALE if dropout else None


@dataclass(frozen=True, kw_only=True)
class Lif(Neuron, kind="lif"):
    """Leak, integrate, clamp, fire at the threshold, reset (design section 3).

    Parameters
    ----------
    leak_shift
        ``k``, 1..8: ``leak(v) = ((2**k - 1) * v) >> k``.
    threshold
        Firing threshold, weight LSBs, 1..2**30.
    training_threshold
        The same in training samples: lower when neurons of the layer before are dropped, which replaces the scale
        1 / (1 - p) of what is left. None: as :attr:`threshold`.
    reset
        What a spike does.
    dropout
        Probability that a neuron is dropped in a training sample, in 1/256, 0..192.
    """

    leak_shift: int = 2
    threshold: int
    training_threshold: int | None = None
    reset: Reset = Reset.SUBTRACT
    dropout: int = 0

    def __post_init__(self) -> None:
        require_integer("leak_shift", self.leak_shift, 1, 8)
        require_integer("threshold", self.threshold, 1, 1 << 30)
        if self.training_threshold is not None:
            require_integer("training_threshold", self.training_threshold, 1, 1 << 30)
        if self.reset is not Reset.SUBTRACT:
            raise InputError(f"reset: {self.reset!r} is not Reset.SUBTRACT; neurons of another are cuba-lif")
        require_integer("dropout", self.dropout, 0, 192)

    def decay(self, potential: int) -> int:
        return leaked(potential, self.leak_shift)

    def threshold_in(self, phase: Phase) -> int:
        """Firing threshold in a phase."""
        if phase is Phase.INFERENCE or self.training_threshold is None:
            return self.threshold
        return self.training_threshold

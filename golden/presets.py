"""Named networks: a numeric contract, the data set it is meant for, and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from golden.spec import InputError, NetworkSpec, Overflow, Rule

__all__ = ["PRESETS", "Preset", "TrainingPlan", "preset_by_name"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How a network is trained; no part of the numeric contract.

    Parameters
    ----------
    epochs
        Passes over the training images, at least 1.
    rate_shift
        Learning rate 2**-rate_shift in the first epoch.
    rate_shift_every
        The rate halves (the shift grows by 1) after this many epochs; 0 keeps it.
    validation
        Training images held out for validation; 0 learns from all of them.
    shift
        Augmentation: each presentation is shifted by up to this many pixels in each direction, 0..4.
    patience
        Early stopping: end after this many epochs without a better validation accuracy, and take the
        weights of the best one; 0 runs all epochs and takes the last weights.
    """

    epochs: int
    rate_shift: int
    rate_shift_every: int = 0
    validation: int = 5_000
    shift: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("epochs", 1, 10_000), ("rate_shift", 0, 63), ("rate_shift_every", 0, 10_000),
                                ("validation", 0, 1_000_000), ("shift", 0, 4), ("patience", 0, 10_000)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name}: {getattr(self, name)} is out of bounds, must be {low}..{high}")
        if self.patience and not self.validation:
            raise InputError("patience: early stopping needs validation images; give --validation")

    def rate_shift_at(self, epoch: int) -> int:
        """Rate shift of an epoch, counted from 0."""
        grown = epoch // self.rate_shift_every if self.rate_shift_every else 0
        return self.rate_shift + grown


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network by name."""

    name: str
    dataset: str
    spec: NetworkSpec
    training: TrainingPlan

    def with_rule(self, rule: Rule) -> Preset:
        """The same network under a named form of the rule.

        The paper's form takes the paper's learning rate, 1e-5 or about 2**-17; its desires are not
        scaled down, so a graded network's rate would be too large for it.
        """
        spec = self.spec.with_rule(rule)
        if spec == self.spec:
            return self
        plan = replace(self.training, rate_shift=15 if rule is Rule.PAPER else 13, rate_shift_every=4)
        return replace(self, spec=spec, training=plan)

    def varied(self, *, rule: Rule | None = None, weight_bits: int | None = None, steps: int | None = None,
               hidden: int | None = None) -> Preset:
        """The preset with some choices changed; None keeps them.

        Parameters
        ----------
        rule
            See :meth:`with_rule`.
        weight_bits
            Width of a weight; fraction bits follow, so that weights still reach from -2 to 2.
        steps
            Time steps; the desire margin stays a fifth of them, and the learning rate is scaled by the
            nearest power of two, because correlations grow with the steps.
        hidden
            Neurons of the first hidden layer.
        """
        preset = self if rule is None else self.with_rule(rule)
        spec, plan = preset.spec, preset.training
        if weight_bits is not None:
            spec = replace(spec, weight_bits=weight_bits, weight_fraction=weight_bits - 2)
        if steps is not None:
            plan = replace(plan, rate_shift=plan.rate_shift + round(math.log2(max(1, steps) / spec.steps)))
            spec = replace(spec, steps=steps, desire_margin=steps // 5)
        if hidden is not None:
            if spec.layers < 2:
                raise InputError(f"hidden: {self.name} has no hidden layer")
            spec = replace(spec, sizes=(spec.sizes[0], hidden, *spec.sizes[2:]))
        return replace(preset, spec=spec, training=plan)


def _graded(sizes: tuple[int, ...], *, dropout: int) -> NetworkSpec:
    return NetworkSpec(sizes=sizes, dropout=dropout).with_rule(Rule.GRADED)


def _paper(sizes: tuple[int, ...], *, dropout: int) -> NetworkSpec:
    return NetworkSpec(sizes=sizes, dropout=dropout, membrane_overflow=Overflow.WIDE,
                       membrane_clamp=0).with_rule(Rule.PAPER)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="digits", dataset="digits", spec=_graded((64, 32, 10), dropout=0),
               training=TrainingPlan(epochs=10, rate_shift=11, rate_shift_every=4, validation=150)),
        Preset(name="mnist-128", dataset="mnist", spec=_graded((784, 128, 10), dropout=32),
               training=TrainingPlan(epochs=12, rate_shift=12, rate_shift_every=3)),
        Preset(name="mnist-256", dataset="mnist", spec=_graded((784, 256, 10), dropout=32),
               training=TrainingPlan(epochs=30, rate_shift=12, rate_shift_every=6)),
        Preset(name="fashion-256", dataset="fashion-mnist", spec=_graded((784, 256, 10), dropout=32),
               training=TrainingPlan(epochs=30, rate_shift=12, rate_shift_every=6)),
        Preset(name="paper-mnist", dataset="mnist", spec=_paper((784, 1600, 800, 10), dropout=77),
               training=TrainingPlan(epochs=150, rate_shift=17, rate_shift_every=0)),
        Preset(name="paper-fashion", dataset="fashion-mnist", spec=_paper((784, 1000, 100, 10), dropout=102),
               training=TrainingPlan(epochs=600, rate_shift=17, rate_shift_every=0)),
    )
}
"""All presets by name."""


def preset_by_name(name: str) -> Preset:
    """The preset called ``name``.

    Raises
    ------
    InputError
        No such preset; the message lists them.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"preset {name!r} is unknown, choose one of: {', '.join(PRESETS)}") from None

"""Named networks: a numeric contract, the data set it is meant for, and how it is trained."""

from __future__ import annotations

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
        Training images held out for validation, at least 1.
    """

    epochs: int
    rate_shift: int
    rate_shift_every: int = 0
    validation: int = 5_000

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("rate_shift", 0), ("rate_shift_every", 0), ("validation", 1)):
            if getattr(self, name) < low:
                raise InputError(f"{name}: {getattr(self, name)} is out of bounds, must be at least {low}")

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

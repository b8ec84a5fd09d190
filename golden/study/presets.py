"""Named networks: a numeric contract, the data set it is meant for, and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import (
    FlatNetwork,
    NamedRule,
    flat_network,
    flattened,
    with_rule,
)
from lifstream.golden.contract.formats import Overflow, Rounding
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.rules import Modulation
from lifstream.golden.files import is_there, parse_json, read_up_to
from lifstream.golden.study.datasets import DATASETS
from lifstream.golden.study.own_data import RANDOM, data_shape, load_data, plain_name
from lifstream.golden.study.words import in_words, network_from_words

__all__ = ["PRESETS", "Preset", "TrainingPlan", "default_plan", "preset_by_name", "preset_from_json",
           "preset_in_words"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How a network is trained; no part of the numeric contract.

    Parameters
    ----------
    epochs
        Passes over the training images, at least 1.
    rate_shift
        Learning rate 2**-rate_shift in the first epoch.
    rate_shift_end
        Learning rate 2**-rate_shift_end in the last epochs; the shift grows from the one to the other in
        steps of 1 at equal distances.
    validation
        Training images held out for validation; 0 learns from all of them.
    shift
        Augmentation: each presentation is shifted by up to this many pixels in each direction, 0..4.
    mirror
        Augmentation: half of the presentations, at random, are mirrored, left for right.
    patience
        Early stopping: end after this many epochs without a better validation accuracy, and take the
        weights of the best one; 0 runs all epochs and takes the last weights.
    """

    epochs: int
    rate_shift: int
    rate_shift_end: int
    validation: int = 5_000
    shift: int = 0
    mirror: bool = False
    patience: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("epochs", 1, 10_000), ("rate_shift", 0, 63),
                                ("rate_shift_end", self.rate_shift, 63),
                                ("validation", 0, 1_000_000), ("shift", 0, 4), ("patience", 0, 10_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"{name}: {value!r} is not an integer")
            if not low <= value <= high:
                raise InputError(f"{name}: {value} is out of bounds, must be {low}..{high}")
        if not isinstance(self.mirror, bool):
            raise InputError(f"mirror: {self.mirror!r} is neither true nor false")
        if self.patience and not self.validation:
            raise InputError("patience: early stopping needs validation images; give --validation")

    @classmethod
    def from_json(cls, data: object) -> TrainingPlan:
        """A plan from plain JSON values, as ``dataclasses.asdict`` makes them.

        Raises
        ------
        InputError
            A field is unknown, missing, or out of bounds.
        """
        if not isinstance(data, dict):
            raise InputError(f"plan: expected a JSON object, got {type(data).__name__}")
        if unknown := sorted(set(data) - {field.name for field in fields(cls)}):
            raise InputError(f"plan: unknown field {unknown[0]!r}; was it made by a newer version?")
        if missing := {"epochs", "rate_shift", "rate_shift_end"} - set(data):
            raise InputError(f"plan: field {min(missing)!r} is missing")
        return cls(**data)

    def with_rate_offset(self, offset: int) -> TrainingPlan:
        """The same plan with all rates divided by 2**offset."""
        return replace(self, rate_shift=self.rate_shift + offset, rate_shift_end=self.rate_shift_end + offset)

    def rate_shift_at(self, epoch: int) -> int:
        """Rate shift of an epoch, counted from 0; that of the last one for any later epoch."""
        levels = self.rate_shift_end - self.rate_shift + 1
        return self.rate_shift + levels * min(epoch, self.epochs - 1) // self.epochs


def default_plan(dataset: str) -> TrainingPlan:
    """How a network of no plan of its own learns a data set; of a user's own, a tenth is held out for validation."""
    if dataset in ("digits", "events-digits"):
        return TrainingPlan(epochs=10, rate_shift=11, rate_shift_end=13, validation=150)
    plan = TrainingPlan(epochs=12, rate_shift=12, rate_shift_end=15)
    if dataset in DATASETS or dataset == RANDOM or not is_there(Path(dataset)):
        return plan
    return replace(plan, validation=min(plan.validation, len(load_data(dataset).train) // 10))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network by name."""

    name: str
    dataset: str
    spec: NetworkSpec
    training: TrainingPlan
    paper_rate_offset: int = 3
    """How much larger the rate shifts of the paper's form are: its desires are not scaled down."""

    def with_rule(self, rule: NamedRule) -> Preset:
        """The same network under a named form of the rule.

        The learning rates follow by ``paper_rate_offset``; the paper's own rate is 1e-5, about 2**-17.
        """
        spec = with_rule(self.spec, rule)
        if spec == self.spec:
            return self
        if type(spec.layers[0].rule) is type(self.spec.layers[0].rule) and rule in _DESIRE_FORMS:
            offset = self.paper_rate_offset if rule is NamedRule.PAPER else -self.paper_rate_offset
            return replace(self, spec=spec, training=self.training.with_rate_offset(offset))
        # Between desires and plasticity rates do not carry over.
        first = 12 if rule in _DESIRE_FORMS else _PLASTIC_RATE
        return replace(self, spec=spec, training=replace(self.training, rate_shift=first, rate_shift_end=first))

    def require_rates(self) -> None:
        """Raise InputError when the contract's update unit cannot make one of the plan's learning rates."""
        plan = self.training
        low, high = self.spec.rate_shift_range
        for rate_shift in sorted({plan.rate_shift_at(epoch) for epoch in range(plan.epochs)}):
            if not low <= rate_shift <= high:
                raise InputError(f"learning rate: rate shift {rate_shift} is none that the updates of all layers can "
                                 f"make, which are {low}..{high}; give --rate-shift and --rate-shift-end, or layers "
                                 "another 'rate'")

    def planned(self, **choices: Any) -> Preset:
        """The preset with fields of its :class:`TrainingPlan` changed, those that are not None."""
        changed = {name: value for name, value in choices.items() if value is not None}
        return replace(self, training=replace(self.training, **changed))

    def varied(self, *, rule: NamedRule | None = None, weight_bits: int | None = None, steps: int | None = None,
               hidden: int | None = None, rounding: Rounding | None = None) -> Preset:
        """The preset with some choices changed; None keeps them.

        Parameters
        ----------
        rule
            See :meth:`with_rule`.
        weight_bits
            Width of a weight, in every layer; fraction bits follow, so that weights still reach from -2 to 2. Below
            12 bits the learning rate doubles for every two bits less, or most updates would be rounded away; with
            stochastic rounding for every four.
        steps
            Time steps; the desire margin stays a fifth of them, at least 1, and the learning rate is scaled by the
            nearest power of two, because correlations grow with the steps.
        hidden
            Neurons of the first hidden layer.
        rounding
            How weight updates are rounded.
        """
        preset = self if rule is None else self.with_rule(rule)
        spec, plan = preset.spec, preset.training
        if rounding is not None:
            spec = replace(spec, layers=tuple(replace(layer, rule=replace(cast(Any, layer.rule), rounding=rounding))
                                              for layer in spec.layers))
        if weight_bits is not None:
            signed = spec.at(0).weight_range[0] < 0
            if signed and weight_bits < _WEIGHT_BITS_MIN:
                raise InputError(f"weight_bits: {weight_bits} is out of bounds: weights from -2 to 2 have at least "
                                 f"{_WEIGHT_BITS_MIN}")
            spec = preset._with_weight_bits(spec, weight_bits)
            if signed:  # weights from 0 to 1 change by what counts in their LSBs
                at_random = all(at.rounds_at_random for at in spec.placed)
                plan = plan.with_rate_offset(-max(0, (13 - weight_bits) // (4 if at_random else 2)))
        if steps is not None:
            flat = preset._flat(spec, "steps")
            spec = flat.with_steps(steps).network()  # steps out of bounds end here
            plan = plan.with_rate_offset(round(math.log2(steps / flat.steps)))
        if hidden is not None:
            flat = preset._flat(spec, "hidden")
            if len(flat.sizes) < 3:
                raise InputError(f"hidden: {self.name} has no hidden layer")
            spec = flat.with_hidden(hidden).network()
        return replace(preset, spec=spec, training=plan)

    def _flat(self, spec: NetworkSpec, what: str) -> FlatNetwork:
        flat = flattened(spec)
        if flat is None:
            raise InputError(f"{what}: the layers of {self.name} are not all dense and alike, so this cannot be "
                             "changed in one word; change its layers")
        return flat

    def _with_weight_bits(self, spec: NetworkSpec, bits: int) -> NetworkSpec:
        if flattened(spec) is None and all(isinstance(layer.neuron, Lif) for layer in spec.layers):
            return replace(spec, layers=tuple(_narrowed(layer, bits) for layer in spec.layers))
        return self._flat(spec, "weight bits").with_weight_bits(bits).network()


def _narrowed(layer: Layer, bits: int) -> Layer:
    """A layer of :class:`Lif` neurons with weights of ``bits`` bits from -2 to 2; thresholds, in their LSBs, follow."""
    formats = replace(layer.formats, weight_bits=bits, weight_fraction=bits - 2)
    neuron = cast(Lif, layer.neuron)
    thresholds = {name: value * formats.one // layer.formats.one for name in ("threshold", "training_threshold")
                  if (value := getattr(neuron, name)) is not None}
    return replace(layer, formats=formats, neuron=replace(neuron, **thresholds))


_WEIGHT_BITS_MIN = 6
"""Of weights from -2 to 2: two, and the least fraction."""
_DESIRE_FORMS = (NamedRule.PAPER, NamedRule.GRADED)
_PLASTIC_RATE = 10


def _plastic(sizes: tuple[int, ...], modulation: Modulation, **constants: Any) -> NetworkSpec:
    rule = NamedRule.STDP if modulation is Modulation.NONE else NamedRule.REWARD_STDP
    spec = with_rule(flat_network(sizes=sizes), rule)
    layers = tuple(replace(layer, neuron=replace(cast(Any, layer.neuron), **constants)) for layer in spec.layers)
    return replace(spec, layers=layers)


def _graded(sizes: tuple[int, ...], **choices: Any) -> NetworkSpec:
    return with_rule(flat_network(sizes=sizes, **choices), NamedRule.GRADED)


def _paper(sizes: tuple[int, ...], *, dropout: int) -> NetworkSpec:
    return with_rule(flat_network(sizes=sizes, dropout=dropout, membrane_overflow=Overflow.WIDE, membrane_clamp=0),
                     NamedRule.PAPER)


def _in_words(words: str, *, dataset: str) -> NetworkSpec:
    return network_from_words(words, **data_shape(dataset)._asdict())


def _seen(words: str, *, dataset: str, wanted: int) -> NetworkSpec:
    """A network of events: they come when the image moves, so neurons leak by a sixteenth, and a label neuron is wanted
    to fire in no more than ``wanted`` steps."""
    spec = _in_words(words, dataset=dataset)
    layers = tuple(replace(layer, neuron=replace(cast(Any, layer.neuron), leak_shift=4),
                           rule=replace(cast(Any, layer.rule), desire_margin=spec.steps - wanted))
                   for layer in spec.layers)
    return replace(spec, layers=layers)


_SUMMED_MAPS = "conv 24 5x5/2 desire 300, conv 48 3x3 pad 0 rate -1 desire 300, pool 2, dense 10"


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="digits", dataset="digits", spec=_graded((64, 32, 10), dropout=0),
               training=default_plan("digits"), paper_rate_offset=0),
        Preset(name="mnist-128", dataset="mnist", spec=_graded((784, 128, 10), dropout=32),
               training=TrainingPlan(epochs=12, rate_shift=12, rate_shift_end=15)),
        Preset(name="mnist-256", dataset="mnist", spec=_graded((784, 256, 10), dropout=16),
               training=TrainingPlan(epochs=30, rate_shift=12, rate_shift_end=16)),
        # Learns from nearly half of the samples to the end, at rates at which rounding half up would lose most.
        Preset(name="fashion-256", dataset="fashion-mnist",
               spec=_graded((784, 256, 10), dropout=16, rounding=Rounding.STOCHASTIC),
               training=TrainingPlan(epochs=28, rate_shift=12, rate_shift_end=18)),
        # The paper's networks under the graded rule. Fan-in is large and hidden desires are small, so weights
        # are small and updates smaller: two more fraction bits, and stochastic rounding.
        Preset(name="deep-mnist", dataset="mnist",
               spec=_graded((784, 1600, 800, 10), dropout=80, weight_fraction=16, rounding=Rounding.STOCHASTIC),
               training=TrainingPlan(epochs=70, rate_shift=12, rate_shift_end=18)),
        Preset(name="deep-fashion", dataset="fashion-mnist",
               spec=_graded((784, 1000, 100, 10), dropout=64, weight_fraction=16, rounding=Rounding.STOCHASTIC),
               training=TrainingPlan(epochs=50, rate_shift=12, rate_shift_end=18)),
        Preset(name="paper-mnist", dataset="mnist", spec=_paper((784, 1600, 800, 10), dropout=77),
               training=TrainingPlan(epochs=150, rate_shift=17, rate_shift_end=17)),
        Preset(name="paper-fashion", dataset="fashion-mnist", spec=_paper((784, 1000, 100, 10), dropout=102),
               training=TrainingPlan(epochs=600, rate_shift=17, rate_shift_end=17)),
        # Maps. Kernels change at many positions per sample and go on gaining while the rate falls slowly; a map of
        # few channels in front of sums wants half the rate of the dense layer behind.
        Preset(name="conv-digits", dataset="digits",
               spec=_in_words("conv 12 3x3 pad 0 rate +1, pool 2, dense 10", dataset="digits"),
               training=default_plan("digits")),
        Preset(name="conv-small", dataset="mnist",
               spec=_in_words("conv 16 5x5/2 rate -2 desire 300 limit 18, conv 32 3x3/2 rate -2 desire 300 limit 18, "
                              "dense 10", dataset="mnist"),
               training=TrainingPlan(epochs=20, rate_shift=12, rate_shift_end=16, shift=1)),
        Preset(name="conv-mnist", dataset="mnist",
               spec=_in_words(_SUMMED_MAPS, dataset="mnist"),
               training=TrainingPlan(epochs=24, rate_shift=12, rate_shift_end=16, shift=1)),
        Preset(name="conv-fashion", dataset="fashion-mnist",
               spec=_in_words(_SUMMED_MAPS, dataset="fashion-mnist"),
               training=TrainingPlan(epochs=8, rate_shift=12, rate_shift_end=14, mirror=True)),  # then spikes run away
        Preset(name="local-mnist", dataset="mnist",
               spec=_in_words("local 8 7x7/3 pad 0 rate -1, dense 10", dataset="mnist"),
               training=TrainingPlan(epochs=12, rate_shift=11, rate_shift_end=14)),
        Preset(name="events-mnist", dataset="events-mnist",
               spec=_seen("conv 24 5x5/2 rate -1 limit 10, conv 48 3x3/2 rate -1 limit 10, dense 10",
                          dataset="events-mnist", wanted=10),
               training=TrainingPlan(epochs=3, rate_shift=12, rate_shift_end=14)),  # then spikes only grow
        # Competing neurons; the last layer counts their votes.
        Preset(name="digits-stdp", dataset="digits", spec=_plastic((64, 50, 10), Modulation.NONE, threshold_rise=60),
               training=TrainingPlan(epochs=2, rate_shift=10, rate_shift_end=10, validation=150)),
        Preset(name="stdp-100", dataset="mnist", spec=_plastic((784, 100, 10), Modulation.NONE),
               training=TrainingPlan(epochs=1, rate_shift=10, rate_shift_end=10)),
        Preset(name="stdp-400", dataset="mnist", spec=_plastic((784, 400, 10), Modulation.NONE),
               training=TrainingPlan(epochs=1, rate_shift=9, rate_shift_end=9)),
        Preset(name="stdp-1600", dataset="mnist", spec=_plastic((784, 1600, 10), Modulation.NONE),
               training=TrainingPlan(epochs=3, rate_shift=9, rate_shift_end=10)),
        Preset(name="rstdp-200", dataset="mnist", spec=_plastic((784, 200, 10), Modulation.REWARD),
               training=TrainingPlan(epochs=4, rate_shift=10, rate_shift_end=13)),
    )
}
"""All presets by name."""


def preset_in_words(words: str, *, dataset: str) -> Preset:
    """The preset of a network in words (:func:`network_from_words`) for a data set, with :func:`default_plan`.

    Its name, good for a file, is short and not the only network's: ``conv16-conv32-dense10``.

    Raises
    ------
    InputError
        There is no such data set, or words are none, or do not go with it.
    """
    spec = _in_words(words, dataset=dataset)
    layers = [piece.split() for piece in (in_words(spec) or "").split(", ")]
    name = "-".join(f"{kind}{count}" for kind, count, *_ in layers if kind != "pool")
    return Preset(name=name, dataset=dataset, spec=spec, training=default_plan(dataset))


_LONGEST_JSON = 1 << 24


def preset_from_json(path: Path, *, dataset: str | None = None) -> Preset:
    """The preset of a contract in JSON, as ``NetworkSpec.to_json`` writes it or as the field ``spec`` of the
    description beside generated Verilog, for a data set or random images, with :func:`default_plan`.

    Raises
    ------
    InputError
        The file cannot be read, or holds no contract.
    """
    try:
        with path.open("rb") as stream:
            text = read_up_to(stream, _LONGEST_JSON + 1)
        if len(text) > _LONGEST_JSON:
            raise InputError(f"{path}: is longer than any contract")
        content = parse_json(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({error}); write a contract's to_json there") from None
    if isinstance(content, dict) and "spec_digest" in content and "spec" in content:
        content = content["spec"]
    try:
        spec = NetworkSpec.from_json(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    dataset = dataset or RANDOM
    return Preset(name=plain_name(path.stem), dataset=dataset, spec=spec, training=default_plan(dataset))


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

"""Options that several commands share, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from lifstream.golden.datasets import Dataset
from lifstream.golden.files import require_place
from lifstream.golden.model import Model, find_model, load_model, released_models
from lifstream.golden.network import Network
from lifstream.golden.presets import PRESETS, Preset, TrainingPlan, preset_by_name
from lifstream.golden.spec import InputError, NetworkSpec, Rule

__all__ = ["DataOption", "EpochsOption", "JsonOption", "LanesOption", "ModelArgument", "NamedNetwork", "OptionalModel",
           "OptionalPreset", "PresetOption", "RuleOption", "SeedOption", "UnrollOption", "WeightBitsOption",
           "WindowOption", "chosen_preset", "named_model", "named_network", "named_preset", "open_model", "percent",
           "require_file_place", "require_fit", "with_plan"]

PresetOption = Annotated[str, typer.Option("--preset", help=f"Network: {', '.join(PRESETS)}.")]
OptionalPreset = Annotated[str | None, typer.Option("--preset", help=f"Network: {', '.join(PRESETS)}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DataOption = Annotated[Path | None, typer.Option(
    "--data-dir", help="Folder of the IDX files; otherwise $LIFSTREAM_DATA, ../shared/data, the cache, a download.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the training images.")]
RuleOption = Annotated[Rule | None, typer.Option("--rule", help="Form of the learning rule; default: the preset's.")]
WeightBitsOption = Annotated[int | None, typer.Option(
    "--weight-bits", help="Width of a weight; default: the preset's.")]
LanesOption = Annotated[int | None, typer.Option(
    "--lanes", help="Neurons updated per clock; each layer takes min(lanes, n_out). Default: all.")]
WindowOption = Annotated[int, typer.Option("--window", help="Pixels the encoder examines per clock.")]
UnrollOption = Annotated[int, typer.Option("--unroll", help="Time steps a weight update goes through per clock.")]
_MODEL_HELP = f"Model file written by 'lifstream train', or a released model: {', '.join(released_models())}."
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP)]
OptionalModel = Annotated[str | None, typer.Argument(metavar="[MODEL]", help=_MODEL_HELP)]


def chosen_preset(name: str, rule: Rule | None = None) -> Preset:
    """A preset by name, under another form of the rule if one is given."""
    preset = preset_by_name(name)
    return preset if rule is None else preset.with_rule(rule)


def with_plan(preset: Preset, **choices: int | None) -> Preset:
    """A preset with the fields of its training plan changed that are not None."""
    changed = {name: value for name, value in choices.items() if value is not None}
    plan: TrainingPlan = replace(preset.training, **changed)
    return replace(preset, training=plan)


def open_model(name: str, preset: Preset | None = None) -> Model:
    """A model by file or released name; with ``preset``, it must be of that preset's contract."""
    return load_model(find_model(name), expected=None if preset is None else preset.spec)


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """A network that the user named: a preset, or a trained model.

    Parameters
    ----------
    name
        What to call it: the preset's name, or the model's without folder and ending.
    preset
        Contract, data set and training plan; a model's own.
    model
        The trained model, if it is one.
    """

    name: str
    preset: Preset
    model: Model | None = None

    @property
    def epochs(self) -> int:
        """Epochs that it was trained for."""
        return 0 if self.model is None else len(self.model.training.get("epochs", []))

    def network(self, seed: int) -> Network:
        """Its own weights, those of a preset drawn at random."""
        return Network.initial(spec=self.preset.spec, seed=seed) if self.model is None else self.model.network


def named_preset(name: str, *, weight_bits: int | None = None) -> NamedNetwork:
    """A preset by name, with another width of weights if one is given."""
    return NamedNetwork(name=name, preset=preset_by_name(name).varied(weight_bits=weight_bits))


def named_model(name: str, *, preset: Preset | None = None) -> NamedNetwork:
    """A model by file or released name; with ``preset``, it must be of that preset's contract."""
    model = open_model(name, preset)
    plan = model.training.get("plan")
    training = TrainingPlan(**plan) if plan else preset_by_name(model.preset).training
    return NamedNetwork(name=Path(name).stem, model=model, preset=Preset(
        name=model.preset, dataset=model.dataset, spec=model.network.spec, training=training))


def named_network(name: str, *, weight_bits: int | None = None) -> NamedNetwork:
    """A preset by name; if there is none, a model by file or released name.

    Raises
    ------
    InputError
        Neither is there, or a model is to have another width of weights than its own.
    """
    if name in PRESETS:
        return named_preset(name, weight_bits=weight_bits)
    try:
        find_model(name)
    except InputError:
        raise InputError(f"network {name!r} is unknown: neither a model file nor a preset ({', '.join(PRESETS)})"
                         ) from None
    if weight_bits is not None:
        raise InputError("--weight-bits: a model has its own width; name a preset, or train the model with this option")
    return named_model(name)


def percent(fraction: float) -> str:
    """A fraction for people."""
    return f"{100 * fraction:.2f} %"


def require_file_place(place: Path) -> None:
    """See to it before hours of work that the result can be written."""
    require_place(place)


def require_fit(spec: NetworkSpec, dataset: Dataset) -> None:
    """Raise InputError when the images are not of the network's size."""
    if dataset.height * dataset.width != spec.inputs:
        raise InputError(f"data set {dataset.name}: {dataset.height * dataset.width} pixels, "
                         f"but the model takes {spec.inputs}")

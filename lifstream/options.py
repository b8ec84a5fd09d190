"""Options that several commands share, and what they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lifstream.golden.datasets import Dataset
from lifstream.golden.files import require_place
from lifstream.golden.model import Model, find_model, load_model, released_models
from lifstream.golden.presets import PRESETS, Preset, TrainingPlan, preset_by_name
from lifstream.golden.spec import InputError, NetworkSpec, Rule

__all__ = ["DataOption", "EpochsOption", "JsonOption", "LanesOption", "ModelArgument", "OptionalPreset", "PresetOption",
           "RuleOption", "SeedOption", "UnrollOption", "WeightBitsOption", "WindowOption", "chosen_preset",
           "open_model", "percent", "require_file_place", "require_fit", "with_plan"]

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
ModelArgument = Annotated[str, typer.Argument(
    metavar="MODEL", help=f"Model file written by 'lifstream train', or a released model: "
                          f"{', '.join(released_models())}.")]


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

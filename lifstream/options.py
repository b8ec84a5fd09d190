"""Options that several commands share, and what they mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import require_place
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Dataset
from lifstream.golden.study.model_files import Model, find_model, load_model, released_models
from lifstream.golden.study.presets import PRESETS, Preset, TrainingPlan, preset_by_name

if TYPE_CHECKING:
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry, PerLayer

__all__ = ["DataOption", "EpochsOption", "GeometryOptions", "JsonOption", "LanesOption", "ModelArgument",
           "NamedNetwork", "OptionalModel", "OptionalPreset", "PresetOption", "RuleOption", "SeedOption",
           "WeightBitsOption", "chosen_preset", "named_model", "named_network", "named_preset", "open_model",
           "option_groups", "percent", "require_file_place", "require_fit", "with_plan"]

PresetOption = Annotated[str, typer.Option("--preset", help=f"Network: {', '.join(PRESETS)}.")]
OptionalPreset = Annotated[str | None, typer.Option("--preset", help=f"Network: {', '.join(PRESETS)}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DataOption = Annotated[Path | None, typer.Option(
    "--data-dir", help="Folder of the IDX files; otherwise $LIFSTREAM_DATA, ../shared/data, the cache, a download.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the training images.")]
RuleOption = Annotated[NamedRule | None, typer.Option(
    "--rule", help="Form of the learning rule; default: the preset's.")]
WeightBitsOption = Annotated[int | None, typer.Option(
    "--weight-bits", help="Width of a weight; default: the preset's.")]
LanesOption = Annotated[str | None, typer.Option(
    "--lanes", metavar="N|N,N,...|balanced[:N]",
    help="Neurons updated per clock: N in every layer, an N for each layer, or balanced: at most N, and in no layer "
         "more than keep it from being slower than the slowest. Default: the board's, or all.")]
_MODEL_HELP = f"Model file written by 'lifstream train', or a released model: {', '.join(released_models())}."
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP)]
OptionalModel = Annotated[str | None, typer.Argument(metavar="[MODEL]", help=_MODEL_HELP)]


def option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters may be groups of options: dataclasses, in whose place their fields stand.

    Typer sees the fields, annotated like any parameter, at the group's place and with their own defaults; the command
    is called with the group. Called from Python, the command takes the fields by name too.

    Raises
    ------
    ValueError
        Two of the parameters and fields have one name.
    """
    kinds = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(kinds[name]):
            groups[name] = kinds[name]
            parameters += _parameters(kinds[name])
        else:
            parameters.append(parameter.replace(annotation=kinds[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def flat(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group) if field.name in given})
        command(**given)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _parameters(group: type) -> list[inspect.Parameter]:
    """The fields of a group as parameters of a command."""
    kinds = get_type_hints(group, include_extras=True)
    return [inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=kinds[field.name],
                              default=inspect.Parameter.empty if field.default is MISSING else field.default)
            for field in fields(group)]


@dataclass(frozen=True, kw_only=True)
class GeometryOptions:
    """How the hardware is folded; None leaves it to the board, or without one to :meth:`geometry`."""

    lanes: LanesOption = None
    pixels_per_clock: Annotated[int | None, typer.Option(
        "--pixels-per-clock", min=1, max=16,
        help="Pixels the encoder examines per clock. Default: the board's, or 4.")] = None
    unroll: Annotated[str | None, typer.Option(
        "--unroll", metavar="N|N,N,...", help="Time steps a weight update goes through per clock, in every layer, or "
                                              "an N for each. Default: the board's, or 2.")] = None
    neurons_per_unit: Annotated[str | None, typer.Option(
        "--neurons-per-unit", metavar="N|N,N,...",
        help="Lanes that share a membrane unit, in every layer, or an N for each: fewer make steps shorter. "
             "Default: 8; in layers of maps as many as keep steps short beside spikes.")] = None

    def geometry(self, spec: NetworkSpec, *, target: Target | None = None) -> Geometry:
        """The geometry asked for; where nothing was, the board's, or as many lanes as neurons.

        Raises
        ------
        InputError
            ``lanes``, ``unroll`` or ``neurons_per_unit`` is no number, out of bounds, or for another number of layers.
        """
        from lifstream.hdl.geometry import Geometry

        geometry = Geometry(lanes=spec.widest) if target is None else target.geometry(spec)
        try:
            if self.lanes is not None:
                geometry = replace(geometry, lanes=_chosen_lanes(spec, self.lanes))
            if self.pixels_per_clock is not None:
                geometry = replace(geometry, pixels_per_clock=self.pixels_per_clock)
            if self.unroll is not None:
                geometry = replace(geometry, unroll=_per_layer("unroll", self.unroll))
            if self.neurons_per_unit is not None:
                geometry = replace(geometry, neurons_per_unit=_per_layer("neurons-per-unit", self.neurons_per_unit))
            geometry.layers(spec)
        except InputError as error:
            raise InputError(f"--{error}") from None
        return geometry


def _chosen_lanes(spec: NetworkSpec, given: str) -> PerLayer:
    from lifstream.hdl.geometry import balanced_lanes

    if given == "balanced":
        return balanced_lanes(spec, most=spec.widest)
    if match := re.fullmatch(r"balanced:(\d{1,9})", given):
        return balanced_lanes(spec, most=int(match[1]))
    return _per_layer("lanes", given, ", nor balanced, nor balanced:16")


def _per_layer(name: str, given: str, further: str = "") -> PerLayer:
    if not re.fullmatch(r"-?\d{1,9}(,-?\d{1,9})*", given):
        raise InputError(f"{name}: {given!r} is no whole number such as 8, nor one for each layer such as 8,4{further}")
    numbers = tuple(map(int, given.split(",")))
    return numbers[0] if len(numbers) == 1 else numbers


def chosen_preset(name: str, rule: NamedRule | None = None) -> Preset:
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

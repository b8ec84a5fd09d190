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
from lifstream.golden.files import is_there, require_place
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import DATASETS
from lifstream.golden.study.model_files import Model, find_model, released_models
from lifstream.golden.study.own_data import RANDOM, data_name
from lifstream.golden.study.presets import (
    PRESETS,
    Preset,
    preset_by_name,
    preset_from_json,
    preset_in_words,
)
from lifstream.golden.study.words import GRAMMAR, in_words
from lifstream.library import load

if TYPE_CHECKING:
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry, PerLayer

__all__ = ["DataOption", "DatasetOption", "EpochsOption", "GeometryOptions", "JsonOption", "LanesOption",
           "LayersOption", "ModelArgument", "NamedNetwork", "NetworkOptions", "OptionalModel", "OptionalPreset",
           "RuleOption", "SeedOption", "WeightBitsOption", "described", "named_model", "named_network", "named_preset",
           "option_groups", "percent", "require_file_place", "said_network"]

OptionalPreset = Annotated[str | None, typer.Option("--preset", help=f"Network: {', '.join(PRESETS)}.")]
LayersOption = Annotated[str | None, typer.Option(
    "--layers", metavar="WORDS",
    help=f"Instead of a preset, a network in words, layers separated by commas: {GRAMMAR}. Needs --dataset.")]
DatasetOption = Annotated[str | None, typer.Option(
    "--dataset", metavar="NAME|FILE.npz|FOLDER",
    help=f"Images: {', '.join(DATASETS)}; your own, an archive of train_images, train_labels, test_images and "
         f"test_labels or a folder of IDX files; or {RANDOM}, of the network's own shape. Default: those of the preset "
         "or model.")]
SpecOption = Annotated[Path | None, typer.Option(
    "--spec", metavar="FILE.json", help="Instead of a preset, a network's contract in JSON, or the description of a "
                                        f"generated design. For {RANDOM} images unless --dataset names others.")]
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
             "Default: 8; in layers of maps the board's, or as many as keep steps short beside spikes.")] = None

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


def said_network(layers: str | None, dataset: str | None) -> Preset | None:
    """The network in words that ``--layers`` and ``--dataset`` say together, None without words.

    Raises
    ------
    InputError
        Words are without a data set, or are none, or the data set is unknown.
    """
    if layers is None:
        return None
    if dataset is None:
        raise InputError(f"--layers: name the images too, with --dataset: {', '.join(DATASETS)}")
    return preset_in_words(layers, dataset=dataset)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """A network by name, in words or in JSON, and its images."""

    preset: OptionalPreset = None
    layers: LayersOption = None
    spec: SpecOption = None
    dataset: DatasetOption = None

    def chosen(self) -> Preset | None:
        """The network, None where no option names one.

        Raises
        ------
        InputError
            The options exclude each other, or name no network.
        """
        if [self.preset, self.layers, self.spec].count(None) < 2:
            raise InputError("--layers, --preset, --spec: give one of them to name a network, not several")
        if self.spec is not None:
            return preset_from_json(self.spec, dataset=self.dataset)
        if self.preset is not None:
            preset = preset_by_name(self.preset)
            return preset if self.dataset is None else replace(preset, dataset=self.dataset)
        return said_network(self.layers, self.dataset)

    def instead_of(self, model: str | None, *, command: str, called: str = "MODEL") -> Preset | None:
        """As :meth:`chosen`, which is None when a model is given, and not when none is; ``called`` names the latter.

        Raises
        ------
        InputError
            Neither is given, or both are.
        """
        chosen = self.chosen()
        if (model is None) == (chosen is None):
            raise InputError(f"{command}: name either a {called}, a --preset, --layers or --spec"
                             + (", and only one of them" if model is not None else ""))
        return chosen


def described(name: str, dataset: str, spec: NetworkSpec) -> str:
    """A network for people: ``digits: dense 32, dense 10; 2,368 weights of 16 bits, for digits``."""
    return (f"{name}: {in_words(spec) or spec.summary}; {spec.parameters:,} weights of {spec.weight_widths} bits, "
            f"for {data_name(dataset)}")


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

    def for_dataset(self, dataset: str | None) -> NamedNetwork:
        """The same with other images, if any are named."""
        return self if dataset is None else replace(self, preset=replace(self.preset, dataset=dataset))

    def network(self, seed: int) -> Network:
        """Its own weights, those of a preset drawn at random."""
        return Network.initial(spec=self.preset.spec, seed=seed) if self.model is None else self.model.network


def named_preset(preset: Preset, *, weight_bits: int | None = None) -> NamedNetwork:
    """A preset, with another width of weights if one is given."""
    return NamedNetwork(name=preset.name, preset=preset.varied(weight_bits=weight_bits))


def named_model(name: str, *, preset: Preset | None = None) -> NamedNetwork:
    """A model by file or released name; with ``preset``, it must be of that preset's contract."""
    model = load(name, like=preset)
    return NamedNetwork(name=Path(name).stem, model=model, preset=Preset(
        name=model.preset, dataset=model.dataset, spec=model.network.spec, training=model.plan))


def named_network(name: str, *, weight_bits: int | None = None) -> NamedNetwork:
    """A preset by name; if there is none, a contract in a file FILE.json, or a model by file or released name.

    Raises
    ------
    InputError
        Neither is there, or a model is to have another width of weights than its own.
    """
    if name in PRESETS:
        return named_preset(preset_by_name(name), weight_bits=weight_bits)
    if name.endswith(".json") and is_there(Path(name)):
        return named_preset(preset_from_json(Path(name)), weight_bits=weight_bits)
    try:
        find_model(name)
    except InputError:
        raise InputError(f"network {name!r} is unknown: neither a model file, nor a contract FILE.json, nor a preset "
                         f"({', '.join(PRESETS)})") from None
    if weight_bits is not None:
        raise InputError("--weight-bits: a model has its own width; name a preset, or train the model with this option")
    return named_model(name)


def percent(fraction: float) -> str:
    """A fraction for people."""
    return f"{100 * fraction:.2f} %"


def require_file_place(place: Path) -> None:
    """See to it before hours of work that the result can be written."""
    require_place(place)

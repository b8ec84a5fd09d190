"""The commands that measure many networks: compare, sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from lifstream.console import Output, ReportBar, error_line
from lifstream.extras import Extra, require
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, named_rule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.files import make_folder, write_text
from lifstream.golden.study.comparison import (
    COLUMNS,
    GridCell,
    Row,
    Variant,
    grid,
    markdown,
    measured_row,
    published_rows,
    text,
    variants,
)
from lifstream.golden.study.datasets import DATASETS, Dataset, load_dataset
from lifstream.golden.study.experiments import Experiment, Failure, Measurement, Store, run_experiments
from lifstream.golden.study.figures import comparison_figure, save_figure, sweep_figure
from lifstream.golden.study.model_files import find_model, load_model, released_models
from lifstream.golden.study.presets import Preset, preset_by_name, preset_in_words
from lifstream.golden.study.training import evaluate
from lifstream.golden.twin.engine import Arithmetic
from lifstream.options import (
    DataOption,
    EpochsOption,
    JsonOption,
    LayersOption,
    OptionalPreset,
    option_groups,
    percent,
)

__all__ = ["BaseOptions", "RunOptions", "SeedsOption", "check_counts", "compare", "numbers", "require_possible",
           "run_variants", "sweep"]

DATASET_PRESETS = {"digits": "digits", "mnist": "mnist-256", "fashion-mnist": "fashion-256"}
"""The network a data set is compared and swept with, unless another is named."""

_OPTIONS = {"rules": "--rules", "weight_bits": "--widths", "hidden": "--hidden", "steps": "--steps",
            "roundings": "--roundings", "arithmetics": "--arithmetics"}
"""What the axes of a sweep are called on the command line."""

_Value = TypeVar("_Value")
_Choice = TypeVar("_Choice", NamedRule, Rounding, Arithmetic)

SeedsOption = Annotated[int, typer.Option("--seeds", help="Runs per network, with seeds 1 to this.")]


@dataclass(frozen=True, kw_only=True)
class BaseOptions:
    """The network that is varied, and what it learns."""

    dataset: Annotated[str, typer.Option("--dataset", help=f"Data set: {', '.join(DATASETS)}.")] = "digits"
    preset: OptionalPreset = None
    layers: LayersOption = None
    epochs: EpochsOption = None

    def base(self) -> Preset:
        """The preset named, which must be for the data set, the network in words, or the data set's own."""
        if self.layers is not None:
            if self.preset is not None:
                raise InputError("--layers: a network is named either in words or with --preset")
            return preset_in_words(self.layers, dataset=self.dataset)
        if self.preset is None and self.dataset not in DATASET_PRESETS:
            raise InputError(f"data set {self.dataset!r} is unknown, choose one of: {', '.join(DATASETS)}")
        base = preset_by_name(self.preset or DATASET_PRESETS[self.dataset])
        if base.dataset != self.dataset:
            raise InputError(f"--preset: {base.name} is for {base.dataset}, not for {self.dataset}")
        return base


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where networks are trained, and where everything is kept."""

    workers: Annotated[int, typer.Option("--workers", help="Processes on this machine.")] = 1
    scheduler: Annotated[str | None, typer.Option(
        "--scheduler",
        help="Address of a Dask scheduler to run on instead, such as tcp://host:8786 (extra 'dask').")] = None
    out: Annotated[Path | None, typer.Option(
        "--out", help="Folder of the table (Markdown, JSON) and the plot; default: build/compare-DATASET, "
                      "build/sweep-DATASET.")] = None
    store: Annotated[Path | None, typer.Option(
        "--store", help="Folder of finished runs, which are not repeated; default: the user's cache.")] = None
    data_dir: DataOption = None

    def folder(self, command: str, dataset: str) -> Path:
        """Folder of a command's results; it is made."""
        return make_folder(self.out or Path("build") / f"{command}-{dataset}")


@option_groups
def compare(
    about: BaseOptions,
    *,
    seeds: SeedsOption = 3,
    quick: Annotated[bool, typer.Option(
        "--quick", help="Train nothing: published figures and released models.")] = False,
    runs: RunOptions,
    as_json: JsonOption = False,
) -> None:
    """Compare accuracy and cost: the paper's and the graded rule, real numbers and integers, published systems.

    Every run is kept, so a second call trains nothing, and an interrupted one continues. Exit status 1 when a run
    failed; the others are shown.
    """
    output = Output(as_json=as_json)
    base, dataset = about.base(), about.dataset
    check_counts(seeds=seeds, workers=runs.workers)
    require(Extra.FIGURES)
    folder = runs.folder("compare", dataset)
    output.begin(f"load {dataset}")
    images = load_dataset(dataset, data_dir=runs.data_dir)
    rows: list[Row] = []
    if not quick:
        chosen = variants(base, epochs=about.epochs)
        results = run_variants(chosen, seeds, output, runs, test=True)
        rows += [measured_row(name=variant.name, spec=variant.preset.spec, arithmetic=variant.arithmetic, results=found,
                              source=f"measured, {_plan_text(variant.preset)}")
                 for variant, found in zip(chosen, results, strict=True)]
    with output.progress() as bar:
        rows += [_released_row(released, images, bar) for released in released_models()
                 if load_model(find_model(released)).dataset == dataset]
    rows += published_rows(dataset)
    title = f"Accuracy and cost on {dataset}"
    notes = ["Accuracy on the test set: mean, sample standard deviation over the seeds. A tie counts as wrong. "
             "Weight memory of float networks at 32 bits per weight. Published figures are their authors' own."]
    _write_table(folder, "compare", rows, title, notes)
    save_figure(comparison_figure(rows, title=title), folder / "compare.png")
    _show(output, rows, folder, "compare")
    output.result({"dataset": dataset, "rows": [row.to_json() for row in rows], "out": str(folder)})
    _exit_on_failures(rows)


@option_groups
def sweep(
    about: BaseOptions,
    *,
    widths: Annotated[str | None, typer.Option("--widths", help="Weight widths in bits, such as 6,8,12,16.")] = None,
    hidden: Annotated[str | None, typer.Option(
        "--hidden", help="Numbers of hidden neurons (first hidden layer).")] = None,
    steps: Annotated[str | None, typer.Option("--steps", help="Numbers of time steps T.")] = None,
    rules: Annotated[str | None, typer.Option("--rules", help=f"Forms of the rule: {', '.join(NamedRule)}.")] = None,
    roundings: Annotated[str | None, typer.Option(
        "--roundings", help=f"Rounding of weight updates: {', '.join(Rounding)}.")] = None,
    arithmetics: Annotated[str | None, typer.Option(
        "--arithmetics", help=f"Kinds of numbers: {', '.join(Arithmetic)}.")] = None,
    seeds: SeedsOption = 1,
    test: Annotated[bool, typer.Option(
        "--test", help="Measure on the test set. Default: on validation images, to choose by.")] = False,
    runs: RunOptions,
    as_json: JsonOption = False,
) -> None:
    """Train over a grid of weight widths, roundings, hidden neurons, time steps, rules and seeds.

    Every run is kept, so a second call trains nothing, and an interrupted one continues. A cell that fails is reported
    and the others go on; exit status 1 then.
    """
    output = Output(as_json=as_json)
    base, dataset = about.base().planned(epochs=about.epochs), about.dataset
    check_counts(seeds=seeds, workers=runs.workers)
    require(Extra.FIGURES)
    axes: dict[str, Sequence[Any]] = {
        "rules": _choices("rules", rules, NamedRule), "weight_bits": numbers("weight_bits", widths),
        "hidden": numbers("hidden", hidden), "steps": numbers("steps", steps),
        "roundings": _choices("roundings", roundings, Rounding),
        "arithmetics": _choices("arithmetics", arithmetics, Arithmetic)}
    require_possible(base, axes)
    points = grid(base, **axes)
    folder = runs.folder("sweep", dataset)
    output.begin(f"load {dataset}")
    load_dataset(dataset, data_dir=runs.data_dir)  # a missing data set is one error, not one per cell
    possible = [(point, point.variant) for point in points if isinstance(point.variant, Variant)]
    found = iter(run_variants([variant for _, variant in possible], seeds, output, runs, test=test))
    rows = [_sweep_row(point, next(found) if isinstance(point.variant, Variant) else [], test) for point in points]
    measure = "test accuracy" if test else "validation accuracy"
    title = f"Sweep of {base.name} on {dataset}"
    _write_table(folder, "sweep", rows, title, [f"Accuracy is {measure}: mean, sample standard deviation over "
                                                f"{seeds} seed(s). A tie counts as wrong."])
    save_figure(sweep_figure([(point.axes, row) for point, row in zip(points, rows, strict=True)], measure=measure,
                             title=title), folder / "sweep.png")
    _show(output, rows, folder, "sweep")
    output.result({"dataset": dataset, "preset": base.name, "measure": measure, "out": str(folder), "cells": [
        {"axes": point.axes, **row.to_json()} for point, row in zip(points, rows, strict=True)]})
    _exit_on_failures(rows)


def _sweep_row(point: GridCell, results: Sequence[Measurement | Failure], test: bool) -> Row:
    if isinstance(point.variant, Failure):
        return Row(name=point.name, source="", network="", accuracies=(), parameters=None, memory_bits=None,
                   failures=(point.variant.message,))
    preset = point.variant.preset
    return measured_row(name=point.name, spec=preset.spec, arithmetic=point.variant.arithmetic, results=results,
                        test=test, source=_plan_text(preset))


def check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not 1 <= value <= 1_000:
            raise InputError(f"--{name}: {value} is out of bounds, must be 1..1000")


def _listed(axis: str, given: str | None, kind: Callable[[str], _Value], example: str) -> list[_Value]:
    """The values of an axis' option, each once; none when the option was not given."""
    if given is None:
        return []
    try:
        values = [kind(part.strip()) for part in given.split(",")]
    except ValueError:
        raise InputError(f"{_OPTIONS[axis]}: {given!r} is not a list {example}") from None
    for position, value in enumerate(values):
        if value in values[:position]:
            raise InputError(f"{_OPTIONS[axis]}: {value} is given twice")
    return values


def numbers(axis: str, given: str | None) -> list[int]:
    return _listed(axis, given, int, "of whole numbers such as 8,12,16")


def _choices(axis: str, given: str | None, kind: type[_Choice]) -> list[_Choice]:
    return _listed(axis, given, kind, f"of {', '.join(kind)}")


def require_possible(base: Preset, axes: Mapping[str, Sequence[Any]]) -> None:
    """Refuse a value that is impossible alone and with all others: what fails only with some is a cell's failure."""
    for axis, values in axes.items():
        for value in values:
            [alone] = grid(base, **{axis: [value]})
            if isinstance(alone.variant, Failure) and all(
                    isinstance(point.variant, Failure) for point in grid(base, **{**axes, axis: [value]})):
                raise InputError(f"{_OPTIONS[axis]}: {value} is not possible, {alone.variant.message}")


def _plan_text(preset: Preset) -> str:
    plan = preset.training
    shift = f", shifts of up to {plan.shift} pixel" if plan.shift else ""
    shift += ", mirrored at random" if plan.mirror else ""
    return f"{plan.epochs} epochs, rate shift {plan.rate_shift} to {plan.rate_shift_at(plan.epochs - 1)}{shift}"


def run_variants(chosen: Sequence[Variant], seeds: int, output: Output, runs: RunOptions, *,
         test: bool) -> list[list[Measurement | Failure]]:
    """Results of each variant, a list per variant in the order of its seeds."""
    by_variant = [variant.experiments(range(1, seeds + 1), test=test) for variant in chosen]
    flat = list(dict.fromkeys(experiment for experiments in by_variant for experiment in experiments))
    results: dict[Experiment, Measurement | Failure] = {}
    kept = Store(runs.store)
    data_dir = runs.data_dir.resolve() if runs.data_dir else None
    output.keeps(lambda: f"{len(results)} of {len(flat)} runs are finished and kept in {kept.folder}; the same command "
                         "continues")
    with output.progress() as bar:
        for experiment, result in run_experiments(flat, store=kept, workers=runs.workers, scheduler=runs.scheduler,
                                                  data_dir=data_dir, report=bar):
            results[experiment] = result
            output.say(f"[{len(results)}/{len(flat)}] {_experiment_text(experiment, result)}")
    return [[results[experiment] for experiment in experiments] for experiments in by_variant]


def _experiment_text(experiment: Experiment, result: Measurement | Failure) -> str:
    spec = experiment.preset.spec
    numbers = f"{spec.weight_widths} bit, {spec.layers[0].rule.rounding}"
    if experiment.arithmetic is Arithmetic.FLOAT:
        numbers = "float"
    what = f"{spec.summary}, {named_rule(spec)} rule, {numbers}, T = {spec.steps}, seed {experiment.seed}"
    if isinstance(result, Failure):
        return f"{what}: failed: {result.message}"
    shown = [f"{name} {percent(value)}" for name, value in (("validation", result.validation_accuracy),
                                                            ("test", result.test_accuracy)) if value is not None]
    return f"{what}: {', '.join(shown)}"


def _released_row(name: str, dataset: Dataset, report: ReportBar) -> Row:
    model = load_model(find_model(name))
    fraction, outcome = evaluate(model.network, dataset.test, task=f"released {name}", report=report)
    last = model.training["epochs"][-1]
    return measured_row(
        name=f"released model {name}", spec=model.network.spec, arithmetic=Arithmetic.INTEGER,
        source=f"measured, seed {model.training['seed']}, digest {model.network.digest()}",
        results=[Measurement(
            validation_accuracy=last["validation_accuracy"], test_accuracy=fraction, epochs=last["epoch"],
            update_rate=last["update_rate"], updates_per_image=last["updates_per_image"],
            spikes_per_image=outcome.spikes.mean(axis=0).tolist(), digest=model.network.digest())])


def _write_table(folder: Path, stem: str, rows: Sequence[Row], title: str, notes: Sequence[str]) -> None:
    write_text(folder / f"{stem}.md", markdown(rows, title=title, notes=[*notes, f"![{title}]({stem}.png)"]))
    write_text(folder / f"{stem}.json", json.dumps([row.to_json() for row in rows], indent=1) + "\n")


def _show(output: Output, rows: Sequence[Row], folder: Path, stem: str) -> None:
    table = Table(box=None, pad_edge=False)
    shown = len(COLUMNS) - 1  # sources are long; they are in the files
    for index, heading in enumerate(COLUMNS[:shown]):
        table.add_column(heading, justify="left" if index < 3 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*text(row)[:shown])
    output.table(table)
    output.say(f"wrote {folder / f'{stem}.md'}, {stem}.json and {stem}.png")


def _exit_on_failures(rows: Sequence[Row]) -> None:
    failures = [message for row in rows for message in row.failures]
    if failures:
        error_line(f"{len(failures)} runs failed, the first: {failures[0]}")
        raise typer.Exit(1)

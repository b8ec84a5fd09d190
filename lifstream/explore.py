"""The command explore: accuracy against what a board has, and against speed, over many networks."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lifstream.build import BoardOption
from lifstream.console import Output, error_line
from lifstream.estimate import TargetOption, clock_of, fullest, require_target
from lifstream.golden.contract.errors import InputError
from lifstream.golden.files import write_text
from lifstream.golden.study.activity import Rates, random_activity
from lifstream.golden.study.comparison import GridCell, Variant, grid
from lifstream.golden.study.datasets import DATASETS, images_at_hand, load_dataset
from lifstream.golden.study.experiments import Failure, Measurement
from lifstream.golden.study.figures import pareto_figure, save_figure
from lifstream.golden.study.pareto import DesignPoint, pareto_front
from lifstream.golden.study.presets import Preset, preset_by_name, preset_in_words
from lifstream.golden.study.training import Progress
from lifstream.golden.study.words import in_words
from lifstream.options import JsonOption, OptionalPreset, option_groups, percent
from lifstream.tables import (
    DATASET_PRESETS,
    RunOptions,
    SeedsOption,
    check_counts,
    numbers,
    require_possible,
    run_variants,
)

if TYPE_CHECKING:
    from lifstream.boards.fitting import Choice
    from lifstream.boards.targets import Target

__all__ = ["explore"]

_BRIEF = 5
"""Epochs, unless others are asked for."""
_HIDDEN, _WIDTHS = (16, 24, 32, 48, 64), (8, 12, 16)
"""What is varied, unless something is asked for."""
_SAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class ExploredNetworks:
    """Which networks are explored."""

    dataset: Annotated[str, typer.Option("--dataset", help=f"Data set: {', '.join(DATASETS)}.")] = "digits"
    preset: OptionalPreset = None
    networks: Annotated[str | None, typer.Option(
        "--networks", metavar="WORDS;WORDS;...",
        help="Instead of a preset, networks in words, as of --layers, with semicolons between them.")] = None
    widths: Annotated[str | None, typer.Option("--widths", help="Weight widths in bits, such as 8,12,16.")] = None
    hidden: Annotated[str | None, typer.Option(
        "--hidden", help="Numbers of hidden neurons (first hidden layer) of a preset.")] = None
    steps: Annotated[str | None, typer.Option("--steps", help="Numbers of time steps T of a preset.")] = None
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training images.")] = _BRIEF

    def cells(self) -> list[tuple[str, GridCell]]:
        """All networks, each under the name of what it was varied from.

        Raises
        ------
        InputError
            An option is wrong, or a value of one is impossible with all of the others.
        """
        axes: dict[str, Sequence[Any]] = {"weight_bits": numbers("weight_bits", self.widths),
                                          "hidden": numbers("hidden", self.hidden),
                                          "steps": numbers("steps", self.steps)}
        bases = self._bases()
        if not any(axes.values()):
            axes["weight_bits"] = list(_WIDTHS)
            if self.networks is None:
                axes["hidden"] = list(_HIDDEN)
        found = []
        for base in bases:
            require_possible(base, axes)
            found += [(base.name, cell) for cell in grid(base, **axes)]
        return found

    def _bases(self) -> list[Preset]:
        if self.networks is not None:
            if self.preset is not None:
                raise InputError("--networks: networks are named either in words or with --preset")
            bases = [preset_in_words(words, dataset=self.dataset) for words in self.networks.split(";")]
        else:
            if self.preset is None and self.dataset not in DATASET_PRESETS:
                raise InputError(f"data set {self.dataset!r} is unknown, choose one of: {', '.join(DATASET_PRESETS)}; "
                                 "or name --networks")
            bases = [preset_by_name(self.preset or DATASET_PRESETS[self.dataset])]
            if bases[0].dataset != self.dataset:
                raise InputError(f"--preset: {bases[0].name} is for {bases[0].dataset}, not for {self.dataset}")
        return [base.planned(epochs=self.epochs) for base in bases]


@dataclass(frozen=True, kw_only=True)
class _Explored:
    """A network that was trained, and its estimate."""

    name: str
    preset: Preset
    accuracy: float
    rates: dict[str, float]
    choice: Choice
    fits: bool
    costs: dict[str, float]
    fullest: str

    def to_json(self) -> dict[str, Any]:
        used = self.choice.usage
        return {"name": self.name, "layers": in_words(self.preset.spec), "spec_digest": self.preset.spec.digest(),
                "weight_bits": self.preset.spec.weight_widths, "steps": self.preset.spec.steps,
                "validation_accuracy": self.accuracy, "geometry": self.choice.geometry.to_json(),
                "luts": round(used.luts), "ffs": round(used.ffs), "block_rams": used.block_rams,
                "single_port_rams": used.single_port_rams,
                "shares": {name: round(share, 4) for name, share in self.costs.items()}, "bottleneck": self.fullest,
                "cycles_per_image": {task: round(cycles, 1) for task, cycles in self.rates.items()
                                     if task.endswith("cycles")},
                "images_per_second": round(self.rates["infer"], 1),
                "images_per_second_learning": round(self.rates["train"], 1) if "train" in self.rates else None,
                "fits": self.fits}


@option_groups
def explore(
    board: BoardOption,
    *,
    about: ExploredNetworks,
    target_images_per_second: TargetOption = None,
    clock: Annotated[float | None, typer.Option("--clock", help="Core clock in MHz. Default: the board's.")] = None,
    seeds: SeedsOption = 1,
    runs: RunOptions,
    as_json: JsonOption = False,
) -> None:
    """Train networks briefly, estimate them on a board, and draw accuracy against resources and speed.

    Each network has the lanes, layer by layer, with which it is fastest on the board, or as few as reach the speed that
    was asked for. Accuracy is that of validation images, to choose by. Every run is kept, so a second call trains
    nothing, and an interrupted one continues. Exit status 1 when a run failed; the others are shown.
    """
    from lifstream.boards.estimate import capacity
    from lifstream.boards.targets import target_by_name

    output = Output(as_json=as_json)
    target = target_by_name(board)
    capacity(target)
    require_target(target_images_per_second)
    check_counts(seeds=seeds, workers=runs.workers, epochs=about.epochs)
    cells = about.cells()
    clock_of(clock, target.clock_mhz)
    folder = runs.folder(f"explore-{board}", about.dataset)
    output.begin(f"load {about.dataset}")
    load_dataset(about.dataset, data_dir=runs.data_dir)  # a missing data set is one error, not one per network
    possible = [(base, cell, cell.variant) for base, cell in cells if isinstance(cell.variant, Variant)]
    results = run_variants([variant for _, _, variant in possible], seeds, output, runs, test=False)
    failures = [f"{base}, {cell.name}: {cell.variant.message}" for base, cell in cells
                if isinstance(cell.variant, Failure)]
    explored = []
    images = images_at_hand(about.dataset, data_dir=runs.data_dir)
    with output.progress() as bar:
        for number, ((base, cell, variant), found) in enumerate(zip(possible, results, strict=True)):
            name = base if len({name for name, _ in cells}) > 1 else ""
            name = ", ".join(part for part in (name, cell.name if cell.axes else "") if part) or base
            bar(Progress(task="estimate", done=number, total=len(possible), note=name))
            failures += [f"{name}: {each.message}" for each in found if isinstance(each, Failure)]
            measured = [each for each in found if isinstance(each, Measurement)]
            if measured:
                explored.append(_estimated(name, variant.preset, measured, target, clock,
                                           images.images if images is not None else None, target_images_per_second))
    title = f"{about.dataset} on {target.title}, {about.epochs} epochs; resources and speed estimated, numbers are " \
            "hidden neurons"
    if target_images_per_second is not None:
        title += f"; {target_images_per_second:g} images/s wanted"
    points = [_point(each) for each in explored]
    front = _front(points)
    write_text(folder / "explore.json", json.dumps([{**each.to_json(), "pareto": on} for each, on in
                                                    zip(explored, front, strict=True)], indent=1) + "\n")
    write_text(folder / "explore.md", _markdown(explored, front, title))
    if points:
        save_figure(pareto_figure(points, measure="validation accuracy", title=title), folder / "explore.png")
    _show(output, explored, front)
    output.say(f"wrote {folder / 'explore.md'}, explore.json and explore.png")
    output.result({"board": board, "dataset": about.dataset, "out": str(folder), "failures": failures,
                   "designs": [{**each.to_json(), "pareto": on} for each, on in zip(explored, front, strict=True)]})
    if failures:
        error_line(f"{len(failures)} runs failed, the first: {failures[0]}")
        raise typer.Exit(1)


def _estimated(name: str, preset: Preset, measured: Sequence[Measurement], target: Target, clock: float | None,
               images: Any, images_per_second: float | None) -> _Explored:
    """A network on the board, by the spikes and the share of samples learnt from that its training measured."""
    from lifstream.boards.estimate import capacity
    from lifstream.boards.fitting import chosen_lanes
    from lifstream.hdl.timing import image_cycles

    spec, room = preset.spec, capacity(target)
    hertz = clock_of(clock, target.usual_clock_mhz(spec)) * 1e6
    spikes = [statistics.fmean(counts) for counts in zip(*(each.spikes_per_image for each in measured), strict=True)]
    busy = Rates.of_counts(spec, spikes, learnt=statistics.fmean(each.update_rate for each in measured))
    shown = images if images is not None and images.shape[1] == spec.inputs else None
    choice = chosen_lanes(spec, target, target.geometry(spec),
                          random_activity(spec, busy, images=shown, samples=_SAMPLES),
                          most_cycles=None if images_per_second is None else hertz / images_per_second)
    rates = {"infer": hertz / choice.cycles.total, "infer_cycles": choice.cycles.total}
    if spec.learns:
        learning = image_cycles(spec, choice.geometry,
                                random_activity(spec, busy, images=shown, learning=True, samples=_SAMPLES),
                                rate_shift=preset.training.rate_shift_end)
        rates |= {"train": hertz / learning.total, "train_cycles": learning.total}
    reached = images_per_second is None or rates["infer"] >= images_per_second * (1 - 1e-9)
    return _Explored(name=name, preset=preset, choice=choice, rates=rates, fits=choice.fits and reached,
                     accuracy=statistics.fmean(each.validation_accuracy or 0.0 for each in measured),
                     costs={what: used / there for what, (used, there) in room.shares(choice.usage).items()},
                     fullest=fullest(room, choice.usage))


def _point(each: _Explored) -> DesignPoint:
    costs = {name: share for name, share in each.costs.items() if name in ("LUTs", "logic cells", "block RAMs")}
    spec = each.preset.spec
    hidden = "-".join(str(layer.n_out) for layer in spec.layers[:-1]) or str(spec.layers[-1].n_out)
    return DesignPoint(name=hidden, family=f"{spec.weight_widths}-bit weights, T = {spec.steps}", fits=each.fits,
                       accuracy=each.accuracy, costs=costs, images_per_second=each.rates["infer"])


def _front(points: Sequence[DesignPoint]) -> list[bool]:
    """Which designs fit and are beaten by none that does in accuracy, resources and speed together."""
    fitting = [point for point in points if point.fits]
    found = pareto_front([(point.accuracy, point.images_per_second, *(-cost for cost in point.costs.values()))
                          for point in fitting])
    on = {id(point) for point, each in zip(fitting, found, strict=True) if each}
    return [id(point) in on for point in points]


_COLUMNS = ("design", "accuracy", "lanes", "LUTs", "flip-flops", "block RAMs", "images/s", "learning", "fits", "front")


def _cells(each: _Explored, on: bool) -> tuple[str, ...]:
    from lifstream.hdl.geometry import per_layer_text

    used, learning = each.choice.usage, each.rates.get("train")
    return (each.name, percent(each.accuracy), per_layer_text(each.choice.geometry.lanes), f"{used.luts:,.0f}",
            f"{used.ffs:,.0f}", f"{used.block_rams:,}", f"{each.rates['infer']:,.0f}",
            "" if learning is None else f"{learning:,.0f}", "yes" if each.fits else f"no ({each.fullest})",
            "yes" if on else "")


def _show(output: Output, explored: Sequence[_Explored], front: Sequence[bool]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "design" else "right", no_wrap=True)
    for each, on in zip(explored, front, strict=True):
        table.add_row(*_cells(each, on))
    output.table(table)


def _markdown(explored: Sequence[_Explored], front: Sequence[bool], title: str) -> str:
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, explored, front)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# {title}\n\n{lines}\n\n![{title}](explore.png)\n"

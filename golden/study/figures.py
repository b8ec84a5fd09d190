"""Figures: spike rasters, feature maps, weights as images, confusion matrices.

matplotlib is imported when the first is drawn: commands that draw nothing start without it.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.synapses import Map
from lifstream.golden.files import replace_file
from lifstream.golden.model.network import NO_PREDICTION, Network
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.golden.model.registry import neuron_model
from lifstream.golden.study.pareto import DesignPoint, pareto_front
from lifstream.golden.study.tiles import (
    WeightTiles,
    arranged,
    canvas,
    channel_tiles,
    maps_of,
    shown_steps,
    some,
    weight_tiles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from lifstream.golden.study.comparison import Row
    from lifstream.golden.study.training import EpochMetrics

__all__ = ["comparison_figure", "confusion_matrix", "learning_figure", "maps_figure", "network_figure",
           "pareto_figure", "receptive_field_figure", "save_figure", "sweep_figure", "training_figure"]


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts of (label, prediction), int64 (classes, classes + 1); the last column counts ties."""
    matrix = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(matrix, (labels, np.where(predictions == NO_PREDICTION, classes, predictions)), 1)
    return matrix


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; raises InputError when ``path`` cannot be written."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    with replace_file(path) as stream:
        stream.write(buffer.getvalue())


def _figure(width: float, height: float, title: str = "") -> Figure:
    """A figure of so many inches, and its title in as many lines as it takes; more than one make it higher."""
    from matplotlib.figure import Figure

    lines = textwrap.wrap(title, 80)
    figure = Figure(figsize=(width, height + 0.2 * max(0, len(lines) - 1)), layout="constrained")
    if lines:
        figure.suptitle("\n".join(lines), parse_math=False)
    return figure


def _whole_numbers(axis: Axis, *, most: int = 10) -> None:
    """Ticks at whole numbers only, at most about so many."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def _legend_below(axes: Axes) -> None:
    """A legend where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False)


def _draw_raster(axes: Axes, spikes: NDArray[np.bool_], title: str) -> None:
    steps, neurons = np.nonzero(spikes)
    axes.scatter(steps, neurons, s=max(2.0, 260 / spikes.shape[1]), marker="|", color="black", linewidths=1.4)
    axes.set(title=f"{title} ({spikes.sum()} spikes)", xlabel="time step", ylabel="neuron",
             xlim=(-0.7, spikes.shape[0] - 0.3), ylim=(-1, spikes.shape[1]))


_SHAPES = 0.25, 1.3  # height / width of tiled images; pixels are square in between


def _shape(image: NDArray[np.float64]) -> float:
    """Height / width of tiles when drawn."""
    low, high = _SHAPES
    ratio: float = image.shape[0] / image.shape[1]
    return min(high, max(low, ratio))


def _show_tiles(axes: Axes, image: NDArray[np.float64], colours: str, low: float, high: float) -> AxesImage:
    """An image from :func:`canvas`, without ticks and frame."""
    axes.set(xticks=[], yticks=[], box_aspect=_shape(image))
    axes.spines[:].set_visible(False)
    return axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest", aspect="auto")


def _layer_tiles(network: Network, maps: Sequence[Map | None]) -> dict[int, WeightTiles]:
    """The weights of each layer behind a map, by the layer's index; ``maps`` as :func:`maps_of` gives them."""
    return {index: weight_tiles(network.weights[index], layer.synapses, before)
            for index, (layer, before) in enumerate(zip(network.spec.layers, maps[:-1], strict=True))
            if before is not None}


def _draw_weights(axes: Axes, shown: WeightTiles, *, layer: int, one: int) -> None:
    """Weights of a layer as tiles; the one in 200 that are strongest may exceed the colours."""
    from matplotlib.ticker import MaxNLocator

    weights = canvas(shown.blocks) / one
    largest, limit = float(np.nanmax(np.abs(weights))), float(np.nanpercentile(np.abs(weights), 99.5)) or 1.0
    image = _show_tiles(axes, weights, "RdBu_r", -limit, limit)
    height, width = shown.blocks.shape[-2:]
    axes.set(title=f"{shown.name} of layer {layer}, {height}x{width}", xlabel=shown.across,
             ylabel="\n".join(textwrap.wrap(shown.down, 16)), facecolor="0.8")
    scale = axes.inset_axes((1.02, 0, 0.03, 1))  # as high as the image, whatever the layout leaves it
    axes.figure.colorbar(image, cax=scale, extendfrac=0.04, extend="both" if largest > limit else "neither")
    scale.set_ylabel("weight / threshold")
    scale.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=1))


def receptive_field_figure(network: Network, rates: NDArray[np.float64], *, height: int, width: int,
                           title: str) -> Figure:
    """Receptive fields of a plastic network's first layer as a mosaic, thresholds and firing rates as histograms.

    Parameters
    ----------
    rates
        Spikes per image of each neuron of the first layer, (n,).
    height, width
        Shape of an image.
    title
        Says what was learnt so far.
    """
    at = network.spec.at(0)
    fields = network.weights[0].T.reshape(-1, height, width) / at.formats.one
    figure = _figure(13, 8.2, title)
    grid = figure.add_gridspec(2, 2, width_ratios=(2, 1))
    mosaic = figure.add_subplot(grid[:, 0])
    image = _show_tiles(mosaic, canvas(arranged(fields)[None]), "magma", 0, max(1e-3, float(fields.max())))
    figure.colorbar(image, ax=mosaic, fraction=0.046, pad=0.02).set_label("weight")
    thresholds = neuron_model(at.neuron).thresholds(at, network.layer_state(0)) / at.formats.one
    for place, values, label in ((grid[0, 1], thresholds, "firing threshold, in units of the largest weight"),
                                 (grid[1, 1], rates, "spikes per image")):
        axes = figure.add_subplot(place)
        axes.hist(values, bins=min(40, max(5, len(values) // 4)), color="tab:purple")
        axes.set(xlabel=label, ylabel="neurons")
    return figure


def _draw_confusion(axes: Axes, matrix: NDArray[np.int64], accuracy: float) -> None:
    classes = matrix.shape[0]
    axes.imshow(np.sqrt(matrix), cmap="Greens", aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = matrix[row, column] > matrix.max() / 2
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8,
                      color="white" if dark else "black")
    names = [str(name) for name in range(classes)]
    axes.set(title=f"test images by label and prediction: {accuracy:.1%} right", xlabel="prediction", ylabel="label",
             xticks=range(classes + 1), xticklabels=[*names, "tie"], yticks=range(classes), yticklabels=names)


def learning_figure(history: Sequence[dict[str, Any]], *, title: str) -> Figure:
    """Learning in hardware: accuracy and update rate over images, clock cycles per image by phase.

    Parameters
    ----------
    history
        Batches in order: ``images`` so far, ``count`` and ``correct`` of the batch, and the design's
        counters at its end.
    """
    images = np.array([0, *(entry["images"] for entry in history)])
    window = max(1, len(history) // 60)  # average until about 60 points are left
    marks = [*range(0, len(history), window), len(history)]
    counts = np.diff(images[marks])
    middle = (images[marks][1:] + images[marks][:-1]) / 2

    def per_image(name: str) -> NDArray[np.float64]:
        totals = np.array([0, *(entry[name] for entry in history)], dtype=np.float64)
        return np.diff(totals[marks]) / counts

    correct = np.array([sum(entry["correct"] for entry in history[a:b]) for a, b in pairwise(marks)]) / counts
    figure = _figure(11, 5, title)
    left, right = figure.subplots(1, 2)
    left.plot(middle, 100 * correct, marker=".", label="right while learning")
    left.plot(middle, 100 * per_image("learned"), marker=".", label="samples that learnt")
    # Lines at either end are seen, too.
    left.set(xlabel="images", ylabel="percent", xlim=(0, images[-1]), ylim=(-3, 103))
    phases = ("load", "forward", "desire", "update")
    right.stackplot(images[marks], [np.append(cycles, cycles[-1:]) for cycles in (
        per_image(f"{phase}_cycles") for phase in phases)], labels=phases, step="post")
    right.set(xlabel="images", ylabel="clock cycles per image", xlim=(0, images[-1]))
    right.margins(y=0.05)
    for axes in (left, right):
        _legend_below(axes)
    return figure


def training_figure(metrics: Sequence[EpochMetrics], *, title: str) -> Figure:
    """Accuracy, samples that learnt and rate shift over the epochs."""
    epochs = [entry.epoch for entry in metrics]
    figure = _figure(11, 5, title)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [100 * entry.training_accuracy for entry in metrics], marker=".",
              label="training, while learning")
    held_out = [(entry.epoch, 100 * entry.validation_accuracy) for entry in metrics
                if entry.validation_accuracy is not None]
    if held_out:
        left.plot(*zip(*held_out, strict=True), marker=".", label="validation")
    left.set(xlabel="epoch", ylabel="accuracy / percent")
    right.plot(epochs, [100 * entry.update_rate for entry in metrics], marker=".", color="C2",
               label="samples that learnt")
    right.set(xlabel="epoch", ylabel="samples that learnt / percent", ylim=(-3, 103))
    rate, shifts = right.twinx(), [entry.rate_shift for entry in metrics]
    rate.step(epochs, shifts, where="mid", color="0.5", linestyle=":", marker=".")
    right.plot([], color="0.5", linestyle=":", marker=".", label="rate shift")
    rate.set(ylabel="rate shift (learning rate 2**-shift)", ylim=(min(shifts) - 0.5, max(shifts) + 0.5))
    _whole_numbers(rate.yaxis)
    for axes in (left, right):
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        _whole_numbers(axes.xaxis)
        _legend_below(axes)
    return figure


_FEW_TICKS, _MANY_TICKS = 3, 10


def _label_sizes(axes: Axes, low: float, high: float) -> None:
    """Give a logarithmic axis a handful of round numbers between ``low`` and ``high``, and room on either side."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    room = 1.25 if high > 2 * low else 2.0
    low, high = low / room, high * room
    for steps in ((1, 10), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        ticks = sorted({step * 10.0 ** exponent for exponent in exponents for step in steps})
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= _FEW_TICKS:
            break
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _colour(number: int) -> Any:
    """One of twenty colours, the strong ones first."""
    from matplotlib import colormaps

    return colormaps["tab20"](number % 10 * 2 + number // 10 % 2)


def comparison_figure(rows: Sequence[Row], *, title: str) -> Figure:
    """Accuracy against weight memory, with error bars; beside it, those whose memory is not known."""
    shown = [row for row in rows if row.mean is not None]
    sizes = [row.memory_bits / 1024 for row in shown if row.memory_bits is not None]
    figure = _figure(12, 6, title)
    known, unknown = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1)) \
        if len(sizes) < len(shown) else (figure.subplots(), None)
    beside = 0
    for number, row in enumerate(shown):
        own, error = row.operations is not None, 100 * row.spread if row.spread else None
        if row.memory_bits is not None:
            axes, place = known, row.memory_bits / 1024
        else:
            axes, place, beside = unknown, float(beside), beside + 1
        # Those in front are smaller: equal ones are seen as rings.
        axes.errorbar(place, 100 * (row.mean or 0), yerr=error, marker="o" if own else "s", linestyle="", capsize=3,
                      markersize=10 - 5 * number / len(shown), color=_colour(number), markeredgecolor="white",
                      markeredgewidth=0.5, label=f"{row.name} ({row.network})" if row.network else row.name)
    if sizes:
        _label_sizes(known, min(sizes), max(sizes))
    known.set(xlabel="weight memory / kbit", ylabel="test accuracy / percent")
    known.grid(visible=True, alpha=0.25)
    known.margins(y=0.08)
    if unknown is not None:
        unknown.set(xlabel="memory not known", xticks=[], xlim=(-1, max(1, beside)))
        unknown.grid(visible=True, alpha=0.25)
    if shown:
        figure.legend(fontsize=8, loc="outside right center", title="circles: measured, squares: published",
                      title_fontsize=8)
    return figure


def sweep_figure(points: Sequence[tuple[dict[str, str | int], Row]], *, measure: str, title: str) -> Figure:
    """Accuracy over the axis with most numbers, a line per combination of the others."""
    figure = _figure(10, 5, title)
    axes = figure.subplots()
    first = points[0][0] if points else {}
    numbers = {name: {point[name] for point, _ in points} for name, value in first.items() if isinstance(value, int)}
    along = max(numbers, key=lambda name: len(numbers[name]), default="")
    lines: dict[str, list[tuple[float, Row]]] = {}
    for point, row in points:
        rest = ", ".join(f"{name} {value}" for name, value in point.items() if name != along)
        lines.setdefault(rest, []).append((float(point[along]) if along else 0.0, row))
    for label, entries in lines.items():
        shown = sorted(((place, row) for place, row in entries if row.mean is not None), key=lambda entry: entry[0])
        axes.errorbar([place for place, _ in shown], [100 * (row.mean or 0) for _, row in shown],
                      yerr=[100 * (row.spread or 0) for _, row in shown], marker="o", capsize=3, label=label or None)
    axes.set(xlabel=along, ylabel=f"{measure} / percent")
    if not along:
        axes.set_xticks([])
    elif len(numbers[along]) <= _MANY_TICKS:
        axes.set_xticks(sorted(numbers[along]))
    else:
        _whole_numbers(axes.xaxis)
    axes.grid(visible=True, alpha=0.25)
    if len(lines) > 1:
        figure.legend(fontsize=8, loc="outside right center")
    return figure


def pareto_figure(points: Sequence[DesignPoint], *, measure: str, title: str) -> Figure:
    """Accuracy over the share of each resource, and over speed: a panel each, with the front of the designs that fit.

    Designs that do not fit are hollow. A design on a front has its name beside it, as long as there is room.
    """
    resources = list(points[0].costs) if points else []
    figure = _figure(4.6 * (len(resources) + 1), 5.2, title)
    panels = figure.subplots(1, len(resources) + 1, sharey=True, squeeze=False)[0]
    families = list(dict.fromkeys(point.family for point in points))
    for panel, what in zip(panels, [*resources, "images/s"], strict=True):
        speed = what == "images/s"
        places = {id(point): point.images_per_second if speed else 100 * point.costs[what] for point in points}
        for number, family in enumerate(families):
            for fits in (True, False):
                shown = [point for point in points if point.family == family and point.fits == fits]
                panel.scatter([places[id(point)] for point in shown], [100 * point.accuracy for point in shown], s=42,
                              facecolors=f"C{number % 10}" if fits else "none", edgecolors=f"C{number % 10}",
                              marker=_MARKERS[number % len(_MARKERS)], linewidths=1.2, zorder=3,
                              label=family if fits else None)
        fitting = [point for point in points if point.fits]
        on_front = pareto_front([(point.accuracy, places[id(point)] * (1 if speed else -1)) for point in fitting])
        front = sorted((point for point, on in zip(fitting, on_front, strict=True) if on),
                       key=lambda point: (places[id(point)], point.accuracy))
        panel.step([places[id(point)] for point in front], [100 * point.accuracy for point in front],
                   where="pre" if speed else "post", color="0.35", linewidth=1.4, zorder=2)
        _name_apart(panel, [(places[id(point)], 100 * point.accuracy, point.name) for point in front], right=not speed)
        panel.grid(visible=True, alpha=0.25)
        panel.margins(x=0.16, y=0.1)
        if speed:
            panel.set(xscale="log", xlabel="images/s, classifying")
            _plain_logarithms(panel.xaxis)
        else:
            panel.set_xlabel(f"{what} / percent of the board's")
            if panel.get_xlim()[1] > 100:
                panel.axvspan(100, panel.get_xlim()[1], color="0.93", zorder=0)
    panels[0].set_ylabel(f"{measure} / percent")
    if any(point.fits for point in points) or len(families) > 1:
        figure.legend(*_family_handles(families), loc="outside lower center", ncols=min(len(families) + 2, 7),
                      fontsize=8)
    return figure


_MARKERS = "os^DvP*X<>"


def _plain_logarithms(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 of every power of ten, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _family_handles(families: Sequence[str]) -> tuple[list[Any], list[str]]:
    """What a legend shows: the families, the front, and what hollow means."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=f"C{number % 10}", marker=_MARKERS[number % len(_MARKERS)], linestyle="")
               for number in range(len(families))]
    handles += [Line2D([], [], color="0.35"), Line2D([], [], color="0.35", marker="o", linestyle="", fillstyle="none")]
    return handles, [*families, "Pareto front", "does not fit"]


def _name_apart(panel: Axes, places: Sequence[tuple[float, float, str]], *, right: bool) -> None:
    """Names beside points, but for those whose name would lie on another's."""
    named: list[float] = []
    low, high = panel.get_ylim()
    for x, y, name in sorted(places, key=lambda place: -place[1]):
        if all(abs(y - other) > 0.035 * (high - low) for other in named):
            panel.annotate(name, (x, y), xytext=(6, -9) if right else (-6, -9), textcoords="offset points", fontsize=7,
                           ha="left" if right else "right", zorder=4)
            named.append(y)


def network_figure(network: Network, image: NDArray[np.uint8], label: int, record: ForwardRecord,
                   confusion: NDArray[np.int64], *, height: int, width: int) -> Figure:
    """One sample on its way through the network, the first layer's weights, the confusion matrix.

    Parameters
    ----------
    image, label, record
        uint8 (inputs,), its class, and its forward pass.
    confusion
        From :func:`confusion_matrix`.
    height, width
        Size of an image in pixels.
    """
    figure = _figure(13, 8.2)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.15), squeeze=False)[:, 0]
    axes = upper.subplots(1, 2 + len(record.layers), width_ratios=[0.9] + [1.3] * (1 + len(record.layers)))
    axes[0].imshow(image.reshape(height, width), cmap="gray_r", vmin=0, vmax=255)
    axes[0].set(title=f"image, label {label}", xticks=[], yticks=[])
    _draw_raster(axes[1], record.input_spikes, "input")
    for layer, (place, layer_record) in enumerate(zip(axes[2:], record.layers, strict=True)):
        _draw_raster(place, layer_record.spikes, f"layer {layer}")
    axes[-1].set_yticks(range(network.spec.classes))
    left, right = lower.subplots(1, 2, width_ratios=(1.25, 1))
    shown = _layer_tiles(network, maps_of(network.spec, height=height, width=width))[0]
    _draw_weights(left, shown, layer=0, one=network.spec.layers[0].formats.one)
    _draw_confusion(right, confusion, float(np.trace(confusion[:, :-1]) / confusion.sum()))
    return figure


_CHANNELS_MAX = 16
_CLASSES_MAX = 10  # so many have a tick each
_WIDTH, _PANEL, _BARS, _LOW = 13.0, 1.85, 1.4, 0.85  # inches: figure, panel across; rows of bars, lowest row
_RIGHT, _WRONG, _OTHER = "tab:green", "tab:red", "0.55"


def maps_figure(network: Network, label: int, record: ForwardRecord, *, height: int, width: int,
                title: str) -> Figure:
    """Feature maps of a sample over time, and below them the weights behind each map: kernels, and dense ones.

    A row of panels for the input and for each layer; a panel shows how often each neuron has spiked after so many
    time steps of its layer. Maps are tiles, of at most 16 channels, one colour scale for a row. Layers that are no
    maps, and the last layer in any case, are bars; where its neurons are classes, those of label and answer stand out.

    Parameters
    ----------
    label, record
        Class of the sample, and its forward pass, of one sample: arrays are (T, neurons).
    height, width
        Size of an image in pixels.
    title
        Says which network and which sample; label and answer are appended.

    Raises
    ------
    ValueError
        The record is of several samples.
    """
    if record.input_spikes.ndim != 2:
        raise ValueError(f"record: input spikes are {record.input_spikes.shape}, must be (T, inputs) of one sample")
    spec, answer, steps = network.spec, int(record.prediction), shown_steps(network.spec.steps)
    maps = maps_of(spec, height=height, width=width)
    weights = _layer_tiles(network, maps)
    trains = [record.input_spikes, *(layer.spikes for layer in record.layers)]
    counts = [train.cumsum(axis=0)[np.array(steps) - 1] for train in trains]
    # The last layer is an answer rather than a map.
    images = [None if of is None else _map_images(values, of) for values, of in zip(counts, [*maps[:-1], None],
                                                                                    strict=True)]
    heights = [_BARS if row is None else max(_LOW, _PANEL * _shape(row[0])) for row in images]
    widths = [1 / _shape(canvas(shown.blocks)) for shown in weights.values()]
    below = 0.8 + min(3.2, (_WIDTH - 1.3 * len(widths)) / sum(widths))
    figure = _figure(_WIDTH, sum(heights) + 1 + below, f"{title}: label {label}, "
                     + ("no answer (a tie)" if answer == NO_PREDICTION else f"answer {answer}"))
    upper, lower = figure.subfigures(2, 1, height_ratios=(sum(heights) + 0.6, below), squeeze=False)[:, 0]
    grid = upper.add_gridspec(len(heights), len(steps) + 1, height_ratios=heights,
                              width_ratios=[1.0] * len(steps) + [0.01 * len(steps)])
    for index, (of, row) in enumerate(zip(maps, images, strict=True)):
        name = "input" if index == 0 else f"layer {index - 1}"
        panels = [upper.add_subplot(grid[index, column]) for column in range(len(steps))]
        for step, axes in zip(steps, panels, strict=True):
            axes.set_label(f"{name}, step {step}")  # for whoever looks for it in the figure
        if of is not None and row is not None:
            channels = f"\n{some(min(_CHANNELS_MAX, of.channels), of.channels, 'channel')}" if of.channels > 1 else ""
            panels[0].set_ylabel(f"{name}: {of.height}x{of.width}{channels}")
            _draw_map_counts(panels, row, upper.add_subplot(grid[index, -1]))
        else:
            panels[0].set_ylabel(f"{name}: spikes")
            _draw_counts(panels, counts[index])
            if index == len(trains) - 1 and spec.classes == spec.responding:
                _mark_classes(panels, counts[index], label, answer)
    for step, axes in zip(steps, upper.axes, strict=False):
        axes.set_title(f"after {step} of {spec.steps} step{'' if spec.steps == 1 else 's'}", fontsize=10)
    places = lower.subplots(1, len(weights), squeeze=False, width_ratios=widths)[0]
    for axes, (index, shown) in zip(places, weights.items(), strict=True):
        _draw_weights(axes, shown, layer=index, one=spec.layers[index].formats.one)
    return figure


def _map_images(counts: NDArray[np.int64], of: Map) -> list[NDArray[np.float64]]:
    """Spike counts of a map, (steps, neurons), as an image per step."""
    return [canvas(arranged(tiles[:_CHANNELS_MAX])[None]) for tiles in channel_tiles(counts, of)]


def _draw_map_counts(panels: Sequence[Axes], images: Sequence[NDArray[np.float64]], scale: Axes) -> None:
    """A row of spike counts as images in one colour scale, which ``scale`` shows."""
    most = max(1.0, *(float(np.nanmax(image)) for image in images))
    for axes, image in zip(panels, images, strict=True):
        drawn = _show_tiles(axes, image, "magma", 0, most)
    scale.figure.colorbar(drawn, cax=scale).set_label("spikes")
    _whole_numbers(scale.yaxis, most=5)


def _draw_counts(panels: Sequence[Axes], counts: NDArray[np.int64]) -> None:
    """A row of spike counts, (panels, neurons), as bars to one scale."""
    neurons = counts.shape[1]
    for axes, values in zip(panels, counts, strict=True):
        axes.stairs(values, np.arange(neurons + 1) - 0.5, fill=True, color=_OTHER)
        axes.set(xlim=(-0.7, neurons - 0.3), ylim=(0, 1.08 * max(1, int(counts.max()))), xlabel="neuron")
        axes.spines[["top", "right"]].set_visible(False)
        _whole_numbers(axes.xaxis, most=5)
        _whole_numbers(axes.yaxis, most=5)
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)


def _mark_classes(panels: Sequence[Axes], counts: NDArray[np.int64], label: int, answer: int) -> None:
    """Bars of a row whose neurons are classes: those of the label and of another answer in colours, and explained."""
    marks = {label: (_RIGHT, "label and answer" if answer == label else "label")}
    if answer not in (label, NO_PREDICTION):
        marks[answer] = (_WRONG, "answer")
    for axes, values in zip(panels, counts, strict=True):
        axes.set(xlabel="class")
        if counts.shape[1] <= _CLASSES_MAX:
            axes.set_xticks(range(counts.shape[1]))
        for neuron, (colour, meaning) in marks.items():
            axes.stairs([values[neuron]], [neuron - 0.5, neuron + 0.5], fill=True, color=colour, label=meaning)
    panels[0].legend(loc="upper left", frameon=False, fontsize=8, handlelength=1)  # few have spiked by then

"""Figures: spike rasters, weights as images, confusion matrices."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from lifstream.golden.contract.synapses import Map
from lifstream.golden.files import replace_file
from lifstream.golden.model.network import NO_PREDICTION, Network
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.golden.model.registry import neuron_model
from lifstream.golden.study.comparison import Row
from lifstream.golden.study.training import EpochMetrics

__all__ = ["comparison_figure", "confusion_matrix", "learning_figure", "network_figure", "receptive_field_figure",
           "save_figure", "sweep_figure", "training_figure"]


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


def _title(figure: Figure, title: str) -> None:
    """A title in as many lines as it takes."""
    figure.suptitle("\n".join(textwrap.wrap(title, 80)), parse_math=False)


def _legend_below(axes: Axes) -> None:
    """A legend where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False)


def _draw_raster(axes: Axes, spikes: NDArray[np.bool_], title: str) -> None:
    steps, neurons = np.nonzero(spikes)
    axes.scatter(steps, neurons, s=max(2.0, 260 / spikes.shape[1]), marker="|", color="black", linewidths=1.4)
    axes.set(title=f"{title} ({spikes.sum()} spikes)", xlabel="time step", ylabel="neuron",
             xlim=(-0.7, spikes.shape[0] - 0.3), ylim=(-1, spikes.shape[1]))


def _weight_tiles(weights: NDArray[np.integer], patch: Map) -> NDArray[np.int64]:
    """Weights as images (tiles, height, width): by position where each has its own, neuron, and presynaptic channel."""
    by_position = weights.reshape(-1, patch.height, patch.width, patch.channels, weights.shape[1])
    return np.transpose(by_position, (0, 4, 3, 1, 2)).reshape(-1, *patch.size).astype(np.int64)


def _draw_weights(axes: Axes, network: Network, height: int, width: int) -> None:
    """The first layer's weights, a tile per neuron or, of each channel before, per kernel; at most 64 of them."""
    layer = network.spec.layers[0]
    fields = _weight_tiles(network.weights[0], layer.synapses.patch or Map(height=height, width=width))
    count, (height, width) = min(64, len(fields)), fields.shape[1:]
    columns = int(np.ceil(np.sqrt(2 * count)))
    rows = -(-count // columns)
    tiles = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for index in range(count):
        top, left = index // columns * (height + 1) + 1, index % columns * (width + 1) + 1
        tiles[top:top + height, left:left + width] = fields[index] / layer.formats.one
    limit = float(np.nanpercentile(np.abs(tiles), 99.5)) or 1.0
    image = axes.imshow(tiles, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    shown = f"neurons 0 to {count - 1}" if layer.synapses.patch is None else f"{count} of {len(fields)} kernels"
    axes.set(title=f"weights of layer 0, {shown}", xticks=[], yticks=[])
    colorbar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    colorbar.set_label("weight / threshold")


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
    columns = int(np.ceil(np.sqrt(len(fields))))
    rows = -(-len(fields) // columns)
    tiles = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for index, field in enumerate(fields):
        top, left = index // columns * (height + 1) + 1, index % columns * (width + 1) + 1
        tiles[top:top + height, left:left + width] = field
    figure = Figure(figsize=(13, 8.2), layout="constrained")
    _title(figure, title)
    grid = figure.add_gridspec(2, 2, width_ratios=(2, 1))
    mosaic = figure.add_subplot(grid[:, 0])
    image = mosaic.imshow(tiles, cmap="magma", vmin=0, vmax=max(1e-3, float(fields.max())), interpolation="nearest")
    mosaic.set(xticks=[], yticks=[])
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
    figure = Figure(figsize=(11, 5), layout="constrained")
    _title(figure, title)
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
    figure = Figure(figsize=(11, 5), layout="constrained")
    _title(figure, title)
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
    rate.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (left, right):
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _legend_below(axes)
    return figure


_FEW_TICKS, _MANY_TICKS = 3, 10


def _label_sizes(axes: Axes, low: float, high: float) -> None:
    """Give a logarithmic axis a handful of round numbers between ``low`` and ``high``, and room on either side."""
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
    return colormaps["tab20"](number % 10 * 2 + number // 10 % 2)


def comparison_figure(rows: Sequence[Row], *, title: str) -> Figure:
    """Accuracy against weight memory, with error bars; beside it, those whose memory is not known."""
    shown = [row for row in rows if row.mean is not None]
    sizes = [row.memory_bits / 1024 for row in shown if row.memory_bits is not None]
    figure = Figure(figsize=(12, 6), layout="constrained")
    _title(figure, title)
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
    figure = Figure(figsize=(10, 5), layout="constrained")
    _title(figure, title)
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.25)
    if len(lines) > 1:
        figure.legend(fontsize=8, loc="outside right center")
    return figure


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
    figure = Figure(figsize=(13, 8.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.15), squeeze=False)[:, 0]
    axes = upper.subplots(1, 2 + len(record.layers), width_ratios=[0.9] + [1.3] * (1 + len(record.layers)))
    axes[0].imshow(image.reshape(height, width), cmap="gray_r", vmin=0, vmax=255)
    axes[0].set(title=f"image, label {label}", xticks=[], yticks=[])
    _draw_raster(axes[1], record.input_spikes, "input")
    for layer, (place, layer_record) in enumerate(zip(axes[2:], record.layers, strict=True)):
        _draw_raster(place, layer_record.spikes, f"layer {layer}")
    axes[-1].set_yticks(range(network.spec.classes))
    left, right = lower.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_weights(left, network, height, width)
    _draw_confusion(right, confusion, float(np.trace(confusion[:, :-1]) / confusion.sum()))
    return figure

"""Figures can be read: labels do not overlap, and nothing that is drawn lies outside."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

from lifstream.golden.contract.formats import Formats
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses
from lifstream.golden.model.network import Network
from lifstream.golden.study.comparison import Row, published_rows
from lifstream.golden.study.figures import (
    comparison_figure,
    learning_figure,
    network_figure,
    sweep_figure,
    training_figure,
)
from lifstream.golden.study.training import EpochMetrics
from tests.conftest import random_images

LONG = "a very long title with $ signs " * 10


def box(artist: Artist) -> BboxBase:
    return artist.get_window_extent()


def tick_labels(axis: Axis) -> list[Text]:
    """The labels that are drawn: ticks outside the view are not."""
    low, high = sorted(axis.get_view_interval())
    return [label for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()] if low <= tick.get_loc() <= high
            for label in (tick.label1, tick.label2) if label.get_visible() and label.get_text()]


def drawn(figure: Figure) -> Figure:
    """The figure with everything in its place; all of its text lies inside."""
    FigureCanvasAgg(figure).draw()
    texts = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]  # type: ignore[attr-defined]
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, axes.title, *tick_labels(axes.xaxis), *tick_labels(axes.yaxis)]
        if (legend := axes.get_legend()) is not None:
            texts += legend.get_texts()
    for legend in figure.legends:
        texts += legend.get_texts()
    for text in texts:
        if text.get_text() and text.get_visible():
            place, whole = box(text), figure.bbox
            assert min(place.x0 - whole.x0, whole.x1 - place.x1, place.y0 - whole.y0, whole.y1 - place.y1) > -1, text
    return figure


def labels_apart(figure: Figure) -> bool:
    """Whether there are labels along each horizontal axis, none of them over another."""
    for axes in figure.axes:
        places = sorted((box(label) for label in tick_labels(axes.xaxis)), key=lambda place: place.x0)
        if any(left.x1 > right.x0 for left, right in pairwise(places)):
            return False
    return True


def row(memory: int | None, *accuracies: float, name: str = "graded rule, 12 bit, stochastic rounding") -> Row:
    return Row(name=name, source="", network="784-1600-800-10", accuracies=accuracies, parameters=None,
               memory_bits=memory, operations=1.0)


@pytest.mark.parametrize("memories", [
    [1_626_112], [1_626_112, 3_252_224], [1_626_112, 3_252_224, 81_356_800], [14_000, 75_000], [1, 10**9],
    [20_000 + 500 * number for number in range(17)]])
@pytest.mark.parametrize("published", ["mnist", "fashion-mnist", None])
def test_comparisons_can_be_read(memories: list[int], published: str | None) -> None:
    rows = [row(memory, 0.9, 0.95) for memory in memories] + (published_rows(published) if published else [])
    figure = drawn(comparison_figure(rows, title="Accuracy and cost on mnist"))
    assert labels_apart(figure)
    known = figure.axes[0]
    low, high = known.get_xlim()
    assert 2 <= len([tick for tick in known.get_xticks() if low <= tick <= high]) <= 13
    shown = sum(len(axes.containers) for axes in figure.axes)
    assert shown == len(rows)  # those whose memory is not known stand beside
    [legend] = figure.legends
    assert not any(box(legend).overlaps(box(axes)) for axes in figure.axes)


def test_the_check_sees_labels_that_overlap() -> None:
    figure = Figure(figsize=(2, 2))
    figure.subplots().set_xticks(range(10), ["10,000"] * 10)
    FigureCanvasAgg(figure).draw()
    assert not labels_apart(figure)
    figure.suptitle("long " * 40)
    with pytest.raises(AssertionError):
        drawn(figure)


def within(figure: Figure) -> bool:
    """Whether all lines keep a distance from the upper and the lower edge, and none leaves at a side."""
    for axes in figure.axes:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for line in axes.lines:
            if any(not left <= x <= right for x in line.get_xdata()):
                return False
            if any(not low < y < high for y in line.get_ydata()):
                return False
    return True


def batch(images: int, count: int, correct: int, learned: int) -> dict[str, Any]:
    return {"images": images, "count": count, "correct": correct, "learned": learned, "load_cycles": 8 * images,
            "forward_cycles": 400 * images, "desire_cycles": 100 * images, "update_cycles": 400 * images}


@pytest.mark.parametrize("history", [
    [batch(40, 40, 0, 40)], [batch(100 * (number + 1), 100, 100, 0) for number in range(5)],
    [batch(100 * (number + 1), 100, number % 100, 50 * (number + 1)) for number in range(601)]],
    ids=["one batch", "all right", "many"])
def test_learning_clips_nothing(history: list[dict[str, Any]]) -> None:
    figure = drawn(learning_figure(history, title=LONG))
    assert within(figure)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim() == (0, history[-1]["images"])
    tops = [collection.get_paths()[0].vertices[:, 1].max() for collection in right.collections]
    assert max(tops) == pytest.approx(908)
    assert right.get_ylim()[1] > 908
    assert not any(box(axes.get_legend()).overlaps(box(axes.patch)) for axes in figure.axes)  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_training_clips_nothing(epochs: int) -> None:
    metrics = [EpochMetrics(epoch=number + 1, rate_shift=11 + number // 9, training_accuracy=number % 2,
                            validation_accuracy=1.0, update_rate=1 - number % 2, updates_per_image=1.0,
                            spikes_per_image=[]) for number in range(epochs)]
    figure = drawn(training_figure(metrics, title=LONG))
    assert within(figure)
    assert labels_apart(figure)
    for label in (label for axes in figure.axes for label in tick_labels(axes.xaxis)):
        assert label.get_text().isdigit()


def test_sweeps_can_be_read() -> None:
    cells = [({"rule": rule, "weight bits": bits}, row(1, 0.1, 0.9)) for rule in ("paper", "graded")
             for bits in (6, 8, 16)]
    figure = drawn(sweep_figure(cells, measure="validation accuracy", title=LONG))
    assert figure.axes[0].get_xticks().tolist() == [6, 8, 16]
    assert not box(figure.legends[0]).overlaps(box(figure.axes[0]))
    drawn(sweep_figure([({"rule": "paper"}, row(1, 0.5))], measure="m", title="t"))


CONV = Conv(inputs=Map(height=8, width=8), channels=6, kernel=(3, 2))


@pytest.mark.parametrize(("synapses", "shown", "title"), [
    (Dense(inputs=64, outputs=4), lambda weights: weights[:, 3].reshape(8, 8), "neurons 0 to 3"),
    (CONV, lambda weights: weights[:, 3].reshape(3, 2), "6 of 6 kernels"),
    (Conv(inputs=Map(height=4, width=8, channels=2), channels=6, kernel=(3, 2)),
     lambda weights: weights.reshape(3, 2, 2, 6)[:, :, 1, 1], "12 of 12 kernels"),
    (Local(inputs=CONV.inputs, channels=2, kernel=(4, 4), stride=(4, 4)),
     lambda weights: weights[16:32, 1].reshape(4, 4), "8 of 8 kernels"),
    (SumPool(inputs=CONV.inputs, size=2, synapses=Dense(inputs=16, outputs=4)),
     lambda weights: weights[:, 3].reshape(4, 4), "4 of 4 kernels"),
])
def test_weights_of_any_synapses_are_tiles(synapses: Synapses, shown: Any, title: str) -> None:
    formats = Formats()
    layers = (Layer(synapses=synapses, neuron=Lif(threshold=formats.one), rule=DesireBackpropagation()),
              Layer(synapses=Dense(inputs=synapses.n_out, outputs=3), neuron=Lif(threshold=formats.one),
                    rule=DesireBackpropagation()))
    network = Network.initial(spec=NetworkSpec(input=Pixels(count=64), layers=layers, readout=SpikeCounts()), seed=1)
    image = random_images(1, 64, 2)[0]
    record = network.classify(image)
    figure = drawn(network_figure(network, image, 0, record, np.eye(3, 4, dtype=np.int64), height=8, width=8))
    axes = next(axes for part in figure.subfigs for axes in part.axes if title in axes.get_title())
    tiles = axes.images[0].get_array()
    wanted = shown(network.weights[0]) / formats.one
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(tiles), wanted.shape)[1:, 1:]
    assert (windows[::wanted.shape[0] + 1, ::wanted.shape[1] + 1] == wanted).all(axis=(2, 3)).sum() == 1

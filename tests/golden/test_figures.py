"""Figures can be read: labels do not overlap, and nothing that is drawn lies outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
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
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.golden.study.comparison import Row, published_rows
from lifstream.golden.study.figures import (
    comparison_figure,
    learning_figure,
    maps_figure,
    network_figure,
    receptive_field_figure,
    save_figure,
    sweep_figure,
    training_figure,
)
from lifstream.golden.study.presets import preset_by_name
from lifstream.golden.study.tiles import arranged, canvas, channel_tiles, maps_of, shown_steps, some
from lifstream.golden.study.training import EpochMetrics
from tests.conftest import random_images, random_network

LONG = "a very long title with $ signs " * 10


def box(artist: Artist) -> BboxBase:
    return artist.get_window_extent()


def tick_labels(axis: Axis) -> list[Text]:
    """The labels that are drawn: ticks outside the view are not."""
    low, high = sorted(axis.get_view_interval())
    return [label for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()] if low <= tick.get_loc() <= high
            for label in (tick.label1, tick.label2) if label.get_visible() and label.get_text()]


def all_axes(figure: Figure) -> list[Axes]:
    """All axes, those of colour bars too."""
    return [axes for outer in figure.axes for axes in (outer, *outer.child_axes)]


def texts(figure: Figure) -> list[Text]:
    """All text that is drawn."""
    found = list(figure.texts)  # the title, too
    for axes in all_axes(figure):
        found += [axes.xaxis.label, axes.yaxis.label, axes.title, *tick_labels(axes.xaxis), *tick_labels(axes.yaxis)]
        if (legend := axes.get_legend()) is not None:
            found += legend.get_texts()
    for legend in figure.legends:
        found += legend.get_texts()
    return [text for text in found if text.get_text() and text.get_visible()]


def drawn(figure: Figure) -> Figure:
    """The figure with everything in its place; all of its text lies inside."""
    FigureCanvasAgg(figure).draw()
    for text in texts(figure):
        place, whole = box(text), figure.bbox
        assert min(place.x0 - whole.x0, whole.x1 - place.x1, place.y0 - whole.y0, whole.y1 - place.y1) > -1, text
    return figure


def texts_apart(figure: Figure) -> bool:
    """Whether no text lies over another."""
    return not any(box(one).padded(-0.5).overlaps(box(other).padded(-0.5))  # type: ignore[attr-defined]
                   for one, other in combinations(texts(figure), 2))


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
    assert not texts_apart(figure)
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


@pytest.mark.parametrize(("synapses", "shown", "captions"), [
    (Dense(inputs=64, outputs=4), lambda weights: weights[:, 3].reshape(8, 8), ("weights", "4 neurons", "")),
    (CONV, lambda weights: weights[:, 3].reshape(3, 2), ("kernels", "6 output channels", "")),
    (replace(CONV, channels=90), lambda weights: weights[:, 63].reshape(3, 2),
     ("kernels", "64 of 90 output channels", "")),
    (Conv(inputs=Map(height=4, width=8, channels=2), channels=12, kernel=(3, 2)),
     lambda weights: weights.reshape(3, 2, 2, 12)[:, :, 1, 9],
     ("kernels", "2 input channels", "10 of 12 output channels")),
    (Local(inputs=CONV.inputs, channels=2, kernel=(4, 4), stride=(4, 4)),
     lambda weights: weights[16:32, 1].reshape(4, 4), ("kernels", "2 output channels, each 2x2 positions", "")),
    (Local(inputs=Map(height=4, width=8, channels=2), channels=5, kernel=(4, 4), stride=(4, 4)),
     lambda weights: weights[32:64, 3].reshape(4, 4, 2)[:, :, 0],
     ("kernels", "4 of 5 output channels, each 1x2 positions, input channel 0 of 2", "")),
    (SumPool(inputs=CONV.inputs, size=2, synapses=Dense(inputs=16, outputs=4)),
     lambda weights: weights[:, 3].reshape(4, 4), ("weights", "4 neurons", "")),
    (SumPool(inputs=CONV.inputs, size=2, synapses=Conv(inputs=Map(height=4, width=4), channels=1, kernel=(2, 2))),
     lambda weights: weights[:, 0].reshape(2, 2), ("kernels", "1 output channel", "")),
])
def test_weights_of_any_synapses_are_tiles(synapses: Synapses, shown: Any, captions: tuple[str, str, str]) -> None:
    network = Network.initial(spec=chain(synapses, Dense(inputs=synapses.n_out, outputs=3)), seed=1)
    image = random_images(1, 64, 2)[0]
    record = network.classify(image)
    figure = drawn(network_figure(network, image, 0, record, np.eye(3, 4, dtype=np.int64), height=8, width=8))
    assert texts_apart(figure)
    name, across, down = captions
    axes = next(axes for axes in figure.axes if axes.get_title().startswith(f"{name} of layer 0, "))
    assert axes.get_xlabel() == across
    assert axes.get_ylabel().split() == down.split()
    [image_drawn] = axes.images
    low, high = image_drawn.get_clim()
    assert low == -high
    wanted = shown(network.weights[0]) / network.spec.layers[0].formats.one
    assert axes.get_title().endswith("x".join(map(str, wanted.shape)))
    assert occurrences(np.asarray(image_drawn.get_array()), wanted) == 1


def chain(*synapses: Synapses, steps: int = 20) -> NetworkSpec:
    """Layers that learn from desires, one behind the other; the input has as many pixels as the first takes."""
    formats = Formats()
    layers = tuple(Layer(synapses=each, neuron=Lif(threshold=formats.one),
                         rule=DesireBackpropagation(desire_margin=min(4, steps - 1)))
                   for each in synapses)
    return NetworkSpec(input=Pixels(count=synapses[0].n_in), layers=layers, readout=SpikeCounts(), steps=steps)


def occurrences(picture: Any, tile: Any) -> int:
    """How often a picture shows a tile, with a frame of NaN around it."""
    framed = np.pad(tile.astype(float), 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(np.ma.filled(picture, np.nan), framed.shape)
    return int(((windows == framed) | (np.isnan(windows) & np.isnan(framed))).all(axis=(2, 3)).sum())


WIDE = Conv(inputs=Map(height=8, width=8), channels=20, kernel=(3, 3), padding=(1, 0), stride=(1, 2))
STRUCTURED = {
    "conv-digits": preset_by_name("conv-digits").spec,
    "maps behind maps, and dense layers": chain(
        WIDE, Conv(inputs=WIDE.outputs, channels=3, kernel=(2, 2)), Dense(inputs=7 * 2 * 3, outputs=30),
        Dense(inputs=30, outputs=12)),
    "sums in front of a convolution": chain(
        SumPool(inputs=CONV.inputs, size=2, synapses=Conv(inputs=Map(height=4, width=4), channels=5, kernel=(2, 2))),
        Dense(inputs=45, outputs=10), steps=4),
    "channels in the image, local, the answer a map": chain(
        Local(inputs=Map(height=4, width=8, channels=2), channels=7, kernel=(4, 3)),
        Conv(inputs=Map(height=1, width=6, channels=7), channels=3, kernel=(1, 6)), steps=1),
    "dense": preset_by_name("digits").spec,
}


@lru_cache
def maps_figures(spec: NetworkSpec, *, label: int = 0) -> tuple[Network, ForwardRecord, Figure]:
    network = random_network(spec, 0, scale=4.0 if spec.steps < 5 else 1.5)  # all layers spike
    record = network.classify(random_images(1, 64, 5)[0])
    return network, record, drawn(maps_figure(network, label, record, height=8, width=8, title=LONG))


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == name)


@pytest.mark.parametrize("spec", STRUCTURED.values(), ids=STRUCTURED)
def test_panels_show_the_spikes_so_far(spec: NetworkSpec) -> None:
    _, record, figure = maps_figures(spec)
    assert texts_apart(figure)
    assert within(figure)
    maps = maps_of(spec, height=8, width=8)
    assert shown_steps(spec.steps)[0] == 1
    assert shown_steps(spec.steps)[-1] == spec.steps
    for layer, of in enumerate(maps):
        spikes = record.input_spikes if layer == 0 else record.layers[layer - 1].spikes
        assert spikes.any()
        for step in shown_steps(spec.steps):
            axes = panel(figure, f"{'input' if layer == 0 else f'layer {layer - 1}'}, step {step}")
            counts = [int(spikes[:step, neuron].sum()) for neuron in range(spikes.shape[1])]
            if of is None or layer == len(spec.layers):
                bars = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
                assert bars[0].get_data().values.tolist() == counts
                assert axes.get_ylim()[1] > max(counts)
                left, right = axes.get_xlim()
                assert left <= -0.5
                assert right >= len(counts) - 0.5
                continue
            [image] = axes.images
            low, high = image.get_clim()
            assert low == 0
            assert high >= max(counts)
            tiles = np.zeros((of.channels, *of.size), dtype=int)
            for neuron, count in enumerate(counts):
                y, x, channel = of.place(neuron)
                tiles[channel, y, x] = count
            for tile in tiles[:16]:
                alike = int((tiles[:16] == tile).all(axis=(1, 2)).sum())
                assert occurrences(image.get_array(), tile) == alike
            assert of.channels <= 16 or f"16 of {of.channels} channels" in panel(
                figure, f"layer {layer - 1}, step 1").get_ylabel()


def test_counts_of_another_step_or_order_are_seen() -> None:
    spec = STRUCTURED["conv-digits"]
    _, record, figure = maps_figures(spec)
    picture = panel(figure, "layer 0, step 12").images[0].get_array()
    of = Map(height=6, width=6, channels=12)
    spikes = record.layers[0].spikes

    def shown(counts: Any, changed: Callable[[Any], Any] = lambda tile: tile) -> bool:
        tiles = channel_tiles(counts, of)
        return all(occurrences(picture, changed(tile)) for tile in tiles[tiles.any(axis=(1, 2))])

    assert shown(spikes[:12].sum(axis=0))
    assert not shown(spikes[:13].sum(axis=0))
    assert not shown(spikes[:12].sum(axis=0), np.transpose)
    assert not shown(spikes[:12].sum(axis=0)[::-1])


def test_label_and_answer_stand_out() -> None:
    for label in (1, 6):
        network, record, figure = maps_figures(STRUCTURED["conv-digits"], label=label)
        answer = int(record.prediction)
        assert answer == 6
        title = " ".join(figure._suptitle.get_text().split())  # type: ignore[attr-defined]
        assert title.endswith(f"label {label}, answer {answer}")
        [*_, marks] = [panel(figure, f"layer 1, step {step}").patches[1:] for step in shown_steps(20)]
        assert {(mark.get_label(), mark.get_data().values.item(), mark.get_data().edges.tolist()[0] + 0.5)
                for mark in marks} == (
            {("label and answer", record.counts[label], label)} if answer == label else
            {("label", record.counts[label], label), ("answer", record.counts[answer], answer)})
    tied = replace(record, prediction=np.array(-1))
    figure = drawn(maps_figure(network, 0, tied, height=8, width=8, title="t"))
    assert figure._suptitle.get_text() == "t: label 0, no answer (a tie)"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"must be \(T, inputs\) of one sample"):
        maps_figure(network, 0, network.classify(random_images(2, 64, 5)), height=8, width=8, title="t")


@pytest.mark.parametrize("spec", STRUCTURED.values(), ids=STRUCTURED)
def test_weights_behind_every_map_are_drawn(spec: NetworkSpec) -> None:
    network, _, figure = maps_figures(spec)
    maps = maps_of(spec, height=8, width=8)
    found = [axes for axes in figure.axes if " of layer " in axes.get_title()]
    behind = [index for index, of in enumerate(maps[:-1]) if of is not None]
    assert [axes.get_title().split(",")[0].split()[-1] for axes in found] == [str(index) for index in behind]
    for axes, index in zip(found, behind, strict=True):
        layer = spec.layers[index]
        patch = layer.synapses.patch or maps[index]
        assert patch is not None
        first = network.weights[index][:patch.neurons, 0].reshape(*patch.size, patch.channels)[:, :, 0]
        assert occurrences(axes.images[0].get_array(), first / layer.formats.one) == 1
        [scale] = axes.child_axes
        assert scale.get_ylabel() == "weight / threshold"
        assert box(scale).height == pytest.approx(box(axes).height, rel=0.1)  # less its tips


def test_competing_neurons_have_fields_and_bars(tmp_path: Path) -> None:
    """Their last layer's neurons are no classes, and none stands out."""
    network = Network.initial(spec=preset_by_name("digits-stdp").spec, seed=1)
    figure = drawn(receptive_field_figure(network, np.arange(50) / 10, height=8, width=8, title=LONG))
    assert texts_apart(figure)
    assert occurrences(figure.axes[0].images[0].get_array(),
                       network.weights[0][:, 49].reshape(8, 8) / network.spec.at(0).formats.one) == 1
    record = network.classify(random_images(1, 64, 5)[0])
    figure = drawn(maps_figure(network, 0, record, height=8, width=8, title="t"))
    bars = panel(figure, "layer 0, step 20")
    assert len(bars.patches) == 1
    assert bars.get_xlabel() == "neuron"
    save_figure(figure, tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize(("count", "aspect", "grid"), [
    (1, 1, (1, 1)), (3, 1, (1, 3)), (7, 1, (3, 3)), (8, 1, (2, 4)), (12, 1, (3, 4)), (16, 1.5, (4, 4)),
    (64, 1.5, (8, 8))])
def test_tiles_fill_their_grid_if_they_can(count: int, aspect: float, grid: tuple[int, int]) -> None:
    tiles = np.arange(count * 6.0).reshape(count, 2, 3)
    square = tiles[:, :, :2]
    assert arranged(square, aspect=aspect).shape[:2] == grid
    picture = canvas(np.stack([arranged(tiles), -arranged(tiles) - 1]))
    assert np.isnan(picture[[0, -1]]).all()
    assert np.isnan(picture[:, [0, -1]]).all()
    assert sorted(picture[~np.isnan(picture)]) == list(range(-6 * count, 6 * count))


def test_captions_count() -> None:
    assert [some(1, 1, "channel"), some(2, 2, "channel"), some(1, 2, "channel")] == [
        "1 channel", "2 channels", "1 of 2 channels"]
    assert [shown_steps(steps) for steps in (1, 4, 20)] == [[1], [1, 2, 3, 4], [1, 5, 9, 12, 16, 20]]

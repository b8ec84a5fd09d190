"""Convolutions, local connections and sums over squares, in the Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation, Eligibility, Magnitude
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import CosimResult, Segment, Stalls, Surroundings, cosimulate
from tests.conftest import quick, random_images, random_network
from tests.hdl.test_geometry_emit import lint
from tests.sim.blocks import once

pytestmark = pytest.mark.simulation

IMAGES = 40
STEPS = 8


def layer(synapses: Synapses, *, dropout: int = 0, threshold: int | None = None, **rule: Any) -> Layer:
    """A layer that learns with stochastic rounding unless said."""
    formats = Formats(weight_bits=12, weight_fraction=10)
    return Layer(synapses=synapses, neuron=Lif(threshold=threshold or formats.one, dropout=dropout), formats=formats,
                 rule=DesireBackpropagation(**({"rounding": Rounding.STOCHASTIC, "desire_margin": 2} | rule)))


def network(*layers: Synapses | Layer) -> NetworkSpec:
    """A contract of the layers."""
    built = tuple(each if isinstance(each, Layer) else layer(each) for each in layers)
    return NetworkSpec(input=Pixels(count=built[0].n_in), layers=built, readout=SpikeCounts(), steps=STEPS)


def dense_behind(synapses: Conv | Local) -> Dense:
    """Four neurons that hear all of a map."""
    return Dense(inputs=synapses.n_out, outputs=4)


PADDED = Conv(inputs=Map(height=4, width=5), channels=3, kernel=(3, 3), padding=(1, 1))
NEXT = Conv(inputs=PADDED.outputs, channels=5, kernel=(2, 3), stride=(2, 1), padding=(1, 0))
POINTS = Conv(inputs=Map(height=3, width=4, channels=2), channels=7, kernel=(1, 1))
SPARSE = Conv(inputs=POINTS.outputs, channels=4, kernel=(1, 2), stride=(2, 3))
WHOLE = Conv(inputs=Map(height=4, width=4), channels=6, kernel=(4, 4))
WIDER = Conv(inputs=WHOLE.outputs, channels=4, kernel=(3, 3), padding=(1, 1))
ALONE = Conv(inputs=Map(height=5, width=4), channels=1, kernel=(2, 2), stride=(1, 2))
OWN = Local(inputs=Map(height=4, width=4, channels=2), channels=3, kernel=(2, 2), stride=(1, 2), padding=(1, 1))
OWN_BEHIND = Local(inputs=OWN.outputs, channels=2, kernel=(3, 2))
EVEN = Conv(inputs=Map(height=4, width=6), channels=3, kernel=(3, 3), padding=(1, 1))
POOLED = SumPool(inputs=EVEN.outputs, size=2, synapses=Conv(
    inputs=Map(height=2, width=3, channels=3), channels=5, kernel=(2, 2)))
PAPER = {"eligibility": Eligibility.SPIKE, "magnitude": Magnitude.TERNARY, "rounding": Rounding.HALF_UP}
DENSE_FIRST = Conv(inputs=Map(height=3, width=3, channels=2), channels=2, kernel=(2, 2))

CASES: dict[str, tuple[NetworkSpec, Geometry]] = {
    "convolution behind convolution": (
        network(PADDED, NEXT, dense_behind(NEXT)), Geometry(lanes=20, neurons_per_unit=2)),
    "the same, folded, with dropout": (
        network(layer(PADDED, dropout=60, rise_limit=2), layer(NEXT, dropout=40, rise_limit=4), dense_behind(NEXT)),
        Geometry(lanes=(2, 2, 3), unroll=3, neurons_per_unit=1)),
    "the same, the paper's form": (
        network(layer(PADDED, **PAPER, rise_limit=5), layer(NEXT, **PAPER), layer(dense_behind(NEXT), **PAPER)),
        Geometry(lanes=(3, 4, 4), neurons_per_unit=8)),
    "kernels of one, then a stride above the kernel": (
        network(POINTS, SPARSE, dense_behind(SPARSE)), Geometry(lanes=(4, 3, 4), neurons_per_unit=3)),
    "kernels as large as the map": (network(WHOLE, WIDER), Geometry(lanes=(6, 3))),
    "one channel, rounded half up": (
        network(layer(ALONE, rounding=Rounding.HALF_UP), dense_behind(ALONE)), Geometry(lanes=8)),
    "local": (
        network(OWN, OWN_BEHIND, dense_behind(OWN_BEHIND)),
        Geometry(lanes=(2, 2, 4), unroll=1, neurons_per_unit=2)),
    "sums over squares": (
        network(EVEN, POOLED, SumPool(inputs=Map(height=1, width=2, channels=5), size=1, synapses=Dense(
            inputs=10, outputs=4))), Geometry(lanes=(3, 3, 3))),
    # Neurons are eligible at rest; those of a position reached late may be eligible before that, and never again.
    "the least of thresholds": (
        network(PADDED, layer(NEXT, threshold=1, hidden_threshold=1), dense_behind(NEXT)),
        Geometry(lanes=(3, 2, 4), neurons_per_unit=2)),
    "behind a dense layer, and last": (
        network(Dense(inputs=20, outputs=18), DENSE_FIRST), Geometry(lanes=(18, 1))),
}


def play(spec: NetworkSpec, geometry: Geometry, *, images: int = IMAGES, rates: int = 1, **choices: Any) -> CosimResult:
    """Learn at a number of rates, then classify, with random stalls."""
    low, high = spec.rate_shift_range
    labels = (np.arange(images) % spec.classes).astype(np.uint8)
    order = np.arange(images)
    segments = [Segment(split="all", order=order, rate_shift=rate_shift, check_every=images // 2)
                for rate_shift in (low, (low + high) // 2)[:rates]]
    segments.append(Segment(split="all", order=order[:5]))
    emission = once(emit_network, spec=spec, geometry=geometry)
    return cosimulate(Model(network=random_network(spec, 3, scale=2.0), preset="test", dataset="none"),
                      {"all": Split(images=random_images(images, spec.inputs, 5), labels=labels)}, segments,
                      verilog=emission.verilog, description=emission.description,
                      surroundings=Surroundings(stalls=Stalls.RANDOM), **choices)


def changed_layers(spec: NetworkSpec) -> list[bool]:
    """Whether the golden model changes a weight of each layer."""
    network, before, draws = random_network(spec, 3, scale=2.0), random_network(spec, 3, scale=2.0), DrawGenerator(spec)
    for number, image in enumerate(random_images(IMAGES, spec.inputs, 5)):
        learn(network, image, number % spec.classes, rate_shift=spec.rate_shift_range[0], **draws.draw()._asdict())
    return [bool((old != new).any()) for old, new in zip(before.weights, network.weights, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_every_case_changes_all_layers(name: str) -> None:
    assert all(changed_layers(CASES[name][0]))


LONG = ("convolution behind convolution", "local", "behind a dense layer, and last", "the same, the paper's form",
        "kernels as large as the map", "the least of thresholds", "sums over squares",
        "kernels of one, then a stride above the kernel", "one channel, rounded half up")
"""Cases of which the others hold nearly all; with the regressions."""


@pytest.mark.parametrize("name", quick(CASES, *(name for name in CASES if name not in LONG)))
def test_maps_are_bit_exact(name: str) -> None:
    result = play(*CASES[name], rates=2)
    assert result.bit_exact, result.message
    assert result.counters["learned"] > 0


@pytest.mark.parametrize("name", quick(
    ["the same, folded, with dropout", "sums over squares"], "the same, folded, with dropout"))
def test_lint_is_clean_but_for_the_waivers(tmp_path: Path, name: str) -> None:
    spec, geometry = CASES[name]
    emit_network(spec=spec, geometry=geometry).write(tmp_path)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stderr


@st.composite
def shapes(draw: st.DrawFn) -> tuple[NetworkSpec, Geometry]:
    """Two layers of maps of any shape, and a dense one or none behind."""
    kinds: list[Synapses] = []
    inputs = Map(height=draw(st.integers(1, 5)), width=draw(st.integers(1, 5)), channels=draw(st.integers(1, 3)))
    for _ in range(2):
        kernel, stride, padding = [], [], []
        whole = inputs
        if pooled := inputs.height % 2 == inputs.width % 2 == 0 and draw(st.booleans()):
            inputs = Map(height=whole.height // 2, width=whole.width // 2, channels=whole.channels)
        for size in inputs.size:
            kernel.append(draw(st.integers(1, size + 1)))
            least = max(0, -(-(kernel[-1] - size) // 2))
            padding.append(draw(st.integers(least, max(least, kernel[-1] - 1))))
            stride.append(draw(st.integers(1, 3)))
        kind = draw(st.sampled_from([Conv, Local]))
        patches = kind(inputs=inputs, channels=draw(st.integers(1, 5)), kernel=(kernel[0], kernel[1]),
                       stride=(stride[0], stride[1]), padding=(padding[0], padding[1]))
        kinds.append(SumPool(inputs=whole, size=2, synapses=patches) if pooled else patches)
        inputs = patches.outputs
    rule = draw(st.sampled_from([{}, {"rounding": Rounding.HALF_UP}, PAPER]))
    layers = [layer(each, dropout=draw(st.sampled_from([0, 50])), **rule) for each in kinds]
    layers.append(layer(Dense(inputs=inputs.neurons, outputs=3), **rule))
    lanes = tuple(draw(st.integers(1, each.n_out)) for each in layers)
    return network(*layers), Geometry(lanes=lanes, unroll=draw(st.integers(1, 4)),
                                      neurons_per_unit=draw(st.sampled_from([None, 1, 2, 5, 8])))


def _any_shape(case: tuple[NetworkSpec, Geometry]) -> None:
    result = play(*case, images=16)
    assert result.bit_exact, result.message


_SETTINGS = {"suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}


@settings(max_examples=1, **_SETTINGS)
@given(shapes())
def test_any_shape(case: tuple[NetworkSpec, Geometry]) -> None:
    _any_shape(case)


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=60, **_SETTINGS)
@given(shapes())
def test_many_shapes(case: tuple[NetworkSpec, Geometry]) -> None:
    _any_shape(case)

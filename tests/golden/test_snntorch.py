"""A network that snnTorch trained on MNIST and exported (bench/train_snntorch.py), imported: formats and answers.

MNIST is not at hand everywhere, so the UCI digits, drawn larger, stand for it: other people's handwriting, of which the
network still names two thirds.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.formats import Formats
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.neurons import Comparison, CubaLif, Decay, Reset
from lifstream.golden.model.encoder import encode
from lifstream.golden.model.network import Network
from lifstream.golden.model.readouts import unique_maximum
from lifstream.golden.study.datasets import Split, load_dataset
from lifstream.golden.study.nir_graph import chain_of, read_graph
from lifstream.golden.study.quantise import quantised
from lifstream.golden.study.training import evaluate
from tests.golden import nir_reference

pytest.importorskip("nir")

TRAINED = Path(__file__).parents[2] / "bench" / "snntorch-mnist.nir"
STEPS = 20
COMPARED = 40
"""Images that the interpreter of NIR goes through, which takes its time."""


def enlarged(images: np.ndarray) -> np.ndarray:
    """uint8 (count, 64) to (count, 784): 20 by 20 pixels of 8 by 8, as large as MNIST's, in the middle."""
    fine = np.kron(images.reshape(-1, 8, 8), np.ones((5, 5)))
    drawn = fine.reshape(-1, 20, 2, 20, 2).mean(axis=(2, 4)).astype(np.uint8)
    return np.pad(drawn, ((0, 0), (4, 4), (4, 4))).reshape(len(images), -1)


@pytest.fixture(scope="module")
def graph() -> Any:
    return read_graph(TRAINED)


@pytest.fixture(scope="module")
def digits() -> Split:
    """The test part of the UCI digits, as images of MNIST's size."""
    found = load_dataset("digits").test
    return Split(images=enlarged(found.images), labels=found.labels)


@pytest.fixture(scope="module")
def counts(graph: Any, digits: Split) -> np.ndarray:
    """Spikes of the last layer, (COMPARED, 10), that the graph's own equations make of the first images."""
    spikes = encode(digits.images[:COMPARED], STEPS).reshape(COMPARED, STEPS, 1, 28, 28)
    return np.array([nir_reference.run(graph, sample.astype(float), dt=1e-4, exact=False)["4"].sum(axis=0)
                     for sample in spikes]).astype(np.int64)


def imported(graph: Any, digits: Split, *, weight_bits: int = 16, reset: Reset | None = None) -> Network:
    """The network in integers, for images, with formats that the last digits chose."""
    calibration = encode(digits.images[-20:], STEPS)
    return quantised(chain_of(graph, reset=reset), calibration, weight_bits=weight_bits, images=True).network


def counted(network: Network, digits: Split) -> np.ndarray:
    """The same of the integers."""
    return network.classify(digits.images[:COMPARED]).layers[-1].spikes.sum(axis=1)


def alike(found: np.ndarray, counts: np.ndarray) -> int:
    """Images of which every neuron has the same count."""
    return int((found == counts).all(axis=1).sum())


def test_what_the_import_makes_of_it(graph: Any, digits: Split) -> None:
    spec = imported(graph, digits).spec
    assert (spec.summary, spec.input, spec.steps) == ("784-1152-10", Pixels(count=784), STEPS)
    assert "time step 0.0001 s: every gain" in chain_of(graph).notes[0]
    for layer in spec.layers:
        neuron, formats = layer.neuron, layer.formats
        assert isinstance(neuron, CubaLif)
        assert isinstance(formats, Formats)
        assert (neuron.potential_decay, neuron.current_decay) == (Decay(numerator=7, shift=3), None)
        assert (neuron.comparison, neuron.reset, neuron.reset_value) == (Comparison.ABOVE, Reset.VALUE, 0)
        assert neuron.threshold == formats.one << neuron.guard_bits


def test_16_bits_spike_as_the_graph_s_equations(graph: Any, digits: Split, counts: np.ndarray) -> None:
    assert alike(counted(imported(graph, digits), digits), counts) >= COMPARED - 2


def test_8_bits_answer_as_the_graph_s_equations(graph: Any, digits: Split, counts: np.ndarray) -> None:
    found = counted(imported(graph, digits, weight_bits=8), digits)
    assert (unique_maximum(found) == unique_maximum(counts)).sum() >= COMPARED - 3


def test_digits_of_others_are_told_apart(graph: Any, digits: Split) -> None:
    found = {bits: evaluate(imported(graph, digits, weight_bits=bits), digits)[0] for bits in (16, 8)}
    assert found[16] >= 0.66
    assert abs(found[8] - found[16]) <= 0.02


def _changed(graph: Any, node: str, **values: Any) -> Any:
    made = deepcopy(graph)
    for name, value in values.items():
        setattr(made.nodes[node], name, value)
    return made


@pytest.mark.parametrize("fault", ["reset", "kernel", "order", "decay", "bias"])
def test_an_import_gone_wrong_is_noticed(graph: Any, digits: Split, counts: np.ndarray, fault: str) -> None:
    """Faults that an import could have, each planted in the graph or the way it is read."""
    kernel, matrix = np.asarray(graph.nodes["0"].weight), np.asarray(graph.nodes["3"].weight)
    of = partial(_changed, graph)
    made, reset = {
        "reset": (graph, Reset.SUBTRACT),
        "kernel": (of("0", weight=kernel.swapaxes(2, 3)), None),
        "order": (of("3", weight=matrix.reshape(10, 8, 144).swapaxes(1, 2).reshape(10, -1)), None),
        "decay": (of("1", tau=np.asarray(graph.nodes["1"].tau) * 2), None),
        "bias": (of("0", bias=np.zeros(8)), None)}[fault]
    assert alike(counted(imported(made, digits, reset=reset), digits), counts) < COMPARED // 2

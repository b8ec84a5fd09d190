"""The compiled kernels against the definition, and the float model against an independent one."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Overflow, Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import DesireBackpropagation, Eligibility, Magnitude
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.twin.engine import Engine, Outcome, Runner
from lifstream.golden.twin.float_model import FloatNetwork
from lifstream.sim.scoreboard import state_mismatches
from tests.conftest import flat, quick, random_images, random_network
from tests.golden import float_reference

GRADED = flat_network(sizes=(64, 24, 10), dropout=48)
SPECS = {
    "graded": GRADED,
    "graded, two hidden layers": changed(GRADED, sizes=(64, 20, 16, 10)),
    "graded, no dropout": changed(GRADED, dropout=0),
    "graded, short": changed(GRADED, steps=7, desire_margin=2, leak_shift=3, trace_fraction=2),
    "graded, 8 bit": changed(GRADED, weight_bits=8, weight_fraction=6),
    "graded, clamp 4": changed(GRADED, membrane_clamp=4),
    "paper": with_rule(GRADED, NamedRule.PAPER),
    "paper, two hidden layers, wide": with_rule(changed(GRADED, sizes=(64, 20, 16, 10), membrane_overflow=Overflow.WIDE,
                                              membrane_clamp=0), NamedRule.PAPER),
    "paper's eligibility, graded magnitude": changed(GRADED, eligibility=Eligibility.SPIKE),
    "graded eligibility, paper's magnitude": changed(GRADED, magnitude=Magnitude.TERNARY),
    "stochastic rounding": changed(GRADED, rounding=Rounding.STOCHASTIC),
    "stochastic rounding, 8 bit, two hidden layers, no dropout": changed(
        GRADED, sizes=(64, 20, 16, 10), weight_bits=8, weight_fraction=6, rounding=Rounding.STOCHASTIC, dropout=0),
    "stochastic rounding, paper": with_rule(changed(GRADED, rounding=Rounding.STOCHASTIC), NamedRule.PAPER),
    "64-bit membrane": changed(GRADED, weight_bits=24, weight_fraction=16, membrane_overflow=Overflow.WIDE,
                               membrane_clamp=0),
}
COUNT = 300


def stream() -> tuple[np.ndarray, np.ndarray]:
    """Images of ten recognisable classes, so that learning takes every path, and their labels."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 10, COUNT).astype(np.uint8)
    prototypes = random_images(10, 64, 3)
    noise = random.integers(0, 90, (COUNT, 64))
    return np.clip(prototypes[labels].astype(int) + noise - 45, 0, 255).astype(np.uint8), labels


def trained(spec: NetworkSpec, engine: Engine) -> tuple[Runner, Outcome]:
    """Learn in two batches of unequal size, with saturating weights, then classify."""
    images, labels = stream()
    runner = Runner(network=random_network(spec, 5, scale=1.5), engine=engine)
    rate = max(11, spec.rate_shift_range[0])
    parts = [runner.learn(images[:7], labels[:7], rate_shift=rate),
             runner.learn(images[7:], labels[7:], rate_shift=rate), runner.infer(images)]
    return runner, Outcome.joined(parts)


def first_difference(expected: tuple[Runner, Outcome], got: tuple[Runner, Outcome]) -> str:
    """Where two engines part: the image and the quantity, or the weight; empty when they are equal."""
    for index in range(len(expected[1].predictions)):
        for entry in fields(Outcome):
            values = [getattr(outcome, entry.name)[index].tolist() for _, outcome in (expected, got)]
            if values[0] != values[1]:
                return f"image {index}: {entry.name} {values[1]}, expected {values[0]}"
    if expected[0].draws.states != got[0].draws.states:
        return "dropout states"
    divergences = state_mismatches(expected[0].network.weights, got[0].network.weights, quantity="weight", image=0)
    return str(divergences[0]) if divergences else ""


@pytest.mark.parametrize("name", quick(SPECS, *(name for name in SPECS if name != "64-bit membrane")))
def test_engines_are_equal(name: str) -> None:
    expected, got = trained(SPECS[name], Engine.NUMPY), trained(SPECS[name], Engine.NUMBA)
    assert first_difference(expected, got) == ""
    assert expected[0].network.digest() == got[0].network.digest()
    assert expected[1].learned[:COUNT].any()
    assert expected[1].updates.sum() > 0


def test_a_changed_bit_is_named() -> None:
    expected, got = trained(GRADED, Engine.NUMPY), trained(GRADED, Engine.NUMBA)
    got[0].network.weights[0][3, 2] ^= 1
    assert "weight" in first_difference(expected, got)
    got[1].spikes[17, 1] += 1
    assert first_difference(expected, got).startswith("image 17: spikes")


def test_a_fault_in_the_arithmetic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(GRADED, Engine.NUMPY)
    monkeypatch.setattr(DesireBackpropagation, "hidden_thresholds_raw",
                        lambda _, fraction, steps: (1 << fraction,) * 2)  # noqa: ARG005
    assert first_difference(expected, trained(GRADED, Engine.NUMBA)).startswith("image ")


def test_nothing_is_harmless() -> None:
    for engine in Engine:
        runner = Runner(network=random_network(GRADED, 1), engine=engine)
        before = runner.network.digest()
        runner.prepare(learning=True)
        silent = runner.infer(np.zeros((3, 64), dtype=np.uint8))
        assert silent.spikes.sum() == 0
        assert (silent.predictions == -1).all()
        assert runner.network.digest() == before


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(("images", "labels", "message"), [
    (np.zeros((2, 63), np.uint8), [1, 2], r"images: uint8 \(2, 63\), expected uint8 \(count, 64\)"),
    (np.zeros((2, 64), np.int64), [1, 2], "images: int64"), (np.zeros(64, np.uint8), [1], r"images: uint8 \(64,\)"),
    (np.zeros((2, 64), np.uint8), [1], r"labels: uint8 \(1,\), expected uint8 \(2,\)"),
    (np.zeros((2, 64), np.uint8), [1, 10], "labels: 10 is out of bounds, the network has 10 classes")])
def test_bad_arrays_are_refused(engine: Engine, images: np.ndarray, labels: list[int], message: str) -> None:
    runner = Runner(network=random_network(GRADED, 1), engine=engine)
    before = runner.network.digest()
    with pytest.raises(InputError, match=message):
        runner.learn(images, np.array(labels, dtype=np.uint8), rate_shift=12)
    assert runner.network.digest() == before


def test_layout_and_read_only_images_do_not_matter() -> None:
    images, _ = stream()
    runner = Runner(network=random_network(GRADED, 1))
    frozen = images.copy()
    frozen.flags.writeable = False
    expected = runner.infer(images).predictions
    assert (runner.infer(frozen).predictions == expected).all()
    assert (runner.infer(np.asfortranarray(images)).predictions == expected).all()


def test_updates_count_what_learning_visits() -> None:
    network = random_network(GRADED, 5)
    images, labels = stream()
    record = learn(network, images[0], int(labels[0]), rate_shift=12)
    expected = 0
    for layer, desire in enumerate(record.teaching):
        expected += int(record.forward.layer_input(layer).any(axis=0).sum()) * int((desire.sign != 0).sum())
    assert record.updates == expected > 0


# -- real numbers ------------------------------------------------------------------------------

FLOAT_SPEC = with_rule(flat_network(sizes=(12, 8, 6, 4), steps=6, desire_margin=1, output_threshold=2,
                         membrane_overflow=Overflow.WIDE, membrane_clamp=0, dropout=0), NamedRule.PAPER)
FLOAT_SPEC = changed(FLOAT_SPEC, output_threshold=2)


def test_float_model_equals_the_paper_s_equations() -> None:
    # Weights of few bits: for six steps every potential is exact in float32 and in float64.
    random = np.random.default_rng(8)
    learned = 0
    for seed in range(20):
        weights = [np.round(random.standard_normal((a, b)) * np.sqrt(2 / a) * 256) / 256
                   for a, b in zip(flat(FLOAT_SPEC).sizes, flat(FLOAT_SPEC).sizes[1:], strict=False)]
        runner = Runner(network=FloatNetwork(spec=FLOAT_SPEC, weights=weights))
        image, label = random_images(1, 12, seed)[0], seed % 4
        outcome = runner.learn(image[None], np.array([label], dtype=np.uint8), rate_shift=8)

        layers = [float_reference.FloatLayer(weights=matrix.copy()) for matrix in weights]
        counts = float_reference.forward(image, layers, steps=6, decay=0.75)
        # The contract's output threshold is "at least 2 of D = 5 counts".
        wanted = float_reference.desires(layers, label, target=5, output_threshold=1.5 / 5, hidden_threshold=0.05)
        assert outcome.spikes[0, -1] == counts.sum()
        if outcome.learned[0]:
            learned += 1
            changes = float_reference.updates(layers, wanted, 2.0**-8)
            for before, change, after in zip(weights, changes, runner.network.weights, strict=True):
                np.testing.assert_allclose(after, before + change, atol=1e-6)  # float model: float32 against float64
    assert learned > 10


def test_float_model_is_near_the_integers() -> None:
    spec = changed(GRADED, weight_bits=24, weight_fraction=20, trace_fraction=8)
    images, labels = stream()
    integer, real = (Runner(network=kind.initial(spec=spec, seed=2)) for kind in (Network, FloatNetwork))
    outcomes = [runner.learn(images, labels, rate_shift=12) for runner in (integer, real)]
    assert (outcomes[0].predictions == outcomes[1].predictions).mean() > 0.9  # float model: rounding differs
    difference = integer.network.weights[0] / spec.layers[0].formats.one - real.network.weights[0]
    assert np.abs(difference).mean() < 0.1 * np.abs(real.network.weights[0]).mean()  # float model


def test_float_model_has_compiled_kernels_only() -> None:
    with pytest.raises(InputError, match="compiled kernels only"):
        Runner(network=FloatNetwork.initial(spec=GRADED, seed=1), engine=Engine.NUMPY)

"""The learning rule: against the float reference, and pinned, branch by branch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Overflow
from lifstream.golden.contract.rules import Magnitude
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.protocols import LayerRecord
from lifstream.golden.model.rules.desire import (
    Desire,
    correlation,
    hidden_desire,
    output_desire,
    passes_back,
    weight_update,
)
from lifstream.golden.model.trace import trace
from tests.conftest import flat, random_images, random_network
from tests.golden import float_reference as reference

DESIRE_RULES = (NamedRule.PAPER, NamedRule.GRADED)
PAPER = with_rule(flat_network(sizes=(20, 12, 8, 4), weight_bits=20, weight_fraction=16, trace_fraction=8,
                    membrane_overflow=Overflow.WIDE, membrane_clamp=0), NamedRule.PAPER)


def test_paper_rule_equals_the_float_reference() -> None:
    """Same spikes, same desires, updates within quantisation, on random three-layer networks."""
    compared = moved = 0
    rate_shift = 12
    for seed in range(60):
        network = random_network(PAPER, seed, scale=1.6)
        image, label = random_images(1, 20, seed)[0], seed % 4
        layers = [reference.FloatLayer(matrix / PAPER.layers[0].formats.one) for matrix in network.weights]
        reference.forward(image, layers, steps=PAPER.steps, decay=0.75)
        before = [matrix.copy() for matrix in network.weights]
        record = learn(network, image, label, rate_shift=rate_shift)
        if any((np.array(layer.spikes) != ours.spikes).any()
               for layer, ours in zip(layers, record.forward.layers, strict=True)):
            continue  # the floor of the leak moved a potential across the threshold
        compared += 1
        wanted = reference.desires(layers, label, target=16, output_threshold=0.30, hidden_threshold=0.05)
        if not wanted[-1].any():
            assert record.teaching == ()
            continue
        for ours, theirs in zip(record.teaching, wanted, strict=True):
            assert (ours.sign == theirs).all()
        changes = reference.updates(layers, wanted, 2.0**-rate_shift)
        # A trace is too small by less than 4 of its LSBs; the update is then rounded once.
        slack = 0.5 + PAPER.steps * 4 / 2 ** PAPER.at(0).update_shift(rate_shift)
        for now, old, change in zip(network.weights, before, changes, strict=True):
            difference = (now - old) - change * PAPER.layers[0].formats.one
            assert np.abs(difference).max() <= slack
            moved += int(np.count_nonzero(now != old))
    assert compared >= 50
    assert moved > 1000


def test_the_comparison_with_the_reference_can_fail() -> None:
    network = random_network(PAPER, 1, scale=1.6)
    layers = [reference.FloatLayer(matrix / PAPER.layers[0].formats.one) for matrix in network.weights]
    layers[0].weights[:, 0] += 0.5
    image = random_images(1, 20, 1)[0]
    reference.forward(image, layers, steps=20, decay=0.75)
    record = learn(network, image, 0, rate_shift=12)
    assert (np.array(layers[0].spikes) != record.forward.layers[0].spikes).any()


GRADED = flat_network(sizes=(3, 2, 4))


@pytest.mark.parametrize(("counts", "label", "sign", "exponent", "error"), [
    # D = 16: the label wants 16 spikes, the others none
    ([16, 0, 0, 0], 0, [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
    ([15, 1, 0, 2], 0, [1, -1, 0, -1], [-4, -4, 0, -3], [1, 1, 0, 2]),
    ([0, 3, 20, 16], 0, [1, -1, -1, -1], [0, -3, 0, 0], [16, 3, 20, 16]),
    ([20, 0, 0, 0], 0, [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),  # above its target: no desire
    ([0, 0, 9, 0], 2, [0, 0, 1, 0], [0, 0, -2, 0], [0, 0, 7, 0]),
])
def test_output_desire_graded(counts: list[int], label: int, sign: list[int], exponent: list[int],
                              error: list[int]) -> None:
    desire = output_desire(GRADED.placed[-1], np.array(counts), label)
    assert (desire.sign.tolist(), desire.exponent.tolist(), desire.error.tolist()) == (sign, exponent, error)


def test_output_desire_when_the_target_is_no_power_of_two() -> None:
    spec = changed(GRADED, steps=12, desire_margin=1)  # D = 11: errors 1..11 against 11, 5.5, 2.75, ...
    exponents = [int(output_desire(spec.placed[-1], np.array([11 - error, 0, 0, 0]), 0).exponent[0])
                 for error in range(1, 12)]
    assert exponents == [-4, -3, -2, -2, -2, -1, -1, -1, -1, -1, 0]


def test_output_desire_paper_threshold() -> None:
    spec = with_rule(GRADED, NamedRule.PAPER)
    desire = output_desire(spec.placed[-1], np.array([11, 4, 5, 6]), 0)
    assert desire.sign.tolist() == [1, 0, -1, -1]
    assert desire.error.tolist() == [5, 0, 5, 6]
    assert desire.exponent.tolist() == [0, 0, 0, 0]


def test_hidden_desire_graded() -> None:
    # One successor with magnitude 2**-2 and sign +: D = w / 4.
    successor = Desire(sign=np.array([1]), exponent=np.array([-2]), error=np.array([4]))
    spec = flat_network(sizes=(3, 8, 1))
    one = spec.layers[0].formats.one
    weights = np.array([[4 * one], [4 * one - 1], [-2 * one], [654], [655], [-655], [0], [32767]], dtype=np.int32)
    desire = hidden_desire(spec.at(0), weights, successor, np.zeros(8, dtype=np.int64), None)
    # 655 / 2**16 * 4 * 2**14 = 655: a weight of 654 is below the threshold.
    assert desire.sign.tolist() == [1, 1, -1, 0, 1, -1, 0, 1]
    assert desire.exponent.tolist() == [0, -1, -1, 0, -7, -7, 0, -2]
    kept = np.array([False] + [True] * 7)
    assert hidden_desire(spec.at(0), weights, successor, np.zeros(8, dtype=np.int64), kept).sign[0] == 0


def test_hidden_desire_cap_and_floor() -> None:
    spec = changed(flat_network(sizes=(3, 2, 2)), hidden_threshold=1)
    successor = Desire(sign=np.array([1, 1]), exponent=np.array([0, 0]), error=np.array([16, 16]))
    weights = np.array([[32767, 32767], [1, 0]], dtype=np.int32)
    desire = hidden_desire(spec.at(0), weights, successor, np.zeros(2, dtype=np.int64), None)
    assert desire.exponent.tolist() == [0, -10]  # nearly 4 is capped at 1, 2**-14 floored at 2**-10


def test_hidden_desire_paper_uses_the_exact_error_of_hidden_neurons_too() -> None:
    spec = with_rule(flat_network(sizes=(3, 2, 2)), NamedRule.PAPER)
    successor = Desire(sign=np.array([1, -1]), exponent=np.array([0, 0]), error=np.array([7, 9]))
    weights = np.array([[1000, -1000], [1000, 1000]], dtype=np.int32)
    desire = hidden_desire(spec.at(0), weights, successor, np.array([3, 5]), None)
    assert desire.sign.tolist() == [1, 0]  # 16,000 reaches 0.05 * 16 * 2**14 = 13,107; -2,000 does not
    assert desire.error.tolist() == [13, 0]


def test_trace_pinned() -> None:
    spec = flat_network(sizes=(1, 1))
    spikes = np.array([1, 0, 0, 1, 1, 0], dtype=bool)[:, None]
    assert trace(spec.layers[0].rule, spikes)[:, 0].tolist() == [16, 12, 9, 22, 32, 24]


def test_trace_maximum_is_reached() -> None:
    spec = flat_network(sizes=(1, 1))
    assert int(trace(spec.layers[0].rule, np.ones((20, 1), dtype=bool)).max()) == spec.at(0).trace_max


@pytest.mark.parametrize(("rate_shift", "correlations", "changes"), [
    (10, [0, 1, 5], [0, 1, 5]),              # shift 0: nothing is rounded
    (11, [0, 1, 2, 3], [0, 1, 1, 2]),        # shift 1: half up
    (13, [3, 4, 11, 12], [0, 1, 1, 2]),      # shift 3
])
def test_update_rounds_half_up_and_signs_afterwards(rate_shift: int, correlations: list[int],
                                                    changes: list[int]) -> None:
    for sign in (1, -1):
        desire = Desire(sign=np.array([sign]), exponent=np.array([0]), error=np.array([0]))
        got = weight_update(flat_network(sizes=(4, 1)).at(0), np.array(correlations)[:, None], desire, rate_shift)
        assert got[:, 0].tolist() == [sign * change for change in changes]


def test_update_shifts_by_the_magnitude() -> None:
    desire = Desire(sign=np.array([1, 1]), exponent=np.array([0, -2]), error=np.array([0, 0]))
    got = weight_update(flat_network(sizes=(1, 2)).at(0), np.array([[64, 64]]), desire, 12)
    assert got.tolist() == [[16, 4]]


def test_weights_saturate() -> None:
    spec = flat_network(sizes=(1, 1))
    formats = spec.layers[0].formats
    for start, label_is_wanted in ((formats.weight_max - 1, True), (formats.weight_min + 1, False)):
        network = Network(spec=spec, weights=[np.array([[start]])])
        # One class: it is the label; a negative weight keeps it silent, so its desire is positive.
        learn(network, np.array([255], dtype=np.uint8), 0, rate_shift=10)
        expected = start if label_is_wanted else spec.layers[0].formats.weight_min + 1 + int(
            correlation(np.ones((20, 1), dtype=bool), trace(spec.layers[0].rule, np.ones((20, 1), dtype=bool)))[0, 0])
        assert network.weights[0][0, 0] == expected
    wide = Network(spec=flat_network(sizes=(1, 2)), weights=[np.array([[0, spec.layers[0].formats.weight_max]])])
    learn(wide, np.array([255], dtype=np.uint8), 0, rate_shift=10)
    assert wide.weights[0][0, 0] > 0
    assert wide.weights[0][0, 1] < spec.layers[0].formats.weight_max


def test_no_output_desire_changes_nothing() -> None:
    spec = flat_network(sizes=(1, 2), desire_margin=4)
    network = Network(spec=spec, weights=[np.array([[spec.layers[0].formats.one, 0]])])
    record = learn(network, np.array([255], dtype=np.uint8), 0, rate_shift=12)
    assert record.teaching == ()
    assert network.weights[0].tolist() == [[spec.layers[0].formats.one, 0]]


@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from(DESIRE_RULES), dropout=st.sampled_from([0, 64]),
       label=st.integers(0, 3))
def test_learning_touches_only_spiking_rows_and_desired_columns(seed: int, rule: NamedRule, dropout: int,
                                                                label: int) -> None:
    spec = with_rule(flat_network(sizes=(10, 7, 4), dropout=dropout), rule)
    network = random_network(spec, seed, scale=2.0)
    before = [matrix.copy() for matrix in network.weights]
    kept = [np.random.default_rng(seed).random(7) > 0.3] if dropout else None
    record = learn(network, random_images(1, 10, seed)[0], label, rate_shift=12, kept=kept)
    for layer, (now, old) in enumerate(zip(network.weights, before, strict=True)):
        rows, columns = np.nonzero(now != old)
        assert now.min() >= spec.layers[0].formats.weight_min
        assert now.max() <= spec.layers[0].formats.weight_max
        if not record.teaching:
            assert len(rows) == 0
            continue
        assert record.forward.layer_input(layer).any(axis=0)[rows].all()
        assert (record.teaching[layer].sign[columns] != 0).all()
        moved = np.sign(now - old)[rows, columns]
        assert (moved == record.teaching[layer].sign[columns]).all()
        if kept is not None and layer == 0:
            assert kept[0][columns].all()
        if flat(spec).magnitude is Magnitude.TERNARY:
            assert not record.teaching[layer].exponent.any()


def test_neurons_never_eligible_pass_nothing_back() -> None:
    spec = flat_network(sizes=(2, 2, 2, 2))
    weights = np.array([[3000, 16000], [-16000, 5000]], dtype=np.int32)
    successor = Desire(sign=np.array([1, 1]), exponent=np.array([0, 0]), error=np.array([1, 1]))
    counts = np.zeros(2, dtype=np.int64)
    assert hidden_desire(spec.at(0), weights, successor, counts, None).sign.tolist() == [1, -1]
    heard = np.array([False, True])
    assert hidden_desire(spec.at(0), weights, successor, counts, None, heard).sign.tolist() == [1, 1]
    assert hidden_desire(spec.at(0), weights, successor, counts, None, np.array([False, False])).sign.tolist() == [0, 0]

    membrane = np.full((3, 2), spec.layers[0].formats.one // 2 - 1)
    record = LayerRecord(spikes=np.zeros((3, 2), dtype=bool), membrane=membrane, threshold=spec.layers[0].formats.one)
    assert passes_back(spec.at(1), record).tolist() == [False, False]
    membrane[1, 1] += 1
    assert passes_back(spec.at(1), record).tolist() == [False, True]
    assert passes_back(spec.at(2), record).tolist() == [True, True]  # the output layer is always eligible
    assert passes_back(with_rule(spec, NamedRule.PAPER).at(1), record) is None

"""Spike-timing-dependent plasticity: the textbook's window, every branch pinned, both engines equal."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, named_rule, with_rule
from lifstream.golden.contract.formats import Phase, Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.neurons import CompetingLif
from lifstream.golden.contract.rules import Bounds, Modulation, PairStdp
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.neurons.competing import CompetingParameters, compete, total_thresholds
from lifstream.golden.model.neurons.independent import Potential
from lifstream.golden.model.readouts import assign_votes, neuron_labels
from lifstream.golden.model.rules.stdp import pair_sums, room_deficit, weight_change
from lifstream.golden.twin.engine import Engine, Outcome, Runner
from lifstream.golden.twin.float_model import FloatNetwork
from tests.conftest import flat, quick, random_images
from tests.golden.test_engine import first_difference, stream


def plastic(sizes: tuple[int, ...] = (64, 20, 10), *, rounding: Rounding = Rounding.HALF_UP,
            rule: NamedRule = NamedRule.STDP, **constants: Any) -> NetworkSpec:
    """A contract with plasticity whose thresholds and sums matter within a few hundred images."""
    spec = with_rule(flat_network(sizes=sizes, rounding=rounding), rule)
    assert flat(spec).stdp is not None
    return changed(spec, stdp=replace(flat(spec).stdp, **{"threshold_rise": 150, **constants}))


SPECS = {
    "stdp": plastic(),
    "stdp, stochastic rounding": plastic(rounding=Rounding.STOCHASTIC),
    "stdp, two layers": plastic((64, 16, 20, 10)),
    "stdp, depression": plastic(depression_shift=1, presynaptic_target=4),
    "stdp, depression as strong, saturating": plastic(depression_shift=0, bounds=Bounds.SATURATE),
    "stdp, no weight sum": plastic(weight_sum=0),
    "stdp, quick leak of thresholds": plastic(threshold_leak_shift=4),
    "stdp, weak inhibition": plastic(inhibition=3000),
    "rstdp": plastic(rule=NamedRule.REWARD_STDP),
    "rstdp, two layers, stochastic": plastic((64, 16, 20, 10), rule=NamedRule.REWARD_STDP,
                                             rounding=Rounding.STOCHASTIC),
    "rstdp, weight sum, saturating, depression": plastic(
        rule=NamedRule.REWARD_STDP, weight_sum=30_000, bounds=Bounds.SATURATE, depression_shift=2, punishment_shift=3),
}


def trained(spec: NetworkSpec, engine: Engine) -> tuple[Runner, Outcome]:
    images, labels = stream()
    runner = Runner(network=Network.initial(spec=spec, seed=5), engine=engine)
    parts = [runner.learn(images[:7], labels[:7], rate_shift=9), runner.learn(images[7:], labels[7:], rate_shift=10),
             runner.infer(images)]
    return runner, Outcome.joined(parts)


@pytest.mark.parametrize("name", quick(SPECS, *(name for name in SPECS if "two layers" not in name)))
def test_engines_are_equal(name: str) -> None:
    expected, got = trained(SPECS[name], Engine.NUMPY), trained(SPECS[name], Engine.NUMBA)
    assert first_difference(expected, got) == ""
    assert expected[0].network.digest() == got[0].network.digest()
    assert all((a == b).all() for a, b in zip(*(
        found[0].network.state["thresholds"] for found in (expected, got)), strict=True))
    before = Network.initial(spec=SPECS[name], seed=5)
    assert all((a != b).any() for a, b in zip(before.weights[:-1], expected[0].network.weights[:-1], strict=True))
    assert all(thresholds.any() for thresholds in expected[0].network.state["thresholds"])


@pytest.mark.parametrize("change", [
    {"inhibition": 0}, {"threshold_rise": 151}, {"threshold_leak_shift": 5}, {"presynaptic_target": 22},
    {"weight_sum": 0}, {"depression_shift": 0}, {"bounds": Bounds.SATURATE}, {"threshold_base": 3500}])
def test_every_constant_matters(change: dict[str, Any]) -> None:
    """What the engines agree on is not blind to any constant of the contract."""
    spec = plastic()
    assert flat(spec).stdp is not None
    other = changed(spec, stdp=replace(flat(spec).stdp, **change))
    networks = [trained(each, Engine.NUMBA)[0].network for each in (spec, other)]
    assert (networks[0].weights[0] != networks[1].weights[0]).any() or \
        (networks[0].state["thresholds"][0] != networks[1].state["thresholds"][0]).any()


def rule_of(spec: NetworkSpec) -> PairStdp:
    """The first layer's rule."""
    rule = spec.layers[0].rule
    assert isinstance(rule, PairStdp)
    return rule


# -- the pair-based window ---------------------------------------------------------------------

WINDOW = changed(plastic((1, 1, 2), bounds=Bounds.SATURATE, presynaptic_target=0, depression_shift=0, weight_sum=0),
                 trace_fraction=8)


@pytest.mark.parametrize("depression_shift", [0, 1, 2])
@pytest.mark.parametrize("delay", range(-9, 10))
def test_window_is_the_textbook_s(delay: int, depression_shift: int) -> None:
    """One presynaptic and one postsynaptic spike: exponentials of their distance, within one weight LSB."""
    assert flat(WINDOW).stdp is not None
    spec = changed(WINDOW, stdp=replace(flat(WINDOW).stdp, depression_shift=depression_shift))
    before, after = np.zeros((spec.steps, 1), dtype=bool), np.zeros((spec.steps, 1), dtype=bool)
    before[10], after[10 + delay] = True, True
    rate_shift = 7
    sums = pair_sums(rule_of(spec), before, after, 0)
    got = int(weight_change(spec.at(0), sums, np.array([[2000]]), rate_shift)[0, 0])
    decay, size = 1 - 2.0**-flat(spec).leak_shift, spec.layers[0].formats.one * 2.0**-rate_shift
    expected = (size * decay**delay if delay >= 0 else 0) - \
        (size * 2.0**-depression_shift * decay**-delay if delay <= 0 else 0)
    assert abs(got - expected) <= 1  # the curve is real: tolerance of one LSB


def test_target_lowers_what_every_postsynaptic_spike_brings() -> None:
    spikes = np.zeros((WINDOW.steps, 1), dtype=bool)
    silent = spikes.copy()
    spikes[[3, 7, 8]] = True
    spec = plastic((1, 1, 2))
    assert pair_sums(rule_of(spec), silent, spikes, 21).tolist() == [[-63]]
    assert pair_sums(rule_of(spec), spikes, spikes, 0).tolist() == [[16 + 20 + 31]]


# -- bounds ------------------------------------------------------------------------------------

@pytest.mark.parametrize(("weight", "upwards", "deficit"), [
    (0, True, 0), (2047, True, 0), (2048, True, 1), (3071, True, 1), (3072, True, 2), (4094, True, 11),
    (4095, True, 12), (4095, False, 0), (2048, False, 0), (2047, False, 1), (1, False, 11), (0, False, 12)])
def test_soft_bounds_halve_with_the_room(weight: int, upwards: bool, deficit: int) -> None:
    spec = plastic()
    fraction = spec.layers[0].formats.weight_fraction
    assert room_deficit(fraction, np.array([weight]), np.array([upwards])).tolist() == [deficit]


@given(weight=st.integers(0, 4095), total=st.integers(-840, 1220), rate_shift=st.integers(8, 20),
       bounds=st.sampled_from(Bounds))
def test_changes_follow_the_sum_and_the_room(weight: int, total: int, rate_shift: int, bounds: Bounds) -> None:
    spec = plastic(bounds=bounds)
    change = int(weight_change(spec.at(0), np.array([[total]]), np.array([[weight]]), rate_shift)[0, 0])
    room = weight if total < 0 else 4095 - weight
    halvings = 12 - room.bit_length() if bounds is Bounds.SOFT else 0
    assert change == math.floor(Fraction(abs(total), 2 ** (rate_shift - 8 + halvings)) + Fraction(1, 2)) * \
        (1 if total >= 0 else -1)


# -- competition -------------------------------------------------------------------------------

def race(current: list[list[int]], thresholds: list[int], *, inhibition: int = 50, rise: int = 0) -> Any:
    constants = CompetingParameters(
        leak_shift=2, low=Potential(-1000), high=Potential(999), threshold_base=Potential(0), rise=Potential(rise),
        threshold_leak_shift=16, inhibition=Potential(inhibition))
    return compete(constants, np.array(current), np.array(thresholds))


def test_the_highest_above_its_threshold_wins_not_the_highest() -> None:
    record = race([[200, 150, 0]], [190, 100, 10])
    assert record.spikes.tolist() == [[False, True, False]]


def test_a_threshold_counts_as_1_at_least() -> None:
    assert not race([[0, 0]], [-300, 0]).spikes.any()
    record = race([[1, 0], [1, 0]], [-300, 0], rise=350)
    assert record.spikes.tolist() == [[True, False], [False, False]]
    assert record.threshold.tolist() == [50, 0]


def test_lowest_index_wins_a_tie_and_the_others_are_inhibited() -> None:
    record = race([[100, 100, 40], [0, 0, 0]], [100, 100, 100])
    assert record.spikes[0].tolist() == [True, False, False]
    # 0: reset to 0; 1: (100 - 50) * 3 / 4; 2: (40 - 50) * 3 / 4, rounded down.
    assert record.membrane[1].tolist() == [0, 37, -8]


def test_without_a_winner_nobody_is_inhibited() -> None:
    record = race([[99, 40], [0, 0]], [100, 100])
    assert not record.spikes.any()
    assert record.membrane[1].tolist() == [74, 30]


def test_thresholds_rise_with_each_spike_in_training_only() -> None:
    current = [[100, 0], [100, 0], [100, 0]]
    assert race(current, [60, 60]).spikes[:, 0].tolist() == [True, True, True]
    record = race(current, [60, 60], rise=70)
    assert record.spikes[:, 0].tolist() == [True, True, False]
    assert record.threshold.tolist() == [200, 60]


@given(seed=st.integers(0, 1000))
def test_at_most_one_spike_per_step(seed: int) -> None:
    network = Network.initial(spec=plastic(), seed=seed)
    record = network.forward(network.encode(random_images(3, 64, seed)), phase=Phase.TRAINING)
    assert record.layers[0].spikes.sum(axis=-1).max() <= 1


def test_threshold_follows_the_weights_sum() -> None:
    neuron = CompetingLif(threshold_base=100, threshold_rise=1, inhibition=0, weight_sum=1000)
    weights = np.array([[600, 100, 450], [600, 300, 500]])
    assert total_thresholds(neuron, np.array([5, 7, 9]), weights).tolist() == [305, -493, 59]
    assert total_thresholds(replace(neuron, weight_sum=0), np.array([5, 7, 9]), weights).tolist() == [105, 107, 109]


# -- a sample ----------------------------------------------------------------------------------

def test_a_silent_sample_changes_thresholds_only() -> None:
    network = Network.initial(spec=plastic(threshold_leak_shift=2), seed=1)
    network.state["thresholds"][0][:] = np.arange(20)
    before = [matrix.copy() for matrix in network.weights]
    record = learn(network, np.zeros(64, dtype=np.uint8), 3, rate_shift=9)
    assert record.teaching == ()
    assert all((a == b).all() for a, b in zip(network.weights, before, strict=True))
    assert network.state["thresholds"][0].tolist() == [n - n // 4 for n in range(20)]


def test_only_winners_learn_and_all_their_weights_may() -> None:
    network = Network.initial(spec=plastic(), seed=1)
    before = network.weights[0].copy()
    record = learn(network, random_images(1, 64, 3)[0], 3, rate_shift=9)
    winners = record.forward.layers[0].spikes.any(axis=0)
    moved = network.weights[0] != before
    assert 0 < winners.sum() < 20
    assert not moved[:, ~winners].any()
    silent = ~record.forward.input_spikes.any(axis=0)
    assert (network.weights[0] <= before)[silent].all()
    assert record.updates == 64 * winners.sum()


@pytest.mark.parametrize("right", [True, False])
def test_a_reward_decides_the_direction(right: bool) -> None:
    spec = plastic(rule=NamedRule.REWARD_STDP, punishment_shift=0)
    network = Network.initial(spec=spec, seed=1)
    image = random_images(1, 64, 3)[0]
    prediction = int(network.forward(network.encode(image), phase=Phase.TRAINING).prediction)
    assert prediction >= 0
    twin = Network.initial(spec=changed(spec, stdp=replace(flat(spec).stdp, modulation=Modulation.NONE)), seed=1)
    learn(network, image, prediction if right else (prediction + 1) % 10, rate_shift=9)
    learn(twin, image, 0, rate_shift=9)
    start = Network.initial(spec=spec, seed=1).weights[0]
    moves, unrewarded = network.weights[0] - start, twin.weights[0] - start
    assert (np.sign(moves) * np.sign(unrewarded) == (1 if right else -1))[(moves != 0) & (unrewarded != 0)].all()


# -- labels ------------------------------------------------------------------------------------

def test_votes_are_shared_like_mean_responses() -> None:
    spec = plastic((4, 3, 2))
    responses = np.array([[6, 0, 0], [2, 1, 0], [2, 3, 0]])
    votes = assign_votes(spec, responses, np.array([0, 1, 1], dtype=np.uint8))
    assert votes.tolist() == [[191, 64], [0, 255], [0, 0]]
    assert neuron_labels(votes).tolist() == [0, 1, -1]
    with pytest.raises(InputError, match="at least one"):
        assign_votes(spec, responses[:0], np.zeros(0, dtype=np.uint8))


# -- contract ----------------------------------------------------------------------------------

def test_json_round_trip_and_digest() -> None:
    for spec in SPECS.values():
        assert NetworkSpec.from_json(spec.to_json()) == spec
    assert len({spec.digest() for spec in SPECS.values()}) == len(SPECS)
    assert "stdp" not in flat_network(sizes=(4, 3, 2)).to_json()
    assert named_rule(plastic()) is NamedRule.STDP
    assert named_rule(plastic(rule=NamedRule.REWARD_STDP)) is NamedRule.REWARD_STDP
    assert flat(with_rule(plastic(), NamedRule.GRADED)).stdp is None


@pytest.mark.parametrize(("change", "message"), [
    ({"sizes": (4, 2)}, "the last layer counts votes"), ({"dropout": 3}, "dropout: 3.*must be 0 with stdp"),
    ({"weight_bits": 12}, "weight_fraction: 12.*at most 11")])
def test_impossible_networks(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(plastic(), **change)


@pytest.mark.parametrize(("name", "value"), [
    ("presynaptic_target", 513), ("depression_shift", 5), ("threshold_base", 0), ("threshold_rise", -1),
    ("threshold_leak_shift", 0), ("inhibition", 1 << 31), ("weight_sum", -1), ("punishment_shift", 5),
    ("bounds", "soft")])
def test_bad_constants_are_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"stdp.{name}"):
        plastic(**{name: value})


@pytest.mark.parametrize(("stdp", "message"), [
    ([], "stdp must be a JSON object"), ({"speed": 1}, "unknown field stdp.speed"),
    ({}, "stdp.threshold_base is missing"),
    ({"threshold_base": 1, "threshold_rise": 1, "inhibition": 1, "bounds": "hard"}, "bounds is 'hard'")])
def test_bad_json(stdp: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkSpec.from_json({**plastic().to_json(), "stdp": stdp})


@pytest.mark.parametrize(("thresholds", "message"), [
    ([np.zeros(19)], "shape"), ([np.full(20, -1)], r"outside the 21-bit range 0\.\."),
    ([np.full(20, 1 << 30)], r"outside the 21-bit range 0\.\."),
    ([], "0 arrays for 1 layers")])
def test_bad_thresholds(thresholds: Any, message: str) -> None:
    spec = plastic()
    weights = Network.initial(spec=spec, seed=1).weights
    with pytest.raises(InputError, match=message):
        Network(spec=spec, weights=weights, thresholds=thresholds)


def test_weights_beyond_the_bounds_are_refused() -> None:
    weights = Network.initial(spec=plastic(), seed=1).weights
    weights[0][3, 2] = -1
    with pytest.raises(InputError, match=r"outside the 13-bit range 0\.\.4095"):
        Network(spec=plastic(), weights=weights)


def test_float_model_has_no_plasticity() -> None:
    with pytest.raises(InputError, match="desire backpropagation only"):
        Runner(network=FloatNetwork.initial(spec=plastic(), seed=1))

"""Every legal rate shift of every rule: NumPy and the compiled twin learn the same, or refuse the same."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.network import NetworkSpec, PlacedLayer
from lifstream.golden.contract.rules import Bounds, Modulation
from lifstream.golden.model.network import Network
from lifstream.golden.twin import stdp
from lifstream.golden.twin.engine import Engine, Outcome, Runner
from tests.conftest import flat, random_images, random_network
from tests.golden.test_stdp import plastic

SIZES = (12, 6, 3)
IMAGES, LABELS = random_images(6, 12, 3), np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)

SPECS: dict[str, NetworkSpec] = {
    f"{rule}, {rounding}, F = {spec.layers[0].formats.weight_fraction}, X = {flat(spec).trace_fraction}":
        with_rule(changed(spec, rounding=rounding), rule)
    for rule, rounding, spec in product(
        (NamedRule.PAPER, NamedRule.GRADED), Rounding,
        (flat_network(sizes=SIZES),
         # The most and the least by which correlations are shifted.
         flat_network(sizes=SIZES, weight_bits=6, weight_fraction=4, trace_fraction=8),
         flat_network(sizes=SIZES, weight_bits=24, weight_fraction=22, trace_fraction=0)))
} | {
    f"{rule}, {rounding}, {bounds}, depression {depression}, punishment {punishment}":
        plastic(SIZES, rule=rule, rounding=rounding, bounds=bounds, depression_shift=depression,
                punishment_shift=punishment, threshold_rise=20)
    for rule, rounding, bounds, depression, punishment in product(
        (NamedRule.STDP, NamedRule.REWARD_STDP), Rounding, Bounds, (None, 0, 4), (0, 1, 4))
    if rule is NamedRule.REWARD_STDP or not punishment
} | {
    "rstdp, widest": changed(
        plastic(SIZES, rule=NamedRule.REWARD_STDP, depression_shift=4, punishment_shift=4,
                rounding=Rounding.STOCHASTIC),
        weight_bits=23, weight_fraction=22),
}


def initial(spec: NetworkSpec) -> Network:
    if flat(spec).stdp is None:
        return random_network(spec, 5, scale=1.5)
    network = Network.initial(spec=spec, seed=5)
    network.weights[0][::3] = spec.layers[0].formats.one - 1      # with no room left upwards
    network.weights[0][1::3] //= 64             # ... and little downwards
    return network


def learnt(spec: NetworkSpec, engine: Engine, rate_shift: int) -> tuple[Runner, Outcome]:
    runner = Runner(network=initial(spec), engine=engine)
    return runner, runner.learn(IMAGES, LABELS, rate_shift=rate_shift)


@pytest.mark.parametrize("name", SPECS)
def test_engines_are_equal_at_every_rate(name: str) -> None:
    spec = SPECS[name]
    low, high = spec.rate_shift_range
    digests = []
    for rate_shift in range(low, high + 1):
        (expected, record), (got, outcome) = (learnt(spec, engine, rate_shift) for engine in Engine)
        assert expected.network.digest() == got.network.digest(), rate_shift
        assert record.learned.any()
        assert (record.learned == outcome.learned).all()
        assert (record.predictions == outcome.predictions).all()
        digests.append(got.network.digest())
    assert len(set(digests[:4])) == min(4, len(digests))    # the rate does something
    if flat(spec).stdp is not None and flat(spec).stdp.modulation is Modulation.REWARD:
        wrong = record.predictions != LABELS
        assert wrong.any()      # the punishment's own shift is on top of the largest rate shift


@pytest.mark.parametrize("name", SPECS)
def test_rates_beyond_the_range_are_refused_by_both(name: str) -> None:
    spec = SPECS[name]
    low, high = spec.rate_shift_range
    for engine, rate_shift in product(Engine, (low - 1, high + 1)):
        with pytest.raises(InputError, match=rf"^rate shift: {rate_shift} is out of bounds, must be {low}\.\.{high}$"):
            learnt(spec, engine, rate_shift)


def test_the_comparison_sees_a_shift_of_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = plastic(SIZES, rule=NamedRule.REWARD_STDP, threshold_rise=20)
    expected, constants = learnt(spec, Engine.NUMPY, 10)[0].network.digest(), stdp.integer_constants
    monkeypatch.setattr(stdp, "integer_constants", lambda at, value: constants(at, value)._replace(shift=-7))  # not -8
    assert learnt(spec, Engine.NUMBA, 10)[0].network.digest() != expected


# -- the range of the weights --------------------------------------------------------------------

RANGED = {
    "graded": SPECS["graded, half-up, F = 14, X = 4"],
    "graded, narrow, stochastic": SPECS["graded, stochastic, F = 4, X = 8"],
    "paper": SPECS["paper, half-up, F = 14, X = 4"],
    **{f"{rule}, {bounds}": changed(plastic(SIZES, rule=rule, bounds=bounds, inhibition=0, punishment_shift=0,
                                            threshold_rise=20, weight_sum=0, presynaptic_target=200), trace_fraction=8)
       for rule, bounds in product((NamedRule.STDP, NamedRule.REWARD_STDP), Bounds)},
}
"""With traces so fine that soft bounds, too, would be passed at the fastest rate."""


def learnt_near_the_ends(spec: NetworkSpec, engine: Engine) -> tuple[int, int]:
    """Smallest and largest weight that learning leaves after any image; all start 2 LSBs from either end."""
    low, high = ENDS[spec]
    random = np.random.default_rng(2)
    weights = [random.choice([low + 2, high - 2], shape) for shape in pairwise(SIZES)]
    runner = Runner(network=Network(spec=spec, weights=weights), engine=engine)
    learning = runner.network.weights[:len(spec.layers)]
    lowest, highest = [], []
    for index, image in enumerate(random_images(40, 12, 8)):
        runner.learn(image[None], np.array([index % 3], dtype=np.uint8), rate_shift=spec.rate_shift_range[0])
        lowest += [int(matrix.min()) for matrix in learning]
        highest += [int(matrix.max()) for matrix in learning]
    return min(lowest), max(highest)


ENDS = {spec: spec.at(0).weight_range for spec in RANGED.values()}


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("name", RANGED)
def test_weights_reach_both_ends_of_their_range_and_stay_in_it(name: str, engine: Engine) -> None:
    assert learnt_near_the_ends(RANGED[name], engine) == ENDS[RANGED[name]]


@pytest.mark.parametrize("name", RANGED)
def test_a_weight_out_of_range_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = ENDS[RANGED[name]]
    for beyond in ((low - 1, high), (low, high + 1)):
        monkeypatch.setattr(PlacedLayer, "weight_range", beyond)
        assert learnt_near_the_ends(RANGED[name], Engine.NUMPY) == beyond

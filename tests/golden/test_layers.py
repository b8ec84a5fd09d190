"""Contracts whose layers differ: format 2, and both engines on them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, flattened, with_rule
from lifstream.golden.contract.formats import Formats, Overflow, Phase, Rounding
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import CompetingLif, Lif
from lifstream.golden.contract.readout import SpikeCounts, Votes
from lifstream.golden.contract.rules import DesireBackpropagation, Eligibility, Magnitude, PairStdp
from lifstream.golden.contract.state import Lifetime
from lifstream.golden.contract.synapses import Dense
from lifstream.golden.model.network import Network
from lifstream.golden.study.presets import PRESETS
from lifstream.golden.twin.engine import Engine
from tests.conftest import random_images
from tests.golden.test_engine import first_difference
from tests.golden.test_stdp import plastic


def layer(inputs: int, outputs: int, *, bits: int, fraction: int, rule: dict[str, Any] | None = None,
          formats: dict[str, Any] | None = None, **neuron: Any) -> Layer:
    """A dense layer of leaky neurons whose threshold is one."""
    return Layer(synapses=Dense(inputs=inputs, outputs=outputs), neuron=Lif(threshold=1 << fraction, **neuron),
                 rule=DesireBackpropagation(**(rule or {})),
                 formats=Formats(weight_bits=bits, weight_fraction=fraction, **(formats or {})))


UNLIKE = NetworkSpec(input=Pixels(count=20), readout=SpikeCounts(), steps=12, seed=7, layers=(
    layer(20, 14, bits=8, fraction=6, leak_shift=3, dropout=50, rule={"rounding": Rounding.STOCHASTIC, "rise_limit": 5},
          formats={"membrane_clamp": 3}),
    layer(14, 9, bits=20, fraction=16, leak_shift=1, training_threshold=50_000,
          rule={"trace_fraction": 6, "trace_leak_shift": 3, "hidden_threshold": 3000}),
    layer(9, 4, bits=12, fraction=10, rule={"rounding": Rounding.STOCHASTIC, "output_threshold": 2},
          formats={"membrane_overflow": Overflow.WIDE, "membrane_clamp": 0})))
"""Widths, fractions, leaks, clamps, dropout, rounding and traces of every layer are its own."""

COMPETING = NetworkSpec(input=Pixels(count=20), readout=Votes(count=4, vote_bits=9), steps=12, layers=(
    Layer(synapses=Dense(inputs=20, outputs=12),
          formats=Formats(weight_bits=11, weight_fraction=10, membrane_clamp=200),
          neuron=CompetingLif(threshold_base=1500, threshold_rise=40, inhibition=900, weight_sum=4000),
          rule=PairStdp(weight_sum=4000, trace_fraction=3)),
    Layer(synapses=Dense(inputs=12, outputs=8), formats=Formats(weight_bits=14, weight_fraction=13, membrane_clamp=64),
          neuron=CompetingLif(threshold_base=2000, threshold_rise=90, inhibition=3000, leak_shift=3),
          rule=PairStdp(depression_shift=1, rounding=Rounding.STOCHASTIC))))
"""Two layers of competing neurons with other constants and formats, votes narrower than weights."""

SPECS = {
    "unlike": UNLIKE, "competing": COMPETING,
    "unlike, paper's form": replace(UNLIKE, layers=tuple(replace(each, rule=replace(
        each.rule, eligibility=Eligibility.SPIKE, magnitude=Magnitude.TERNARY)) for each in UNLIKE.layers)),
}


@pytest.mark.parametrize("name", SPECS)
def test_json_round_trip(name: str) -> None:
    spec = SPECS[name]
    data = json.loads(json.dumps(spec.to_json()))
    assert data["format"] == 2
    assert flattened(spec) is None
    again = NetworkSpec.from_json(data)
    assert again == spec
    assert again.digest() == spec.digest()


def test_what_old_files_can_express_keeps_their_form() -> None:
    for preset in PRESETS.values():
        dense = all(isinstance(each.synapses, Dense) for each in preset.spec.layers)
        assert ("format" not in preset.spec.to_json()) == dense
    spelt_out = NetworkSpec(input=Pixels(count=4), readout=SpikeCounts(), layers=(
        layer(4, 3, bits=16, fraction=14), layer(3, 2, bits=16, fraction=14)))
    assert spelt_out == flat_network(sizes=(4, 3, 2))
    assert spelt_out.digest() == "564d7a4f9ef3c0fe"


def test_fields_that_a_rule_does_not_use_stay_in_the_digest() -> None:
    plain = with_rule(flat_network(sizes=(4, 3, 2)), NamedRule.STDP)
    other = changed(plain, output_threshold=3)
    assert other.layers == plain.layers
    assert other.digest() != plain.digest()
    assert NetworkSpec.from_json(other.to_json()) == other


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("field", ["layers", "steps", "seed"])
def test_every_part_is_in_the_digest(name: str, field: str) -> None:
    spec = SPECS[name]
    last = spec.layers[-1]
    slower = replace(last, rule=replace(last.rule, trace_leak_shift=5))
    other: dict[str, Any] = {"layers": (*spec.layers[:-1], slower), "steps": 13, "seed": 8}
    assert replace(spec, **{field: other[field]}).digest() != spec.digest()


@st.composite
def unlike_networks(draw: st.DrawFn) -> NetworkSpec:
    """Contracts of one to three layers with formats, leaks, traces, dropout and rounding of their own."""
    steps = draw(st.integers(2, 12))
    sizes = [draw(st.integers(1, 12)), *(draw(st.integers(1, 12)) for _ in range(draw(st.integers(1, 3))))]
    form = {"eligibility": draw(st.sampled_from(Eligibility)), "magnitude": draw(st.sampled_from(Magnitude)),
            "desire_margin": draw(st.integers(0, steps - 1))}
    layers = []
    for index, (n_in, n_out) in enumerate(pairwise(sizes)):
        fraction = draw(st.integers(4, 14))
        wide = draw(st.booleans())
        threshold = draw(st.integers(1, 2 << fraction))
        rule = DesireBackpropagation(
            **form, output_threshold=draw(st.integers(1, min(3, steps))),
            hidden_threshold=draw(st.integers(1, 3000)),
            rise_threshold=draw(st.one_of(st.none(), st.integers(1, 6000))),
            rise_limit=draw(st.one_of(st.none(), st.integers(1, steps))), trace_fraction=draw(st.integers(0, 6)),
            trace_leak_shift=draw(st.integers(1, 5)), rounding=draw(st.sampled_from(Rounding)))
        layers.append(Layer(
            synapses=Dense(inputs=n_in, outputs=n_out), rule=rule,
            neuron=Lif(threshold=threshold, leak_shift=draw(st.integers(1, 5)),
                       training_threshold=draw(st.none() | st.integers(1, 2 << fraction)),
                       dropout=draw(st.sampled_from([0, 0, 60])) if index < len(sizes) - 2 else 0),
            formats=Formats(weight_bits=draw(st.integers(max(2, fraction - 3), min(20, fraction + 5))),
                            weight_fraction=fraction, membrane_overflow=Overflow.WIDE if wide else Overflow.SATURATE,
                            membrane_clamp=0 if wide else draw(st.integers(2, 6)))))
    return NetworkSpec(input=Pixels(count=sizes[0]), layers=tuple(layers), readout=SpikeCounts(), steps=steps,
                       seed=draw(st.integers(0, 2**32 - 1)))


def start(spec: NetworkSpec) -> Network:
    """Weights with which all layers fire and learn."""
    network = Network.initial(spec=spec, seed=3)
    if "thresholds" in network.state:
        network.weights[-1][:] = np.arange(network.weights[-1].size).reshape(network.weights[-1].shape) % 7
        return network
    for index, matrix in enumerate(network.weights):
        declared = spec.learnt_state["weights"][index]
        np.clip(2 * matrix.astype(np.int64), declared.low, declared.high, out=matrix, casting="unsafe")
    return network


@pytest.mark.parametrize("name", SPECS)
def test_engines_are_equal(name: str) -> None:
    from lifstream.golden.twin.engine import Outcome, Runner

    spec, results = SPECS[name], []
    images, labels = random_images(120, 20, 5), (np.arange(120) % 4).astype(np.uint8)
    for engine in Engine:
        runner = Runner(network=start(spec), engine=engine)
        rate_shift = spec.rate_shift_range[0] + 2
        parts = [runner.learn(images, labels, rate_shift=rate_shift), runner.infer(images)]
        results.append((runner, Outcome.joined(parts)))
    assert first_difference(*results) == ""
    assert all((a.network.state[key][index] == array).all() for a in (results[0][0],)
               for key, arrays in results[1][0].network.state.items() for index, array in enumerate(arrays))
    network, outcome = results[0][0].network, results[0][1]
    assert outcome.learned.sum() > 10
    assert (outcome.spikes.sum(axis=0) > 0).all()
    for before, after in zip(start(spec).weights[:len(spec.layers)], network.weights, strict=False):
        assert (before != after).any()  # every layer has learnt


def test_a_layer_s_state_is_declared() -> None:
    at = COMPETING.at(0)
    assert [(array.name, array.shape, array.lifetime) for array in at.state] == [
        ("weights", (20, 12), Lifetime.LEARNT), ("potentials", (12,), Lifetime.SAMPLE),
        ("thresholds", (12,), Lifetime.LEARNT)]
    assert {name: [array.shape for array in arrays] for name, arrays in COMPETING.learnt_state.items()} == {
        "weights": [(20, 12), (12, 8), (8, 4)], "thresholds": [(12,), (8,)]}
    assert COMPETING.state_owners == {"weights": (0, 1, None), "thresholds": (0, 1)}
    assert (at.state_array("weights").low, at.state_array("weights").high) == (0, 1023)
    network = start(COMPETING)
    assert network.layer_state(1)["weights"] is network.weights[1]
    assert network.readout_state[0] is network.weights[2]


def test_thresholds_of_a_phase() -> None:
    neuron = UNLIKE.layers[1].neuron
    assert [neuron.threshold_in(phase) for phase in (Phase.INFERENCE, Phase.TRAINING)] == [1 << 16, 50_000]


def test_synapses_say_what_they_reach() -> None:
    dense = Dense(inputs=5, outputs=3)
    assert (dense.n_in, dense.n_out, dense.weight_shape, dense.fan_in) == (5, 3, (5, 3), 5)
    assert [tuple(target) for target in dense.targets(4)] == [(4, 0)]


FIRST, SECOND, THIRD = UNLIKE.layers


@pytest.mark.parametrize(("change", "message"), [
    ({"layers": ()}, r"layers: 0 of them, must be 1\.\.8"),
    ({"layers": (FIRST, THIRD)}, r"layers\[1\]\.synapses: take 9 inputs, 14 are before them"),
    ({"layers": (FIRST, SECOND, replace(THIRD, neuron=Lif(threshold=1, dropout=4)))},
     r"layers\[2\]\.neuron\.dropout: the last layer has no dropout"),
    ({"layers": (FIRST, SECOND, replace(THIRD, rule=replace(THIRD.rule, magnitude=Magnitude.TERNARY)))},
     r"layers\[2\]\.rule\.magnitude: ternary, the first layer's is graded"),
    ({"layers": (FIRST, replace(SECOND, neuron=COMPETING.layers[1].neuron), THIRD)},
     r"layers\[1\]: rule: desire teaches independent neurons, competing-lif are competing"),
    ({"layers": (FIRST, replace(SECOND, rule=PairStdp()), THIRD)}, r"layers\[1\]: rule: stdp teaches competing"),
    ({"layers": (FIRST, replace(SECOND, formats=Formats(weight_bits=24, weight_fraction=22)), THIRD), "steps": 0},
     r"steps: 0 is out of bounds"),
    ({"readout": Votes(count=3, vote_bits=8)}, "readout: votes, but with the rule desire the last layer is taught by "),
    ({"steps": 4}, r"layers\[0\]: desire_margin: 4 is out of bounds, must be 0\.\.3"),
])
def test_what_does_not_go_together_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        replace(UNLIKE, **change)


def test_layers_without_a_common_rate_are_refused() -> None:
    coarse = replace(plastic((4, 3, 2)).layers[0], synapses=Dense(inputs=20, outputs=14))
    fine = replace(coarse, synapses=Dense(inputs=14, outputs=9),
                   formats=Formats(weight_bits=23, weight_fraction=22, membrane_clamp=2))
    with pytest.raises(InputError, match="no learning rate is within"):
        replace(COMPETING, layers=(replace(coarse, formats=Formats(weight_bits=6, weight_fraction=4),
                                           rule=replace(coarse.rule, trace_fraction=8, depression_shift=4,
                                                        punishment_shift=4)), fine))


JSON = UNLIKE.to_json()


@pytest.mark.parametrize(("data", "message"), [
    ({**JSON, "format": 3}, r"spec\.format: 3 is unknown"),
    ({**JSON, "speed": 1}, "spec: unknown field 'speed'"),
    ({**JSON, "layers": {}}, r"spec\.layers: expected a list, got dict"),
    ({**JSON, "layers": [{**JSON["layers"][0], "neuron": {"kind": "spiking"}}]},
     r"spec\.layers\[0\]\.neuron\.kind: 'spiking' is no kind of neuron, must be one of lif, competing-lif"),
    ({**JSON, "layers": [{**JSON["layers"][0], "neuron": {"kind": "lif"}}]},
     r"spec\.layers\[0\]\.neuron: a field is missing, one of .*threshold"),
    ({**JSON, "layers": [{**JSON["layers"][0], "formats": {"weight_bits": 99}}]},
     r"spec\.layers\[0\]\.formats\.weight_bits: 99 is out of bounds"),
    ({**JSON, "layers": [{**JSON["layers"][0], "rule": {"kind": "desire", "magnitude": "huge"}}]},
     r"spec\.layers\[0\]\.rule\.magnitude: 'huge' must be one of ternary, graded"),
    ({**JSON, "readout": []}, r"spec\.readout: expected a JSON object, got list"),
])
def test_bad_json_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        NetworkSpec.from_json(data)

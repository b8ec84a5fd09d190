"""Whole cores with spike-timing-dependent plasticity: the emitted Verilog against the golden model."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command, Status
from lifstream.golden.contract.rules import Bounds
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import (
    decode_replies,
    decode_state,
    encode_state,
    expect,
    image_packets,
    packet,
)
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import Emission, emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.sim.cosim import Continuation, CosimResult, Segment, Stalls, Surroundings, cosimulate
from lifstream.sim.faults import Fault
from lifstream.sim.runner import Simulator
from tests.conftest import quick, random_images
from tests.golden.test_stdp import plastic
from tests.sim.blocks import emitted, once, simulate

pytestmark = pytest.mark.simulation

SIZES = (21, 13, 4)
SPEC = changed(plastic(SIZES), steps=11)
RATE_SHIFT = 9


def data(pixels: int) -> Split:
    """Fourteen images, the first all black, the second all white."""
    images = np.concatenate([np.zeros((1, pixels), np.uint8), np.full((1, pixels), 255, np.uint8),
                             random_images(12, pixels, 3)])
    return Split(images=images, labels=(np.arange(14) % 4).astype(np.uint8))


def start(spec: NetworkSpec) -> Network:
    """Random weights over the whole range, thresholds and votes of every kind."""
    random = np.random.default_rng(4)
    network, one = Network.initial(spec=spec, seed=2), spec.layers[0].formats.one
    for matrix in network.weights[:-1]:
        matrix[:] = np.where(random.random(matrix.shape) < 0.1, random.integers(0, one, matrix.shape), matrix)
        matrix[0, 0], matrix[-1, -1] = 0, one - 1
    for thresholds in network.state["thresholds"]:
        thresholds[:] = random.integers(0, 4 * spec.layers[0].formats.one, thresholds.shape)
    network.weights[-1][:] = random.integers(0, 4, network.weights[-1].shape)
    return network


def cosim(spec: NetworkSpec, geometry: Geometry, *, emission: Emission | None = None, check_every: int = 5,
          stalls: Stalls = Stalls.NONE, seed: int = 1, fault: Fault | None = None, **options: Any) -> CosimResult:
    """Classify, learn from all images twice, label the neurons, classify again."""
    emission = emission or once(emit_network, spec=spec, geometry=geometry)
    order = np.arange(14)
    segments = [Segment(split="all", order=order[:3]),
                Segment(split="all", order=order, rate_shift=RATE_SHIFT, check_every=check_every),
                Segment(split="all", order=order[::-1], rate_shift=RATE_SHIFT + 2, check_every=100),
                Segment(split="all", order=order, label=True), Segment(split="all", order=order)]
    return cosimulate(Model(network=start(spec), preset="test", dataset="none"), {"all": data(spec.inputs)}, segments,
                      verilog=emission.verilog, description=emission.description,
                      surroundings=Surroundings(stalls=stalls, seed=seed, fault=fault), **options)


@pytest.mark.parametrize(("lanes", "pixels_per_clock", "unroll"), quick(
    [(1, 1, 1), (3, 2, 5), (8, 4, 3), (13, 4, 2)]))
def test_geometry_changes_nothing(lanes: int, pixels_per_clock: int, unroll: int) -> None:
    geometry = Geometry(lanes=lanes, pixels_per_clock=pixels_per_clock, unroll=unroll)
    emission = once(emit_network, spec=SPEC, geometry=geometry)
    digests = set()
    for stalls in (Stalls.NONE, Stalls.RANDOM, Stalls.POLITE) if lanes == 8 else (Stalls.RANDOM,):
        result = cosim(SPEC, geometry, stalls=stalls, seed=lanes, emission=emission)
        assert result.bit_exact, result.message
        assert result.images == 59
        digests.add(result.digest)
    assert len(digests) == 1
    assert digests != {start(SPEC).digest()}


BRANCHES = {
    "depression": plastic(SIZES, depression_shift=1, presynaptic_target=4),
    "saturating": plastic(SIZES, bounds=Bounds.SATURATE, depression_shift=0, weight_sum=0, threshold_leak_shift=3),
    "two layers": plastic((21, 9, 12, 4)),
    "rewarded": plastic(SIZES, rule=NamedRule.REWARD_STDP),
    "rewarded, two layers, stochastic": plastic(
        (21, 9, 12, 4), rule=NamedRule.REWARD_STDP, rounding=Rounding.STOCHASTIC, weight_sum=20_000,
        punishment_shift=2, bounds=Bounds.SATURATE),
    "stochastic": plastic(SIZES, rounding=Rounding.STOCHASTIC, inhibition=0),
    "one neuron": plastic((1, 1, 4)),
}


@pytest.mark.parametrize(("name", "lanes"), quick(
    itertools.product(BRANCHES, [4, 13]), ("depression", 13), ("saturating", 4),
    ("rewarded, two layers, stochastic", 4)))
def test_every_branch(name: str, lanes: int) -> None:
    result = cosim(BRANCHES[name], Geometry(lanes=lanes), stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message


@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_random_networks(drawn: st.DataObject) -> None:
    check_random_network(drawn)


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_many_random_networks(drawn: st.DataObject) -> None:
    check_random_network(drawn)


def check_random_network(drawn: st.DataObject) -> None:
    """Random shapes and constants, random spike trains, blank and saturated images."""
    sizes = (drawn.draw(st.integers(1, 20)), *drawn.draw(st.lists(st.integers(1, 14), min_size=1, max_size=2)), 4)
    spec = plastic(sizes, rule=drawn.draw(st.sampled_from([NamedRule.STDP, NamedRule.REWARD_STDP])),
                   bounds=drawn.draw(st.sampled_from(Bounds)), inhibition=drawn.draw(st.integers(0, 40_000)),
                   weight_sum=drawn.draw(st.sampled_from([0, 3_000])),
                   depression_shift=drawn.draw(st.sampled_from([None, 0, 2])),
                   presynaptic_target=drawn.draw(st.integers(0, 60)))
    spec = changed(spec, steps=drawn.draw(st.integers(5, 20)))
    layers = [None] * len(spec.layers)
    geometry = Geometry(lanes=tuple(drawn.draw(st.integers(1, 15)) for _ in layers),
                        pixels_per_clock=drawn.draw(st.integers(1, 5)),
                        unroll=tuple(drawn.draw(st.integers(1, 4)) for _ in layers))
    result = cosim(spec, geometry, stalls=drawn.draw(st.sampled_from(Stalls)), seed=drawn.draw(st.integers(1, 1000)))
    assert result.bit_exact, result.message


@pytest.mark.regress
@pytest.mark.parametrize(("fault", "quantity"), [
    (Fault.WEIGHT, "membrane potential"), (Fault.SPIKE, "spike"), (Fault.MEMBRANE, "membrane potential"),
    (Fault.COUNT, "spike count"), (Fault.UPDATE, "weight"), (Fault.THRESHOLD, "adaptive threshold"),
    (Fault.INHIBITION, "membrane potential"), (Fault.LABEL, "vote for class")])
def test_every_planted_fault_is_caught_and_named(fault: Fault, quantity: str) -> None:
    result = cosim(SPEC, Geometry(lanes=13), fault=fault, seed=2)
    assert not result.bit_exact
    divergence = result.divergence
    assert divergence is not None
    assert divergence["quantity"].startswith(quantity)
    assert divergence["expected"] != divergence["got"]
    assert f"expected {divergence['expected']}, got {divergence['got']}" in result.message
    if fault is Fault.THRESHOLD:
        assert abs(divergence["expected"] - divergence["got"]) == 1
        assert f"layer 0, neuron {divergence['neuron']}: adaptive threshold" in result.message


@pytest.mark.regress
def test_a_run_resumes_where_it_was_equal(tmp_path: Path) -> None:
    whole = cosim(SPEC, Geometry(lanes=13), continuation=Continuation(checkpoint=tmp_path / "c"))
    broken = cosim(SPEC, Geometry(lanes=13), continuation=Continuation(checkpoint=tmp_path / "d"), fault=Fault.LABEL)
    assert not broken.bit_exact
    resumed = cosim(SPEC, Geometry(lanes=13), continuation=Continuation(checkpoint=tmp_path / "d", resume=True))
    assert resumed.bit_exact, resumed.message
    assert (resumed.digest, resumed.images) == (whole.digest, whole.images)
    assert (resumed.predictions == whole.predictions).all()


@pytest.mark.regress
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_second_simulator_agrees() -> None:
    result = cosim(SPEC, Geometry(lanes=3), simulator=Simulator.ICARUS, stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message


def test_conversation_about_thresholds(tmp_path: Path) -> None:
    """Load and read adaptive thresholds, whole, cut short, too long; they change only where they should."""
    network = start(SPEC)
    image = data(21).images[1:2]  # all white: a neuron fires
    load = packet(Command.LOAD_WEIGHTS, encode_state(SPEC, "weights", network.weights))
    thresholds = encode_state(SPEC, "thresholds", network.state["thresholds"])
    packets = [load, packet(Command.LOAD_THRESHOLDS, thresholds), packet(Command.READ_THRESHOLDS),
               packet(Command.SET_RATE_SHIFT, [RATE_SHIFT]), image_packets(image, np.array([1], dtype=np.uint8)),
               packet(Command.READ_THRESHOLDS), packet(Command.LOAD_THRESHOLDS, thresholds[:8]),
               packet(Command.READ_THRESHOLDS), packet(Command.LOAD_THRESHOLDS, [*thresholds, 1]),
               packet(Command.READ_THRESHOLDS), packet(Command.READ_THRESHOLDS, [1]), packet(Command.LOAD_THRESHOLDS)]
    size = 4 * 13
    expected = 2 + 2 + 2 + size + 2 + 2 + 1 + 13 + 2 + size + 2 + 2 + size + 2 + 2 + size + 2 + 2
    result = simulate(emitted(Core, spec=SPEC, geometry=Geometry(lanes=5)), [
        {"stimuli": {"commands": np.concatenate(packets).tolist()}, "expected": {"replies": expected}}],
        tmp_path, stalls=Stalls.RANDOM)[0]
    replies = decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))
    assert [reply.status for reply in replies if reply.command != Command.TRAIN] == [Status.OK] * 5 + [
        Status.BAD_LENGTH, Status.OK, Status.BAD_LENGTH, Status.OK, Status.BAD_LENGTH, Status.BAD_LENGTH]
    read = [decode_state(SPEC, "thresholds", expect(replies[index], SPEC, Command.READ_THRESHOLDS).payload)[0].tolist()
            for index in (2, 5, 7, 9)]
    before = network.state["thresholds"][0].tolist()
    learn(network, image[0], 1, rate_shift=RATE_SHIFT)
    assert read == [before, network.state["thresholds"][0].tolist(), [*before[:2], *([0] * 11)], before]
    assert read[0] != read[1]


def test_a_network_without_plasticity_knows_no_thresholds(tmp_path: Path) -> None:
    core = emitted(Core, spec=flat_network(sizes=(5, 3)), geometry=Geometry(lanes=3))
    commands = np.concatenate([packet(Command.READ_THRESHOLDS), packet(Command.LOAD_THRESHOLDS, [1, 2, 3, 4])])
    result = simulate(core, [{"stimuli": {"commands": commands.tolist()}, "expected": {"replies": 4}}], tmp_path,
                      stalls=Stalls.NONE)[0]
    replies = decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))
    assert [reply.status for reply in replies] == [Status.UNKNOWN_COMMAND] * 2


@pytest.mark.regress
def test_the_competition_costs_little() -> None:
    """Forward cycles are at most those of desire backpropagation and T * (log2(n) + 4).

    With a few dozen spikes per step, that is: the tree works while the next step's events are added.
    """
    cycles = []
    plastic_spec = changed(SPEC, sizes=(90, 13, 4))
    for spec in (plastic_spec, with_rule(plastic_spec, NamedRule.GRADED)):
        emission = emit_network(spec=spec, geometry=Geometry(lanes=13))
        network = start(plastic_spec)
        if spec is not plastic_spec:
            network = Network(spec=spec, weights=network.weights)
        result = cosimulate(Model(network=network, preset="test", dataset="none"), {"all": data(90)},
                            [Segment(split="all", order=np.arange(2, 14))], verilog=emission.verilog,
                            description=emission.description)
        assert result.bit_exact, result.message
        cycles.append(result.counters["forward_cycles"] / result.images)
    assert cycles[0] <= cycles[1] + SPEC.steps * (np.log2(13) + 4)


def test_a_sample_from_which_only_a_hidden_layer_learns_is_counted() -> None:
    spec = changed(plastic((21, 9, 12, 4)), steps=11)
    network = start(spec)
    network.state["thresholds"][1][:] = spec.at(1).state_array("thresholds").high  # the second layer is silent
    images = data(21)
    golden = Network(spec=spec, weights=network.weights, thresholds=network.state["thresholds"])
    records = [learn(golden, image, int(label), rate_shift=RATE_SHIFT)
               for image, label in zip(images.images, images.labels, strict=True)]
    learned = sum(bool(record.teaching) for record in records)
    assert 0 < learned < len(records)
    assert not any(record.forward.counts.any() for record in records)
    emission = emit_network(spec=spec, geometry=Geometry(lanes=4))
    result = cosimulate(Model(network=network, preset="test", dataset="none"), {"all": images},
                        [Segment(split="all", order=np.arange(14), rate_shift=RATE_SHIFT)], verilog=emission.verilog,
                        description=emission.description)
    assert result.bit_exact, result.message
    assert (result.counters["learned"], result.counters["skipped"]) == (learned, 14 - learned)

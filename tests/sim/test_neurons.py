"""Current-based neurons, bias, recurrence, fixed weights and events in the Verilog: every step, bit by bit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Overflow
from lifstream.golden.contract.input import Events, Input, Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Comparison, CubaLif, Decay, Lif, PerNeuron, Reset
from lifstream.golden.contract.protocol import STATE_ACCESS, Command, Status, commands_of
from lifstream.golden.contract.readout import Potentials, SpikeCounts, Statistic
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Synapses
from lifstream.golden.model.packets import decode_replies, decode_state, encode_state, expect, packet
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.sim.cosim import CosimResult, Segment, Stalls, Surroundings, cosimulate
from lifstream.sim.faults import Fault, plant_loaded
from tests.conftest import quick, random_images, random_network
from tests.golden.test_cuba_lif import PARTS, fixed_networks, integrator, learning_networks, samples
from tests.sim.blocks import emitted, once, simulate

pytestmark = pytest.mark.simulation

CONV = Conv(inputs=PARTS, channels=3, kernel=(2, 2), padding=(1, 0))
BEHIND = Dense(inputs=CONV.n_out, outputs=4)
LEARNS, STAYS = DesireBackpropagation(desire_margin=2, hidden_threshold=1), Fixed()
PLAIN = {"threshold": 16_384}
SLOW = {"threshold": 16_384 << 3, "guard_bits": 3, "potential_decay": Decay(numerator=811, shift=10),
        "current_decay": Decay(numerator=5, shift=3)}
HARD = {"threshold": 9_000, "reset": Reset.VALUE, "reset_value": -700, "refractory": 2,
        "comparison": Comparison.ABOVE, "potential_decay": Decay(numerator=15_213, shift=14)}
UNLIKE = {"threshold": PerNeuron(low=300, high=70_000), "guard_bits": 2,
          "potential_decay": Decay(numerator=PerNeuron(low=500, high=1_024), shift=10)}
UNLIKE_SLOW = {**UNLIKE, "current_decay": Decay(numerator=PerNeuron(low=0, high=100), shift=7), "refractory": 1,
               "comparison": Comparison.ABOVE, "reset_value": PerNeuron(low=-700, high=200)}
UNLIKE_HARD = {"threshold": 9_000, "reset": Reset.VALUE, "reset_value": PerNeuron(low=-4_000, high=8_000),
               "current_decay": Decay(numerator=PerNeuron(low=3, high=3), shift=2)}
EVENTS, PIXELS = Events(map=PARTS), Pixels(count=PARTS.neurons)


def network(entrance: Input, rule: Any, neuron: dict[str, Any] | None, *synapses: Synapses, steps: int = 9,
            wide: bool = False) -> NetworkSpec:
    formats = Formats(membrane_overflow=Overflow.WIDE, membrane_clamp=0) if wide else Formats()
    each = Lif(threshold=16_384) if neuron is None else CubaLif(**neuron)
    return NetworkSpec(input=entrance, readout=SpikeCounts(), steps=steps, layers=tuple(
        Layer(synapses=synapse, neuron=each, rule=rule, formats=formats) for synapse in synapses))


def augmented(synapses: Synapses, *, recurrent: bool = False, bias: bool = False) -> Augmented:
    return Augmented(synapses=synapses, recurrent=recurrent, bias=bias)


FIRST, LAST = Dense(inputs=24, outputs=7), Dense(inputs=7, outputs=4)
CASES: dict[str, tuple[NetworkSpec, Geometry]] = {
    "no leak": (network(PIXELS, LEARNS, PLAIN, FIRST, LAST), Geometry(lanes=(7, 2))),
    "slow currents, learning": (network(PIXELS, LEARNS, SLOW, FIRST, LAST), Geometry(lanes=3)),
    "slow currents of a map, learning from events": (
        network(EVENTS, LEARNS, SLOW, CONV, BEHIND), Geometry(lanes=(2, 3), neurons_per_unit=1)),
    "hard reset and rest, wide": (network(EVENTS, STAYS, HARD, FIRST, LAST, wide=True), Geometry(lanes=(2, 4))),
    "hard reset and rest of a map": (
        network(EVENTS, STAYS, HARD, CONV, BEHIND), Geometry(lanes=(3, 4), neurons_per_unit=3)),
    "bias, learning": (
        network(PIXELS, LEARNS, None, augmented(FIRST, bias=True), augmented(LAST, bias=True)), Geometry(lanes=4)),
    "bias of a map, learning": (
        network(PIXELS, LEARNS, None, augmented(CONV, bias=True), augmented(BEHIND, bias=True)),
        Geometry(lanes=(3, 4))),
    "recurrent, learning from events": (
        network(EVENTS, LEARNS, SLOW, augmented(FIRST, recurrent=True), LAST), Geometry(lanes=(3, 4))),
    "recurrent with bias, twice": (
        network(EVENTS, STAYS, SLOW, *(augmented(each, recurrent=True, bias=True) for each in (FIRST, LAST))),
        Geometry(lanes=(7, 1))),
    "the largest potential of leaky integrators, folded": (
        replace(network(EVENTS, STAYS, SLOW, FIRST, LAST), readout=Potentials(statistic=Statistic.MAXIMUM),
                layers=(network(EVENTS, STAYS, SLOW, FIRST).layers[0],
                        replace(network(EVENTS, STAYS, SLOW, Dense(inputs=24, outputs=7)).layers[0],
                                synapses=Dense(inputs=7, outputs=5), neuron=integrator(CubaLif(**SLOW))))),
        Geometry(lanes=(7, 2), neurons_per_unit=1)),
    "the sum of wide potentials, recurrent": (
        replace(network(EVENTS, STAYS, SLOW, augmented(FIRST, recurrent=True, bias=True), wide=True, steps=5),
                readout=Potentials(statistic=Statistic.MEAN)), Geometry(lanes=4, neurons_per_unit=2)),
    "the last potential, of one step and one neuron": (
        replace(network(EVENTS, STAYS, PLAIN, Dense(inputs=24, outputs=1), steps=1),
                readout=Potentials(statistic=Statistic.LAST)), Geometry(lanes=1)),
    "more steps than a byte counts": (
        network(EVENTS, STAYS, PLAIN, FIRST, LAST, steps=300), Geometry(lanes=7)),
    "unlike neurons, some lanes padding": (
        network(EVENTS, STAYS, UNLIKE_SLOW, augmented(FIRST, recurrent=True, bias=True), LAST),
        Geometry(lanes=(5, 3), neurons_per_unit=2)),
    "unlike neurons of a map, learning": (
        network(EVENTS, LEARNS, UNLIKE, CONV, BEHIND), Geometry(lanes=(2, 3), neurons_per_unit=1)),
    "unlike slow neurons of a map, wide": (
        network(EVENTS, STAYS, UNLIKE_SLOW, CONV, BEHIND, wide=True), Geometry(lanes=(3, 4), neurons_per_unit=3)),
    "unlike resets, learning": (
        network(PIXELS, LEARNS, UNLIKE_HARD, FIRST, Dense(inputs=7, outputs=5), Dense(inputs=5, outputs=4)),
        Geometry(lanes=(3, 5, 2))),
    "unlike neurons, learning": (
        network(PIXELS, LEARNS, UNLIKE_SLOW, FIRST, Dense(inputs=7, outputs=5), Dense(inputs=5, outputs=4)),
        Geometry(lanes=(3, 5, 2))),
}


def play(spec: NetworkSpec, geometry: Geometry, *, images: int = 10, scale: float = 2.0, seed: int = 1,
         **choices: Any) -> CosimResult:
    """Learn at the highest rate, if anything does, and classify."""
    drawn = samples(spec, images, seed) if isinstance(spec.input, Events) else random_images(images, spec.inputs, seed)
    data = Split(images=drawn, labels=(np.arange(images) % spec.classes).astype(np.uint8))
    segments = [Segment(split="all", order=np.arange(images // 2))]
    if spec.learns:
        segments.insert(0, Segment(split="all", order=np.arange(images), rate_shift=spec.rate_shift_range[0],
                                   check_every=images // 2))
    emission = once(emit_network, spec=spec, geometry=geometry)
    surroundings = Surroundings(**{"stalls": Stalls.RANDOM, **choices})
    return cosimulate(Model(network=random_network(spec, 3, scale=scale), preset="test", dataset="none"),
                      {"all": data}, segments, verilog=emission.verilog, description=emission.description,
                      surroundings=surroundings)


@pytest.mark.parametrize("name", quick(CASES, "slow currents of a map, learning from events",
                                       "hard reset and rest, wide", "recurrent, learning from events",
                                       "the largest potential of leaky integrators, folded",
                                       "more steps than a byte counts", "unlike neurons of a map, learning"))
def test_networks_are_bit_exact(name: str) -> None:
    spec, geometry = CASES[name]
    result = play(spec, geometry)
    assert result.bit_exact, result.message
    assert result.counters["images"] == (15 if spec.learns else 5)
    assert result.counters["learned"] > 0 or not spec.learns


@pytest.mark.parametrize("fault", [Fault.PIXEL, Fault.SPIKE, Fault.MEMBRANE, Fault.WEIGHT])
def test_planted_faults_are_seen(fault: Fault) -> None:
    """One bit of an event, a spike, a potential or a weight on its way in."""
    result = play(*CASES["recurrent, learning from events"], fault=fault)
    assert not result.bit_exact
    assert result.message.startswith("image ")
    assert " expected " in result.message


def test_a_potential_that_is_told_wrong_is_seen() -> None:
    result = play(*CASES["the largest potential of leaky integrators, folded"], fault=Fault.COUNT)
    assert ", layer" not in result.message
    assert ": maximum potential expected " in result.message
    assert "harness.replies_payload" in result.message


@pytest.mark.parametrize("name", ["unlike neurons, some lanes padding", "unlike neurons of a map, learning"])
def test_a_planted_fault_in_a_neuron_s_own_parameter_is_named(name: str) -> None:
    """One bit of a threshold, decay or reset value on its way in: the first mismatch is that very neuron's."""
    spec, geometry = CASES[name]
    result = play(spec, geometry, fault=Fault.PARAMETER)
    assert not result.bit_exact
    assert result.divergence is not None
    network = random_network(spec, 3, scale=2.0)
    images = samples(spec, 10, 1)
    changed = plant_loaded(network, Fault.PARAMETER, images[:5], 1)
    (array, layer, neuron), = [
        (array, spec.state_owners[array][index], int(place))
        for array, arrays in changed.items() for index, values in enumerate(arrays)
        for place in np.flatnonzero(values != network.state[array][index])]
    found = result.divergence
    assert (found["layer"], found["neuron"], found["quantity"]) in (
        (layer, neuron, "membrane potential"), (layer, neuron, "spike")), (array, result.message)


def test_parameters_read_back_are_compared_and_named() -> None:
    spec, geometry = CASES["unlike neurons of a map, learning"]
    result = play(spec, geometry, fault=Fault.THRESHOLD)
    assert not result.bit_exact
    assert re.fullmatch(r"image 4, layer [01], neuron \d+.*: threshold expected \d+, got \d+ \(.*neuron\.thresholds"
                        r"\[\d+\]\)", result.message), result.message


def test_no_parameters_to_falsify() -> None:
    with pytest.raises(InputError, match="parameter: the neurons of this network have no parameters of their own"):
        play(*CASES["no leak"], fault=Fault.PARAMETER)


def test_conversation_about_parameters(tmp_path: Path) -> None:
    """Load and read each kind, whole, cut short, too long: nothing but that kind changes."""
    spec, geometry = CASES["unlike neurons, some lanes padding"]
    network = random_network(spec, 3)
    names = [name for name in network.state if name != "weights"]
    assert names == ["thresholds", "decays", "current_decays", "reset_values"]
    state = {name: encode_state(spec, name, network.state[name]) for name in network.state}
    packets = [packet(STATE_ACCESS[name].load, state[name]) for name in network.state]
    packets += [packet(STATE_ACCESS[name].read) for name in names]
    for name in names:
        packets += [packet(STATE_ACCESS[name].load, state[name][:12]), packet(STATE_ACCESS[name].read),
                    packet(STATE_ACCESS[name].load, [*state[name], 1]), packet(STATE_ACCESS[name].read)]
    packets += [packet(Command.READ_DECAYS, [1]), packet(Command.LOAD_DECAYS)]
    packets += [packet(STATE_ACCESS[name].read) for name in network.state]
    size = 4 * 11
    expected = 2 * 5 + 4 * (2 + size) + 4 * 2 * (2 + 2 + size) + 2 * 2 + 2 + len(state["weights"]) + 4 * (2 + size)
    result = simulate(emitted(Core, spec=spec, geometry=geometry), [
        {"stimuli": {"commands": np.concatenate(packets).tolist()}, "expected": {"replies": expected}}],
        tmp_path, stalls=Stalls.RANDOM)[0]
    replies = decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))
    assert [reply.status for reply in replies] == [Status.OK] * 9 + [
        Status.BAD_LENGTH, Status.OK] * 8 + [Status.BAD_LENGTH] * 2 + [Status.OK] * 5

    def read(reply: Any, name: str) -> list[list[int]]:
        return [array.tolist() for array in decode_state(
            spec, name, expect(reply, spec, STATE_ACCESS[name].read).payload)]

    whole = {name: [array.tolist() for array in network.state[name]] for name in network.state}
    for index, name in enumerate(names):
        assert read(replies[5 + index], name) == whole[name]
        assert read(replies[10 + 4 * index], name) == [[*whole[name][0][:3], 0, 0, 0, 0], [0] * 4]
        assert read(replies[12 + 4 * index], name) == whole[name]
    for index, name in enumerate(network.state):
        assert read(replies[27 + index], name) == whole[name]


def test_a_network_without_parameters_knows_no_commands_for_them() -> None:
    assert not {access.load for access in STATE_ACCESS.values()} & set(commands_of(CASES["no leak"][0])) - {
        Command.LOAD_WEIGHTS}


def test_what_does_not_learn_is_not_taught() -> None:
    spec, geometry = CASES["hard reset and rest, wide"]
    emission = once(emit_network, spec=spec, geometry=geometry)
    with pytest.raises(InputError, match="rule: fixed, the network's weights do not change"):
        cosimulate(Model(network=random_network(spec, 3), preset="test", dataset="none"),
                   {"all": Split(images=samples(spec, 1, 1), labels=np.zeros(1, np.uint8))},
                   [Segment(split="all", order=np.arange(1), rate_shift=0)], verilog=emission.verilog,
                   description=emission.description)


def check_drawn(drawn: st.DataObject, spec: NetworkSpec) -> None:
    layers = len(spec.layers)
    geometry = Geometry(lanes=tuple(drawn.draw(st.integers(1, 7)) for _ in range(layers)),
                        neurons_per_unit=drawn.draw(st.integers(1, 4)))
    result = play(spec, geometry, images=8, scale=3.0, seed=drawn.draw(st.integers(0, 99)),
                  stalls=drawn.draw(st.sampled_from(Stalls)))
    assert result.bit_exact, result.message


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data(), spec=fixed_networks())
def test_many_random_networks_that_infer(drawn: st.DataObject, spec: NetworkSpec) -> None:
    check_drawn(drawn, spec)


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data(), spec=learning_networks())
def test_many_random_networks_that_learn(drawn: st.DataObject, spec: NetworkSpec) -> None:
    check_drawn(drawn, replace(spec, steps=max(spec.steps, 2)))

"""Current-based neurons, bias, recurrence: the model against plain Python, and the compiled twin against the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Overflow
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Comparison, CubaLif, Decay, Lif, Neuron, Reset
from lifstream.golden.contract.readout import Potentials, Readout, SpikeCounts, Statistic, Votes
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Map, SumPool, Synapses
from lifstream.golden.model.encoder import packed, unpacked
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.readouts import NO_PREDICTION
from lifstream.golden.twin.engine import Engine, Runner
from tests.conftest import random_network

PARTS = Map(height=4, width=3, channels=2)
"""Where events come from."""


def decays() -> st.SearchStrategy[Decay]:
    return st.integers(0, 16).flatmap(
        lambda shift: st.builds(Decay, shift=st.just(shift), numerator=st.integers(0, 1 << shift)))


@st.composite
def neurons(draw: st.DrawFn, one: int) -> CubaLif:
    guard = draw(st.integers(0, 5))
    threshold = draw(st.integers(1, 3 * one << guard))
    return CubaLif(
        potential_decay=draw(decays()), current_decay=draw(st.none() | decays()), guard_bits=guard,
        threshold=threshold, comparison=draw(st.sampled_from((Comparison.AT_LEAST, Comparison.ABOVE))),
        reset=draw(st.sampled_from(Reset)),
        reset_value=draw(st.integers(max(-one, -threshold), threshold - 1)), refractory=draw(st.integers(0, 3)))


def form(layer_count: int, rule: Any, draw: st.DrawFn) -> NetworkSpec:
    """A network of events: a map, perhaps pooled, then dense layers; bias and recurrence anywhere they can be."""
    layers: list[Layer] = []
    count = PARTS.neurons
    for index in range(layer_count):
        wide = draw(st.booleans())
        formats = Formats(weight_bits=draw(st.integers(4, 12)), weight_fraction=draw(st.integers(4, 10)),
                          membrane_overflow=Overflow.WIDE if wide else Overflow.SATURATE,
                          membrane_clamp=0 if wide else draw(st.sampled_from((2, 4, 16))))
        synapses: Synapses = Dense(inputs=count, outputs=draw(st.integers(1, 6)))
        if index == 0 and layer_count > 1 and draw(st.booleans()):
            synapses = Conv(inputs=PARTS, channels=3, kernel=(2, 2), padding=(1, 0))
            if draw(st.booleans()):
                synapses = SumPool(inputs=Map(height=4, width=3, channels=2), size=1, synapses=synapses)
        recurrent, bias = draw(st.booleans()) and synapses.all_to_all, draw(st.booleans())
        if recurrent or bias:
            synapses = Augmented(synapses=synapses, recurrent=recurrent, bias=bias)
        neuron: Neuron = draw(neurons(formats.one)) if draw(st.integers(0, 3)) else Lif(threshold=formats.one)
        layers.append(Layer(synapses=synapses, neuron=neuron, rule=rule, formats=formats))
        count = synapses.n_out
    readout: Readout = SpikeCounts()
    if not rule.learns and layers[-1].synapses.all_to_all and draw(st.booleans()):
        readout = Potentials(statistic=draw(st.sampled_from(Statistic)))
        last = layers[-1].neuron
        if isinstance(last, CubaLif) and draw(st.booleans()):
            layers[-1] = replace(layers[-1], neuron=integrator(last))
    return NetworkSpec(input=Events(map=PARTS), layers=tuple(layers), readout=readout, steps=draw(st.integers(1, 9)))


def integrator(neuron: CubaLif) -> CubaLif:
    """The same, but it never fires."""
    return replace(neuron, comparison=Comparison.NEVER, reset=Reset.SUBTRACT, reset_value=0, refractory=0)


@st.composite
def fixed_networks(draw: st.DrawFn) -> NetworkSpec:
    return form(draw(st.integers(1, 3)), Fixed(), draw)


@st.composite
def learning_networks(draw: st.DrawFn) -> NetworkSpec:
    rule = DesireBackpropagation(desire_margin=0, hidden_threshold=draw(st.integers(1, 2000)),
                                 rise_limit=draw(st.sampled_from((None, 1))))
    return form(draw(st.integers(1, 3)), rule, draw)


def samples(spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    """Packed spike trains of several densities."""
    random = np.random.default_rng(seed)
    rates = random.choice([0.05, 0.3, 0.9], (count, 1, 1))
    return packed(random.random((count, spec.steps, spec.inputs)) < rates)


def floor_share(decay: Decay, value: int) -> int:
    """What is left of a value, by division."""
    return decay.numerator * value // 2**decay.shift


def plain(network: Network, spikes: list[list[bool]]) -> list[list[list[tuple[int, bool]]]]:
    """Per layer and step, potential and spike of each neuron: one number at a time, from the equations alone."""
    found = []
    for at, weights in zip(network.spec.placed, network.weights, strict=True):
        synapses, neuron = at.synapses, at.neuron
        columns = weights.shape[1]
        potential, current, rest = ([0] * at.n_out for _ in range(3))
        low, high = at.membrane_range
        fired_before = [False] * at.n_out
        steps = []
        for step in spikes:
            sources = [index for index, fired in enumerate(step) if fired]
            if synapses.recurrent:
                sources += [synapses.n_before + index for index, fired in enumerate(fired_before) if fired]
            if synapses.bias:
                sources.append(synapses.n_in - 1)
            added = [0] * at.n_out
            for source in sources:
                for target in synapses.targets(source):
                    for column in range(columns):
                        added[target.first + column] += int(weights[target.row][column])
            told = []
            for index in range(at.n_out):
                if isinstance(neuron, Lif):
                    value = 3 * potential[index] // 4 + added[index]
                    value = min(max(value, low), high)
                    fired = value >= neuron.threshold
                    potential[index] = value - neuron.threshold * fired
                else:
                    assert isinstance(neuron, CubaLif)
                    pushed = added[index] * 2**neuron.guard_bits
                    kept = floor_share(neuron.current_decay, current[index]) if neuron.current_decay else 0
                    current[index] = kept + pushed
                    value = floor_share(neuron.potential_decay, potential[index]) + current[index]
                    value = min(max(value, low), high) if not rest[index] else neuron.reset_value
                    above = neuron.comparison is Comparison.ABOVE
                    fired = value > neuron.threshold if above else value >= neuron.threshold
                    fired = fired and neuron.comparison is not Comparison.NEVER
                    rest[index] = neuron.refractory if fired else max(0, rest[index] - 1)
                    potential[index] = value
                    if fired:
                        potential[index] = value - neuron.threshold if neuron.reset is Reset.SUBTRACT else \
                            neuron.reset_value
                told.append((value, fired))
            fired_before = [fired for _, fired in told]
            steps.append(told)
        found.append(steps)
        spikes = [[fired for _, fired in step] for step in steps]
    return found


@settings(max_examples=80)
@given(spec=fixed_networks(), seed=st.integers(0, 999))
def test_the_model_does_what_the_equations_say(spec: NetworkSpec, seed: int) -> None:
    network, drawn = random_network(spec, seed, scale=3.0), samples(spec, 2, seed)
    record = network.classify(drawn)
    for index, trains in enumerate(unpacked(drawn, steps=spec.steps, neurons=spec.inputs)):
        for layer, steps in enumerate(plain(network, trains.tolist())):
            got = record.layers[layer]
            assert [[value for value, _ in step] for step in steps] == got.membrane[index].tolist()
            assert [[fired for _, fired in step] for step in steps] == got.spikes[index].tolist()
        trains_of_last = list(zip(*steps, strict=True))
        if isinstance(spec.readout, Potentials):
            number = {Statistic.MAXIMUM: max, Statistic.MEAN: sum, Statistic.LAST: lambda values: values[-1]}
            told = [number[spec.readout.statistic]([value for value, _ in train]) for train in trains_of_last]
        else:
            told = [sum(fired for _, fired in train) for train in trains_of_last]
        assert told == record.responses[index].tolist()
        best = [neuron for neuron, value in enumerate(told) if value == max(told)]
        assert record.prediction[index] == (best[0] if len(best) == 1 else NO_PREDICTION)
        low, high = spec.response_range
        assert low <= min(told)
        assert max(told) <= high


@pytest.mark.parametrize("statistic", Statistic)
def test_the_twin_reads_potentials_the_same(statistic: Statistic) -> None:
    layer = Layer(synapses=Dense(inputs=24, outputs=6), neuron=CubaLif(threshold=16_384), rule=Fixed())
    slow = CubaLif(threshold=16_384, potential_decay=Decay(numerator=7, shift=3), comparison=Comparison.NEVER,
                   current_decay=Decay(numerator=3, shift=2))
    spec = NetworkSpec(input=Events(map=PARTS), readout=Potentials(statistic=statistic), steps=8, layers=(
        layer, replace(layer, synapses=Dense(inputs=6, outputs=3), neuron=slow)))
    network, drawn = random_network(spec, 3, scale=3.0), samples(spec, 20, 1)
    wanted, got = (Runner(network=network, engine=engine).infer(drawn) for engine in Engine)
    assert (wanted.responses == got.responses).all()
    assert (wanted.predictions == got.predictions).all()
    assert (wanted.spikes == got.spikes).all()
    assert len(np.unique(wanted.predictions)) > 1


@settings(max_examples=4)
@given(spec=learning_networks(), seed=st.integers(0, 999))
def test_the_twin_learns_the_same(spec: NetworkSpec, seed: int) -> None:
    drawn, labels = samples(spec, 12, seed), (np.arange(12) % spec.classes).astype(np.uint8)
    found = []
    for engine in Engine:
        network = random_network(spec, seed, scale=2.0)
        outcome = Runner(network=network, engine=engine).learn(drawn, labels, rate_shift=spec.rate_shift_range[0])
        found.append((network.digest(), outcome.spikes.tolist(), outcome.updates.tolist(), outcome.responses.tolist()))
    assert found[0] == found[1]


def test_bias_and_recurrent_weights_learn() -> None:
    """What the synapses add changes like any weight; what is told the layer before does not ask for it."""
    layer = Layer(synapses=Augmented(synapses=Dense(inputs=24, outputs=5), recurrent=True, bias=True),
                  neuron=Lif(threshold=16_384), formats=Formats(), rule=DesireBackpropagation(hidden_threshold=1))
    spec = NetworkSpec(input=Events(map=PARTS), readout=SpikeCounts(), layers=(
        layer, replace(layer, synapses=Augmented(synapses=Dense(inputs=5, outputs=3), bias=True))))
    before, network = (random_network(spec, 1, scale=3.0) for _ in range(2))
    for index, sample in enumerate(samples(spec, 20, 1)):
        learn(network, sample, index % 3, rate_shift=spec.rate_shift_range[0])
    changed = (before.weights[0] != network.weights[0]).any(axis=1)
    assert changed[:24].any()
    assert changed[24:29].any()
    assert changed[29]
    assert (before.weights[1][-1] != network.weights[1][-1]).any()


def test_fixed_weights_do_not_learn_and_may_take_their_time() -> None:
    layer = Layer(synapses=Dense(inputs=24, outputs=3), neuron=CubaLif(threshold=1), rule=Fixed(), formats=Formats())
    spec = NetworkSpec(input=Events(map=PARTS), layers=(layer,), readout=SpikeCounts(), steps=4_096)
    assert not spec.learns
    assert NetworkSpec.from_json(spec.to_json()) == spec
    with pytest.raises(InputError, match="rule: fixed, the network's weights do not change"):
        learn(random_network(spec, 1), samples(spec, 1, 1)[0], 0, rate_shift=0)
    with pytest.raises(InputError, match=r"steps: 4097 is out of bounds, must be 1\.\.4096"):
        replace(spec, steps=4_097)
    with pytest.raises(InputError, match=r"steps: 65 is out of bounds, must be 1\.\.64"):
        replace(spec, steps=65, layers=(replace(layer, rule=DesireBackpropagation()),))


@pytest.mark.parametrize(("fields", "message"), [
    ({"threshold": 0}, "threshold: 0 is out of bounds"), ({"guard_bits": 17}, "guard_bits: 17 is out of bounds"),
    ({"reset_value": 5}, "reset_value: 5 reaches the threshold, 5"), ({"refractory": 256}, "refractory: 256"),
    ({"potential_decay": 0.5}, "potential_decay: 0.5 is not a Decay"),
    ({"current_decay": 1}, "current_decay: 1 is not a Decay"),
    *(({"comparison": Comparison.NEVER, **useless}, "comparison: never, so no spike resets; leave reset, reset_value")
      for useless in ({"reset": Reset.VALUE}, {"reset_value": -1}, {"refractory": 1})),
    ({"comparison": ">"}, "comparison: '>' is not a Comp")])
def test_neurons_that_are_none(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CubaLif(**{"threshold": 5, **fields})


def test_who_may_never_fire() -> None:
    """The last layer alone, dense, read by its potentials, its weights fixed."""
    silent = Layer(synapses=Dense(inputs=24, outputs=3), neuron=CubaLif(threshold=1, comparison=Comparison.NEVER),
                   rule=Fixed(), formats=Formats())
    behind = replace(silent, synapses=Dense(inputs=3, outputs=2))
    read = Potentials(statistic=Statistic.LAST)
    spec = NetworkSpec(input=Events(map=PARTS), layers=(silent,), readout=read)
    assert NetworkSpec.from_json(spec.to_json()) == spec
    assert spec.readout.response == "last potential"
    never = r"layers\[0\]\.neuron: never fires, so nothing is behind it; have the last layer alone of such neurons"
    with pytest.raises(InputError, match=never):
        replace(spec, readout=SpikeCounts())
    with pytest.raises(InputError, match=never):
        replace(spec, layers=(silent, behind))
    with pytest.raises(InputError, match="readout: potentials, but with the rule desire the last layer is taught by c"):
        replace(spec, layers=(replace(silent, rule=DesireBackpropagation(), neuron=Lif(threshold=1)),))
    with pytest.raises(InputError, match="readout: potentials, of conv synapses; give the last layer dense ones"):
        replace(spec, layers=(replace(silent, synapses=Conv(inputs=PARTS, channels=3, kernel=(2, 2))),))
    with pytest.raises(InputError, match="readout: votes, but with the rule fixed the last layer is read by counts o"):
        replace(spec, readout=Votes(count=3, vote_bits=8))
    with pytest.raises(InputError, match="statistic: 'last' is not a Statistic"):
        Potentials(statistic="last")  # type: ignore[arg-type]


def test_decays_that_are_none() -> None:
    for fields in ({"numerator": 9, "shift": 3}, {"numerator": -1, "shift": 3}, {"numerator": 1, "shift": 17}):
        with pytest.raises(InputError, match="is out of bounds"):
            Decay(**fields)
    layer = Layer(synapses=Dense(inputs=24, outputs=3), rule=Fixed(), formats=Formats(),
                  neuron=CubaLif(threshold=1, reset_value=-32_769))
    with pytest.raises(InputError, match=r"layers\[0\]: reset_value: -32769 is below the lowest membrane potential"):
        NetworkSpec(input=Events(map=PARTS), layers=(layer,), readout=SpikeCounts())


@pytest.mark.parametrize(("made", "message"), [
    (lambda: Augmented(synapses=Dense(inputs=2, outputs=2)), "recurrent: nothing is added"),
    (lambda: Augmented(synapses=Conv(inputs=PARTS, channels=1, kernel=(1, 1)), recurrent=True),
     "recurrent: conv synapses cannot be"),
    (lambda: Augmented(synapses=Augmented(synapses=Dense(inputs=2, outputs=2), bias=True), bias=True),
     "synapses: augmented, give one"),
    (lambda: Augmented(synapses=Dense(inputs=65_536, outputs=1), bias=True), "65537 presynaptic neurons"),
    (lambda: Augmented(synapses=Dense(inputs=2, outputs=2), bias=1), "bias: 1 is not true or false")])
def test_augmented_synapses_that_are_none(made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made()

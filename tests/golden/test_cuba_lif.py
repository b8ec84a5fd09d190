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
from lifstream.golden.contract.neurons import Comparison, CubaLif, Decay, Lif, Neuron, PerNeuron, Reset
from lifstream.golden.contract.neurons.per_neuron import bounds_of
from lifstream.golden.contract.readout import Potentials, Readout, SpikeCounts, Statistic, Votes
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Map, SumPool, Synapses
from lifstream.golden.model.encoder import packed, unpacked
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.readouts import NO_PREDICTION
from lifstream.golden.twin.engine import Engine, Runner
from lifstream.golden.twin.float_model import FloatNetwork
from tests.conftest import random_network

PARTS = Map(height=4, width=3, channels=2)
"""Where events come from."""


def decays() -> st.SearchStrategy[Decay]:
    return st.integers(0, 16).flatmap(
        lambda shift: st.builds(Decay, shift=st.just(shift), numerator=st.integers(0, 1 << shift)))


def bounds(low: int, high: int) -> st.SearchStrategy[PerNeuron]:
    return st.lists(st.integers(low, high), min_size=2, max_size=2).map(
        lambda ends: PerNeuron(low=min(ends), high=max(ends)))


@st.composite
def unlike_neurons(draw: st.DrawFn, one: int) -> CubaLif:
    """Neurons that have some parameters for themselves."""
    guard, shifts = draw(st.integers(0, 5)), [draw(st.integers(0, 16)) for _ in range(2)]
    potential, current = (Decay(shift=shift, numerator=draw(bounds(0, 1 << shift) | st.integers(0, 1 << shift)))
                          for shift in shifts)
    reset, refractory = draw(st.sampled_from(Reset)), draw(st.integers(0, 3))
    unlike = reset is Reset.VALUE or refractory > 0
    return CubaLif(
        potential_decay=potential, current_decay=draw(st.none() | st.just(current)), guard_bits=guard,
        threshold=draw(bounds(2, 3 * one << guard)),
        comparison=draw(st.sampled_from((Comparison.AT_LEAST, Comparison.ABOVE))), reset=reset,
        reset_value=draw(bounds(-one, one) if unlike and draw(st.booleans()) else st.integers(-one, one)),
        refractory=refractory)


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
        neuron: Neuron = Lif(threshold=formats.one)
        if kind := draw(st.integers(0, 3)):
            neuron = draw(unlike_neurons(formats.one) if kind == 1 else neurons(formats.one))
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
    return replace(neuron, comparison=Comparison.NEVER, reset=Reset.SUBTRACT, reset_value=0, refractory=0,
                   threshold=bounds_of(neuron.threshold)[1])


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


def numbers(neuron: CubaLif, state: dict[str, Any], count: int) -> dict[str, list[int]]:
    """Each neuron's parameters, whoever they are shared by."""
    slow = neuron.current_decay
    shared = {"thresholds": neuron.threshold, "reset_values": neuron.reset_value, "current_decays":
              slow.numerator if slow else 0, "decays": neuron.potential_decay.numerator}
    return {name: state[name].tolist() if isinstance(value, PerNeuron) else [value] * count
            for name, value in shared.items()}


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
        own = numbers(neuron, network.layer_state(at.index), at.n_out) if isinstance(neuron, CubaLif) else {}
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
                    threshold, reset_value = own["thresholds"][index], own["reset_values"][index]
                    pushed, slow = added[index] * 2**neuron.guard_bits, neuron.current_decay
                    kept = own["current_decays"][index] * current[index] // 2**slow.shift if slow else 0
                    current[index] = kept + pushed
                    value = own["decays"][index] * potential[index] // 2**neuron.potential_decay.shift + current[index]
                    value = min(max(value, low), high) if not rest[index] else reset_value
                    fired = value > threshold if neuron.comparison is Comparison.ABOVE else value >= threshold
                    fired = fired and neuron.comparison is not Comparison.NEVER
                    rest[index] = neuron.refractory if fired else max(0, rest[index] - 1)
                    potential[index] = value
                    if fired:
                        potential[index] = value - threshold if neuron.reset is Reset.SUBTRACT else reset_value
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


@pytest.mark.regress    # each example is compiled anew
@pytest.mark.timeout(3600)
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
    square = replace(silent, synapses=Dense(inputs=24, outputs=24))
    with pytest.raises(InputError, match=never):
        replace(spec, layers=(square, square))
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


# -- parameters of each neuron ---------------------------------------------------------------------

UNLIKE = CubaLif(
    threshold=PerNeuron(low=300, high=70_000), guard_bits=2, potential_decay=Decay(numerator=PerNeuron(
        low=500, high=1_024), shift=10), current_decay=Decay(numerator=PerNeuron(low=0, high=7), shift=3),
    reset=Reset.VALUE, reset_value=PerNeuron(low=-700, high=200))


def unlike(rule: Any = None, neuron: CubaLif = UNLIKE) -> NetworkSpec:
    """Two layers, of which the neurons of the second differ."""
    alike, differing = (Layer(synapses=Dense(inputs=n_in, outputs=n_out), neuron=each, rule=rule or Fixed(),
                              formats=Formats())
                        for n_in, n_out, each in ((24, 5, CubaLif(threshold=9_000)), (5, 3, neuron)))
    return NetworkSpec(input=Events(map=PARTS), layers=(alike, differing), readout=SpikeCounts(), steps=9)


def test_parameters_are_learnt_state() -> None:
    spec = unlike()
    assert NetworkSpec.from_json(spec.to_json()) == spec
    assert spec.to_json()["layers"][1]["neuron"]["threshold"] == {"low": 300, "high": 70_000}
    assert spec.to_json()["layers"][0]["neuron"]["threshold"] == 9_000
    assert spec.state_owners == {"weights": (0, 1), "thresholds": (1,), "decays": (1,), "current_decays": (1,),
                                 "reset_values": (1,)}
    assert [(array.bits, array.low, array.high) for arrays in spec.learnt_state.values() for array in arrays][2:] == [
        (17, 300, 70_000), (11, 500, 1_024), (3, 0, 7), (11, -700, 200)]
    one, other = random_network(spec, 1), random_network(spec, 1)
    other.state["decays"][0][2] ^= 1
    assert one.digest() != other.digest()
    assert str(spec.layers[1].neuron.potential_decay) == "500..1024 / 2**10"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("changes", "message"), [
    ({"threshold": PerNeuron(low=0, high=5)}, r"threshold\.low: 0 is out of bounds, must be 1\.\."),
    ({"reset_value": PerNeuron(low=-1 << 30, high=0)},
     r"layers\[1\]: reset_value: -1073741824 is below the lowest membrane potential"),
    ({"reset_value": PerNeuron(low=0, high=1 << 20)},
     r"layers\[1\]: reset_value: 1048576 is above the highest membrane potential"),
    ({"reset": Reset.SUBTRACT}, "reset_value: per neuron, but no spike leads there; give reset value or refractory"),
    ({"comparison": Comparison.NEVER, "reset": Reset.SUBTRACT, "reset_value": 0},
     "comparison: never, so thresholds per neuron are of no use; give one"),
    ({"threshold": [1, 2, 3]}, r"threshold: \[1, 2, 3\] is not an integer")])
def test_bounds_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unlike(neuron=replace(UNLIKE, **changes))


def test_bounds_that_are_none_by_themselves() -> None:
    for fields, message in (({"low": 5, "high": 4}, "low: 5 is above high, 4"),
                            ({"low": 0, "high": 1 << 31}, "high: 2147483648 is out of bounds"),
                            ({"low": True, "high": 4}, "low: True is not an integer")):
        with pytest.raises(InputError, match=message):
            PerNeuron(**fields)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"numerator\.high: 9 is out of bounds, must be 0\.\.8"):
        Decay(numerator=PerNeuron(low=0, high=9), shift=3)
    with pytest.raises(InputError, match=r"layers\[1\]: neuron\.threshold\.low: 1 is out of bounds, must be 2\.\."):
        unlike(DesireBackpropagation(), replace(UNLIKE, threshold=PerNeuron(low=1, high=9)))
    data = unlike().to_json()
    for damaged, message in (({"low": 1}, r"threshold: a field is missing"), ("x", "threshold: 'x' is not an integer"),
                             ({"low": 1, "high": 2, "mid": 1}, r"threshold: unknown field 'mid'")):
        data["layers"][1]["neuron"]["threshold"] = damaged
        with pytest.raises(InputError, match=message):
            NetworkSpec.from_json(data)


@pytest.mark.parametrize(("arrays", "message"), [
    ([np.array([300, 400, 70_001])], r"thresholds of layer 0: outside the 17-bit range 300\.\.70000"),
    ([np.array([300, 299, 400])], "thresholds of layer 0: outside the 17-bit range"),
    ([np.array([300, 400])], r"thresholds of layer 0: shape \(2,\), expected \(3,\)"),
    ([np.array([[300, 400, 500]])], r"thresholds of layer 0: shape \(1, 3\), expected \(3,\)"),
    ([np.full(5, 400), np.full(3, 400)], "thresholds: 2 arrays for 1 layers"), ([], "thresholds: 0 arrays for 1 lay")])
def test_parameters_that_are_none(arrays: list[np.ndarray], message: str) -> None:
    network = random_network(unlike(), 1)
    with pytest.raises(InputError, match=message):
        Network(spec=network.spec, **{**network.state, "thresholds": arrays})
    with pytest.raises(InputError, match="decays: given for a network that has none"):
        Network(spec=unlike(neuron=CubaLif(threshold=5)), weights=network.weights, decays=network.state["decays"])


@pytest.mark.regress    # kernels of its own, compiled for a minute
def test_neurons_of_unlike_thresholds_learn_the_same_in_the_twin() -> None:
    """Eligibility goes by each neuron's own threshold, beside neurons that are alike; and by what it is now."""
    rule = DesireBackpropagation(desire_margin=0, hidden_threshold=1)
    spec = unlike(rule)
    drawn, labels = samples(spec, 30, 3), (np.arange(30) % spec.classes).astype(np.uint8)
    before, *networks = (random_network(spec, 3, scale=2.0) for _ in range(3))
    for network, engine in zip(networks, Engine, strict=True):
        runner = Runner(network=network, engine=engine)
        runner.infer(drawn[:1])
        network.state["thresholds"][0][1] = 301
        runner.learn(drawn, labels, rate_shift=spec.rate_shift_range[0])
    assert networks[0].digest() == networks[1].digest()
    assert all((now != then).any() for now, then in zip(networks[0].weights, before.weights, strict=True))


def test_real_numbers_have_no_parameters_of_each_neuron() -> None:
    spec = unlike(DesireBackpropagation())
    with pytest.raises(InputError, match="arithmetic: the float model has no thresholds per neuron; use integers"):
        Runner(network=FloatNetwork.initial(spec=spec, seed=1))

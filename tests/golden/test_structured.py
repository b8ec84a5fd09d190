"""Convolution, local connection and sum pooling: geometry, the definition against plain loops, the twin against it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, flat_network
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation, Eligibility, Magnitude, PairStdp
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses
from lifstream.golden.model.draws import DrawGenerator, rounding_words
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.registry import synapses_model
from lifstream.golden.model.synapses import passed_back
from lifstream.golden.study.presets import PRESETS
from lifstream.golden.twin.engine import Engine, Outcome, Runner
from lifstream.golden.twin.float_model import FloatNetwork
from tests.conftest import random_images
from tests.golden import structured_reference as reference
from tests.golden.test_engine import first_difference

CLASSES = 4


@st.composite
def patches(draw: st.DrawFn, inputs: Map, *, channels: int = 4) -> Conv | Local:
    """Any convolution or local connection of a map, kernels as large as the padded map and strides above included."""
    kernel, padding, stride = [], [], []
    for size in inputs.size:
        least = draw(st.sampled_from((1, 2, 3, size)))
        padding.append(draw(st.integers(0, min(2, least - 1))))
        kernel.append(min(least, size + 2 * padding[-1]))
        stride.append(draw(st.integers(1, 4)))
    return draw(st.sampled_from((Conv, Local)))(
        inputs=inputs, channels=draw(st.integers(1, channels)), kernel=tuple(kernel), stride=tuple(stride),
        padding=tuple(padding))


def maps(largest: int) -> st.SearchStrategy[Map]:
    return st.builds(Map, height=st.integers(1, largest), width=st.integers(1, largest), channels=st.integers(1, 3))


@st.composite
def pooled(draw: st.DrawFn, inputs: Map, behind: Any) -> Synapses:
    """``behind`` of the map, or of its sums over squares where there is a size."""
    sizes = [size for size in (1, 2, 3) if not inputs.height % size and not inputs.width % size]
    size = draw(st.sampled_from((0, *sizes)))
    if not size:
        return draw(behind(inputs))
    sums = Map(height=inputs.height // size, width=inputs.width // size, channels=inputs.channels)
    return SumPool(inputs=inputs, size=size, synapses=draw(behind(sums)))


def outputs_of(synapses: Any) -> Map:
    return synapses.synapses.outputs if isinstance(synapses, SumPool) else synapses.outputs


def dense(inputs: Map) -> st.SearchStrategy[Dense]:
    return st.just(Dense(inputs=inputs.neurons, outputs=CLASSES))


@st.composite
def any_synapses(draw: st.DrawFn) -> Synapses:
    return draw(pooled(draw(maps(7)), draw(st.sampled_from((patches, dense)))))


@st.composite
def networks(draw: st.DrawFn, *, largest: int) -> NetworkSpec:
    """One or two layers of patches, ten neurons behind; pooling anywhere."""
    inputs = draw(maps(largest))
    pixels, layers = inputs.neurons, []
    form = draw(st.sampled_from(((Eligibility.MEMBRANE, Magnitude.GRADED), (Eligibility.SPIKE, Magnitude.TERNARY))))
    fraction = draw(st.sampled_from((8, 14)))
    formats = Formats(weight_bits=fraction + 2, weight_fraction=fraction)
    count = draw(st.integers(1, 2))
    for index in range(count + 1):
        synapses = draw(pooled(inputs, dense if index == count else patches))
        rule = DesireBackpropagation(
            eligibility=form[0], magnitude=form[1], rounding=draw(st.sampled_from(Rounding)), hidden_threshold=100,
            rise_threshold=draw(st.sampled_from((None, 60, 100, 900))),
            rise_limit=draw(st.sampled_from((None, 1, 4, 8))), rate_offset=draw(st.integers(-2, 2)), desire_margin=2)
        neuron = Lif(threshold=formats.one, dropout=0 if index == count else draw(st.sampled_from((0, 40))))
        layers.append(Layer(synapses=synapses, neuron=neuron, rule=rule, formats=formats))
        if index < count:
            inputs = outputs_of(synapses)
    return NetworkSpec(input=Pixels(count=pixels), layers=tuple(layers), readout=SpikeCounts(), steps=8)


def start(spec: NetworkSpec) -> Network:
    """Weights with which all layers fire, some near their ends."""
    network = Network.initial(spec=spec, seed=3)
    for at, matrix in zip(spec.placed, network.weights, strict=True):
        np.clip(2 * matrix.astype(np.int64) + at.formats.one // 16, *at.weight_range, out=matrix, casting="unsafe")
    return network


# -- geometry -----------------------------------------------------------------------------------


def test_a_convolution_s_shape() -> None:
    conv = Conv(inputs=Map(height=28, width=28), channels=16, kernel=(5, 5), stride=(2, 2), padding=(2, 2))
    assert (conv.n_in, conv.n_out, conv.weight_shape, conv.fan_in) == (784, 14 * 14 * 16, (25, 16), 25)
    assert str(conv.outputs) == "14x14x16"
    behind = Conv(inputs=conv.outputs, channels=32, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    assert (behind.n_out, behind.weight_shape) == (7 * 7 * 32, (144, 32))
    local = Local(inputs=Map(height=6, width=4, channels=2), channels=3, kernel=(3, 2), stride=(3, 2))
    assert (local.n_in, local.n_out, local.weight_shape, local.fan_in) == (48, 12, (4 * 12, 3), 12)


def test_what_a_neuron_of_a_map_reaches() -> None:
    conv = Conv(inputs=Map(height=3, width=3, channels=2), channels=5, kernel=(2, 2), padding=(1, 0))
    # 4 x 2 positions; row 1, column 1, channel 1 lies in the patches of rows 1 and 2, columns 0 and 1.
    assert [tuple(target) for target in conv.targets((1 * 3 + 1) * 2 + 1)] == [
        ((1 * 2 + 1) * 2 + 1, 2 * 5), ((1 * 2 + 0) * 2 + 1, 3 * 5), ((0 * 2 + 1) * 2 + 1, 4 * 5), (1, 5 * 5)]
    apart = Conv(inputs=Map(height=4, width=4), channels=1, kernel=(1, 1), stride=(3, 3))
    assert [list(apart.targets(neuron)) for neuron in (1, 5)] == [[], []]
    pool = SumPool(inputs=Map(height=4, width=6, channels=2), size=2, synapses=Dense(inputs=12, outputs=3))
    assert [tuple(target) for target in pool.targets((3 * 6 + 5) * 2 + 1)] == [(11, 0)]
    assert (pool.n_in, pool.n_out, pool.weight_shape, pool.fan_in) == (48, 3, (12, 3), 48)


@given(any_synapses())
def test_targets_are_those_of_the_prose(synapses: Synapses) -> None:
    columns = synapses.weight_shape[1]
    got = [(source, target.first // columns, target.row)
           for source in range(synapses.n_in) for target in synapses.targets(source)]
    assert got == reference.all_connections(synapses)
    assert len({each[:2] for each in got}) == len(got)  # a position is reached through one row
    assert all(0 <= position < synapses.n_out // columns and 0 <= row < synapses.weight_shape[0]
               for _, position, row in got)
    fan_in = np.bincount([position for _, position, _ in got], minlength=1)
    assert fan_in.max() <= synapses.fan_in


MAP = Map(height=6, width=8, channels=2)


@pytest.mark.parametrize(("fields", "message"), [
    ({"kernel": (7, 3)}, r"kernel \(height\): 7 is out of bounds, the padded map has 6"),
    ({"kernel": (3, 13), "padding": (0, 2)}, r"kernel \(width\): 13 is out of bounds, the padded map has 12"),
    ({"kernel": (0, 3)}, r"kernel \(height\): 0 is out of bounds, must be 1\.\.65536"),
    ({"kernel": 3}, r"kernel: 3 is not a pair of integers"),
    ({"kernel": (3, 3, 3)}, r"kernel: \(3, 3, 3\) is not a pair of integers"),
    ({"stride": (1, 0)}, r"stride \(width\): 0 is out of bounds, must be 1\.\.65536"),
    ({"stride": (1, 1.5)}, r"stride \(width\): 1\.5 is not an integer"),
    ({"padding": (3, 0)}, r"padding \(height\): 3 is out of bounds, must be 0\.\.2"),
    ({"channels": 0}, r"channels: 0 is out of bounds, must be 1\.\.65536"),
    ({"channels": 3000}, r"channels: 3000 at 24 positions are 72000 neurons, must be at most 65536"),
])
def test_impossible_patches_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        Conv(**{"inputs": MAP, "channels": 4, "kernel": (3, 3), **fields})


def test_what_else_is_refused() -> None:
    with pytest.raises(InputError, match=r"^height: 300x300x1 has 90000 neurons, must be at most 65536"):
        Map(height=300, width=300)
    with pytest.raises(InputError, match=r"^kernel: 576 taps at 3721 positions are 2143296 connections, at most "):
        Local(inputs=Map(height=68, width=68, channels=9), channels=1, kernel=(8, 8))
    behind = Dense(inputs=24, outputs=3)
    with pytest.raises(InputError, match=r"^size: 4 does not divide the map's height of 6"):
        SumPool(inputs=MAP, size=4, synapses=behind)
    with pytest.raises(InputError, match=r"^size: 9 is out of bounds, must be 1\.\.6"):
        SumPool(inputs=MAP, size=9, synapses=behind)
    with pytest.raises(InputError, match=r"^synapses: take 25 inputs, the pooled map of 3x4x2 has 24"):
        SumPool(inputs=MAP, size=2, synapses=Dense(inputs=25, outputs=3))
    wide = Map(height=64, width=64, channels=16)
    with pytest.raises(InputError, match=r"^size: 4 makes 3686400 connections, at most 2097152"):
        SumPool(inputs=wide, size=4, synapses=Conv(inputs=replace(wide, height=16, width=16), channels=1,
                                                   kernel=(8, 8), padding=(3, 3)))
    with pytest.raises(InputError, match=r"^synapses: sum-pool, give one sum-pool of the product"):
        SumPool(inputs=MAP, size=2, synapses=SumPool(inputs=Map(height=3, width=4, channels=2), size=1,
                                                     synapses=behind))
    preset = PRESETS["digits-stdp"].spec
    with pytest.raises(InputError, match=r"^layers\[0\]: rule: stdp teaches dense synapses only, these are conv"):
        replace(preset, layers=(replace(preset.layers[0], rule=PairStdp(), synapses=Conv(
            inputs=Map(height=8, width=8), channels=3, kernel=(2, 2))),))
    with pytest.raises(InputError, match=r"^rate_offset: 9 is out of bounds, must be -8\.\.8"):
        DesireBackpropagation(rate_offset=9)


# -- contract -----------------------------------------------------------------------------------


@given(networks(largest=8))
@settings(max_examples=30)
def test_json_round_trip(spec: NetworkSpec) -> None:
    data = json.loads(json.dumps(spec.to_json()))
    again = NetworkSpec.from_json(data)
    assert again == spec
    assert again.digest() == spec.digest()


@pytest.mark.parametrize(("fields", "message"), [
    ({"kernel": [3]}, r"kernel: \(3,\) is not a pair of integers"),
    ({"kernel": 3}, r"kernel: expected a list, got int"),
    ({"kernel": [3, "a"]}, r"kernel \(width\): 'a' is not an integer"),
    ({"inputs": 3}, r"inputs: expected a JSON object, got int"),
    ({"inputs": {"height": 8}}, r"inputs: a field is missing, one of channels, width"),
    ({"inputs": {"height": 8, "width": 0}}, r"inputs\.width: 0 is out of bounds"),
    ({"pooling": 2}, r"unknown field 'pooling'"),
])
def test_bad_json_is_named(fields: dict[str, Any], message: str) -> None:
    data = PRESETS["conv-digits"].spec.to_json()
    data["layers"][0]["synapses"].update(fields)
    with pytest.raises(InputError, match=rf"^spec\.layers\[0\]\.synapses[:.] ?{message}"):
        NetworkSpec.from_json(data)


@pytest.mark.parametrize("depth", [1, 2, 900])
def test_nested_json_is_refused(depth: int) -> None:
    data = PRESETS["conv-digits"].spec.to_json()
    synapses = data["layers"][1]["synapses"]
    for _ in range(depth):
        synapses = {"kind": "sum-pool", "inputs": {"height": 1, "width": 1, "channels": 432}, "size": 1,
                    "synapses": synapses}
    data["layers"][1]["synapses"] = synapses
    with pytest.raises(InputError, match=r"^spec.*(sum-pool, give one|nested too deeply)"):
        NetworkSpec.from_json(data)


def test_presets_have_as_many_weights_as_they_say() -> None:
    assert PRESETS["conv-small"].spec.parameters == 20_688
    assert PRESETS["conv-mnist"].spec.parameters == 28_248
    for name in ("conv-digits", "conv-small", "conv-mnist", "local-mnist"):
        PRESETS[name].require_rates()
        for choice in ({"hidden": 4}, {"rule": NamedRule.PAPER}, {"steps": 10}):
            with pytest.raises(InputError, match=r"^[a-z ]+: .*layers .* not all dense and alike, so this cannot be"):
                PRESETS[name].varied(**choice)  # type: ignore[arg-type]


def test_weights_of_another_width_reach_as_far() -> None:
    conv = PRESETS["conv-mnist"]
    narrow = conv.varied(weight_bits=8)
    assert [layer.formats for layer in narrow.spec.layers] == [Formats(weight_bits=8, weight_fraction=6)] * 3
    assert [(layer.neuron, layer.synapses, layer.rule) for layer in narrow.spec.layers] == [
        (Lif(threshold=64), layer.synapses, layer.rule) for layer in conv.spec.layers]
    assert narrow.training.rate_shift == conv.training.rate_shift - 1
    narrow.require_rates()
    assert conv.varied(weight_bits=16) == conv
    coarse = conv.varied(weight_bits=8, rounding=Rounding.HALF_UP)
    assert {layer.rule.rounding for layer in coarse.spec.layers} == {Rounding.HALF_UP}
    assert coarse.training.rate_shift == conv.training.rate_shift - 2
    with pytest.raises(InputError, match="weight_bits: 25 is out of bounds"):
        conv.varied(weight_bits=25)


def test_weights_from_0_to_1_need_a_bit_less() -> None:
    narrow = PRESETS["digits-stdp"].varied(weight_bits=5)
    formats = narrow.spec.layers[0].formats
    assert (formats.weight_bits, formats.weight_fraction) == (5, 4)
    for name, bits in (("digits-stdp", 4), ("digits", 5), ("conv-digits", 5)):
        with pytest.raises(InputError, match="out of bounds"):
            PRESETS[name].varied(weight_bits=bits)


@pytest.mark.parametrize("bits", [8, 12, 20])
def test_structured_and_flat_networks_narrow_alike(bits: int) -> None:
    """Thresholds behind dropped neurons too: a rate offset, and nothing else, keeps a network from being flat."""
    flat = flat_network(sizes=(9, 8, 7, 4), dropout=37)

    def offset(spec: NetworkSpec) -> NetworkSpec:
        first, *others = spec.layers
        return replace(spec, layers=(replace(first, rule=replace(first.rule, rate_offset=1)), *others))

    preset = replace(PRESETS["digits"], spec=flat)
    structured = replace(preset, spec=offset(flat)).varied(weight_bits=bits)
    assert structured.spec == offset(preset.varied(weight_bits=bits).spec)
    assert structured.training == preset.varied(weight_bits=bits).training


def test_a_rate_offset_moves_the_range_of_rates() -> None:
    plain = flat_network(sizes=(4, 3, 2))
    low, high = plain.rate_shift_range

    def with_offsets(*offsets: int) -> NetworkSpec:
        return replace(plain, layers=tuple(replace(each, rule=replace(each.rule, rate_offset=offset))
                                           for each, offset in zip(plain.layers, offsets, strict=True)))

    faster = with_offsets(-2, 1)
    assert faster.rate_shift_range == (low + 2, high - 1)
    assert [at.update_shift(low + 3) for at in faster.placed] == [1, 4]
    assert faster.to_json()["format"] == 2
    assert NetworkSpec.from_json(faster.to_json()) == faster
    assert faster.digest() != plain.digest()
    assert with_offsets(0, 0).digest() == plain.digest()


# -- definition ---------------------------------------------------------------------------------


@given(any_synapses(), st.integers(0, 1000))
@settings(max_examples=60)
def test_currents_and_sums_back(synapses: Synapses, seed: int) -> None:
    random, columns = np.random.default_rng(seed), synapses.weight_shape[1]
    formats, rule = Formats(), DesireBackpropagation()
    spec = NetworkSpec(input=Pixels(count=synapses.n_in), readout=SpikeCounts(), steps=5, layers=(
        Layer(synapses=synapses, neuron=Lif(threshold=formats.one), rule=rule, formats=formats),))
    weights = random.integers(formats.weight_min, formats.weight_max + 1, synapses.weight_shape, dtype=np.int32)
    spikes = random.random((2, 5, synapses.n_in)) < 0.5
    values = random.integers(-1024, 1024, synapses.n_out) * (random.random(synapses.n_out) < 0.5)
    current, back = np.zeros((2, 5, synapses.n_out), dtype=np.int64), np.zeros(synapses.n_in, dtype=np.int64)
    for source, position, row in reference.all_connections(synapses):
        reached = slice(position * columns, (position + 1) * columns)
        current[..., reached] += spikes[..., source, None] * weights[row].astype(np.int64)
        back[source] += weights[row].astype(np.int64) @ values[reached]
    assert (synapses_model(synapses).current(spec.at(0), spikes, weights) == current).all()
    assert (passed_back(synapses, weights, values) == back).all()


@given(networks(largest=5), st.integers(0, 1000))
@settings(max_examples=40)
def test_learning_is_that_of_plain_loops(spec: NetworkSpec, seed: int) -> None:
    images, network = random_images(3, spec.inputs, seed), start(spec)
    weights = [matrix.tolist() for matrix in network.weights]
    draws, rate_shift = DrawGenerator(spec), spec.rate_shift_range[0]
    for index, image in enumerate(images):
        drawn, train = draws.draw(), network.encode(image)
        record = learn(network, image, index, rate_shift=rate_shift, **drawn._asdict())
        kept = [[True] * at.n_out if mask is None else mask.tolist()
                for at, mask in zip(spec.placed, drawn.kept, strict=True)]
        states = reference.learn(spec, weights, train.astype(int).tolist(), index, rate_shift=rate_shift, kept=kept,
                                 rounding=drawn.rounding or [None] * len(spec.layers))
        for layer, (expected, got) in enumerate(zip(states, record.forward.layers, strict=True)):
            assert got.membrane.tolist() == expected.membrane, f"image {index}, layer {layer}"
            assert got.spikes.astype(int).tolist() == expected.spikes, f"image {index}, layer {layer}"
        for layer, (wanted, matrix) in enumerate(zip(weights, network.weights, strict=True)):
            assert matrix.tolist() == wanted, f"image {index}, layer {layer}"


def test_words_of_positions() -> None:
    state, sources, positions = 0x8000_0001, np.array([0, 5, 65_535]), np.array([0, 1, 65_535])
    words = rounding_words(state, sources[:, None], positions)
    assert words.tolist() == [[reference.xorshift32(state ^ source ^ (position << 16))
                               for position in positions.tolist()] for source in sources.tolist()]
    assert words[:, 0].tolist() == rounding_words(state, sources).tolist()  # dense synapses have one position
    assert len(np.unique(rounding_words(state, np.arange(300)[:, None], np.arange(300)))) == 90_000


# -- twin ---------------------------------------------------------------------------------------


@given(networks(largest=8), st.integers(0, 1000))
@settings(max_examples=100)
def test_engines_are_equal(spec: NetworkSpec, seed: int) -> None:
    images, labels = random_images(12, spec.inputs, seed), (np.arange(12) % CLASSES).astype(np.uint8)
    results = []
    for engine in Engine:
        runner = Runner(network=start(spec), engine=engine)
        parts = [runner.learn(images, labels, rate_shift=spec.rate_shift_range[0]), runner.infer(images)]
        results.append((runner, Outcome.joined(parts)))
    assert first_difference(*results) == ""


@pytest.mark.parametrize("rounding", Rounding)
def test_engines_are_equal_where_every_layer_learns(rounding: Rounding) -> None:
    spec = PRESETS["conv-digits"].spec
    spec = replace(spec, layers=tuple(replace(each, rule=replace(each.rule, rounding=rounding))
                                      for each in spec.layers))
    images, labels = random_images(12, 64, 1), (np.arange(12) % 10).astype(np.uint8)
    results = []
    for engine in Engine:
        runner = Runner(network=start(spec), engine=engine)
        results.append((runner, runner.learn(images, labels, rate_shift=spec.rate_shift_range[0])))
    assert first_difference(*results) == ""
    assert results[0][1].learned.all()
    assert all((before != after).any() for before, after in zip(
        start(spec).weights, results[0][0].network.weights, strict=True))


def test_a_shared_weight_changes_at_every_position() -> None:
    """Four positions see the same spike train and want the same: one weight takes four steps."""
    conv = Conv(inputs=Map(height=2, width=2), channels=1, kernel=(1, 1))
    formats = Formats()
    rule = DesireBackpropagation(hidden_threshold=1)
    spec = NetworkSpec(input=Pixels(count=4), readout=SpikeCounts(), layers=tuple(
        Layer(synapses=synapses, neuron=Lif(threshold=formats.one), rule=rule, formats=formats)
        for synapses in (conv, Dense(inputs=4, outputs=1))))
    changes = []
    for lit in (1, 4):
        image = np.array([255] * lit + [0] * (4 - lit), dtype=np.uint8)
        network = Network(spec=spec, weights=[np.array([[formats.one // 2]]), np.full((4, 1), 100)])
        learn(network, image, 0, rate_shift=10)
        changes.append(int(network.weights[0][0, 0]) - formats.one // 2)
    assert changes[1] == 4 * changes[0] > 0


@pytest.mark.regress
def test_real_numbers_learn_too() -> None:
    spec = PRESETS["conv-digits"].spec
    images, labels = random_images(10, spec.inputs, 1), np.arange(10).astype(np.uint8)
    network = FloatNetwork.initial(spec=spec, seed=1)
    before = [matrix.copy() for matrix in network.weights]
    outcome = Runner(network=network).learn(images, labels, rate_shift=12)
    assert outcome.learned.any()
    assert all((matrix != old).any() for matrix, old in zip(network.weights, before, strict=True))

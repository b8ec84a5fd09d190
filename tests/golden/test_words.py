"""Networks in words: what they say, that it can be said again, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import DATASETS, load_dataset
from lifstream.golden.study.model_files import Model
from lifstream.golden.study.presets import PRESETS, default_plan, preset_in_words
from lifstream.golden.study.words import in_words, network_from_words


def digits(words: str) -> NetworkSpec:
    return network_from_words(words, height=8, width=8, classes=10)


def synapses(words: str) -> list[Synapses]:
    return [layer.synapses for layer in network_from_words(words, height=8, width=6).layers]


def learning(synapses: Synapses, rate_offset: int = 0, hidden_threshold: int = 655,
             rise_limit: int | None = None) -> Layer:
    return Layer(synapses=synapses, neuron=Lif(threshold=1 << 14), formats=Formats(),
                 rule=DesireBackpropagation(rounding=Rounding.STOCHASTIC, rate_offset=rate_offset,
                                            hidden_threshold=hidden_threshold, rise_limit=rise_limit))


EDGES = Conv(inputs=Map(height=28, width=28), channels=16, kernel=(5, 5), stride=(2, 2), padding=(2, 2))
SHAPES = Conv(inputs=EDGES.outputs, channels=32, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
MANY_EDGES = replace(EDGES, channels=24)
MANY_SHAPES = Conv(inputs=MANY_EDGES.outputs, channels=48, kernel=(3, 3))
LOCAL_EDGES = Local(inputs=Map(height=28, width=28), channels=8, kernel=(7, 7), stride=(3, 3))
DIGITS_EDGES = Conv(inputs=Map(height=8, width=8), channels=12, kernel=(3, 3))


@pytest.mark.parametrize(("name", "words", "layers"), [
    ("conv-small", "conv 16 5x5/2 rate -2 desire 300 limit 18, conv 32 3x3/2 rate -2 desire 300 limit 18, dense 10",
     (learning(EDGES, -2, 300, 18), learning(SHAPES, -2, 300, 18), learning(Dense(inputs=1_568, outputs=10)))),
    ("conv-mnist", "conv 24 5x5/2 desire 300, conv 48 3x3 pad 0 rate -1 desire 300, pool 2, dense 10",
     (learning(MANY_EDGES, 0, 300), learning(MANY_SHAPES, -1, 300), learning(SumPool(
         inputs=MANY_SHAPES.outputs, size=2, synapses=Dense(inputs=1_728, outputs=10))))),
    ("local-mnist", "local 8 7x7/3 pad 0 rate -1, dense 10",
     (learning(LOCAL_EDGES, -1), learning(Dense(inputs=512, outputs=10)))),
    ("conv-digits", "conv 12 3x3 pad 0 rate +1, pool 2, dense 10",
     (learning(DIGITS_EDGES, 1), learning(SumPool(inputs=DIGITS_EDGES.outputs, size=2,
                                                  synapses=Dense(inputs=108, outputs=10)))))])
def test_presets_in_words(name: str, words: str, layers: tuple[Layer, ...]) -> None:
    preset = PRESETS[name]
    spec = NetworkSpec(input=Pixels(count=layers[0].n_in), layers=layers, readout=SpikeCounts())
    assert preset.spec == spec
    assert preset_in_words(words, dataset=preset.dataset).spec == spec
    assert in_words(spec) == words


@pytest.mark.parametrize(("name", "digest"), [
    ("conv-digits", "95acb494fcd59176"), ("conv-small", "d3aef0e704878a3e"), ("conv-mnist", "d9e3f41a0843f625"),
    ("local-mnist", "9b6c4d184b517b11"), ("events-mnist", "bfdfd28e55160c98")])
def test_digests_of_presets_stay(name: str, digest: str) -> None:
    assert PRESETS[name].spec.digest() == digest


def test_dense_layers_alone_are_a_flat_network() -> None:
    flat = with_rule(flat_network(sizes=(64, 32, 16, 10), rounding=Rounding.STOCHASTIC), NamedRule.GRADED)
    assert digits("dense 32, dense 16, dense 10") == flat
    assert digits("dense 32 dropout 20, dense 16 dropout 20, dense 10") == changed(flat, dropout=20)
    assert digits("dense 10") == changed(flat, sizes=(64, 10))
    assert changed(digits("dense 32, dense 10"), rounding=Rounding.HALF_UP) == PRESETS["digits"].spec


def test_what_words_say() -> None:
    image = Map(height=8, width=6)
    assert synapses("conv 3 5x3") == [Conv(inputs=image, channels=3, kernel=(5, 3), padding=(2, 1))]
    assert synapses("conv 3 5x3/2x1 pad 0x1") == [
        Conv(inputs=image, channels=3, kernel=(5, 3), stride=(2, 1), padding=(0, 1))]
    assert synapses("local 3 2x4/3 pad 1") == [
        Local(inputs=image, channels=3, kernel=(2, 4), stride=(3, 3), padding=(1, 1))]
    assert synapses("pool 2, conv 3 3x3") == [
        SumPool(inputs=image, size=2, synapses=Conv(inputs=Map(height=4, width=3), channels=3, kernel=(3, 3),
                                                    padding=(1, 1)))]
    assert synapses("  CONV 3  1x1 ,\tdense 2 ") == synapses("conv 3 1x1,dense 2")
    risen = digits("conv 2 3x3 desire 300/330, dense 20 desire 655/700, dense 10")
    assert [layer.rule.hidden_thresholds for layer in risen.layers] == [(300, 330), (655, 700), (655, 655)]
    assert in_words(risen) == "conv 2 3x3 desire 300/330, dense 20 desire 655/700, dense 10"
    limited = digits("conv 2 3x3 desire 300 limit 16, dense 20 limit 3, dense 10")
    assert [layer.rule.rise_limit for layer in limited.layers] == [16, 3, None]
    assert in_words(limited) == "conv 2 3x3 desire 300 limit 16, dense 20 limit 3, dense 10"
    first, second, last = digits("conv 2 3x3 rate 2 dropout 64 pad 0, pool 3, conv 4 1x1 rate -3 desire 20, dense 10"
                                 ).layers
    assert [getattr(layer.rule, "hidden_threshold", None) for layer in (first, second, last)] == [655, 20, 655]
    assert (first.rule.rate_offset, second.rule.rate_offset, last.rule.rate_offset) == (2, -3, 0)
    assert (first.neuron, second.neuron, last.neuron) == (
        Lif(threshold=16_384, dropout=64), Lif(threshold=16_384, training_threshold=12_288), Lif(threshold=16_384))


@pytest.mark.parametrize("size", [4, 5, 8, 9])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_an_odd_kernel_keeps_the_size_of_a_map(size: int, kernel: int) -> None:
    spec = network_from_words(f"conv 2 {kernel}x{kernel}, dense 3", height=size, width=size)
    assert spec.layers[0].n_out == 2 * size * size


@st.composite
def words(draw: st.DrawFn) -> str:
    """Layers that may or may not fit onto each other."""

    def pair(least: int, most: int, separator: str = "x") -> str:
        numbers = [draw(st.integers(least, most)) for _ in range(2)]
        return separator.join(map(str, numbers))

    said = []
    for kind in draw(st.lists(st.sampled_from(("conv", "local", "pool")), max_size=3)):
        said.append(f"pool {draw(st.integers(1, 2))}" if kind == "pool" else f"{kind} {draw(st.integers(1, 3))} "
                    + pair(1, 5) + draw(st.sampled_from(("", "/1", "/2", "/3x1", "/2x2")))
                    + draw(st.sampled_from(("", " pad 0", " pad 1", " pad 2x0"))))
    said += [f"dense {draw(st.integers(1, 9))}" for _ in range(draw(st.integers(0, 2)))]
    options = st.sampled_from(("", " rate +1", " rate -8", " rate 0", " dropout 9", " dropout 0 rate 3", " desire 7"))
    return ", ".join([layer if layer.startswith("pool") else layer + draw(options) for layer in said] + ["dense 4"])


@given(words(), st.integers(4, 12), st.integers(4, 12))
@settings(max_examples=300)
def test_what_was_said_can_be_said_again(said: str, height: int, width: int) -> None:
    try:
        spec = network_from_words(said, height=height, width=width)
    except InputError as error:
        assume(not str(error).startswith("layers: '"))  # it names the layer that does not fit, and nothing else ends so
        raise
    again = in_words(spec)
    assert again is not None
    assert network_from_words(again, height=height, width=width) == spec
    assert in_words(network_from_words(again, height=height, width=width)) == again


def test_what_words_leave_open_is_not_looked_at() -> None:
    small = PRESETS["conv-small"]
    assert in_words(small.varied(weight_bits=8).spec) == in_words(small.spec)
    assert in_words(PRESETS["paper-fashion"].spec) == "dense 1000 dropout 102, dense 100 dropout 102, dense 10"
    assert in_words(PRESETS["stdp-100"].spec) is None


@pytest.mark.parametrize(("said", "message"), [
    ("", "'': there is no layer; write one there"), ("conv 4 3x3,, dense 10", "'': there is no layer"),
    ("conv", "'conv': there are too few words; write it as in conv 16 5x5/2"), ("dense", "'dense': there are too few"),
    ("cnov 3 3x3, dense 10", "'cnov 3 3x3': 'cnov' is no layer; write one like: conv 16 5x5/2, local"),
    ("conv 4 3x3 conv 4 3x3, dense 10", "'conv 4 3x3 conv 4 3x3': a comma is missing before 'conv'"),
    ("pool 2 dense 10", "'pool 2 dense 10': a comma is missing before 'dense'"),
    ("conv 16 5y5, dense 10", "'conv 16 5y5': '5y5' is no kernel; write it as in 5x5, or with a stride 5x5/2"),
    ("conv 16 5, dense 10", "'conv 16 5': '5' is no kernel"), ("conv 16 5x5x5", "'conv 16 5x5x5': '5x5x5' is no kern"),
    ("conv 4 5x-5", "'conv 4 5x-5': '5x-5' is no kernel"), ("conv 4 ³x3", "'conv 4 ³x3': '³x3' is no kernel"),
    ("conv 16 5x5/, dense 10", "'conv 16 5x5/': '' is no stride; write it as in 5x5/2"),
    ("conv 16 5x5/2/2", "'conv 16 5x5/2/2': '2/2' is no stride"), ("conv 4 5x5 /2", "'conv 4 5x5 /2': '/2' cannot sta"),
    ("conv 4 5x5 pad", "'conv 4 5x5 pad': pad has no number; write it as in pad 2"),
    ("conv 4 5x5 pad two", "'conv 4 5x5 pad two': 'two' is no pad; write it as in pad 2 or pad 2x1"),
    ("conv 4 3x3 pad 1 pad 1", "'conv 4 3x3 pad 1 pad 1': pad is given twice; leave one out"),
    ("dense 20 pad 1, dense 10", "'dense 20 pad 1': 'pad' cannot stand behind dense; what can: rate -1, dropout 32"),
    ("pool 2 rate 1, dense 10", "'pool 2 rate 1': 'rate' cannot stand behind pool; what can: nothing"),
    ("conv 4 3x3 rate x", "'conv 4 3x3 rate x': 'x' is no rate; write a whole number, as in rate +1 or rate -1"),
    ("conv 4 3x3 rate +-1", "'conv 4 3x3 rate +-1': '-1' is no rate"),
    ("dense 20 dropout 10%, dense 10", "'dense 20 dropout 10%': '10%' is no dropout; write a whole number, as in"),
    ("dense 20 desire 3/x, dense 10", "'dense 20 desire 3/x': 'x' is no desire; write a whole number, as"),
    ("dense 20 desire 3/0, dense 10", "'dense 20 desire 3/0': rise_threshold: 0 is out of bounds"),
    ("dense 20 limit 21, dense 10", "'dense 20 limit 21': rise_limit: 21 is out of bounds, must be 1..20"),
    ("dense 20 limit many, dense 10", "'dense 20 limit many': 'many' is no limit; write a whole number, as in limit"),
    ("dense 20, dense 10 limit 3", "'dense 10 limit 3': the last layer has no limit; leave the word out"),
    ("dense ten", "'dense ten': 'ten' is no number of neurons; write a whole number, as in dense 10"),
    (f"dense {'9' * 400}", f"'dense {'9' * 400}': '{'9' * 400}' is no number"),
    ("conv a 3x3", "'conv a 3x3': 'a' is no number of channels"), ("pool x, dense 10", "'pool x': 'x' is no size"),
    ("conv 16 9x9 pad 0, dense 10", "'conv 16 9x9 pad 0': kernel (height): 9 is out of bounds, the padded map has 8"),
    ("conv 4 3x3 pad 3", "'conv 4 3x3 pad 3': padding (height): 3 is out of bounds, must be 0..2"),
    ("conv 4 3x3/0", "'conv 4 3x3/0': stride (height): 0 is out of bounds"), ("dense 0", "'dense 0': outputs: 0 is"),
    ("dense 20 dropout 200, dense 10", "'dense 20 dropout 200': dropout: 200 is out of bounds, must be 0..192"),
    ("dense 20 rate 9, dense 10", "'dense 20 rate 9': rate_offset: 9 is out of bounds, must be -8..8"),
    ("conv 65536 3x3, dense 10", "'conv 65536 3x3': channels: 65536 at 64 positions"),
    ("pool 3, dense 10", "'pool 3': 3 does not divide the map's height of 8"), ("pool 0, dense 10", "'pool 0': 0 does"),
    ("pool 2, pool 2, dense 10", "'pool 2': another pool is before it; give one of the product of their sizes"),
    ("conv 4 3x3, pool 2", "'pool 2': no layer is behind it; put one there, such as dense 10"),
    ("dense 64, conv 3 3x3", "'conv 3 3x3': a dense layer is before it, and leaves no map; put dense layers last"),
    ("dense 64, pool 2, dense 10", "'pool 2': a dense layer is before it"),
    ("dense 10 dropout 3", "'dense 10 dropout 3': the last layer has no dropout; leave the word out"),
    ("conv 4 3x3, dense 9", "'dense 9': the last layer has 9 neurons, the data set 10 classes; give it at least 10"),
    ("conv 1 8x8/8 pad 0", "'conv 1 8x8/8 pad 0': the last layer has 1 neurons, the data set 10 classes"),
    (", ".join(["dense 10"] * 9), "9 of them, must be 1..8")])
def test_words_that_are_none(said: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        digits(said)
    assert str(refused.value).startswith(f"layers: {message}")
    assert "\n" not in str(refused.value)


def test_a_preset_in_words() -> None:
    preset = preset_in_words("conv 12 3x3, pool 2, local 4 3x3/2, dense 10", dataset="digits")
    assert (preset.name, preset.dataset, preset.training) == ("conv12-local4-dense10", "digits", default_plan("digits"))
    preset.require_rates()
    for dataset in ("mnist", "fashion-mnist"):
        preset = preset_in_words("conv 16 5x5/2, dense 10", dataset=dataset)
        assert preset.spec.inputs == 784
        assert preset.training.shift == 0
        preset.require_rates()
    with pytest.raises(InputError, match="data set 'cifar' is unknown, neither a file"):
        preset_in_words("dense 10", dataset="cifar")


def test_the_longest_name_is_one_of_a_model() -> None:
    preset = preset_in_words(", ".join(["pool 1, local 1000 1x1/8"] * 7 + ["dense 256"]), dataset="digits")
    model = Model(network=Network.initial(spec=digits("dense 10"), seed=1), preset=preset.name, dataset="digits")
    assert model.preset == "-".join(["local1000"] * 7 + ["dense256"])


def test_a_model_without_a_plan_goes_on_with_that_of_its_network() -> None:
    network = Network.initial(spec=digits("conv 2 3x3, dense 10"), seed=1)
    model = Model(network=network, preset="conv2-dense10", dataset="digits")
    assert model.plan == default_plan("digits")
    assert replace(model, preset="conv-small").plan == PRESETS["conv-small"].training
    plan = {"epochs": 3, "rate_shift": 9, "rate_shift_end": 10}
    assert replace(model, training={"plan": plan}).plan.rate_shift_end == 10


def test_shapes_of_data_sets() -> None:
    dataset = load_dataset("digits")
    assert DATASETS["digits"][:3] == (dataset.height, dataset.width, int(dataset.train.labels.max()) + 1)

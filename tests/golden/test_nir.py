"""Imports of NIR: chains of layers against an interpreter of NIR's own equations, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.formats import Formats, Phase
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Comparison, CubaLif, Decay, Lif, Neuron, PerNeuron, Reset
from lifstream.golden.contract.readout import Potentials, SpikeCounts, Statistic
from lifstream.golden.contract.rules import Fixed
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Local, Map, SumPool, Synapses
from lifstream.golden.study import nir_export
from lifstream.golden.study.nir_export import graph_of, restored
from lifstream.golden.study.nir_graph import DEFAULT_DT, chain_of, read_graph, write_graph
from lifstream.golden.study.presets import PRESETS
from lifstream.golden.study.quantise import nearest_decay, quantised
from lifstream.golden.study.real_network import RealNetwork, responses, run
from tests.conftest import random_network
from tests.golden import nir_reference

nir = pytest.importorskip("nir")

PAPER = Path(os.environ.get("LIFSTREAM_NIR", Path(__file__).parents[3] / "shared" / "nir"))
"""Networks and traces published with the NIR paper (BSD-3); the project does not hold them."""
paper = pytest.mark.skipif(not PAPER.is_dir(), reason=f"the NIR paper's networks are not in {PAPER}; "
                                                      "name their folder in LIFSTREAM_NIR")


def graph(*nodes: Any, shape: tuple[int, ...] = (5,), back: tuple[str, Any] | None = None) -> Any:
    """A chain of nodes behind an input; ``back``: of which node, and through what, spikes return to it."""
    named: dict[str, Any] = {"input": nir.Input(np.array(shape)), **{f"n{index}": node for index, node in
                                                                     enumerate(nodes)}}
    named["output"] = nir.Output(np.array([1]))
    edges = list(zip(named, list(named)[1:], strict=False))
    if back is not None:
        name, through = back
        named["back"] = through
        edges += [(name, "back"), ("back", name)]
    return nir.NIRGraph(nodes=named, edges=edges, type_check=False)


RANDOM = np.random.default_rng(5)


def matrix(out: int, into: int, scale: float = 1.0) -> np.ndarray:
    return RANDOM.normal(0.3, 1, (out, into)) * scale


def affine(out: int, into: int) -> Any:
    return nir.Affine(weight=matrix(out, into), bias=RANDOM.normal(0, 0.1, out))


def lif(count: int | tuple[int, ...], *, tau: Any = 2e-3, leak: float = 0.0, r: float = 13.0) -> Any:
    ones = np.ones(count)
    return nir.LIF(tau=tau * ones, r=r * ones, v_leak=leak * ones, v_threshold=(leak + 1) * ones,
                   v_reset=(leak - 0.1) * ones)


def cuba(count: int, **changes: Any) -> Any:
    ones = np.ones(count)
    values = {"tau_syn": 5e-4, "tau_mem": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0,
              "w_in": 4.0, **changes}
    return nir.CubaLIF(**{name: value * ones for name, value in values.items()})


def leaky(count: int, leak: float = 0.0) -> Any:
    ones = np.ones(count)
    return nir.LI(tau=2e-3 * ones, r=13 * ones, v_leak=leak * ones)


def unlike(shape: Any) -> Any:
    """LIF of which no two are alike."""
    return nir.LIF(tau=RANDOM.uniform(5e-4, 4e-3, shape), r=RANDOM.uniform(8, 16, shape), v_leak=np.full(shape, 0.2),
                   v_threshold=RANDOM.uniform(0.8, 1.5, shape), v_reset=RANDOM.uniform(-0.3, 0.3, shape))


def unlike_slow(count: int) -> Any:
    """CubaLIF of which no two are alike."""
    return cuba(count, tau_syn=RANDOM.uniform(3e-4, 1e-3, count), tau_mem=RANDOM.uniform(5e-4, 4e-3, count),
                v_threshold=RANDOM.uniform(0.5, 2, count), v_reset=RANDOM.uniform(-0.3, 0.3, count))


def integrate(shape: Any) -> Any:
    ones = np.ones(shape)
    return nir.IF(r=ones, v_threshold=1.3 * ones, v_reset=0.0 * ones)


def conv(out: int, into: int, kernel: tuple[int, int], size: tuple[int, int], **changes: Any) -> Any:
    values: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **changes}
    weight = RANDOM.normal(0.1, 0.5, (out, into // values["groups"], *kernel))
    return nir.Conv2d(input_shape=size, weight=weight, bias=RANDOM.normal(0, 0.05, out), **values)


def pool(kind: Any, size: int) -> Any:
    return kind(kernel_size=np.array([size, size]), stride=np.array([size, size]), padding=np.array([0, 0]))


CASES: dict[str, Any] = {
    "affine, LIF": lambda: graph(affine(4, 5), lif(4)),
    "a resting potential that is not zero": lambda: graph(affine(4, 5), lif(4, leak=0.4)),
    "linear, CubaLIF, twice": lambda: graph(
        nir.Linear(weight=matrix(4, 5)), cuba(4), affine(3, 4), cuba(3, tau_syn=1e-3, w_in=2)),
    "IF behind scale and two matrices": lambda: graph(
        nir.Scale(scale=RANDOM.random(5)), affine(6, 5), nir.Linear(weight=matrix(4, 6)), integrate(4)),
    "scale behind a matrix; neurons behind neurons": lambda: graph(
        affine(4, 5), nir.Scale(scale=np.array([1.0, 2, 3, 0.5])), lif(4), nir.Scale(scale=2 * np.ones(4)),
        integrate(4)),
    "threshold": lambda: graph(affine(4, 5), nir.Threshold(threshold=np.array([0.5, 0.2, 1, 2]))),
    "thresholds that differ": lambda: graph(affine(3, 5), nir.IF(
        r=np.array([1.0, 2, 1]), v_threshold=np.array([1.0, 2, 0.5]), v_reset=np.zeros(3))),
    "neurons that differ in all": lambda: graph(
        affine(4, 5), unlike(4), nir.Linear(weight=matrix(3, 4)), unlike_slow(3)),
    "thresholds that differ, and between the places of a map": lambda: graph(
        conv(3, 2, (3, 2), (5, 4), padding=(1, 0)), nir.IF(
            r=RANDOM.uniform(0.5, 2, (3, 5, 3)), v_threshold=RANDOM.uniform(0.5, 2, (3, 5, 3)),
            v_reset=np.zeros((3, 5, 3))), shape=(2, 5, 4)),
    "a map of neurons that differ in all, pooled": lambda: graph(
        conv(3, 2, (3, 3), (8, 6), padding=1), unlike((3, 8, 6)), pool(nir.AvgPool2d, 2),
        nir.Flatten({"input": np.array([3, 4, 3])}, 0, -1), affine(5, 36), unlike_slow(5), shape=(2, 8, 6)),
    "recurrent, neurons that differ": lambda: graph(
        affine(4, 5), unlike_slow(4), affine(2, 4), integrate(2), back=("n1", nir.Linear(weight=matrix(4, 4)))),
    "recurrent": lambda: graph(affine(4, 5), cuba(4), affine(2, 4), integrate(2),
                               back=("n1", nir.Affine(weight=matrix(4, 4), bias=np.full(4, 0.05)))),
    "convolutions, pools, a matrix": lambda: graph(
        conv(3, 2, (3, 3), (8, 6), padding=1), integrate((3, 8, 6)), pool(nir.SumPool2d, 2),
        conv(4, 3, (2, 3), (4, 3), stride=(1, 1)), lif((4, 3, 1)), nir.Flatten({"input": np.array([4, 3, 1])}, 0, -1),
        affine(5, 12), lif(5), shape=(2, 8, 6)),
    "mean pool before a matrix, stride, dilation, groups": lambda: graph(
        conv(4, 2, (2, 2), (9, 9), stride=2, dilation=2, groups=2, padding=1), integrate((4, 5, 5)),
        conv(2, 4, (2, 2), (5, 5)), integrate((2, 4, 4)), pool(nir.AvgPool2d, 2),
        nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1), affine(3, 8), integrate(3), shape=(2, 9, 9)),
    "one dimension": lambda: graph(
        nir.Conv1d(input_shape=12, weight=RANDOM.normal(0.2, 0.5, (3, 2, 4)), bias=np.zeros(3), stride=2, padding=1,
                   dilation=1, groups=1), integrate((3, 6)), nir.Flatten({"input": np.array([3, 6])}, 0, -1),
        affine(4, 18), lif(4), shape=(2, 12)),
    "a map that ends as one place": lambda: graph(
        conv(3, 2, (3, 3), (3, 3)), nir.IF(r=np.ones((3, 1, 1)), v_threshold=np.ones((3, 1, 1)),
                                           v_reset=np.full((3, 1, 1), -3.0)), shape=(2, 3, 3)),
    "LI behind LIF": lambda: graph(affine(4, 5), lif(4), affine(3, 4), leaky(3)),
    "CubaLI": lambda: graph(affine(4, 5), integrate(4), affine(3, 4), nir.CubaLI(
        tau_syn=np.full(3, 5e-4), tau_mem=np.full(3, 1e-3), r=np.array([3.0, 2, 1]), v_leak=np.zeros(3),
        w_in=np.array([1.0, 4, 2]))),
    "an integrator": lambda: graph(affine(4, 5), lif(4), nir.I(r=np.array([1.0, 2, 0.5, 1]))),
    "the same size": lambda: graph(conv(2, 1, (3, 5), (4, 6), padding="same"), integrate((2, 4, 6)), shape=(1, 4, 6)),
}


def in_nir_order(real: RealNetwork, spikes: np.ndarray) -> np.ndarray:
    """Input spikes, (T, n) in our order, as NIR has them: (T, ...)."""
    size = real.map
    trains = np.moveaxis(spikes.reshape(len(spikes), size.height, size.width, size.channels), -1, 1)
    if size.height == size.width == 1:
        return trains[:, :, 0, 0].astype(float)
    return (trains[:, :, 0] if size.height == 1 else trains).astype(float)


def in_our_order(spikes: np.ndarray) -> np.ndarray:
    """A node's spikes, (T, ...) channel first, as our layers have them: (T, n)."""
    return np.moveaxis(spikes, 1, -1).reshape(len(spikes), -1) if spikes.ndim > 2 else spikes


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_chains_spike_as_nir_says(name: str, subtract: bool) -> None:
    made = CASES[name]()
    real = chain_of(made, reset=Reset.SUBTRACT if subtract else None)
    spikes = np.random.default_rng(1).random((2, 30, real.map.neurons)) < 0.25
    records = run(real.layers, spikes)
    for sample, trains in enumerate(spikes):
        wanted = nir_reference.run(made, in_nir_order(real, trains), dt=DEFAULT_DT, subtract=subtract)
        for layer, record in zip(real.layers, records, strict=True):
            expected = in_our_order(wanted[layer.name])
            if layer.comparison is Comparison.NEVER:
                assert np.allclose(record.membrane[sample], expected, rtol=1e-9, atol=1e-12), layer.name
            else:
                assert (record.spikes[sample] == expected).all(), layer.name
    assert any(record.spikes.any() for record in records)


def test_discrete_networks_tell_their_time_step() -> None:
    """r = tau / dt, as exporters of beta write it: then a decay is exactly 1 - dt / tau."""
    step = 5e-4
    made = graph(affine(3, 5), cuba(3, tau_mem=step / 0.1, r=1 / 0.1, tau_syn=step / 0.25, w_in=1 / 0.25))
    real = chain_of(made)
    layer, = real.layers
    assert layer.potential_decay == pytest.approx(0.9, abs=1e-12)
    assert layer.current_decay == pytest.approx(0.75, abs=1e-12)
    assert layer.weights[:5] == pytest.approx(np.asarray(made.nodes["n0"].weight).T)
    assert real.notes[0].startswith("time step 0.0005 s: every gain is a time constant")
    spikes = np.random.default_rng(2).random((40, 5)) < 0.3
    wanted = nir_reference.run(made, spikes.astype(float), dt=step, exact=False)["n1"]
    assert (run(real.layers, spikes[None])[0].spikes[0] == wanted).all()
    given_step = chain_of(made, dt=1e-3)
    assert given_step.notes[0] == "time step 0.001 s, as given"


@pytest.mark.parametrize(("statistic", "number"), [
    (None, lambda v: v.max(axis=0)), (Statistic.MAXIMUM, lambda v: v.max(axis=0)),
    (Statistic.MEAN, lambda v: v.sum(axis=0)), (Statistic.LAST, lambda v: v[-1])])
def test_potentials_are_read(statistic: Statistic | None, number: Any) -> None:
    """In the real network as NIR says; in the integers close to that, and the report says how close."""
    made = graph(affine(4, 5), lif(4), affine(3, 4), leaky(3))
    real = chain_of(made, statistic=statistic)
    told = Potentials(statistic=statistic or Statistic.MAXIMUM).response
    assert f"the answer is the {told} of each neuron of n3" in real.notes[-1]
    spikes = np.random.default_rng(3).random((6, 40, 5)) < 0.3
    result = quantised(real, spikes, weight_bits=20)
    assert result.network.spec.readout == Potentials(statistic=statistic or Statistic.MAXIMUM)
    at = result.network.spec.placed[-1]
    found = result.network.forward(spikes)
    for sample, trains in enumerate(spikes):
        wanted = number(nir_reference.run(made, trains.astype(float), dt=DEFAULT_DT)["n3"])
        assert responses(run(real.layers, spikes)[-1], real.statistic)[sample] == pytest.approx(wanted)
        exact = found.responses[sample] / (at.formats.one << at.neuron.guard_bits)
        assert np.abs(exact - wanted).max() <= result.layers[-1].potential_error + 1e-9
    assert result.layers[-1].potential_error < (0.5 if statistic is Statistic.MEAN else 0.02)
    assert result.layers[0].potential_error is None
    assert result.answers_changed == 0


def test_potentials_of_spiking_neurons_are_read_when_asked_for() -> None:
    made = graph(affine(4, 5), lif(4))
    spikes = np.random.default_rng(3).random((4, 40, 5)) < 0.3
    result = quantised(chain_of(made, statistic=Statistic.LAST), spikes)
    assert (result.network.forward(spikes).responses == result.network.forward(spikes).layers[-1].membrane[:, -1]).all()
    assert result.layers[-1].spikes > 0


def test_linear_nodes_at_the_end_are_summed() -> None:
    made = graph(affine(4, 5), lif(4), affine(3, 4))
    real = chain_of(made)
    assert real.notes[-2].startswith("node output: linear nodes are in front of it")
    assert "summed potential" in real.notes[-1]
    spikes = np.random.default_rng(4).random((1, 40, 5)) < 0.3
    wanted = nir_reference.run(made, spikes[0].astype(float), dt=DEFAULT_DT)["n1"] @ np.asarray(
        made.nodes["n2"].weight).T + np.asarray(made.nodes["n2"].bias)
    assert responses(run(real.layers, spikes)[-1], real.statistic)[0] == pytest.approx(wanted.sum(axis=0))


def test_subgraphs_are_taken_apart() -> None:
    inner = nir.NIRGraph(nodes={"input": nir.Input(np.array([5])), "w": affine(4, 5), "lif": lif(4),
                                "output": nir.Output(np.array([4]))},
                         edges=[("input", "w"), ("w", "lif"), ("lif", "output")], type_check=False)
    whole = nir.NIRGraph(nodes={"in": nir.Input(np.array([5])), "part": inner, "w": affine(2, 4), "if": integrate(2),
                                "out": nir.Output(np.array([2]))},
                         edges=[("in", "part"), ("part", "w"), ("w", "if"), ("if", "out")], type_check=False)
    assert [layer.name for layer in chain_of(whole).layers] == ["part.lif", "if"]


def test_a_missing_reset_is_zero_and_said() -> None:
    made = graph(affine(3, 5), integrate(3))
    made.nodes["n1"].v_reset = None
    assert "node n1 (IF): has no v_reset; taken as 0" in chain_of(made).notes


@pytest.mark.parametrize(("made", "message"), [
    (lambda: graph(affine(4, 5), leaky(4), affine(3, 4), lif(3)),
     r"node n1 \(LI\): does not spike, and other neurons are behind it"),
    (lambda: graph(affine(4, 5), leaky(4), affine(3, 4)), r"node n1 \(LI\): does not spike, and other neurons"),
    (lambda: graph(affine(2, 5), nir.LI(tau=np.ones(2), r=np.ones(2), v_leak=np.array([0.0, 0.1]))),
     r"node n1 \(LI\): resting potentials, v_leak, differ between neurons \(0 to 0.1\)"),
    (lambda: graph(conv(2, 1, (2, 2), (3, 3)), leaky(1), shape=(1, 3, 3)),
     "node n1: its potentials are read, and it is a map; flatten it"),
    (lambda: graph(), "graph: no neurons between input and output"),
    (lambda: graph(nir.Delay(delay=np.ones(5)), integrate(5)), r"node n0 \(Delay\): is not supported; what is: Affine"),
    (lambda: graph(affine(4, 6), lif(4)), r"node n0 \(Affine\): takes 6 inputs, 5 are before it"),
    (lambda: graph(affine(4, 5), lif(3)), r"node n1 \(LIF\): parameters of 3 neurons, its input has 4"),
    (lambda: graph(affine(2, 5), nir.IF(r=np.ones(2), v_threshold=np.array([1.0, 0]))),
     r"node n1 \(IF\): a threshold is 0 above"),
    (lambda: graph(conv(2, 1, (2, 2), (3, 3)), nir.IF(r=np.ones((2, 2, 2)), v_threshold=np.geomspace(
        1, 1e9, 8).reshape(2, 2, 2)), shape=(1, 3, 3)),
     "threshold and resistance differ between the places of a channel, whose weights are shared, by more than a factor "
     "of 1,000"),
    (lambda: graph(conv(1, 1, (2, 2), (3, 3)), nir.IF(r=np.array([[[1.0, -1], [1, 1]]]), v_threshold=np.ones(
        (1, 2, 2))), shape=(1, 3, 3)), r"node n1 \(IF\): threshold and resistance differ between the places of a chan"),
    (lambda: graph(affine(2, 5), lif((2,), tau=np.array([1e-3, 0.0]))), r"node n1 \(LIF\): time constant 0 s, must be"),
    (lambda: graph(affine(2, 5), nir.IF(r=np.ones(2), v_threshold=np.ones(2), v_reset=np.array([0.3, 1.0]))),
     r"node n1 \(IF\): v_reset is 1 thresholds, must be -1000 or more, and below 1"),
    (lambda: graph(conv(2, 1, (2, 2), (3, 3)), affine(2, 8), lif(2), shape=(1, 3, 3)),
     r"node n1 \(Affine\): follows a convolution without neurons between"),
    (lambda: graph(conv(2, 1, (2, 2), (4, 4), padding="same"), integrate((2, 4, 4)), shape=(1, 4, 4)),
     r"node n0 \(Conv2d\): padding 'same' of a kernel of 2x2 is not the same on both sides"),
    (lambda: graph(pool(nir.SumPool2d, 3), integrate((1, 1, 1)), shape=(1, 4, 4)),
     r"node n0 \(SumPool2d\): 3 does not divide the map of 4x4x1"),
    (lambda: graph(affine(2, 5), lif(2), shape=(1, 1, 1, 5)), "node input: the shape .* has 4 axes"),
    (lambda: graph(nir.Linear(weight=np.full((2, 5), np.nan)), integrate(2)),
     r"node n0 \(Linear\): weight holds a number that is not finite"),
    (lambda: graph(nir.Linear(weight=np.full((2, 5), 1j)), integrate(2)), "node n0 .*: weight holds no real numbers"),
    (lambda: graph(nir.Affine(weight=matrix(3, 5), bias=np.zeros(2)), integrate(3)), r"a bias of the shape \(2,\), "),
    (lambda: graph(conv(2, 1, (2, 2), (4, 4), dilation=0), integrate((2, 4, 4)), shape=(1, 4, 4)),
     "node n0 .*: dilation is 0, 0, must be whole numbers of 1"),
    (lambda: graph(conv(2, 1, (2, 2), (4, 4), stride=(1.5, 1)), integrate((2, 4, 4)), shape=(1, 4, 4)),
     "node n0 .*: stride is 1.5, 1, must be whole numbers"),
    (lambda: graph(conv(2, 1, (2, 2), (4, 4), dilation=100_000), integrate((2, 4, 4)), shape=(1, 4, 4)),
     "node n0 .*: dilation is 100000"),
    (lambda: graph(conv(5, 2, (1, 1), (4, 4), groups=2), integrate((5, 4, 4)), shape=(2, 4, 4)),
     r"node n0 .*: weights of the shape \(5, 1, 1, 1\) in 2 groups"),
    (lambda: graph(pool(nir.SumPool2d, 0), integrate((1, 1, 1)), shape=(1, 4, 4)), "node n0 .*: kernel_size is 0, 0"),
    (lambda: graph(affine(2, 5), lif(2), shape=(np.nan,)), "node input: the shape holds a number that is not finite"),
    (lambda: graph(affine(2, 5), lif(2), shape=(70_000,)), "node input: the shape is 70000, must be whole"),
    (lambda: graph(affine(2, 5), nir.LIF(tau=np.full(2, np.nan), r=np.ones(2), v_leak=np.zeros(2),
                                         v_threshold=np.ones(2))), "node n1: a time constant holds a number that is"),
    (lambda: graph(affine(2, 5), nir.IF(r=np.ones(2), v_threshold=np.ones(2), v_reset=np.full(2, -1e300))),
     "node n1 .*: v_reset is -1e\\+300 thresholds, must be -1000 or more")])
def test_what_cannot_be_done_is_named(made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chain_of(made())


def test_graphs_that_are_no_chains() -> None:
    nodes = {"a": nir.Input(np.array([5])), "w": affine(4, 5), "v": affine(4, 5), "lif": lif(4),
             "out": nir.Output(np.array([4]))}
    edges = [("a", "w"), ("a", "v"), ("w", "lif"), ("v", "lif"), ("lif", "out")]
    with pytest.raises(InputError, match=r"node a: 2 ways go on \(w, v\), exactly one is supported"):
        chain_of(nir.NIRGraph(nodes=nodes, edges=edges, type_check=False))
    over = {"a": nir.Input(np.array([4])), "w": affine(4, 4), "lif": lif(4), "v": affine(4, 4), "if": integrate(4),
            "out": nir.Output(np.array([4]))}
    loop = [("a", "w"), ("w", "lif"), ("lif", "v"), ("v", "if"), ("if", "w")]
    with pytest.raises(InputError, match=r"node w \(Affine\): a way leads back to it"):
        chain_of(nir.NIRGraph(nodes=over, edges=loop, type_check=False))
    with pytest.raises(InputError, match=r"node v \(Affine\): a way leads back to it without neurons"):
        chain_of(nir.NIRGraph(nodes=over, edges=[("a", "v"), ("v", "w"), ("w", "v")], type_check=False))
    del nodes["a"]
    with pytest.raises(InputError, match=r"graph: 0 inputs \(none\), exactly one is supported"):
        chain_of(nir.NIRGraph(nodes=nodes, edges=edges[3:], type_check=False))


def test_names_and_ends_that_clash() -> None:
    inner = nir.NIRGraph(nodes={"i": nir.Input(np.array([5])), "n": integrate(5), "o": nir.Output(np.array([5]))},
                         edges=[("i", "n"), ("n", "o")], type_check=False)
    ends = {"a": nir.Input(np.array([5])), "out": nir.Output(np.array([5]))}
    with pytest.raises(InputError, match=r"node s\.n: there are two of that name, one of them in a subgraph"):
        chain_of(nir.NIRGraph(nodes={**ends, "s": inner, "s.n": integrate(5)}, edges=[
            ("a", "s"), ("s", "s.n"), ("s.n", "out")], type_check=False))
    with pytest.raises(InputError, match=r"graph: 2 outputs \(out, more\), exactly one is supported"):
        chain_of(nir.NIRGraph(nodes={**ends, "n": integrate(5), "more": nir.Output(np.array([5]))},
                              edges=[("a", "n"), ("n", "out")], type_check=False))
    with pytest.raises(InputError, match="node a: an edge leads into the input"):
        chain_of(nir.NIRGraph(nodes={**ends, "n": integrate(5)}, edges=[("a", "n"), ("n", "out"), ("a", "a")],
                              type_check=False))
    straight = nir.NIRGraph(nodes={"i": nir.Input(np.array([5])), "o": nir.Output(np.array([5]))}, edges=[("i", "o")],
                            type_check=False)
    with pytest.raises(InputError, match="node s: leads straight from its input to its output"):
        chain_of(nir.NIRGraph(nodes={**ends, "s": straight, "n": integrate(5)},
                              edges=[("a", "s"), ("s", "n"), ("n", "out")], type_check=False))


@pytest.mark.parametrize("field", ["stride", "padding", "groups", "dilation"])
def test_an_edited_graph_is_not_taken_for_the_exported_one(field: str) -> None:
    made = graph_of(random_network(EXPORTED["a map, pooled, a matrix"], 1))
    assert restored(made) is not None
    setattr(made.nodes["conv_0"], field, (2, 2) if field != "groups" else 7)
    assert restored(made) is None


def test_files_that_hold_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    with pytest.raises(InputError, match=r"x\.nir: no such file"):
        read_graph(path)
    for content in (b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.nir: holds no NIR graph"):
            read_graph(path)


def test_neurons_that_differ_keep_their_numbers() -> None:
    """Time constants, thresholds and resets become arrays where they differ, and one number where they do not."""
    made = CASES["a map of neurons that differ in all, pooled"]()
    real = chain_of(made)
    spikes = np.random.default_rng(1).random((3, 30, real.map.neurons)) < 0.25
    result = quantised(real, spikes)
    network, layers = result.network, result.network.spec.layers
    assert network.spec.state_owners == {"weights": (0, 1), "thresholds": (0,), "decays": (0, 1),
                                         "current_decays": (1,), "reset_values": (0, 1)}
    kept = np.exp(-DEFAULT_DT / in_our_order(made.nodes["n1"].tau[None])[0])
    assert layers[0].neuron.potential_decay.shift == 16     # type: ignore[attr-defined]
    assert (network.state["decays"][0] == np.rint(kept * 2**16)).all()
    assert layers[1].neuron.threshold == layers[1].formats.one << layers[1].neuron.guard_bits   # type: ignore[attr-defined]
    low, high = network.state["decays"][0].min(), network.state["decays"][0].max()
    assert result.layers[0].potential_decay == f"{low}..{high} / 2**16"
    assert [cost.changed for cost in result.layers] == [0, 0]
    assert sum(cost.spikes for cost in result.layers) > 100
    assert NetworkSpec.from_json(network.spec.to_json()) == network.spec
    for layer, arrays in zip(layers, (network.layer_state(0), network.layer_state(1)), strict=True):
        assert isinstance(layer.neuron, CubaLif)
        for name, bounds in layer.neuron.parameters.items():
            assert (bounds.low, bounds.high) != (arrays[name].min(), arrays[name].max())    # a bit width, no more


@given(value=st.floats(0, 1))
def test_decays_are_near(value: float) -> None:
    kept = nearest_decay(value)
    assert abs(kept.numerator / 2**kept.shift - value) <= 2.0**-13


@settings(max_examples=20)
@given(bits=st.integers(2, 24), seed=st.integers(0, 99))
def test_formats_hold_what_they_say(bits: int, seed: int) -> None:
    made = graph(affine(4, 5), cuba(4), affine(3, 4), integrate(3))
    real = chain_of(made)
    result = quantised(real, np.random.default_rng(seed).random((3, 20, 5)) < 0.2, weight_bits=bits)
    for layer, cost, weights, at in zip(real.layers, result.layers, result.network.weights,
                                        result.network.spec.placed, strict=True):
        unit = 2.0**cost.weight_fraction
        held = np.abs(layer.weights * unit - np.clip(layer.weights * unit, at.formats.weight_min - 0.5,
                                                     at.formats.weight_max + 0.5)) == 0
        assert cost.saturated == (~held).sum()
        assert cost.largest_error <= 0.5 / unit + 1e-12
        assert np.abs(weights / unit - layer.weights)[held].max(initial=0) == pytest.approx(cost.largest_error)
    if bits >= 20:
        assert [cost.changed for cost in result.layers] == [0, 0]


# -- export ----------------------------------------------------------------------------------------


def fixed(synapses: Synapses, neuron: Neuron | None = None) -> Layer:
    return Layer(synapses=synapses, neuron=neuron or Lif(threshold=16_384), formats=Formats(), rule=Fixed())


def of_events(of: Map, *layers: Layer, read: Statistic | None = None) -> NetworkSpec:
    readout = SpikeCounts() if read is None else Potentials(statistic=read)
    return NetworkSpec(input=Events(map=of), layers=layers, readout=readout)


LEAKY = CubaLif(threshold=16_384 << 2, potential_decay=Decay(numerator=811, shift=10), guard_bits=2,
                current_decay=Decay(numerator=5, shift=3), comparison=Comparison.NEVER)
SLOW = CubaLif(threshold=20_000, potential_decay=Decay(numerator=811, shift=10), guard_bits=2,
               current_decay=Decay(numerator=5, shift=3), reset=Reset.VALUE, reset_value=-300)
UNLIKE = CubaLif(threshold=PerNeuron(low=9_000, high=70_000), guard_bits=2, reset=Reset.VALUE, reset_value=PerNeuron(
    low=-700, high=200), potential_decay=Decay(numerator=PerNeuron(low=500, high=1_023), shift=10))
IMAGE = Map(height=6, width=4, channels=2)
ROW = Map(height=1, width=1, channels=7)
EDGES = Conv(inputs=IMAGE, channels=3, kernel=(3, 2), padding=(1, 0), stride=(1, 1))
OWN = Local(inputs=IMAGE, channels=2, kernel=(3, 3))
EXPORTED: dict[str, NetworkSpec] = {
    "dense": flat_network(sizes=(9, 5, 3), dropout=30),
    "a map, pooled, a matrix": of_events(IMAGE, fixed(EDGES), fixed(SumPool(
        inputs=EDGES.outputs, size=3, synapses=Dense(inputs=6, outputs=4)))),
    "maps with biases": of_events(IMAGE, fixed(Augmented(synapses=EDGES, bias=True)), fixed(
        Augmented(synapses=Dense(inputs=EDGES.n_out, outputs=3), bias=True), CubaLif(threshold=9_000))),
    "recurrent, slow": of_events(Map(height=1, width=1, channels=7), fixed(
        Augmented(synapses=Dense(inputs=7, outputs=5), recurrent=True, bias=True), SLOW),
        fixed(Dense(inputs=5, outputs=2), CubaLif(threshold=500, potential_decay=Decay(numerator=0, shift=0)))),
    "weights of each place, some outside": of_events(IMAGE, fixed(SumPool(inputs=IMAGE, size=2, synapses=Local(
        inputs=Map(height=3, width=2, channels=2), channels=2, kernel=(3, 3), padding=(1, 1)))),
        fixed(Dense(inputs=12, outputs=3))),
    "leaky integrators": of_events(
        ROW, fixed(Dense(inputs=7, outputs=5), SLOW),
        fixed(Dense(inputs=5, outputs=3), replace(LEAKY, current_decay=None)), read=Statistic.MAXIMUM),
    "leaky integrators of a slow current": of_events(
        ROW, fixed(Dense(inputs=7, outputs=3), LEAKY), read=Statistic.MEAN),
    "integrators": of_events(ROW, fixed(Dense(inputs=7, outputs=3), CubaLif(
        threshold=16_384, comparison=Comparison.NEVER)), read=Statistic.LAST),
    "neurons that differ": of_events(IMAGE, fixed(EDGES, UNLIKE), fixed(
        Augmented(synapses=Dense(inputs=EDGES.n_out, outputs=5), recurrent=True), replace(UNLIKE, current_decay=Decay(
            numerator=PerNeuron(low=0, high=100), shift=7))), fixed(Dense(inputs=5, outputs=4), replace(
                UNLIKE, potential_decay=Decay(numerator=1, shift=0), threshold=500)), fixed(
                    Dense(inputs=4, outputs=3), CubaLif(threshold=PerNeuron(low=9_000, high=20_000)))),
    "weights of each place": of_events(IMAGE, fixed(OWN), fixed(Dense(inputs=OWN.n_out, outputs=3))),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_a_round_trip_loses_nothing(name: str, tmp_path: Path) -> None:
    network = random_network(EXPORTED[name], 4, scale=2.0)
    write_graph(tmp_path / "x.nir", graph_of(network))
    back = restored(read_graph(tmp_path / "x.nir"))
    assert back is not None
    assert (back.spec, back.digest()) == (network.spec, network.digest())
    assert all(matrix.flags.c_contiguous for matrix in back.weights)    # as the compiled kernels want them


@pytest.mark.parametrize("name", EXPORTED)
def test_others_read_the_same_network(name: str) -> None:
    """Without the metadata: weights, decays and spikes of what NIR can say."""
    network = random_network(EXPORTED[name], 4, scale=0.7)
    made = graph_of(network)
    real = chain_of(made, reset=Reset.SUBTRACT)
    for layer, at, weights in zip(real.layers, network.spec.placed, network.weights, strict=True):
        neuron, state = at.neuron, network.layer_state(at.index)
        wide = at.formats.one << neuron.guard_bits
        threshold = state.get("thresholds", neuron.threshold_in(Phase.INFERENCE)) / wide
        exact = nir_export._expanded(at.synapses, weights / at.formats.one) / threshold
        got = nir_export._expanded(layer.synapses, layer.weights) / layer.threshold
        assert np.allclose(got, exact, rtol=1e-9, atol=1e-12)
        if "decays" in state:
            assert isinstance(neuron, CubaLif)
            assert np.allclose(layer.potential_decay, state["decays"] / 2**neuron.potential_decay.shift)
            continue
        assert layer.potential_decay == pytest.approx(
            1 - 2.0**-neuron.leak_shift if isinstance(neuron, Lif) else
            neuron.potential_decay.numerator / 2**neuron.potential_decay.shift)  # type: ignore[attr-defined]


def test_weights_that_changed_elsewhere_are_taken_over_anew() -> None:
    network = random_network(EXPORTED["dense"], 4)
    made = graph_of(network)
    made.nodes["dense_0"].weight[0, 0] += 0.01
    assert restored(made) is None
    for damaged in ("{", "[" * 100_000, "[]", '{"format": 3}', 7):
        again = graph_of(network)
        assert restored(again) is not None
        again.metadata["lifstream"] = damaged
        assert restored(again) is None      # it is a graph like any
    assert restored(graph(affine(3, 5), integrate(3))) is None


def test_what_cannot_be_said() -> None:
    with pytest.raises(InputError, match=r"layers\[0\].neuron: competing-lif cannot be said in NIR"):
        graph_of(random_network(PRESETS["digits-stdp"].spec, 1))
    spec = of_events(IMAGE, fixed(OWN), fixed(Conv(inputs=OWN.outputs, channels=1, kernel=(1, 1))))
    with pytest.raises(InputError, match=r"layers\[1\].synapses: conv behind neurons that are no map in NIR"):
        graph_of(random_network(spec, 1))


# -- the paper's networks --------------------------------------------------------------------------


@paper
def test_the_paper_s_trace_is_exact_to_the_step() -> None:
    exact = np.loadtxt(PAPER / "lif_exact.csv", delimiter=",")
    spikes = (exact[:, 0] > 0)[None, :, None]
    real = chain_of(read_graph(PAPER / "lif_norse.nir"))
    wanted = np.flatnonzero(exact[:, 2]).tolist()
    assert wanted == [460, 510, 710, 760]
    assert np.flatnonzero(run(real.layers, spikes)[0].spikes).tolist() == wanted
    for bits in (8, 16):
        network = quantised(real, spikes, weight_bits=bits).network
        assert np.flatnonzero(network.forward(spikes).layers[0].spikes).tolist() == wanted


@paper
@pytest.mark.parametrize(("name", "structure"), [
    ("cnn_sinabs", "2312-4096-4096-512-256-10"), ("braille_noDelay_bias_zero", "12-38-7")])
def test_the_paper_s_networks_spike_as_nir_says(name: str, structure: str) -> None:
    made = read_graph(PAPER / f"{name}.nir")
    real = chain_of(made)
    spikes = np.random.default_rng(3).random((1, 12, real.map.neurons)) < 0.1
    result = quantised(real, spikes)
    assert result.network.spec.summary == structure
    discrete = name.startswith("braille")
    wanted = nir_reference.run(made, in_nir_order(real, spikes[0]), dt=1e-4, exact=not discrete)
    for layer, record in zip(real.layers, run(real.layers, spikes), strict=True):
        assert (record.spikes[0] == in_our_order(wanted[layer.name])).all(), layer.name
    assert any(isinstance(layer.synapses, SumPool if name == "cnn_sinabs" else Augmented) for layer in real.layers)

"""Whole cores: the emitted Verilog against the golden model, inferring and learning, for every geometry."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifstream.golden.datasets import Split
from lifstream.golden.draws import DrawGenerator
from lifstream.golden.learning import learn
from lifstream.golden.model import Model
from lifstream.golden.network import Network
from lifstream.golden.spec import InputError, NetworkSpec, Overflow, Rounding, Rule
from lifstream.hdl.emit import Emission, emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim import runner
from lifstream.sim.cosim import CosimResult, Segment, Stalls, cosimulate
from lifstream.sim.faults import Fault
from lifstream.sim.harness import write_harness
from lifstream.sim.runner import Simulator
from tests.conftest import random_images, random_network

pytestmark = pytest.mark.simulation

SPEC = NetworkSpec(sizes=(23, 13, 6, 5), steps=12, dropout=40)
RATE_SHIFT = 11


def split(pixels: int, classes: int) -> Split:
    """Twelve images, the first all black, the second all white, with every label."""
    images = np.concatenate([np.zeros((1, pixels), np.uint8), np.full((1, pixels), 255, np.uint8),
                             random_images(10, pixels, 3)])
    return Split(images=images, labels=(np.arange(12) % classes).astype(np.uint8))


def model(spec: NetworkSpec, scale: float = 2.2) -> Model:
    return Model(network=random_network(spec, 11, scale=scale), preset="test", dataset="none")


def cosim(spec: NetworkSpec, geometry: Geometry, *, training: bool = False, scale: float = 2.2,
          emission: Emission | None = None, **options: Any) -> CosimResult:
    """Classify all images; with ``training`` learn from them twice first."""
    emission = emission or emit_network(spec=spec, geometry=geometry)
    order = np.arange(12)
    segments = [Segment(split="test", order=order)]
    if training:
        segments = [Segment(split="test", order=order, rate_shift=RATE_SHIFT, check_every=5),
                    Segment(split="test", order=order[::-1], rate_shift=RATE_SHIFT + 1, check_every=100), *segments]
    return cosimulate(model(spec, scale), {"test": split(spec.inputs, spec.classes)}, segments,
                      verilog=emission.verilog, description=emission.description, **options)


def golden_digest(spec: NetworkSpec) -> str:
    """Digest of the weights after the training of :func:`cosim`, from the golden model alone."""
    network, masks = model(spec).network, DrawGenerator(spec)
    data = split(spec.inputs, spec.classes)
    for rate_shift, order in ((RATE_SHIFT, range(12)), (RATE_SHIFT + 1, reversed(range(12)))):
        for index in order:
            learn(network, data.images[index], int(data.labels[index]), rate_shift=rate_shift, **masks.draw()._asdict())
    return network.digest()


@pytest.mark.parametrize(("lanes", "window", "unroll"), [(1, 1, 1), (3, 2, 5), (5, 16, 2), (8, 4, 3), (13, 4, 8)])
def test_geometry_changes_nothing(lanes: int, window: int, unroll: int) -> None:
    geometry = Geometry(lanes=lanes, window=window, unroll=unroll)
    emission = emit_network(spec=SPEC, geometry=geometry)
    for stalls in Stalls:
        result = cosim(SPEC, geometry, training=True, stalls=stalls, seed=lanes, emission=emission)
        assert result.bit_exact, result.message
        assert result.images == 36
        assert result.digest == golden_digest(SPEC)


@pytest.mark.parametrize("rule", [Rule.PAPER, Rule.GRADED])
@pytest.mark.parametrize("hidden", [(), (9,), (7, 6), (5, 6, 4)])
def test_geometry_and_depth(hidden: tuple[int, ...], rule: Rule) -> None:
    spec = replace(SPEC, sizes=(23, *hidden, 3)).with_rule(rule)
    for lanes in (2, 9):
        result = cosim(spec, Geometry(lanes=lanes), training=True, stalls=Stalls.RANDOM)
        assert result.bit_exact, result.message
        assert result.digest == golden_digest(spec)


@pytest.mark.parametrize("spec", [
    replace(SPEC, sizes=(23, 9, 3), membrane_overflow=Overflow.WIDE, membrane_clamp=0),
    replace(SPEC, sizes=(23, 9, 3), weight_bits=8, weight_fraction=6, trace_fraction=5, leak_shift=3),
    replace(SPEC, sizes=(23, 9, 3), steps=5, desire_margin=0, dropout=0),
    replace(SPEC, sizes=(1, 1), steps=20, desire_margin=7),
    replace(SPEC, sizes=(1, 1), steps=2, desire_margin=0, dropout=0, weight_bits=5, weight_fraction=10,
            membrane_overflow=Overflow.WIDE, membrane_clamp=0),
    replace(SPEC, rounding=Rounding.STOCHASTIC),
    replace(SPEC, sizes=(23, 9, 3), weight_bits=6, weight_fraction=4, rounding=Rounding.STOCHASTIC, dropout=0),
    replace(SPEC, rounding=Rounding.STOCHASTIC).with_rule(Rule.PAPER),
], ids=["wide membrane", "narrow weights", "few steps", "one neuron", "membrane below the threshold",
        "stochastic rounding, dropout",
        "stochastic rounding, narrow weights", "stochastic rounding, paper's rule"])
def test_other_contracts(spec: NetworkSpec) -> None:
    for lanes in (9, 4):
        result = cosim(spec, Geometry(lanes=lanes), training=True, stalls=Stalls.RANDOM)
        assert result.bit_exact, result.message
        assert result.digest == golden_digest(spec)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    """Random shapes, weights up to their extremes, blank and saturated images, every label."""
    hidden = data.draw(st.lists(st.integers(1, 12), max_size=2))
    classes = data.draw(st.integers(1, 5))
    spec = NetworkSpec(sizes=(data.draw(st.integers(1, 20)), *hidden, classes), steps=data.draw(st.integers(5, 20)),
                       dropout=data.draw(st.sampled_from([0, 50])))
    spec = spec.with_rule(data.draw(st.sampled_from([Rule.PAPER, Rule.GRADED])))
    geometry = Geometry(lanes=data.draw(st.integers(1, 12)), window=data.draw(st.integers(1, 5)),
                        unroll=data.draw(st.integers(1, 4)))
    result = cosim(spec, geometry, training=True, scale=data.draw(st.sampled_from([0.5, 2.0, 50.0])),
                   stalls=data.draw(st.sampled_from(Stalls)), seed=data.draw(st.integers(1, 1000)))
    assert result.bit_exact, result.message


def test_batches_run_on_without_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifstream.sim.cosim._BATCH", 5)
    result = cosim(SPEC, Geometry(lanes=13), training=True)
    assert result.bit_exact, result.message
    assert [entry["images"] for entry in result.history] == [5, 10, 12, 17, 22, 24, 29, 34, 36]


def test_counters_add_up() -> None:
    result = cosim(SPEC, Geometry(lanes=13), training=True)
    counters = result.counters
    assert counters["images"] == 36
    assert counters["learned"] + counters["skipped"] == 24
    assert counters["learned"] > 0
    assert counters["update_cycles"] > 0
    assert counters["desire_cycles"] > 0
    assert counters["spec_digest"] == SPEC.digest()
    assert counters["rate_shift"] == RATE_SHIFT + 1


@pytest.mark.parametrize(("fault", "quantity"), [
    (Fault.WEIGHT, "membrane potential"), (Fault.INPUT_SPIKE, "spike"),
    (Fault.SPIKE, "spike"), (Fault.MEMBRANE, "membrane potential"), (Fault.COUNT, "spike count"),
    (Fault.PREDICTION, "prediction"), (Fault.DESIRE, "desire sign"), (Fault.UPDATE, "weight")])
def test_every_planted_fault_is_caught_and_named(fault: Fault, quantity: str) -> None:
    spec = replace(SPEC, dropout=0)  # a wrong weight shows in inference first
    for seed in range(1, 3):
        result = cosim(spec, Geometry(lanes=13), training=fault in (Fault.DESIRE, Fault.UPDATE), fault=fault, seed=seed)
        assert not result.bit_exact
        divergence = result.divergence
        assert divergence is not None
        assert divergence["quantity"] == quantity
        assert divergence["expected"] != divergence["got"]
        assert f"image {divergence['image']}" in result.message
        assert f"expected {divergence['expected']}, got {divergence['got']}" in result.message
        if fault is Fault.UPDATE:
            assert f"layer {divergence['layer']}, row {divergence['row']}, column {divergence['column']}" \
                in result.message


def test_a_wrong_pixel_is_caught() -> None:
    result = cosim(SPEC, Geometry(lanes=13), fault=Fault.PIXEL)
    assert not result.bit_exact
    assert "image 0" in result.message
    assert "encoder" in result.message


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_second_simulator_agrees() -> None:
    spec = replace(SPEC, sizes=(23, 7, 3))
    for stalls in (Stalls.NONE, Stalls.RANDOM):
        result = cosim(spec, Geometry(lanes=3), training=True, simulator=Simulator.ICARUS, stalls=stalls)
        assert result.bit_exact, result.message
    assert not cosim(spec, Geometry(lanes=3), simulator=Simulator.ICARUS, fault=Fault.WEIGHT).bit_exact


def test_waves_only_on_request(tmp_path: Path) -> None:
    result = cosim(NetworkSpec(sizes=(23, 3), steps=5), Geometry(lanes=3), waves=tmp_path / "waves.vcd",
                   folder=tmp_path / "run")
    assert result.bit_exact
    assert "layer_0" in (tmp_path / "waves.vcd").read_text()


def test_model_of_another_contract() -> None:
    emission = emit_network(spec=SPEC, geometry=Geometry(lanes=5))
    other = replace(SPEC, steps=13)
    stranger = Model(network=Network.initial(spec=other, seed=1), preset="test", dataset="none")
    with pytest.raises(InputError, match=f"{SPEC.digest()}, the model's {other.digest()}"):
        cosimulate(stranger, {}, [], verilog=emission.verilog, description=emission.description)


def test_no_images() -> None:
    emission = emit_network(spec=SPEC, geometry=Geometry(lanes=5))
    with pytest.raises(InputError, match="none to play"):
        cosimulate(model(SPEC), {}, [], verilog=emission.verilog, description=emission.description)


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.shutil, "which", lambda tool: None if tool == "g++" else f"/usr/bin/{tool}")
    with pytest.raises(InputError, match=r"g\+\+ not found.*apt-get install g\+\+"):
        runner.require_tools(Simulator.VERILATOR)


def test_failed_build_names_its_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.platformdirs, "user_cache_dir", lambda _: str(tmp_path))
    emission = emit_network(spec=NetworkSpec(sizes=(4, 2)), geometry=Geometry(lanes=2))
    harness = write_harness(emission.description, samples=1, stimulus_depth=8, capture_depth=8)
    with pytest.raises(InputError, match=r"could not build.*failed-.*\.log"):
        runner.build(verilog="module top; syntax error", harness=harness, description=emission.description)
    assert [path.suffix for path in (tmp_path / "builds").iterdir()] == [".log"]


def test_the_cases_tell_the_gate_of_deep_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    gated = golden_digest(SPEC)
    monkeypatch.setattr("lifstream.golden.desire.passes_back", lambda *_: None)
    assert golden_digest(SPEC) != gated

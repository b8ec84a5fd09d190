"""Whole networks: the emitted Verilog against the golden model, for every geometry and kind of stall."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.model import Model
from golden.network import Network
from golden.spec import InputError, NetworkSpec
from hdl.emit import Emission, emit_network
from hdl.geometry import Geometry
from sim import runner
from sim.cosim import CosimResult, Stalls, cosimulate
from sim.faults import Fault
from sim.harness import write_harness
from sim.runner import Simulator
from tests.conftest import random_images, random_network

pytestmark = pytest.mark.simulation

SPEC = NetworkSpec(sizes=(23, 13, 6, 5), steps=12)


def images() -> np.ndarray:
    return np.concatenate([np.zeros((1, 23), np.uint8), np.full((1, 23), 255, np.uint8), random_images(10, 23, 3)])


def cosim(spec: NetworkSpec, geometry: Geometry, *, scale: float = 2.2, **options: object) -> CosimResult:
    emission = emit_network(spec=spec, geometry=geometry)
    model = Model(network=random_network(spec, 11, scale=scale), preset="test", dataset="none")
    return cosimulate(model, images(), verilog=emission.verilog, description=emission.description,
                      **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("lanes", "window"), [(1, 1), (3, 2), (5, 16), (8, 4), (13, 4)])
def test_geometry_changes_nothing(lanes: int, window: int) -> None:
    expected = random_network(SPEC, 11, scale=2.2).forward(images()).prediction
    for stalls in Stalls:
        result = cosim(SPEC, Geometry(lanes=lanes, window=window), stalls=stalls, seed=lanes)
        assert result.bit_exact, result.message
        assert (result.predictions == expected).all()
        assert result.images == 12


@pytest.mark.parametrize("sizes", [(7, 3), (4, 9, 2), (5, 6, 5, 4, 3), (3, 1)])
def test_depth_and_shape(sizes: tuple[int, ...]) -> None:
    spec = replace(SPEC, sizes=(23, *sizes[1:]))
    result = cosim(spec, Geometry(lanes=4), stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message


def test_batches_run_on_without_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.cosim._BATCH", 5)
    result = cosim(SPEC, Geometry(lanes=13))
    assert result.bit_exact, result.message
    assert result.images == 12


@pytest.mark.parametrize(("fault", "quantity"), [
    (Fault.WEIGHT, "membrane potential"), (Fault.PIXEL, "spike"), (Fault.INPUT_SPIKE, "spike"),
    (Fault.SPIKE, "spike"), (Fault.MEMBRANE, "membrane potential"), (Fault.COUNT, "spike count"),
    (Fault.PREDICTION, "prediction")])
def test_every_planted_fault_is_caught_and_named(fault: Fault, quantity: str) -> None:
    for seed in range(1, 4):
        result = cosim(SPEC, Geometry(lanes=13), fault=fault, seed=seed)
        assert not result.bit_exact
        divergence = result.divergence
        assert divergence is not None
        assert divergence["quantity"] == quantity
        assert divergence["expected"] != divergence["got"]
        assert f"image {divergence['image']}" in result.message
        assert f"expected {divergence['expected']}, got {divergence['got']}" in result.message


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_second_simulator_agrees() -> None:
    for stalls in (Stalls.NONE, Stalls.RANDOM):
        result = cosim(SPEC, Geometry(lanes=5), simulator=Simulator.ICARUS, stalls=stalls)
        assert result.bit_exact, result.message
    assert not cosim(SPEC, Geometry(lanes=5), simulator=Simulator.ICARUS, fault=Fault.WEIGHT).bit_exact


def test_waves_only_on_request(tmp_path: Path) -> None:
    result = cosim(NetworkSpec(sizes=(23, 3), steps=5), Geometry(lanes=3), waves=tmp_path / "waves.vcd",
                   folder=tmp_path / "run")
    assert result.bit_exact
    assert "layer_0" in (tmp_path / "waves.vcd").read_text()


def test_model_of_another_contract() -> None:
    emission: Emission = emit_network(spec=SPEC, geometry=Geometry(lanes=5))
    other = replace(SPEC, steps=13)
    model = Model(network=Network.initial(spec=other, seed=1), preset="test", dataset="none")
    with pytest.raises(InputError, match=f"{SPEC.digest()}, the model's {other.digest()}"):
        cosimulate(model, images(), verilog=emission.verilog, description=emission.description)


def test_no_images() -> None:
    emission = emit_network(spec=SPEC, geometry=Geometry(lanes=5))
    model = Model(network=Network.initial(spec=SPEC, seed=1), preset="test", dataset="none")
    with pytest.raises(InputError, match="none to play"):
        cosimulate(model, images()[:0], verilog=emission.verilog, description=emission.description)


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.shutil, "which", lambda tool: None if tool == "g++" else f"/usr/bin/{tool}")
    with pytest.raises(InputError, match=r"g\+\+ not found.*apt-get install g\+\+"):
        runner.require_tools(Simulator.VERILATOR)


def test_failed_build_names_its_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.platformdirs, "user_cache_dir", lambda _: str(tmp_path))
    emission = emit_network(spec=NetworkSpec(sizes=(4, 2)), geometry=Geometry(lanes=2))
    harness = write_harness(emission.description, samples=1)
    with pytest.raises(InputError, match=r"could not build.*failed-.*\.log"):
        runner.build(verilog="module top; syntax error", harness=harness, description=emission.description)
    assert [path.suffix for path in (tmp_path / "builds").iterdir()] == [".log"]

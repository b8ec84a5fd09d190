"""Whole cores: the emitted Verilog against the golden model, inferring and learning, for every geometry."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywellen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Overflow, Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command
from lifstream.golden.contract.synapses import Conv, Dense, Map
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import decode_replies
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model, read_archive
from lifstream.hdl.emit import Emission, emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim import runner
from lifstream.sim.cosim import Continuation, CosimResult, Recording, Segment, Stalls, Surroundings, cosimulate
from lifstream.sim.faults import Fault
from lifstream.sim.harness import write_harness
from lifstream.sim.places import array_path, slice_of, weight_path
from lifstream.sim.runner import Simulator, WaveFormat
from tests.conftest import error_lines, quick, random_images, random_network
from tests.golden.test_stdp import plastic
from tests.sim.blocks import once
from tests.sim.test_plastic import start
from tests.sim.waveform import Waveform

pytestmark = pytest.mark.simulation

SPEC = flat_network(sizes=(23, 13, 6, 5), steps=12, dropout=40)
RATE_SHIFT = 11


def split(pixels: int, classes: int) -> Split:
    """Twelve images, the first all black, the second all white, with every label."""
    images = np.concatenate([np.zeros((1, pixels), np.uint8), np.full((1, pixels), 255, np.uint8),
                             random_images(10, pixels, 3)])
    return Split(images=images, labels=(np.arange(12) % classes).astype(np.uint8))


def model(spec: NetworkSpec, scale: float = 2.2) -> Model:
    network = random_network(spec, 11, scale=scale) if "thresholds" not in spec.learnt_state else start(spec)
    return Model(network=network, preset="test", dataset="none")


def cosim(spec: NetworkSpec, geometry: Geometry, *, training: bool = False, scale: float = 2.2,
          emission: Emission | None = None, stalls: Stalls = Stalls.NONE, seed: int = 1, fault: Fault | None = None,
          **options: Any) -> CosimResult:
    """Classify all images; with ``training`` learn from them twice first."""
    emission = emission or once(emit_network, spec=spec, geometry=geometry)
    order = np.arange(12)
    segments = [Segment(split="test", order=order)]
    if training:
        segments = [Segment(split="test", order=order, rate_shift=RATE_SHIFT, check_every=5),
                    Segment(split="test", order=order[::-1], rate_shift=RATE_SHIFT + 1, check_every=100), *segments]
    return cosimulate(model(spec, scale), {"test": split(spec.inputs, spec.classes)}, segments,
                      verilog=emission.verilog, description=emission.description,
                      surroundings=Surroundings(stalls=stalls, seed=seed, fault=fault), **options)


def golden_training(spec: NetworkSpec) -> tuple[Network, list[bool]]:
    """The network after the training of :func:`cosim`, and from which images it learnt: by the golden model alone."""
    network, masks = model(spec).network, DrawGenerator(spec)
    data = split(spec.inputs, spec.classes)
    learned = []
    for rate_shift, order in ((RATE_SHIFT, range(12)), (RATE_SHIFT + 1, reversed(range(12)))):
        for index in order:
            record = learn(network, data.images[index], int(data.labels[index]), rate_shift=rate_shift,
                           **masks.draw()._asdict())
            learned.append(bool(record.teaching))
    return network, learned


def golden_digest(spec: NetworkSpec) -> str:
    """Digest of the weights after the training of :func:`cosim`, from the golden model alone."""
    return golden_training(spec)[0].digest()


def check_counters(result: CosimResult, spec: NetworkSpec) -> None:
    """After the training of :func:`cosim` without stalls: the phases' clocks are all clocks that have passed, and
    images are counted as the golden model counts them."""
    # From clearing to the last byte of its answer it takes 2 clocks; the last counter is read 6 clocks before the last
    # byte of the answer to STATUS, and lags by one.
    phases = ("load", "forward", "desire", "update", "idle")
    passed = [entry["clocks"] + 2 - 6 - 1 for entry in result.history]
    assert [sum(entry[f"{phase}_cycles"] for phase in phases) for entry in result.history] == passed
    assert passed == sorted(set(passed))
    counters = result.counters
    assert all(counters[f"{phase}_cycles"] > 0 for phase in phases)
    _, learned = golden_training(spec)
    assert 0 < sum(learned) < len(learned)
    assert (counters["images"], counters["learned"], counters["skipped"]) == (
        36, sum(learned), len(learned) - sum(learned))
    for entry in result.history:
        assert entry["learned"] == sum(learned[:entry["images"]])
        assert entry["learned"] + entry["skipped"] == min(entry["images"], len(learned))
    assert counters["spec_digest"] == spec.digest()
    assert counters["rate_shift"] == RATE_SHIFT + 1


@pytest.mark.parametrize(("lanes", "pixels_per_clock", "unroll"), quick(
    [(1, 1, 1), (3, 2, 5), (5, 16, 2), (8, 4, 3), (13, 4, 8)], (8, 4, 3)))
def test_geometry_changes_nothing(lanes: int, pixels_per_clock: int, unroll: int) -> None:
    spec = changed(SPEC, output_threshold=3)  # one sample then has nothing to teach
    geometry = Geometry(lanes=lanes, pixels_per_clock=pixels_per_clock, unroll=unroll)
    emission = emit_network(spec=spec, geometry=geometry)
    for stalls in Stalls:
        result = cosim(spec, geometry, training=True, stalls=stalls, seed=lanes, emission=emission)
        assert result.bit_exact, result.message
        assert result.images == 36
        assert result.digest == golden_digest(spec)
        if stalls is Stalls.NONE:
            check_counters(result, spec)


@pytest.mark.parametrize(("hidden", "lanes", "unroll"), quick(
    [((11,), (3, 9), (1, 4)), ((5, 6, 4), (5, 1, 4, 2), (3, 1, 8, 2))], ((11,), (3, 9), (1, 4))))
def test_a_geometry_for_each_layer(hidden: tuple[int, ...], lanes: tuple[int, ...], unroll: tuple[int, ...]) -> None:
    spec = changed(SPEC, sizes=(23, *hidden, 3))
    result = cosim(spec, Geometry(lanes=lanes, unroll=unroll), training=True, stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message
    assert result.digest == golden_digest(spec)


@pytest.mark.parametrize(("hidden", "rule", "lanes"), quick(
    itertools.product([(), (9,), (7, 6), (5, 6, 4)], [NamedRule.PAPER, NamedRule.GRADED], [9, 2]),
    ((), NamedRule.PAPER, 9), ((9,), NamedRule.GRADED, 2)))
def test_geometry_and_depth(hidden: tuple[int, ...], rule: NamedRule, lanes: int) -> None:
    spec = with_rule(changed(SPEC, sizes=(23, *hidden, 3)), rule)
    result = cosim(spec, Geometry(lanes=lanes), training=True, stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message
    assert result.digest == golden_digest(spec)


OTHER_CONTRACTS = {
    "wide membrane": changed(SPEC, sizes=(23, 9, 3), membrane_overflow=Overflow.WIDE, membrane_clamp=0),
    "narrow weights": changed(SPEC, sizes=(23, 9, 3), weight_bits=8, weight_fraction=6, trace_fraction=5, leak_shift=3),
    "few steps": changed(SPEC, sizes=(23, 9, 3), steps=5, desire_margin=0, dropout=0),
    "one neuron": changed(SPEC, sizes=(1, 1), steps=20, desire_margin=7),
    "membrane below the threshold": changed(
        SPEC, sizes=(1, 1), steps=2, desire_margin=0, dropout=0, weight_bits=5, weight_fraction=10,
        membrane_overflow=Overflow.WIDE, membrane_clamp=0),
    "stochastic rounding, dropout": changed(SPEC, rounding=Rounding.STOCHASTIC),
    "stochastic rounding, narrow weights": changed(SPEC, sizes=(23, 9, 3), weight_bits=6, weight_fraction=4,
                                                   rounding=Rounding.STOCHASTIC, dropout=0),
    "stochastic rounding, paper's rule": with_rule(changed(SPEC, rounding=Rounding.STOCHASTIC), NamedRule.PAPER),
}


@pytest.mark.parametrize(("name", "lanes"), quick(
    itertools.product(OTHER_CONTRACTS, [4, 9]), ("membrane below the threshold", 4),
    ("stochastic rounding, narrow weights", 4)))
def test_other_contracts(name: str, lanes: int) -> None:
    spec = OTHER_CONTRACTS[name]
    result = cosim(spec, Geometry(lanes=lanes), training=True, stalls=Stalls.RANDOM)
    assert result.bit_exact, result.message
    assert result.digest == golden_digest(spec)


@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    check_random_network(data)


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_many_random_networks(data: st.DataObject) -> None:
    check_random_network(data)


def check_random_network(data: st.DataObject) -> None:
    """Random shapes, weights up to their extremes, blank and saturated images, every label."""
    hidden = data.draw(st.lists(st.integers(1, 12), max_size=2))
    classes = data.draw(st.integers(1, 5))
    spec = flat_network(sizes=(data.draw(st.integers(1, 20)), *hidden, classes), steps=data.draw(st.integers(5, 20)),
                       dropout=data.draw(st.sampled_from([0, 50])))
    spec = with_rule(spec, data.draw(st.sampled_from([NamedRule.PAPER, NamedRule.GRADED])))
    layers = [None] * len(spec.layers)
    geometry = Geometry(lanes=tuple(data.draw(st.integers(1, 12)) for _ in layers),
                        pixels_per_clock=data.draw(st.integers(1, 5)),
                        unroll=tuple(data.draw(st.integers(1, 4)) for _ in layers))
    result = cosim(spec, geometry, training=True, scale=data.draw(st.sampled_from([0.5, 2.0, 50.0])),
                   stalls=data.draw(st.sampled_from(Stalls)), seed=data.draw(st.integers(1, 1000)))
    assert result.bit_exact, result.message


def test_batches_run_on_without_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifstream.sim.cosim._BATCH", 5)
    result = cosim(SPEC, Geometry(lanes=13), training=True)
    assert result.bit_exact, result.message
    assert [entry["images"] for entry in result.history] == [5, 10, 12, 17, 22, 24, 29, 34, 36]


def with_maps(spec: NetworkSpec) -> NetworkSpec:
    """The network with a convolution of seven places for its first layer."""
    first, last = spec.layers
    maps = Conv(inputs=Map(height=1, width=7), channels=5, kernel=(1, 3), stride=(1, 2))
    return replace(spec, layers=(replace(first, synapses=maps), replace(last, synapses=Dense(
        inputs=maps.n_out, outputs=3))))


# Two groups and two folds in a layer, and memories so small that simulators record them.
TINY = flat_network(sizes=(7, 13, 3), steps=5, dropout=0, output_threshold=3)
TINY_COMPETING = changed(plastic((7, 13, 4)), steps=5)
TINY_MAPS = with_maps(TINY)
TINY_GEOMETRY = Geometry(lanes=9)


@pytest.fixture(scope="module")
def tiny() -> dict[NetworkSpec, Emission]:
    return {spec: once(emit_network, spec=spec, geometry=folding(spec)) for spec in (TINY, TINY_COMPETING, TINY_MAPS)}


def folding(spec: NetworkSpec) -> Geometry:
    """Of a tiny network; two groups in each, in one of them a lane that is padding."""
    return replace(TINY_GEOMETRY, neurons_per_unit=3) if spec is TINY_MAPS else TINY_GEOMETRY


def recorded(spec: NetworkSpec, emission: Emission, folder: Path, fault: Fault | None = None, seed: int = 1,
             ) -> tuple[CosimResult, Waveform]:
    """A run of :func:`cosim` and its waveform."""
    result = cosim(spec, folding(spec), training=True, emission=emission, fault=fault, seed=seed,
                   recording=Recording(waves=folder / "waves.vcd"))
    return result, Waveform(folder / "waves.vcd")


def signed(value: int, bits: int) -> int:
    return value - ((value >> (bits - 1)) << bits)


def transfers(waves: Waveform, payload: str) -> np.ndarray:
    """Whether each clock has a transfer on a stream, by the path of its payload."""
    valid, ready = (waves.each_clock(payload.replace("payload", part)) for part in ("valid", "ready"))
    return (valid & ready).astype(bool)


def shown(waves: Waveform, spec: NetworkSpec, description: dict[str, Any], divergence: dict[str, Any]) -> int:
    """What the waveform holds at the clock and on the path that a divergence names.

    That the clock is the one of this image, step and neuron is found out by counting what came before.
    """
    path, clock, image, step = (divergence[name] for name in ("path", "clock", "image", "step"))
    layer, neuron = (divergence[name] or 0 for name in ("layer", "neuron"))
    if divergence["quantity"] == "weight":
        return signed(waves.at(path, waves.clocks), spec.layers[0].formats.weight_bits)
    if divergence["quantity"] == "adaptive threshold":
        return waves.at(path, waves.clocks)
    assert divergence["time_ns"] == 10 * clock
    steps = image * spec.steps + (step or 0)    # that were over before this one
    if divergence["quantity"] == "membrane potential":
        membrane = description["membranes"][layer]
        slices = waves.each_clock(f"harness.dut.{membrane['valid']}")
        assert slices[clock]
        assert slices[:clock].sum() == steps * membrane["slices"] + slice_of(membrane, neuron)[1]
        assert waves.at(path, clock) == waves.at(path, clock + 0.9)
        return signed(waves.at(path, clock), membrane["width"])
    took, payloads = transfers(waves, path), waves.each_clock(path)
    assert took[clock]
    if divergence["quantity"] == "spike":
        tap = description["taps"][layer + 1]
        field = tap["fields"]["neuron"]
        kinds, neurons = payloads & 3, (payloads >> field["offset"]) & ((1 << field["width"]) - 1)
        markers = took & ((kinds == 1) | (kinds == 2))
        assert markers[clock]
        assert markers[:clock].sum() == steps
        assert markers[:divergence["first_clock"]].sum() == steps
        window = slice(divergence["first_clock"], clock)
        return int((took & (kinds == 0) & (neurons == neuron))[window].sum())
    if divergence["quantity"].startswith("desire"):
        tap = next(tap for tap in description["taps"] if tap["name"] == f"desires_{layer}")
        ends = transfers(waves, f"harness.dut.network.layer_{layer}.spikes__payload") & (
            waves.each_clock(f"harness.dut.network.layer_{layer}.spikes__payload") & 3 == 2)
        assert ends[:clock].sum() == image + 1
        active, negative = (payloads[clock] >> tap["fields"][name]["offset"] & 1 for name in ("active", "negative"))
        return int(active * (1 - 2 * negative))
    clocks = np.flatnonzero(took)
    answers = [reply for reply in decode_replies(payloads[clocks], clocks)
               if reply.command in (Command.INFER, Command.TRAIN)]
    place = 0 if divergence["quantity"] == "prediction" else 1 + neuron
    assert clock == answers[image].cycle - len(answers[image].payload) + 1 + place
    return signed(int(payloads[clock] & 0xFF), 8)


@pytest.mark.parametrize(("spec", "fault", "training", "naming"), [
    (TINY, Fault.UPDATE, False, "update: nothing is learnt in this run"),
    (TINY_MAPS, Fault.DESIRE, False, "desire: nothing is learnt in this run"),
    (TINY_COMPETING, Fault.DESIRE, True, "desire: the rule stdp has no desires"),
    (TINY, Fault.THRESHOLD, True, "threshold: this network has no adaptive thresholds"),
    (TINY, Fault.INHIBITION, True, "inhibition: this network has no lateral inhibition"),
    (TINY, Fault.LABEL, True, "label: no neurons are labelled in this run")])
def test_a_fault_that_falsifies_nothing_is_refused(spec: NetworkSpec, fault: Fault, training: bool, naming: str,
                                                   tiny: dict[NetworkSpec, Emission]) -> None:
    with pytest.raises(InputError, match=naming):
        cosim(spec, Geometry(lanes=4), training=training, emission=tiny[spec], fault=fault)


@pytest.mark.parametrize(("spec", "fault", "quantity"), [
    (TINY, Fault.WEIGHT, "membrane potential"), (TINY, Fault.PIXEL, "spike"), (TINY, Fault.INPUT_SPIKE, "spike"),
    (TINY, Fault.SPIKE, "spike"), (TINY, Fault.MEMBRANE, "membrane potential"), (TINY, Fault.COUNT, "spike count"),
    (TINY, Fault.PREDICTION, "prediction"), (TINY, Fault.DESIRE, "desire sign"), (TINY, Fault.UPDATE, "weight"),
    (TINY_COMPETING, Fault.SPIKE, "spike"), (TINY_COMPETING, Fault.COUNT, "spike count"),
    (TINY_COMPETING, Fault.UPDATE, "weight"), (TINY_COMPETING, Fault.THRESHOLD, "adaptive threshold"),
    (TINY_COMPETING, Fault.INHIBITION, "membrane potential"),
    (TINY_MAPS, Fault.WEIGHT, "membrane potential"), (TINY_MAPS, Fault.SPIKE, "spike"),
    (TINY_MAPS, Fault.MEMBRANE, "membrane potential"), (TINY_MAPS, Fault.DESIRE, "desire sign"),
    (TINY_MAPS, Fault.UPDATE, "weight")])
def test_every_planted_fault_is_named_and_found_in_the_waveform(
        spec: NetworkSpec, fault: Fault, quantity: str, tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    result, waves = recorded(spec, tiny[spec], tmp_path, fault, seed=3)
    assert not result.bit_exact
    divergence = result.divergence
    assert divergence is not None
    assert divergence["quantity"] == quantity
    assert divergence["expected"] != divergence["got"]
    assert (divergence["layer"] == -1) == (fault in (Fault.PIXEL, Fault.INPUT_SPIKE))
    assert result.message.startswith(f"image {divergence['image']}")
    assert f"expected {divergence['expected']}, got {divergence['got']} (" in result.message
    assert result.message.endswith(f"{divergence['path']})")
    if divergence["clock"] is not None:
        assert f"{divergence['clock']} at {divergence['time_ns']} ns, " in result.message
    if spec is TINY_MAPS and divergence["layer"] == 0 and fault is not Fault.UPDATE:
        position, channel = divmod(divergence["neuron"], 5)
        assert f"neuron {divergence['neuron']} (position {position}, channel {channel}): " in result.message
    if fault is Fault.UPDATE:
        row, column = divergence["row"], divergence["column"]
        patches = [*(layer.synapses.patch for layer in spec.layers), None]    # votes stand behind the last layer
        patch = patches[divergence["layer"]]
        named = f"row {row}, column {column}"
        if patch is not None:
            y, x, channel = divergence["tap"]
            assert (y * patch.width + x) * patch.channels + channel == row % patch.neurons
            named = f"tap {row} (y {y}, x {x}, input channel {channel}), channel {column}"
            if divergence["changed_in"] is not None:
                named += f", last changed at position {divergence['position']} in image {divergence['changed_in']}"
        assert f"layer {divergence['layer']}, {named}: weight" in result.message
    # These faults make the design and the golden model differ; the others only falsify what was captured.
    in_the_design = fault in (Fault.WEIGHT, Fault.PIXEL, Fault.INHIBITION)
    assert result.mismatches[0] == divergence
    assert 1 < len(result.mismatches) <= 10 if in_the_design else len(result.mismatches) == 1
    for found in result.mismatches:
        assert shown(waves, spec, tiny[spec].description, found) == found["got" if in_the_design else "expected"]


def test_a_wrong_label_has_no_place_in_the_waveform(tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """The host computes it, from spike counts that have been compared."""
    segment = Segment(split="test", order=np.arange(36) % 12, label=True)
    result = cosimulate(model(TINY_COMPETING), {"test": split(7, 4)}, [segment], verilog=tiny[TINY_COMPETING].verilog,
                        description=tiny[TINY_COMPETING].description, surroundings=Surroundings(fault=Fault.LABEL),
                        recording=Recording(waves=tmp_path / "w.vcd"))
    assert result.divergence is not None
    assert result.divergence["quantity"].startswith("vote for class")
    assert result.divergence["clock"] is result.divergence["path"] is None
    assert result.message.endswith(f"got {result.divergence['got']}")


@pytest.mark.parametrize("spec", [TINY, TINY_COMPETING], ids=["desires", "competing"])
def test_all_that_is_learnt_is_counted_and_stands_where_its_path_says(
        spec: NetworkSpec, tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    result, waves = recorded(spec, tiny[spec], tmp_path)
    assert result.bit_exact, result.message
    check_counters(result, spec)
    description, (network, _) = tiny[spec].description, golden_training(spec)
    for layer, matrix in enumerate(network.weights):
        for (row, column), weight in np.ndenumerate(matrix):
            path = weight_path(description, layer, row, column)
            assert signed(waves.at(path, waves.clocks), spec.layers[0].formats.weight_bits) == weight, path
    for layer, thresholds in enumerate(network.state.get("thresholds", [])):
        for neuron, threshold in enumerate(thresholds):
            assert waves.at(array_path(description, "adaptive threshold", layer, neuron), waves.clocks) == threshold


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("stalls", quick([Stalls.RANDOM, Stalls.NONE], Stalls.RANDOM))
def test_second_simulator_agrees(stalls: Stalls) -> None:
    spec = changed(SPEC, sizes=(23, 7, 3))
    result = cosim(spec, Geometry(lanes=3), training=True, simulator=Simulator.ICARUS, stalls=stalls)
    assert result.bit_exact, result.message
    assert not cosim(spec, Geometry(lanes=3), simulator=Simulator.ICARUS, fault=Fault.WEIGHT).bit_exact


@pytest.mark.parametrize(("simulator", "ending"), quick(
    itertools.product(Simulator, WaveFormat), (Simulator.VERILATOR, WaveFormat.FST),
    (Simulator.ICARUS, WaveFormat.VCD)))
def test_waves_are_of_the_format_their_name_says(simulator: Simulator, ending: WaveFormat, tmp_path: Path) -> None:
    try:
        runner.require_tools(simulator, ending)
    except InputError as missing:
        pytest.skip(str(missing))
    waves = tmp_path / f"waves.{ending}"
    result = cosim(flat_network(sizes=(23, 3), steps=5), Geometry(lanes=3), simulator=simulator,
                   recording=Recording(waves=waves, folder=tmp_path / "run"))
    assert result.bit_exact
    content = waves.read_bytes()
    if ending is WaveFormat.VCD:
        assert content.startswith(b"$")
        assert b"layer_0" in content
    else:  # its first block is the header: kind 0, 329 bytes
        assert content.startswith(b"\x00" + (329).to_bytes(8, "big"))
    assert list(tmp_path.glob("run/*.vcd")) == list(tmp_path.glob("run/*.fst")) == []
    there = {signal.full_name for signal in pywellen.Waveform(str(waves)).all_vars()}   # as Surfer reads it
    shown = {line.split()[1] for line in waves.with_suffix(".sucl").read_text().splitlines()
             if line.startswith("variable_add")}
    assert len(shown) > 30
    assert shown <= there


def test_waves_of_no_known_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"w\.lxt: a waveform's name ends in \.vcd or \.fst"):
        cosim(flat_network(sizes=(23, 3), steps=5), Geometry(lanes=3), recording=Recording(waves=tmp_path / "w.lxt"))


def test_missing_libraries_of_fst_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner._has_header("cstdio")
    assert not runner._has_header("no/such/header.h")
    monkeypatch.setattr(runner, "_has_header", lambda name: name != "lz4.h")
    with pytest.raises(InputError, match=r"^lz4\.h not found.*apt-get install liblz4-dev, or name a \.vcd file$"):
        runner.require_tools(Simulator.VERILATOR, WaveFormat.FST)
    runner.require_tools(Simulator.VERILATOR, WaveFormat.VCD)


def interrupt(folder: Path, *options: str, once: Callable[[Path], bool], group: bool = False,
              ) -> tuple[int, list[str]]:
    """Interrupt a co-simulation; returns its exit status and its last words.

    ``once`` says, of the folder for temporary files, when it is time; with ``group`` the signal goes to the processes
    that it has started too, as from a terminal. Nothing may be left in that folder, nor any process.
    """
    temporary = folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "lifstream", "cosim", "--preset", "digits", "--train", "--images", "300", "--lanes", "2",
         "--check-every", "5", "--test-images", "5", *options], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A test run in the background of a shell has been told to ignore interrupts, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])})

    def running() -> list[str]:
        """Processes that have this very folder for temporary files."""
        found = []
        for place in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"TMPDIR={temporary}\0".encode() in place.read_bytes():
                    found.append(place.parent.name)
        return found

    try:
        while process.poll() is None and not once(temporary):
            time.sleep(0.02)
        assert len(running()) > 1  # a tool is at work
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        for _ in range(100):  # those that make has started end a moment after it
            if not running():
                break
            time.sleep(0.1)
        assert running() == []
        assert list(temporary.iterdir()) == []
        return process.returncode, [line for line in error_lines(errors) if line]
    finally:
        process.kill()


@pytest.mark.parametrize("group", [True, False], ids=["terminal", "one process"])
@pytest.mark.parametrize("keeping", [True, False], ids=["checkpoint", "no checkpoint"])
def test_an_interrupt_leaves_nothing_behind_and_says_what_was_kept(group: bool, keeping: bool, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.npz"

    def playing(temporary: Path) -> bool:
        return checkpoint.exists() if keeping else any(
            path.stat().st_size for path in temporary.glob("lifstream-cosim-*/progress.jsonl"))

    status, lines = interrupt(tmp_path, *(["--checkpoint", "c.npz"] if keeping else []), once=playing, group=group)
    assert status == 130
    if not keeping:
        assert lines == ["lifstream: interrupted; nothing was kept"]
        return
    header, _ = read_archive(checkpoint)
    assert lines == [f"lifstream: interrupted; c.npz holds the run up to image {header['state']['played']}; "
                     "continue with the same command and --resume"]
    assert header["state"]["played"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.npz", "temporary"]


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    builds = tmp_path / "cache" / "lifstream" / "builds"
    status, lines = interrupt(tmp_path, "--checkpoint", "c.npz", once=lambda _: any(builds.glob(".*/*.cpp")))
    assert (status, lines) == (130, ["lifstream: interrupted; nothing was kept, c.npz is written when all weights have "
                                     "been compared"])
    assert list(builds.iterdir()) == []


def test_model_of_another_contract() -> None:
    emission = once(emit_network, spec=SPEC, geometry=Geometry(lanes=5))
    other = changed(SPEC, steps=13)
    stranger = Model(network=Network.initial(spec=other, seed=1), preset="test", dataset="none")
    with pytest.raises(InputError, match=f"{SPEC.digest()}, the model's {other.digest()}"):
        cosimulate(stranger, {}, [], verilog=emission.verilog, description=emission.description)


def test_a_checkpoint_of_other_images(tmp_path: Path) -> None:
    spec = flat_network(sizes=(23, 3), steps=5)
    emission = emit_network(spec=spec, geometry=Geometry(lanes=3))
    images = split(23, 3)

    def play(images: Split, *, resume: bool = False) -> CosimResult:
        return cosimulate(model(spec), {"test": images}, [Segment(split="test", order=np.arange(12), rate_shift=11)],
                          verilog=emission.verilog, description=emission.description,
                          continuation=Continuation(checkpoint=tmp_path / "c.npz", resume=resume))

    assert play(images).bit_exact
    assert play(images, resume=True).bit_exact
    for other in (replace(images, images=images.images[::-1]), replace(images, labels=images.labels[::-1])):
        with pytest.raises(InputError, match=r"c\.npz: belongs to another run"):
            play(other, resume=True)


def test_no_images() -> None:
    emission = once(emit_network, spec=SPEC, geometry=Geometry(lanes=5))
    with pytest.raises(InputError, match="none to play"):
        cosimulate(model(SPEC), {}, [], verilog=emission.verilog, description=emission.description)


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.shutil, "which", lambda tool: None if tool == "g++" else f"/usr/bin/{tool}")
    with pytest.raises(InputError, match=r"g\+\+ not found.*apt-get install g\+\+"):
        runner.require_tools(Simulator.VERILATOR)


def test_failed_build_names_its_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.platformdirs, "user_cache_dir", lambda _: str(tmp_path))
    emission = emit_network(spec=flat_network(sizes=(4, 2)), geometry=Geometry(lanes=2))
    harness = write_harness(emission.description, samples=1, stimulus_depth=8, capture_depth=8)
    with pytest.raises(InputError, match=r"could not build.*failed-.*\.log"):
        runner.build(verilog="module top; syntax error", harness=harness, description=emission.description)
    assert [path.suffix for path in (tmp_path / "builds").iterdir()] == [".log"]


def test_the_cases_tell_the_gate_of_deep_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    gated = golden_digest(SPEC)
    monkeypatch.setattr("lifstream.golden.model.rules.desire.passes_back", lambda *_: None)
    assert golden_digest(SPEC) != gated

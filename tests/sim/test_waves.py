"""View files beside a waveform, and the waveform that is recorded around a divergence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vcd.gtkw import GTKWFlag

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command
from lifstream.hardware import CosimBench
from lifstream.hdl.emit import Emission
from lifstream.sim import cosim as cosimulation
from lifstream.sim.cosim import CosimResult, Recording, Stalls, Window
from lifstream.sim.faults import Fault
from lifstream.sim.runner import Simulator
from lifstream.sim.views import groups, write_views
from tests.sim.test_cosim import TINY, TINY_COMPETING, TINY_MAPS, cosim, folding, recorded, signed
from tests.sim.test_cosim import tiny as tiny  # a fixture
from tests.sim.waveform import Waveform


def gtkwave_traces(text: str) -> dict[str, GTKWFlag]:
    """Signals of a save file, with bits, and how they are shown."""
    traces, flags = {}, GTKWFlag(0)
    for line in text.splitlines():
        if line.startswith("@"):
            flags = GTKWFlag(int(line[1:], 16))
        elif line.startswith("+{"):
            traces[line.rsplit(" ", 1)[1]] = flags
    return traces


def missing(waves: Waveform, views: Path) -> set[str]:
    """Signals of the two view files that the waveform does not have, or not as wide."""
    there = {path if bits == 1 else f"{path}[{bits - 1}:0]" for path, bits in waves.widths.items()}
    surfer = set(re.findall(r"^variable_add (\S+)$", views.with_suffix(".sucl").read_text(), re.MULTILINE))
    return (set(gtkwave_traces(views.with_suffix(".gtkw").read_text())) - there) | (surfer - set(waves.widths))


@pytest.mark.simulation
@pytest.mark.parametrize("spec", [TINY, TINY_COMPETING, TINY_MAPS], ids=["desires", "competing", "maps"])
def test_views_show_what_was_recorded(spec: NetworkSpec, tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """Every path is in the waveform, every kind of signal in the views, and every value that was seen has a name."""
    result, waves = recorded(spec, tiny[spec], tmp_path)
    assert result.bit_exact, result.message
    assert missing(waves, tmp_path / "waves.vcd") == set()
    shown = groups(tiny[spec].description)
    layers = [group for group in shown if group.title.startswith("layer")]
    assert len(layers) == len(spec.layers)
    for layer in layers:
        titles = {group.title.split(",")[0]: list(group.walk()) for group in layer.inner}
        assert all(titles.values())
        assert titles.keys() >= {"state machines", "spikes", "currents", "membrane potentials", "weight memory"}
        assert all(trace.signed for trace in titles["currents"])
    assert ("desires" in {group.title for group in layers[-1].inner}) == (spec is not TINY_COMPETING)
    named = [trace for group in shown for trace in group.walk() if trace.names]
    assert {"host", "encoder", "readout"} <= {group.title for group in shown}
    for trace in named:
        seen, names = set(waves.each_clock(trace.path).tolist()), dict(trace.names)
        if trace.path == "harness.dut.reader.command":
            assert {names.get(value) for value in seen} >= {"TRAIN", "INFER", "LOAD_WEIGHTS", "STATUS"}
            seen -= {0}     # at the start
        assert seen <= set(names), trace.path
    phases = [trace for trace in named if trace.path.endswith("layer_0.phase")]
    assert phases
    assert len(set(waves.each_clock(phases[0].path).tolist())) > 2
    flags = gtkwave_traces((tmp_path / "waves.gtkw").read_text())
    for trace in named:
        flag = flags[f"{trace.path}[{trace.width - 1}:0]"]
        assert flag & GTKWFlag.ftranslated
        lines = (tmp_path / "waves.names" / "gtkwave" / f"{trace.format_name}.txt").read_text().splitlines()
        assert [(int(line.split()[0], 16), line.split()[1]) for line in lines] == list(trace.names)
        lines = (tmp_path / "waves.names" / ".surfer" / "mnemonic" / f"{trace.format_name}.txt").read_text().split("\n")
        assert lines[:2] == [f"Name: {trace.format_name}", f"Bits: {trace.width}"]
        assert [tuple(line.split()) for line in lines[2:-1]] == [(hex(value), name) for value, name in trace.names]


@pytest.mark.simulation
def test_a_path_that_is_not_there_is_found(tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """The check can fail: another width, another name."""
    _, waves = recorded(TINY, tiny[TINY], tmp_path)
    description: dict[str, Any] = {**tiny[TINY].description}
    first, *others = description["groups"]
    spoilt = [{**first["currents"][0], "width": 99}, {**first["currents"][1], "path": "network.nowhere"}]
    write_views(tmp_path / "spoilt.vcd", {**description, "groups": [{**first, "currents": spoilt}, *others]})
    assert missing(waves, tmp_path / "spoilt.vcd") == {
        f"harness.dut.{first['currents'][0]['path']}[98:0]", "harness.dut.network.nowhere",
        f"harness.dut.network.nowhere[{first['currents'][1]['width'] - 1}:0]"}


def windowed(spec: NetworkSpec, emission: Emission, file: Path, **options: Any) -> tuple[CosimResult, Waveform]:
    """A run that diverges, and the waveform around that."""
    result = cosim(spec, folding(spec), emission=emission, recording=Recording(window=Window(file=file, clocks=100)),
                   **options)
    assert not result.bit_exact
    assert result.window is not None, result.message
    return result, Waveform(file)


def check_window(result: CosimResult, waves: Waveform) -> None:
    """It is where it should be, no longer than it should be, and named in the message."""
    window, divergence = result.window, result.divergence
    assert window is not None
    assert divergence is not None
    assert waves.begin == 10_000 * window.first_clock
    assert window.last_clock - 1 <= waves.clocks <= window.last_clock
    assert window.first_clock <= window.clock <= window.last_clock
    length = 100 + (0 if divergence["clock"] is None else divergence["clock"] - divergence["first_clock"])
    assert window.last_clock - window.first_clock == length
    assert window.time_ns == 10 * window.clock
    assert result.message.endswith(
        f"waveform of clocks {window.first_clock} to {window.last_clock} in {window.file}, of a replay of "
        f"{window.replayed}, there at clock {window.clock}, {window.time_ns} ns")
    views = Path(window.file)
    assert missing(waves, views) == set()
    assert f"cursor_set {1_000 * window.time_ns}\n" in views.with_suffix(".sucl").read_text()


@pytest.mark.simulation
def test_a_divergence_is_recorded_in_a_replay_of_its_image(tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """Not before the third image, alone: the golden model knows what had been learnt."""
    result, waves = windowed(TINY, tiny[TINY], tmp_path / "w.vcd", fault=Fault.WEIGHT, seed=7)
    check_window(result, waves)
    window, divergence = result.window, result.divergence
    assert window is not None
    assert divergence is not None
    assert divergence["image"] > 0
    assert window.replayed == f"image {divergence['image']}"
    assert window.clock < divergence["clock"]
    assert signed(waves.at(divergence["path"], window.clock), TINY.at(0).membrane_bits) == divergence["got"]


@pytest.mark.simulation
def test_what_does_not_come_again_alone_is_recorded_in_the_whole_run(
        tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """A fault in what was captured, at a place that depends on how many images there are."""
    result, waves = windowed(TINY, tiny[TINY], tmp_path / "w.vcd", fault=Fault.MEMBRANE, seed=3)
    check_window(result, waves)
    window, divergence = result.window, result.divergence
    assert window is not None
    assert divergence is not None
    assert window.replayed == "the run"
    assert window.clock == divergence["clock"]
    assert signed(waves.at(divergence["path"], window.clock), TINY.at(0).membrane_bits) == divergence["expected"]


@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.parametrize("spec", [TINY, TINY_COMPETING], ids=["desires", "competing"])
def test_what_is_read_back_is_recorded_where_learning_ended(
        spec: NetworkSpec, tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """Weights are compared after five images; the replay goes from where they were equal, and compares after each."""
    result, waves = windowed(spec, tiny[spec], tmp_path / "w.vcd", fault=Fault.UPDATE, seed=3, training=True)
    check_window(result, waves)
    assert result.divergence is not None
    assert result.divergence["clock"] is None
    assert result.divergence["image"] == 4
    assert result.window is not None
    assert result.window.replayed == "image 0"


@pytest.mark.regress
@pytest.mark.simulation
def test_learning_is_replayed_from_what_was_learnt(tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    """In the second segment, of whose images the golden model has learnt some: random generators and all."""
    spec = TINY_COMPETING
    result, waves = windowed(spec, tiny[spec], tmp_path / "w.vcd", fault=Fault.INHIBITION, seed=3, training=True)
    check_window(result, waves)
    assert result.window is not None
    assert result.window.replayed.startswith("image")


@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("ending", ["vcd", "fst"])
def test_other_simulators_formats_and_stalls(ending: str, tiny: dict[NetworkSpec, Emission], tmp_path: Path) -> None:
    file = tmp_path / f"w.{ending}"
    result = cosim(TINY, folding(TINY), emission=tiny[TINY], fault=Fault.WEIGHT, seed=7, simulator=Simulator.ICARUS,
                   stalls=Stalls.RANDOM, recording=Recording(window=Window(file=file, clocks=100)))
    assert result.window is not None, result.message
    assert (file.read_bytes()[:1] == b"$") == (ending == "vcd")
    assert file.stat().st_size > 1_000


@pytest.mark.simulation
def test_the_divergence_is_told_when_it_cannot_be_recorded(
        tiny: dict[NetworkSpec, Emission], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise InputError("no space left")

    monkeypatch.setattr(cosimulation, "_record", fails)
    result = cosim(TINY, folding(TINY), emission=tiny[TINY], fault=Fault.WEIGHT, seed=7,
                   recording=Recording(window=Window(file=tmp_path / "w.vcd")))
    assert result.divergence is not None
    assert result.message.endswith("membrane); no waveform: no space left")


def test_the_window_of_the_command() -> None:
    assert CosimBench().options()["recording"] == Recording(window=Window(file=Path("divergence.vcd"), clocks=500))
    assert CosimBench(window=0).options()["recording"] == Recording()
    assert CosimBench(waves=Path("w.fst")).options()["recording"] == Recording(waves=Path("w.fst"))
    for wrong in (-1, 1_000_001):
        with pytest.raises(InputError, match="--divergence-clocks: "):
            CosimBench(window=wrong).check()
    with pytest.raises(InputError, match=r"w\.lxt: a waveform's name ends in"):
        CosimBench(window_file=Path("w.lxt")).check()


@pytest.mark.parametrize(("first", "last", "window"), [(1_000, 1_000, (600, 1_100)), (10, 30, (1, 130))])
def test_a_window_is_mostly_before_its_divergence(first: int, last: int, window: tuple[int, int]) -> None:
    assert Window(file=Path("w.vcd")).around(first, last) == window


def test_names_of_commands_are_the_protocols(tiny: dict[NetworkSpec, Emission]) -> None:
    names = {each["path"]: each["names"] for each in tiny[TINY].description["enumerations"]}
    assert names["reader.command"] == {str(int(code)): code.name for code in Command}
    assert np.all([len(each["names"]) <= 1 << each["width"] for each in tiny[TINY].description["enumerations"]])

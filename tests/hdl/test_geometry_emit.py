"""Geometry, and the Verilog that is emitted."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st

import lifstream
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.synapses import Conv, Dense, Local, Map, SumPool, Synapses, Target
from lifstream.golden.study.presets import PRESETS
from lifstream.hdl.emit import LINT_PRAGMAS, LINT_WAIVERS, Emission, emit_network, stored_network
from lifstream.hdl.encoder import _pattern_rom
from lifstream.hdl.geometry import Geometry, LayerGeometry, balanced_lanes
from lifstream.hdl.host.core import Core
from lifstream.hdl.layer.targets import target_tables
from lifstream.sim.runner import _environment
from tests.conftest import quick


@pytest.mark.parametrize(("lanes", "n_out", "groups", "per_group", "folds"), [
    (1, 10, 1, 1, 10), (3, 10, 1, 3, 4), (8, 10, 1, 8, 2), (9, 10, 2, 5, 1), (128, 10, 2, 5, 1),
    (128, 128, 16, 8, 1), (64, 128, 8, 8, 2), (100, 128, 13, 8, 2), (13, 13, 2, 7, 1), (1, 1, 1, 1, 1)])
def test_every_neuron_has_a_lane(lanes: int, n_out: int, groups: int, per_group: int, folds: int) -> None:
    geometry = Geometry(lanes=lanes).layer(flat_network(sizes=(4, n_out)), 0)
    assert (geometry.groups, geometry.lanes_per_group, geometry.folds) == (groups, per_group, folds)
    assert geometry.lanes * geometry.folds >= n_out > geometry.lanes * (geometry.folds - 1)
    assert geometry.rows == 4 * folds


def test_a_geometry_for_each_layer() -> None:
    spec = flat_network(sizes=(4, 12, 10))
    geometry = Geometry(lanes=(3, 128), unroll=(2, 5))
    assert [(layer.lanes, layer.unroll) for layer in geometry.layers(spec)] == [(3, 2), (10, 5)]
    assert geometry.layers(spec)[1] == Geometry(lanes=10, unroll=5).layer(spec, 1)
    assert geometry.to_json() == {"lanes": [3, 128], "pixels_per_clock": 4, "unroll": [2, 5]}
    assert Geometry(lanes=3).to_json() == {"lanes": 3, "pixels_per_clock": 4, "unroll": 2}
    emission = emit_network(spec=spec, geometry=geometry)
    assert [layer["lanes"] for layer in emission.description["layers"]] == [3, 10]
    assert "geometry: lanes 3,128, pixels per clock 4, unroll 2,5." in emission.verilog


@pytest.mark.parametrize(("lanes", "per_unit", "groups", "per_group", "row_folds"), [
    (9, 2, 3, 2, 1), (5, None, 5, 1, 1), (5, 1, 5, 1, 1), (2, 8, 1, 2, 3), (4, 3, 2, 2, 2), (1, None, 1, 1, 5)])
def test_lanes_of_a_map_run_over_its_channels(lanes: int, per_unit: int | None, groups: int, per_group: int,
                                              row_folds: int) -> None:
    maps = Conv(inputs=Map(height=3, width=4, channels=2), channels=5, kernel=(2, 2))
    spec = NetworkSpec(input=Pixels(count=24), readout=SpikeCounts(), layers=(replace(
        flat_network(sizes=(24, maps.n_out)).layers[0], synapses=maps),))
    geometry = Geometry(lanes=lanes, neurons_per_unit=per_unit).layer(spec, 0)
    assert (geometry.groups, geometry.lanes_per_group, geometry.row_folds) == (groups, per_group, row_folds)
    assert (geometry.positions, geometry.columns, geometry.folds) == (6, 5, 6 * row_folds)
    assert geometry.rows == 8 * row_folds
    assert balanced_lanes(spec, most=5) == (5,)


def test_membrane_units_where_steps_are_long_beside_spikes() -> None:
    spec = PRESETS["conv-small"].spec
    assert [layer.lanes_per_group for layer in Geometry(lanes=32).layers(spec)] == [1, 8, 5]


@pytest.mark.parametrize("synapses", [
    Conv(inputs=Map(height=5, width=4, channels=3), channels=2, kernel=(3, 2), stride=(2, 3), padding=(1, 0)),
    Local(inputs=Map(height=3, width=5, channels=2), channels=4, kernel=(1, 2), stride=(2, 3)),
    SumPool(inputs=Map(height=4, width=6, channels=2), size=2, synapses=Dense(inputs=12, outputs=3)),
    Dense(inputs=4, outputs=3)])
def test_tables_hold_every_target(synapses: Synapses) -> None:
    tables = target_tables(synapses)
    for presynaptic, (address, first_row, last) in enumerate(tables.sources):
        found = []
        while True:
            row, position, last_follows, reaches = tables.targets[address]
            found += [Target(row=first_row + row, first=position * synapses.weight_shape[1])] if reaches else []
            address += 1
            if last:
                break
            last = last_follows
        assert found == list(synapses.targets(presynaptic))


@pytest.mark.parametrize("geometry", [Geometry(lanes=(3,)), Geometry(lanes=2, unroll=(2, 2, 2)), Geometry(lanes=())])
def test_a_geometry_for_other_layers(geometry: Geometry) -> None:
    with pytest.raises(InputError, match=r"(lanes|unroll): '.*' is for [013] layers .*, but 4-12-10 has 2; give one"):
        geometry.layers(flat_network(sizes=(4, 12, 10)))


@given(sizes=st.lists(st.integers(1, 200), min_size=2, max_size=5), most=st.integers(1, 250))
def test_no_layer_has_a_lane_too_many(sizes: list[int], most: int) -> None:
    """A layer with fewer would be slower than the slowest, which is no slower than with ``most`` in each."""
    def clocks(layer: LayerGeometry) -> int:
        return layer.n_in * layer.folds

    spec = flat_network(sizes=tuple(sizes))
    lanes = balanced_lanes(spec, most=most)
    layers = Geometry(lanes=lanes).layers(spec)
    slowest = max(map(clocks, Geometry(lanes=most).layers(spec)))
    assert max(lanes) <= most
    assert max(map(clocks, layers)) == slowest
    for index, layer in enumerate(layers):
        others = [Geometry(lanes=other).layer(spec, index) for other in range(1, lanes[index])]
        assert all(clocks(other) > slowest for other in others if other.lanes < layer.lanes)


def test_balanced_lanes_of_known_networks() -> None:
    assert balanced_lanes(flat_network(sizes=(784, 128, 10)), most=128) == (128, 2)
    assert balanced_lanes(flat_network(sizes=(784, 128, 10)), most=32) == (32, 1)
    assert balanced_lanes(flat_network(sizes=(16, 64, 64)), most=64) == (16, 64)
    assert balanced_lanes(PRESETS["stdp-100"].spec, most=7) == (7,)
    with pytest.raises(InputError, match="lanes: 0"):
        balanced_lanes(flat_network(sizes=(4, 3)), most=0)


@pytest.mark.parametrize(("values", "message"), [
    ({"lanes": (4, 0)}, "lanes: 0"), ({"lanes": [4, 4]}, "not an integer"),
    ({"lanes": 4, "unroll": (1, 9)}, "unroll: 9"), ({"lanes": 4, "pixels_per_clock": (1, 2)}, "not an integer"),
    ({"lanes": 0}, "lanes: 0"), ({"lanes": -3}, "lanes: -3"), ({"lanes": "4"}, "not an integer"),
    ({"lanes": 4, "pixels_per_clock": 0}, "pixels_per_clock: 0"),
    ({"lanes": 4, "pixels_per_clock": 17}, r"1\.\.16"), ({"lanes": True}, "integer"),
    ({"lanes": 4, "unroll": 9}, r"unroll: 9 .*1\.\.8")])
def test_impossible_geometry(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Geometry(**values)


def test_pattern_rom_spikes_at_the_rate() -> None:
    assert [word.bit_count() for word in _pattern_rom(20)] == [20 * intensity // 255 for intensity in range(256)]


@pytest.fixture(scope="module")
def digits() -> Emission:
    return emit_network(spec=PRESETS["digits"].spec, geometry=Geometry(lanes=12), preset="digits")


def test_description(digits: Emission) -> None:
    description = json.loads(json.dumps(digits.description))
    spec = PRESETS["digits"].spec
    assert description["spec_digest"] == spec.digest()
    assert NetworkSpec.from_json(description["spec"]) == spec
    assert [(s["name"], s["direction"], s["width"]) for s in description["streams"]] == [
        ("commands", "in", 9), ("replies", "out", 9)]
    assert [layer["folds"] for layer in description["layers"]] == [3, 1]
    assert [(port["name"], port["direction"], port["width"]) for port in description["ports"]] == [
        ("clk", "in", 1), ("rst", "in", 1),
        ("commands_data", "in", 8), ("commands_last", "in", 1),
        ("commands_valid", "in", 1), ("commands_ready", "out", 1),
        ("replies_data", "out", 8), ("replies_last", "out", 1),
        ("replies_valid", "out", 1), ("replies_ready", "in", 1)]
    assert f"module top({', '.join(port['name'] for port in description['ports'])});" in digits.verilog
    assert description["streams"][0]["ports"] == {
        "valid": "commands_valid", "ready": "commands_ready", "payload": [
            {"name": "commands_data", "offset": 0, "width": 8}, {"name": "commands_last", "offset": 8, "width": 1}]}


def test_every_tap_exists_in_the_verilog(digits: Emission) -> None:
    watched = digits.description["taps"] + digits.description["monitored"]
    paths = [f"{stream['path']}__{part}" for stream in watched for part in ("valid", "ready", "payload")]
    for membrane in digits.description["membranes"]:
        paths += [membrane["valid"], *membrane["signals"]]
    for path in paths:
        *blocks, signal = path.split(".")
        text = digits.verilog.split(f"module {'_'.join(['top', *blocks])} (")[1].split("endmodule")[0]
        assert re.search(rf"(input|output|wire|reg)\s.*\b{signal}\b", text), path


def test_no_multiplication_is_emitted(digits: Emission) -> None:
    code = re.sub(r"\(\*.*?\*\)|/\*.*?\*/|//.*|@\*", "", digits.verilog)
    assert "*" not in code


def test_what_is_for_boards_is_not_emitted(digits: Emission) -> None:
    """Their synthesis is told by an attribute which registers to keep apart."""
    core = rtlil.convert(Core(spec=PRESETS["digits"].spec, geometry=Geometry(lanes=12)), emit_src=False)
    assert "attribute \\lifstream_keep" in core
    assert "lifstream_keep" not in digits.verilog


def test_emission_is_deterministic(digits: Emission) -> None:
    again = emit_network(spec=PRESETS["digits"].spec, geometry=Geometry(lanes=12), preset="digits")
    assert again == digits


def test_the_header_says_what_it_is() -> None:
    """No date, so that the same design is the same text; and nothing that a model file's preset could add."""
    spec, geometry = flat_network(sizes=(4, 3, 2)), Geometry(lanes=2, pixels_per_clock=3)
    text = emit_network(spec=spec, geometry=geometry, preset="odd\nmodule */ `x", name="odd_core").verilog
    header = text.split("/*", 1)[0].splitlines()
    assert header == [
        "// Module odd_core: a spiking network that learns on chip, 4-3-2, preset odd?module ?? ?x.",
        f"// Contract {spec.digest()}; geometry: lanes 2, pixels per clock 3, unroll 2.",
        "// Layer 4 -> 3: 2 lanes in 1 group, 2 clocks per spike.",
        "// Layer 3 -> 2: 2 lanes in 1 group, 1 clock per spike.",
        f"// Written by lifstream {lifstream.__version__} with Amaranth {version('amaranth')}; "
        "odd_core.v.json describes it."]


@pytest.mark.parametrize("name", [
    "", "2d", "a b", "a__b", "a_", "_a", "a-b", "a.b", "a/b", "ä", "a\n", "x" * 65, "\\a "])
def test_names_that_no_tool_takes(name: str) -> None:
    with pytest.raises(InputError, match="module name"):
        emit_network(spec=flat_network(sizes=(4, 2)), geometry=Geometry(lanes=2), name=name)


@pytest.mark.parametrize("name", ["module", "Entity", "before", "signal", "logic"])
def test_reserved_words_are_no_names(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}_core"):
        emit_network(spec=flat_network(sizes=(4, 2)), geometry=Geometry(lanes=2), name=name)


def test_all_names_are_plain_and_begin_with_the_module(digits: Emission) -> None:
    modules = re.findall(r"^module (\S+?)\s*\(", digits.verilog, re.MULTILINE)
    assert len(modules) == len(set(modules)) > 20
    assert all(re.fullmatch(r"top(_\w+)?", module) for module in modules), modules


def test_every_combinational_block_runs_at_time_0(digits: Emission) -> None:
    blocks = re.findall(r"always @\*.*\n.*\n", digits.verilog)
    assert len(blocks) > 100
    assert {block for block in blocks if block != "always @* begin\n    if (at_time_0) begin end\n"} == set()
    assert "$auto$verilog_backend" not in digits.verilog


def test_zero_memories_are_loops(digits: Emission) -> None:
    assert re.search(r"for \((\w+) = 0; \1 < 192; \1 = \1 \+ 1\) weights\[\1\] = 96'd0;", digits.verilog)
    assert "weights[3]" not in digits.verilog


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    _environment()
    return subprocess.run(["verilator", "--lint-only", "-Wall", "--top-module", "top", "top.vlt", "top.v"],
                          cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.simulation
@pytest.mark.parametrize("lanes", quick([1, 12, 32], 12))
def test_lint_is_clean_but_for_the_waivers(tmp_path: Path, lanes: int) -> None:
    emit_network(spec=PRESETS["digits"].spec, geometry=Geometry(lanes=lanes)).write(tmp_path)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.simulation
@pytest.mark.parametrize("rule", [*LINT_PRAGMAS, *LINT_WAIVERS])
def test_every_waiver_is_needed(digits: Emission, tmp_path: Path, rule: str) -> None:
    digits.write(tmp_path)
    path = tmp_path / ("top.vlt" if rule in LINT_WAIVERS else "top.v")
    assert (LINT_WAIVERS | LINT_PRAGMAS)[rule] in path.read_text()
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if rule not in line))
    done = lint(tmp_path)
    assert done.returncode != 0
    assert rule in done.stderr


def test_unwritable_folder(digits: Emission, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output folder cannot be written"):
        digits.write(tmp_path / "file")


def test_a_stored_design_is_the_emitted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec, geometry = flat_network(sizes=(4, 3, 2)), Geometry(lanes=3)
    emitted = emit_network(spec=spec, geometry=geometry)
    assert stored_network(spec=spec, geometry=geometry) == emitted
    with monkeypatch.context() as patch:
        patch.setattr("lifstream.hdl.emit.emit_network", None)
        assert stored_network(spec=spec, geometry=geometry) == emitted
    [path] = tmp_path.rglob("*.json")
    path.write_text("{")
    assert stored_network(spec=spec, geometry=geometry) == emitted
    assert stored_network(spec=spec, geometry=Geometry(lanes=2)) != emitted
    assert len(list(tmp_path.rglob("*.json"))) == 2

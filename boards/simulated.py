"""A board without hardware: the board's top under Verilator, its two wires behind a pseudo-terminal."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boards.host import LinkError
from boards.top import BoardTop
from golden.spec import NetworkSpec
from hdl.emit import emit
from hdl.geometry import Geometry
from sim.harness import write_pin_harness
from sim.runner import Simulator as SimulatorKind
from sim.runner import build, require_tools, run_bench

__all__ = ["DIVISOR", "simulated_board"]

DIVISOR = 4
"""Clocks per bit: as fast as the receiver can sample, for the simulation's sake."""

_PATIENCE = 20_000
_START_SECONDS = 60.0


@contextmanager
def simulated_board(*, spec: NetworkSpec, geometry: Geometry) -> Iterator[str]:
    """Name of a pseudo-terminal behind which a board of this contract answers, while the context lasts.

    Raises
    ------
    InputError
        A tool is missing, or the build failed.
    LinkError
        The simulation did not start.
    """
    require_tools(SimulatorKind.VERILATOR)
    emission = emit(BoardTop(spec=spec, geometry=geometry, divisor=DIVISOR, patience=_PATIENCE))
    description = emission.description | {"ports": [
        {"name": "clk", "direction": "in", "width": 1}, {"name": "rst", "direction": "in", "width": 1},
        {"name": "rx", "direction": "in", "width": 1}, {"name": "tx", "direction": "out", "width": 1}]}
    built = build(verilog=emission.verilog, harness=write_pin_harness(description), description=description)
    work = Path(tempfile.mkdtemp(prefix="lifstream-board-"))
    failure: list[str] = []

    def simulate() -> None:
        try:
            result: dict[str, Any] = run_bench(built, module="boards.tb_board", folder=work,
                                               configuration={"divisor": DIVISOR})
            failure.extend([result["error"]] if result["error"] else [])
        except RuntimeError as error:
            failure.append(str(error))

    thread = threading.Thread(target=simulate, daemon=True)
    thread.start()
    named = work / "port"
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not named.exists():
            if failure or time.monotonic() > deadline:
                raise LinkError(f"the simulated board did not start: {failure[0] if failure else 'no answer'}")
            time.sleep(0.02)
        yield named.read_text()
    finally:
        (work / "stop").touch()
        thread.join(timeout=30)
        shutil.rmtree(work, ignore_errors=True)

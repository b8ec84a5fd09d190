"""A board without hardware: the board's top under Verilator, its two wires behind a pseudo-terminal."""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from lifstream.boards.flow import Watch, netlist
from lifstream.boards.host import LinkError
from lifstream.boards.targets import Target
from lifstream.boards.top import BoardTop
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import make_folder
from lifstream.hdl.emit import emit
from lifstream.hdl.geometry import Geometry
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import Simulator as SimulatorKind
from lifstream.sim.runner import build, require_tools, run_bench

__all__ = ["DIVISOR", "simulated_board"]

DIVISOR = 4
"""Clocks per bit: as fast as the receiver can sample, for the simulation's sake."""

_PATIENCE = 20_000
_START_SECONDS = 60.0


_MODELS_LINT = ("WIDTHTRUNC", "WIDTHEXPAND", "CASEINCOMPLETE", "UNOPTFLAT", "IMPLICIT", "PINMISSING", "MULTITOP",
                "INITIALDLY", "BLKSEQ", "TIMESCALEMOD", "DECLFILENAME", "UNUSEDSIGNAL", "UNUSEDPARAM", "UNDRIVEN",
                "SPECIFYIGN", "MULTIDRIVEN", "COMBDLY", "LATCH", "ASCRANGE", "NOLATCH", "PROCASSINIT")
"""Warnings that a synthesised netlist and the models of its cells give."""


@contextmanager
def simulated_board(*, spec: NetworkSpec, geometry: Geometry, netlist_of: Target | None = None,
                    watch: Watch | None = None) -> Iterator[str]:
    """Name of a pseudo-terminal behind which a board of this contract answers, while the context lasts.

    Parameters
    ----------
    spec, geometry
        The board's network.
    netlist_of
        Simulate the gates that synthesis makes of it for this board, instead of its description.
    watch
        Is told what synthesis is doing.

    Raises
    ------
    InputError
        A tool is missing, or the build failed.
    LinkError
        The simulation did not start, or ended while it was needed.
    """
    require_tools(SimulatorKind.VERILATOR)
    design = BoardTop(spec=spec, geometry=geometry, divisor=DIVISOR, patience=_PATIENCE)
    if netlist_of is None:
        emission = emit(design)
        verilog, description = emission.verilog, emission.description
    else:
        folder = Path(platformdirs.user_cache_dir("lifstream")) / "netlists" / (
            re.sub(r"\W+", "-", f"{netlist_of.name} {spec.digest()} {geometry}"))
        make_folder(folder)
        with (folder / "lock").open("w") as lock:   # one synthesis at a time: its steps share the folder
            fcntl.flock(lock, fcntl.LOCK_EX)
            verilog = netlist(netlist_of, design, ports=[design.rx, design.tx], folder=folder,
                              watch=watch or (lambda *_: None))
        description = {"top": "top", "waivers": _MODELS_LINT}
    description = description | {"ports": [
        {"name": "clk", "direction": "in", "width": 1}, {"name": "rst", "direction": "in", "width": 1},
        {"name": "rx", "direction": "in", "width": 1}, {"name": "tx", "direction": "out", "width": 1}]}
    built = build(verilog=verilog, harness=write_pin_harness(description), description=description)
    work = Path(tempfile.mkdtemp(prefix="lifstream-board-"))
    failure: list[str] = []

    def simulate() -> None:
        try:
            result: dict[str, Any] = run_bench(built, module="lifstream.boards.tb_board", folder=work,
                                               configuration={"divisor": DIVISOR})
            failure.extend([result["error"]] if result["error"] else [])
        except RuntimeError as error:
            failure.append(str(error))

    thread = threading.Thread(target=simulate, daemon=True)

    def stop() -> None:
        (work / "stop").touch()
        thread.join(timeout=30)

    thread.start()
    named = work / "port"
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not named.exists():
            if failure or time.monotonic() > deadline:
                raise LinkError(f"the simulated board did not start: {failure[0] if failure else 'no answer'}")
            time.sleep(0.02)
        try:
            yield named.read_text()
        except LinkError:
            stop()
            if failure:
                raise LinkError("the simulated board ended before it was told to; start it again") from None
            raise
    finally:
        stop()
        shutil.rmtree(work, ignore_errors=True)

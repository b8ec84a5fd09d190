"""The command that opens a page to draw to a chip and to teach it: play."""

from __future__ import annotations

import enum
import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifstream.console import Output
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import BAUD
from lifstream.golden.files import write_text
from lifstream.golden.study.own_data import load_data
from lifstream.options import (
    DataOption,
    DatasetOption,
    GeometryOptions,
    JsonOption,
    LanesOption,
    ModelArgument,
    NamedNetwork,
    named_model,
    option_groups,
    require_file_place,
)

if TYPE_CHECKING:
    from lifstream.boards.play.session import Chip
    from lifstream.boards.play.worker import Connect, Report
    from lifstream.hdl.geometry import Geometry

__all__ = ["play"]

_SIMULATED_SECONDS = 600.0
"""For an answer of a simulation, on however busy a machine."""


class _Engine(enum.StrEnum):
    """What plays the chip."""

    SIMULATED = "simulated"
    GOLDEN = "golden"


@dataclass(frozen=True, kw_only=True)
class ChipOptions:
    """What the chip is."""

    engine: Annotated[_Engine, typer.Option(
        "--engine", help="Without a board: the chip's Verilog, simulated, or no chip but the golden model.")
    ] = _Engine.SIMULATED
    port: Annotated[str | None, typer.Option(
        "--port", help="Serial port of a board that was built for this model's network.")] = None
    baud: Annotated[int, typer.Option("--baud", help="With a port: bits per second.")] = BAUD
    lanes: LanesOption = None

    def connect(self, network: NamedNetwork, geometry: Geometry) -> Connect:
        """Makes the chip, when it is called."""
        spec = network.preset.spec
        if self.port is not None:
            return partial(_board, self.port, self.baud, spec)
        return partial(_simulated, spec, geometry) if self.real else partial(_golden, spec)

    @property
    def real(self) -> bool:
        """Whether there is a chip, if only a simulated one."""
        return self.port is not None or self.engine is not _Engine.GOLDEN

    @property
    def described(self) -> str:
        """For the page."""
        if self.port is not None:
            return f"board on {self.port}"
        return "simulated chip (its Verilog)" if self.real else "golden model, no chip"


@contextmanager
def _board(port: str, baud: int, spec: NetworkSpec, report: Report) -> Iterator[Chip]:
    from lifstream.boards.host import Board, open_port

    report(f"connecting to {port}")
    with Board(port=open_port(port, baud=baud), spec=spec) as board:
        yield board


@contextmanager
def _simulated(spec: NetworkSpec, geometry: Geometry, report: Report) -> Iterator[Chip]:
    from lifstream.boards.host import Board
    from lifstream.boards.simulated import simulated_core

    with simulated_core(spec=spec, geometry=geometry, report=report) as port, \
            Board(port=port, spec=spec, patience=_SIMULATED_SECONDS, silence=_SIMULATED_SECONDS) as board:
        yield board


@contextmanager
def _golden(spec: NetworkSpec, _: Report) -> Iterator[Chip]:
    from lifstream.boards.play.session import GoldenChip

    yield GoldenChip(spec)


def _has_desktop() -> bool:
    """Whether a browser can be expected to open a window, for somebody who looks."""
    return sys.stdout.isatty() and (sys.platform in ("darwin", "win32") or
                                    any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")))


@contextmanager
def _opened(address: str, wanted: bool) -> Iterator[None]:
    """The page in the user's browser.

    The browser is given a file that leads to the address, which holds the token: other users see what a process was
    called with.
    """
    if not wanted:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="lifstream-play-") as folder:
        file = Path(folder) / "open.html"
        write_text(file, f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">\n')
        webbrowser.open(file.as_uri())
        yield


@option_groups
def play(
    model: ModelArgument,
    chip: ChipOptions,
    rate_shift: Annotated[int | None, typer.Option(
        "--rate-shift", help="Learning rate 2**-shift; default: that of the model's first epoch.")] = None,
    out: Annotated[Path | None, typer.Option(
        "--out", help="Model file that 'Save' writes; default: MODEL-taught.npz in this folder.")] = None,
    http_port: Annotated[int, typer.Option(
        "--http-port", min=0, max=65_535, help="TCP port of the page, on 127.0.0.1 only; 0: any that is free.")] = 0,
    open_browser: Annotated[bool | None, typer.Option(
        "--open/--no-open", help="Open the page in a browser; default: where there is a desktop.")] = None,
    dataset: DatasetOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw to a chip and teach it, on a page in the browser, until interrupted.

    A drawing becomes spikes that travel through the layers; the chip answers, is taught a label, and its weights are
    seen to change, while a meter shows its accuracy over the test images. Every answer is compared with the golden
    model's, and after teaching every weight. 'Save' writes a model file.
    """
    output = Output(as_json=as_json)
    try:
        from lifstream.boards.play.server import Server
    except ImportError:
        raise InputError("play: starlette and uvicorn are missing; install them with: pip install 'lifstream[play]'"
                         ) from None
    from lifstream.boards.play.session import Session, require_playable
    from lifstream.boards.play.worker import Worker

    network = named_model(model).for_dataset(dataset)
    assert network.model is not None
    require_playable(network.preset.spec)
    geometry = GeometryOptions(lanes=chip.lanes).geometry(network.preset.spec)
    out = out or Path(f"{network.name.removesuffix('-taught')}-taught.npz")
    require_file_place(out)
    output.begin(f"load {network.preset.dataset}")
    session = Session(model=network.model, rate_shift=rate_shift, dataset=load_data(
        network.preset.dataset, data_dir=data_dir, like=network.preset.spec))
    worker = Worker(session=session, connect=chip.connect(network, geometry), name=network.name,
                    engine=chip.described, chip=chip.real, out=out, ended=lambda: server.stop())
    server = Server(worker, port=http_port)
    output.keeps(lambda: "what was taught since was not saved" if worker.unsaved else "nothing is unsaved")
    output.begin("")    # it waits for the user
    output.say(f"{network.name}, {chip.described}: open {server.address}")
    output.say("Ctrl-C ends it.")
    output.result({"address": server.address, "port": server.port, "model": network.name, "out": str(out)})
    sys.stdout.flush()
    try:
        with _opened(server.address, _has_desktop() if open_browser is None else open_browser):
            worker.start()
            server.run()
    finally:
        server.close()
        worker.stop()
    if worker.failure is not None:
        raise worker.failure

"""A board without hardware, under Verilator: pins and all behind a pseudo-terminal; or the core alone, quicker."""

from __future__ import annotations

import fcntl
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from lifstream.boards.flow import Watch, netlist
from lifstream.boards.host import LinkError, Port
from lifstream.boards.targets import Target
from lifstream.boards.top import BoardTop
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import (
    PAYLOAD_MAX,
    SEQUENCE_MASK,
    Command,
    FrameKind,
    command_bytes,
    reply_bytes,
)
from lifstream.golden.files import make_folder
from lifstream.golden.model.frames import Frame, FrameDecoder, encode_frame
from lifstream.hdl.emit import emit
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.sim.harness import write_harness, write_pin_harness
from lifstream.sim.line import LENGTH, REQUEST, receive
from lifstream.sim.runner import Build, Optimise, build, require_tools, run_bench
from lifstream.sim.runner import Simulator as SimulatorKind

__all__ = ["DIVISOR", "CorePort", "simulated_board", "simulated_core"]

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
    with _running(built, module="lifstream.boards.tb_board", configuration={"divisor": DIVISOR}) as running:
        named = running.folder / "port"
        running.wait(named.exists)
        yield named.read_text()


class _Running:
    """A bench that runs beside this thread.

    Parameters
    ----------
    built, module, configuration
        As in :func:`lifstream.sim.runner.run_bench`.
    """

    def __init__(self, built: Build, *, module: str, configuration: dict[str, Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lifstream-board-"))
        self.failure = ""
        self._thread = threading.Thread(target=self._simulate, args=(built, module, configuration), daemon=True)
        self._thread.start()

    def _simulate(self, built: Build, module: str, configuration: dict[str, Any]) -> None:
        try:
            self.failure = run_bench(built, module=module, folder=self.folder, configuration=configuration)["error"]
        except RuntimeError as error:
            self.failure = str(error)

    def wait(self, there: Callable[[], bool]) -> None:
        """Wait for the bench's first sign of life; raises LinkError if none comes."""
        deadline = time.monotonic() + _START_SECONDS
        while not there():
            if self.failure or time.monotonic() > deadline:
                raise LinkError(f"the simulated board did not start: {self.failure or 'no answer'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        (self.folder / "stop").touch()
        self._thread.join(timeout=30)


@contextmanager
def _running(built: Build, *, module: str, configuration: dict[str, Any]) -> Iterator[_Running]:
    """A bench that runs while the context lasts; that it ended before is said in the LinkError that comes of it."""
    running = _Running(built, module=module, configuration=configuration)
    try:
        yield running
    except LinkError:
        running.stop()
        if running.failure:
            raise LinkError("the simulated board ended before it was told to; start it again") from None
        raise
    finally:
        running.stop()
        shutil.rmtree(running.folder, ignore_errors=True)


_OPTIMISED_WEIGHTS = 10_000
"""Weights from which on loading them takes longer than a quicker simulation takes to build."""


class CorePort:
    """A :class:`lifstream.boards.host.Port` behind which a core answers whose streams a bench drives, packet by packet.

    The frames of ``docs/link.md`` end here; no line loses any.

    Parameters
    ----------
    line
        To the bench, which ends when it is closed.
    spec
        The core's contract.
    """

    def __init__(self, line: socket.socket, spec: NetworkSpec) -> None:
        self._line, self._spec = line, spec
        self._decoder = FrameDecoder()
        self._packet, self._answers = bytearray(), bytearray()
        self._expected = self._number = 0

    def write(self, data: bytes) -> None:
        """Take frames; those that complete a packet take as long as the core takes to answer it."""
        for frame in self._decoder.feed(data):
            if frame.kind is FrameKind.RESET:
                self._packet.clear()
                self._answers.clear()
                self._expected = self._number = 0
                self._exchange(b"")
                self._answers += encode_frame(frame)
            elif frame.kind is FrameKind.DATA:
                self._answers += encode_frame(Frame(kind=FrameKind.ACKNOWLEDGE, sequence=frame.sequence))
                if frame.sequence != self._expected:    # it came twice
                    continue
                self._expected = (self._expected + 1) & SEQUENCE_MASK
                self._packet += frame.payload
                if frame.last:
                    self._reply(self._exchange(bytes(self._packet)))
                    self._packet.clear()

    def _reply(self, packet: bytes) -> None:
        for start in range(0, len(packet), PAYLOAD_MAX):
            part = packet[start:start + PAYLOAD_MAX]
            self._answers += encode_frame(Frame(kind=FrameKind.DATA, sequence=self._number, payload=part,
                                                last=start + len(part) == len(packet)))
            self._number = (self._number + 1) & SEQUENCE_MASK

    def _exchange(self, packet: bytes) -> bytes:
        """The core's answer to a packet, or to a reset, which is empty; raises OSError when the bench has ended."""
        expected = 2 + reply_bytes(self._spec, Command(packet[0])) if packet else 0
        try:
            self._line.sendall(REQUEST.pack(len(packet), expected) + packet)
            return receive(self._line, LENGTH.unpack(receive(self._line, LENGTH.size))[0])
        except ConnectionError:
            raise ConnectionResetError("the simulation has ended") from None

    def read(self, size: int) -> bytes:
        """Answers of the core, up to ``size`` bytes."""
        part = bytes(self._answers[:size])
        del self._answers[:size]
        return part

    def close(self) -> None:
        """End the bench."""
        self._line.close()


@contextmanager
def simulated_core(*, spec: NetworkSpec, geometry: Geometry, report: Callable[[str], None] = lambda _: None
                   ) -> Iterator[Port]:
    """Port behind which a core of this contract answers, while the context lasts: the Verilog without link and UART.

    A byte takes a clock instead of forty, Python takes part in packets instead of bits, and where nothing is asked for
    nothing is simulated.

    Parameters
    ----------
    spec, geometry
        The core's network, of pixels.
    report
        Is told what is under way, while the compiler runs several times a second; what it raises ends that.

    Raises as :func:`simulated_board`.
    """
    require_tools(SimulatorKind.VERILATOR)
    report("writing the Verilog")
    emission = emit(Core(spec=spec, geometry=geometry))
    harness = write_harness(
        emission.description, samples=1,
        stimulus_depth=max(command_bytes(spec, command) for command in Command) + 16,
        capture_depth=max(reply_bytes(spec, command) for command in Command) + 16)
    compiling = "compiling the chip's simulation; later starts find it in the cache"
    report(compiling)
    built = build(verilog=emission.verilog, harness=harness, description=emission.description,
                  meanwhile=lambda: report(compiling),
                  optimise=Optimise.RUN if spec.parameters > _OPTIMISED_WEIGHTS else Optimise.BUILD)
    report("starting the simulation")
    with tempfile.TemporaryDirectory(prefix="lifstream-core-") as folder, \
            socket.socket(socket.AF_UNIX) as listening:
        place = Path(folder) / "line"
        listening.bind(str(place))
        listening.listen(1)
        listening.settimeout(0.0)
        lines: list[socket.socket] = []

        def called() -> bool:
            with suppress(BlockingIOError):
                lines.append(listening.accept()[0])
            return bool(lines)

        with _running(built, module="lifstream.boards.tb_core", configuration={
                "line": str(place), "monitors": list(harness.monitors)}) as running:
            running.wait(called)
            lines[0].setblocking(True)
            with lines[0]:
                yield CorePort(lines[0], spec)

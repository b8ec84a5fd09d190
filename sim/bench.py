"""What benches share: batches through the harness memories, decoded captures. No golden, no hdl."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer
from numpy.typing import NDArray

from lifstream.sim.harness import BENCH_VARIABLE, CYCLE_BITS

__all__ = ["BenchError", "HarnessDriver", "abandoned", "read_words", "undisturbed", "word_fields"]

CLOCK_NS = 10

_PARENT = os.getppid()


def abandoned() -> bool:
    """Whether the process that started the simulation is gone, so that nobody waits for a result."""
    return os.getppid() != _PARENT


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off being ended by SIGTERM until the block is over, so that no file is left half-written."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if received:
            signal.raise_signal(signal.SIGTERM)


class BenchError(Exception):
    """The design broke a rule or stopped; the message says where."""


def read_words(path: Path, width: int) -> NDArray[np.uint8]:
    """Read what ``$writememh`` wrote: uint8 (words, width) of bits, lowest first.

    Raises
    ------
    BenchError
        A word has unknown (X or Z) bits; the message names it.
    """
    text = path.read_text()
    lines = [line for line in text.split() if line] if "//" not in text else \
        [line for line in text.splitlines() if line and not line.startswith(("//", "@"))]
    digits = 2 * (-(-width // 8))
    try:
        raw = bytes.fromhex("".join(line.rjust(digits, "0")[-digits:] for line in lines))
    except ValueError:
        bad = next(index for index, line in enumerate(lines) if set(line) - set("0123456789abcdefABCDEF"))
        raise BenchError(f"{path.name}: word {bad} has unknown bits: {lines[bad]}") from None
    data = np.frombuffer(raw, dtype=np.uint8).reshape(len(lines), digits // 2)[:, ::-1]
    return np.unpackbits(data, axis=1, bitorder="little")[:, :width]


def word_fields(bits: NDArray[np.uint8], width: int, *, signed: bool = False) -> NDArray[np.int64]:
    """Split words into consecutive fields: uint8 (words, n * width) to int64 (words, n)."""
    fields = bits.reshape(len(bits), bits.shape[1] // width, width).astype(np.int64)
    weights = 1 << np.arange(width, dtype=np.int64)
    if signed:
        weights[-1] = -weights[-1]
    return fields @ weights


class HarnessDriver:
    """Drives a harness: a batch goes in by file, runs without Python, and comes out by file.

    Parameters
    ----------
    dut
        The harness as cocotb sees it.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.config: dict[str, Any] = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
        self.description: dict[str, Any] = self.config["description"]
        self.inputs = [s for s in self.description["streams"] if s["direction"] == "in"]
        self.outputs = [s for s in self.description["streams"] if s["direction"] == "out"]
        self.cycles = 0
        self.go_clock = 0
        """Clock that is cycle 0 of the present run. Clocks are counted since the simulation began: clock n begins at
        ``n * CLOCK_NS``."""

    async def start(self, *, stall_mode: int, seed: int) -> None:
        """Start the clock and reset the design."""
        self.dut.stall_mode.value = stall_mode
        self.dut.stall_seed.value = seed & 0xFFFF_FFFF
        Clock(self.dut.clk, CLOCK_NS, "ns").start()
        await self.reset()

    async def reset(self, clocks: int = 1) -> None:
        """Reset the design for so many clocks."""
        if bool(self.dut.clk.value):  # everything Python drives changes away from the active edge
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 1
        await Timer(clocks * CLOCK_NS, "ns")
        self.dut.rst.value = 0
        await Timer(CLOCK_NS, "ns")

    async def run(self, stimuli: dict[str, NDArray[np.integer] | Sequence[int]], *, expected: dict[str, int],
                  cycle_limit: int) -> None:
        """Play ``stimuli`` (payloads by stream), wait for ``expected`` transfers (by stream), dump the captures.

        Raises
        ------
        BenchError
            The outputs did not come within ``cycle_limit`` cycles, or a stream rule was broken.
        """
        dut = self.dut
        await self._begin(stimuli, expected)
        await First(RisingEdge(dut.finished), Timer(cycle_limit * CLOCK_NS, "ns"))
        finished = bool(dut.finished.value)
        await FallingEdge(dut.clk)
        # Slack for events that should not be there; they show up as surplus words.
        await Timer(64 * CLOCK_NS, "ns")
        self.cycles = int(dut.cycle.value)
        for capture in Path().glob("*.capture.hex"):
            capture.unlink()
        dut.dump.value = 1
        await Timer(CLOCK_NS, "ns")
        dut.dump.value = 0
        problems = self._violations()
        if bool(dut.overflow.value):
            problems.append("more output than any design of this contract can give")
        if not finished:
            problems += [f"only {came} of {wanted} transfers came on {name} within {cycle_limit} cycles"
                         for name, wanted in expected.items()
                         if (came := int(getattr(dut, f"{name}_captured").value)) < wanted] or [
                             f"not all input was taken within {cycle_limit} cycles"]
        dut.go.value = 0
        await Timer(2 * CLOCK_NS, "ns")
        if problems:
            raise BenchError("; ".join(problems))

    async def cut(self, stimuli: dict[str, NDArray[np.integer] | Sequence[int]], *, clocks: int,
                  reset_clocks: int) -> None:
        """Play ``stimuli`` for so many clocks, and cut them off by a reset of ``reset_clocks``.

        Raises
        ------
        BenchError
            A stream rule was broken until then.
        """
        await self._begin(stimuli, {})
        await Timer(clocks * CLOCK_NS, "ns")
        problems = self._violations()
        self.dut.go.value = 0
        await self.reset(reset_clocks)
        if problems:
            raise BenchError("; ".join(problems))

    def _violations(self) -> list[str]:
        """What the stream monitors found."""
        if not (violations := int(self.dut.violations.value)):
            return []
        names = self.config["monitors"]
        return ["stream rule broken on " + ", ".join(name for bit, name in enumerate(names) if violations >> bit & 1)]

    async def _begin(self, stimuli: dict[str, NDArray[np.integer] | Sequence[int]], expected: dict[str, int]) -> None:
        """Load ``stimuli`` and let them play."""
        dut = self.dut
        for stream in self.inputs:
            name = stream["name"]
            payloads = stimuli.get(name, ())
            if len(payloads):
                mask = (1 << stream["width"]) - 1
                lines = [f"{payload & mask:x}\n" for payload in np.asarray(payloads).tolist()]
                Path(f"{name}.stimulus.hex").write_text("".join(lines))
            getattr(dut, f"{name}_count").value = len(payloads)
        for stream in self.outputs:
            getattr(dut, f"{stream['name']}_expected").value = expected.get(stream["name"], 0)
        dut.load.value = 1
        await Timer(CLOCK_NS, "ns")
        dut.load.value = 0
        self.go_clock = int(get_sim_time("ns")) // CLOCK_NS
        dut.go.value = 1

    def capture(self, name: str, width: int) -> NDArray[np.uint8]:
        """The lower ``width`` bits of a memory's captured words, uint8 (words, width), lowest first."""
        path = Path(f"{name}.capture.hex")
        return read_words(path, width) if path.exists() else np.empty((0, width), dtype=np.uint8)

    def capture_clocks(self, name: str, width: int) -> NDArray[np.int64]:
        """Clocks since the simulation began of a memory's captured words of ``width`` bits, int64 (words,)."""
        return self.go_clock + word_fields(self.capture(name, width + CYCLE_BITS)[:, width:], CYCLE_BITS)[:, 0]

    def output(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """An output stream's payloads as bits, and the cycle of each transfer."""
        width = next(s["width"] for s in self.outputs if s["name"] == name)
        words = self.capture(name, width + CYCLE_BITS)
        return words[:, :width], word_fields(words[:, width:], CYCLE_BITS)[:, 0]

    def finish(self, result: dict[str, Any]) -> None:
        """Write ``result.json``."""
        temporary = Path("result.json.part")
        temporary.write_text(json.dumps(result))
        temporary.rename("result.json")

    def progress(self, **values: Any) -> None:
        """Append a line to ``progress.jsonl``.

        Raises
        ------
        BenchError
            Nobody is there to read it.
        """
        if abandoned():
            raise BenchError("the process that started the simulation is gone")
        with Path("progress.jsonl").open("a") as stream:
            stream.write(json.dumps(values) + "\n")

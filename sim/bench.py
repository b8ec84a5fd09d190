"""What benches share: batches through the harness memories, decoded captures. No golden, no hdl."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer
from numpy.typing import NDArray

from lifstream.sim.harness import BENCH_VARIABLE, CLOCK_NS, CYCLE_BITS

__all__ = ["CLOCK_NS", "BenchError", "HarnessDriver", "Words", "abandoned", "read_words", "undisturbed"]

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


@dataclass(frozen=True)
class Words:
    """Words captured from the design."""

    data: NDArray[np.uint8]
    """uint8 (words, bytes), lowest byte first."""

    def __len__(self) -> int:
        return len(self.data)

    def bits(self, offset: int, count: int) -> NDArray[np.uint8]:
        """Bits from ``offset`` on, uint8 (words, count), 0 or 1."""
        low = offset // 8
        bits = np.unpackbits(self.data[:, low:-(-(offset + count) // 8)], axis=1, bitorder="little")
        return bits[:, offset - 8 * low:][:, :count]

    def fields(self, offset: int, width: int, count: int = 1, *, signed: bool = False) -> NDArray[np.int64]:
        """``count`` neighbouring fields of ``width`` bits, 1..56, from bit ``offset`` on: int64 (words, count)."""
        fields = np.zeros((len(self), count), dtype=np.int64)
        for place in range(count):
            low, shift = divmod(offset + place * width, 8)
            for byte in range(-(-(shift + width) // 8)):
                fields[:, place] |= self.data[:, low + byte].astype(np.int64) << (8 * byte)
            fields[:, place] >>= shift
        fields &= (1 << width) - 1
        if signed:
            fields -= (fields >> (width - 1)) << width
        return fields

    def integers(self, width: int) -> list[int]:
        """The lower ``width`` bits of each word, however many."""
        return [int.from_bytes(word.tobytes(), "little") & ((1 << width) - 1) for word in self.data]


_UNKNOWN = 255
_DIGITS = np.full(256, _UNKNOWN, dtype=np.uint8)
"""Value of a character as a hexadecimal digit."""
for _value, _pair in enumerate(zip("0123456789abcdef", "0123456789ABCDEF", strict=True)):
    _DIGITS[[ord(_digit) for _digit in _pair]] = _value


def read_words(path: Path, width: int) -> Words:
    """Read words of ``width`` bits that ``$writememh`` wrote.

    Raises
    ------
    BenchError
        A word has unknown (X or Z) bits; the message names it.
    """
    text = path.read_bytes()
    length = text.find(b"\n") + 1
    lines = np.frombuffer(text, dtype=np.uint8)
    if b"/" in text[:length] or len(lines) % length or (lines[length - 1::length] != ord("\n")).any():
        # Not one word a line: some simulators say addresses, too, or leave leading zeros out.
        kept = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith((b"//", b"@"))]
        length = -(-width // 4) + 1
        lines = np.frombuffer(b"".join(line.rjust(length - 1, b"0") + b"\n" for line in kept), dtype=np.uint8)
    digits = _DIGITS[lines.reshape(-1, length)[:, :-1]]
    if (unknown := (digits == _UNKNOWN).any(axis=1)).any():
        bad = int(unknown.argmax())
        word = lines.reshape(-1, length)[bad, :-1].tobytes().decode(errors="replace")
        raise BenchError(f"{path.name}: word {bad} has unknown bits: {word}")
    digits = np.pad(digits, ((0, 0), (2 * -(-width // 8) - digits.shape[1], 0)))[:, ::-1]
    return Words(digits[:, ::2] | digits[:, 1::2] << np.uint8(4))


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

    def capture(self, name: str, width: int) -> Words:
        """A memory's captured words of ``width`` bits; above them is the cycle."""
        path = Path(f"{name}.capture.hex")
        width += CYCLE_BITS
        return read_words(path, width) if path.exists() else Words(np.empty((0, -(-width // 8)), dtype=np.uint8))

    def capture_clocks(self, name: str, width: int) -> NDArray[np.int64]:
        """Clocks since the simulation began of a memory's captured words of ``width`` bits, int64 (words,)."""
        return self.go_clock + self.capture(name, width).fields(width, CYCLE_BITS)[:, 0]

    def output(self, name: str) -> tuple[list[int], NDArray[np.int64]]:
        """An output stream's payloads, and the cycle of each transfer, int64."""
        width = next(s["width"] for s in self.outputs if s["name"] == name)
        words = self.capture(name, width)
        return words.integers(width), words.fields(width, CYCLE_BITS)[:, 0]

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

"""Bench that is a board: it bridges the design's two wires and a pseudo-terminal until told to stop, or left alone."""

from __future__ import annotations

import contextlib
import json
import os
import tty
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from lifstream.sim.bench import CLOCK_NS, abandoned
from lifstream.sim.harness import BENCH_VARIABLE

_IDLE_CLOCKS = 500


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except (BlockingIOError, OSError):  # nothing there, or nobody has the other end open
        return b""


def _write(terminal: int, value: int) -> None:
    with contextlib.suppress(BlockingIOError):  # nobody reads, as after a driver that was interrupted: lost
        os.write(terminal, bytes([value]))


async def _transmit(dut: Any, terminal: int, bit_ns: int) -> None:
    """From the design's wire to the terminal."""
    while True:
        await FallingEdge(dut.tx)
        await Timer(bit_ns + bit_ns // 2, "ns")
        value = 0
        for bit in range(8):
            value |= int(dut.tx.value) << bit
            await Timer(bit_ns, "ns")
        if int(dut.tx.value):  # the stop bit, or it was no byte
            _write(terminal, value)


@cocotb.test()
async def board(dut: Any) -> None:
    """Reset the design, name the terminal, carry bytes."""
    config = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
    bit_ns = config["divisor"] * CLOCK_NS
    terminal, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(terminal, False)
    dut.rx.value = 1
    dut.rst.value = 1
    Clock(dut.clk, CLOCK_NS, "ns").start()
    await Timer(5 * CLOCK_NS, "ns")
    dut.rst.value = 0
    cocotb.start_soon(_transmit(dut, terminal, bit_ns))
    part = Path("port.part")
    part.write_text(os.ttyname(slave))
    part.rename("port")
    stop = Path("stop")
    while not stop.exists() and not abandoned():
        data = _read(terminal)
        if not data:
            await Timer(_IDLE_CLOCKS * CLOCK_NS, "ns")
        for byte in data:
            for level in (0, *((byte >> bit) & 1 for bit in range(8)), 1):
                dut.rx.value = level
                await Timer(bit_ns, "ns")
    Path("result.json").write_text(json.dumps({"error": ""}))

"""Bench for a core behind AXI: a foreign client (cocotbext-axi) plays a script of packets and register accesses."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from lifstream.sim.bench import CLOCK_NS
from lifstream.sim.harness import BENCH_VARIABLE

_TIMEOUT_CLOCKS = 400_000


def _pauses(seed: int) -> Iterator[bool]:
    """Bursts of pauses, for ever."""
    source = random.Random(seed)
    while True:
        for paused in (True, False):
            for _ in range(source.randrange(1, 12)):
                yield paused


@cocotb.test()
async def script(dut: Any) -> None:
    """Do the steps in order: send a packet, await packets, read or write registers, send part of a packet,
    reset, discard what has come."""
    config = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
    Clock(dut.aclk, CLOCK_NS, "ns").start()
    dut.aresetn.value = 0
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False)
    if config["seed"]:
        source.set_pause_generator(_pauses(config["seed"]))
        sink.set_pause_generator(_pauses(config["seed"] + 1))
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)
    results: list[Any] = []
    for step in config["steps"]:
        match step["do"]:
            case "send":
                await source.send(AxiStreamFrame(bytes.fromhex(step["data"]), tkeep=step.get("keep")))
                results.append(None)
            case "receive":
                frame = await with_timeout(sink.recv(), _TIMEOUT_CLOCKS * CLOCK_NS, "ns")
                results.append(bytes(frame.tdata).hex())
            case "read":
                results.append(await master.read_dword(step["address"]))
            case "write":
                await master.write(step["address"], step["value"].to_bytes(step.get("bytes", 4), "little"))
                results.append(None)
            case "reset":
                dut.aresetn.value = 0
                await ClockCycles(dut.aclk, step["clocks"])
                dut.aresetn.value = 1
                results.append(None)
            case "discard":     # what a reset has cut off, and what was answered before it
                source.clear()
                sink.clear()
                results.append(None)
            case "wait":
                await ClockCycles(dut.aclk, step["clocks"])
                results.append(None)
    await ClockCycles(dut.aclk, 20)
    temporary = Path("result.json.part")
    temporary.write_text(json.dumps({"results": results, "surplus": sink.count()}))
    temporary.rename("result.json")

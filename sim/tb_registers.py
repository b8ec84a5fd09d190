"""Bench for the registers of a core behind AXI, by the model that PeakRDL makes of their SystemRDL."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from peakrdl_python.lib.callbacks import AsyncCallbackSet

from lifstream.golden.contract.register_table import REGISTERS
from lifstream.sim.bench import CLOCK_NS
from lifstream.sim.harness import BENCH_VARIABLE


@cocotb.test()
async def registers(dut: Any) -> None:
    """Write down what the registers hold after reset, after ones have been written to each, and what writing does."""
    config = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
    sys.path.insert(0, config["model"])
    model_class = importlib.import_module("lifstream_axi.reg_model.lifstream_axi").lifstream_axi_cls
    Clock(dut.aclk, CLOCK_NS, "ns").start()
    dut.aresetn.value = 0
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False)

    async def read(addr: int, width: int, accesswidth: int) -> int:
        assert (width, accesswidth) == (32, 32)
        return int(await master.read_dword(addr))

    async def write(addr: int, width: int, accesswidth: int, data: int) -> None:
        assert (width, accesswidth) == (32, 32)
        await master.write_dword(addr, data)

    model = model_class(callbacks=AsyncCallbackSet(read_callback=read, write_callback=write))

    async def fields() -> dict[str, int]:
        found: dict[str, int] = {}
        for register in REGISTERS:
            node = model
            for name in register.name.split("."):
                node = getattr(node, name)
            found |= {f"{register.name}.{name}": int(value) for name, value in (await node.read_fields()).items()}
        return found

    async def reset() -> None:
        dut.aresetn.value = 0
        await ClockCycles(dut.aclk, 4)
        dut.aresetn.value = 1

    await reset()
    result: dict[str, Any] = {"reset": await fields()}
    await ClockCycles(dut.aclk, 20)
    # All ones to everything that is only read: by the bus, the model knows better.
    result["before"] = await fields()
    for address in range(0, 0x100, 4):
        if address not in config["writable"]:
            await master.write_dword(address, 0xFFFF_FFFF)
    result["after"] = await fields()
    result["whole"] = [await master.read_dword(address) for address in range(0, 0x100, 4)]
    for written in config["written"]:
        await model.control.write(written)
        result[f"control {written}"] = await model.control.read()
        await ClockCycles(dut.aclk, 40)
        result[f"control {written}, later"] = await model.control.read()
    Path("result.json").write_text(json.dumps(result))

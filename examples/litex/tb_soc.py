"""The bench of the SoC: what would run on a host, over LiteX's own client, with the bus's pins in place of a bridge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge
from litex.tools.remote.csr_builder import CSRBuilder

from lifstream.boards.csr_host import CsrHost
from lifstream.sim.harness import BENCH_VARIABLE


class WishbonePins(CSRBuilder):
    """What LiteX's ``RemoteClient`` is, on the pins of the SoC's Wishbone master; for code outside of cocotb."""

    def __init__(self, dut: Any, csr_csv: str) -> None:
        super().__init__(self, csr_csv)
        self._dut = dut

    def read(self, addr: int, length: int | None = None, burst: str = "incr") -> Any:
        words = [self._access(addr + 4 * index) for index in range(length or 1)]
        return words[0] if length is None else words

    def write(self, addr: int, datas: int | list[int]) -> None:
        for index, word in enumerate([datas] if isinstance(datas, int) else datas):
            self._access(addr + 4 * index, word)

    @resume
    async def _access(self, address: int, word: int | None = None) -> int:
        dut = self._dut
        dut.host_adr.value, dut.host_sel.value, dut.host_we.value = address >> 2, 0xF, int(word is not None)
        dut.host_dat_w.value = word or 0
        dut.host_cyc.value = dut.host_stb.value = 1
        while True:
            await RisingEdge(dut.clk)
            if dut.host_ack.value:
                break
        dut.host_cyc.value = dut.host_stb.value = 0
        found = int(dut.host_dat_r.value)
        await RisingEdge(dut.clk)
        return found


@cocotb.test()
async def exchanges(dut: Any) -> None:
    """Send the commands, write down the replies, and whether the interrupt came with one."""
    config = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
    Clock(dut.clk, 20, "ns").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0

    async def interrupts() -> None:
        await RisingEdge(dut.interrupt)

    interrupted = cocotb.start_soon(interrupts())

    def host() -> tuple[list[str], bool]:
        client = WishbonePins(dut, config["csr_csv"])
        core = CsrHost(regs=client.regs)
        client.regs.lifstream_command.write(0x01)   # a host before this one did not finish its packet
        core.reset()
        client.regs.lifstream_ev_enable.write(1)
        silent = not interrupted.done()
        replies = [core.exchange(bytes.fromhex(command)).hex() for command in config["commands"]]
        return replies, silent and interrupted.done() and client.regs.lifstream_ev_status.read() == 0

    replies, interrupt = await bridge(host)()
    Path("result.json").write_text(json.dumps({"replies": replies, "interrupt": interrupt}))

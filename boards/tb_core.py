"""Bench that is a core: it plays the packets that come over a socket, and sends the replies, until it is closed."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import cocotb

from lifstream.golden.model.packets import packet
from lifstream.sim.bench import BenchError, HarnessDriver
from lifstream.sim.line import LENGTH, REQUEST, receive

_CYCLES_MAX = 200_000_000
"""Far more clock cycles than any command takes."""


@cocotb.test()
async def core(dut: Any) -> None:
    """Reset the design, call back, carry packets."""
    driver = HarnessDriver(dut)
    await driver.start(stall_mode=0, seed=1)
    error = ""
    with socket.socket(socket.AF_UNIX) as line, suppress(ConnectionError):
        line.connect(driver.config["line"])
        while not error:
            # Nothing is simulated while this waits; it ends when the other end is closed.
            length, expected = REQUEST.unpack(receive(line, REQUEST.size))
            reply = b""
            if length:
                command, *payload = receive(line, length)
                try:
                    await driver.run({"commands": packet(command, payload)}, expected={"replies": expected},
                                     cycle_limit=_CYCLES_MAX)
                except BenchError as broken:
                    error = str(broken)
                    continue
                reply = bytes(word & 0xFF for word in driver.output("replies")[0])
            else:
                await driver.reset()
            line.sendall(LENGTH.pack(len(reply)) + reply)
    driver.finish({"error": error})

"""Bench that is a host: the C driver, or the one for PYNQ, does its reads, writes and transfers on the simulated core.

The drivers run in a thread of their own, as they are; each access of theirs takes simulated time.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from lifstream.boards.host import LinkError
from lifstream.boards.overlay import OverlayBoard
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.protocol import COUNTERS
from lifstream.golden.model.packets import encode_state
from lifstream.golden.study.model_files import load_model
from lifstream.sim.bench import CLOCK_NS
from lifstream.sim.harness import BENCH_VARIABLE

_CORE, _DMA = 0x4000_0000, 0x4100_0000
"""Where the C driver finds them."""

_POLL_CLOCKS = 50
"""Clocks that pass between two looks at a transfer."""


class _Channel:
    """One direction of an AXI DMA in direct register mode (PG021), as PYNQ's drives it, too."""

    def __init__(self, carry: Callable[[int, int], Coroutine[Any, Any, int]], clock: Any) -> None:
        self._carry, self._clock = carry, clock
        self._registers = {0x00: 0, 0x18: 0, 0x1C: 0, 0x28: 0}
        self._busy = False
        self.transferred = 0
        self.fails = False
        """Whether the next transfer does."""

    async def _transfer(self, length: int) -> None:
        self._busy = True
        memory = self._registers[0x18] | self._registers[0x1C] << 32
        self.transferred = await self._carry(memory, length)
        self._registers[0x28] = self.transferred
        self._busy = False

    def set(self, offset: int, value: int) -> None:
        """Write a register; a length begins the transfer."""
        self._registers[offset] = value
        if offset == 0x00 and value & 4:
            self._registers[offset] = 0     # a reset is over at once
        if offset == 0x28:
            cocotb.start_soon(self._transfer(value))

    async def get(self, offset: int) -> int:
        """Read a register."""
        if offset == 0x04:
            if self._busy:
                await ClockCycles(self._clock, _POLL_CLOCKS)
            return 0 if self._busy else 2
        return self._registers[offset]

    def transfer(self, array: Any, start: int = 0, nbytes: int = 0) -> None:
        """As ``pynq.lib.dma``'s."""
        resume(self._transfer_of)(array, start, nbytes)

    def wait(self) -> None:
        """As ``pynq.lib.dma``'s."""
        resume(self._wait)()

    async def _transfer_of(self, array: Any, start: int, nbytes: int) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("DMA channel not idle")
        address = array.ctypes.data + start
        self._registers |= {0x18: address & 0xFFFF_FFFF, 0x1C: address >> 32}
        self.set(0x28, nbytes or array.nbytes - start)

    async def _wait(self) -> None:
        await ClockCycles(self._clock, 1)
        while self._busy:
            await ClockCycles(self._clock, _POLL_CLOCKS)


class _Dma:
    def __init__(self, dut: Any) -> None:
        source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn,
                                 reset_active_level=False)
        sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, reset_active_level=False)

        async def send(memory: int, length: int) -> int:
            await source.send(AxiStreamFrame(ctypes.string_at(memory, length)))
            await source.wait()
            return length

        async def receive(memory: int, length: int) -> int:
            data = bytes((await sink.recv()).tdata)[:length]
            ctypes.memmove(memory, data, len(data))
            return len(data)

        self.sendchannel, self.recvchannel = _Channel(send, dut.aclk), _Channel(receive, dut.aclk)

    def channel(self, offset: int) -> tuple[_Channel, int]:
        """Of a register, and its offset there."""
        return (self.recvchannel, offset - 0x30) if offset >= 0x30 else (self.sendchannel, offset)


class _Mmio:
    def __init__(self, master: AxiLiteMaster) -> None:
        self._master = master

    def read(self, offset: int) -> int:
        return int(resume(self._master.read_dword)(offset))

    def write(self, offset: int, value: int) -> None:
        resume(self._master.write_dword)(offset, value)


def _play_c(config: dict[str, Any], master: AxiLiteMaster, dma: _Dma) -> dict[str, Any]:
    """The client in the library does it all."""
    network = load_model(Path(config["model"])).network
    spec = network.spec
    images = np.array(config["images"], dtype=np.uint8)
    labels = np.array(config["labels"], dtype=np.uint8)

    @resume
    async def get(window: int, offset: int) -> int:
        if window == _CORE:
            return int(await master.read_dword(offset))
        channel, place = dma.channel(offset)
        return await channel.get(place)

    @resume
    async def put(window: int, offset: int, value: int) -> None:
        if window == _CORE:
            await master.write_dword(offset, value)
        else:
            channel, place = dma.channel(offset)
            channel.set(place, value)

    reader = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)(get)
    writer = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)(put)
    weights = encode_state(spec, "weights", network.weights)
    predictions = np.zeros(2 * len(images), dtype=np.int32)
    responses = np.zeros((2 * len(images), spec.responding), dtype=np.int64)
    counters = np.zeros((2, len(COUNTERS)), dtype=np.uint64)
    read_back = np.zeros(len(weights), dtype=np.int32)
    seeds = np.array(config["seeds"], dtype=np.uint32)
    arrays = [np.ascontiguousarray(array) for array in (seeds, weights, images, labels)]
    library = ctypes.CDLL(config["library"])
    result = library.play(
        reader, writer, ctypes.c_void_p(config["core"]), ctypes.c_void_p(_DMA), config["rate_shift"],
        *(ctypes.c_void_p(array.ctypes.data) for array in arrays), len(images),
        *(ctypes.c_void_p(array.ctypes.data) for array in (predictions, responses, read_back, counters)))
    library.lifstream_error_text.restype = ctypes.c_char_p
    return {"result": result, "text": library.lifstream_error_text(result).decode(),
            "predictions": predictions.tolist(), "responses": responses.tolist(),
            "weights": read_back[:sum(matrix.size for matrix in network.weights)].tolist(),
            "counters": counters.tolist()}


def _play_overlay(config: dict[str, Any], master: AxiLiteMaster, dma: _Dma) -> dict[str, Any]:
    network = load_model(Path(config["model"])).network
    images = np.array(config["images"], dtype=np.uint8)
    board = OverlayBoard(mmio=_Mmio(master), dma=dma, allocate=np.zeros, spec=network.spec)
    with board:
        board.load(network)
        board.set_rate_shift(config["rate_shift"])
        board.seed(config["seeds"])
        answers = [board.infer(image) for image in images]
        answers += [board.train(image, label) for image, label in zip(images, config["labels"], strict=True)]
        weights = np.concatenate([matrix.ravel() for matrix in board.weights()])
        counters = board.counters()
        # A transfer that fails; after a reset the core knows what it knew.
        dma.recvchannel.fails = True
        try:
            board.infer(images[0])
        except LinkError as error:
            failure = str(error)
        board.recover()
        again = board.infer(images[0])
    return {"result": 0, "predictions": [answer.prediction for answer in answers],
            "responses": [answer.responses.tolist() for answer in answers], "weights": weights.tolist(),
            "counters": [[int(counters[name]) for name in COUNTERS]] * 2, "again": again.responses.tolist(),
            "failure": failure}


@cocotb.test()
async def host(dut: Any) -> None:
    """Load weights, classify and learn from images, read weights and counters; write what came of it."""
    config = json.loads(Path(os.environ[BENCH_VARIABLE]).read_text())
    Clock(dut.aclk, CLOCK_NS, "ns").start()
    dut.aresetn.value = 0
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False)
    dma = _Dma(dut)
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)
    play = _play_c if config["driver"] == "c" else _play_overlay
    try:
        result = await bridge(play)(config, master, dma)
    except InputError as error:
        result = {"error": str(error)}
    Path("result.json").write_text(json.dumps(result))

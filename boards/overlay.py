"""Host driver of a core behind AXI on a Zynq board with PYNQ: the same object as for a board on a serial port.

Nothing of PYNQ is imported here: what is needed of it is handed in. ::

    from pynq import Overlay, allocate

    overlay = Overlay("design.bit")
    with OverlayBoard(mmio=overlay.core.mmio, dma=overlay.dma, allocate=allocate, spec=network.spec) as board:
        board.load(network)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lifstream.boards.host import Board, LinkError
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import EVENT_BYTES, command_bytes, commands_of, reply_bytes
from lifstream.golden.contract.register_table import REGISTERS
from lifstream.golden.model.packets import Reply

__all__ = ["Channel", "Dma", "Mmio", "OverlayBoard"]

_RESET_READS = 1_000
_BY_NAME = {register.name: register for register in REGISTERS}
_CONTROL, _VERSION = _BY_NAME["control"], _BY_NAME["version"]


class Mmio(Protocol):
    """The core's registers, as ``pynq.MMIO`` reads and writes them: 32 bits, offsets in bytes."""

    def read(self, offset: int) -> int:
        """A register."""

    def write(self, offset: int, value: int) -> None:
        """Set a register."""


class Channel(Protocol):
    """A direction of ``pynq.lib.dma.DMA``; RuntimeError when it is in no state to do what is asked."""

    @property
    def transferred(self) -> int:
        """Bytes of the transfer that was waited for."""

    def transfer(self, array: Any, start: int = 0, nbytes: int = 0) -> None:
        """Begin a transfer of ``nbytes``, 0 for all, of an allocated buffer."""

    def wait(self) -> None:
        """Until it is over."""


class Dma(Protocol):
    """An AXI DMA between memory and the core's streams, without scatter-gather."""

    @property
    def sendchannel(self) -> Channel:
        """From memory to the core."""

    @property
    def recvchannel(self) -> Channel:
        """From the core to memory."""


class _Memory:
    """The two buffers, in the place of a serial port."""

    def __init__(self, *, command: Any, reply: Any) -> None:
        self.command, self.reply = command, reply

    def read(self, size: int) -> bytes:
        raise OSError("there is no serial port")

    def write(self, data: bytes) -> object:
        raise OSError("there is no serial port")

    def close(self) -> None:
        """Give the memory back, where it is of the kind that has to be."""
        for buffer in (self.command, self.reply):
            if hasattr(buffer, "freebuffer"):
                buffer.freebuffer()


class OverlayBoard(Board):
    """A core behind AXI on this very chip; use it in a ``with`` statement, which gives its buffers back.

    Connecting resets the core, not the DMA. A packet that gets no answer is waited for without end: PYNQ's ``wait`` has
    no time-out.

    Parameters
    ----------
    mmio
        The core's registers.
    dma
        What carries packets.
    allocate
        Allocates memory that the DMA can reach, as ``pynq.allocate``: ``allocate(shape, dtype)``.
    spec
        The contract the core's network should have.

    Raises
    ------
    LinkError
        There is no core behind ``mmio``.
    InputError
        The core holds a network of another contract.
    """

    def __init__(self, *, mmio: Mmio, dma: Dma, allocate: Callable[..., NDArray[np.uint8]], spec: NetworkSpec) -> None:
        commands = commands_of(spec)
        events = EVENT_BYTES * spec.inputs * spec.steps if isinstance(spec.input, Events) else 0
        longest = 2 + max(events, *(command_bytes(spec, command) for command in commands))
        self._mmio, self._dma = mmio, dma
        self._memory = _Memory(
            command=allocate((longest,), dtype=np.uint8),
            reply=allocate((2 + max(reply_bytes(spec, command) for command in commands),), dtype=np.uint8))
        super().__init__(port=self._memory, spec=spec)

    def _reset_link(self) -> None:
        found = self._mmio.read(_VERSION.address)
        if found != _VERSION.reset:
            raise LinkError(f"board: register {_VERSION.address:#04x} reads {found:#010x}, a core's is "
                            f"{_VERSION.reset:#010x}; is this the right address, and the design loaded?")
        digest = b"".join(self._mmio.read(_BY_NAME[f"digest_{half}"].address).to_bytes(4, "little")
                          for half in ("low", "high")).hex()
        if digest != self.spec.digest():
            raise InputError(f"board: its network has the contract {digest}, not {self.spec.digest()}; build and "
                             "load it for this network")
        resetting = _CONTROL.field("reset").mask
        self._mmio.write(_CONTROL.address, resetting)
        for _ in range(_RESET_READS):
            if not self._mmio.read(_CONTROL.address) & resetting:
                return
        raise LinkError("board: the core's reset does not end; is its clock running?")

    def _exchange(self, packet: bytes) -> Reply:
        memory, dma = self._memory, self._dma
        memory.command[:len(packet)] = np.frombuffer(packet, dtype=np.uint8)
        try:
            dma.recvchannel.transfer(memory.reply)
            dma.sendchannel.transfer(memory.command, nbytes=len(packet))
            dma.sendchannel.wait()
            dma.recvchannel.wait()
        except (RuntimeError, ValueError) as error:     # the latter for more bytes than it can carry
            raise LinkError(f"board: the DMA failed ({error}); reset it, or load the design again") from None
        answer = np.array(memory.reply[:dma.recvchannel.transferred], dtype=np.int64)
        if len(answer) < 2:
            raise LinkError("the board's answer is too short; connect again")
        return Reply(answer, 0)

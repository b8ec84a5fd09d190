"""The host's side of a core in a LiteX SoC: packets through the registers of :mod:`lifstream.litex`."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["CsrHost", "Register"]

_LAST, _VALID = 1 << 8, 1 << 9  # bits of the registers command and reply
_COUNT = 0xFFFF                 # of status: room below, what waits above


class Register(Protocol):
    """A register as LiteX's clients offer it, such as ``RemoteClient().regs.lifstream_command``."""

    def read(self) -> int:
        """Its content."""

    def write(self, value: int) -> object:
        """Set its content."""


class CsrHost:
    """Sends commands and takes their replies, packet by packet.

    Parameters
    ----------
    regs
        The SoC's registers by name, ``regs`` of one of LiteX's clients.
    name
        Name of the peripheral in the SoC.
    patience
        Seconds without a byte, either way, after which a call is given up.
    """

    def __init__(self, *, regs: object, name: str = "lifstream", patience: float = 20.0) -> None:
        self._command, self._reply, self._status, self._control = (
            getattr(regs, f"{name}_{register}") for register in ("command", "reply", "status", "control"))
        self._patience = patience

    def reset(self) -> None:
        """Reset the core and drop what is on its way; weights are kept."""
        self._control.write(1)

    def exchange(self, packet: bytes) -> bytes:
        """Send a command and return its reply, whole packets both (``docs/protocol.md``).

        Raises
        ------
        TimeoutError
            The core takes or gives nothing any more; :meth:`reset` is the way out.
        """
        self._send(packet)
        return self._receive()

    def _send(self, packet: bytes) -> None:
        place, deadline = 0, time.monotonic() + self._patience
        while place < len(packet):
            room = self._status.read() & _COUNT
            for byte in packet[place:place + room]:
                place += 1
                self._command.write(byte | (_LAST if place == len(packet) else 0))
            deadline = self._go_on(moved=room > 0, deadline=deadline, what="take the command")

    def _receive(self) -> bytes:
        reply, deadline = bytearray(), time.monotonic() + self._patience
        while True:
            word = self._reply.read()
            if word & _VALID:
                reply.append(word & 0xFF)
                if word & _LAST:
                    return bytes(reply)
            deadline = self._go_on(moved=bool(word & _VALID), deadline=deadline, what="answer")

    def _go_on(self, *, moved: bool, deadline: float, what: str) -> float:
        now = time.monotonic()
        if moved:
            return now + self._patience
        if now > deadline:
            raise TimeoutError(f"the core did not {what} within {self._patience:g} s")
        return deadline

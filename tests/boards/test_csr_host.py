"""Packets through registers, on registers that are played."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from lifstream.boards.csr_host import CsrHost


class Peripheral:
    """Registers of a core that answers each packet with itself, reversed; it takes a few bytes at a time."""

    def __init__(self, *, room: int = 3, answers: bool = True) -> None:
        self.commands: list[int] = []
        self.waiting: deque[int] = deque()
        self.packets: list[bytes] = []
        self.resets: list[int] = []
        self._room, self._answers, self._left = room, answers, 0
        self.regs = SimpleNamespace(
            snn_command=SimpleNamespace(write=self._command), snn_reply=SimpleNamespace(read=self._reply),
            snn_status=SimpleNamespace(read=self._status), snn_control=SimpleNamespace(write=self.resets.append))
        self._turn = 0

    def _status(self) -> int:
        self._turn += 1
        self._left = self._room if self._turn % 2 else 0    # sometimes there is none
        return len(self.waiting) << 16 | self._left

    def _command(self, word: int) -> None:
        assert self._left > 0, "written without room"
        self._left -= 1
        self.commands.append(word & 0xFF)
        if word & 0x100:
            self.packets.append(bytes(self.commands))
            reply = self.commands[::-1]
            if self._answers:
                self.waiting += [0, *(byte | 0x200 for byte in reply[:-1]), reply[-1] | 0x300]
            self.commands.clear()

    def _reply(self) -> int:
        return self.waiting.popleft() if self.waiting else 0


def test_packets_go_and_come_whole() -> None:
    peripheral = Peripheral()
    host = CsrHost(regs=peripheral.regs, name="snn")
    for packet in (b"\x06", bytes(range(10)), bytes(3)):
        assert host.exchange(packet) == packet[::-1]
        assert peripheral.packets.pop() == packet
    host.reset()
    assert peripheral.resets == [1]


@pytest.mark.parametrize(("peripheral", "what"), [(Peripheral(room=0), "take the command"),
                                                  (Peripheral(answers=False), "answer")])
def test_a_core_that_is_not_there_is_given_up(peripheral: Peripheral, what: str) -> None:
    with pytest.raises(TimeoutError, match=f"did not {what} within 0 s"):
        CsrHost(regs=peripheral.regs, name="snn", patience=0.0).exchange(b"\x06")

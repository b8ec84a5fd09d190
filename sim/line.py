"""How packets go to a bench and replies come back: over a socket, each behind its length."""

from __future__ import annotations

import socket
import struct

__all__ = ["LENGTH", "REQUEST", "receive"]

REQUEST = struct.Struct("<II")
"""Ahead of a packet: its bytes, or 0 for a reset; and those of its reply."""

LENGTH = struct.Struct("<I")
"""Ahead of a reply: its bytes."""


def receive(line: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes; raises ConnectionError when the other end is closed before."""
    data = bytearray()
    while len(data) < count:
        part = line.recv(min(1 << 16, count - len(data)))
        if not part:
            raise ConnectionResetError("the other end was closed")
        data += part
    return bytes(data)

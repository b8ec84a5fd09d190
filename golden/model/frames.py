"""Frames of the serial link as bytes, for benches and the host driver (``docs/link.md``).

A frame is a header byte, a payload, and a CRC-32 (the one of Ethernet and zlib, lowest byte first), between
END bytes; END and ESCAPE within it are escaped as in RFC 1055. The header's top two bits are the kind, bit 5 is
set on a packet's last frame, bits 0 to 3 are the sequence number; a RESET's is repeated by its answer.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from lifstream.golden.contract.protocol import (
    CRC_BYTES,
    END,
    ESCAPE,
    ESCAPED_END,
    ESCAPED_ESCAPE,
    KIND_SHIFT,
    LAST,
    SEQUENCE_MASK,
    FrameKind,
)

__all__ = ["Frame", "FrameDecoder", "encode_frame"]

@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame's content."""

    kind: FrameKind
    sequence: int = 0
    last: bool = False
    payload: bytes = b""


def encode_frame(frame: Frame) -> bytes:
    """A frame as it goes over the line, delimiters included."""
    header = frame.kind << KIND_SHIFT | (LAST if frame.last else 0) | frame.sequence & SEQUENCE_MASK
    body = bytes([header]) + frame.payload
    body += zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    escaped = body.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPED_ESCAPE])).replace(
        bytes([END]), bytes([ESCAPE, ESCAPED_END]))
    return bytes([END]) + escaped + bytes([END])


class FrameDecoder:
    """Finds the good frames in whatever comes over the line."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._started = False
        self.dropped = 0
        """Frames with a wrong checksum, or no frames at all, so far."""

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that ``data`` completes."""
        frames = []
        for byte in data:
            if byte != END:
                self._body.append(byte)
                continue
            if self._started and self._body:
                frame = self._decode(bytes(self._body))
                self.dropped += frame is None
                if frame is not None:
                    frames.append(frame)
            self._started = True
            self._body.clear()
        return frames

    @staticmethod
    def _decode(escaped: bytes) -> Frame | None:
        body = escaped.replace(bytes([ESCAPE, ESCAPED_END]), bytes([END])).replace(
            bytes([ESCAPE, ESCAPED_ESCAPE]), bytes([ESCAPE]))
        if len(body) <= CRC_BYTES or zlib.crc32(body[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little") != body[-CRC_BYTES:]:
            return None
        try:
            kind = FrameKind(body[0] >> KIND_SHIFT)
        except ValueError:
            return None
        return Frame(kind=kind, sequence=body[0] & SEQUENCE_MASK, last=bool(body[0] & LAST),
                     payload=body[1:-CRC_BYTES])

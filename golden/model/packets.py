"""Packets of the host protocol as the core's byte streams carry them: the byte, and bit 8 on the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import (
    COUNTER_BYTES,
    COUNTERS,
    SAMPLE_COMMANDS,
    STATE_ACCESS,
    Command,
    Status,
    item_bytes,
    reply_bytes,
    response_bytes,
    sample_command,
)
from lifstream.golden.model.encoder import unpacked

__all__ = ["PacketError", "Reply", "decode_replies", "decode_responses", "decode_state", "decode_status",
           "encode_state", "event_bytes", "expect", "image_packets", "packet", "sample_packets"]

LAST = 0x100


class PacketError(Exception):
    """The core's answer is not what the protocol says."""


class Reply:
    """A reply's parts, and the clock cycle of its last byte."""

    def __init__(self, data: NDArray[np.int64], cycle: int) -> None:
        self.command, self.status, self.payload, self.cycle = int(data[0]), int(data[1]), data[2:], cycle


def packet(command: int, payload: Sequence[int] | NDArray[np.integer] = ()) -> NDArray[np.int64]:
    """One packet, int64 (bytes,)."""
    words = np.concatenate([[int(command)], np.asarray(payload, dtype=np.int64)]).astype(np.int64)
    words[-1] |= LAST
    return words


def image_packets(images: NDArray[np.uint8], labels: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """INFER packets of uint8 (count, pixels) images, or TRAIN packets when there are labels."""
    columns = [np.full((len(images), 1), Command.INFER if labels is None else Command.TRAIN, dtype=np.int64)]
    if labels is not None:
        columns.append(labels.astype(np.int64)[:, None])
    words = np.concatenate([*columns, images.astype(np.int64)], axis=1)
    words[:, -1] |= LAST
    return words.ravel()


def event_bytes(spec: NetworkSpec, sample: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The events of a packed sample, uint8 (bytes,), as they are sent: uint8 (4 x events,)."""
    spikes = unpacked(sample, steps=spec.steps, neurons=spec.inputs)
    return np.ascontiguousarray(np.argwhere(spikes), dtype="<u2").view(np.uint8).ravel()


def sample_packets(spec: NetworkSpec, samples: NDArray[np.uint8], labels: NDArray[np.uint8] | None
                   ) -> NDArray[np.int64]:
    """Packets of a data set's samples, uint8 (count, bytes), by which to learn from them when there are labels."""
    if not isinstance(spec.input, Events):
        return image_packets(samples, labels)
    command = sample_command(spec, learn=labels is not None)
    return np.concatenate([
        packet(command, np.concatenate([[] if labels is None else [labels[index]], event_bytes(spec, sample)]))
        for index, sample in enumerate(samples)])


def encode_state(spec: NetworkSpec, name: str, arrays: Sequence[NDArray[np.integer]]) -> NDArray[np.uint8]:
    """All learnt arrays of one name as bytes, little-endian, in the order of the contract."""
    flat = np.concatenate([array.ravel() for array in arrays]).astype("<i8")
    return flat.view(np.uint8).reshape(-1, 8)[:, :item_bytes(spec, name)].ravel()


def decode_state(spec: NetworkSpec, name: str, payload: NDArray[np.int64]) -> list[NDArray[Any]]:
    """The inverse of :func:`encode_state`: matrices int32, vectors int64."""
    width = item_bytes(spec, name)
    values = _numbers(payload.reshape(-1, width), signed=STATE_ACCESS[name].signed)
    found, start = [], 0
    for array in spec.learnt_state[name]:
        part = values[start:start + array.size].reshape(array.shape)
        found.append(part.astype(np.int32 if part.ndim == 2 else np.int64))
        start += array.size
    return found


def decode_status(payload: NDArray[np.int64]) -> dict[str, int | str]:
    """Digest, rate shift and counters of a STATUS reply."""
    result: dict[str, int | str] = {"spec_digest": bytes(payload[:8].tolist()).hex(), "rate_shift": int(payload[8])}
    for index, name in enumerate(COUNTERS):
        start = 9 + COUNTER_BYTES * index
        result[name] = int.from_bytes(bytes(payload[start:start + COUNTER_BYTES].tolist()), "little")
    return result


def decode_replies(words: NDArray[np.int64], cycles: NDArray[np.int64]) -> list[Reply]:
    """Split the reply stream into packets.

    Raises
    ------
    PacketError
        The stream ends within a packet, or a packet is shorter than two bytes.
    """
    ends = np.flatnonzero(words & LAST) + 1
    if len(words) and (not len(ends) or ends[-1] != len(words)):
        raise PacketError("the last reply is incomplete")
    replies: list[Reply] = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        if end - start < 2:
            raise PacketError(f"reply {len(replies)} has {end - start} bytes")
        replies.append(Reply(words[start:end] & 0xFF, int(cycles[end - 1])))
    return replies


def decode_responses(spec: NetworkSpec, payload: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is told of the last layer's neurons, int64 (..., responding), in payloads, (..., bytes), of answers to
    samples, predictions first."""
    width = response_bytes(spec)
    raw = payload[..., 1:].reshape(*payload.shape[:-1], -1, width)
    return _numbers(raw, signed=spec.response_range[0] < 0)


def _numbers(raw: NDArray[np.int64], *, signed: bool) -> NDArray[np.int64]:
    """Numbers of little-endian bytes along the last axis, 8 at most."""
    width = raw.shape[-1]
    top = raw[..., -1] - 0x100 * ((raw[..., -1] >= 0x80) if signed else 0)
    values: NDArray[np.int64] = (raw[..., :-1] << (8 * np.arange(width - 1))).sum(axis=-1) + (top << 8 * (width - 1))
    return values


def expect(reply: Reply, spec: NetworkSpec, command: Command) -> Reply:
    """The reply, if it is a good one to ``command``; otherwise raises PacketError."""
    good = (Status.OK, Status.TIE) if command in SAMPLE_COMMANDS else (Status.OK,)
    if reply.command != command or reply.status not in good or len(reply.payload) != reply_bytes(spec, command):
        raise PacketError(f"{command.name} was answered by command {reply.command:#04x}, status {reply.status:#04x} "
                          f"and {len(reply.payload)} bytes")
    return reply

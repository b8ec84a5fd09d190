"""Host driver: a board on a serial port, or a simulated one, as an object."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
import serial
from numpy.typing import NDArray

from lifstream.golden.link import Frame, FrameDecoder, encode_frame
from lifstream.golden.network import NO_PREDICTION, Network
from lifstream.golden.packets import (
    PacketError,
    Reply,
    decode_status,
    decode_thresholds,
    decode_weights,
    encode_thresholds,
    encode_weights,
    expect,
)
from lifstream.golden.protocol import PAYLOAD_MAX, SEQUENCE_MASK, Command, FrameKind, Status
from lifstream.golden.spec import InputError, NetworkSpec

__all__ = ["Answer", "Board", "LinkError", "Port", "open_port"]


class LinkError(InputError):
    """The board does not answer as it should; one line that says what to do."""


class Port(Protocol):
    """What the driver needs of a serial port; :class:`serial.Serial` is one."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer, or none, after the port's time-out."""

    def write(self, data: bytes) -> object:
        """Send all of ``data``."""

    def close(self) -> None:
        """Give the port back."""


class Answer(NamedTuple):
    """What a board says about an image."""

    prediction: int
    """Class, or ``NO_PREDICTION`` on a tie."""
    counts: NDArray[np.int64]
    """Spike counts of the last layer, int64 (n,)."""


def open_port(name: str, *, baud: int = 3_000_000) -> Port:
    """A serial port by name.

    Raises
    ------
    InputError
        There is no such port, or it cannot be opened.
    """
    try:
        port: Port = serial.Serial(name, baud, timeout=0.02)
    except (serial.SerialException, ValueError) as error:
        raise InputError(f"{name}: cannot be opened as a serial port ({error}); is the board plugged in?") from None
    return port


class Board:
    """A board that answers; use it in a ``with`` statement, which closes the port.

    Every frame is repeated until it is acknowledged; a frame that came twice is taken once. So a call either returns
    the board's own answer or raises: nothing is reported as done that was not.

    Parameters
    ----------
    port
        An open port.
    spec
        The contract the board's network should have.
    patience
        Seconds to wait for an acknowledgement before a frame is sent again.
    retries
        How often that is done.
    silence
        Seconds without any good frame after which the board is given up while its reply is awaited.
    clock
        Seconds, for tests.

    Raises
    ------
    LinkError
        Nothing answers on the port.
    InputError
        The board holds a network of another contract.
    """

    def __init__(self, *, port: Port, spec: NetworkSpec, patience: float = 0.5, retries: int = 8, silence: float = 20.0,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.spec = spec
        self._port, self._patience, self._retries, self._silence, self._clock = port, patience, retries, silence, clock
        self._decoder = FrameDecoder()
        self._next = self._wanted = 0
        self._reply = bytearray()
        self._replies: list[bytes] = []
        self.repeated = 0
        """Frames sent again so far."""
        try:
            self._start()
            found = str(self.counters()["spec_digest"])
            if found != spec.digest():
                raise InputError(f"board: its network has the contract {found}, not {spec.digest()}; build and program "
                                 "it for this preset")
        except BaseException:
            port.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    # -- what a board does ---------------------------------------------------------------------------

    def load(self, network: Network) -> None:
        """Load weights, and with plasticity adaptive thresholds and votes."""
        if network.spec != self.spec:
            raise InputError(f"board: the model's contract is {network.spec.digest()}, the board's "
                             f"{self.spec.digest()}")
        self._command(Command.LOAD_WEIGHTS, bytes(encode_weights(self.spec, network.weights)))
        if network.thresholds:
            self._command(Command.LOAD_THRESHOLDS, bytes(encode_thresholds(network.thresholds)))

    def infer(self, image: NDArray[np.uint8]) -> Answer:
        """Classify a uint8 (inputs,) image."""
        return self._answer(Command.INFER, self._checked(image))

    def train(self, image: NDArray[np.uint8], label: int) -> Answer:
        """Learn from a uint8 (inputs,) image and its class; returns what was predicted before."""
        if not 0 <= label < self.spec.classes:
            raise InputError(f"label: {label} is out of bounds, must be 0..{self.spec.classes - 1}")
        return self._answer(Command.TRAIN, bytes([label]) + self._checked(image))

    def set_rate_shift(self, rate_shift: int) -> None:
        """Set the learning rate to 2**-rate_shift."""
        self.spec.update_shift(rate_shift)
        self._command(Command.SET_RATE_SHIFT, bytes([rate_shift]))

    def seed(self, states: list[int]) -> None:
        """Set the generators of dropout and rounding, 32 bits each: :class:`lifstream.golden.draws.DrawGenerator`."""
        self._command(Command.SEED_RANDOM, b"".join(state.to_bytes(4, "little") for state in states))

    def weights(self) -> list[NDArray[np.int32]]:
        """All weights, as in :class:`lifstream.golden.network.Network`."""
        return decode_weights(self.spec, self._command(Command.READ_WEIGHTS).payload)

    def thresholds(self) -> list[NDArray[np.int64]]:
        """All adaptive thresholds; empty without plasticity."""
        if self.spec.stdp is None:
            return []
        return decode_thresholds(self.spec, self._command(Command.READ_THRESHOLDS).payload)

    def counters(self) -> dict[str, int | str]:
        """Contract digest, rate shift and counters (:data:`lifstream.golden.protocol.COUNTERS`)."""
        reply = self._exchange(bytes([Command.STATUS]))
        return decode_status(reply.payload)

    def _checked(self, image: NDArray[np.uint8]) -> bytes:
        if image.dtype != np.uint8 or image.shape != (self.spec.inputs,):
            raise InputError(f"image: {image.dtype} {image.shape}, expected uint8 {(self.spec.inputs,)}")
        return image.tobytes()

    def _answer(self, command: Command, payload: bytes) -> Answer:
        reply = self._command(command, payload)
        tie = reply.status == Status.TIE
        return Answer(NO_PREDICTION if tie else int(reply.payload[0]), reply.payload[1:])

    def _command(self, command: Command, payload: bytes = b"") -> Reply:
        try:
            return expect(self._exchange(bytes([command]) + payload), self.spec, command)
        except PacketError as error:
            raise LinkError(f"board: {error}; reset it and load the weights again") from None

    # -- frames --------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Reset both ends; whatever was on its way is dropped."""
        for _ in range(self._retries):
            self._port.write(encode_frame(Frame(kind=FrameKind.RESET)))
            deadline = self._clock() + self._patience
            while self._clock() < deadline:
                frames = self._decoder.feed(self._port.read(4096))
                if any(frame.kind is FrameKind.RESET for frame in frames):
                    return
        raise LinkError("the board does not answer; check port, baud rate and bitstream")

    def _exchange(self, packet: bytes) -> Reply:
        """Send a packet and return the packet that answers it."""
        self._replies.clear()
        self._reply.clear()
        for start in range(0, len(packet), PAYLOAD_MAX):
            part = packet[start:start + PAYLOAD_MAX]
            self._send(part, last=start + len(part) == len(packet))
        heard = self._clock()
        while not self._replies:
            if self._receive():
                heard = self._clock()
            elif self._clock() - heard > self._silence:
                raise LinkError("the board took the command and fell silent; reset it and load the weights again")
        answer = np.frombuffer(self._replies.pop(0), dtype=np.uint8).astype(np.int64)
        if len(answer) < 2:
            raise LinkError("the board's answer is too short; reset it and load the weights again")
        return Reply(answer, 0)

    def _send(self, part: bytes, *, last: bool) -> None:
        frame = encode_frame(Frame(kind=FrameKind.DATA, sequence=self._next, last=last, payload=part))
        for attempt in range(self._retries + 1):
            self.repeated += attempt > 0
            self._port.write(frame)
            deadline = self._clock() + self._patience
            while self._clock() < deadline:
                for answer in self._receive():
                    if answer.kind is FrameKind.ACKNOWLEDGE and answer.sequence == self._next:
                        self._next = (self._next + 1) & SEQUENCE_MASK
                        return
        raise LinkError(f"a frame was sent {self._retries + 1} times and never acknowledged; was the board reset? "
                        "Connect again and load the weights")

    def _receive(self) -> list[Frame]:
        """Read what has come; data frames are acknowledged, and taken once."""
        frames = self._decoder.feed(self._port.read(4096))
        for frame in frames:
            if frame.kind is not FrameKind.DATA:
                continue
            if frame.sequence == self._wanted:
                self._wanted = (self._wanted + 1) & SEQUENCE_MASK
                self._reply += frame.payload
                if frame.last:
                    self._replies.append(bytes(self._reply))
                    self._reply.clear()
            elif frame.sequence != (self._wanted - 1) & SEQUENCE_MASK:
                continue
            self._port.write(encode_frame(Frame(kind=FrameKind.ACKNOWLEDGE, sequence=frame.sequence)))
        return frames

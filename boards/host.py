"""Host driver: a board on a serial port, or a simulated one, as an object."""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import (
    BAUD,
    PAYLOAD_MAX,
    SEQUENCE_MASK,
    STATE_ACCESS,
    Command,
    FrameKind,
    Status,
    sample_command,
)
from lifstream.golden.model.frames import Frame, FrameDecoder, encode_frame
from lifstream.golden.model.learning import require_learning
from lifstream.golden.model.network import NO_PREDICTION, Network
from lifstream.golden.model.packets import (
    PacketError,
    Reply,
    decode_responses,
    decode_state,
    decode_status,
    encode_state,
    event_bytes,
    expect,
)

__all__ = ["Answer", "Board", "BoardState", "LinkError", "Port", "open_port"]

_RESETS = 4
"""Resets in a row, each of another number, that make sure that old frames are gone: see ``docs/link.md``."""

_LEARNING = frozenset({Command.TRAIN, Command.TRAIN_EVENTS})
_CHANGING = _LEARNING | {access.load for access in STATE_ACCESS.values()}
"""Commands that change the network."""


class LinkError(InputError):
    """The board does not answer as it should; one line that says what to do."""


class BoardState(enum.Enum):
    """What a :class:`Board` knows of its board."""

    READY = "ready"
    """Every call was completed, or has been recovered from."""
    UNFINISHED = "unfinished"
    """A call was not completed; weights, adaptive thresholds and votes are as they were before it."""
    IN_DOUBT = "in doubt"
    """A call was not completed; weights, adaptive thresholds and votes are as before, changed, or changed in part."""
    CLOSED = "closed"
    """The port has been given back."""


_REFUSALS = {
    BoardState.UNFINISHED: "the call before was not completed; the network is as it was: call recover() and go on",
    BoardState.IN_DOUBT: "the call before was not completed, the network may be changed in part: load() one, or "
                         "recover() and read its weights",
    BoardState.CLOSED: "is closed; connect again",
}


class Port(Protocol):
    """What the driver needs of a serial port; :class:`serial.Serial` is one. All may raise OSError."""

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
    responses: NDArray[np.int64]
    """Spike counts of the last layer's neurons, or what the readout says of their potentials, int64 (n,)."""


def open_port(name: str, *, baud: int = BAUD, write_timeout: float = 10.0) -> Port:
    """A serial port by name, for one driver alone.

    Parameters
    ----------
    baud
        Bits per second.
    write_timeout
        Seconds after which a write fails that the port does not take.

    Raises
    ------
    InputError
        There is no such port, it cannot be opened, or another driver has it.
    """
    import serial  # who has no board need not have it

    try:
        port: Port = serial.Serial(name, baud, timeout=0.02, write_timeout=write_timeout, exclusive=True)
    except (serial.SerialException, ValueError) as error:
        raise InputError(f"{name}: cannot be opened as a serial port ({error}); is the board plugged in?") from None
    return port


def _gone(error: OSError) -> LinkError:
    return LinkError(f"the serial port failed ({error}); was the board unplugged? Connect again")


def _seed_bytes(states: list[int]) -> bytes:
    return b"".join(state.to_bytes(4, "little") for state in states)


class Board:
    """A board that answers; use it in a ``with`` statement, which closes the port.

    Every frame is repeated until it is acknowledged; a frame that came twice is taken once. So a call either returns
    the board's own answer or raises: nothing is reported as done that was not.

    A call that raises after something was sent (a LinkError, Ctrl-C, whatever) leaves open what the board did of it.
    From then on :attr:`state` says so, and every call but :meth:`load`, :meth:`recover` and :meth:`close` raises
    LinkError. A call that refuses its arguments sends nothing and changes nothing.

    Connecting resets the board: generators and rate shift are the contract's, counters zero. Its weights are what it
    held; of a board that was learning at that moment, changed in part.

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
        Seconds without the next part of a reply after which the board is given up.
    clock
        Seconds, for tests.
    numbers
        Draws the numbers of resets, for tests.

    Raises
    ------
    LinkError
        Nothing answers on the port.
    InputError
        The board holds a network of another contract.
    """

    def __init__(self, *, port: Port, spec: NetworkSpec, patience: float = 0.5, retries: int = 8, silence: float = 20.0,
                 clock: Callable[[], float] = time.monotonic, numbers: random.Random | None = None) -> None:
        self.spec = spec
        self._port, self._patience, self._retries, self._silence, self._clock = port, patience, retries, silence, clock
        self._numbers = numbers or random.Random()
        self._decoder = FrameDecoder()
        self._next = self._wanted = 0
        self._reply = bytearray()
        self._replies: list[bytes] = []
        self._complete = False  # no call is under way, and none was broken off
        self._settled = True    # nothing is under way, and nothing was broken off, that changes the network
        self._closed = False
        self._rate_shift: int | None = None     # as set through this object; None for the contract's
        self._seeds: list[int] = []             # likewise
        self.repeated = 0
        """Frames sent again so far."""
        try:
            self._restart()
        except BaseException:
            self.close()
            raise
        self._complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self.close()
        except LinkError:
            if value is None:
                raise

    @property
    def state(self) -> BoardState:
        """What is known of the board."""
        if self._closed:
            return BoardState.CLOSED
        if self._complete:
            return BoardState.READY
        return BoardState.UNFINISHED if self._settled else BoardState.IN_DOUBT

    def close(self) -> None:
        """Give the port back, once what was last learnt is written; a reset, as by the next driver, would cut it off.

        Raises
        ------
        LinkError
            It cannot be made sure of. The port is closed all the same.
        """
        try:
            if self.state is BoardState.READY and not self._settled:
                self.counters()
        finally:
            self._closed = True
            with suppress(OSError):
                self._port.close()

    def recover(self) -> None:
        """After a call that was not completed: reset the board and go on with the network that it holds.

        Weights, adaptive thresholds and votes are as they were if the state was ``UNFINISHED``; if it was ``IN_DOUBT``,
        they may be changed or changed in part: by the call that was not completed, or by the one before, when that
        was :meth:`train`. Rate shift and generators are what :meth:`set_rate_shift` and :meth:`seed` last set, or else
        the contract's; generators have forgotten what they drew since. Counters are zero. Does nothing when ``READY``.

        Raises
        ------
        LinkError
            The board still does not answer, or is closed; the state stays as it was.
        """
        if self.state is not BoardState.READY:
            with self._call(Command.STATUS, mends=True):
                pass

    # -- what a board does ---------------------------------------------------------------------------

    def load(self, network: Network) -> None:
        """Load all that a network has learnt: weights, adaptive thresholds, votes.

        After a call that was not completed the board is reset first: whatever it was, it is known again. Rate shift,
        generators and counters are then as :meth:`recover` says.
        """
        if network.spec != self.spec:
            raise InputError(f"board: the model's contract is {network.spec.digest()}, the board's "
                             f"{self.spec.digest()}")
        with self._call(Command.LOAD_WEIGHTS, mends=True):
            for name, arrays in network.state.items():
                self._command(STATE_ACCESS[name].load, bytes(encode_state(self.spec, name, arrays)))

    def infer(self, image: NDArray[np.uint8]) -> Answer:
        """Classify a sample, uint8 (bytes,): an image's pixels, or packed spike trains."""
        return self._answer(sample_command(self.spec, learn=False), self._checked(image))

    def train(self, image: NDArray[np.uint8], label: int) -> Answer:
        """Learn from a sample, as in :meth:`infer`, and its class; returns what was predicted before.

        The board may still be writing weights then; whatever is asked next waits for that.
        """
        require_learning(self.spec)
        if not 0 <= label < self.spec.classes:
            raise InputError(f"label: {label} is out of bounds, must be 0..{self.spec.classes - 1}")
        return self._answer(sample_command(self.spec, learn=True), bytes([label]) + self._checked(image))

    def set_rate_shift(self, rate_shift: int) -> None:
        """Set the learning rate to 2**-rate_shift."""
        require_learning(self.spec)
        self.spec.at(0).update_shift(rate_shift)
        with self._call(Command.SET_RATE_SHIFT):
            self._command(Command.SET_RATE_SHIFT, bytes([rate_shift]))
            self._rate_shift = rate_shift

    def seed(self, states: list[int]) -> None:
        """Set the generators of dropout and rounding, 32 bits each, see
        :class:`lifstream.golden.model.draws.DrawGenerator`."""
        count = len(self.spec.random_seeds)
        if len(states) != count or not all(0 < state < 1 << 32 for state in states):
            raise InputError(f"seeds: {states}, expected {count} numbers from 1 to {(1 << 32) - 1}")
        with self._call(Command.SEED_RANDOM):
            self._command(Command.SEED_RANDOM, _seed_bytes(states))
            self._seeds = list(states)

    def weights(self) -> list[NDArray[np.int32]]:
        """All weights, as in :class:`lifstream.golden.model.network.Network`."""
        return self._learnt("weights")

    def learnt_state(self) -> dict[str, list[NDArray[Any]]]:
        """All that the board has learnt, as in :attr:`lifstream.golden.model.network.Network.state`."""
        return {name: self._learnt(name) for name in self.spec.learnt_state}

    def _learnt(self, name: str) -> list[NDArray[Any]]:
        command = STATE_ACCESS[name].read
        with self._call(command):
            return decode_state(self.spec, name, self._command(command).payload)

    def counters(self) -> dict[str, int | str]:
        """Contract digest, rate shift and counters (:data:`lifstream.golden.contract.protocol.COUNTERS`)."""
        with self._call(Command.STATUS):
            return self._status()

    def _checked(self, image: NDArray[np.uint8]) -> bytes:
        """A sample as it is sent."""
        size = self.spec.sample_bytes
        if image.dtype != np.uint8 or image.shape != (size,):
            raise InputError(f"image: {image.dtype} {image.shape}, expected uint8 {(size,)}")
        return (event_bytes(self.spec, image) if isinstance(self.spec.input, Events) else image).tobytes()

    @contextmanager
    def _call(self, command: Command, *, mends: bool = False) -> Iterator[None]:
        """A call: not ``READY`` from before its first byte until it is complete, whatever breaks it off."""
        before = self.state
        if before is not BoardState.READY and (before is BoardState.CLOSED or not mends):
            raise LinkError(f"board: {_REFUSALS[before]}")
        self._complete = False
        self._settled = self._settled and command not in _CHANGING
        if before is not BoardState.READY:
            self._restart()
        yield
        self._complete = True
        self._settled = command not in _LEARNING    # all others are answered when nothing changes any more

    def _answer(self, command: Command, payload: bytes) -> Answer:
        with self._call(command):
            reply = self._command(command, payload)
            tie = reply.status == Status.TIE
            return Answer(NO_PREDICTION if tie else int(reply.payload[0]), decode_responses(self.spec, reply.payload))

    def _status(self) -> dict[str, int | str]:
        return decode_status(self._command(Command.STATUS).payload)

    def _command(self, command: Command, payload: bytes = b"") -> Reply:
        try:
            return expect(self._exchange(bytes([command]) + payload), self.spec, command)
        except PacketError as error:
            raise LinkError(f"board: {error}; connect again") from None

    # -- frames --------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Reset both ends, see that the board is the right one, and set again what had been set."""
        self._reset_link()
        found = str(self._status()["spec_digest"])
        if found != self.spec.digest():
            raise InputError(f"board: its network has the contract {found}, not {self.spec.digest()}; build and "
                             "program it for this network")
        if self._rate_shift is not None:
            self._command(Command.SET_RATE_SHIFT, bytes([self._rate_shift]))
        if self._seeds:
            self._command(Command.SEED_RANDOM, _seed_bytes(self._seeds))

    def _reset_link(self) -> None:
        """Reset both ends."""
        self._decoder = FrameDecoder()
        self._next = self._wanted = 0
        for number in self._numbers.sample(range(SEQUENCE_MASK + 1), _RESETS):
            self._reset(number)

    def _reset(self, number: int) -> None:
        """Send RESET of a number until it is answered; whatever comes before the answer is dropped."""
        for _ in range(self._retries):
            self._write(Frame(kind=FrameKind.RESET, sequence=number))
            deadline = self._clock() + self._patience
            while self._clock() < deadline:
                if any(frame.kind is FrameKind.RESET and frame.sequence == number for frame in self._read()):
                    return
        raise LinkError("the board does not answer; check port, baud rate and bitstream")

    def _read(self) -> list[Frame]:
        """Frames that have come."""
        try:
            return self._decoder.feed(self._port.read(4096))
        except OSError as error:
            raise _gone(error) from None

    def _write(self, frame: Frame) -> None:
        try:
            self._port.write(encode_frame(frame))
        except OSError as error:
            raise _gone(error) from None

    def _exchange(self, packet: bytes) -> Reply:
        """Send a packet and return the packet that answers it."""
        self._replies.clear()
        self._reply.clear()
        for start in range(0, len(packet), PAYLOAD_MAX):
            part = packet[start:start + PAYLOAD_MAX]
            self._send(part, last=start + len(part) == len(packet))
        heard, before = self._clock(), self._wanted
        while not self._replies:
            self._receive()
            if self._wanted != before:
                heard, before = self._clock(), self._wanted
            elif self._clock() - heard > self._silence:
                raise LinkError("the board took the command and fell silent; connect again")
        answer = np.frombuffer(self._replies.pop(0), dtype=np.uint8).astype(np.int64)
        if len(answer) < 2:
            raise LinkError("the board's answer is too short; connect again")
        return Reply(answer, 0)

    def _send(self, part: bytes, *, last: bool) -> None:
        frame = Frame(kind=FrameKind.DATA, sequence=self._next, last=last, payload=part)
        for attempt in range(self._retries + 1):
            self.repeated += attempt > 0
            self._write(frame)
            deadline = self._clock() + self._patience
            while self._clock() < deadline:
                for answer in self._receive():
                    if answer.kind is FrameKind.ACKNOWLEDGE and answer.sequence == self._next:
                        self._next = (self._next + 1) & SEQUENCE_MASK
                        return
        raise LinkError(f"a frame was sent {self._retries + 1} times and never acknowledged; was the board reset? "
                        "Connect again")

    def _receive(self) -> list[Frame]:
        """Read what has come; data frames are acknowledged, and taken once."""
        frames = self._read()
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
            self._write(Frame(kind=FrameKind.ACKNOWLEDGE, sequence=frame.sequence))
        return frames

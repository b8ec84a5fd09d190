"""A board in Python, its clock included, and a port that breaks a call off."""

from __future__ import annotations

import enum
import random
from collections import deque

import numpy as np
import serial

from lifstream.boards.host import Port
from lifstream.golden.contract.protocol import COUNTER_BYTES, COUNTERS, Command, FrameKind, Status, command_bytes
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.frames import Frame, FrameDecoder, encode_frame
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import decode_state, encode_state

__all__ = ["Accident", "SoftBoard", "UnluckyPort"]

_REPEAT_SECONDS, _UPDATE_SECONDS = 0.4, 0.3
_PART = 100


class SoftBoard:
    """A board as a port: it obeys ``docs/link.md``, and learns after it has answered, as the core does.

    Parameters
    ----------
    network
        What it holds.
    fault
        Share of the bytes that are lost, changed, or followed by one too many, either way.
    deaf_after
        Frames after which it hears nothing more.
    delay
        Seconds that its bytes are under way.
    step
        Seconds that a read takes.
    """

    def __init__(self, network: Network, *, fault: float = 0.0, seed: int = 1, deaf_after: int | None = None,
                 delay: float = 0.0, step: float = 0.05) -> None:
        self.network, self._spec = network, network.spec
        self.learned: list[bytes] = []
        """Payloads of the TRAIN commands that were obeyed, and whose updates were made whole."""
        self.torn = 0
        """Updates that a reset cut off."""
        self._random, self._fault = random.Random(seed), fault
        self._delay, self._step, self._deaf_after = delay, step, deaf_after
        self._decoder, self._line = FrameDecoder(), deque[tuple[float, bytes]]()
        self._synchronised = False
        self._expected = self._number = self._frames = 0
        self._packet, self._outgoing = bytearray(), list[tuple[bytes, bool]]()
        self._update: tuple[float, bytes, Network] | None = None
        self._sent_at = self.now = 0.0
        self._reset_core()

    def clock(self) -> float:
        return self.now

    def _reset_core(self) -> None:
        low, high = self._spec.rate_shift_range
        self._rate_shift, self._draws = min(low + 2, high), DrawGenerator(self._spec)
        self._counted = 0
        if self._update is not None:    # half of the weights are written
            self.torn += 1
            self.network.weights[0] = self._update[2].weights[0]
            self._update = None

    def _settle(self, *, now: bool) -> None:
        if self._update is not None and (now or self.now >= self._update[0]):
            self.learned.append(self._update[1])
            self.network, self._update = self._update[2], None

    def _spoil(self, line: bytes) -> bytes:
        if not self._fault:
            return line
        spoilt = bytearray()
        for byte in line:
            draw = self._random.random()
            if draw < self._fault / 3:
                continue
            spoilt.append(byte ^ (1 << self._random.randrange(8)) if draw < self._fault * 2 / 3 else byte)
            if draw > 1 - self._fault / 3:
                spoilt.append(self._random.randrange(256))
        return bytes(spoilt)

    def write(self, line: bytes) -> None:
        for frame in self._decoder.feed(self._spoil(line)):
            self._frames += 1
            if self._deaf_after is not None and self._frames > self._deaf_after:
                return
            if frame.kind is FrameKind.RESET:
                self._synchronised, self._expected, self._number = True, 0, 0
                self._packet.clear()
                self._outgoing.clear()
                self._reset_core()
                self._send(frame)
            elif not self._synchronised:
                continue
            elif frame.kind is FrameKind.ACKNOWLEDGE and self._outgoing and frame.sequence == self._number:
                self._outgoing.pop(0)
                self._number = (self._number + 1) & 15
                self._transmit()
            elif frame.kind is FrameKind.DATA and frame.sequence in (self._expected, (self._expected - 1) & 15):
                if frame.sequence == self._expected:
                    self._expected = (self._expected + 1) & 15
                    self._packet += frame.payload
                    if frame.last:
                        self._obey(bytes(self._packet))
                        self._packet.clear()
                self._send(Frame(kind=FrameKind.ACKNOWLEDGE, sequence=frame.sequence))

    def _send(self, frame: Frame) -> None:
        self._line.append((self.now + self._delay, self._spoil(encode_frame(frame))))

    def _transmit(self) -> None:
        if self._outgoing:
            self._sent_at = self.now
            payload, last = self._outgoing[0]
            self._send(Frame(kind=FrameKind.DATA, sequence=self._number, last=last, payload=payload))

    def _obey(self, packet: bytes) -> None:
        self._settle(now=True)
        command, payload = Command(packet[0]), packet[1:]
        assert len(payload) == command_bytes(self._spec, command)
        reply, status = b"", Status.OK
        if command in (Command.INFER, Command.TRAIN):
            image = np.frombuffer(payload[-self._spec.inputs:], dtype=np.uint8)
            record = self.network.classify(image)
            if command is Command.TRAIN:
                changed = Network(spec=self._spec, weights=[matrix.copy() for matrix in self.network.weights])
                record = learn(changed, image, payload[0], rate_shift=self._rate_shift,
                               **self._draws.draw()._asdict()).forward
                self._counted += 1
                self._update = (self.now + _UPDATE_SECONDS, payload, changed)
            status = Status.OK if record.prediction >= 0 else Status.TIE
            reply = bytes([int(record.prediction) & 0xFF, *record.counts.tolist()])
        elif command is Command.LOAD_WEIGHTS:
            weights = decode_state(self._spec, "weights", np.frombuffer(payload, dtype=np.uint8).astype(np.int64))
            self.network = Network(spec=self._spec, weights=weights)
        elif command is Command.READ_WEIGHTS:
            reply = bytes(encode_state(self._spec, "weights", self.network.weights))
        elif command is Command.SET_RATE_SHIFT:
            self._rate_shift = payload[0]
        elif command is Command.SEED_RANDOM:
            self._draws.states = np.frombuffer(payload, dtype="<u4").tolist()
        elif command is Command.STATUS:
            counters = {"images": self._counted, "learned": self._counted}
            reply = bytes.fromhex(self._spec.digest()) + bytes([self._rate_shift]) + b"".join(
                counters.get(name, 0).to_bytes(COUNTER_BYTES, "little") for name in COUNTERS)
        whole = bytes([command, status]) + reply
        idle = not self._outgoing   # otherwise the reply before has not been acknowledged
        self._outgoing += [(whole[start:start + _PART], start + _PART >= len(whole))
                           for start in range(0, len(whole), _PART)]
        if idle:
            self._transmit()

    def read(self, size: int) -> bytes:
        self.now += self._step
        self._settle(now=False)
        if self._outgoing and self.now - self._sent_at > _REPEAT_SECONDS:
            self._transmit()
        line = bytearray()
        while self._line and self._line[0][0] <= self.now and len(line) + len(self._line[0][1]) <= size:
            line += self._line.popleft()[1]
        return bytes(line)

    def close(self) -> None:
        pass


class Accident(enum.Enum):
    """What happens in a call of a port."""

    BEFORE = "interrupted before anything was done"
    HALFWAY = "interrupted with half of the bytes written; those read are lost"
    AFTER = "interrupted after all was done; the bytes read are lost"
    FAILING = "an error of the port, once"
    DEAD = "from here on nothing gets through"
    STUCK = "from here on nothing gets through, but what the board sends is kept for later"


class UnluckyPort:
    """A port that breaks off its call number ``at``, counted from 0, of reads and writes; works again when revived."""

    def __init__(self, board: Port) -> None:
        self._board = board
        self._accident, self._at = Accident.BEFORE, -1
        self._cut_off = False
        self.calls = 0

    def plan(self, accident: Accident, *, at: int) -> None:
        """Break off the call ``at`` calls from now."""
        self._accident, self._at = accident, self.calls + at

    @property
    def struck(self) -> bool:
        return 0 <= self._at < self.calls

    def revive(self) -> None:
        self._cut_off, self._at = False, -1

    def _strikes(self) -> bool:
        self.calls += 1
        return self.calls - 1 == self._at

    def read(self, size: int) -> bytes:
        strikes = self._strikes()
        self._cut_off |= strikes and self._accident in (Accident.DEAD, Accident.STUCK)
        if strikes and self._accident is Accident.BEFORE:
            raise KeyboardInterrupt
        if strikes and self._accident is Accident.FAILING:
            raise serial.SerialException("device reports readiness to read but returned no data")
        if self._cut_off and self._accident is Accident.STUCK:
            self._board.read(0)     # time passes
            return b""
        line = self._board.read(size)
        if strikes and self._accident in (Accident.HALFWAY, Accident.AFTER):
            raise KeyboardInterrupt
        return b"" if self._cut_off else line

    def write(self, line: bytes) -> None:
        strikes = self._strikes()
        self._cut_off |= strikes and self._accident in (Accident.DEAD, Accident.STUCK)
        if strikes and self._accident is Accident.BEFORE:
            raise KeyboardInterrupt
        if strikes and self._accident in (Accident.HALFWAY, Accident.FAILING):
            line = line[:len(line) // 2]
        if not self._cut_off:
            self._board.write(line)
        if strikes and self._accident in (Accident.HALFWAY, Accident.AFTER):
            raise KeyboardInterrupt
        if strikes and self._accident is Accident.FAILING:
            raise serial.SerialException("write failed: [Errno 5] Input/output error")

    def close(self) -> None:
        self._board.close()

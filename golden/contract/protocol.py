"""The core's host protocol: packets of bytes, declared once for hardware, benches and drivers.

A command is a packet: a byte that names it, then its payload; the stream's ``last`` flag ends it. Each
command is answered by one packet, in order: the same byte, a status byte, then the reply's payload.
A command that is unknown, too short, too long or out of bounds changes nothing and is answered by
its byte and an error status alone.

Numbers of more than one byte are little-endian. Weights are signed, :func:`item_bytes` each, layer by
layer, each matrix in row order.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec

__all__ = ["BAUD", "COUNTERS", "COUNTER_BYTES", "CRC_BYTES", "END", "ESCAPE", "ESCAPED_END", "ESCAPED_ESCAPE",
           "EVENT_BYTES", "KIND_SHIFT", "LAST", "PARAMETER_BYTES", "PAYLOAD_MAX", "SAMPLE_COMMANDS", "SEQUENCE_MASK",
           "STATE_ACCESS", "Command", "Exchange", "FrameKind", "StateAccess", "Status", "command_bytes",
           "commands_of", "item_bytes", "reply_bytes", "response_bytes", "sample_command"]

COUNTER_BYTES = 6
"""Bytes of each counter in the reply to STATUS."""

PARAMETER_BYTES = 4
"""Bytes of a neuron's own number: its threshold, a decay's numerator, its reset value."""

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
"""Delimiter of the serial link's frames, and how it is escaped within one (RFC 1055)."""

BAUD = 3_000_000
"""Bits per second of a board's serial line, unless it is built for others."""

CRC_BYTES = 4
"""Bytes of a frame's checksum."""

KIND_SHIFT = 6
"""Place of the kind in a frame's header."""

LAST = 0x20
"""Bit of a frame's header: it ends its packet."""

SEQUENCE_MASK = 0x0F
"""Bits of a frame's header that number it."""

PAYLOAD_MAX = 1_024
"""Largest payload of a frame on a board, bytes: a whole MNIST image."""

COUNTERS = ("images", "learned", "skipped", "load_cycles", "forward_cycles", "desire_cycles", "update_cycles",
            "idle_cycles")
"""Counters in the order of the reply to STATUS: images played; of those learnt from, with something to learn (an
output desire, or with plasticity an output spike) and without; and clock cycles by what the network was doing
(the later phase counts when several are under way; ``load`` only when nothing else is)."""


class FrameKind(enum.IntEnum):
    """What a frame is for."""

    DATA = 0
    """Carries a part of a packet; repeated until acknowledged."""
    ACKNOWLEDGE = 1
    """The data frame of this number has been taken."""
    RESET = 2
    """Host: start over, both sequence numbers zero, core reset. Board: done. The answer has the number of the RESET
    that it answers."""


class Command(enum.IntEnum):
    """First byte of a packet in either direction."""

    INFER = 0x01
    """Networks of pixels only. Payload: one byte per pixel. Reply: prediction, spike counts of the last layer's
    neurons, a byte each, or two where there are more than 255 steps; with the readout ``potentials``, the statistic of
    each neuron's potentials, signed, of as many bytes as its range needs."""
    TRAIN = 0x02
    """Networks of pixels that learn only. Payload: label, then one byte per pixel. Reply: as INFER; the weights may
    still be changing, and whatever comes next waits for that."""
    LOAD_WEIGHTS = 0x03
    """Payload: all weights. Reply: empty."""
    READ_WEIGHTS = 0x04
    """No payload. Reply: all weights."""
    SET_RATE_SHIFT = 0x05
    """Networks that learn only. Payload: rate shift. Reply: empty."""
    STATUS = 0x06
    """No payload. Reply, once all images before are done with: contract digest (8 bytes), rate shift,
    counters."""
    CLEAR_COUNTERS = 0x07
    """No payload. Reply: empty."""
    SEED_RANDOM = 0x08
    """Payload: the generators' states, 4 bytes each, not zero: of dropout one per hidden layer, or none
    for a network without, then of stochastic rounding one per layer, or none. Reply: empty. Reset seeds
    them from the contract."""
    LOAD_THRESHOLDS = 0x09
    """Networks with plasticity, or where neurons have thresholds of their own, only. Payload: all adaptive thresholds,
    or thresholds, 4 bytes each, of each layer that has them in turn. Reply: empty."""
    READ_THRESHOLDS = 0x0A
    """The same networks only. No payload. Reply: all adaptive thresholds, or thresholds."""
    INFER_EVENTS = 0x0B
    """Networks of events only. Payload: events, 4 bytes each: step (2 bytes), neuron (2 bytes); steps ascending, and
    neurons of a step. Reply: as INFER. An event out of order or bounds ends the sample there: its reply is the error
    alone."""
    TRAIN_EVENTS = 0x0C
    """Networks of events that learn only. Payload: label, then as INFER_EVENTS. Reply: as TRAIN. From a sample that an
    event ends which is out of order or bounds nothing is learnt, but the random generators have gone a sample
    further."""
    LOAD_DECAYS = 0x0D
    """This and the following: only networks with layers whose neurons have numbers of their own of that name, and as
    LOAD_THRESHOLDS and READ_THRESHOLDS. Numerators of the membrane potentials' decays."""
    READ_DECAYS = 0x0E
    LOAD_CURRENT_DECAYS = 0x0F
    """Numerators of the synaptic currents' decays."""
    READ_CURRENT_DECAYS = 0x10
    LOAD_RESET_VALUES = 0x11
    """Membrane potentials after a spike; these are signed."""
    READ_RESET_VALUES = 0x12


class Status(enum.IntEnum):
    """Second byte of a reply."""

    OK = 0x00
    TIE = 0x01
    """INFER, TRAIN: several classes share the largest spike count, or with plasticity the largest total of votes; the
    prediction byte is 0xFF."""
    UNKNOWN_COMMAND = 0x80
    BAD_LENGTH = 0x81
    """The packet was shorter or longer than its command's."""
    BAD_VALUE = 0x82
    """Label or rate shift out of bounds."""


class Exchange(NamedTuple):
    """A packet, and the packet that it should be answered by."""

    command: bytes
    reply: bytes


class StateAccess(NamedTuple):
    """How the host loads and reads the learnt arrays of one name."""

    load: Command
    read: Command
    signed: bool
    """Whether items are two's-complement numbers."""
    item_bytes: int | None = None
    """Bytes of an item; None: as few as the widest format needs."""


STATE_ACCESS: dict[str, StateAccess] = {
    "weights": StateAccess(Command.LOAD_WEIGHTS, Command.READ_WEIGHTS, signed=True),
    "thresholds": StateAccess(Command.LOAD_THRESHOLDS, Command.READ_THRESHOLDS, signed=False,
                              item_bytes=PARAMETER_BYTES),
    "decays": StateAccess(Command.LOAD_DECAYS, Command.READ_DECAYS, signed=False, item_bytes=PARAMETER_BYTES),
    "current_decays": StateAccess(Command.LOAD_CURRENT_DECAYS, Command.READ_CURRENT_DECAYS, signed=False,
                                  item_bytes=PARAMETER_BYTES),
    "reset_values": StateAccess(Command.LOAD_RESET_VALUES, Command.READ_RESET_VALUES, signed=True,
                                item_bytes=PARAMETER_BYTES),
}
"""By declared name (:class:`lifstream.golden.contract.state.StateArray`)."""


_PIXEL_COMMANDS, _EVENT_COMMANDS = ({Command.INFER, Command.TRAIN}, {Command.INFER_EVENTS, Command.TRAIN_EVENTS})

SAMPLE_COMMANDS = frozenset(_PIXEL_COMMANDS | _EVENT_COMMANDS)
"""Commands that a sample comes with."""

EVENT_BYTES = 4
"""Bytes of an event: step and neuron, 2 each."""


def sample_command(spec: NetworkSpec, *, learn: bool) -> Command:
    """The command by which a network is given a sample."""
    if isinstance(spec.input, Events):
        return Command.TRAIN_EVENTS if learn else Command.INFER_EVENTS
    return Command.TRAIN if learn else Command.INFER


def item_bytes(spec: NetworkSpec, name: str) -> int:
    """Bytes of one item of the arrays called ``name``: what the widest of them needs, or always so many."""
    fixed = STATE_ACCESS[name].item_bytes
    return fixed if fixed is not None else max(-(-array.bits // 8) for array in spec.learnt_state[name])


def response_bytes(spec: NetworkSpec) -> int:
    """Bytes of a neuron's spike count, or number of its potentials, in an answer."""
    return -(-spec.response_bits // 8)


def _state_bytes(spec: NetworkSpec, name: str) -> int:
    """Bytes of all arrays called ``name``."""
    return item_bytes(spec, name) * sum(array.size for array in spec.learnt_state.get(name, ()))


def commands_of(spec: NetworkSpec) -> tuple[Command, ...]:
    """Commands that a network of this contract knows."""
    absent = {command for name, access in STATE_ACCESS.items() if name not in spec.learnt_state
              for command in (access.load, access.read)}
    absent |= _PIXEL_COMMANDS if isinstance(spec.input, Events) else _EVENT_COMMANDS
    if not spec.learns:
        absent |= {Command.TRAIN, Command.TRAIN_EVENTS, Command.SET_RATE_SHIFT}
    return tuple(command for command in Command if command not in absent)


def command_bytes(spec: NetworkSpec, command: Command) -> int:
    """Bytes of a command's payload; of one whose payload may be of any length, the fewest."""
    loads = {STATE_ACCESS[name].load: _state_bytes(spec, name) for name in spec.learnt_state}
    return {Command.INFER: spec.inputs, Command.TRAIN: spec.inputs + 1, Command.SET_RATE_SHIFT: 1,
            Command.TRAIN_EVENTS: 1,
            Command.SEED_RANDOM: 4 * len(spec.random_seeds), **loads}.get(command, 0)


def reply_bytes(spec: NetworkSpec, command: Command) -> int:
    """Bytes of a successful reply's payload."""
    reads = {STATE_ACCESS[name].read: _state_bytes(spec, name) for name in spec.learnt_state}
    answer = 1 + response_bytes(spec) * spec.responding
    fixed = {**dict.fromkeys(SAMPLE_COMMANDS, answer), Command.STATUS: 9 + COUNTER_BYTES * len(COUNTERS)}
    return (fixed | reads).get(command, 0)

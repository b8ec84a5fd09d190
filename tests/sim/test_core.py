"""The core's host protocol: whatever comes is answered, and the core goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.protocol import COUNTERS, Command, Status
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import (
    LAST,
    PacketError,
    Reply,
    decode_replies,
    decode_state,
    decode_status,
    encode_state,
    expect,
    image_packets,
    packet,
)
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.sim.cosim import Stalls
from tests.conftest import random_images, random_network
from tests.sim.blocks import emitted, simulate

pytestmark = pytest.mark.simulation

SPEC = flat_network(sizes=(7, 5, 3), steps=8, dropout=30)
IMAGES = random_images(4, 7, 5)
LABELS = np.array([0, 1, 2, 1], dtype=np.uint8)


def network() -> Network:
    return random_network(SPEC, 3, scale=2.5)


def talk(folder: Path, packets: list[np.ndarray], replies: int, *, stalls: Stalls = Stalls.NONE,
         before: list[np.ndarray] | None = None) -> list[Reply]:
    """Send packets and return ``replies`` bytes of answers; ``before`` is sent first and cut off by a reset."""
    runs = [{"stimuli": {"commands": np.concatenate(packets).tolist()}, "expected": {"replies": replies},
             "reset": before is not None}]
    if before is not None:
        runs.insert(0, {"stimuli": {"commands": np.concatenate(before).tolist()}, "expected": {}})
    result = simulate(emitted(Core, spec=SPEC, geometry=Geometry(lanes=3)), runs, folder, stalls=stalls)[-1]
    return decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))


def load() -> np.ndarray:
    return packet(Command.LOAD_WEIGHTS, encode_state(SPEC, "weights", network().weights))


def summary(replies: list[Reply]) -> list[tuple[int, int, int]]:
    return [(reply.command, reply.status, len(reply.payload)) for reply in replies]


@pytest.mark.parametrize("stalls", list(Stalls))
def test_conversation(tmp_path: Path, stalls: Stalls) -> None:
    """Load, infer, train, read back, count: in order, each answer the golden model's."""
    packets = [load(), packet(Command.SET_RATE_SHIFT, [11]), image_packets(IMAGES, None), image_packets(IMAGES, LABELS),
               packet(Command.READ_WEIGHTS), packet(Command.STATUS), packet(Command.CLEAR_COUNTERS),
               image_packets(IMAGES[:1], None), packet(Command.STATUS)]
    status = 9 + 6 * len(COUNTERS)
    weights = 2 * SPEC.parameters
    replies = talk(tmp_path, packets, 2 + 2 + 8 * 6 + 2 + weights + 2 + status + 2 + 6 + 2 + status, stalls=stalls)
    golden, masks = network(), DrawGenerator(SPEC)
    for reply, image in zip(replies[2:6], IMAGES, strict=True):
        record = golden.classify(image)
        assert expect(reply, SPEC, Command.INFER).payload[1:].tolist() == record.counts.tolist()
        assert (reply.payload[0] if reply.status == Status.OK else -1) == record.prediction
    learned = 0
    for reply, image, label in zip(replies[6:10], IMAGES, LABELS, strict=True):
        learnt = learn(golden, image, int(label), rate_shift=11, **masks.draw()._asdict())
        learned += bool(learnt.teaching)
        assert expect(reply, SPEC, Command.TRAIN).payload[1:].tolist() == learnt.forward.counts.tolist()
    read = decode_state(SPEC, "weights", expect(replies[10], SPEC, Command.READ_WEIGHTS).payload)
    assert all((a == b).all() for a, b in zip(read, golden.weights, strict=True))
    counters = decode_status(expect(replies[11], SPEC, Command.STATUS).payload)
    assert counters["spec_digest"] == SPEC.digest()
    assert counters["rate_shift"] == 11
    assert (counters["images"], counters["learned"], counters["skipped"]) == (8, learned, 4 - learned)
    after = decode_status(expect(replies[14], SPEC, Command.STATUS).payload)
    assert (after["images"], after["update_cycles"]) == (1, 0)


BAD = {
    "unknown": (np.array([0x77 | LAST]), (0x77, Status.UNKNOWN_COMMAND)),
    "unknown with payload": (packet(0xFF, range(20)), (0xFF, Status.UNKNOWN_COMMAND)),
    "zero": (np.array([0 | LAST]), (0, Status.UNKNOWN_COMMAND)),
    "image of none": (packet(Command.INFER), (Command.INFER, Status.BAD_LENGTH)),
    "image cut short": (packet(Command.INFER, range(6)), (Command.INFER, Status.BAD_LENGTH)),
    "image too long": (packet(Command.INFER, range(8)), (Command.INFER, Status.BAD_LENGTH)),
    "image much too long": (packet(Command.INFER, range(30)), (Command.INFER, Status.BAD_LENGTH)),
    "label only": (packet(Command.TRAIN, [1]), (Command.TRAIN, Status.BAD_LENGTH)),
    "training cut short": (packet(Command.TRAIN, [1, 200, 200]), (Command.TRAIN, Status.BAD_LENGTH)),
    "label out of bounds": (packet(Command.TRAIN, [3, *range(7)]), (Command.TRAIN, Status.BAD_VALUE)),
    "rate missing": (packet(Command.SET_RATE_SHIFT), (Command.SET_RATE_SHIFT, Status.BAD_LENGTH)),
    "rate too long": (packet(Command.SET_RATE_SHIFT, [11, 11]), (Command.SET_RATE_SHIFT, Status.BAD_LENGTH)),
    "rate too small": (packet(Command.SET_RATE_SHIFT, [9]), (Command.SET_RATE_SHIFT, Status.BAD_VALUE)),
    "rate too large": (packet(Command.SET_RATE_SHIFT, [32]), (Command.SET_RATE_SHIFT, Status.BAD_VALUE)),
    "status with payload": (packet(Command.STATUS, [1, 2]), (Command.STATUS, Status.BAD_LENGTH)),
    "read with payload": (packet(Command.READ_WEIGHTS, [1]), (Command.READ_WEIGHTS, Status.BAD_LENGTH)),
    "seeds too short": (packet(Command.SEED_RANDOM, [1, 2, 3]), (Command.SEED_RANDOM, Status.BAD_LENGTH)),
    "seeds too long": (packet(Command.SEED_RANDOM, range(5)), (Command.SEED_RANDOM, Status.BAD_LENGTH)),
    "weights of none": (packet(Command.LOAD_WEIGHTS), (Command.LOAD_WEIGHTS, Status.BAD_LENGTH)),
}


@pytest.mark.parametrize("stalls", [Stalls.NONE, Stalls.RANDOM])
def test_bad_commands_are_answered_and_change_nothing(tmp_path: Path, stalls: Stalls) -> None:
    """Every bad packet between two images: one error reply each, and images as if it had not come."""
    packets, expected = [load()], [(Command.LOAD_WEIGHTS, Status.OK, 0)]
    counts = []
    for number, (bad, answer) in enumerate(BAD.values()):
        image = IMAGES[number % 4]
        packets += [bad, image_packets(image[None], None)]
        record = network().classify(image)
        expected += [(*answer, 0), (Command.INFER, Status.OK if record.prediction >= 0 else Status.TIE, 4)]
        counts.append(record.counts.tolist())
    packets.append(packet(Command.READ_WEIGHTS))
    expected.append((Command.READ_WEIGHTS, Status.OK, 2 * SPEC.parameters))
    replies = talk(tmp_path, packets, sum(2 + size for _, _, size in expected), stalls=stalls)
    assert summary(replies) == expected
    assert [reply.payload[1:].tolist() for reply in replies if reply.command == Command.INFER and len(reply.payload)] \
        == counts
    read = decode_state(SPEC, "weights", replies[-1].payload)
    assert all((a == b).all() for a, b in zip(read, network().weights, strict=True))


def test_dropout_generators_continue_from_any_state(tmp_path: Path) -> None:
    """Two samples, then the generators are set to an earlier state, then two samples again."""
    golden, masks = network(), DrawGenerator(SPEC)
    state = 0x1234_5678
    packets = [load(), packet(Command.SET_RATE_SHIFT, [11]), image_packets(IMAGES[:2], LABELS[:2]),
               packet(Command.SEED_RANDOM, list(state.to_bytes(4, "little"))), image_packets(IMAGES[2:], LABELS[2:]),
               packet(Command.READ_WEIGHTS)]
    replies = talk(tmp_path, packets, 2 + 2 + 12 + 2 + 12 + 2 + 2 * SPEC.parameters, stalls=Stalls.RANDOM)
    for index in range(4):
        if index == 2:
            masks.states = [state]
        learn(golden, IMAGES[index], int(LABELS[index]), rate_shift=11, **masks.draw()._asdict())
    read = decode_state(SPEC, "weights", replies[-1].payload)
    assert all((a == b).all() for a, b in zip(read, golden.weights, strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 55, 99])
def test_weights_cut_short_leave_the_rest_zero(tmp_path: Path, size: int) -> None:
    whole = encode_state(SPEC, "weights", network().weights)
    packets = [load(), packet(Command.LOAD_WEIGHTS, whole[:size]), packet(Command.READ_WEIGHTS), load(),
               packet(Command.READ_WEIGHTS)]
    replies = talk(tmp_path, packets, 3 * 2 + 2 * (2 + 2 * SPEC.parameters))
    assert summary(replies)[1] == (Command.LOAD_WEIGHTS, Status.BAD_LENGTH, 0)
    read = replies[2].payload
    assert read[:size // 2 * 2].tolist() == whole[:size // 2 * 2].tolist()
    assert not read[-(-size // 2) * 2:].any()
    assert replies[4].payload.tolist() == whole.tolist()


def test_weights_too_long(tmp_path: Path) -> None:
    whole = encode_state(SPEC, "weights", network().weights)
    packets = [packet(Command.LOAD_WEIGHTS, [*whole, 1, 2, 3]), packet(Command.READ_WEIGHTS)]
    replies = talk(tmp_path, packets, 2 + 2 + 2 * SPEC.parameters)
    assert summary(replies)[0] == (Command.LOAD_WEIGHTS, Status.BAD_LENGTH, 0)
    assert replies[1].payload.tolist() == whole.tolist()


@pytest.mark.parametrize("cut", [1, 3, 9, 40, 75, 80, 90, 110])
def test_reset_at_any_moment_leaves_a_usable_core(tmp_path: Path, cut: int) -> None:
    """The stream is cut off, wherever it is, by a reset; a new conversation then goes as the first would."""
    before = np.concatenate([load(), image_packets(IMAGES, LABELS)])[:cut]
    packets = [load(), packet(Command.SET_RATE_SHIFT, [11]), image_packets(IMAGES, LABELS),
               packet(Command.READ_WEIGHTS)]
    replies = talk(tmp_path, packets, 2 + 2 + 4 * 6 + 2 + 2 * SPEC.parameters, before=[before], stalls=Stalls.RANDOM)
    golden, masks = network(), DrawGenerator(SPEC)
    for image, label in zip(IMAGES, LABELS, strict=True):
        learn(golden, image, int(label), rate_shift=11, **masks.draw()._asdict())
    read = decode_state(SPEC, "weights", replies[-1].payload)
    assert all((a == b).all() for a, b in zip(read, golden.weights, strict=True))


def test_packets_are_checked() -> None:
    with pytest.raises(PacketError, match="incomplete"):
        decode_replies(np.array([1, 2]), np.zeros(2))
    with pytest.raises(PacketError, match="has 1 bytes"):
        decode_replies(np.array([1 | LAST]), np.zeros(1))
    reply = decode_replies(np.array([2, 0, 5 | LAST]), np.zeros(3))[0]
    with pytest.raises(PacketError, match="INFER was answered by command 0x02"):
        expect(reply, SPEC, Command.INFER)

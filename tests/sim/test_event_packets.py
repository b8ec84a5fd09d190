"""Packets of events: good ones are answered as the golden model does, bad ones by an error, and nothing is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.contract.protocol import Command, Status
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.contract.synapses import Dense, Map
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import (
    Reply,
    decode_replies,
    decode_state,
    decode_status,
    encode_state,
    packet,
    sample_packets,
)
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.sim.cosim import Stalls
from tests.conftest import random_network
from tests.golden.test_cuba_lif import samples
from tests.sim.blocks import emitted, simulate

pytestmark = pytest.mark.simulation

SPEC = NetworkSpec(
    input=Events(map=Map(height=1, width=1, channels=7)), readout=SpikeCounts(), steps=6, layers=tuple(
        Layer(synapses=Dense(inputs=n_in, outputs=n_out), neuron=Lif(threshold=16_384),
              rule=DesireBackpropagation(desire_margin=1, hidden_threshold=1)) for n_in, n_out in ((7, 5), (5, 3))))
SAMPLES = samples(SPEC, 4, 5)
LABELS = np.array([0, 1, 2, 1], dtype=np.uint8)
RATE = 11


def network() -> Network:
    return random_network(SPEC, 3, scale=2.5)


def events(*pairs: tuple[int, int]) -> list[int]:
    """Bytes of (step, neuron) pairs."""
    return [byte for pair in pairs for value in pair for byte in value.to_bytes(2, "little")]


def talk(folder: Path, packets: list[np.ndarray], replies: int, *, stalls: Stalls = Stalls.NONE) -> list[Reply]:
    runs = [{"stimuli": {"commands": np.concatenate(packets).tolist()}, "expected": {"replies": replies}}]
    result = simulate(emitted(Core, spec=SPEC, geometry=Geometry(lanes=3)), runs, folder, stalls=stalls)[-1]
    return decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))


def load() -> list[np.ndarray]:
    return [packet(Command.LOAD_WEIGHTS, encode_state(SPEC, "weights", network().weights)),
            packet(Command.SET_RATE_SHIFT, [RATE])]


GOOD = events((0, 3), (0, 4), (2, 0))
BAD: dict[str, tuple[np.ndarray, tuple[Command, Status]]] = {
    "pixels": (packet(Command.INFER, range(7)), (Command.INFER, Status.UNKNOWN_COMMAND)),
    "cut short": (packet(Command.INFER_EVENTS, GOOD[:-1]), (Command.INFER_EVENTS, Status.BAD_LENGTH)),
    "one byte": (packet(Command.INFER_EVENTS, [1]), (Command.INFER_EVENTS, Status.BAD_LENGTH)),
    "a neuron that is none": (packet(Command.INFER_EVENTS, events((0, 7))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "a neuron far beyond": (
        packet(Command.INFER_EVENTS, events((0, 3), (1, 0x8003))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "a step that is none": (
        packet(Command.INFER_EVENTS, events((5, 1), (6, 0), (6, 1))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "twice in a step": (
        packet(Command.INFER_EVENTS, events((1, 2), (1, 2))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "a step back": (
        packet(Command.INFER_EVENTS, events((1, 2), (0, 3), (4, 4))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "a neuron back": (packet(Command.INFER_EVENTS, events((1, 2), (1, 1))), (Command.INFER_EVENTS, Status.BAD_VALUE)),
    "no label": (packet(Command.TRAIN_EVENTS), (Command.TRAIN_EVENTS, Status.BAD_LENGTH)),
    "a label that is none": (packet(Command.TRAIN_EVENTS, [3]), (Command.TRAIN_EVENTS, Status.BAD_VALUE)),
    "a label that is none, and events": (
        packet(Command.TRAIN_EVENTS, [3, *GOOD]), (Command.TRAIN_EVENTS, Status.BAD_VALUE)),
    "learning cut short": (packet(Command.TRAIN_EVENTS, [1, *GOOD, 2]), (Command.TRAIN_EVENTS, Status.BAD_LENGTH)),
    "learning from a neuron that is none": (
        packet(Command.TRAIN_EVENTS, [1, *events((0, 1), (0, 2), (3, 9), (4, 1))]),
        (Command.TRAIN_EVENTS, Status.BAD_VALUE)),
    "the last event is bad": (
        packet(Command.TRAIN_EVENTS, [0, *events((0, 1), (0, 0))]), (Command.TRAIN_EVENTS, Status.BAD_VALUE)),
}


@pytest.mark.parametrize("stalls", [Stalls.NONE, Stalls.RANDOM])
def test_bad_packets_are_answered_and_teach_nothing(tmp_path: Path, stalls: Stalls) -> None:
    """Every bad packet between two samples, at once behind them: one error each, samples as if it had not come."""
    packets, expected = load(), [(Command.LOAD_WEIGHTS, Status.OK, 0), (Command.SET_RATE_SHIFT, Status.OK, 0)]
    golden, counts = network(), []
    for number, (bad, answer) in enumerate(BAD.values()):
        sample = SAMPLES[number % 4:number % 4 + 1]
        learns = number % 2 == 1
        packets += [bad, sample_packets(SPEC, sample, LABELS[:1] if learns else None)]
        record = golden.classify(sample[0])
        if learns:
            learn(golden, sample[0], int(LABELS[0]), rate_shift=RATE)
        command = Command.TRAIN_EVENTS if learns else Command.INFER_EVENTS
        expected += [(*answer, 0), (command, Status.OK if record.prediction >= 0 else Status.TIE, 4)]
        counts.append(record.counts.tolist())
    packets.append(packet(Command.READ_WEIGHTS))
    expected.append((Command.READ_WEIGHTS, Status.OK, 2 * SPEC.parameters))
    replies = talk(tmp_path, packets, sum(2 + size for _, _, size in expected), stalls=stalls)
    assert [(reply.command, reply.status, len(reply.payload)) for reply in replies] == expected
    assert [reply.payload[1:].tolist() for reply in replies if len(reply.payload) == 4] == counts
    read = decode_state(SPEC, "weights", replies[-1].payload)
    assert all((a == b).all() for a, b in zip(read, golden.weights, strict=True))
    assert not all((a == b).all() for a, b in zip(read, network().weights, strict=True))


def test_samples_without_events_and_counters(tmp_path: Path) -> None:
    packets = [*load(), packet(Command.INFER_EVENTS), packet(Command.TRAIN_EVENTS, [1]),
               packet(Command.TRAIN_EVENTS, [1, *events((0, 9))]), sample_packets(SPEC, SAMPLES, LABELS),
               packet(Command.STATUS)]
    replies = talk(tmp_path, packets, 2 + 2 + 6 + 6 + 2 + 4 * 6 + 2 + 9 + 6 * 8, stalls=Stalls.RANDOM)
    assert [reply.status for reply in replies[:5]] == [Status.OK, Status.OK, Status.TIE, Status.TIE, Status.BAD_VALUE]
    counters = decode_status(replies[-1].payload)
    assert counters["images"] == 7
    assert counters["learned"] == 5     # the empty one too: the label is wanted to fire
    assert counters["skipped"] == 1     # what broke off

"""Reset at any moment, by any way: what follows is as if the core had just started with the weights it holds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.boards.top import LinkedCore
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, with_rule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import END, Command, FrameKind, Status, reply_bytes
from lifstream.golden.contract.rules import Bounds
from lifstream.golden.contract.synapses import Conv, Dense, Map
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.frames import Frame, FrameDecoder, encode_frame
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import (
    LAST,
    Reply,
    decode_replies,
    decode_state,
    encode_state,
    expect,
    image_packets,
    packet,
)
from lifstream.hdl.emit import emit_axi
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.axi import register_map
from lifstream.hdl.host.core import Core
from lifstream.sim.cosim import Stalls
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import build, run_bench
from tests.conftest import quick, random_images, random_network
from tests.golden.test_stdp import plastic
from tests.sim.blocks import emitted, simulate

pytestmark = pytest.mark.simulation

DESIRE = flat_network(sizes=(5, 4, 3), steps=6, dropout=40)
PLASTIC = changed(plastic((5, 4, 3)), steps=6)
_STOCHASTIC = changed(DESIRE, rounding=Rounding.STOCHASTIC)
_EDGES = Conv(inputs=Map(height=1, width=5), channels=3, kernel=(1, 3), stride=(1, 2))
_SHAPES = Conv(inputs=_EDGES.outputs, channels=3, kernel=(1, 2), padding=(0, 1))
MAPS = replace(_STOCHASTIC, layers=(
    replace(_STOCHASTIC.layers[0], synapses=_EDGES), replace(_STOCHASTIC.layers[0], synapses=_SHAPES),
    replace(_STOCHASTIC.layers[1], synapses=Dense(inputs=_SHAPES.n_out, outputs=3))))
SPECS = {
    "graded": DESIRE,
    "paper, two hidden layers, stochastic": changed(with_rule(changed(
        DESIRE, sizes=(5, 4, 3, 3), rounding=Rounding.STOCHASTIC), NamedRule.PAPER), output_threshold=1),
    "stdp": PLASTIC,
    "rewarded, two layers, stochastic": changed(plastic(
        (5, 4, 3, 3), rule=NamedRule.REWARD_STDP, rounding=Rounding.STOCHASTIC, weight_sum=9_000,
        bounds=Bounds.SATURATE, depression_shift=1), steps=6),
    "maps": MAPS,
}
GEOMETRIES = {"one fold": Geometry(lanes=4), "folded": Geometry(lanes=2, unroll=4)}
IMAGES = random_images(3, 5, 12)


def network(spec: NetworkSpec) -> Network:
    """Weights with which neurons fire and learn."""
    if "thresholds" not in spec.learnt_state:
        return random_network(spec, 2, scale=2.5)
    random = np.random.default_rng(4)
    start = Network.initial(spec=spec, seed=2)
    for matrix in start.weights[:-1]:
        matrix[:] = random.integers(0, spec.layers[0].formats.one, matrix.shape)
    for thresholds in start.state.get("thresholds", []):
        thresholds[:] = random.integers(0, 900, thresholds.shape)
    start.weights[-1][:] = random.integers(0, 4, start.weights[-1].shape)
    return start


def opening(spec: NetworkSpec) -> list[np.ndarray]:
    """A conversation with everything that a reset could cut off: loading, classifying, learning."""
    start = network(spec)
    packets = [packet(Command.LOAD_WEIGHTS, encode_state(spec, "weights", start.weights))]
    if "thresholds" in start.state:
        packets.append(packet(Command.LOAD_THRESHOLDS, encode_state(spec, "thresholds", start.state["thresholds"])))
    return [*packets, image_packets(IMAGES[:1], None), image_packets(IMAGES[1:2], np.array([1], dtype=np.uint8))]


def questions(spec: NetworkSpec) -> list[np.ndarray]:
    """What the core is asked afterwards: its state, an image, to learn from another, its state again."""
    state = [packet(Command.READ_WEIGHTS)]
    if "thresholds" in spec.learnt_state:
        state.append(packet(Command.READ_THRESHOLDS))
    return [*state, image_packets(IMAGES[2:], None), image_packets(IMAGES[:1], np.array([2], dtype=np.uint8)), *state]


def answer_bytes(spec: NetworkSpec) -> list[int]:
    """Bytes of the replies to :func:`questions`."""
    return [2 + reply_bytes(spec, Command(int(words[0]) & ~LAST)) for words in questions(spec)]


def check(spec: NetworkSpec, replies: Sequence[Reply], where: str) -> tuple[bool, ...]:
    """The answers are those of the golden model, freshly started with the weights that were read back."""
    state = len(spec.learnt_state)
    commands = [Command(int(words[0]) & ~LAST) for words in questions(spec)]
    assert [reply.command for reply in replies] == commands, where
    for reply, command in zip(replies, commands, strict=True):
        expect(reply, spec, command)

    def held(parts: Sequence[Reply]) -> Network:
        return Network(spec=spec, weights=decode_state(spec, "weights", parts[0].payload),
                       thresholds=decode_state(spec, "thresholds", parts[1].payload) if len(parts) > 1 else None)

    golden, after = held(replies[:state]), held(replies[-state:])
    found = golden.digest()
    record = golden.classify(IMAGES[2])
    learnt = learn(golden, IMAGES[0], 2, rate_shift=spec.rate_shift_range[0] + 2,
                   **DrawGenerator(spec).draw()._asdict())
    for reply, wanted in ((replies[state], record), (replies[state + 1], learnt.forward)):
        assert reply.payload[1:].tolist() == wanted.counts.tolist(), where
        assert (reply.payload[0] if reply.status == Status.OK else -1) == wanted.prediction, where
    assert after.digest() == golden.digest(), where
    return bool(record.counts.any()), bool(learnt.teaching), found != after.digest()


def length(spec: NetworkSpec, geometry: Geometry, folder: Path) -> int:
    """Clocks of the opening, until it has learnt."""
    expected = sum(2 + reply_bytes(spec, Command(int(words[0]) & ~LAST)) for words in opening(spec)) + 2 + reply_bytes(
        spec, Command.READ_WEIGHTS)
    run = {"stimuli": {"commands": np.concatenate([*opening(spec), packet(Command.READ_WEIGHTS)]).tolist()},
           "expected": {"replies": expected}}
    emission = emitted(Core, spec=spec, geometry=geometry)
    return max(simulate(emission, [run], folder, stalls=Stalls.NONE)[0]["replies.cycles"])


@pytest.mark.parametrize("stride", quick([61, 1], 61))
@pytest.mark.parametrize(("name", "geometry"), quick(
    itertools.product(SPECS, GEOMETRIES), ("graded", "one fold"), ("rewarded, two layers, stochastic", "folded"),
    ("maps", "folded")))
def test_by_pin(tmp_path: Path, name: str, geometry: str, stride: int) -> None:
    """Every ``stride`` clocks of loading, classifying, learning and reading back: a reset of one to five clocks."""
    spec, folding = SPECS[name], GEOMETRIES[geometry]
    asked = {"stimuli": {"commands": np.concatenate(questions(spec)).tolist()},
             "expected": {"replies": sum(answer_bytes(spec))}}
    begun = {"stimuli": {"commands": np.concatenate([*opening(spec), packet(Command.READ_WEIGHTS)]).tolist()},
             "expected": {}}
    places = range(1 + len(name) % stride, length(spec, folding, tmp_path / "whole"), stride)
    runs = [run for number, clocks in enumerate(places)
            for run in ({**begun, "cut": {"clocks": clocks, "reset_clocks": 1 + number % 5}}, asked)]
    results = simulate(emitted(Core, spec=spec, geometry=folding), runs, tmp_path / "cut", stalls=Stalls.NONE)
    happened = np.zeros(3, dtype=int)
    for clocks, result in zip(places, results, strict=True):
        replies = decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))
        happened += check(spec, replies, f"{name}, {geometry}: reset after {clocks} clocks")
    assert len(places) > 300 // stride
    assert (happened > len(places) // 4).all()  # neurons fired, and there was something to learn


@pytest.mark.parametrize("name", quick(SPECS, "rewarded, two layers, stochastic", "maps"))
def test_no_memory_need_hold_anything_at_power_up(tmp_path: Path, name: str) -> None:
    """Memories start with random words; weights and thresholds are loaded, and all is as always."""
    spec, folding = SPECS[name], GEOMETRIES["folded"]
    filled = 0

    def fill(verilog: str) -> str:
        nonlocal filled
        random = r"\1= {{\2{1'b0}}, {16{$random}}};"  # truncated to the word
        verilog, filled = re.subn(r"(\w+\[\w+\] )= (\d+)'d0;", random, verilog)
        return verilog

    words = np.concatenate([*opening(spec)[:-2], *questions(spec)])
    result = simulate(emitted(Core, spec=spec, geometry=folding), [
        {"stimuli": {"commands": words.tolist()},
         "expected": {"replies": 2 * len(opening(spec)[:-2]) + sum(answer_bytes(spec))}}],
        tmp_path, stalls=Stalls.NONE, rewrite=fill)[0]
    assert filled > 10
    replies = decode_replies(np.array(result["replies"]), np.array(result["replies.cycles"]))
    check(spec, replies[len(opening(spec)[:-2]):], name)
    weights = encode_state(spec, "weights", network(spec).weights)
    assert replies[len(opening(spec)[:-2])].payload.tolist() == weights.tolist()


def framed(sequence: int, words: np.ndarray) -> list[int]:
    return list(encode_frame(Frame(kind=FrameKind.DATA, sequence=sequence, last=True,
                                   payload=bytes((words & 0xFF).astype(np.uint8)))))


RESET = list(encode_frame(Frame(kind=FrameKind.RESET)))
ACKNOWLEDGE = len(encode_frame(Frame(kind=FrameKind.ACKNOWLEDGE)))
_FRAME = len(encode_frame(Frame(kind=FrameKind.DATA)))
"""Bytes of a frame beside its payload."""


@pytest.mark.parametrize("name", quick(SPECS, "maps"))
def test_by_frame(tmp_path: Path, name: str) -> None:
    """A RESET frame at moments all over a sample to learn from; every question in a frame of its own."""
    spec = SPECS[name]
    loading = opening(spec)[:-2]
    runs: list[dict[str, Any]] = []
    moments = range(0, 700, 83)
    for moment in moments:
        for words in loading:  # each from a reset: no acknowledgement of replies needed
            size = len(encode_frame(Frame(kind=FrameKind.DATA, payload=bytes([words[0] & 0xFF, 0]))))
            runs.append({"stimuli": {"received": RESET + framed(0, words)},
                         "expected": {"sent": len(RESET) + ACKNOWLEDGE + size}})
        # Delimiters are taken one per clock and mean nothing; those behind give the confirmation time to leave.
        line = RESET + framed(0, opening(spec)[-1]) + [END] * moment + RESET + [END] * 200
        runs.append({"stimuli": {"received": line}, "expected": {}})
        for sequence, words in enumerate(questions(spec)):
            # Time for what escapes have made longer, then the reply before is acknowledged.
            before = [END] * 300 + list(encode_frame(Frame(kind=FrameKind.ACKNOWLEDGE, sequence=sequence - 1))) \
                if sequence else []
            runs.append({"stimuli": {"received": before + framed(sequence, words)},
                         "expected": {"sent": ACKNOWLEDGE + _FRAME + answer_bytes(spec)[sequence]}})
    top = emitted(LinkedCore, spec=spec, geometry=Geometry(lanes=4), patience=100_000)
    results = simulate(top, runs, tmp_path, stalls=Stalls.NONE)
    each = len(loading) + 1 + len(questions(spec))
    for number, moment in enumerate(moments):
        part = results[each * number:each * (number + 1)]
        decoder = FrameDecoder()
        line = bytes(byte for result in part[len(loading):] for byte in result["sent"])
        # The reply to what was cut off may have come before; RESET ends it.
        frames = decoder.feed(line)
        start = max(place for place, frame in enumerate(frames) if frame.kind is FrameKind.RESET) + 1
        answered = [frame.payload for frame in frames[start:] if frame.kind is FrameKind.DATA]
        replies = [Reply(np.frombuffer(answer, dtype=np.uint8).astype(np.int64), 0) for answer in answered]
        check(spec, replies, f"{name}: RESET frame {moment} clocks after the sample")


@pytest.mark.parametrize("name", quick(["graded", "stdp"], "stdp"))
def test_by_register_and_pin_of_axi(tmp_path: Path, name: str) -> None:
    """The control register's reset bit, and ``aresetn`` for a single clock, in the middle of an image's learning."""
    spec = SPECS[name]
    emission = emit_axi(spec=spec, geometry=Geometry(lanes=4), width=4)
    built = build(verilog=emission.verilog, harness=write_pin_harness(emission.description),
                  description=emission.description)

    def send(words: np.ndarray) -> dict[str, Any]:
        return {"do": "send", "data": bytes((words & 0xFF).astype(np.uint8)).hex()}

    steps: list[dict[str, Any]] = []
    moments = range(3, 300, 43)
    resets: list[dict[str, Any]] = [{"do": "write", "address": register_map()["control"], "value": 1},
                                    {"do": "reset", "clocks": 1}]
    for number, moment in enumerate(moments):
        for words in opening(spec)[:-1]:
            steps += [send(words), {"do": "receive"}]
        steps += [send(opening(spec)[-1]), {"do": "wait", "clocks": moment}, resets[number % 2],
                  {"do": "wait", "clocks": 40}, {"do": "discard"}]
        for words in questions(spec):
            steps += [send(words), {"do": "receive"}]
    results = run_bench(built, module="lifstream.sim.tb_axi", folder=tmp_path,
                        configuration={"steps": steps, "seed": 0})["results"]
    received = [bytes.fromhex(result) for step, result in zip(steps, results, strict=True) if step["do"] == "receive"]
    each = len(opening(spec)) - 1 + len(questions(spec))
    for number, moment in enumerate(moments):
        part = received[each * number:each * (number + 1)][len(opening(spec)) - 1:]
        check(spec, [Reply(np.frombuffer(answer, dtype=np.uint8).astype(np.int64), 0) for answer in part],
              f"{name}: {resets[number % 2]['do']} {moment} clocks after the sample")


def test_the_check_can_fail() -> None:
    """One weight read back differs from the one that answered."""
    spec = DESIRE
    golden = network(spec)
    before = encode_state(spec, "weights", golden.weights).astype(np.int64)
    record = golden.classify(IMAGES[2])
    learnt = learn(golden, IMAGES[0], 2, rate_shift=12, **DrawGenerator(spec).draw()._asdict())
    answers = [Reply(np.array([command, Status.OK if forward.prediction >= 0 else Status.TIE,
                               int(forward.prediction) & 0xFF, *forward.counts.tolist()]), 0)
               for command, forward in ((Command.INFER, record), (Command.TRAIN, learnt.forward))]
    after = encode_state(spec, "weights", golden.weights).astype(np.int64)
    state = [Reply(np.array([Command.READ_WEIGHTS, Status.OK, *values]), 0) for values in (before, after)]
    check(spec, [state[0], *answers, state[1]], "")
    state[1].payload[0] ^= 1
    with pytest.raises(AssertionError):
        check(spec, [state[0], *answers, state[1]], "")

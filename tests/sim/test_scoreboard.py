"""The scoreboard: the first divergence, in the order of cause and effect."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import data as data_strategy
from hypothesis.strategies import integers, lists

from lifstream.golden.contract.flat import flat_network
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.sim.bench import BenchError, read_words, undisturbed
from lifstream.sim.scoreboard import (
    MISMATCHES_MAX,
    Captured,
    Divergence,
    label_mismatches,
    mismatches,
    state_mismatches,
)
from tests.conftest import random_images, random_network

SPEC = flat_network(sizes=(9, 6, 4), steps=7)


@pytest.fixture
def golden() -> ForwardRecord:
    return random_network(SPEC, 5, scale=2.0).classify(random_images(4, 9, 2))


def captured(golden: ForwardRecord) -> Captured:
    return Captured(input_spikes=golden.input_spikes.astype(np.int64),
                    spikes=tuple(record.spikes.astype(np.int64) for record in golden.layers),
                    membranes=tuple(record.membrane.copy() for record in golden.layers),
                    responses=golden.responses.copy(), predictions=golden.prediction.copy())


def only(found: list[Divergence]) -> Divergence:
    """The one mismatch there is."""
    assert len(found) == 1
    return found[0]


def test_equal_records_agree(golden: ForwardRecord) -> None:
    assert mismatches(golden, captured(golden)) == []


def test_one_bit_anywhere_is_found_and_placed(golden: ForwardRecord) -> None:
    """Every element of every array, one at a time."""
    for layer, size in enumerate((6, 4)):
        for image, step, neuron in np.ndindex(4, 7, size):
            got = captured(golden)
            got.membranes[layer][image, step, neuron] ^= 1
            found = only(mismatches(golden, got, first_image=100))
            assert (found.image, found.step, found.layer, found.neuron) == (100 + image, step, layer, neuron)
            assert found.quantity == "membrane potential"
            assert found.got == found.expected ^ 1
            got = captured(golden)
            got.spikes[layer][image, step, neuron] ^= 1
            found = only(mismatches(golden, got))
            assert (found.image, found.step, found.layer, found.neuron, found.quantity) == (
                image, step, layer, neuron, "spike")
    for image, step, neuron in np.ndindex(4, 7, 9):
        got = captured(golden)
        got.input_spikes[image, step, neuron] ^= 1
        assert "encoder" in str(only(mismatches(golden, got)))
    for image, neuron in np.ndindex(4, 4):
        got = captured(golden)
        got.responses[image, neuron] ^= 1
        assert f"image {image}, neuron {neuron}: spike count" in str(only(mismatches(golden, got)))
    for image in range(4):
        got = captured(golden)
        got.predictions[image] ^= 1
        assert f"image {image}: prediction" in str(only(mismatches(golden, got)))


def test_causes_come_before_effects(golden: ForwardRecord) -> None:
    got = captured(golden)
    got.membranes[1][0, 3, 0] ^= 1
    got.spikes[0][0, 3, 5] ^= 1
    got.spikes[0][0, 4, 0] ^= 1
    got.responses[0, 0] ^= 1
    got.membranes[0][1, 0, 0] ^= 1
    found = mismatches(golden, got)
    assert [(each.image, each.step, each.layer, each.quantity, each.neuron) for each in found] == [
        (0, 3, 0, "spike", 5), (0, 3, 1, "membrane potential", 0), (0, 4, 0, "spike", 0),
        (0, None, None, "spike count", 0), (1, 0, 0, "membrane potential", 0)]
    later = replace(got, spikes=captured(golden).spikes, membranes=captured(golden).membranes)
    assert "spike count" in str(only(mismatches(golden, later)))


def test_ten_mismatches_are_named_and_no_more(golden: ForwardRecord) -> None:
    got = captured(golden)
    for array in (*got.membranes, *got.spikes, got.input_spikes, got.responses):
        array ^= 1
    found = mismatches(golden, got)
    assert [(each.layer, each.quantity, each.neuron) for each in found] == [
        *((-1, "spike", neuron) for neuron in range(9)), (0, "membrane potential", 0)]
    assert {(each.image, each.step) for each in found} == {(0, 0)}
    assert len(found) == MISMATCHES_MAX
    weights = [np.zeros((3, 2), dtype=np.int32), np.zeros((4, 5), dtype=np.int32)]
    wrong = [matrix + 1 for matrix in weights]
    found = state_mismatches(weights, wrong, quantity="weight", image=7)
    assert [(each.layer, each.row, each.column) for each in found] == [
        *((0, row, column) for row in range(3) for column in range(2)), *((1, 0, column) for column in range(4))]
    thresholds = [np.arange(4), np.arange(8)]
    raised = [array + 1 for array in thresholds]
    assert [(each.layer, each.neuron, each.expected, each.got)
            for each in state_mismatches(thresholds, raised, quantity="adaptive threshold", image=7)] == [
        *((0, neuron, neuron, neuron + 1) for neuron in range(4)),
        *((1, neuron, neuron, neuron + 1) for neuron in range(6))]
    votes = label_mismatches(weights[1], wrong[1], image=7)
    assert [(each.neuron, each.quantity) for each in votes] == [
        (neuron, f"vote for class {label}") for neuron in range(2) for label in range(5)]


def test_a_message_says_when_and_where() -> None:
    found = Divergence(image=0, step=12, layer=0, quantity="membrane potential", neuron=83, expected=-2513, got=5679)
    message = "image 0, step 12, layer 0, neuron 83: membrane potential expected -2513, got 5679"
    assert str(found) == message
    assert str(replace(found, path="top.membrane")) == f"{message} (top.membrane)"
    placed = replace(found, clock=1234, first_clock=1234, time_ns=12_340, path="top.membrane")
    assert str(placed) == f"{message} (clock 1234 at 12340 ns, top.membrane)"
    assert str(replace(placed, first_clock=1200)) == f"{message} (clocks 1200 to 1234 at 12340 ns, top.membrane)"


def test_a_file_is_written_to_its_end_before_a_signal_ends_the_bench() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with undisturbed():
            signal.raise_signal(signal.SIGTERM)
            assert received == []
        assert received == [signal.SIGTERM]
        with undisturbed():
            pass
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("text", ["1a5\n0ff\n", "// 0x00000000\n1a5\n0ff\n", "1A5\nff\n"],
                         ids=["plain", "with an address", "without leading zeros"])
def test_words_are_read_field_by_field(tmp_path: Path, text: str) -> None:
    path = tmp_path / "words.hex"
    path.write_text(text)
    words = read_words(path, 9)
    assert words.integers(9) == [0x1A5, 0xFF]
    assert words.fields(0, 9)[:, 0].tolist() == [0x1A5, 0xFF]
    assert words.fields(0, 3, 3, signed=True).tolist() == [[-3, -4, -2], [-1, -1, 3]]
    assert words.fields(6, 3).tolist() == [[6], [3]]
    assert words.bits(2, 7).tolist() == [[1, 0, 0, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0]]


@given(width=integers(1, 150), data=data_strategy())
def test_words_of_any_width_come_back(tmp_path_factory: pytest.TempPathFactory, width: int, data: Any) -> None:
    values = data.draw(lists(integers(0, (1 << width) - 1), min_size=1, max_size=5))
    path = tmp_path_factory.getbasetemp() / f"words{width}.hex"
    path.write_text("".join(f"{value:0{-(-width // 4)}x}\n" for value in values))
    words = read_words(path, width)
    offset = data.draw(integers(0, width - 1))
    part = data.draw(integers(1, min(56, width - offset)))
    assert words.integers(width) == values
    assert words.fields(offset, part)[:, 0].tolist() == [value >> offset & ((1 << part) - 1) for value in values]
    assert words.bits(offset, part)[:, 0].tolist() == [value >> offset & 1 for value in values]


def test_unknown_bits_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "words.hex"
    path.write_text("1a5\n0xx\n")
    with pytest.raises(BenchError, match="word 1 has unknown bits: 0xx"):
        read_words(path, 9)

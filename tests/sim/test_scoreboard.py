"""The scoreboard: the first divergence, in the order of cause and effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.network import ForwardRecord
from lifstream.golden.spec import NetworkSpec
from lifstream.sim.bench import BenchError, read_words, word_fields
from lifstream.sim.scoreboard import Captured, first_divergence
from tests.conftest import random_images, random_network

SPEC = NetworkSpec(sizes=(9, 6, 4), steps=7)


@pytest.fixture
def golden() -> ForwardRecord:
    return random_network(SPEC, 5, scale=2.0).forward(random_images(4, 9, 2))


def captured(golden: ForwardRecord) -> Captured:
    return Captured(input_spikes=golden.input_spikes.astype(np.int64),
                    spikes=tuple(record.spikes.astype(np.int64) for record in golden.layers),
                    membranes=tuple(record.membrane.copy() for record in golden.layers),
                    counts=golden.counts.copy(), predictions=golden.prediction.copy())


def test_equal_records_agree(golden: ForwardRecord) -> None:
    assert first_divergence(golden, captured(golden)) is None


def test_one_bit_anywhere_is_found_and_placed(golden: ForwardRecord) -> None:
    """Every element of every array, one at a time."""
    for layer, size in enumerate((6, 4)):
        for image, step, neuron in np.ndindex(4, 7, size):
            got = captured(golden)
            got.membranes[layer][image, step, neuron] ^= 1
            found = first_divergence(golden, got, first_image=100)
            assert found is not None
            assert (found.image, found.step, found.layer, found.neuron) == (100 + image, step, layer, neuron)
            assert found.quantity == "membrane potential"
            assert found.got == found.expected ^ 1
            got = captured(golden)
            got.spikes[layer][image, step, neuron] ^= 1
            found = first_divergence(golden, got)
            assert found is not None
            assert (found.image, found.step, found.layer, found.neuron, found.quantity) == (
                image, step, layer, neuron, "spike")
    for image, step, neuron in np.ndindex(4, 7, 9):
        got = captured(golden)
        got.input_spikes[image, step, neuron] ^= 1
        assert "encoder" in str(first_divergence(golden, got))
    for image, neuron in np.ndindex(4, 4):
        got = captured(golden)
        got.counts[image, neuron] ^= 1
        assert f"image {image}, neuron {neuron}: spike count" in str(first_divergence(golden, got))
    for image in range(4):
        got = captured(golden)
        got.predictions[image] ^= 1
        assert f"image {image}: prediction" in str(first_divergence(golden, got))


def test_causes_come_before_effects(golden: ForwardRecord) -> None:
    got = captured(golden)
    got.membranes[1][0, 3, 0] ^= 1
    got.spikes[0][0, 3, 5] ^= 1
    got.spikes[0][0, 4, 0] ^= 1
    got.counts[0, 0] ^= 1
    got.membranes[0][1, 0, 0] ^= 1
    found = first_divergence(golden, got)
    assert found is not None
    assert (found.image, found.step, found.layer, found.quantity, found.neuron) == (0, 3, 0, "spike", 5)
    later = replace(got, spikes=captured(golden).spikes, membranes=captured(golden).membranes)
    assert "spike count" in str(first_divergence(golden, later))


def test_words_are_read_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "words.hex"
    path.write_text("// 0x00000000\n1a5\n0ff\n")
    bits = read_words(path, 9)
    assert word_fields(bits, 9)[:, 0].tolist() == [0x1A5, 0xFF]
    assert word_fields(bits, 3, signed=True).tolist() == [[-3, -4, -2], [-1, -1, 3]]


def test_unknown_bits_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "words.hex"
    path.write_text("1a5\n0xx\n")
    with pytest.raises(BenchError, match="word 1 has unknown bits: 0xx"):
        read_words(path, 9)

"""Encoder and neuron: pinned trajectories for every branch."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.model.encoder import encode
from lifstream.golden.model.neurons.independent import Potential
from lifstream.golden.model.neurons.lif import LifParameters, step
from lifstream.golden.model.operations import clamp, leak
from lifstream.golden.model.readouts import NO_PREDICTION, unique_maximum
from lifstream.golden.model.synapses import synaptic_current
from tests.conftest import random_images


@pytest.mark.parametrize("steps", [1, 4, 10, 20, 64])
def test_encoder_spikes_exactly_at_its_rate(steps: int) -> None:
    trains = encode(np.arange(256, dtype=np.uint8), steps)
    assert trains.shape == (steps, 256)
    assert (trains.sum(axis=0) == steps * np.arange(256) // 255).all()


def test_encoder_pinned() -> None:
    trains = encode(np.array([[0, 100, 127, 128, 255]], dtype=np.uint8), 6)
    assert trains.shape == (1, 6, 5)
    expected = ["000000", "001001", "001010", "010101", "111111"]
    assert ["".join("01"[int(bit)] for bit in trains[0, :, pixel]) for pixel in range(5)] == expected


def test_current_equals_the_plain_sum() -> None:
    random = np.random.default_rng(3)
    spikes = random.random((2, 5, 30)) < 0.3
    weights = random.integers(-32768, 32768, (30, 4)).astype(np.int32)
    assert (synaptic_current(spikes, weights) == spikes.astype(np.int64) @ weights.astype(np.int64)).all()


def test_leak_rounds_towards_minus_infinity() -> None:
    assert leak(np.array([100, 7, 1, 0, -1, -7, -100]), 2).tolist() == [75, 5, 0, 0, -1, -6, -75]


def test_clamp_at_both_ends() -> None:
    assert clamp(np.array([15, -15, 35, -35]), -32, 31).tolist() == [15, -15, 31, -32]


CONSTANTS = LifParameters(leak_shift=2, low=Potential(-32), high=Potential(31), threshold=Potential(16))


def test_a_spike_resets_by_subtraction_and_respects_dropout() -> None:
    before = (np.array([20, 20, 40, 40]),)  # leaks to 15, 15, 30, 30
    potential, spikes, (after,) = step(CONSTANTS, before, np.array([0, 1, 9, 9]), np.array([True, True, True, False]))
    assert potential.tolist() == [15, 16, 31, 31]
    assert spikes.tolist() == [False, True, True, False]
    assert after.tolist() == [15, 0, 15, 31]


def trajectory(currents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Membrane potentials and spikes of neurons under currents, (..., T, n)."""
    membrane, spikes = np.empty_like(currents), np.empty(currents.shape, dtype=bool)
    state: tuple[np.ndarray, ...] = (np.zeros_like(currents[..., 0, :]),)
    for index in range(currents.shape[-2]):
        membrane[..., index, :], spikes[..., index, :], state = step(
            CONSTANTS, state, currents[..., index, :], np.bool_(True))
    return membrane, spikes


@pytest.mark.parametrize(("name", "currents", "membranes", "spikes"), [
    # threshold 16, leak 3/4, clamp -32..31
    ("sub-threshold", [8, 0, 0, 0], [8, 6, 4, 3], [0, 0, 0, 0]),
    ("negative leak floors", [-5, 0, 0, 0], [-5, -4, -3, -3], [0, 0, 0, 0]),
    ("spike and soft reset", [20, 0, 0, 0], [20, 3, 2, 1], [1, 0, 0, 0]),
    ("exactly at threshold", [16, 0, 0, 0], [16, 0, 0, 0], [1, 0, 0, 0]),
    ("carry over a spike", [31, 5, 0, 0], [31, 16, 0, 0], [1, 1, 0, 0]),
    ("clamped high", [99, 99, 0, 0], [31, 31, 11, 8], [1, 1, 0, 0]),
    ("clamped low", [-99, -1, 0, 0], [-32, -25, -19, -15], [0, 0, 0, 0]),
])
def test_trajectories(name: str, currents: list[int], membranes: list[int], spikes: list[int]) -> None:
    membrane, fired = trajectory(np.array(currents)[:, None])
    assert membrane[:, 0].tolist() == membranes, name
    assert fired[:, 0].astype(int).tolist() == spikes, name


def test_batched_equals_single() -> None:
    current = np.random.default_rng(1).integers(-40, 40, (6, 9, 5))
    membranes, spikes = trajectory(current)
    for index in range(6):
        membrane, fired = trajectory(current[index])
        assert (membranes[index] == membrane).all()
        assert (spikes[index] == fired).all()


@pytest.mark.parametrize(("counts", "prediction"), [
    ([0, 3, 1], 1), ([3, 3, 1], NO_PREDICTION), ([0, 0, 0], NO_PREDICTION), ([1, 0, 0], 0), ([0, 0, 9], 2)])
def test_readout(counts: list[int], prediction: int) -> None:
    assert unique_maximum(np.array(counts)) == prediction


def test_random_images_cover_silence_and_saturation() -> None:
    images = random_images(20, 50, 1)
    assert {0, 255} <= set(images.ravel().tolist())

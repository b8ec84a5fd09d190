"""The moving event camera: what it sends, against a pixel-by-pixel account in fractions, and as a data set."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.synapses import Conv, Map
from lifstream.golden.model.encoder import unpacked
from lifstream.golden.study.datasets import DATASETS, load_dataset
from lifstream.golden.study.event_camera import MARGIN, STEPS, THRESHOLD, gaze, seen_by_events, sensor
from lifstream.golden.study.presets import preset_in_words
from tests.conftest import random_images

HEIGHT, WIDTH = 4, 3


def brightness(image: np.ndarray, place: np.ndarray, y: int, x: int) -> Fraction:
    """At a pixel of the sensor, with the image at a place in sixteenths of a pixel: linear between its pixels."""
    down, right = (y - Fraction(int(place[0]), 16), x - Fraction(int(place[1]), 16))
    total = Fraction(0)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            share = max(Fraction(0), 1 - abs(down - row)) * max(Fraction(0), 1 - abs(right - column))
            total += share * int(image[row * WIDTH + column])
    return total


def test_a_camera_s_events_follow_brightness() -> None:
    images = random_images(3, HEIGHT * WIDTH, 4)
    of, places = sensor(HEIGHT, WIDTH), gaze()
    spikes = unpacked(seen_by_events(images, height=HEIGHT, width=WIDTH), steps=STEPS, neurons=of.neurons)
    assert of == Map(height=HEIGHT + 2 * MARGIN, width=WIDTH + 2 * MARGIN, channels=2)
    assert len(places) == STEPS + 1
    for image, trains in zip(images, spikes.reshape(3, STEPS, of.height, of.width, 2), strict=True):
        for y in range(of.height):
            for x in range(of.width):
                reference = brightness(image, places[0], y, x)
                for step in range(STEPS):
                    change = brightness(image, places[step + 1], y, x) - reference
                    whole = int(abs(change) / THRESHOLD)
                    assert trains[step, y, x].tolist() == [change < 0 and whole > 0, change > 0 and whole > 0]
                    reference += (1 if change > 0 else -1) * whole * THRESHOLD


def test_the_gaze_comes_back() -> None:
    places = gaze()
    assert places[0].tolist() == places[-1].tolist() == [0, 0]
    assert places.min() == 0
    assert places.max() == 2 * MARGIN * 16
    assert not seen_by_events(np.full((1, 12), 0, np.uint8), height=4, width=3).any()
    assert seen_by_events(np.zeros((0, 12), np.uint8), height=4, width=3).shape == (0, -(-STEPS * 8 * 7 * 2 // 8))


def test_digits_as_events() -> None:
    dataset, images = load_dataset("events-digits"), load_dataset("digits")
    shape = DATASETS["events-digits"]
    assert (dataset.height, dataset.width, dataset.channels, dataset.steps) == (12, 12, 2, 24)
    assert shape == (dataset.height, dataset.width, dataset.classes, dataset.channels, dataset.steps)
    assert dataset.train.labels.tolist() == images.train.labels.tolist()
    assert dataset.train.digest == load_dataset("events-digits").train.digest
    assert 300 < unpacked(dataset.test.images, steps=24, neurons=288).sum(axis=(1, 2)).mean() < 900
    spec = preset_in_words("conv 4 3x3/2, dense 10", dataset="events-digits").spec
    assert spec.input == Events(map=Map(height=12, width=12, channels=2))
    assert spec.steps == 24
    first = spec.layers[0].synapses
    assert isinstance(first, Conv)
    assert first.inputs == Map(height=12, width=12, channels=2)


@pytest.mark.parametrize("name", ["events-mnist"])
def test_shapes_are_known_without_files(name: str) -> None:
    assert DATASETS[name] == (32, 32, 10, 2, 24)

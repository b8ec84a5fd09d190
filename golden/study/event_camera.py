"""Images seen by a moving event camera: what a contrast sensor would send while its gaze wanders over them.

N-MNIST (G. Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades", 2015)
was recorded so, with a real sensor in front of a screen. Here it is computed: the gaze goes along a triangle, and where
the brightness of a pixel has changed by a threshold since its last event, an event of that polarity is sent. All of it
in integers, with nothing random.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.synapses import Map
from lifstream.golden.model.encoder import packed

__all__ = ["MARGIN", "STEPS", "THRESHOLD", "gaze", "seen_by_events", "sensor"]

STEPS = 24
"""Time steps of a sample, eight for each side of the triangle."""

MARGIN = 2
"""Pixels around the image that it moves over."""

THRESHOLD = 51
"""Change of brightness, out of 255, that makes an event: a fifth."""

_UNIT = 16
"""Steps of the gaze in a pixel; brightness is counted in 1 / 16**2."""

_CORNERS = ((0, 0), (4, 2), (0, 4), (0, 0))
"""Of the triangle, pixels down and right from where the image is furthest up and left."""

_CHUNK = 1_000  # images at a time


def sensor(height: int, width: int) -> Map:
    """The sensor's pixels: polarity 0 darker, 1 brighter."""
    return Map(height=height + 2 * MARGIN, width=width + 2 * MARGIN, channels=2)


def gaze() -> NDArray[np.int64]:
    """Where the image is, int64 (T + 1, 2): down and right, in sixteenths of a pixel; one before the first step."""
    sides = len(_CORNERS) - 1
    each = STEPS // sides
    places = [np.array(start) * _UNIT + (np.array(end) - start) * _UNIT * part // each
              for start, end in pairwise(_CORNERS) for part in range(each)]
    return np.array([*places, np.array(_CORNERS[-1]) * _UNIT], dtype=np.int64)


def _frame(images: NDArray[np.int32], place: NDArray[np.int64]) -> NDArray[np.int32]:
    """Images, (count, height, width), at a place of the sensor, between its pixels by linear interpolation."""
    (down, y), (right, x) = (divmod(int(each), _UNIT) for each in place)
    height, width = images.shape[1:]
    frame = np.zeros((len(images), height + 2 * MARGIN + 1, width + 2 * MARGIN + 1), dtype=np.int32)
    for dy, part_y in ((0, _UNIT - y), (1, y)):
        for dx, part_x in ((0, _UNIT - x), (1, x)):
            if part_y * part_x:
                frame[:, down + dy:down + dy + height, right + dx:right + dx + width] += part_y * part_x * images
    return frame[:, :-1, :-1]


def seen_by_events(images: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Packed samples of :func:`sensor`'s spike trains, uint8 (count, bytes), of images, uint8 (count, height * width).

    A pixel sends at most one event in a step; its reference moves by whole thresholds.
    """
    places, threshold = gaze(), THRESHOLD * _UNIT * _UNIT
    found = []
    for start in range(0, len(images), _CHUNK):
        shown = images[start:start + _CHUNK].reshape(-1, height, width).astype(np.int32)
        reference = _frame(shown, places[0])
        spikes = np.zeros((len(shown), STEPS, *reference.shape[1:], 2), dtype=bool)
        for step, place in enumerate(places[1:]):
            change = _frame(shown, place) - reference
            darker, brighter = change <= -threshold, change >= threshold
            spikes[:, step, ..., 0], spikes[:, step, ..., 1] = darker, brighter
            fired = darker | brighter
            reference[fired] += np.sign(change[fired]) * (np.abs(change[fired]) // threshold * threshold)
        found.append(packed(spikes.reshape(len(shown), STEPS, -1)))
    return np.concatenate(found) if found else np.zeros((0, -(-STEPS * sensor(height, width).neurons // 8)), np.uint8)

"""Input: a rate encoder by which pixel intensities become deterministic spike trains, and packed spike trains."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import PIXEL_MAX

__all__ = ["encode", "packed", "spike_patterns", "unpacked"]


@cache
def spike_patterns(steps: int) -> NDArray[np.bool_]:
    """The spike train of every intensity.

    Each step adds the intensity to an accumulator that starts at 0; when it reaches 255 the pixel
    spikes and 255 is subtracted. An intensity ``p`` therefore spikes exactly ``T * p // 255`` times.

    Parameters
    ----------
    steps
        ``T``, time steps.

    Returns
    -------
    bool array (T, 256), read-only; column ``p`` is the spike train of intensity ``p``.
    """
    intensity = np.arange(PIXEL_MAX + 1)
    accumulator = np.zeros_like(intensity)
    patterns = np.empty((steps, PIXEL_MAX + 1), dtype=bool)
    for step in range(steps):
        accumulator += intensity
        patterns[step] = accumulator >= PIXEL_MAX
        accumulator[patterns[step]] -= PIXEL_MAX
    patterns.flags.writeable = False
    return patterns


def encode(images: NDArray[np.uint8], steps: int) -> NDArray[np.bool_]:
    """Spike trains of images.

    Parameters
    ----------
    images
        uint8 (..., n): intensities 0..255.
    steps
        ``T``, time steps.

    Returns
    -------
    bool (..., T, n).
    """
    return np.moveaxis(np.take(spike_patterns(steps), images, axis=1), 0, -2)


def packed(spikes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Samples of a data set of spike trains: bool (..., T, n) to uint8 (..., bytes), lowest bit first."""
    flat = spikes.reshape(*spikes.shape[:-2], -1)
    return np.packbits(flat, axis=-1, bitorder="little")


def unpacked(samples: NDArray[np.uint8], *, steps: int, neurons: int) -> NDArray[np.bool_]:
    """The inverse of :func:`packed`."""
    bits = np.unpackbits(samples, axis=-1, count=steps * neurons, bitorder="little")
    return bits.reshape(*samples.shape[:-1], steps, neurons).astype(bool)

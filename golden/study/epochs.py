"""What a training epoch presents: the images in an order, by shifts and mirrored, as the seed alone decides.

The golden model, the float model and the hardware are all fed from here, so they see the same stream.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.study.datasets import Dataset, Split

__all__ = ["EpochStream", "image_mirrors", "image_order", "image_shifts", "shift_images"]

_ORDER_STREAM, _SHIFT_STREAM, _MIRROR_STREAM = 2, 3, 4


def _random(seed: int, stream: int, epoch: int) -> np.random.RandomState:
    # RandomState is frozen: its numbers never change between NumPy versions.
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, stream, epoch])))


def image_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Order in which an epoch (from 0) visits ``count`` training images, int64 (count,)."""
    return _random(seed, _ORDER_STREAM, epoch).permutation(count)


def image_shifts(seed: int, epoch: int, count: int, limit: int) -> NDArray[np.int64]:
    """Shifts (down, right) of each presentation in pixels, int64 (count, 2), uniform in -limit..limit."""
    return _random(seed, _SHIFT_STREAM, epoch).randint(-limit, limit + 1, size=(count, 2))


def image_mirrors(seed: int, epoch: int, count: int) -> NDArray[np.bool_]:
    """Which presentations are mirrored, left for right, bool (count,): half of them on average."""
    drawn: NDArray[np.bool_] = _random(seed, _MIRROR_STREAM, epoch).randint(0, 2, size=count) == 1
    return drawn


def shift_images(images: NDArray[np.uint8], shifts: NDArray[np.int64], *, height: int, width: int) -> NDArray[np.uint8]:
    """Move each image by whole pixels; what leaves the frame is lost, what enters is 0.

    Parameters
    ----------
    images
        uint8 (count, height * width).
    shifts
        int64 (count, 2): pixels down and to the right, negative for up and left.

    Returns
    -------
    uint8 (count, height * width).
    """
    if not len(images):
        return images
    limit = int(np.abs(shifts).max())
    frames = np.pad(images.reshape(-1, height, width), ((0, 0), (limit, limit), (limit, limit)))
    rows = limit - shifts[:, :1] + np.arange(height)
    columns = limit - shifts[:, 1:] + np.arange(width)
    moved = frames[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(moved.reshape(images.shape))


class EpochStream:
    """The images of one epoch in the order they are learnt from; slice it for a :class:`Split`.

    Parameters
    ----------
    dataset
        Supplies the size of an image.
    training
        The images to learn from.
    seed, epoch
        Decide order and shifts; epochs count from 0.
    shift
        Largest shift in pixels, in each direction; 0 presents the images where they are.
    mirror
        Mirror images at random, left for right, before they are shifted.
    """

    def __init__(self, *, dataset: Dataset, training: Split, seed: int, epoch: int, shift: int,
                 mirror: bool = False) -> None:
        self._training, self._size = training, (dataset.height, dataset.width)
        self._order = image_order(seed, epoch, len(training))
        self._shifts = image_shifts(seed, epoch, len(training), shift) if shift else None
        self._mirrors = image_mirrors(seed, epoch, len(training)) if mirror else None

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, part: slice) -> Split:
        chosen = self._training[self._order[part]]
        images, (height, width) = chosen.images, self._size
        if self._mirrors is not None:
            frames = images.reshape(-1, height, width)
            mirrored = np.where(self._mirrors[part, None, None], frames[:, :, ::-1], frames)
            images = np.ascontiguousarray(mirrored.reshape(images.shape))
        if self._shifts is not None:
            images = shift_images(images, self._shifts[part], height=height, width=width)
        return Split(images=images, labels=chosen.labels)

"""From a drawing to an image as a data set has them: as large, and as centred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.study.datasets import Split

__all__ = ["Framing", "resampled"]

Array = NDArray[np.float64]

_LOOKED_AT = 2_000
_FAINT = 32
"""Intensity up to which a pixel is no ink."""
_PEN_PIXELS, _PEN_SHARE = 0.5, 0.1


def _overlaps(count: int, source: int, *, start: float, scale: float) -> Array:
    """How much of each source pixel lies in each of ``count`` pixels of width ``scale`` that begin at ``start``, as a
    share of a pixel's width: float64 (count, source)."""
    edges = start + scale * np.arange(count + 1)
    pixels = np.arange(source)
    inner = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlaps: Array = np.maximum(inner, 0.0) / scale
    return overlaps


def resampled(image: Array, *, height: int, width: int, start: tuple[float, float], scale: float) -> Array:
    """Mean intensities of the ``height x width`` squares of side ``scale`` that begin at ``start`` (down, right).

    Places and sides are in pixels of ``image``; beyond its edges there is nothing.
    """
    down = _overlaps(height, image.shape[0], start=start[0], scale=scale)
    right = _overlaps(width, image.shape[1], start=start[1], scale=scale)
    found: Array = down @ image @ right.T
    return found


def _box(ink: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Bounding box: first row, row after the last, and likewise columns; None without ink."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _mass(image: Array) -> tuple[float, float]:
    """Centre of mass (down, right) in pixels from the upper left corner."""
    total = image.sum()
    return (float(image.sum(axis=1) @ (np.arange(image.shape[0]) + 0.5) / total),
            float(image.sum(axis=0) @ (np.arange(image.shape[1]) + 0.5) / total))


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a data set's images are framed.

    Parameters
    ----------
    height, width
        Of an image, in pixels.
    side
        Longer side of what is shown, in pixels: 20 on MNIST, whose images have 28.
    by_mass
        Whether its centre of mass is in the middle (MNIST), or that of its bounding box (UCI digits).
    """

    height: int
    width: int
    side: int
    by_mass: bool

    @classmethod
    def of(cls, split: Split, *, height: int, width: int) -> Framing:
        """How these images are framed, by the first 2,000."""
        sides, masses, boxes = [], [], []
        for image in split.images[:_LOOKED_AT].reshape(-1, height, width):
            box = _box(image > 0)
            if box is not None:
                top, bottom, left, right = box
                sides.append(max(bottom - top, right - left))
                masses.append(_mass(image.astype(np.float64)))
                boxes.append(((top + bottom) / 2, (left + right) / 2))
        if not sides:
            return cls(height=height, width=width, side=max(height, width), by_mass=False)
        middle = height / 2, width / 2
        by_mass, by_box = (float(np.square(np.array(centres) - middle).mean()) for centres in (masses, boxes))
        return cls(height=height, width=width, side=int(np.median(sides)), by_mass=by_mass < by_box)

    @property
    def pen(self) -> float:
        """Width of a pen's line that comes out as wide as in the images, as a share of the longer side."""
        return (_PEN_PIXELS + _PEN_SHARE * self.side) / self.side

    def image(self, drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the network is shown of a drawing.

        Its bounding box is scaled, both ways alike, until its longer side is :attr:`side`, and centred; each pixel is
        the mean of what it covers. What is smaller than a quarter of the paper is scaled as if it were as large.

        Parameters
        ----------
        drawing
            uint8 (n, n): ink 255, paper 0.

        Returns
        -------
        uint8 (height * width,).
        """
        box = _box(drawing > _FAINT)
        if box is None:
            return np.zeros(self.height * self.width, dtype=np.uint8)
        top, bottom, left, right = box
        ink = drawing.astype(np.float64)
        longer = max(bottom - top, right - left, len(drawing) / 4)
        scale = longer / self.side
        down, across = _mass(ink[top:bottom, left:right]) if self.by_mass else ((bottom - top) / 2, (right - left) / 2)
        found = resampled(ink, height=self.height, width=self.width, scale=scale,
                          start=(top + down - scale * self.height / 2, left + across - scale * self.width / 2))
        return np.clip(np.rint(found), 0, 255).astype(np.uint8).ravel()

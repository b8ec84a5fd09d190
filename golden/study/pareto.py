"""Designs beside each other, and those that no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DesignPoint", "pareto_front"]


@dataclass(frozen=True, kw_only=True)
class DesignPoint:
    """A design of an exploration.

    Parameters
    ----------
    name
        For people, short.
    family
        What it shares with others, which are drawn alike.
    accuracy
        Fraction, 0..1.
    costs
        Shares of what the board has, by resource; above 1 where there is not as much.
    images_per_second
        That it classifies.
    fits
        Whether the board has enough of everything, and the design is as fast as was asked for.
    """

    name: str
    family: str
    accuracy: float
    costs: dict[str, float]
    images_per_second: float
    fits: bool


def pareto_front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Which points no other beats: none is at least as large in everything, and larger in something.

    Parameters
    ----------
    points
        Values of which larger ones are better, as many of each point.
    """
    return [not any(all(theirs >= own for theirs, own in zip(other, point, strict=True)) and other != point
                    for other in points) for point in points]

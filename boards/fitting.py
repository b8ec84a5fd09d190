"""Lanes for a board: as few as reach a speed, or as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lifstream.boards.estimate import Usage, capacity, total, usage_by_part
from lifstream.boards.targets import Target
from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.geometry import Geometry, balanced_lanes
from lifstream.hdl.timing import Cycles, image_cycles

__all__ = ["Choice", "chosen_lanes"]

_SLOWER = 1.01
"""What fewer lanes in one layer may cost where none are asked for: the pipeline is as fast as its slowest layer."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A folding, what it takes, and how fast it is.

    Parameters
    ----------
    geometry
        Its lanes.
    usage
        Of the whole design.
    cycles
        To classify an image.
    fits
        Whether the board has as much.
    """

    geometry: Geometry
    usage: Usage
    cycles: Cycles
    fits: bool


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest of ``low..high`` for which something holds that holds for all larger ones; ``high`` if none does."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _steps(columns: int) -> list[int]:
    """Numbers of lanes of which each saves a clock: the fewest for each number of folds, ascending."""
    return sorted({-(-columns // folds) for folds in range(1, columns + 1)})


def chosen_lanes(spec: NetworkSpec, target: Target, base: Geometry, samples: Sequence[Any], *,
                 most_cycles: float | None = None) -> Choice:
    """Lanes for a board, layer by layer.

    First all layers are balanced (:func:`lifstream.hdl.geometry.balanced_lanes`) with as few lanes as reach the speed,
    or without one as many as fit; then each layer has its lanes taken away as long as the whole is no slower than that.

    Parameters
    ----------
    spec
        The network.
    target
        The board.
    base
        What of the folding is not to be chosen.
    samples
        What the layers go through (:mod:`lifstream.golden.study.activity`).
    most_cycles
        Clock cycles that classifying an image may take; None: as few as fit.

    Raises
    ------
    InputError
        Nothing is known of what the board has.
    """
    room = capacity(target)
    known: dict[tuple[int, ...], Choice] = {}

    def tried(lanes: tuple[int, ...]) -> Choice:
        if lanes not in known:
            geometry = replace(base, lanes=lanes)
            used = total(usage_by_part(spec, geometry, target.family))
            known[lanes] = Choice(geometry=geometry, usage=used, fits=room.fits(used),
                                  cycles=image_cycles(spec, geometry, samples))
        return known[lanes]

    columns = [layer.synapses.weight_shape[1] for layer in spec.layers]
    sizes = _steps(max(columns))

    def at(index: int) -> Choice:
        return tried(balanced_lanes(spec, most=sizes[index]))

    last = len(sizes) - 1
    if most_cycles is None:
        # A single lane needs more logic around it than two or three do.
        low = high = next((index for index in range(min(3, last + 1)) if at(index).fits), 0)
        while high < last and at(high).fits:    # doubled to where it no longer fits: large designs take long to count
            high = min(last, 2 * high + 1)
        best = at(high) if at(high).fits else at(max(low, _first(low, high, lambda index: not at(index).fits) - 1))
        limit = best.cycles.total * _SLOWER
    else:
        best, limit = at(_first(0, last, lambda index: at(index).cycles.total <= most_cycles)), most_cycles
    for layer, count in enumerate(columns):
        lanes = list(best.geometry.lanes) if isinstance(best.geometry.lanes, tuple) else [best.geometry.lanes]
        fewer = [size for size in _steps(count) if size <= lanes[layer]]

        def with_size(index: int, layer: int = layer, lanes: list[int] = lanes, fewer: list[int] = fewer) -> Choice:
            return tried((*lanes[:layer], fewer[index], *lanes[layer + 1:]))

        found = _first(0, len(fewer) - 1, lambda index: with_size(index).cycles.total <= limit)
        if with_size(found).cycles.total <= limit:
            best = with_size(found)
    return best

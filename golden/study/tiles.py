"""Maps of neurons, and the weights between them, as images side by side: arrays only, drawn in ``figures``.

A *block* is a grid of tiles, float64 (rows, columns, height, width), NaN where the grid is not filled.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.synapses import Conv, Local, Map, SumPool, Synapses

__all__ = ["WeightTiles", "arranged", "canvas", "channel_tiles", "maps_of", "shown_steps", "some", "weight_tiles"]

Array = NDArray[np.float64]

_STEPS_MAX = 6
_TILES_MAX = 64
_DOWN_MAX, _ACROSS_MAX = 10, 16
_LOCAL_MAX = 4
_BETWEEN_BLOCKS = 3


def some(shown: int, total: int, what: str) -> str:
    """How many are shown, and of how many: ``16 of 32 channels``, or ``16 channels`` where those are all."""
    return f"{total if shown == total else f'{shown} of {total}'} {what}{'' if total == 1 else 's'}"


def shown_steps(steps: int) -> list[int]:
    """Numbers of time steps after which to look, ascending: at most 6, from 1 to ``steps``."""
    return sorted({round(step) for step in np.linspace(1, steps, _STEPS_MAX)})


def maps_of(spec: NetworkSpec, *, height: int, width: int) -> list[Map | None]:
    """The maps that input neurons and the neurons of each layer form, ``layers + 1``; None where they form none.

    The input is an image of ``height`` x ``width`` pixels, unless the first synapses take it for another map.
    """
    first = spec.layers[0].synapses
    image = first.inputs if isinstance(first, Conv | Local | SumPool) else Map(height=height, width=width)
    behind = [_behind_sums(layer.synapses) for layer in spec.layers]
    return [image, *(synapses.outputs if isinstance(synapses, Conv | Local) else None for synapses in behind)]


def _behind_sums(synapses: Synapses) -> Synapses:
    return synapses.synapses if isinstance(synapses, SumPool) else synapses


def channel_tiles(values: NDArray[np.integer], of: Map) -> Array:
    """What the neurons of a map hold, (..., neurons), as an image per channel, (..., channels, height, width)."""
    by_position = values.reshape(*values.shape[:-1], of.height, of.width, of.channels)
    return np.moveaxis(by_position, -1, -3).astype(np.float64)


def arranged(tiles: Array, *, aspect: float = 1.0) -> Array:
    """Tiles, (count, height, width), row by row as a block about ``aspect`` times as wide as it is high.

    It is a little wider or narrower than that where this fills all of its rows.
    """
    count, height, width = tiles.shape
    wanted = min(count, max(1, math.ceil(math.sqrt(aspect * count * height / width))))
    near = [wanted + more for more in (0, 1, -1, 2, -2) if 2 * wanted < 3 * (wanted + more) <= 4.5 * wanted]
    columns = next((columns for columns in near if count % columns == 0), wanted)
    rows = -(-count // columns)
    block = np.full((rows * columns, height, width), np.nan)
    block[:count] = tiles
    return block.reshape(rows, columns, height, width)


def canvas(blocks: Array) -> Array:
    """Blocks side by side, (blocks, rows, columns, height, width), as one image with NaN between and around.

    Tiles are one pixel apart, blocks three more.
    """
    count, rows, columns, height, width = blocks.shape
    down, across = rows * (height + 1) + 1, columns * (width + 1) + 1
    whole = np.full((down, count * (across + _BETWEEN_BLOCKS) - _BETWEEN_BLOCKS), np.nan)
    for block, row, column in np.ndindex(count, rows, columns):
        top, left = row * (height + 1) + 1, block * (across + _BETWEEN_BLOCKS) + column * (width + 1) + 1
        whole[top:top + height, left:left + width] = blocks[block, row, column]
    return whole


class WeightTiles(NamedTuple):
    """Weights of a layer as images."""

    name: str
    """What they are called."""
    blocks: Array
    """float64 (blocks, rows, columns, height, width), weight LSBs."""
    across: str
    """What lies side by side."""
    down: str
    """What lies one below the other; nothing where rows go on what the row before began."""


def weight_tiles(weights: NDArray[np.integer], synapses: Synapses, before: Map) -> WeightTiles:
    """Weights of a layer behind a map, for display; of many channels only the first.

    A tile is what a neuron or, in a convolution, an output channel has for one input channel. Of one input channel
    they stand in rows; of several, a row is an output channel, a column an input channel. Where each position has
    its own, a block is an output channel, and its tiles lie as the positions do.

    Parameters
    ----------
    weights
        Of the shape that ``synapses`` declare.
    before
        The map of the presynaptic neurons.
    """
    patch, unpooled = synapses.patch or before, _behind_sums(synapses)
    by_position = weights.reshape(-1, patch.neurons, weights.shape[1])
    # (positions that have their own, output channels, input channels, height, width)
    tiles = channel_tiles(np.moveaxis(by_position, 1, 2), patch)
    own, outputs, inputs = tiles.shape[:3]
    name, kind = ("kernels", "output channel") if isinstance(unpooled, Conv | Local) else ("weights", "neuron")
    if isinstance(unpooled, Local) and own > 1:
        shown = min(_LOCAL_MAX, outputs)
        down, right = unpooled.output_size
        blocks = np.moveaxis(tiles[:, :shown, 0], 0, 1).reshape(shown, down, right, *patch.size)
        across = f"{some(shown, outputs, kind)}, each {down}x{right} positions"
        return WeightTiles(name, blocks, across + (f", input channel 0 of {inputs}" if inputs > 1 else ""), "")
    if inputs == 1:
        shown = min(_TILES_MAX, outputs)
        return WeightTiles(name, arranged(tiles[0, :shown, 0], aspect=1.5)[None], some(shown, outputs, kind), "")
    rows, columns = min(_DOWN_MAX, outputs), min(_ACROSS_MAX, inputs)
    return WeightTiles(name, tiles[:1, :rows, :columns], some(columns, inputs, "input channel"),
                       some(rows, outputs, kind))

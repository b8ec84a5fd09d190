"""Dropout masks from xorshift32, drawn exactly as the hardware draws them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from golden.spec import NetworkSpec

__all__ = ["DropoutGenerator", "xorshift32"]


def xorshift32(state: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """One draw: G. Marsaglia, "Xorshift RNGs", 2003, shifts 13, 17, 5. uint32 in, uint32 out."""
    state = state ^ (state << np.uint32(13))
    state = state ^ (state >> np.uint32(17))
    return state ^ (state << np.uint32(5))


@cache
def _jump_table(draws: int) -> NDArray[np.uint32]:
    """uint32 (4, 256, draws): the draws that follow each value of each byte of a state.

    The generator is linear over GF(2), so the draws from a state are the exclusive or of the draws
    from its four bytes. That replaces a loop over neurons by four table rows.
    """
    state = np.arange(256, dtype=np.uint32)[None, :] << (np.uint32(8) * np.arange(4, dtype=np.uint32))[:, None]
    table = np.empty((4, 256, draws), dtype=np.uint32)
    for draw in range(draws):
        state = xorshift32(state)
        table[:, :, draw] = state
    return table


class DropoutGenerator:
    """One xorshift32 generator per hidden layer.

    A training sample takes one draw per hidden neuron, in index order; the neuron is kept when the
    draw's top byte is at least ``spec.dropout``. With ``spec.dropout == 0`` nothing is drawn.

    Parameters
    ----------
    spec
        Supplies seeds, layer sizes and the probability.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._dropout = spec.dropout
        self._sizes = spec.sizes[1:-1]
        self.states: list[int] = list(spec.dropout_seeds)
        """Generator states, one 32-bit integer per hidden layer; assign to restore a checkpoint."""

    def masks(self) -> list[NDArray[np.bool_] | None]:
        """Masks for one sample: bool (n,) per hidden layer, True where kept; None without dropout."""
        if self._dropout == 0:
            return [None] * len(self._sizes)
        return [self._mask(layer, size) for layer, size in enumerate(self._sizes)]

    def _mask(self, layer: int, size: int) -> NDArray[np.bool_]:
        table, state = _jump_table(size), self.states[layer]
        draws = (table[0, state & 255] ^ table[1, state >> 8 & 255]
                 ^ table[2, state >> 16 & 255] ^ table[3, state >> 24])
        self.states[layer] = int(draws[-1])
        kept: NDArray[np.bool_] = (draws >> np.uint32(24)) >= self._dropout
        return kept

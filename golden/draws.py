"""Random draws of a training sample from xorshift32, exactly as the hardware draws them: dropout, rounding."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.spec import NetworkSpec

__all__ = ["DrawGenerator", "SampleDraws", "rounding_words", "xorshift32"]


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


class SampleDraws(NamedTuple):
    """The random numbers of one training sample."""

    kept: list[NDArray[np.bool_] | None]
    """Dropout masks: bool (n,) per hidden layer, True where kept; None without dropout."""
    rounding: list[int] | None
    """Rounding states, a 32-bit integer per layer; None without stochastic rounding."""


class DrawGenerator:
    """The xorshift32 generators of a network: of dropout, one per hidden layer, and of rounding, one per layer.

    A training sample takes one dropout draw per hidden neuron, in index order; the neuron is kept when
    the draw's top byte is at least ``spec.dropout``. With ``spec.dropout == 0`` nothing is drawn. With
    stochastic rounding it takes one draw per layer more, see :func:`rounding_words`.

    Parameters
    ----------
    spec
        Supplies seeds, layer sizes and the probability.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._dropout = spec.dropout
        self._sizes = spec.sizes[1:-1]
        self.states: list[int] = list(spec.random_seeds)
        """Generator states, 32-bit integers, those of dropout first; assign to restore a checkpoint."""

    def draw(self) -> SampleDraws:
        """The draws of the next sample."""
        kept = [self._mask(layer, size) if self._dropout else None for layer, size in enumerate(self._sizes)]
        first = len(self._sizes) if self._dropout else 0
        if len(self.states) == first:
            return SampleDraws(kept=kept, rounding=None)
        rounding = xorshift32(np.array(self.states[first:], dtype=np.uint32)).tolist()
        self.states[first:] = rounding
        return SampleDraws(kept=kept, rounding=rounding)

    def _mask(self, layer: int, size: int) -> NDArray[np.bool_]:
        table, state = _jump_table(size), self.states[layer]
        draws = (table[0, state & 255] ^ table[1, state >> 8 & 255]
                 ^ table[2, state >> 16 & 255] ^ table[3, state >> 24])
        self.states[layer] = int(draws[-1])
        kept: NDArray[np.bool_] = (draws >> np.uint32(24)) >= self._dropout
        return kept


def rounding_words(state: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Random words of the presynaptic neurons ``rows``: ``xorshift32(state ^ row)``, int64 (rows,), 32 bits each.

    One word serves all synapses of its neuron in a sample, whatever order rows are visited in; each
    weight's rounding is unbiased over the samples.
    """
    return xorshift32(np.uint32(state) ^ rows.astype(np.uint32)).astype(np.int64)

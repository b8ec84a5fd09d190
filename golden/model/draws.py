"""Random draws of a training sample from xorshift32, exactly as the hardware draws them: dropout, rounding."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.operations import xorshift32

__all__ = ["DrawGenerator", "SampleDraws", "rounding_words"]


@cache
def _jump_table(draws: int) -> NDArray[np.uint32]:
    """uint32 (4, 256, draws): the draws that follow each value of each byte of a state.

    The generator is linear over GF(2), so the draws from a state are the exclusive or of the draws
    from its four bytes. That replaces a loop over neurons by four table rows.
    """
    state = np.arange(256)[None, :] << (8 * np.arange(4))[:, None]
    table = np.empty((4, 256, draws), dtype=np.uint32)
    for draw in range(draws):
        state = xorshift32(state)
        table[:, :, draw] = state
    return table


class SampleDraws(NamedTuple):
    """The random numbers of one training sample."""

    kept: list[NDArray[np.bool_] | None]
    """Dropout masks: bool (n,) per layer, True where kept; None for a layer without dropout."""
    rounding: list[int | None] | None
    """Rounding states, a 32-bit integer per layer, None where it rounds half up; None when all layers do."""


class DrawGenerator:
    """The xorshift32 generators of a network: of dropout and of rounding, one per layer that needs it.

    A training sample takes one dropout draw per neuron of a layer with dropout, in index order; the neuron is kept
    when the draw's top byte is at least the layer's ``dropout``. With stochastic rounding it takes one draw per layer
    more, see :func:`rounding_words`.

    Parameters
    ----------
    spec
        Supplies seeds, layer sizes and probabilities.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self._layers = spec.placed
        self.states: list[int] = list(spec.random_seeds)
        """Generator states, 32-bit integers, those of dropout first; assign to restore a checkpoint."""

    def draw(self) -> SampleDraws:
        """The draws of the next sample."""
        kept: list[NDArray[np.bool_] | None] = []
        number = 0
        for at in self._layers:
            dropout = at.neuron.dropout
            kept.append(self._mask(number, at.n_out, dropout) if dropout else None)
            number += bool(dropout)
        if len(self.states) == number:
            return SampleDraws(kept=kept, rounding=None)
        drawn = xorshift32(np.array(self.states[number:], dtype=np.int64)).tolist()
        self.states[number:] = drawn
        following = iter(drawn)
        return SampleDraws(kept=kept, rounding=[next(following) if at.rounds_at_random else None
                                                for at in self._layers])

    def _mask(self, number: int, size: int, dropout: int) -> NDArray[np.bool_]:
        table, state = _jump_table(size), self.states[number]
        draws = (table[0, state & 255] ^ table[1, state >> 8 & 255]
                 ^ table[2, state >> 16 & 255] ^ table[3, state >> 24])
        self.states[number] = int(draws[-1])
        kept: NDArray[np.bool_] = (draws >> np.uint32(24)) >= dropout
        return kept


def rounding_words(state: int, presynaptic: NDArray[np.int64],
                   position: NDArray[np.int64] | int = 0) -> NDArray[np.int64]:
    """Random words of presynaptic neurons and the positions they reach, int64, 32 bits each.

    The word is ``xorshift32(state ^ presynaptic ^ (position << 16))``: ``state`` is the layer's rounding state in this
    sample, ``presynaptic`` the index of the neuron that spiked (below 2**16), and ``position`` the index of the
    postsynaptic position (``y * width + x``, below 2**16; dense synapses have one, 0). It serves all synapses between
    the two in a sample, whatever order they are visited in; each weight's rounding is unbiased over the samples.
    """
    words: NDArray[np.int64] = xorshift32(state ^ presynaptic.astype(np.int64) ^ (position << 16))
    return words

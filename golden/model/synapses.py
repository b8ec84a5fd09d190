"""Synapses: how spikes become current, how a layer's messages travel back, and in which order weights change.

All three follow from what the declaration reaches (:meth:`Synapses.targets`), and nothing here asks for more: a
connection is a presynaptic neuron, the position that it reaches, and the row of weights by which it does.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.synapses import Synapses
from lifstream.golden.model.protocols import Block, IntArray

__all__ = ["AugmentedSynapses", "Connections", "DenseSynapses", "StructuredSynapses", "change_weights", "connections",
           "current_by_position",
           "passed_back", "positions_of", "presynaptic_spikes", "recurrent_weights", "synaptic_current"]


class Connections(NamedTuple):
    """All connections of a layer in the order in which weights are updated: presynaptic neurons ascending, and of each
    its positions ascending. Arrays are int64 (connections,) unless said."""

    presynaptic: IntArray
    row: IntArray
    """Of the weight matrix."""
    position: IntArray
    """Postsynaptic neurons ``position * columns`` to ``position * columns + columns - 1``."""
    start: IntArray
    """(n_in + 1,): the connections of presynaptic neuron j are ``start[j]`` to ``start[j + 1] - 1``."""


@lru_cache(maxsize=64)
def connections(synapses: Synapses) -> Connections:
    """The connections of a layer."""
    columns = synapses.weight_shape[1]
    targets = [tuple(synapses.targets(presynaptic)) for presynaptic in range(synapses.n_in)]
    fan_out = np.array([len(reached) for reached in targets], dtype=np.int64)
    flat = np.array([target for reached in targets for target in reached], dtype=np.int64).reshape(-1, 2)
    return Connections(presynaptic=np.repeat(np.arange(synapses.n_in), fan_out), row=flat[:, 0],
                       position=flat[:, 1] // columns, start=np.concatenate([[0], fan_out.cumsum()]))


def positions_of(synapses: Synapses, postsynaptic: IntArray) -> IntArray:
    """Positions of postsynaptic neurons; of dense synapses, which have one, 0."""
    return postsynaptic // synapses.weight_shape[1]


def synaptic_current(spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
    """Exact synaptic current ``I_i[t] = sum_j w_ij * s_j[t]``.

    The sum is taken in float64 because BLAS is fast there; it is exact, since the contract bounds every
    partial sum far below 2**53. Inputs that never spike are left out.

    Parameters
    ----------
    spikes
        bool (..., T, n_in).
    weights
        int32 (n_in, n_out), weight LSBs.

    Returns
    -------
    int64 (..., T, n_out).
    """
    return _summed(spikes, weights).astype(np.int64)


def _summed(spikes: NDArray[np.bool_], weights: NDArray[Any]) -> NDArray[np.float64]:
    active = np.flatnonzero(spikes.reshape(-1, spikes.shape[-1]).any(axis=0))
    current: NDArray[np.float64] = spikes[..., active].astype(np.float64) @ weights[active].astype(np.float64)
    return current


def recurrent_weights(synapses: Synapses, weights: NDArray[Any]) -> NDArray[Any] | None:
    """Of a layer's weights those between its own neurons, (n_out, n_out); None where it is not recurrent."""
    return weights[synapses.n_before:synapses.n_before + synapses.n_out] if synapses.recurrent else None


def presynaptic_spikes(synapses: Synapses, before: NDArray[np.bool_], own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Spikes of all presynaptic neurons, bool (..., T, n_in): those of the layer before, (..., T, n_before), and what
    the synapses add: the layer's own, (..., T, n_out), a step later, and one in every step."""
    trains = [before]
    if synapses.recurrent:
        late = np.zeros_like(own)
        late[..., 1:, :] = own[..., :-1, :]
        trains.append(late)
    if synapses.bias:
        trains.append(np.ones((*before.shape[:-1], 1), dtype=bool))
    return np.concatenate(trains, axis=-1) if len(trains) > 1 else before


def passed_back(synapses: Synapses, weights: NDArray[np.int32], values: IntArray) -> IntArray:
    """``sum_i w_ij * values_i`` over all that each presynaptic neuron reaches, exact in integers.

    Parameters
    ----------
    weights
        int32, of the shape that the synapses declare.
    values
        int64 (n_out,).

    Returns
    -------
    int64 (n_in,); 0 for a neuron that reaches nothing.
    """
    table, by_position = connections(synapses), values.reshape(-1, weights.shape[1])
    columns = np.flatnonzero(by_position.any(axis=0))
    used = np.isin(table.position, np.flatnonzero(by_position.any(axis=1)))
    terms = weights[np.ix_(table.row[used], columns)] * by_position[np.ix_(table.position[used], columns)]
    totals = np.zeros(synapses.n_in, dtype=np.int64)
    np.add.at(totals, table.presynaptic[used], terms.sum(axis=1, dtype=np.int64))
    return totals


def change_weights(synapses: Synapses, weights: NDArray[np.int32], block: Block, changes: IntArray,
                   limits: tuple[int, int]) -> int:
    """Change the weights between the neurons of a block, in place.

    Presynaptic neurons ascending, and for each the positions it reaches, ascending: the row is read, the changes of
    that neuron and that position are added, the sums are clipped, and the row is written, before the next. Where
    positions share a row it changes several times in a sample, and each change was rounded by itself.

    Parameters
    ----------
    weights
        int32, of the shape that the synapses declare.
    block
        Presynaptic and postsynaptic neurons.
    changes
        int64 (presynaptic, postsynaptic) of the block, weight LSBs; those of pairs that are not connected have no
        effect.
    limits
        Smallest and largest weight.

    Returns
    -------
    Weights visited, each as often as it was.
    """
    table = connections(synapses)
    position, column = np.divmod(block.postsynaptic, weights.shape[1])
    members = {int(each): np.flatnonzero(position == each) for each in np.unique(position)}
    at_position = {each: (chosen, column[chosen]) for each, chosen in members.items()}
    low, high = limits
    visited = 0
    for presynaptic, change in zip(block.presynaptic, changes, strict=True):
        for connection in range(table.start[presynaptic], table.start[presynaptic + 1]):
            reached = at_position.get(int(table.position[connection]))
            if reached is None:
                continue
            chosen, columns = reached
            row = weights[table.row[connection]]
            row[columns] = np.minimum(np.maximum(row[columns] + change[chosen], low), high)
            visited += len(chosen)
    return visited


def current_by_position(synapses: Synapses, spikes: NDArray[np.bool_], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Synaptic current of any synapses, by their connections alone, float64 (..., T, n_out): exact where the weights
    are integers, as in :func:`synaptic_current`. Spikes are bool (..., T, n_in)."""
    table, columns = connections(synapses), weights.shape[1]
    current = np.zeros((*spikes.shape[:-1], synapses.n_out))
    order = np.argsort(table.position, kind="stable")
    ends = np.searchsorted(table.position[order], np.arange(synapses.positions + 1))
    for position, (start, end) in enumerate(pairwise(ends)):
        chosen = order[start:end]
        current[..., position * columns:(position + 1) * columns] = _summed(
            spikes[..., table.presynaptic[chosen]], weights[table.row[chosen]])
    return current


class StructuredSynapses:
    """Any synapses, by their connections alone."""

    def current(self, at: PlacedLayer, spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
        return current_by_position(at.synapses, spikes, weights).astype(np.int64)

    def change(self, at: PlacedLayer, weights: NDArray[np.int32], block: Block, changes: IntArray) -> int:
        return change_weights(at.synapses, weights, block, changes, at.weight_range)


class DenseSynapses:
    """All to all: the same, in one operation each."""

    def current(self, at: PlacedLayer, spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
        return synaptic_current(spikes, weights)

    def change(self, at: PlacedLayer, weights: NDArray[np.int32], block: Block, changes: IntArray) -> int:
        place = np.ix_(block.presynaptic, block.postsynaptic)
        weights[place] = np.clip(weights[place] + changes, *at.weight_range)
        return changes.size


class AugmentedSynapses:
    """Those they are made of, of which they have the form."""

    _DENSE, _STRUCTURED = DenseSynapses(), StructuredSynapses()

    def current(self, at: PlacedLayer, spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
        return (self._DENSE if at.synapses.all_to_all else self._STRUCTURED).current(at, spikes, weights)

    def change(self, at: PlacedLayer, weights: NDArray[np.int32], block: Block, changes: IntArray) -> int:
        return (self._DENSE if at.synapses.all_to_all else self._STRUCTURED).change(at, weights, block, changes)

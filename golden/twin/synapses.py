"""Synapses, compiled: currents and sums back, event by event, over what each presynaptic neuron reaches.

Whether synapses are dense is asked once per layer, while a network runs, so that networks of all kinds share one
compiled kernel.
"""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.synapses import Synapses
from lifstream.golden.model.synapses import connections
from lifstream.golden.twin.compiling import jit

__all__ = ["SynapsesTwin", "hidden_current", "input_current", "passed_back", "position_starts", "twin_of"]


class SynapsesTwin(NamedTuple):
    """A layer's connections, as in :class:`lifstream.golden.model.synapses.Connections`."""

    dense: bool
    """Presynaptic neuron ``j`` reaches all by row ``j``: there is no need to look it up."""
    start: NDArray[np.int64]
    row: NDArray[np.int64]
    position: NDArray[np.int64]
    positions: int
    """How many the postsynaptic neurons fall into."""
    before: int
    """Presynaptic neurons of the layer before."""
    recurrent: bool
    """Behind them come the layer's own ..."""
    bias: bool
    """... and last one that fires in every step."""


def twin_of(synapses: Synapses) -> SynapsesTwin:
    """The connections as the kernels read them."""
    table = connections(synapses)
    return SynapsesTwin(dense=synapses.all_to_all, start=table.start, row=np.ascontiguousarray(table.row),
                        position=np.ascontiguousarray(table.position), positions=synapses.positions,
                        before=synapses.n_before, recurrent=synapses.recurrent, bias=synapses.bias)


# A function that takes arrays counts references to them at every call; so no call stands within these loops. Between
# maps a step's currents are many: step by step they stay in the processor's cache.

@jit
def resting_current(synapses, weights, current):
    """Fill the current of steps without spikes: the bias, if there is one."""
    if not synapses.bias:
        current[:] = 0
        return
    row, columns = weights[len(weights) - 1], weights.shape[1]
    for step in range(len(current)):
        for neuron in range(current.shape[1]):
            current[step, neuron] = row[neuron % columns]


@jit
def input_current(synapses, image, weights, inputs, current):
    """Synaptic current of layer 0: what every active pixel reaches, at each step it spikes."""
    resting_current(synapses, weights, current)
    pixels = np.flatnonzero(inputs.counts[image])
    if synapses.dense:
        for pixel in pixels:
            row = weights[pixel]
            for index in range(inputs.counts[image[pixel]]):
                total = current[inputs.steps[image[pixel], index]]
                for neuron in range(len(row)):
                    total[neuron] += row[neuron]
        return inputs.counts[image].sum()
    start, rows, positions = synapses.start, synapses.row, synapses.position
    currents = current.reshape(len(current), synapses.positions, weights.shape[1])
    for pixel in pixels:
        for index in range(inputs.counts[image[pixel]]):
            totals = currents[inputs.steps[image[pixel], index]]
            for connection in range(start[pixel], start[pixel + 1]):
                row, total = weights[rows[connection]], totals[positions[connection]]
                for column in range(len(row)):
                    total[column] += row[column]
    return inputs.counts[image].sum()


@jit
def hidden_current(synapses, spikes, counts, weights, current):
    """Synaptic current of a later layer: what every neuron that fired reaches, at each of its spikes."""
    resting_current(synapses, weights, current)
    if synapses.dense:
        for source in np.flatnonzero(counts):
            row = weights[source]
            for step in range(len(spikes)):
                if spikes[step, source]:
                    total = current[step]
                    for neuron in range(len(row)):
                        total[neuron] += row[neuron]
        return
    start, rows, positions = synapses.start, synapses.row, synapses.position
    currents = current.reshape(len(current), synapses.positions, weights.shape[1])
    for step in range(len(spikes)):
        totals = currents[step]
        for source in np.flatnonzero(spikes[step]):
            for connection in range(start[source], start[source + 1]):
                row, total = weights[rows[connection]], totals[positions[connection]]
                for column in range(len(row)):
                    total[column] += row[column]


@jit
def position_starts(synapses, neurons, columns):
    """Where the neurons of each position begin in ``neurons``, which ascend; ``columns`` of them make a position."""
    starts = np.zeros(synapses.positions + 1, dtype=np.int64)
    for neuron in neurons:
        starts[neuron // columns + 1] += 1
    for position in range(synapses.positions):
        starts[position + 1] += starts[position]
    return starts


@jit
def passed_back(synapses, weights, kept, neurons, factors, totals):
    """Fill ``totals`` (n_in,), where kept, with the sums of ``weight * factor`` over those of ``neurons`` (ascending)
    that a presynaptic neuron reaches."""
    if synapses.dense:
        for presynaptic in range(len(totals)):
            if kept[presynaptic] != 0:
                total = totals[presynaptic] * 0
                for index in range(len(neurons)):
                    total += weights[presynaptic, neurons[index]] * factors[index]
                totals[presynaptic] = total
        return
    columns, start, rows, positions = weights.shape[1], synapses.start, synapses.row, synapses.position
    starts = position_starts(synapses, neurons, columns)
    for presynaptic in range(len(totals)):
        if kept[presynaptic] != 0:
            total = totals[presynaptic] * 0
            for connection in range(start[presynaptic], start[presynaptic + 1]):
                row, position = rows[connection], positions[connection]
                for index in range(starts[position], starts[position + 1]):
                    total += weights[row, neurons[index] - position * columns] * factors[index]
            totals[presynaptic] = total

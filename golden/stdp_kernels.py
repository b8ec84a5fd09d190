"""Compiled kernels of spike-timing-dependent plasticity: :mod:`lifstream.golden.stdp`, one image after the other."""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.kernels import (
    hidden_current,
    input_current,
    jit,
    leak,
    readout,
    rounding_word,
    scaled,
    spike_traces,
)

__all__ = ["PlasticConstants", "PlasticScratch", "infer_plastic", "learn_plastic", "plastic_scratch"]


class PlasticConstants(NamedTuple):
    """A contract with plasticity as these kernels read it; names as in :class:`lifstream.golden.spec.StdpSpec`."""

    leak_shift: int
    spike_unit: int
    spike_count: NDArray[np.int64]
    """(256,): spikes of each pixel intensity."""
    spike_steps: NDArray[np.int64]
    """(256, T): the steps at which they fall."""
    pixel_trace: NDArray[np.int32]
    """(256, T): traces of each pixel intensity; only its type is used here and where spikes are traced."""
    membrane_min: NDArray[np.int64]
    """(layers,)."""
    membrane_max: NDArray[np.int64]
    """(layers,)."""
    threshold_base: int
    threshold_rise: int
    threshold_leak_shift: int
    inhibition: int
    weight_sum: int
    rewarded: bool
    soft: bool
    target: int
    depressed: bool
    gain_shift: int
    punishment_shift: int
    fraction: int
    """F."""


class PlasticScratch(NamedTuple):
    """What the kernels leave of the last image; a tuple holds an array per LIF layer."""

    current: tuple[NDArray[np.int64], ...]
    """(T, n)."""
    spikes: tuple[NDArray[np.uint8], ...]
    """(T, n)."""
    counts: tuple[NDArray[np.int64], ...]
    """(n,)."""
    input_spikes: NDArray[np.uint8]
    """(T, inputs); of pixels that do not spike in this image, whatever was there."""
    input_counts: NDArray[np.int64]
    """(inputs,)."""


def plastic_scratch(sizes: tuple[int, ...], steps: int) -> PlasticScratch:
    """Working memory for a network of ``sizes``, votes last."""
    layers = sizes[1:-1]
    return PlasticScratch(
        current=tuple(np.zeros((steps, size), dtype=np.int64) for size in layers),
        spikes=tuple(np.zeros((steps, size), dtype=np.uint8) for size in layers),
        counts=tuple(np.zeros(size, dtype=np.int64) for size in layers),
        input_spikes=np.zeros((steps, sizes[0]), dtype=np.uint8), input_counts=np.zeros(sizes[0], dtype=np.int64))


@jit
def column_sum(weights, column):
    """Sum of a neuron's weights."""
    total = np.int64(0)
    for row in range(len(weights)):
        total += weights[row, column]
    return total


@jit
def compete(layer, current, adaptive, sums, learning, constants, spikes, counts):
    """Leak, integrate, clamp; the neuron highest above its threshold fires; reset, rise, inhibit."""
    steps, neurons = current.shape
    low, high = constants.membrane_min[layer], constants.membrane_max[layer]
    state = np.zeros(neurons, dtype=np.int64)
    counts[:] = 0
    for step in range(steps):
        winner, highest = -1, np.int64(-1)
        for neuron in range(neurons):
            potential = min(max(leak(state[neuron], constants.leak_shift) + current[step, neuron], low), high)
            state[neuron] = potential
            above = potential - max(1, constants.threshold_base + adaptive[neuron] + sums[neuron])
            if above > highest:
                winner, highest = neuron, above
        spikes[step] = 0
        if winner >= 0:
            state -= constants.inhibition
            state[winner] = highest
            spikes[step, winner] = 1
            counts[winner] += 1
            if learning:
                adaptive[winner] += constants.threshold_rise


@jit
def plastic_forward(image, weights, thresholds, sums, learning, constants, scratch, spike_totals, responses, totals):
    """Run one image; fills ``scratch``, spike totals, spike counts of the last layer; returns the prediction."""
    layers = len(thresholds)
    spike_totals[0] = input_current(image, weights[0], constants, scratch.current[0])
    for layer in range(layers):
        if layer > 0:
            hidden_current(scratch.spikes[layer - 1], scratch.counts[layer - 1], weights[layer],
                           scratch.current[layer])
        compete(layer, scratch.current[layer], thresholds[layer], sums[layer], learning, constants,
                scratch.spikes[layer], scratch.counts[layer])
        spike_totals[layer + 1] = scratch.counts[layer].sum()
    totals[:] = 0
    for neuron in range(len(responses)):
        responses[neuron] = scratch.counts[layers - 1][neuron]
        if responses[neuron]:
            for category in range(len(totals)):
                totals[category] += responses[neuron] * weights[layers][neuron, category]
    return readout(totals)


@jit
def postsynaptic_trace(spikes, neuron, constants):
    """Trace of one neuron, (T,)."""
    steps = len(spikes)
    result = np.empty(steps, dtype=np.int64)
    state = np.int64(0)
    for step in range(steps):
        state = leak(state, constants.leak_shift) + constants.spike_unit * spikes[step, neuron]
        result[step] = state
    return result


@jit
def deficit(weight, upwards, fraction):
    """:func:`lifstream.golden.stdp.room_deficit` of one weight."""
    room = (np.int64(1) << fraction) - 1 - weight if upwards else np.int64(weight)
    bits = 0
    while room > 0:
        room >>= 1
        bits += 1
    return fraction - bits


@jit
def plastic_update(weights, sums, presynaptic, presynaptic_counts, spikes, counts, sign, shift, rounding, constants):
    """Change all weights of the neurons that fired; returns how many those are."""
    columns = np.flatnonzero(counts)
    sources, traces = spike_traces(presynaptic, presynaptic_counts, constants)
    steps = len(spikes)
    top = (np.int64(1) << constants.fraction) - 1
    shift += constants.gain_shift + (constants.punishment_shift if sign < 0 else 0)
    for column in columns:
        target = np.int64(constants.target)
        if constants.weight_sum and sums[column] > 0:
            target <<= 1
        after = postsynaptic_trace(spikes, column, constants)
        entry = 0
        for row in range(len(weights)):
            total = -target * counts[column]
            fired = entry < len(sources) and sources[entry] == row
            if fired:
                for step in range(steps):
                    if spikes[step, column]:
                        total += traces[entry, step]
            total <<= constants.gain_shift
            if fired:
                if constants.depressed:
                    for step in range(steps):
                        if presynaptic[step, row]:
                            total -= after[step]
                entry += 1
            total *= sign
            further = deficit(weights[row, column], total >= 0, constants.fraction) if constants.soft else 0
            change = scaled(abs(total), shift + further, rounding_word(rounding, row))
            changed = weights[row, column] + (change if total >= 0 else -change)
            weights[row, column] = min(max(changed, np.int64(0)), top)
    return len(weights) * len(columns)


@jit
def excess_sums(weights, constants, sums):
    """What each neuron's weights sum to above the wanted sum; zero without one."""
    for neuron in range(len(sums)):
        sums[neuron] = column_sum(weights, neuron) - constants.weight_sum if constants.weight_sum else 0


@jit
def infer_plastic(images, weights, thresholds, sums, constants, scratch, predictions, spike_totals, responses, totals):
    """Classify uint8 (count, inputs) images; fills predictions, spike totals and responses (count, n)."""
    for layer in range(len(thresholds)):
        excess_sums(weights[layer], constants, sums[layer])
    for index in range(len(images)):
        predictions[index] = plastic_forward(images[index], weights, thresholds, sums, False, constants, scratch,
                                             spike_totals[index], responses[index], totals)


@jit
def learn_plastic(images, labels, weights, thresholds, sums, rounding, shift, constants, scratch, predictions,
                  spike_totals, responses, totals, learned, updates):
    """Learn from images one after the other; ``rounding`` int64 (count, layers), -1 to round half up."""
    layers = len(thresholds)
    for layer in range(layers):
        excess_sums(weights[layer], constants, sums[layer])
    for index in range(len(images)):
        image = images[index]
        prediction = plastic_forward(image, weights, thresholds, sums, True, constants, scratch, spike_totals[index],
                                     responses[index], totals)
        predictions[index] = prediction
        updates[index] = 0
        learned[index] = spike_totals[index, 1:].sum() > 0
        if learned[index]:
            sign = -1 if constants.rewarded and prediction != labels[index] else 1
            for pixel in range(len(image)):
                count = constants.spike_count[image[pixel]]
                scratch.input_counts[pixel] = count
                if count:
                    for step in range(len(scratch.input_spikes)):
                        scratch.input_spikes[step, pixel] = 0
                    for spike in range(count):
                        scratch.input_spikes[constants.spike_steps[image[pixel], spike], pixel] = 1
            for layer in range(layers):
                if layer == 0:
                    presynaptic, presynaptic_counts = scratch.input_spikes, scratch.input_counts
                else:
                    presynaptic, presynaptic_counts = scratch.spikes[layer - 1], scratch.counts[layer - 1]
                updates[index] += plastic_update(weights[layer], sums[layer], presynaptic, presynaptic_counts,
                                                 scratch.spikes[layer], scratch.counts[layer], sign, shift,
                                                 rounding[index, layer], constants)
                if constants.weight_sum:
                    for column in np.flatnonzero(scratch.counts[layer]):
                        sums[layer][column] = column_sum(weights[layer], column) - constants.weight_sum
        for layer in range(layers):
            for neuron in range(len(thresholds[layer])):
                thresholds[layer][neuron] -= thresholds[layer][neuron] >> constants.threshold_leak_shift

"""Compiled kernels that all networks share: the forward pass, readout, and the loop over images."""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import literal_unroll
from numba.extending import overload
from numpy.typing import NDArray

from lifstream.golden.contract.readout import Statistic
from lifstream.golden.model.operations import leak
from lifstream.golden.twin.compiling import jit
from lifstream.golden.twin.neurons import run, settle
from lifstream.golden.twin.synapses import hidden_current, input_current

__all__ = ["LEARN", "InputSpikes", "LayerTwin", "Scratch", "State", "augmented_traces", "column_excess", "run_all",
           "spike_traces"]

_MEAN, _LAST = (list(Statistic).index(each) for each in (Statistic.MEAN, Statistic.LAST))

LEARN: dict[type, Callable[..., Any]] = {}
"""What learns from a sample that has just run, by the class of a rule's constants: returns whether there was something
to learn, and how many weights were visited."""


class InputSpikes(NamedTuple):
    """How often and when pixels spike."""

    counts: NDArray[np.int64]
    """(256,): spikes of each pixel intensity."""
    steps: NDArray[np.int64]
    """(256, T): the steps at which they fall, the first ``counts`` entries of a row."""
    packed: bool
    """Samples are no pixels, but packed spike trains (:func:`lifstream.golden.model.encoder.packed`)."""


class LayerTwin(NamedTuple):
    """A layer's neurons as the kernels read them."""

    constants: tuple[Any, Any]
    """Named tuples of the neurons' constants in inference and in training."""
    states: tuple[NDArray[Any], ...]
    """Working memory: see :func:`lifstream.golden.twin.neurons.run`."""
    resets: tuple[Any, ...]


class State(NamedTuple):
    """What learning changes, a tuple holding an array per layer."""

    weights: tuple[NDArray[Any], ...]
    thresholds: tuple[NDArray[np.int64], ...]
    """Adaptive thresholds, (n,), or (0,) where there are none."""
    excess: tuple[NDArray[np.int64], ...]
    """What each neuron's weights sum to above the wanted sum, (n,); all zero without one."""
    weight_sums: NDArray[np.int64]
    """(layers,): the wanted sums, 0 where none is."""
    votes: NDArray[np.int32]
    """(n, classes), or (0, classes) where spikes are counted."""


class Scratch(NamedTuple):
    """What the kernels leave of the last image; a tuple holds an array per layer."""

    trains: NDArray[np.uint8]
    """(T, inputs): a sample's spike trains where they come packed, otherwise (T, 0) ..."""
    train_counts: NDArray[np.int64]
    """... and how often each neuron spiked."""
    current: tuple[NDArray[Any], ...]
    """(T, n): synaptic currents, then membrane potentials before the reset."""
    spikes: tuple[NDArray[np.uint8], ...]
    """(T, n)."""
    counts: tuple[NDArray[np.int64], ...]
    """(n,): spikes over the sample."""
    responses: NDArray[np.int64]
    """(responding,): what the answer says of the last layer's neurons."""
    totals: NDArray[np.int64]
    """(classes,): scores."""


@jit
def unpack(sample, trains, counts):
    """Fill spike trains, (T, n), and their counts from a packed sample."""
    counts[:] = 0
    trains[:] = 0
    neurons = trains.shape[1]
    for place in range(len(sample)):
        byte = sample[place]
        if byte != 0:
            for bit in range(8):
                if (byte >> bit) & 1:
                    step, neuron = divmod(8 * place + bit, neurons)
                    trains[step, neuron] = 1
                    counts[neuron] += 1


@jit
def forward(image, layers, synapses, state, masks, sample, phase, inputs, scratch, spike_totals):
    """Run one image; fills ``scratch`` and the spike totals (input and each layer)."""
    if inputs.packed:
        unpack(image, scratch.trains, scratch.train_counts)
        hidden_current(synapses[0], scratch.trains, scratch.train_counts, state.weights[0], scratch.current[0])
        spike_totals[0] = scratch.train_counts.sum()
    else:
        spike_totals[0] = input_current(synapses[0], image, state.weights[0], inputs, scratch.current[0])
    index = 0
    for layer in literal_unroll(layers):
        if index > 0:
            hidden_current(synapses[index], scratch.spikes[index - 1], scratch.counts[index - 1],
                           state.weights[index], scratch.current[index])
        run(layer.constants[phase], synapses[index], state.weights[index], scratch.current[index],
            masks[index][sample % len(masks[index])], layer.states, layer.resets, state.thresholds[index],
            state.excess[index], scratch.spikes[index], scratch.counts[index])
        index += 1  # noqa: SIM113
    for each in range(len(scratch.counts)):  # apart: numba unrolls no longer loop over layers of unlike kinds
        spike_totals[each + 1] = scratch.counts[each].sum()


@jit
def _copy(source, target):
    """``target[:] = source``, which numba compiles for seconds, for the message of an error that never comes."""
    for index in range(len(target)):
        target[index] = source[index]


@jit
def respond(statistic, scratch):
    """Fill the responses: spike counts, or the statistic of that number of the potentials."""
    last = len(scratch.counts) - 1
    responses, potentials = scratch.responses, scratch.current[last]
    if statistic == _LAST:
        _copy(potentials[len(potentials) - 1], responses)
        return
    if statistic < 0:
        _copy(scratch.counts[last], responses)
        return
    _copy(potentials[0], responses)
    for step in range(1, len(potentials)):
        for neuron in range(len(responses)):
            potential = np.int64(potentials[step, neuron])
            if statistic == _MEAN:
                responses[neuron] += potential
            elif potential > responses[neuron]:
                responses[neuron] = potential


@jit
def predict(state, scratch):
    """The class of the unique largest score, or -1."""
    totals, responses = scratch.totals, scratch.responses
    if len(state.votes) == 0:
        _copy(responses, totals)
    else:
        totals[:] = 0
        for neuron in np.flatnonzero(responses):
            for category in range(len(totals)):
                totals[category] += responses[neuron] * state.votes[neuron, category]
    best, ties = 0, 0
    for category in range(1, len(totals)):
        if totals[category] > totals[best]:
            best, ties = category, 0
        elif totals[category] == totals[best]:
            ties += 1
    return best if ties == 0 else -1


@jit
def column_excess(weights, column, weight_sum):
    """What a neuron's weights sum to above the wanted sum; zero without one."""
    if weight_sum == 0:
        return np.int64(0)
    total = np.int64(-weight_sum)
    for row in range(len(weights)):
        total += np.int64(weights[row, column])
    return total


@jit
def _sum_weights(state):
    for index in range(len(state.weights)):
        for column in range(len(state.excess[index])):
            state.excess[index][column] = column_excess(state.weights[index], column, state.weight_sums[index])


@jit
def _settle(layers, state):
    index = 0
    for layer in literal_unroll(layers):
        settle(layer.constants[1], state.thresholds[index])
        index += 1  # noqa: SIM113


@jit
def augmented_traces(synapses, rows, traces, spikes, counts, constants):
    """Presynaptic neurons that spiked and their traces, those that the synapses add behind the ones given; ``spikes``
    and ``counts`` are the layer's own."""
    steps = spikes.shape[0]
    further = (np.count_nonzero(counts) if synapses.recurrent else 0) + (1 if synapses.bias else 0)
    all_rows = np.empty(len(rows) + further, dtype=rows.dtype)
    all_traces = np.empty((len(rows) + further, steps), dtype=traces.dtype)
    all_rows[:len(rows)], all_traces[:len(rows)] = rows, traces
    found = len(rows)
    if synapses.recurrent:
        for neuron in np.flatnonzero(counts):
            value, ever = constants.spike_unit * 0, False
            for step in range(steps):
                fired = spikes[step - 1, neuron] if step > 0 else spikes[0, neuron] * 0
                ever |= fired != 0
                value = leak(value, constants.trace_leak_shift) + constants.spike_unit * fired
                all_traces[found, step] = value
            if ever:    # a spike in the last step alone is none
                all_rows[found] = synapses.before + neuron
                found += 1
    if synapses.bias:
        value = constants.spike_unit * 0
        for step in range(steps):
            value = leak(value, constants.trace_leak_shift) + constants.spike_unit
            all_traces[found, step] = value
        all_rows[found] = synapses.before + (spikes.shape[1] if synapses.recurrent else 0)
        found += 1
    return all_rows[:found], all_traces[:found]


@jit
def spike_traces(spikes, counts, constants):
    """Neurons that spiked and their traces."""
    rows = np.flatnonzero(counts)
    steps = spikes.shape[0]
    traces = np.empty((len(rows), steps), dtype=constants.pixel_trace.dtype)
    for row, source in enumerate(rows):
        value = constants.spike_unit * 0
        for step in range(steps):
            value = leak(value, constants.trace_leak_shift) + constants.spike_unit * spikes[step, source]
            traces[row, step] = value
    return rows, traces


def _learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs, scratch):
    raise NotImplementedError  # compiled code takes the overload


@overload(_learn)
def _compiled_learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift,  # noqa: ARG001
                    inputs, scratch):  # noqa: ARG001
    learn = LEARN[rules[0].instance_class]

    def call(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs, scratch):
        return learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs,
                     scratch)

    return call


@jit
def run_all(images, labels, learning, layers, synapses, rules, state, masks, rounding, rate_shift, inputs, statistic,
            scratch, predictions, spike_totals, responses, learned, updates):
    """Classify images, uint8 (count, inputs), or learn from them one after the other.

    One kernel for both, as most of what is compiled they share. It fills predictions, learned and updates, (count,),
    spike totals, (count, layers + 1), and responses, (count, n), see :func:`respond`. ``masks`` holds a uint8 (count,
    n) array per layer, or (1, n) to use one mask for all images; ``rounding`` int64 (count, layers) the rounding
    states, -1 to round half up. Without learning, labels and rounding are not looked at.
    """
    phase = 1 if learning else 0
    _sum_weights(state)
    for index in range(len(images)):
        forward(images[index], layers, synapses, state, masks, index, phase, inputs, scratch, spike_totals[index])
        respond(statistic, scratch)
        _copy(scratch.responses, responses[index])
        predictions[index] = predict(state, scratch)
        if learning:
            learned[index], updates[index] = _learn(rules, synapses, index, images[index], labels[index],
                                                    predictions[index], state, masks, rounding[index], rate_shift,
                                                    inputs, scratch)
            _settle(layers, state)

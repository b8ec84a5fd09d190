"""Compiled kernels of the forward pass and of learning, one image at a time.

The kernels are written once and compiled for two kinds of numbers: integers, equal bit for bit to
:mod:`lifstream.golden.network` and :mod:`lifstream.golden.desire` (which stay the definition), and real numbers, the
float model that the integers are compared with. What differs between the two, decay and the scaling of an
update, is chosen by type; the integer forms are the very functions of the NumPy model, compiled.

Compiled code is kept in the user's cache folder, under a hash of the sources it was made from, because
numba notices a change of this file only, not of the functions it takes from others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import platformdirs
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from lifstream.golden import lif
from lifstream.golden import rounding as weight_rounding
from lifstream.golden.files import digest_of_files, make_folder
from lifstream.golden.spec import InputError

__all__ = ["Constants", "Scratch", "hidden_current", "infer_all", "input_current", "jit", "leak", "learn_all",
           "readout", "rounding_word", "scaled", "scratch_for", "spike_traces"]


class Constants(NamedTuple):
    """A network's contract as the kernels read it; ``value`` is int32, int64 or float32."""

    leak_shift: int
    desired_count: int
    graded: bool
    """Desires are powers of two; otherwise ternary."""
    eligible_by_spike: bool
    weight_min: Any
    weight_max: Any
    spike_unit: Any
    """What a spike adds to a trace."""
    spike_count: NDArray[np.int64]
    """(256,): spikes of each pixel intensity."""
    spike_steps: NDArray[np.int64]
    """(256, T): the steps at which they fall, the first ``spike_count`` entries of a row."""
    pixel_trace: NDArray[Any]
    """value (256, T): traces of each pixel intensity."""
    threshold: NDArray[Any]
    """value (2, layers): firing thresholds, inference and training."""
    eligible_from: NDArray[Any]
    """value (layers,): membrane potential from which a neuron is eligible in training."""
    membrane_min: NDArray[Any]
    """value (layers,)."""
    membrane_max: NDArray[Any]
    """value (layers,)."""
    output_sign: NDArray[np.int64]
    """(2, T + 1): desire by role (0 other, 1 label) and spike count."""
    output_exponent: NDArray[np.int64]
    """(2, T + 1): base-2 logarithm of its magnitude."""
    output_error: NDArray[np.int64]
    """(2, T + 1): its distance in spike counts."""
    hidden_threshold: Any
    """Weighted sum from which a hidden neuron has a desire."""
    exponent_from: NDArray[Any]
    """(exponents,): weighted sum from which a hidden magnitude is 2**(entry + exponent_min)."""
    exponent_min: int


class Scratch(NamedTuple):
    """What the kernels leave of the last image; a tuple holds an array per layer."""

    current: tuple[NDArray[Any], ...]
    """value (T, n)."""
    spikes: tuple[NDArray[np.uint8], ...]
    """(T, n)."""
    eligible: tuple[NDArray[np.uint8], ...]
    """(T, n)."""
    counts: tuple[NDArray[np.int64], ...]
    """(n,): spikes over the sample."""
    sign: tuple[NDArray[np.int64], ...]
    """(n,): desires."""
    exponent: tuple[NDArray[np.int64], ...]
    """(n,)."""
    error: tuple[NDArray[np.int64], ...]
    """(n,)."""


def scratch_for(sizes: tuple[int, ...], steps: int, value: type[np.generic]) -> Scratch:
    """Working memory for a network of ``sizes`` with numbers of type ``value``."""
    def arrays(kind: type[np.generic], *leading: int) -> tuple[NDArray[Any], ...]:
        return tuple(np.zeros((*leading, size), dtype=kind) for size in sizes[1:])

    return Scratch(current=arrays(value, steps), spikes=arrays(np.uint8, steps), eligible=arrays(np.uint8, steps),
                   counts=arrays(np.int64), sign=arrays(np.int64), exponent=arrays(np.int64), error=arrays(np.int64))


def _compiler() -> Callable[[Callable[..., Any]], Any]:
    """numba's decorator, with a cache folder of its own for each state of the sources that are compiled."""
    sources = digest_of_files(Path(str(source)) for source in (
        __file__, Path(__file__).with_name("stdp_kernels.py"), weight_rounding.__file__, lif.__file__))
    try:
        folder = make_folder(Path(platformdirs.user_cache_dir("lifstream")) / "kernels" / sources)
    except InputError:  # without a place for a cache, compile anew in each process
        return numba.njit(nogil=True)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return numba.njit(cache=True, nogil=True)


jit = _compiler()


def leak(value, leak_shift):
    """Decay of a membrane potential or a trace; compiled code takes the overload for its kind of number."""
    return lif.leak(value, leak_shift)


def scaled(value, shift, word):
    """``value * 2**-shift`` for a weight change, rounded half up or, with a word of at least 0, at random."""
    return _integer_scaled(value, shift, word)


_integer_leak = numba.njit(lif.leak)
_half_up, _random = numba.njit(weight_rounding.round_shift), numba.njit(weight_rounding.round_shift_random)


@jit
def rounding_word(state, row):
    """:func:`lifstream.golden.draws.rounding_words` for one row, in 64-bit arithmetic; no word at all (-1) is -1."""
    if state < 0:
        return np.int64(-1)
    word = np.int64(state) ^ np.int64(row)
    word ^= (word << 13) & 0xFFFFFFFF
    word ^= word >> 17
    return word ^ ((word << 5) & 0xFFFFFFFF)


@jit
def _integer_scaled(value, shift, word):
    return _half_up(value, shift) if word < 0 else _random(value, shift, word)


@overload(leak)
def _leak(value, leak_shift):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, leak_shift: _integer_leak(value, leak_shift)
    return lambda value, leak_shift: value * (1 - 2.0**-leak_shift)


@overload(scaled)
def _scaled(value, shift, word):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, shift, word: _integer_scaled(value, shift, word)
    return lambda value, shift, word: value * 2.0**-shift  # noqa: ARG005


@jit
def input_current(image, weights, constants, current):
    """Synaptic current of layer 0: every active pixel's row, at each step it spikes."""
    current[:] = 0
    for pixel in np.flatnonzero(constants.spike_count[image]):
        row = weights[pixel]
        for index in range(constants.spike_count[image[pixel]]):
            total = current[constants.spike_steps[image[pixel], index]]
            for neuron in range(len(row)):
                total[neuron] += row[neuron]
    return constants.spike_count[image].sum()


@jit
def hidden_current(spikes, counts, weights, current):
    """Synaptic current of a later layer: the row of every neuron that fired, at each of its spikes."""
    current[:] = 0
    for source in np.flatnonzero(counts):
        row = weights[source]
        for step in range(len(spikes)):
            if spikes[step, source]:
                total = current[step]
                for neuron in range(len(row)):
                    total[neuron] += row[neuron]


@jit
def fire(layer, phase, kept, constants, current, spikes, eligible, counts):
    """Leak, integrate, clamp, fire and reset over all steps."""
    threshold = constants.threshold[phase, layer]
    low, high = constants.membrane_min[layer], constants.membrane_max[layer]
    eligible_from = constants.eligible_from[layer]
    steps, neurons = current.shape
    state = np.zeros_like(current[0])
    counts[:] = 0
    for step in range(steps):
        for neuron in range(neurons):
            potential = leak(state[neuron], constants.leak_shift) + current[step, neuron]
            potential = min(max(potential, low), high)
            fired = (potential >= threshold) & (kept[neuron] != 0)
            spikes[step, neuron] = fired
            eligible[step, neuron] = fired if constants.eligible_by_spike else potential >= eligible_from
            counts[neuron] += fired
            state[neuron] = potential - threshold * fired


@jit
def forward(image, weights, masks, sample, phase, constants, scratch, spike_totals):
    """Run one image; fills ``scratch`` and the spike totals (input and each layer)."""
    spike_totals[0] = input_current(image, weights[0], constants, scratch.current[0])
    for layer in range(len(weights)):
        if layer > 0:
            hidden_current(scratch.spikes[layer - 1], scratch.counts[layer - 1], weights[layer],
                           scratch.current[layer])
        fire(layer, phase, masks[layer][sample % len(masks[layer])], constants, scratch.current[layer],
             scratch.spikes[layer], scratch.eligible[layer], scratch.counts[layer])
        spike_totals[layer + 1] = scratch.counts[layer].sum()


@jit
def readout(counts):
    """The unique maximum, or -1."""
    best, ties = 0, 0
    for neuron in range(1, len(counts)):
        if counts[neuron] > counts[best]:
            best, ties = neuron, 0
        elif counts[neuron] == counts[best]:
            ties += 1
    return best if ties == 0 else -1


@jit
def output_desire(label, constants, counts, sign, exponent, error):
    """Desires of the output layer; True when there is one."""
    wanted = False
    for neuron in range(len(counts)):
        role = 1 if neuron == label else 0
        sign[neuron] = constants.output_sign[role, counts[neuron]]
        exponent[neuron] = constants.output_exponent[role, counts[neuron]]
        error[neuron] = constants.output_error[role, counts[neuron]]
        wanted |= sign[neuron] != 0
    return wanted


@jit
def passing_back(sign, eligible, constants):
    """Neurons with a desire that the layer before takes into account."""
    columns = np.flatnonzero(sign)
    if constants.eligible_by_spike:
        return columns
    heard = 0
    for column in columns:
        for step in range(len(eligible)):
            if eligible[step, column]:
                columns[heard] = column
                heard += 1
                break
    return columns[:heard]


@jit
def hidden_desire(weights, kept, columns, constants, counts, next_sign, next_exponent, next_error, sign, exponent,
                  error):
    """Desires of a hidden layer from those of its successor's neurons ``columns``."""
    factors = np.empty(len(columns), dtype=np.int64)
    for index, column in enumerate(columns):
        if constants.graded:
            factors[index] = next_sign[column] << (next_exponent[column] - constants.exponent_min)
        else:
            factors[index] = next_sign[column] * next_error[column]
    for neuron in range(len(sign)):
        sign[neuron] = exponent[neuron] = error[neuron] = 0
        if kept[neuron] == 0:
            continue
        total = constants.hidden_threshold * 0
        for index in range(len(columns)):
            total += weights[neuron, columns[index]] * factors[index]
        size = abs(total)
        if size < constants.hidden_threshold:
            continue
        sign[neuron] = 1 if total > 0 else -1
        if constants.graded:
            entry = len(constants.exponent_from) - 1
            while entry > 0 and size < constants.exponent_from[entry]:
                entry -= 1
            exponent[neuron] = entry + constants.exponent_min
        error[neuron] = abs((constants.desired_count if total > 0 else 0) - counts[neuron])


@jit
def update(weights, rows, traces, eligible, sign, exponent, shift, rounding, constants):
    """Change the weights from ``rows`` to all neurons with a desire; returns how many those are."""
    columns = np.flatnonzero(sign)
    steps = eligible.shape[0]
    gates = np.empty((steps, len(columns)), dtype=traces.dtype)
    for index, column in enumerate(columns):
        for step in range(steps):
            gates[step, index] = eligible[step, column]
    correlation = np.empty(len(columns), dtype=traces.dtype)
    for row, source in enumerate(rows):
        correlation[:] = 0
        word = rounding_word(rounding, source)
        for step in range(steps):
            trace = traces[row, step]
            if trace != 0:
                for index in range(len(columns)):
                    correlation[index] += trace * gates[step, index]
        for index, column in enumerate(columns):
            change = sign[column] * scaled(correlation[index], shift - exponent[column], word)
            weights[source, column] = min(max(weights[source, column] + change, constants.weight_min),
                                          constants.weight_max)
    return len(rows) * len(columns)


@jit
def pixel_traces(image, constants):
    """Active pixels and their traces."""
    rows = np.flatnonzero(constants.spike_count[image])
    return rows, constants.pixel_trace[image[rows].astype(np.int64)]


@jit
def spike_traces(spikes, counts, constants):
    """Neurons that spiked and their traces."""
    rows = np.flatnonzero(counts)
    steps = spikes.shape[0]
    traces = np.empty((len(rows), steps), dtype=constants.pixel_trace.dtype)
    for row, source in enumerate(rows):
        state = constants.spike_unit * 0
        for step in range(steps):
            state = leak(state, constants.leak_shift) + constants.spike_unit * spikes[step, source]
            traces[row, step] = state
    return rows, traces


@jit
def learn(image, label, weights, masks, sample, shift, rounding, constants, scratch):
    """Desires and weight updates of the image that ``forward`` has just run."""
    last = len(weights) - 1
    if not output_desire(label, constants, scratch.counts[last], scratch.sign[last], scratch.exponent[last],
                         scratch.error[last]):
        return False, 0
    for layer in range(last - 1, -1, -1):
        kept = masks[layer][sample % len(masks[layer])]
        columns = passing_back(scratch.sign[layer + 1], scratch.eligible[layer + 1], constants)
        hidden_desire(weights[layer + 1], kept, columns, constants, scratch.counts[layer], scratch.sign[layer + 1],
                      scratch.exponent[layer + 1], scratch.error[layer + 1], scratch.sign[layer],
                      scratch.exponent[layer], scratch.error[layer])
    updates = 0
    for layer in range(len(weights)):
        if layer == 0:
            rows, traces = pixel_traces(image, constants)
        else:
            rows, traces = spike_traces(scratch.spikes[layer - 1], scratch.counts[layer - 1], constants)
        updates += update(weights[layer], rows, traces, scratch.eligible[layer], scratch.sign[layer],
                          scratch.exponent[layer], shift, rounding[layer], constants)
    return True, updates


@jit
def infer_all(images, weights, masks, constants, scratch, predictions, spike_totals):
    """Classify uint8 (count, inputs) images; fills predictions (count,), spike totals (count, layers + 1)."""
    for index in range(len(images)):
        forward(images[index], weights, masks, 0, 0, constants, scratch, spike_totals[index])
        predictions[index] = readout(scratch.counts[len(weights) - 1])


@jit
def learn_all(images, labels, weights, masks, rounding, shift, constants, scratch, predictions, spike_totals, learned,
              updates):
    """Learn from images one after the other.

    ``masks`` holds a uint8 (count, n) array per layer, or (1, n) to use one mask for all images;
    ``rounding`` int64 (count, layers) the rounding states, -1 to round half up.
    """
    for index in range(len(images)):
        forward(images[index], weights, masks, index, 1, constants, scratch, spike_totals[index])
        predictions[index] = readout(scratch.counts[len(weights) - 1])
        learned[index], updates[index] = learn(images[index], labels[index], weights, masks, index, shift,
                                               rounding[index], constants, scratch)

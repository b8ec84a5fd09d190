"""Neurons, compiled: the model's steps in a loop over neurons, and competition.

The kind is chosen by the type of the constants: a tuple of :class:`CompetingParameters` competes, any other belongs to
neurons that fire by themselves, whose step is the model's own.
"""

# The functions are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from lifstream.golden.model.neurons.competing import CompetingParameters, above_threshold, integrate
from lifstream.golden.model.neurons.independent import Step
from lifstream.golden.twin.compiling import jit

__all__ = ["STEPS", "run", "settle"]

STEPS: dict[type, Step] = {}
"""Steps of neurons that fire by themselves, by the class of their constants; compiled when first used."""

_compiled_steps: dict[type, Any] = {}
_integrate, _above_threshold = numba.njit(integrate), numba.njit(above_threshold)


def _step(constants, state, current, kept):
    raise NotImplementedError  # compiled code takes the overload


@overload(_step)
def _compiled_step(constants, state, current, kept):  # noqa: ARG001
    kind = constants.instance_class
    compiled = _compiled_steps.setdefault(kind, numba.njit(STEPS[kind]))
    return lambda constants, state, current, kept: compiled(constants, state, current, kept)


def _of(constants, neuron):
    raise NotImplementedError  # compiled code takes the overload


@overload(_of)
def _compiled_of(constants, neuron):  # noqa: ARG001
    """A neuron's constants: numbers, where the layer's are arrays. Without any, nothing is compiled."""
    arrays = [isinstance(each, types.Array) for each in constants]
    if not any(arrays):
        return lambda constants, neuron: constants  # noqa: ARG005
    fields = zip(constants.fields, arrays, strict=True)
    values = ", ".join(f"constants.{name}[neuron]" if own else f"constants.{name}" for name, own in fields)
    return eval(f"lambda constants, neuron: kind({values})", {"kind": constants.instance_class})


def _take(arrays, neuron):
    return tuple(array[neuron] for array in arrays)


def _put(arrays, neuron, values):
    for array, value in zip(arrays, values, strict=True):
        array[neuron] = value


@overload(_take)
def _compiled_take(arrays, neuron):  # noqa: ARG001
    if len(arrays) == 1:
        return lambda arrays, neuron: (arrays[0][neuron],)
    if len(arrays) == 2:
        return lambda arrays, neuron: (arrays[0][neuron], arrays[1][neuron])
    return lambda arrays, neuron: (arrays[0][neuron], arrays[1][neuron], arrays[2][neuron])


@overload(_put)
def _compiled_put(arrays, neuron, values):  # noqa: ARG001
    if len(arrays) == 1:
        def put(arrays, neuron, values):
            arrays[0][neuron] = values[0]
    elif len(arrays) == 2:
        def put(arrays, neuron, values):
            arrays[0][neuron] = values[0]
            arrays[1][neuron] = values[1]
    else:
        def put(arrays, neuron, values):
            arrays[0][neuron] = values[0]
            arrays[1][neuron] = values[1]
            arrays[2][neuron] = values[2]
    return put


@jit
def _run_independent(constants, synapses, weights, current, kept, states, resets, spikes, counts):
    """All steps of neurons that fire by themselves."""
    steps, neurons = current.shape
    counts[:] = 0
    for neuron in range(neurons):
        _put(states, neuron, resets)
    for step in range(steps):
        if synapses.recurrent and step > 0:
            total = current[step]
            for source in range(neurons):
                if spikes[step - 1, source]:
                    row = weights[synapses.before + source]
                    for neuron in range(neurons):
                        total[neuron] += row[neuron]
        for neuron in range(neurons):
            potential, fired, after = _step(_of(constants, neuron), _take(states, neuron), current[step, neuron],
                                            kept[neuron] != 0)
            _put(states, neuron, after)
            current[step, neuron] = potential
            spikes[step, neuron] = fired
            counts[neuron] += fired


@jit
def _compete(constants, current, adaptive, excess, state, spikes, counts):
    """Leak, integrate, clamp; the neuron highest above its threshold fires; reset, rise, inhibit."""
    steps, neurons = current.shape
    state[:] = 0
    counts[:] = 0
    for step in range(steps):
        winner, highest = -1, np.int64(-1)
        for neuron in range(neurons):
            potential = _integrate(constants, state[neuron], current[step, neuron])
            state[neuron] = current[step, neuron] = potential
            above = _above_threshold(potential, constants.threshold_base + adaptive[neuron] + excess[neuron])
            if above > highest:
                winner, highest = neuron, above
        spikes[step] = 0
        if winner >= 0:
            state -= constants.inhibition
            state[winner] = highest
            spikes[step, winner] = 1
            counts[winner] += 1
            adaptive[winner] += constants.rise


def run(constants, synapses, weights, current, kept, states, resets, adaptive, excess, spikes, counts):
    """Run a layer over a sample.

    Parameters
    ----------
    constants
        Of the layer in the sample's phase.
    synapses, weights
        Of the layer; what it fires in a step comes back in the next where they are recurrent.
    current
        (T, n): synaptic currents in, membrane potentials out.
    kept
        uint8 (n,).
    states, resets
        Working memory: an array (n,) per array that the neurons declare for a sample, and what it starts with.
    adaptive, excess
        int64 (n,): adaptive thresholds, which may change, and what the weights sum to above the wanted; of competing
        neurons only.
    spikes, counts
        uint8 (T, n) and int64 (n,), filled.
    """
    raise NotImplementedError  # compiled code takes the overload


@overload(run)
def _compiled_run(constants, synapses, weights, current, kept, states, resets, adaptive, excess, spikes,  # noqa: ARG001
                  counts):  # noqa: ARG001
    if _competes(constants):
        def call(constants, synapses, weights, current, kept, states, resets, adaptive, excess, spikes,  # noqa: ARG001
                 counts):
            _compete(constants, current, adaptive, excess, states[0], spikes, counts)
    else:
        def call(constants, synapses, weights, current, kept, states, resets, adaptive, excess, spikes,  # noqa: ARG001
                 counts):
            _run_independent(constants, synapses, weights, current, kept, states, resets, spikes, counts)
    return call


def settle(constants, adaptive):
    """What the neurons' learnt arrays do after a sample to learn from."""
    raise NotImplementedError  # compiled code takes the overload


@overload(settle)
def _compiled_settle(constants, adaptive):  # noqa: ARG001
    def leak(constants, adaptive):
        for neuron in range(len(adaptive)):
            adaptive[neuron] -= adaptive[neuron] >> constants.threshold_leak_shift

    def nothing(constants, adaptive):
        pass

    return leak if _competes(constants) else nothing


def _competes(constants: Any) -> bool:
    return isinstance(constants, types.NamedTuple) and constants.instance_class is CompetingParameters

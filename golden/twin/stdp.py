"""Spike-timing-dependent plasticity, compiled: :mod:`lifstream.golden.model.rules.stdp`, image after image."""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import Bounds, Modulation, PairStdp
from lifstream.golden.model.operations import leak
from lifstream.golden.twin.compiling import jit, rounding_word, scaled
from lifstream.golden.twin.kernels import LEARN, column_excess, spike_traces

__all__ = ["StdpConstants", "integer_constants", "real_constants"]


class StdpConstants(NamedTuple):
    """A layer's rule as the kernels read it; names as in :class:`lifstream.golden.contract.rules.PairStdp`."""

    trace_leak_shift: int
    spike_unit: int
    pixel_trace: NDArray[np.int32]
    """(0, 0): only its type is used, where spikes are traced."""
    shift: int
    """Right shift of an update beside the rate shift."""
    rewarded: bool
    soft: bool
    target: int
    weight_sum: int
    depressed: bool
    gain_shift: int
    punishment_shift: int
    fraction: int
    """F."""


def integer_constants(at: PlacedLayer, value: type[np.generic]) -> StdpConstants:  # noqa: ARG001
    """A layer's rule."""
    rule = at.rule
    assert isinstance(rule, PairStdp)
    return StdpConstants(
        trace_leak_shift=rule.trace_leak_shift, spike_unit=1 << rule.trace_fraction,
        pixel_trace=np.zeros((0, 0), dtype=np.int32), shift=rule.trace_fraction - at.formats.weight_fraction,
        rewarded=rule.modulation is Modulation.REWARD, soft=rule.bounds is Bounds.SOFT, target=rule.presynaptic_target,
        weight_sum=rule.weight_sum, depressed=rule.depression_shift is not None, gain_shift=rule.gain_shift,
        punishment_shift=rule.punishment_shift, fraction=at.formats.weight_fraction)


def real_constants(at: PlacedLayer) -> StdpConstants:
    """There are none."""
    raise InputError(f"arithmetic: the float model has desire backpropagation only; use integers with {at.rule.kind}")


@jit
def postsynaptic_trace(spikes, neuron, rule):
    """Trace of one neuron, (T,)."""
    steps = len(spikes)
    result = np.empty(steps, dtype=np.int64)
    state = np.int64(0)
    for step in range(steps):
        state = leak(state, rule.trace_leak_shift) + rule.spike_unit * spikes[step, neuron]
        result[step] = state
    return result


@jit
def deficit(weight, upwards, fraction):
    """:func:`lifstream.golden.model.rules.stdp.room_deficit` of one weight."""
    room = (np.int64(1) << fraction) - 1 - weight if upwards else np.int64(weight)
    bits = 0
    while room > 0:
        room >>= 1
        bits += 1
    return fraction - bits


@jit
def update(weights, excess, presynaptic, presynaptic_counts, spikes, counts, sign, rate_shift, rounding, rule):
    """Change all weights of the neurons that fired; returns how many those are."""
    columns = np.flatnonzero(counts)
    sources, traces = spike_traces(presynaptic, presynaptic_counts, rule)
    steps = len(spikes)
    top = (np.int64(1) << rule.fraction) - 1
    shift = rule.shift + rate_shift + rule.gain_shift + (rule.punishment_shift if sign < 0 else 0)
    for column in columns:
        target = np.int64(rule.target)
        if rule.weight_sum and excess[column] > 0:
            target <<= 1
        after = postsynaptic_trace(spikes, column, rule)
        entry = 0
        for row in range(len(weights)):
            total = -target * counts[column]
            fired = entry < len(sources) and sources[entry] == row
            if fired:
                for step in range(steps):
                    if spikes[step, column]:
                        total += traces[entry, step]
            total <<= rule.gain_shift
            if fired:
                if rule.depressed:
                    for step in range(steps):
                        if presynaptic[step, row]:
                            total -= after[step]
                entry += 1
            total *= sign
            further = deficit(weights[row, column], total >= 0, rule.fraction) if rule.soft else 0
            change = scaled(abs(total), shift + further, rounding_word(rounding, row, 0))
            moved = weights[row, column] + (change if total >= 0 else -change)
            weights[row, column] = min(max(moved, np.int64(0)), top)
    return len(weights) * len(columns)


@jit
def input_spikes(image, inputs, steps):
    """Spike trains of the pixels, uint8 (T, n), and how many spikes each has, int64 (n,)."""
    spikes = np.zeros((steps, len(image)), dtype=np.uint8)
    counts = np.empty(len(image), dtype=np.int64)
    for pixel in range(len(image)):
        counts[pixel] = inputs.counts[image[pixel]]
        for index in range(counts[pixel]):
            spikes[inputs.steps[image[pixel], index], pixel] = 1
    return spikes, counts


@jit
def learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs, scratch):  # noqa: ARG001
    """Weight updates of the image that has just run."""
    fired = 0
    for layer in range(len(rules)):
        fired += scratch.counts[layer].sum()
    if fired == 0:
        return False, 0
    updates = 0
    presynaptic, presynaptic_counts = input_spikes(image, inputs, len(scratch.spikes[0]))
    for layer in range(len(rules)):
        rule = rules[layer]
        sign = -1 if rule.rewarded and prediction != label else 1
        updates += update(state.weights[layer], state.excess[layer], presynaptic, presynaptic_counts,
                          scratch.spikes[layer], scratch.counts[layer], sign, rate_shift, rounding[layer], rule)
        if rule.weight_sum:
            for column in np.flatnonzero(scratch.counts[layer]):
                state.excess[layer][column] = column_excess(state.weights[layer], column, rule.weight_sum)
        presynaptic, presynaptic_counts = scratch.spikes[layer], scratch.counts[layer]
    return True, updates


LEARN[StdpConstants] = learn

"""Desire backpropagation, compiled: :mod:`lifstream.golden.model.rules.desire`, one image after the other."""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import PIXEL_MAX, Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import DESIRE_EXPONENT_MIN, DesireBackpropagation, Eligibility, Magnitude
from lifstream.golden.model.encoder import spike_patterns
from lifstream.golden.model.rules.desire import output_neuron_desire
from lifstream.golden.model.trace import trace
from lifstream.golden.twin.compiling import jit, of_neuron, rounding_word, scaled
from lifstream.golden.twin.kernels import LEARN, augmented_traces, spike_traces
from lifstream.golden.twin.synapses import passed_back, position_starts

__all__ = ["DesireConstants", "integer_constants", "real_constants"]


class DesireConstants(NamedTuple):
    """A layer's rule as the kernels read it; ``value`` is int32, int64 or float32."""

    graded: bool
    """Desires are powers of two; otherwise ternary."""
    eligible_by_spike: bool
    eligible_from: Any
    """Value: membrane potential from which a neuron is eligible; (n,) in all layers if neurons of one differ."""
    always_eligible: bool
    weight_min: Any
    weight_max: Any
    trace_leak_shift: int
    spike_unit: Any
    """What a spike adds to a trace."""
    pixel_trace: NDArray[Any]
    """value (256, T): traces of each pixel intensity."""
    shift: int
    """Right shift of an update beside the rate shift."""
    desired_count: int
    output_sign: NDArray[np.int64]
    """(2, T + 1): desire of a neuron of the last layer by role (0 other, 1 label) and spike count."""
    output_exponent: NDArray[np.int64]
    """(2, T + 1): base-2 logarithm of its magnitude."""
    output_error: NDArray[np.int64]
    """(2, T + 1): its distance in spike counts."""
    fall_threshold: Any
    """Negated weighted sum from which a neuron of a layer that is not the last is wanted to fire less ..."""
    rise_threshold: Any
    """... and weighted sum from which it is wanted to fire more ..."""
    rise_limit: int
    """... if it fired less often than this."""
    exponent_from: NDArray[Any]
    """(exponents,): weighted sum from which such a magnitude is 2**(entry + exponent_min)."""
    exponent_min: int


def _shared(at: PlacedLayer) -> dict[str, Any]:
    """What does not depend on the arithmetic: enums as flags, output desires."""
    rule = at.rule
    assert isinstance(rule, DesireBackpropagation)
    counts = np.arange(at.steps + 1)
    roles = [output_neuron_desire(at, counts, np.full(len(counts), role)) for role in (False, True)]
    return {
        "graded": rule.magnitude is Magnitude.GRADED, "eligible_by_spike": rule.eligibility is Eligibility.SPIKE,
        "always_eligible": at.last, "trace_leak_shift": rule.trace_leak_shift,
        "desired_count": rule.desired_count(at.steps), "output_sign": np.array([role.sign for role in roles]),
        "output_exponent": np.array([role.exponent for role in roles]),
        "output_error": np.array([role.error for role in roles]), "exponent_min": DESIRE_EXPONENT_MIN,
        "rise_limit": at.steps + 1 if rule.rise_limit is None else rule.rise_limit}


def _hidden_fraction(at: PlacedLayer) -> int:
    """Fraction bits of the weights that a layer's desires are sums of; of no meaning for the last layer."""
    return (at if at.last else at.successor).formats.weight_fraction


def integer_constants(at: PlacedLayer, value: type[np.generic]) -> DesireConstants:
    """A layer's rule in integers, potentials of type ``value``."""
    rule, formats = at.rule, at.formats
    assert isinstance(rule, DesireBackpropagation)
    exponents = np.arange(DESIRE_EXPONENT_MIN, 1)
    fraction = _hidden_fraction(at)
    fall, rise = rule.hidden_thresholds_raw(fraction=fraction, steps=at.steps)
    return DesireConstants(
        eligible_from=value(at.neuron.threshold_in(Phase.TRAINING) >> 1), weight_min=formats.weight_min,
        weight_max=formats.weight_max, spike_unit=1 << rule.trace_fraction,
        pixel_trace=np.ascontiguousarray(trace(rule, spike_patterns(at.steps)).T.astype(np.int32)),
        shift=rule.update_shift(0, formats),
        fall_threshold=fall, rise_threshold=rise,
        exponent_from=np.int64(1) << (exponents - DESIRE_EXPONENT_MIN + fraction), **_shared(at))


def real_constants(at: PlacedLayer) -> DesireConstants:
    """A layer's rule in real numbers: a weight of 1 is 1, no format ends, traces decay without rounding."""
    rule = at.rule
    assert isinstance(rule, DesireBackpropagation)
    traces = np.zeros((PIXEL_MAX + 1, at.steps), dtype=np.float32)
    state = np.zeros(PIXEL_MAX + 1)
    for step, fired in enumerate(spike_patterns(at.steps)):
        state = state * (1 - 2.0**-rule.trace_leak_shift) + fired
        traces[:, step] = state
    exponents = np.arange(DESIRE_EXPONENT_MIN, 1)
    unit = 2.0**-DESIRE_EXPONENT_MIN if rule.magnitude is Magnitude.GRADED else rule.desired_count(at.steps)
    threshold = at.neuron.threshold_in(Phase.TRAINING) / at.formats.one
    fall, rise = rule.hidden_thresholds_real
    return DesireConstants(
        eligible_from=np.float32(threshold / 2), weight_min=-np.inf, weight_max=np.inf, spike_unit=1.0,
        pixel_trace=traces, shift=rule.rate_offset, fall_threshold=fall * unit, rise_threshold=rise * unit,
        exponent_from=2.0**(exponents - DESIRE_EXPONENT_MIN), **_shared(at))


@jit
def output_desire(label, rule, counts, sign, exponent, error):
    """Desires of the last layer; True when there is one."""
    wanted = False
    for neuron in range(len(counts)):
        role = 1 if neuron == label else 0
        sign[neuron] = rule.output_sign[role, counts[neuron]]
        exponent[neuron] = rule.output_exponent[role, counts[neuron]]
        error[neuron] = rule.output_error[role, counts[neuron]]
        wanted |= sign[neuron] != 0
    return wanted


@jit
def passing_back(rule, sign, potentials):
    """Neurons with a desire that the layer before takes into account."""
    columns = np.flatnonzero(sign)
    if rule.eligible_by_spike or rule.always_eligible:
        return columns
    heard, eligible_from = 0, rule.eligible_from
    for column in columns:
        for step in range(len(potentials)):
            if potentials[step, column] >= of_neuron(eligible_from, column):
                columns[heard] = column
                heard += 1
                break
    return columns[:heard]


@jit
def hidden_desire(synapses, weights, kept, columns, rule, counts, next_sign, next_exponent, next_error, sign, exponent,
                  error):
    """Desires of a layer from those of its successor's neurons ``columns``."""
    factors = np.empty(len(columns), dtype=np.int64)
    graded, exponent_from = rule.graded, rule.exponent_from
    for index, column in enumerate(columns):
        if graded:
            factors[index] = next_sign[column] << (next_exponent[column] - rule.exponent_min)
        else:
            factors[index] = next_sign[column] * next_error[column]
    totals = np.zeros(len(sign), dtype=exponent_from.dtype)
    passed_back(synapses, weights, kept, columns, factors, totals)
    for neuron in range(len(sign)):
        sign[neuron] = exponent[neuron] = error[neuron] = 0
        if kept[neuron] == 0:
            continue
        total = totals[neuron]
        size = abs(total)
        if size < (rule.rise_threshold if total > 0 else rule.fall_threshold):
            continue
        if total > 0 and counts[neuron] >= rule.rise_limit:
            continue
        sign[neuron] = 1 if total > 0 else -1
        if graded:
            entry = len(exponent_from) - 1
            while entry > 0 and size < exponent_from[entry]:
                entry -= 1
            exponent[neuron] = entry + rule.exponent_min
        error[neuron] = abs((rule.desired_count if total > 0 else 0) - counts[neuron])


@jit
def update(synapses, weights, sources, traces, potentials, spikes, sign, exponent, rate_shift, rounding, rule):
    """Change the weights from ``sources`` to all neurons with a desire; returns how many were visited."""
    if synapses.dense:
        return update_dense(weights, sources, traces, potentials, spikes, sign, exponent, rate_shift, rounding, rule)
    return update_connections(synapses, weights, sources, traces, potentials, spikes, sign, exponent, rate_shift,
                              rounding, rule)


@jit
def update_connections(synapses, weights, sources, traces, potentials, spikes, sign, exponent, rate_shift, rounding,
                       rule):
    """:func:`update` connection by connection: sources ascending, positions ascending."""
    neurons, columns = np.flatnonzero(sign), weights.shape[1]
    starts, steps, visited = position_starts(synapses, neurons, columns), len(spikes), 0
    shift, low, high = rule.shift + rate_shift, rule.weight_min, rule.weight_max
    eligible_from, by_spike, always = rule.eligible_from, rule.eligible_by_spike, rule.always_eligible
    connected, rows, positions = synapses.start, synapses.row, synapses.position
    gates = np.empty((len(neurons), steps), dtype=traces.dtype)
    for index, neuron in enumerate(neurons):
        lowest = of_neuron(eligible_from, neuron)
        for step in range(steps):
            eligible = spikes[step, neuron] != 0 if by_spike else always or potentials[step, neuron] >= lowest
            gates[index, step] = eligible
    for entry, source in enumerate(sources):
        for connection in range(connected[source], connected[source + 1]):
            row, position = rows[connection], positions[connection]
            if starts[position] == starts[position + 1]:
                continue
            word = rounding_word(rounding, source, position)
            for index in range(starts[position], starts[position + 1]):
                correlation = traces[entry, 0] * 0
                for step in range(steps):
                    correlation += traces[entry, step] * gates[index, step]
                neuron, column = neurons[index], neurons[index] - position * columns
                change = sign[neuron] * scaled(correlation, shift - exponent[neuron], word)
                weights[row, column] = min(max(weights[row, column] + change, low), high)
            visited += starts[position + 1] - starts[position]
    return visited


@jit
def update_dense(weights, rows, traces, potentials, spikes, sign, exponent, rate_shift, rounding, rule):
    """:func:`update` a row at a time."""
    columns = np.flatnonzero(sign)
    steps = len(spikes)
    shift, low, high = rule.shift + rate_shift, rule.weight_min, rule.weight_max
    eligible_from, by_spike, always = rule.eligible_from, rule.eligible_by_spike, rule.always_eligible
    gates = np.empty((steps, len(columns)), dtype=traces.dtype)
    for index, column in enumerate(columns):
        lowest = of_neuron(eligible_from, column)
        for step in range(steps):
            eligible = spikes[step, column] != 0 if by_spike else always or potentials[step, column] >= lowest
            gates[step, index] = eligible
    correlation = np.empty(len(columns), dtype=traces.dtype)
    for row, source in enumerate(rows):
        correlation[:] = 0
        word = rounding_word(rounding, source, 0)
        for step in range(steps):
            trace = traces[row, step]
            if trace != 0:
                for index in range(len(columns)):
                    correlation[index] += trace * gates[step, index]
        for index, column in enumerate(columns):
            change = sign[column] * scaled(correlation[index], shift - exponent[column], word)
            weights[source, column] = min(max(weights[source, column] + change, low), high)
    return len(rows) * len(columns)


@jit
def pixel_traces(image, inputs, rule):
    """Active pixels and their traces."""
    rows = np.flatnonzero(inputs.counts[image])
    return rows, rule.pixel_trace[image[rows].astype(np.int64)]


@jit
def learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs, scratch):  # noqa: ARG001
    """Desires and weight updates of the image that has just run."""
    last = len(rules) - 1
    neurons = 0
    for index in range(len(rules)):
        neurons = max(neurons, len(scratch.counts[index]))
    sign = np.zeros((len(rules), neurons), dtype=np.int64)
    exponent, error = np.zeros_like(sign), np.zeros_like(sign)
    width = len(scratch.counts[last])
    if not output_desire(label, rules[last], scratch.counts[last], sign[last, :width], exponent[last, :width],
                         error[last, :width]):
        return False, 0
    for layer in range(last - 1, -1, -1):
        kept, width = masks[layer][sample % len(masks[layer])], len(scratch.counts[layer])
        columns = passing_back(rules[layer + 1], sign[layer + 1, :len(scratch.counts[layer + 1])],
                               scratch.current[layer + 1])
        hidden_desire(synapses[layer + 1], state.weights[layer + 1], kept, columns, rules[layer], scratch.counts[layer],
                      sign[layer + 1], exponent[layer + 1], error[layer + 1], sign[layer, :width],
                      exponent[layer, :width], error[layer, :width])
    updates = 0
    for layer in range(len(rules)):
        if layer == 0 and inputs.packed:
            rows, traces = spike_traces(scratch.trains, scratch.train_counts, rules[0])
        elif layer == 0:
            rows, traces = pixel_traces(image, inputs, rules[0])
        else:
            rows, traces = spike_traces(scratch.spikes[layer - 1], scratch.counts[layer - 1], rules[layer])
        if synapses[layer].recurrent or synapses[layer].bias:
            rows, traces = augmented_traces(synapses[layer], rows, traces, scratch.spikes[layer], scratch.counts[layer],
                                            rules[layer])
        width = len(scratch.counts[layer])
        updates += update(synapses[layer], state.weights[layer], rows, traces, scratch.current[layer],
                          scratch.spikes[layer], sign[layer, :width], exponent[layer, :width], rate_shift,
                          rounding[layer], rules[layer])
    return True, updates


LEARN[DesireConstants] = learn

"""Convolution, local connection and sum pooling in plain loops, written from the prose of the contract.

Nothing is shared with the golden model but its declarations: which neurons are connected is found here by going through
all positions and all taps of a patch, one step and one weight at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lifstream.golden.contract.formats import Phase, Rounding
from lifstream.golden.contract.network import NetworkSpec, PlacedLayer
from lifstream.golden.contract.rules import Eligibility, Magnitude
from lifstream.golden.contract.synapses import Conv, Dense, Local, SumPool, Synapses

Connection = tuple[int, int, int]
"""Presynaptic neuron, position, row of the weights."""


def of_patches(synapses: Conv | Local) -> Iterator[Connection]:
    """By position and tap."""
    before, (kernel_height, kernel_width) = synapses.inputs, synapses.kernel
    (down, right), (above, left) = synapses.stride, synapses.padding
    height = (before.height + 2 * above - kernel_height) // down + 1
    width = (before.width + 2 * left - kernel_width) // right + 1
    taps = kernel_height * kernel_width * before.channels
    for out_y in range(height):
        for out_x in range(width):
            for kernel_y in range(kernel_height):
                for kernel_x in range(kernel_width):
                    for channel in range(before.channels):
                        y, x = out_y * down + kernel_y - above, out_x * right + kernel_x - left
                        if 0 <= y < before.height and 0 <= x < before.width:
                            position = out_y * width + out_x
                            tap = (kernel_y * kernel_width + kernel_x) * before.channels + channel
                            row = position * taps + tap if isinstance(synapses, Local) else tap
                            yield (y * before.width + x) * before.channels + channel, position, row


def all_connections(synapses: Synapses) -> list[Connection]:
    """In the order of updates: sources ascending, positions ascending."""
    found: list[Connection]
    if isinstance(synapses, Dense):
        found = [(source, 0, source) for source in range(synapses.n_in)]
    elif isinstance(synapses, SumPool):
        before, size, behind = synapses.inputs, synapses.size, all_connections(synapses.synapses)
        found = []
        for y in range(before.height):
            for x in range(before.width):
                for channel in range(before.channels):
                    pooled = (y // size * (before.width // size) + x // size) * before.channels + channel
                    found += [((y * before.width + x) * before.channels + channel, position, row)
                              for source, position, row in behind if source == pooled]
    else:
        assert isinstance(synapses, Conv | Local)
        found = list(of_patches(synapses))
    return sorted(found)


@dataclass
class LayerState:
    """What a layer did in a sample: lists by step, then by neuron."""

    spikes: list[list[int]] = field(default_factory=list)
    membrane: list[list[int]] = field(default_factory=list)


def xorshift32(state: int) -> int:
    state ^= (state << 13) & 0xFFFF_FFFF
    state ^= state >> 17
    return state ^ ((state << 5) & 0xFFFF_FFFF)


def run_layer(at: PlacedLayer, connections: list[Connection], weights: Any, before: list[list[int]],
              kept: list[bool]) -> LayerState:
    """Leaky neurons over a training sample."""
    neuron: Any = at.neuron
    potentials, threshold, columns = [0] * at.n_out, neuron.threshold_in(Phase.TRAINING), at.synapses.weight_shape[1]
    low, high = at.membrane_range
    state = LayerState()
    for spikes in before:
        current = [0] * at.n_out
        for source, position, row in connections:
            if spikes[source]:
                for column in range(columns):
                    current[position * columns + column] += int(weights[row][column])
        fired = []
        for index in range(at.n_out):
            leaked = (((1 << neuron.leak_shift) - 1) * potentials[index]) >> neuron.leak_shift
            potentials[index] = min(max(leaked + current[index], low), high)
        state.membrane.append(list(potentials))
        for index in range(at.n_out):
            fired.append(int(potentials[index] >= threshold and kept[index]))
            potentials[index] -= threshold * fired[-1]
        state.spikes.append(fired)
    return state


def gates(at: PlacedLayer, state: LayerState, neuron: int) -> list[bool]:
    """At which steps a neuron's synapses are eligible."""
    rule: Any = at.rule
    if rule.eligibility is Eligibility.SPIKE:
        return [bool(spikes[neuron]) for spikes in state.spikes]
    if at.last:
        return [True] * len(state.spikes)
    return [membrane[neuron] >= at.neuron.threshold_in(Phase.TRAINING) >> 1 for membrane in state.membrane]


def learn(spec: NetworkSpec, weights: list[Any], spikes: list[list[int]], label: int, *, rate_shift: int,
          kept: list[list[bool]], rounding: list[int | None]) -> list[LayerState]:
    """Forward, back and update of one sample; changes ``weights``."""
    tables = [all_connections(at.synapses) for at in spec.placed]
    trains, states = [spikes], []
    for at, table, matrix, mask in zip(spec.placed, tables, weights, kept, strict=True):
        states.append(run_layer(at, table, matrix, trains[-1], mask))
        trains.append(states[-1].spikes)
    # desires: (sign, log2 of the magnitude, error in counts) of each neuron
    last: Any = spec.placed[-1]
    wanted_count, graded = last.rule.desired_count(spec.steps), last.rule.magnitude is Magnitude.GRADED
    desires: list[list[tuple[int, int, int]]] = [[]]
    for neuron in range(last.n_out):
        count = sum(step[neuron] for step in states[-1].spikes)
        error = wanted_count - count if neuron == label else count
        if error < last.rule.output_threshold:
            desires[0].append((0, 0, 0))
            continue
        exponent = 0
        while graded and exponent > -10 and error << -exponent < wanted_count:
            exponent -= 1
        desires[0].append((1 if neuron == label else -1, exponent, error))
    if not any(sign for sign, _, _ in desires[0]):
        return states
    for at in reversed(spec.placed[:-1]):
        behind, rule = spec.placed[at.index + 1], at.rule
        columns, fraction = behind.synapses.weight_shape[1], behind.formats.weight_fraction
        heard = [rule.eligibility is Eligibility.SPIKE or any(gates(behind, states[behind.index], neuron))  # type: ignore[attr-defined]
                 for neuron in range(behind.n_out)]
        totals = [0] * at.n_out
        for source, position, row in tables[behind.index]:
            for column in range(columns):
                neuron = position * columns + column
                sign, exponent, error = desires[0][neuron]
                if heard[neuron]:
                    totals[source] += int(weights[behind.index][row][column]) * sign * (
                        1 << (exponent + 10) if graded else error)
        found = []
        for neuron, total in enumerate(totals):
            unit = 1 << (fraction + 10) if graded else wanted_count << fraction
            least = rule.rise_threshold if total > 0 and rule.rise_threshold else rule.hidden_threshold
            if abs(total) << 16 < least * unit or not kept[at.index][neuron]:  # type: ignore[attr-defined]
                found.append((0, 0, 0))
                continue
            count, exponent = sum(step[neuron] for step in states[at.index].spikes), 0
            if total > 0 and rule.rise_limit is not None and count >= rule.rise_limit:
                found.append((0, 0, 0))
                continue
            while graded and exponent > -10 and abs(total) < 1 << (fraction + 10 + exponent):
                exponent -= 1
            found.append((1 if total > 0 else -1, exponent, abs((wanted_count if total > 0 else 0) - count)))
        desires.insert(0, found)
    for at, table, matrix, desire, state, before in zip(spec.placed, tables, weights, desires, states, trains,
                                                        strict=False):
        columns = at.synapses.weight_shape[1]
        for source, position, row in table:
            if not any(step[source] for step in before):
                continue
            trace, traces = 0, []
            for step in before:
                leak = at.rule.trace_leak_shift
                trace = ((((1 << leak) - 1) * trace) >> leak) + (step[source] << at.rule.trace_fraction)
                traces.append(trace)
            for column in range(columns):
                sign, exponent, _ = desire[position * columns + column]
                if not sign:
                    continue
                correlation = sum(value for value, gate in zip(
                    traces, gates(at, state, position * columns + column), strict=True) if gate)
                shift = (at.rule.trace_fraction + rate_shift + at.rule.rate_offset - exponent
                         - at.formats.weight_fraction)
                add = (1 << shift) >> 1
                if at.rule.rounding is Rounding.STOCHASTIC:
                    seed = rounding[at.index]
                    assert seed is not None
                    add = xorshift32(seed ^ source ^ (position << 16)) & ((1 << shift) - 1)
                changed = int(matrix[row][column]) + sign * ((correlation + add) >> shift)
                matrix[row][column] = min(max(changed, at.formats.weight_min), at.formats.weight_max)
    return states

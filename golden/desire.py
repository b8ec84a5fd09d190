"""Desire backpropagation: who should have fired more or less, and the weight changes that follow.

D. Gerlinghoff et al., arXiv 2211.05412, in two forms: the paper's (ternary desires, spike
eligibility) and the graded one (powers of two, membrane eligibility), which needs shifts, additions
and comparisons only. All desires of a sample are computed with the old weights; then all weights
change. What differs from the published rule is the number format and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.draws import rounding_words
from golden.lif import LayerRecord, leak
from golden.network import ForwardRecord, Network
from golden.spec import DESIRE_EXPONENT_MIN, Eligibility, Magnitude, NetworkSpec, Phase, Rounding

__all__ = ["Desire", "LearnRecord", "correlation", "eligibility", "hidden_desire", "learn",
           "output_desire", "output_neuron_desire", "passes_back", "round_shift", "round_shift_random", "trace",
           "weight_update"]

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_] | None


class Desire(NamedTuple):
    """What a layer's neurons are wanted to do; every array is (n,)."""

    sign: IntArray
    """+1 fire more, -1 fire less, 0 no desire."""
    exponent: IntArray
    """Base-2 logarithm of the magnitude, -10..0; 0 throughout with ternary desires."""
    error: IntArray
    """Distance between wanted and actual spike count, 0..T; 0 where there is no desire."""


@dataclass(frozen=True, kw_only=True)
class LearnRecord:
    """One training sample: its forward pass, the desires and whether any weight was touched."""

    forward: ForwardRecord
    desires: tuple[Desire, ...]
    """One per layer; empty when no output neuron had a desire."""
    updates: int = 0
    """Weights the sample visited: presynaptic neurons that spiked times neurons with a desire, over all layers."""


def _exponent(values: IntArray, unit_log2: int) -> IntArray:
    """floor(log2(values * 2**unit_log2)) limited to -10..0, for values >= 1 (0 is tolerated)."""
    # frexp is exact: the values are integers below 2**53.
    exponent: IntArray = np.frexp(values.astype(np.float64))[1] - 1 + np.int64(unit_log2)
    return np.clip(exponent, DESIRE_EXPONENT_MIN, 0)


def _count_error(sign: IntArray, counts: IntArray, desired_count: int) -> IntArray:
    """|D - n| for sign +1, n for sign -1, 0 for no desire (the paper's L1 error, in counts)."""
    error: IntArray = np.abs(sign) * np.abs(np.where(sign > 0, desired_count, 0) - counts)
    return error


def output_desire(spec: NetworkSpec, counts: IntArray, label: int) -> Desire:
    """Desire of the output layer from its spike counts.

    The error is ``D - n`` for the label neuron and ``n`` for all others; a neuron has a desire when
    its error is at least ``output_threshold``. With graded magnitude the exponent is that of the
    largest power of two not above ``error / D``, at most 1.
    """
    return output_neuron_desire(spec, counts, np.arange(spec.classes) == label)


def output_neuron_desire(spec: NetworkSpec, counts: IntArray, is_label: NDArray[np.bool_]) -> Desire:
    """:func:`output_desire` element by element: any spike counts, int64 (n,), in either role, bool (n,)."""
    error = np.where(is_label, spec.desired_count - counts, counts)
    wanted = error >= spec.output_threshold
    sign = np.where(wanted, np.where(is_label, 1, -1), 0)
    error = np.where(wanted, error, 0)
    exponent = np.zeros_like(sign)
    if spec.magnitude is Magnitude.GRADED:
        # 2**e <= error / D: D need not be a power of two, so e is found by comparison.
        candidates = np.arange(DESIRE_EXPONENT_MIN, 1)
        fits = (error[:, None] << -candidates) >= spec.desired_count
        exponent = np.where(wanted & fits.any(axis=1), candidates[-1] - fits[:, ::-1].argmax(axis=1),
                            np.where(wanted, DESIRE_EXPONENT_MIN, 0))
    return Desire(sign=sign, exponent=exponent, error=error)


def hidden_desire(spec: NetworkSpec, weights: NDArray[np.int32], successor: Desire,
                  counts: IntArray, kept: Mask, heard: Mask = None) -> Desire:
    """Desire of a hidden layer from its successor's.

    ``D_j = sum_i w_ij * sgn_i * m_i`` with ``m_i`` the magnitude (graded) or the exact error
    (ternary); neuron ``j`` has a desire when ``|D_j|`` reaches the hidden threshold and it was kept.

    Parameters
    ----------
    weights
        int32 (n, n_next): the successor's weights, before any update.
    successor
        Desire of the next layer.
    counts
        int64 (n,): spike counts of this layer.
    kept
        bool (n,) dropout mask of this layer, or None.
    heard
        bool (n_next,): see :func:`passes_back`; None for all.
    """
    wanted = np.flatnonzero(successor.sign if heard is None else successor.sign * heard)
    if spec.magnitude is Magnitude.GRADED:
        magnitude = 1 << (successor.exponent[wanted] - DESIRE_EXPONENT_MIN)
    else:
        magnitude = successor.error[wanted]
    total = weights[:, wanted].astype(np.int64) @ (successor.sign[wanted] * magnitude)
    has_desire = np.abs(total) >= spec.hidden_threshold_raw()
    if kept is not None:
        has_desire &= kept
    sign = np.where(has_desire, np.sign(total), 0)
    exponent = np.zeros_like(sign)
    if spec.magnitude is Magnitude.GRADED:
        unit = DESIRE_EXPONENT_MIN - spec.weight_fraction
        exponent = np.where(has_desire, _exponent(np.abs(total), unit), 0)
    return Desire(sign=sign, exponent=exponent, error=_count_error(sign, counts, spec.desired_count))


def trace(spec: NetworkSpec, spikes: NDArray[np.bool_]) -> IntArray:
    """Presynaptic traces ``x = leak(x) + (s << X)``: bool (T, n) to int64 (T, n)."""
    traces = np.empty(spikes.shape, dtype=np.int64)
    state = np.zeros(spikes.shape[1], dtype=np.int64)
    for step, fired in enumerate(spikes):
        state = leak(state, spec.leak_shift) + (fired.astype(np.int64) << spec.trace_fraction)
        traces[step] = state
    return traces


def eligibility(spec: NetworkSpec, layer: int, record: LayerRecord) -> NDArray[np.bool_]:
    """Steps at which a layer's synapses are eligible, bool (T, n); taken before the reset."""
    if spec.eligibility is Eligibility.SPIKE:
        return record.spikes
    if layer == spec.layers - 1:
        return np.ones_like(record.spikes)
    return record.membrane >= record.threshold >> 1


def passes_back(spec: NetworkSpec, layer: int, record: LayerRecord) -> Mask:
    """Neurons of ``layer`` whose desires the layer before takes into account, bool (n,); None for all.

    With membrane eligibility a neuron that was at no step eligible passes nothing back: no spike more or
    less would have moved it, and in a sparse second hidden layer such neurons are the many. (It is the
    surrogate derivative of the neuron, taken over the sample.) The paper's form has no such gate.
    """
    if spec.eligibility is Eligibility.SPIKE:
        return None
    ever: NDArray[np.bool_] = np.logical_or.reduce(eligibility(spec, layer, record), axis=0)
    return ever


def correlation(eligible: NDArray[np.bool_], traces: IntArray) -> IntArray:
    """``C_ij = sum_t e_i[t] * x_j[t]``: bool (T, n_out), int64 (T, n_in) to int64 (n_in, n_out)."""
    return traces.T @ eligible.astype(np.int64)


def round_shift(value: IntArray, shift: IntArray) -> IntArray:
    """``value / 2**shift`` rounded half up, for shifts of at least 0 (then it is ``value``)."""
    return (value + ((1 << shift) >> 1)) >> shift


def round_shift_random(value: IntArray, shift: IntArray, word: IntArray) -> IntArray:
    """``value / 2**shift`` rounded up with the probability of its remainder, by the low bits of ``word``."""
    return (value + (word & ((1 << shift) - 1))) >> shift


def weight_update(spec: NetworkSpec, correlations: IntArray, desire: Desire, rate_shift: int,
                  words: IntArray | None = None) -> IntArray:
    """Signed weight change in LSBs: ``sgn_i * round(C_ij / 2**r_i)``, one rounding.

    ``r_i = X + rate_shift - log2(g_i) - F``. int64 (n_in, n_out) in and out. With stochastic rounding
    ``words``, int64 (n_in,), holds the rows' random words.
    """
    shift = spec.update_shift(rate_shift) - desire.exponent
    if words is None:
        return desire.sign * round_shift(correlations, shift)
    return desire.sign * round_shift_random(correlations, shift, words[:, None])


def learn(network: Network, image: NDArray[np.uint8], label: int, *, rate_shift: int,
          kept: Sequence[Mask] | None = None, rounding: Sequence[int] | None = None) -> LearnRecord:
    """Learn from one image, in place.

    Parameters
    ----------
    image
        uint8 (inputs,).
    label
        Class index.
    rate_shift
        Learning rate 2**-rate_shift.
    kept
        Dropout masks of the hidden layers, or None.
    rounding
        Rounding states of the layers, as in :class:`golden.draws.SampleDraws`; needed for stochastic rounding.

    Raises
    ------
    ValueError
        Stochastic rounding without rounding states.
    """
    spec = network.spec
    if (rounding is None) != (spec.rounding is not Rounding.STOCHASTIC):
        raise ValueError(f"rounding: states are {'missing' if rounding is None else 'not used'}, "
                         f"the contract's rounding is {spec.rounding}")
    forward = network.forward(image, phase=Phase.TRAINING, kept=kept)
    desire = output_desire(spec, forward.counts, label)
    if not desire.sign.any():
        return LearnRecord(forward=forward, desires=())
    desires = [desire]
    for layer in range(spec.layers - 2, -1, -1):
        counts = forward.layers[layer].spikes.sum(axis=0, dtype=np.int64)
        desires.insert(0, hidden_desire(spec, network.weights[layer + 1], desires[0], counts,
                                        kept[layer] if kept is not None else None,
                                        passes_back(spec, layer + 1, forward.layers[layer + 1])))
    updates = 0
    for layer, (weights, desire) in enumerate(zip(network.weights, desires, strict=True)):
        columns = np.flatnonzero(desire.sign)
        presynaptic = forward.layer_input(layer)
        rows = np.flatnonzero(presynaptic.any(axis=0))
        if not len(columns) or not len(rows):
            continue
        eligible = eligibility(spec, layer, forward.layers[layer])[:, columns]
        correlations = correlation(eligible, trace(spec, presynaptic[:, rows]))
        wanted = Desire(*(values[columns] for values in desire))
        block = np.ix_(rows, columns)
        words = rounding_words(rounding[layer], rows) if rounding is not None else None
        changed = weights[block] + weight_update(spec, correlations, wanted, rate_shift, words)
        weights[block] = np.clip(changed, spec.weight_min, spec.weight_max)
        updates += changed.size
    return LearnRecord(forward=forward, desires=tuple(desires), updates=updates)

"""Desire backpropagation: who should have fired more or less, and the weight changes that follow.

D. Gerlinghoff et al., arXiv 2211.05412, in two forms: the paper's (ternary desires, spike
eligibility) and the graded one (powers of two, membrane eligibility), which needs shifts, additions
and comparisons only. All desires of a sample are computed with the old weights; then all weights
change. What differs from the published rule is the number format and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.lif import LayerRecord
from lifstream.golden.network import ForwardRecord, Network
from lifstream.golden.rounding import round_shift, round_shift_random
from lifstream.golden.spec import DESIRE_EXPONENT_MIN, Eligibility, Magnitude, NetworkSpec
from lifstream.golden.trace import trace

__all__ = ["Desire", "DesireRule", "correlation", "eligibility", "hidden_desire", "output_desire",
           "output_neuron_desire", "passes_back", "weight_update"]

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


def eligibility(spec: NetworkSpec, layer: int, record: LayerRecord) -> NDArray[np.bool_]:
    """Steps at which a layer's synapses are eligible, bool (T, n); taken before the reset."""
    eligible: NDArray[np.bool_]
    if spec.eligibility is Eligibility.SPIKE:
        return record.spikes
    if layer == spec.layers - 1:
        return np.ones_like(record.spikes)
    eligible = record.membrane >= record.threshold >> 1
    return eligible


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


class DesireRule:
    """Desire backpropagation behind the seam of :class:`lifstream.golden.learning.LearningRule`.

    A layer is told its desires.
    """

    def teach(self, network: Network, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[Desire, ...]:
        spec = network.spec
        desire = output_desire(spec, forward.counts, label)
        if not desire.sign.any():
            return ()
        desires = [desire]
        for layer in range(spec.layers - 2, -1, -1):
            counts = forward.layers[layer].spikes.sum(axis=0, dtype=np.int64)
            desires.insert(0, hidden_desire(spec, network.weights[layer + 1], desires[0], counts,
                                            kept[layer] if kept is not None else None,
                                            passes_back(spec, layer + 1, forward.layers[layer + 1])))
        return tuple(desires)

    def visited(self, spec: NetworkSpec, layer: int, forward: ForwardRecord,
                message: Desire) -> tuple[IntArray, IntArray]:
        return np.flatnonzero(forward.layer_input(layer).any(axis=0)), np.flatnonzero(message.sign)

    def changes(self, network: Network, layer: int, forward: ForwardRecord, message: Desire, block: Any, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        spec = network.spec
        eligible = eligibility(spec, layer, forward.layers[layer])[:, block.columns]
        correlations = correlation(eligible, trace(spec, forward.layer_input(layer)[:, block.rows]))
        wanted = Desire(*(values[block.columns] for values in message))
        return weight_update(spec, correlations, wanted, rate_shift, words)

    def settle(self, network: Network, forward: ForwardRecord) -> None:
        """Nothing but weights changes."""

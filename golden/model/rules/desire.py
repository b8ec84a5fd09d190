"""Desire backpropagation: who should have fired more or less, and the weight changes that follow.

D. Gerlinghoff et al., arXiv 2211.05412, in two forms: the paper's (ternary desires, spike
eligibility) and the graded one (powers of two, membrane eligibility), which needs shifts, additions
and comparisons only. All desires of a sample are computed with the old weights; then all weights
change. What differs from the published rule is the number format and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import DESIRE_EXPONENT_MIN, DesireBackpropagation, Eligibility, Magnitude
from lifstream.golden.model.operations import round_shift, round_shift_random
from lifstream.golden.model.protocols import Block, ForwardRecord, IntArray, LayerRecord, LearntNetwork, Mask
from lifstream.golden.model.synapses import passed_back
from lifstream.golden.model.trace import trace

__all__ = ["Desire", "DesireModel", "correlation", "eligibility", "hidden_desire", "normal_weights",
           "output_desire", "output_neuron_desire", "passes_back", "weight_update"]


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


def _rule(at: PlacedLayer) -> DesireBackpropagation:
    assert isinstance(at.rule, DesireBackpropagation)
    return at.rule


def output_desire(at: PlacedLayer, counts: IntArray, label: int) -> Desire:
    """Desire of the last layer from its spike counts.

    The error is ``D - n`` for the label neuron and ``n`` for all others; a neuron has a desire when
    its error is at least ``output_threshold``. With graded magnitude the exponent is that of the
    largest power of two not above ``error / D``, at most 1.
    """
    return output_neuron_desire(at, counts, np.arange(at.n_out) == label)


def output_neuron_desire(at: PlacedLayer, counts: IntArray, is_label: NDArray[np.bool_]) -> Desire:
    """:func:`output_desire` element by element: any spike counts, int64 (n,), in either role, bool (n,)."""
    rule, desired_count = _rule(at), _rule(at).desired_count(at.steps)
    error = np.where(is_label, desired_count - counts, counts)
    wanted = error >= rule.output_threshold
    sign = np.where(wanted, np.where(is_label, 1, -1), 0)
    error = np.where(wanted, error, 0)
    exponent = np.zeros_like(sign)
    if rule.magnitude is Magnitude.GRADED:
        # 2**e <= error / D: D need not be a power of two, so e is found by comparison.
        candidates = np.arange(DESIRE_EXPONENT_MIN, 1)
        fits = (error[:, None] << -candidates) >= desired_count
        exponent = np.where(wanted & fits.any(axis=1), candidates[-1] - fits[:, ::-1].argmax(axis=1),
                            np.where(wanted, DESIRE_EXPONENT_MIN, 0))
    return Desire(sign=sign, exponent=exponent, error=error)


def hidden_desire(at: PlacedLayer, weights: NDArray[np.int32], successor: Desire,
                  counts: IntArray, kept: Mask, heard: Mask = None) -> Desire:
    """Desire of layer ``at``, which is not the last, from its successor's.

    ``D_j = sum_i w_ij * sgn_i * m_i`` over the synapses of neuron ``j``, with ``m_i`` the magnitude (graded) or the
    exact error (ternary); neuron ``j`` has a desire when ``|D_j|`` reaches the hidden threshold for its sign, it was
    kept, and, should it fire more, it fired less often than the rise limit.

    Parameters
    ----------
    weights
        int32: the successor's weights, of the shape its synapses declare, before any update.
    successor
        Desire of the next layer.
    counts
        int64 (n,): spike counts of this layer.
    kept
        bool (n,) dropout mask of this layer, or None.
    heard
        bool (n_next,): see :func:`passes_back`; None for all.
    """
    rule, fraction = _rule(at), at.successor.formats.weight_fraction
    wanted = np.flatnonzero(successor.sign if heard is None else successor.sign * heard)
    if rule.magnitude is Magnitude.GRADED:
        magnitude = 1 << (successor.exponent[wanted] - DESIRE_EXPONENT_MIN)
    else:
        magnitude = successor.error[wanted]
    sizes = np.zeros(len(successor.sign), dtype=np.int64)
    sizes[wanted] = successor.sign[wanted] * magnitude
    total = passed_back(at.successor.synapses, weights, sizes)[:at.n_out]   # what is added is told nothing
    fall, rise = rule.hidden_thresholds_raw(fraction=fraction, steps=at.steps)
    rises = total >= rise
    if rule.rise_limit is not None:
        rises &= counts < rule.rise_limit
    has_desire = rises | (total <= -fall)
    if kept is not None:
        has_desire &= kept
    sign = np.where(has_desire, np.sign(total), 0)
    exponent = np.zeros_like(sign)
    if rule.magnitude is Magnitude.GRADED:
        unit = DESIRE_EXPONENT_MIN - fraction
        exponent = np.where(has_desire, _exponent(np.abs(total), unit), 0)
    return Desire(sign=sign, exponent=exponent, error=_count_error(sign, counts, rule.desired_count(at.steps)))


def eligibility(at: PlacedLayer, record: LayerRecord) -> NDArray[np.bool_]:
    """Steps at which a layer's synapses are eligible, bool (T, n); taken before the reset."""
    eligible: NDArray[np.bool_]
    if _rule(at).eligibility is Eligibility.SPIKE:
        return record.spikes
    if at.last:
        return np.ones_like(record.spikes)
    eligible = record.membrane >= record.threshold >> 1
    return eligible


def passes_back(at: PlacedLayer, record: LayerRecord) -> Mask:
    """Neurons of a layer whose desires the layer before takes into account, bool (n,); None for all.

    With membrane eligibility a neuron that was at no step eligible passes nothing back: no spike more or
    less would have moved it, and in a sparse second hidden layer such neurons are the many. (It is the
    surrogate derivative of the neuron, taken over the sample.) The paper's form has no such gate.
    """
    if _rule(at).eligibility is Eligibility.SPIKE:
        return None
    ever: NDArray[np.bool_] = np.logical_or.reduce(eligibility(at, record), axis=0)
    return ever


def correlation(eligible: NDArray[np.bool_], traces: IntArray) -> IntArray:
    """``C_ij = sum_t e_i[t] * x_j[t]``: bool (T, n_out), int64 (T, n_in) to int64 (n_in, n_out)."""
    return traces.T @ eligible.astype(np.int64)


def weight_update(at: PlacedLayer, correlations: IntArray, desire: Desire, rate_shift: int,
                  words: IntArray | None = None) -> IntArray:
    """Signed weight change in LSBs: ``sgn_i * round(C_ij / 2**r_i)``, one rounding.

    ``r_i = X + rate_shift + rate_offset - log2(g_i) - F``. int64 (n_in, n_out) in and out. With stochastic rounding
    ``words``, int64 of the same shape, holds random words.
    """
    shift = at.update_shift(rate_shift) - desire.exponent
    if words is None:
        rounded: IntArray = round_shift(correlations, shift)
    else:
        rounded = round_shift_random(correlations, shift, words)
    return desire.sign * rounded


def normal_weights(at: PlacedLayer, random: np.random.RandomState) -> NDArray[np.float64]:
    """Weights before learning as real numbers: normal, standard deviation sqrt(2 / fan-in)."""
    drawn: NDArray[np.float64] = random.standard_normal(at.synapses.weight_shape) * np.sqrt(2 / at.synapses.fan_in)
    return drawn


class DesireModel:
    """The rule :class:`lifstream.golden.contract.rules.DesireBackpropagation`. A layer is told its desires."""

    message = Desire

    def initial_weights(self, at: PlacedLayer, random: np.random.RandomState) -> NDArray[np.int32]:
        formats = at.formats
        rounded = np.floor(normal_weights(at, random) * formats.one + 0.5)
        return np.clip(rounded, formats.weight_min, formats.weight_max).astype(np.int32)

    def teach(self, network: LearntNetwork, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[Desire, ...]:
        spec = network.spec
        desire = output_desire(spec.placed[-1], forward.counts, label)
        if not desire.sign.any():
            return ()
        desires = [desire]
        for at in reversed(spec.placed[:-1]):
            counts = forward.layers[at.index].spikes.sum(axis=0, dtype=np.int64)
            desires.insert(0, hidden_desire(at, network.weights[at.index + 1], desires[0], counts,
                                            kept[at.index] if kept is not None else None,
                                            passes_back(at.successor, forward.layers[at.index + 1])))
        return tuple(desires)

    def visited(self, at: PlacedLayer, forward: ForwardRecord, message: Desire) -> tuple[IntArray, IntArray]:
        return np.flatnonzero(forward.layer_input(at.index).any(axis=0)), np.flatnonzero(message.sign)

    def changes(self, network: LearntNetwork, at: PlacedLayer, forward: ForwardRecord, message: Desire, block: Block, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        eligible = eligibility(at, forward.layers[at.index])[:, block.postsynaptic]
        correlations = correlation(eligible, trace(at.rule, forward.layer_input(at.index)[:, block.presynaptic]))
        wanted = Desire(*(values[block.postsynaptic] for values in message))
        return weight_update(at, correlations, wanted, rate_shift, words)

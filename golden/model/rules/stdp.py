"""Spike-timing-dependent plasticity: pair-based updates, votes of labelled neurons.

P. U. Diehl & M. Cook, "Unsupervised learning of digit recognition using spike-timing-dependent plasticity",
2015 (presynaptic target, labelling); M. Mozafari et al., "First-spike-based visual categorization using
reward-modulated STDP", 2018 (reward); arXiv 2207.02727 (one deferred update per sample). Normalisation by targets, and
all number formats are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import Bounds, Modulation, PairStdp
from lifstream.golden.model.operations import round_shift, round_shift_random
from lifstream.golden.model.protocols import Block, ForwardRecord, IntArray, LearntNetwork, Mask
from lifstream.golden.model.trace import trace

__all__ = ["StdpModel", "pair_sums", "room_deficit", "weight_change"]


def _rule(at: PlacedLayer) -> PairStdp:
    assert isinstance(at.rule, PairStdp)
    return at.rule


def pair_sums(rule: PairStdp, presynaptic: NDArray[np.bool_], postsynaptic: NDArray[np.bool_],
              target: NDArray[np.integer] | int) -> IntArray:
    """Sums over all pairs of spikes, int64 (n_in, n_out), in units of 2**-(X + gain_shift).

    ``sum_t s_i[t] * (x_j[t] - target_i)``, less ``sum_t s_j[t] * y_i[t]`` where the contract has that term.
    Spike trains are bool (T, n_in) and (T, n_out); ``target`` is (n_out,).
    """
    after = postsynaptic.astype(np.int64)
    sums: IntArray = (trace(rule, presynaptic).T @ after - after.sum(axis=0) * target) << rule.gain_shift
    if rule.depression_shift is not None:
        sums = sums - presynaptic.T.astype(np.int64) @ trace(rule, postsynaptic)
    return sums


def room_deficit(fraction: int, weights: NDArray[np.integer], upwards: NDArray[np.bool_]) -> IntArray:
    """How many times the room left is halved: leading ones of a weight on its way up, leading zeros on its way down.

    Of F bits each, ``fraction``; ``2**-deficit`` is the power of two next to the room as a fraction of one.
    """
    room = np.where(upwards, (1 << fraction) - 1 - weights, weights)
    return fraction - np.frexp(np.maximum(room, 0).astype(np.float64))[1].astype(np.int64)


def weight_change(at: PlacedLayer, sums: IntArray, weights: NDArray[np.integer], rate_shift: int,
                  words: IntArray | None = None, *, punished: bool = False) -> IntArray:
    """Weight changes in LSBs: sums scaled by 2**-rate_shift and, with soft bounds, the room left; one rounding.

    ``sums`` and ``weights`` are (n_in, n_out); ``words`` of the same shape random words, or None to round half up.
    After a wrong prediction (``punished``) changes are smaller by 2**-punishment_shift, at any rate shift allowed.
    """
    rule = _rule(at)
    further = rule.gain_shift + (rule.punishment_shift if punished else 0)
    shift = np.full(sums.shape, at.update_shift(rate_shift) + further, dtype=np.int64)
    if rule.bounds is Bounds.SOFT:
        shift = shift + room_deficit(at.formats.weight_fraction, weights, sums >= 0)
    size = np.abs(sums)
    rounded: IntArray = round_shift(size, shift) if words is None else round_shift_random(size, shift, words)
    return np.where(sums < 0, -rounded, rounded)


class StdpModel:
    """The rule :class:`lifstream.golden.contract.rules.PairStdp`.

    A layer is told +1 (learn) or -1 (unlearn); a sample in which no neuron fired teaches nothing.
    """

    message = int

    def initial_weights(self, at: PlacedLayer, random: np.random.RandomState) -> NDArray[np.int32]:
        """Uniform from 0 to a quarter of one (exclusive)."""
        drawn: NDArray[np.int32] = random.randint(
            0, max(1, at.formats.one // 4), at.synapses.weight_shape).astype(np.int32)
        return drawn

    def teach(self, network: LearntNetwork, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[int, ...]:
        if not any(record.spikes.any() for record in forward.layers):
            return ()
        wrong = int(forward.prediction) != label
        return tuple(-1 if wrong and _rule(at).modulation is Modulation.REWARD else 1 for at in network.spec.placed)

    def visited(self, at: PlacedLayer, forward: ForwardRecord, message: int) -> tuple[IntArray, IntArray]:
        return np.arange(at.n_in), np.flatnonzero(forward.layers[at.index].spikes.any(axis=0))

    def changes(self, network: LearntNetwork, at: PlacedLayer, forward: ForwardRecord, message: int, block: Block, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        rule, weights = _rule(at), network.weights[at.index]
        heavy = weights.sum(axis=0, dtype=np.int64)[block.postsynaptic] > rule.weight_sum
        target = rule.presynaptic_target << (heavy & (rule.weight_sum > 0)).astype(np.int64)
        spikes = forward.layers[at.index].spikes[:, block.postsynaptic]
        sums = pair_sums(rule, forward.layer_input(at.index), spikes, target)
        return weight_change(at, message * sums, weights[np.ix_(*block)], rate_shift, words, punished=message < 0)

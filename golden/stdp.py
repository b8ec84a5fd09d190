"""Spike-timing-dependent plasticity: competing neurons, pair-based updates, votes of labelled neurons.

P. U. Diehl & M. Cook, "Unsupervised learning of digit recognition using spike-timing-dependent plasticity",
2015 (adaptive thresholds, presynaptic target, labelling); M. Mozafari et al., "First-spike-based visual
categorization using reward-modulated STDP", 2018 (reward); arXiv 2207.02727 (one deferred update per sample).
Competition, normalisation by thresholds and targets, and all number formats are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.lif import LayerRecord, integrate, leak
from lifstream.golden.rounding import round_shift, round_shift_random
from lifstream.golden.spec import Bounds, InputError, Modulation, NetworkSpec, StdpSpec
from lifstream.golden.trace import trace

if TYPE_CHECKING:  # the network runs this module's competition
    from lifstream.golden.network import ForwardRecord, Network

__all__ = ["StdpRule", "assign_votes", "compete", "initial_plastic_weights", "initial_votes", "neuron_labels",
           "pair_sums", "room_deficit", "total_thresholds", "weight_change"]

IntArray = NDArray[np.int64]

VOTE_MAX = 255
"""Largest vote of a spike, where the weight format reaches that far."""


def total_thresholds(stdp: StdpSpec, adaptive: NDArray[np.integer], weights: NDArray[np.integer]) -> IntArray:
    """Firing thresholds, int64 (n,): base, adaptive part, and what the weights, (n_in, n), sum to above the wanted."""
    thresholds: IntArray = stdp.threshold_base + adaptive.astype(np.int64)
    if stdp.weight_sum:
        thresholds = thresholds + weights.sum(axis=0, dtype=np.int64) - stdp.weight_sum
    return thresholds


def compete(current: IntArray, *, thresholds: IntArray, rise: int, leak_shift: int, bounds: tuple[int, int],
            inhibition: int) -> LayerRecord:
    """Run a layer of competing neurons over the ``T`` steps of a sample, from a membrane potential of zero.

    In each step the neuron highest above its threshold fires, the lowest index on ties, if any has reached it.
    Its threshold is subtracted from it (soft reset) and then rises; all others are inhibited.

    Parameters
    ----------
    current
        int64 (..., T, n), synaptic currents.
    thresholds
        int64 (n,), weight LSBs, at the start of the sample. Below 1 they count as 1: nothing fires without input.
    rise
        What a spike adds to its neuron's threshold; 0 in inference, and then samples may be batched.
    leak_shift
        ``k`` of :func:`lifstream.golden.lif.leak`.
    bounds
        Smallest and largest membrane potential after integration (inclusive).
    inhibition
        What the other neurons' membrane potentials lose, weight LSBs.
    """
    spikes = np.zeros(current.shape, dtype=bool)
    membrane = np.empty(current.shape, dtype=np.int64)
    state = np.zeros_like(current[..., 0, :])
    thresholds = np.broadcast_to(thresholds, state.shape)
    for step in range(current.shape[-2]):
        potential = integrate(leak(state, leak_shift), current[..., step, :], bounds)
        membrane[..., step, :] = potential
        above = potential - np.maximum(1, thresholds)
        fired = (np.arange(above.shape[-1]) == above.argmax(axis=-1)[..., None]) & (above >= 0)
        spikes[..., step, :] = fired
        any_fired = fired.any(axis=-1, keepdims=True)
        state = np.where(fired, above, potential - inhibition * any_fired)
        thresholds = thresholds + rise * fired
    return LayerRecord(spikes=spikes, membrane=membrane, threshold=thresholds)


def pair_sums(spec: NetworkSpec, presynaptic: NDArray[np.bool_], postsynaptic: NDArray[np.bool_],
              target: NDArray[np.integer] | int) -> IntArray:
    """Sums over all pairs of spikes, int64 (n_in, n_out), in units of 2**-(X + gain_shift).

    ``sum_t s_i[t] * (x_j[t] - target_i)``, less ``sum_t s_j[t] * y_i[t]`` where the contract has that term.
    Spike trains are bool (T, n_in) and (T, n_out); ``target`` is (n_out,).
    """
    stdp = spec.stdp
    assert stdp is not None
    after = postsynaptic.astype(np.int64)
    sums: IntArray = (trace(spec, presynaptic).T @ after - after.sum(axis=0) * target) << stdp.gain_shift
    if stdp.depression_shift is not None:
        sums = sums - presynaptic.T.astype(np.int64) @ trace(spec, postsynaptic)
    return sums


def room_deficit(spec: NetworkSpec, weights: NDArray[np.integer], upwards: NDArray[np.bool_]) -> IntArray:
    """How many times the room left is halved: leading ones of a weight on its way up, leading zeros on its way down.

    Of F bits each; ``2**-deficit`` is the power of two next to the room as a fraction of one.
    """
    room = np.where(upwards, spec.one - 1 - weights, weights)
    return spec.weight_fraction - np.frexp(np.maximum(room, 0).astype(np.float64))[1].astype(np.int64)


def weight_change(spec: NetworkSpec, sums: IntArray, weights: NDArray[np.integer], rate_shift: int,
                  words: IntArray | None = None, *, punished: bool = False) -> IntArray:
    """Weight changes in LSBs: sums scaled by 2**-rate_shift and, with soft bounds, the room left; one rounding.

    ``sums`` and ``weights`` are (n_in, n_out); ``words``, (n_in,), are random words, or None to round half up.
    After a wrong prediction (``punished``) changes are smaller by 2**-punishment_shift, at any rate shift allowed.
    """
    stdp = spec.stdp
    assert stdp is not None
    further = stdp.gain_shift + (stdp.punishment_shift if punished else 0)
    shift = np.full(sums.shape, spec.update_shift(rate_shift) + further, dtype=np.int64)
    if stdp.bounds is Bounds.SOFT:
        shift = shift + room_deficit(spec, weights, sums >= 0)
    size = np.abs(sums)
    rounded = round_shift(size, shift) if words is None else round_shift_random(size, shift, words[:, None])
    return np.where(sums < 0, -rounded, rounded)


class StdpRule:
    """Spike-timing-dependent plasticity behind the seam of :class:`lifstream.golden.learning.LearningRule`.

    A layer is told +1 (learn) or -1 (unlearn); a sample in which no neuron fired teaches nothing.
    """

    def teach(self, network: Network, forward: ForwardRecord, label: int, kept: object) -> tuple[int, ...]:
        spec = network.spec
        assert spec.stdp is not None
        if not any(record.spikes.any() for record in forward.layers):
            return ()
        punished = spec.stdp.modulation is Modulation.REWARD and int(forward.prediction) != label
        return (-1 if punished else 1,) * spec.lif_layers

    def visited(self, spec: NetworkSpec, layer: int, forward: ForwardRecord, message: int) -> tuple[IntArray, IntArray]:
        return np.arange(spec.sizes[layer]), np.flatnonzero(forward.layers[layer].spikes.any(axis=0))

    def changes(self, network: Network, layer: int, forward: ForwardRecord, message: int, block: Any, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        spec, weights = network.spec, network.weights[layer]
        stdp = spec.stdp
        assert stdp is not None
        heavy = weights.sum(axis=0, dtype=np.int64)[block.columns] > stdp.weight_sum
        target = stdp.presynaptic_target << (heavy & (stdp.weight_sum > 0)).astype(np.int64)
        sums = pair_sums(spec, forward.layer_input(layer), forward.layers[layer].spikes[:, block.columns], target)
        return weight_change(spec, message * sums, weights[np.ix_(*block)], rate_shift, words, punished=message < 0)

    def settle(self, network: Network, forward: ForwardRecord) -> None:
        """Thresholds have risen with each spike; now they leak."""
        stdp = network.spec.stdp
        assert stdp is not None
        for adaptive, record in zip(network.thresholds, forward.layers, strict=True):
            adaptive += (stdp.threshold_rise * record.spikes.sum(axis=0)).astype(adaptive.dtype)
            adaptive -= adaptive >> stdp.threshold_leak_shift


def initial_plastic_weights(spec: NetworkSpec, seed: int) -> list[NDArray[np.int32]]:
    """Weights of the LIF layers, uniform from 0 to a quarter of one (exclusive), int32 (n_in, n_out)."""
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 0])))
    return [random.randint(0, max(1, spec.one // 4), (n_in, n_out)).astype(np.int32)
            for n_in, n_out in zip(spec.sizes[:-2], spec.sizes[1:-1], strict=True)]


def initial_votes(spec: NetworkSpec) -> NDArray[np.int32]:
    """Votes before learning, int32 (n, classes): populations of equal size with a reward, otherwise none yet."""
    assert spec.stdp is not None
    votes = np.zeros(spec.sizes[-2:], dtype=np.int32)
    if spec.stdp.modulation is Modulation.REWARD:
        neurons = np.arange(spec.responding)
        votes[neurons, neurons * spec.classes // spec.responding] = 1
    return votes


def assign_votes(spec: NetworkSpec, responses: NDArray[np.integer], labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Votes from responses to labelled images: a neuron's votes are shared like its mean response per class.

    Diehl & Cook 2015 give a neuron's whole vote to its strongest class (:func:`neuron_labels`); shared votes
    say how sure it is. Integer arithmetic throughout.

    Parameters
    ----------
    responses
        Spike counts, (images, n).
    labels
        uint8 (images,).

    Returns
    -------
    int32 (n, classes), 0..255 or the largest weight.

    Raises
    ------
    InputError
        There are no images.
    """
    if not len(labels):
        raise InputError("labels: neurons need at least one labelled image")
    of_class = labels[:, None] == np.arange(spec.classes)
    images = np.maximum(1, of_class.sum(axis=0))
    means = ((responses.astype(np.int64).T @ of_class) << 16) // images
    total = np.maximum(1, means.sum(axis=1, keepdims=True))
    largest = min(VOTE_MAX, spec.weight_max)
    votes: NDArray[np.int32] = ((2 * largest * means + total) // (2 * total)).astype(np.int32)
    return votes


def neuron_labels(votes: NDArray[np.integer]) -> IntArray:
    """The class each neuron votes for most, lowest on ties, int64 (n,); -1 for one that never voted."""
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def class_totals(spikes: NDArray[np.bool_], votes: NDArray[np.integer]) -> IntArray:
    """Votes per class over a sample, int64 (..., classes), from spikes, bool (..., T, n)."""
    totals: IntArray = spikes.sum(axis=-2, dtype=np.int64) @ votes.astype(np.int64)
    return totals


def adaptive_thresholds(spec: NetworkSpec, values: Sequence[NDArray[np.integer]] | None) -> list[NDArray[np.int64]]:
    """Adaptive thresholds of a network's LIF layers, copied and checked; zero where none are given.

    Raises
    ------
    InputError
        A shape does not fit, or a threshold is out of bounds.
    """
    if spec.stdp is None:
        if values:
            raise InputError("thresholds: given for a network whose thresholds do not adapt")
        return []
    sizes = spec.sizes[1:-1]
    if values is None:
        return [np.zeros(size, dtype=np.int64) for size in sizes]
    if len(values) != len(sizes):
        raise InputError(f"thresholds: {len(values)} arrays for {len(sizes)} layers")
    for layer, (array, size) in enumerate(zip(values, sizes, strict=True)):
        if array.shape != (size,):
            raise InputError(f"thresholds of layer {layer}: shape {array.shape}, expected {(size,)}")
        largest = spec.adaptive_threshold_max(layer)
        if array.min() < 0 or array.max() > largest:
            raise InputError(f"thresholds of layer {layer}: outside 0..{largest}")
    return [np.array(array, dtype=np.int64) for array in values]

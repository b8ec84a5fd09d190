"""Readouts: what the last layer's neurons do becomes a number each, and those a score per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.readout import Potentials, Statistic, Votes
from lifstream.golden.model.protocols import IntArray, LayerRecord

__all__ = ["NO_PREDICTION", "PotentialReadout", "SpikeCountReadout", "VoteReadout", "assign_votes", "neuron_labels",
           "unique_maximum"]

NO_PREDICTION = -1
"""The answer when several classes share the largest score."""

VOTE_MAX = 255
"""Largest vote of a spike, where the format of votes reaches that far."""


def unique_maximum(scores: NDArray[np.number]) -> IntArray:
    """Index of the unique largest score along the last axis, int64, or ``NO_PREDICTION`` on a tie.

    A tie counts as wrong, as in the paper.
    """
    largest = scores.max(axis=-1, keepdims=True)
    unique = (scores == largest).sum(axis=-1) == 1
    return np.where(unique, scores.argmax(axis=-1), NO_PREDICTION)


class SpikeCountReadout:
    """The model of :class:`lifstream.golden.contract.readout.SpikeCounts`."""

    def responses(self, spec: NetworkSpec, last: LayerRecord) -> IntArray:
        return last.spike_counts()

    def scores(self, responses: IntArray, state: Sequence[NDArray[Any]]) -> IntArray:
        return responses

    def initial(self, spec: NetworkSpec) -> list[NDArray[np.int32]]:
        return []


class PotentialReadout(SpikeCountReadout):
    """The model of :class:`lifstream.golden.contract.readout.Potentials`."""

    def responses(self, spec: NetworkSpec, last: LayerRecord) -> IntArray:
        assert isinstance(spec.readout, Potentials)
        potentials: IntArray
        match spec.readout.statistic:
            case Statistic.MAXIMUM:
                potentials = last.membrane.max(axis=-2)
            case Statistic.MEAN:
                potentials = last.membrane.sum(axis=-2)
            case Statistic.LAST:
                potentials = last.membrane[..., -1, :]
        return potentials


class VoteReadout:
    """The model of :class:`lifstream.golden.contract.readout.Votes`."""

    def responses(self, spec: NetworkSpec, last: LayerRecord) -> IntArray:
        return last.spike_counts()

    def scores(self, responses: IntArray, state: Sequence[NDArray[Any]]) -> IntArray:
        (votes,) = state
        totals: IntArray = responses @ votes.astype(np.int64)
        return totals

    def initial(self, spec: NetworkSpec) -> list[NDArray[np.int32]]:
        """Votes, (n, classes): none yet where neurons get their labels later, otherwise populations of equal size."""
        votes = np.zeros((spec.responding, spec.classes), dtype=np.int32)
        if not spec.layers[-1].rule.labelled_afterwards:
            neurons = np.arange(spec.responding)
            votes[neurons, neurons * spec.classes // spec.responding] = 1
        return [votes]


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
    assert isinstance(spec.readout, Votes)
    largest = min(VOTE_MAX, spec.readout.vote_range[1])
    votes: NDArray[np.int32] = ((2 * largest * means + total) // (2 * total)).astype(np.int32)
    return votes


def neuron_labels(votes: NDArray[np.integer]) -> IntArray:
    """The class each neuron votes for most, lowest on ties, int64 (n,); -1 for one that never voted."""
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)

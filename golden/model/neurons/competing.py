"""Competing neurons with adaptive thresholds (P. U. Diehl & M. Cook, 2015; competition and formats are our own)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.neurons import CompetingLif
from lifstream.golden.model.neurons.independent import Potential
from lifstream.golden.model.operations import at_least, clamp, leak
from lifstream.golden.model.protocols import IntArray, LayerRecord, Mask

__all__ = ["CompetingNeurons", "CompetingParameters", "above_threshold", "compete", "integrate", "parameters",
           "total_thresholds"]


class CompetingParameters(NamedTuple):
    """A layer's constants in a phase."""

    leak_shift: int
    low: Potential
    """Smallest membrane potential."""
    high: Potential
    """Largest membrane potential."""
    threshold_base: Potential
    rise: Potential
    """What a spike adds to its neuron's threshold; 0 in inference."""
    threshold_leak_shift: int
    inhibition: Potential


def parameters(at: PlacedLayer, phase: Phase) -> CompetingParameters:
    """Of a layer of :class:`lifstream.golden.contract.neurons.CompetingLif`."""
    neuron = at.neuron
    assert isinstance(neuron, CompetingLif)
    low, high = at.membrane_range
    return CompetingParameters(
        leak_shift=neuron.leak_shift, low=Potential(low), high=Potential(high),
        threshold_base=Potential(neuron.threshold_base),
        rise=Potential(neuron.threshold_rise if phase is Phase.TRAINING else 0),
        threshold_leak_shift=neuron.threshold_leak_shift, inhibition=Potential(neuron.inhibition))


def integrate(constants: CompetingParameters, potential: Any, current: Any) -> Any:
    """Membrane potential after a step's current."""
    return clamp(leak(potential, constants.leak_shift) + current, constants.low, constants.high)


def above_threshold(potential: Any, threshold: Any) -> Any:
    """How far a potential is above its threshold; below 1 that counts as 1: nothing fires without input."""
    return potential - at_least(threshold, 1)


def total_thresholds(neuron: CompetingLif, adaptive: NDArray[np.integer], weights: NDArray[np.integer]) -> IntArray:
    """Firing thresholds, int64 (n,): base, adaptive part, and what the weights, (n_in, n), sum to above the wanted."""
    thresholds: IntArray = neuron.threshold_base + adaptive.astype(np.int64)
    if neuron.weight_sum:
        thresholds = thresholds + weights.sum(axis=0, dtype=np.int64) - neuron.weight_sum
    return thresholds


def compete(constants: CompetingParameters, current: IntArray, thresholds: IntArray) -> LayerRecord:
    """Run a layer of competing neurons over the ``T`` steps of a sample, from a membrane potential of zero.

    In each step the neuron highest above its threshold fires, the lowest index on ties, if any has reached it.
    Its threshold is subtracted from it (soft reset) and then rises; all others are inhibited. Where thresholds do not
    rise, samples may be batched.

    Parameters
    ----------
    constants
        Of the layer.
    current
        int64 (..., T, n), synaptic currents.
    thresholds
        int64 (n,), weight LSBs, at the start of the sample.
    """
    spikes = np.zeros(current.shape, dtype=bool)
    membrane = np.empty(current.shape, dtype=np.int64)
    state = np.zeros_like(current[..., 0, :])
    thresholds = np.broadcast_to(thresholds, state.shape)
    for step in range(current.shape[-2]):
        potential = integrate(constants, state, current[..., step, :])
        membrane[..., step, :] = potential
        above = above_threshold(potential, thresholds)
        fired = (np.arange(above.shape[-1]) == above.argmax(axis=-1)[..., None]) & (above >= 0)
        spikes[..., step, :] = fired
        any_fired = fired.any(axis=-1, keepdims=True)
        state = np.where(fired, above, potential - constants.inhibition * any_fired)
        thresholds = thresholds + constants.rise * fired
    return LayerRecord(spikes=spikes, membrane=membrane, threshold=thresholds)


class CompetingNeurons:
    """The model of :class:`lifstream.golden.contract.neurons.CompetingLif`."""

    parameters = staticmethod(parameters)

    def run(self, at: PlacedLayer, current: IntArray, *, phase: Phase, kept: Mask,
            state: Mapping[str, NDArray[Any]]) -> LayerRecord:
        return compete(parameters(at, phase), current, self.thresholds(at, state))

    def thresholds(self, at: PlacedLayer, state: Mapping[str, NDArray[Any]]) -> IntArray:
        assert isinstance(at.neuron, CompetingLif)
        return total_thresholds(at.neuron, state["thresholds"], state["weights"])

    def settle(self, at: PlacedLayer, record: LayerRecord, state: Mapping[str, NDArray[Any]]) -> None:
        """Thresholds have risen with each spike; now they leak."""
        neuron, adaptive = at.neuron, state["thresholds"]
        assert isinstance(neuron, CompetingLif)
        adaptive += (neuron.threshold_rise * record.spikes.sum(axis=0)).astype(adaptive.dtype)
        adaptive -= adaptive >> neuron.threshold_leak_shift

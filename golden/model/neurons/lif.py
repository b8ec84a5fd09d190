"""The leaky integrate-and-fire neuron: leak, integrate, clamp, fire, reset (design section 3)."""

from __future__ import annotations

from typing import Any, NamedTuple

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.neurons import Lif
from lifstream.golden.model.neurons.independent import IndependentNeurons, Potential
from lifstream.golden.model.operations import clamp, leak

__all__ = ["LIF", "LifParameters", "parameters", "step"]


class LifParameters(NamedTuple):
    """A layer's constants in a phase."""

    leak_shift: int
    low: Potential
    """Smallest membrane potential."""
    high: Potential
    """Largest membrane potential."""
    threshold: Potential


def parameters(at: PlacedLayer, phase: Phase) -> LifParameters:
    """Of a layer of :class:`lifstream.golden.contract.neurons.Lif`."""
    assert isinstance(at.neuron, Lif)
    low, high = at.membrane_range
    return LifParameters(leak_shift=at.neuron.leak_shift, low=Potential(low), high=Potential(high),
                         threshold=Potential(at.neuron.threshold_in(phase)))


def step(constants: LifParameters, state: tuple[Any, ...], current: Any, kept: Any) -> tuple[Any, Any, tuple[Any]]:
    """Kept neurons at or above the threshold fire, and lose it."""
    potential = clamp(leak(state[0], constants.leak_shift) + current, constants.low, constants.high)
    fired = (potential >= constants.threshold) & kept
    return potential, fired, (potential - constants.threshold * fired,)


LIF = IndependentNeurons(parameters, step)

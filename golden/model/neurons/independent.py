"""Neurons that fire by themselves: a step of one is a step of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.state import Lifetime
from lifstream.golden.model.protocols import IntArray, LayerRecord, Mask
from lifstream.golden.model.synapses import recurrent_weights, synaptic_current

__all__ = ["IndependentNeurons", "Own", "Potential", "Step"]

Potential = NewType("Potential", int)
"""A constant in the units of membrane potentials, which the float model counts in real numbers."""

Step = Callable[[Any, tuple[Any, ...], Any, Any], tuple[Any, Any, tuple[Any, ...]]]
"""``step(parameters, state, current, kept)`` to membrane potential before the reset, spikes, and the state after.

Written from :mod:`lifstream.golden.model.operations`, so that it works on the arrays of all neurons and, compiled, on
the numbers of one. ``state`` holds what the neuron declares for a sample, in this order.
"""

Own = Callable[[PlacedLayer, Mapping[str, NDArray[Any]]], dict[str, IntArray]]
"""Those of the parameters that neurons have for themselves, by name, int64 (n,), from the layer's learnt arrays."""


def _none(at: PlacedLayer, state: Mapping[str, NDArray[Any]]) -> dict[str, IntArray]:  # noqa: ARG001
    return {}


@dataclass(frozen=True)
class IndependentNeurons:
    """A :class:`lifstream.golden.model.protocols.NeuronModel` made of one step.

    Parameters
    ----------
    parameters
        The named tuple of a layer's constants in a phase; those that are potentials are annotated so.
    step
        What the neurons do in a step.
    own
        Parameters of which each neuron has its own, in place of the layer's; in a step they are arrays, or, compiled,
        the numbers of one neuron.
    """

    parameters: Callable[[PlacedLayer, Phase], Any]
    step: Step
    own: Own = _none

    def run(self, at: PlacedLayer, current: IntArray, *, phase: Phase, kept: Mask,
            state: Mapping[str, NDArray[Any]]) -> LayerRecord:
        constants = self.parameters(at, phase)._replace(**self.own(at, state))
        spikes = np.empty(current.shape, dtype=bool)
        membrane = np.empty(current.shape, dtype=np.int64)
        everyone = np.bool_(True) if kept is None else kept
        now: tuple[IntArray, ...] = tuple(np.full_like(current[..., 0, :], array.reset) for array in at.state
                                          if array.lifetime is Lifetime.SAMPLE)
        inner = recurrent_weights(at.synapses, state["weights"]) if at.synapses.recurrent else None
        for step in range(current.shape[-2]):
            added = current[..., step, :]
            if inner is not None and step > 0:
                added = added + synaptic_current(spikes[..., step - 1, :], inner)
            membrane[..., step, :], spikes[..., step, :], now = self.step(constants, now, added, everyone)
        return LayerRecord(spikes=spikes, membrane=membrane,
                           threshold=state.get("thresholds", at.neuron.threshold_in(phase)))

    def thresholds(self, at: PlacedLayer, state: Mapping[str, NDArray[Any]]) -> IntArray:
        same = np.full(at.n_out, at.neuron.threshold_in(Phase.INFERENCE), dtype=np.int64)
        return state.get("thresholds", same)

    def settle(self, at: PlacedLayer, record: LayerRecord, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing changes but weights."""

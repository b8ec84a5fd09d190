"""Networks in real numbers, layer by layer of the structure that a contract can have: what an import makes of a graph,
and what its integers are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.neurons import Comparison, Reset
from lifstream.golden.contract.readout import Statistic
from lifstream.golden.contract.synapses import Map, Synapses
from lifstream.golden.model.synapses import current_by_position, presynaptic_spikes, recurrent_weights

__all__ = ["RealLayer", "RealNetwork", "RealParameter", "RealRecord", "responses", "run"]

RealParameter = float | NDArray[np.float64]
"""Of all neurons of a layer, or of each, (n,)."""


@dataclass(frozen=True, kw_only=True)
class RealLayer:
    """A layer in real numbers, potentials in units of its threshold, which is 1 unless neurons have their own.

    What neurons have of their own is float64, (n,).

    Parameters
    ----------
    name
        Of the node whose neurons these are.
    synapses
        Of the shape of a contract's.
    weights
        float64, of the shape that the synapses declare.
    potential_decay, current_decay
        What is left of membrane potential and synaptic current a step later, 0..1; no synaptic current without the
        latter; of all neurons or of each.
    threshold
        1, or of each.
    comparison, reset, reset_value
        As in :class:`lifstream.golden.contract.neurons.CubaLif`. Potentials of neurons that never fire are in the
        units of the graph.
    """

    name: str
    synapses: Synapses
    weights: NDArray[np.float64]
    potential_decay: RealParameter
    current_decay: RealParameter | None = None
    threshold: RealParameter = 1.0
    comparison: Comparison = Comparison.ABOVE
    reset: Reset = Reset.VALUE
    reset_value: RealParameter = 0.0

    def __post_init__(self) -> None:
        if self.weights.shape != self.synapses.weight_shape:
            raise InputError(f"{self.name}: weights {self.weights.shape}, expected {self.synapses.weight_shape}")
        if not np.isfinite(self.weights).all():
            raise InputError(f"node {self.name}: a weight, in units of the threshold, is no finite number")


@dataclass(frozen=True, kw_only=True)
class RealNetwork:
    """A chain of layers.

    Parameters
    ----------
    map
        The neurons that events come from.
    layers
        From the input on.
    statistic
        What is read of the last layer's potentials; None: its spikes are counted.
    notes
        What was assumed on the way here, a sentence each.
    """

    map: Map
    layers: tuple[RealLayer, ...]
    statistic: Statistic | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class RealRecord:
    """What a layer did; arrays are (count, T, n)."""

    spikes: NDArray[np.bool_]
    membrane: NDArray[np.float64]
    """Before the reset."""


def run_layer(layer: RealLayer, before: NDArray[np.bool_]) -> RealRecord:
    """One layer over samples, given the spikes of the layer before, bool (count, T, n)."""
    synapses = layer.synapses
    silent = np.zeros((*before.shape[:-1], synapses.n_out), dtype=bool)
    current = current_by_position(synapses, presynaptic_spikes(synapses, before, silent), layer.weights)
    inner = recurrent_weights(synapses, layer.weights)
    spikes, membrane = np.zeros(current.shape, dtype=bool), np.zeros(current.shape)
    potential = np.zeros_like(current[:, 0])
    synaptic = np.zeros_like(potential)
    for step in range(current.shape[1]):
        added = current[:, step]
        if inner is not None and step:
            added = added + spikes[:, step - 1].astype(np.float64) @ inner
        synaptic = added if layer.current_decay is None else layer.current_decay * synaptic + added
        potential = layer.potential_decay * potential + synaptic
        threshold = layer.threshold
        fired = _fired(potential, threshold, layer.comparison)
        membrane[:, step], spikes[:, step] = potential, fired
        after = potential - threshold if layer.reset is Reset.SUBTRACT else layer.reset_value
        potential = np.where(fired, after, potential)
    return RealRecord(spikes=spikes, membrane=membrane)


def _fired(potential: NDArray[np.float64], threshold: RealParameter, comparison: Comparison) -> NDArray[np.bool_]:
    if comparison is Comparison.NEVER:
        return np.zeros(potential.shape, dtype=bool)
    return potential > threshold if comparison is Comparison.ABOVE else potential >= threshold


def responses(record: RealRecord, statistic: Statistic | None) -> NDArray[np.float64]:
    """What is read of each neuron of a last layer, float64 (count, n): spikes, or of its potentials."""
    told: NDArray[np.float64]
    match statistic:
        case Statistic.MAXIMUM:
            told = record.membrane.max(axis=1)
        case Statistic.MEAN:
            told = record.membrane.sum(axis=1)
        case Statistic.LAST:
            told = record.membrane[:, -1]
        case None:
            told = record.spikes.sum(axis=1, dtype=np.float64)
    return told


def run(layers: Sequence[RealLayer], spikes: NDArray[np.bool_]) -> list[RealRecord]:
    """All layers over samples, bool (count, T, inputs)."""
    records = []
    for layer in layers:
        records.append(run_layer(layer, spikes))
        spikes = records[-1].spikes
    return records

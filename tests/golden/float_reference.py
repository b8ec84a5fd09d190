"""Desire backpropagation in real numbers, from the paper's equations; shares no code with golden.

D. Gerlinghoff et al., arXiv 2211.05412: LIF neurons with soft reset, spike-count errors, ternary
desires passed back through the weights, and updates by spike times presynaptic trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class FloatLayer:
    """One layer's weights (n_in, n_out), in units of the threshold, and what a sample did."""

    weights: np.ndarray
    spikes: list[np.ndarray] = field(default_factory=list)
    traces: list[np.ndarray] = field(default_factory=list)


def forward(image: np.ndarray, layers: list[FloatLayer], *, steps: int, decay: float) -> np.ndarray:
    """Spike counts of the output layer; fills the layers' records."""
    charge = np.zeros(len(image))
    potentials = [np.zeros(layer.weights.shape[1]) for layer in layers]
    traces = [np.zeros(layer.weights.shape[0]) for layer in layers]
    for layer in layers:
        layer.spikes, layer.traces = [], []
    for _ in range(steps):
        # A pixel is a neuron without leak and threshold 1; the small constant undoes binary rounding.
        charge = charge + image / 255
        fired = charge >= 1 - 1e-9
        charge = charge - fired
        for index, layer in enumerate(layers):
            traces[index] = traces[index] * decay + fired
            layer.traces.append(traces[index].copy())
            potential = potentials[index] * decay + fired @ layer.weights
            fired = potential >= 1
            potentials[index] = potential - fired
            layer.spikes.append(fired.copy())
    return np.sum(layers[-1].spikes, axis=0)


def desires(layers: list[FloatLayer], label: int, *, target: int, output_threshold: float,
            hidden_threshold: float) -> list[np.ndarray]:
    """Ternary desires of every layer; all zero when the output has none."""
    counts = np.sum(layers[-1].spikes, axis=0) / target
    error = counts.copy()
    error[label] = 1 - counts[label]
    desire = -(error > output_threshold).astype(float)
    desire[label] = -desire[label]
    result = [desire]
    for layer, below in zip(reversed(layers[1:]), reversed(layers[:-1]), strict=True):
        counts = np.sum(layer.spikes, axis=0) / target
        wanted = (result[0] > 0).astype(float)
        weighted = layer.weights @ (result[0] * np.abs(wanted - counts))
        assert weighted.shape == (below.weights.shape[1],)
        result.insert(0, np.sign(weighted) * (np.abs(weighted) >= hidden_threshold))
    return result


def updates(layers: list[FloatLayer], wanted: list[np.ndarray], rate: float) -> list[np.ndarray]:
    """Weight changes: rate x desire x the sum of presynaptic traces at the neuron's spikes."""
    return [rate * np.einsum("ti,tj->ji", np.array(layer.spikes, dtype=float), np.array(layer.traces)) * desire
            for layer, desire in zip(layers, wanted, strict=True)]

"""The network: weights, forward pass, readout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.encoder import encode
from lifstream.golden.lif import LayerRecord, run_layer, synaptic_current
from lifstream.golden.spec import InputError, NetworkSpec, Phase
from lifstream.golden.stdp import (
    adaptive_thresholds,
    class_totals,
    compete,
    initial_plastic_weights,
    initial_votes,
    total_thresholds,
)

__all__ = ["NO_PREDICTION", "ForwardRecord", "Network", "accuracy", "initial_weights", "readout"]

NO_PREDICTION = -1
"""The readout's answer when several classes share the largest spike count."""


def readout(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the unique largest spike count along the last axis, or ``NO_PREDICTION`` on a tie.

    A tie counts as wrong, as in the paper.
    """
    largest = counts.max(axis=-1, keepdims=True)
    unique = (counts == largest).sum(axis=-1) == 1
    return np.where(unique, counts.argmax(axis=-1), NO_PREDICTION)


@dataclass(frozen=True, kw_only=True)
class ForwardRecord:
    """Everything a forward pass computed."""

    input_spikes: NDArray[np.bool_]
    """bool (..., T, inputs)."""
    layers: tuple[LayerRecord, ...]
    """One record per LIF layer."""
    counts: NDArray[np.int64]
    """int64 (..., responding): spike counts n_i of the last layer."""
    prediction: NDArray[np.int64]
    """int64 (...): class, or ``NO_PREDICTION``."""

    def spike_totals(self) -> NDArray[np.int64]:
        """Spikes of the input and of each LIF layer over the sample, int64 (..., lif_layers + 1)."""
        trains = [self.input_spikes, *(layer.spikes for layer in self.layers)]
        return np.stack([train.sum(axis=(-2, -1), dtype=np.int64) for train in trains], axis=-1)

    def layer_input(self, layer: int) -> NDArray[np.bool_]:
        """Presynaptic spikes of ``layer``, bool (..., T, n_in)."""
        return self.input_spikes if layer == 0 else self.layers[layer - 1].spikes


def initial_weights(spec: NetworkSpec, seed: int) -> list[NDArray[np.float64]]:
    """Random weights in units of the threshold: normal, standard deviation sqrt(2 / n_in).

    NumPy's frozen ``RandomState`` is used because its stream never changes between versions.
    """
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 0])))
    return [random.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)
            for n_in, n_out in zip(spec.sizes, spec.sizes[1:], strict=False)]


class Network:
    """A network's weights under its numeric contract.

    Parameters
    ----------
    spec
        The contract.
    weights
        One int32 array (n_in, n_out) per layer, in weight LSBs; row ``j`` belongs to presynaptic
        neuron ``j``. Copied.
    thresholds
        With stdp, the adaptive thresholds of each LIF layer, (n,), weight LSBs; None for zeros. Copied.

    Raises
    ------
    InputError
        A shape does not fit the spec, or a weight or a threshold is outside the format.
    """

    def __init__(self, *, spec: NetworkSpec, weights: Sequence[NDArray[np.integer]],
                 thresholds: Sequence[NDArray[np.integer]] | None = None) -> None:
        if len(weights) != spec.layers:
            raise InputError(f"weights: {len(weights)} matrices for a network of {spec.layers} layers")
        for layer, matrix in enumerate(weights):
            expected = spec.sizes[layer], spec.sizes[layer + 1]
            if matrix.shape != expected:
                raise InputError(f"weights of layer {layer}: shape {matrix.shape}, expected {expected}")
            low, high = spec.plastic_range if layer < spec.lif_layers else (spec.weight_min, spec.weight_max)
            if matrix.min() < low or matrix.max() > high:
                raise InputError(f"weights of layer {layer}: outside the {spec.weight_bits}-bit range {low}..{high}")
        self.spec = spec
        self.weights: list[NDArray[np.int32]] = [np.array(matrix, dtype=np.int32) for matrix in weights]
        self.thresholds: list[NDArray[np.int64]] = adaptive_thresholds(spec, thresholds)

    @classmethod
    def initial(cls, *, spec: NetworkSpec, seed: int) -> Network:
        """Random :func:`initial_weights`, rounded and saturated; with stdp, see :mod:`lifstream.golden.stdp`."""
        if spec.stdp is not None:
            return cls(spec=spec, weights=[*initial_plastic_weights(spec, seed), initial_votes(spec)])
        weights = []
        for real in initial_weights(spec, seed):
            rounded = np.floor(real * spec.one + 0.5)
            weights.append(np.clip(rounded, spec.weight_min, spec.weight_max).astype(np.int32))
        return cls(spec=spec, weights=weights)

    def digest(self) -> str:
        """16 hexadecimal digits that identify contract, weights and adaptive thresholds together."""
        state = hashlib.sha256(self.spec.digest().encode())
        for matrix in self.weights:
            state.update(matrix.astype("<i4").tobytes())
        for thresholds in self.thresholds:
            state.update(thresholds.astype("<i4").tobytes())
        return state.hexdigest()[:16]

    def forward(
        self,
        images: NDArray[np.uint8],
        *,
        phase: Phase = Phase.INFERENCE,
        kept: Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> ForwardRecord:
        """Run images through the network.

        Each layer runs ``T`` steps of its own: local step ``t`` of layer ``l`` reads the spikes of
        local step ``t`` of layer ``l - 1``, which lies one step back in time. No spike is lost, and
        the delay is what lets the layers of the hardware work at the same time.

        Parameters
        ----------
        images
            uint8 (..., inputs): intensities.
        phase
            Selects the firing thresholds.
        kept
            Dropout masks of the layers (see :class:`lifstream.golden.draws.DrawGenerator`); the output layer has none.
        """
        if images.shape[-1] != self.spec.inputs:
            raise InputError(f"images: {images.shape[-1]} pixels, the network takes {self.spec.inputs}")
        input_spikes = spikes = encode(images, self.spec.steps)
        records: list[LayerRecord] = []
        for layer in range(self.spec.lif_layers):
            current = synaptic_current(spikes, self.weights[layer])
            mask = kept[layer] if kept is not None and layer < len(kept) else None
            record = self._run_layer(layer, current, phase, mask)
            records.append(record)
            spikes = record.spikes
        counts = spikes.sum(axis=-2, dtype=np.int64)
        totals = counts if self.spec.stdp is None else class_totals(spikes, self.weights[-1])
        return ForwardRecord(input_spikes=input_spikes, layers=tuple(records),
                             counts=counts, prediction=readout(totals))

    def _run_layer(self, layer: int, current: NDArray[np.int64], phase: Phase,
                   kept: NDArray[np.bool_] | None) -> LayerRecord:
        spec = self.spec
        bounds = spec.membrane_range(layer)
        if spec.stdp is None:
            return run_layer(current, threshold=spec.threshold(layer, phase), leak_shift=spec.leak_shift,
                             bounds=bounds, kept=kept)
        thresholds = total_thresholds(spec.stdp, self.thresholds[layer], self.weights[layer])
        return compete(current, thresholds=thresholds, leak_shift=spec.leak_shift, bounds=bounds,
                       rise=spec.stdp.threshold_rise if phase is Phase.TRAINING else 0,
                       inhibition=spec.stdp.inhibition)

    def predict(self, images: NDArray[np.uint8], *, batch: int = 100) -> Iterator[NDArray[np.int64]]:
        """Predictions of uint8 (count, inputs) images, yielded batch by batch as int64 (<= batch,)."""
        for start in range(0, len(images), batch):
            yield self.forward(images[start:start + batch]).prediction


def accuracy(predictions: NDArray[np.int64], labels: NDArray[np.uint8]) -> float:
    """Fraction of predictions that equal their labels; ties count as wrong."""
    return float((predictions == labels).mean())

"""The network: its state, and the forward pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.state import StateArray
from lifstream.golden.model.encoder import encode, unpacked
from lifstream.golden.model.protocols import ForwardRecord, LayerRecord, Mask
from lifstream.golden.model.readouts import NO_PREDICTION, unique_maximum
from lifstream.golden.model.registry import neuron_model, readout_model, rule_model, synapses_model
from lifstream.golden.model.synapses import presynaptic_spikes

__all__ = ["NO_PREDICTION", "Network", "accuracy"]


def _checked(values: Sequence[NDArray[np.integer]] | None, name: str, declared: Sequence[StateArray]
             ) -> list[NDArray[Any]]:
    """Copies of a network's arrays of one name, as declared; at their reset values where none are given."""
    if values is None:
        values = [np.full(array.shape, array.reset) for array in declared]
    if len(values) != len(declared):
        raise InputError(f"{name}: {len(values)} arrays for {len(declared)} layers")
    for index, (given, array) in enumerate(zip(values, declared, strict=True)):
        if given.shape != array.shape:
            raise InputError(f"{name} of layer {index}: shape {given.shape}, expected {array.shape}")
        if given.min() < array.low or given.max() > array.high:
            raise InputError(f"{name} of layer {index}: outside the {array.bits}-bit range {array.low}..{array.high}")
    # Matrices are large; their elements are narrow. Kernels are compiled for rows that are stored one after another.
    return [np.array(given, dtype=np.int32 if given.ndim == 2 else np.int64, order="C") for given in values]


class Network:
    """A network's learnt arrays under its numeric contract.

    Parameters
    ----------
    spec
        The contract.
    weights
        A matrix of integers per layer, of the shape its synapses declare, and the readout's if it has one, in weight
        LSBs. Copied.
    further
        Other arrays that :attr:`NetworkSpec.learnt_state` declares, by name, as ``thresholds=[...]``; at their reset
        values where they are not given, or None. Copied.

    Raises
    ------
    InputError
        An array is not declared, a shape does not fit, or a value is outside the format.
    """

    def __init__(self, *, spec: NetworkSpec, weights: Sequence[NDArray[np.integer]],
                 **further: Sequence[NDArray[np.integer]] | None) -> None:
        declared = spec.learnt_state
        for name, values in further.items():
            if name not in declared and values:
                raise InputError(f"{name}: given for a network that has none")
        self.spec = spec
        self.state: dict[str, list[NDArray[Any]]] = {
            name: _checked({"weights": weights, **further}.get(name), name, arrays)
            for name, arrays in declared.items()}

    @property
    def weights(self) -> list[NDArray[np.int32]]:
        """The weight matrices, int32."""
        return self.state["weights"]

    def layer_state(self, index: int) -> dict[str, NDArray[Any]]:
        """The learnt arrays of a layer by name: those very arrays."""
        return {name: self.state[name][owners.index(index)]
                for name, owners in self.spec.state_owners.items() if index in owners}

    @property
    def readout_state(self) -> list[NDArray[Any]]:
        """The arrays of the readout."""
        return [self.state[name][-1] for name, owners in self.spec.state_owners.items() if owners[-1] is None]

    @classmethod
    def initial(cls, *, spec: NetworkSpec, seed: int) -> Network:
        """Weights as the rule draws them before learning.

        NumPy's frozen ``RandomState`` is used because its stream never changes between versions.
        """
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 0])))
        drawn = [rule_model(at.rule).initial_weights(at, random) for at in spec.placed]
        return cls(spec=spec, weights=[*drawn, *readout_model(spec.readout).initial(spec)])

    def digest(self) -> str:
        """16 hexadecimal digits that identify contract and learnt arrays together."""
        state = hashlib.sha256(self.spec.digest().encode())
        for arrays in self.state.values():
            for array in arrays:
                state.update(array.astype("<i4").tobytes())
        return state.hexdigest()[:16]

    def forward(self, spikes: NDArray[np.bool_], *, phase: Phase = Phase.INFERENCE,
                kept: Sequence[Mask] | None = None) -> ForwardRecord:
        """Run input spikes through the network.

        Each layer runs ``T`` steps of its own: local step ``t`` of layer ``l`` reads the spikes of
        local step ``t`` of layer ``l - 1``, which lies one step back in time. No spike is lost, and
        the delay is what lets the layers of the hardware work at the same time.

        Parameters
        ----------
        spikes
            bool (..., T, inputs).
        phase
            Selects the firing thresholds.
        kept
            Dropout masks of the layers (see :class:`lifstream.golden.model.draws.DrawGenerator`).
        """
        spec = self.spec
        if spikes.shape[-2:] != (spec.steps, spec.inputs):
            raise InputError(f"spikes: {spikes.shape[-1]} inputs in {spikes.shape[-2]} steps, the network takes "
                             f"{spec.inputs} in {spec.steps}")
        input_spikes = spikes
        records: list[LayerRecord] = []
        inputs: list[NDArray[np.bool_]] = []
        for at in spec.placed:
            state, synapses = self.layer_state(at.index), at.synapses
            silent = np.zeros((*spikes.shape[:-1], at.n_out), dtype=bool)   # the layer's own spikes come step by step
            current = synapses_model(synapses).current(at, presynaptic_spikes(synapses, spikes, silent),
                                                       state["weights"])
            mask = kept[at.index] if kept is not None and at.index < len(kept) else None
            records.append(neuron_model(at.neuron).run(at, current, phase=phase, kept=mask, state=state))
            inputs.append(presynaptic_spikes(synapses, spikes, records[-1].spikes))
            spikes = records[-1].spikes
        readout = readout_model(spec.readout)
        responses = readout.responses(spec, records[-1])
        scores = readout.scores(responses, self.readout_state)
        return ForwardRecord(input_spikes=input_spikes, layers=tuple(records), inputs=tuple(inputs),
                             responses=responses, prediction=unique_maximum(scores))

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Spike trains of samples, uint8 (..., bytes) to bool (..., T, inputs): of images, or packed ones."""
        spec = self.spec
        if images.shape[-1] != spec.sample_bytes:
            raise InputError(f"images: {images.shape[-1]} bytes, the network takes {spec.sample_bytes}")
        if isinstance(spec.input, Events):
            return unpacked(images, steps=spec.steps, neurons=spec.inputs)
        return encode(images, spec.steps)

    def classify(self, images: NDArray[np.uint8]) -> ForwardRecord:
        """The forward pass of samples, uint8 (..., bytes)."""
        return self.forward(self.encode(images))

    def predict(self, images: NDArray[np.uint8], *, batch: int = 100) -> Iterator[NDArray[np.int64]]:
        """Predictions of samples, uint8 (count, bytes), yielded batch by batch as int64 (<= batch,)."""
        for start in range(0, len(images), batch):
            yield self.classify(images[start:start + batch]).prediction


def accuracy(predictions: NDArray[np.int64], labels: NDArray[np.uint8]) -> float:
    """Fraction of predictions that equal their labels; ties count as wrong."""
    return float((predictions == labels).mean())

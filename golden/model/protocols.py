"""What the parts of a model are to each other: records of a sample, and what neurons, rules and readouts supply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import NetworkSpec, PlacedLayer

__all__ = ["Block", "ForwardRecord", "IntArray", "LayerRecord", "LearningRule", "LearntNetwork", "Mask", "NeuronModel",
           "ReadoutModel", "SynapsesModel"]

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_] | None


class LayerRecord(NamedTuple):
    """What one layer did over a sample; every array is (..., T, n_out)."""

    spikes: NDArray[np.bool_]
    """The neuron fired."""
    membrane: IntArray
    """Membrane potential after integration and clamping, before the reset."""
    threshold: Any
    """Firing threshold that was in force, in weight LSBs: an integer, or int64 (..., n); of competing neurons at the
    sample's end."""

    def spike_counts(self) -> IntArray:
        """Spikes of each neuron over the sample, int64 (..., n_out)."""
        counts: IntArray = self.spikes.sum(axis=-2, dtype=np.int64)
        return counts


@dataclass(frozen=True, kw_only=True)
class ForwardRecord:
    """Everything a forward pass computed."""

    input_spikes: NDArray[np.bool_]
    """bool (..., T, inputs)."""
    layers: tuple[LayerRecord, ...]
    """One record per layer."""
    inputs: tuple[NDArray[np.bool_], ...]
    """Presynaptic spikes of each layer, bool (..., T, n_in)."""
    responses: IntArray
    """int64 (..., responding): what the answer says of each neuron of the last layer, its spike count or a statistic of
    its potentials."""
    prediction: IntArray
    """int64 (...): class, or ``NO_PREDICTION``."""

    @property
    def counts(self) -> IntArray:
        """int64 (..., responding): spike counts n_i of the last layer."""
        return self.layers[-1].spike_counts()

    def spike_totals(self) -> IntArray:
        """Spikes of the input and of each layer over the sample, int64 (..., layers + 1)."""
        trains = [self.input_spikes, *(layer.spikes for layer in self.layers)]
        return np.stack([train.sum(axis=(-2, -1), dtype=np.int64) for train in trains], axis=-1)

    def layer_input(self, layer: int) -> NDArray[np.bool_]:
        """Presynaptic spikes of ``layer``, bool (..., T, n_in)."""
        return self.inputs[layer]


class Block(NamedTuple):
    """The neurons between which a sample changes weights."""

    presynaptic: IntArray
    """Ascending."""
    postsynaptic: IntArray
    """Ascending."""


class LearntNetwork(Protocol):
    """What parts may know of a network: its contract, and the arrays that learning changes."""

    spec: NetworkSpec
    state: dict[str, list[NDArray[Any]]]
    """Arrays by declared name, in the order of :attr:`NetworkSpec.learnt_state`."""

    @property
    def weights(self) -> list[NDArray[np.int32]]:
        """``state["weights"]``."""


class SynapsesModel(Protocol):
    """How spikes become current, and how weights change."""

    def current(self, at: PlacedLayer, spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
        """Exact synaptic current, int64 (..., T, n_out), of spikes, bool (..., T, n_in)."""

    def change(self, at: PlacedLayer, weights: NDArray[np.int32], block: Block, changes: IntArray) -> int:
        """Change the weights of a block in place, see :func:`lifstream.golden.model.synapses.change_weights`.

        Returns how many were visited.
        """


class NeuronModel(Protocol):
    """How current becomes spikes."""

    @property
    def parameters(self) -> Callable[[PlacedLayer, Phase], Any]:
        """Makes the named tuple of a layer's constants in a phase."""

    def run(self, at: PlacedLayer, current: IntArray, *, phase: Phase, kept: Mask,
            state: Mapping[str, NDArray[Any]]) -> LayerRecord:
        """Run a layer over the ``T`` steps of a sample; what it fires in a step adds to the current of the next where
        its synapses are recurrent (:func:`lifstream.golden.model.synapses.recurrent_weights`).

        Parameters
        ----------
        at
            The layer.
        current
            int64 (..., T, n_out), synaptic currents.
        phase
            Whether the sample is one to learn from.
        kept
            bool (n_out,): False for neurons dropped in this sample; None keeps all.
        state
            The layer's learnt arrays by name; not changed.
        """

    def thresholds(self, at: PlacedLayer, state: Mapping[str, NDArray[Any]]) -> IntArray:
        """Firing thresholds in inference, int64 (n_out,)."""

    def settle(self, at: PlacedLayer, record: LayerRecord, state: Mapping[str, NDArray[Any]]) -> None:
        """Change the learnt arrays of the neurons, in place, after a sample to learn from."""


class ReadoutModel(Protocol):
    """How what the last layer does becomes an answer."""

    def responses(self, spec: NetworkSpec, last: LayerRecord) -> IntArray:
        """What the answer says of each neuron of the last layer, int64 (..., responding)."""

    def scores(self, responses: IntArray, state: Sequence[NDArray[Any]]) -> IntArray:
        """A score per class, int64 (..., classes), from the responses and the readout's arrays."""

    def initial(self, spec: NetworkSpec) -> list[NDArray[np.int32]]:
        """Its arrays before learning."""


class LearningRule(Protocol):
    """What a learning rule supplies. The hardware's mirror is in :mod:`lifstream.hdl`."""

    message: type
    """Of what a layer is told."""

    def initial_weights(self, at: PlacedLayer, random: np.random.RandomState) -> NDArray[np.int32]:
        """A layer's weights before learning."""

    def teach(self, network: LearntNetwork, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[Any, ...]:
        """What each layer is told after the forward pass, with the old weights; empty: nothing to learn."""

    def visited(self, at: PlacedLayer, forward: ForwardRecord, message: Any) -> tuple[IntArray, IntArray]:
        """Presynaptic and postsynaptic neurons of the layer between which weights change, ascending."""

    def changes(self, network: LearntNetwork, at: PlacedLayer, forward: ForwardRecord, message: Any, block: Block, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        """Rounded weight changes in LSBs, int64 (presynaptic, postsynaptic), from the layer's histories.

        ``words``, int64 of the same shape, holds random words to round by, or is None to round half up.
        """

"""Learning from one image: what every rule shares.

After the forward pass a rule says what the teaching signal tells each layer. Then every layer changes its
weights by itself, row by row: a row holds a presynaptic neuron's weights to a run of neurons, is read, changed by one
rounded amount per weight, clipped, and written. In which order, say the synapses
(:func:`lifstream.golden.model.synapses.change_weights`). ``docs/add-a-rule.md`` builds a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.draws import rounding_words
from lifstream.golden.model.network import Network
from lifstream.golden.model.protocols import Block, ForwardRecord, LearningRule, Mask
from lifstream.golden.model.registry import neuron_model, rule_model, synapses_model
from lifstream.golden.model.synapses import positions_of

__all__ = ["LearnRecord", "learn", "require_learning"]


def require_learning(spec: NetworkSpec) -> None:
    """Raise InputError where the weights of a network do not change."""
    if not spec.learns:
        raise InputError(f"rule: {spec.layers[0].rule.kind}, the network's weights do not change; declare its layers "
                         "with a rule that learns")


@dataclass(frozen=True, kw_only=True)
class LearnRecord:
    """One training sample: its forward pass, what the layers were told, and how much was touched."""

    forward: ForwardRecord
    teaching: tuple[Any, ...]
    """One message per layer (with desire backpropagation a :class:`lifstream.golden.model.rules.desire.Desire`);
    empty when there was nothing to learn."""
    updates: int = 0
    """Weights the sample visited, each as often as it did, over all layers."""


def learn(network: Network, image: NDArray[np.uint8], label: int, *, rate_shift: int,
          kept: Sequence[Mask] | None = None, rounding: Sequence[int | None] | None = None,
          rule: LearningRule | None = None) -> LearnRecord:
    """Learn from one image, in place.

    Parameters
    ----------
    image
        uint8 (inputs,).
    label
        Class index.
    rate_shift
        Learning rate 2**-rate_shift.
    kept
        Dropout masks of the hidden layers, or None.
    rounding
        Rounding states of the layers, as in :class:`lifstream.golden.model.draws.SampleDraws`; stochastic
        rounding needs them.
    rule
        A rule of one's own; None takes the contract's.

    Raises
    ------
    ValueError
        Stochastic rounding without rounding states.
    InputError
        The weights are fixed.
    """
    spec = network.spec
    require_learning(spec)
    random = any(at.rounds_at_random for at in spec.placed)
    if (rounding is not None) != random:
        raise ValueError(f"rounding: states are {'missing' if random else 'not used'}, "
                         f"the contract's rounding is {', '.join({at.rule.rounding.value for at in spec.placed})}")
    rule = rule or rule_model(spec.layers[-1].rule)
    forward = network.forward(network.encode(image), phase=Phase.TRAINING, kept=kept)
    teaching = rule.teach(network, forward, label, kept)
    updates = 0
    for at, message in zip(spec.placed, teaching, strict=bool(teaching)):
        block = Block(*rule.visited(at, forward, message))
        if not len(block.presynaptic) or not len(block.postsynaptic):
            continue
        state = None if rounding is None else rounding[at.index]
        words = None if state is None else rounding_words(
            state, block.presynaptic[:, None], positions_of(at.synapses, block.postsynaptic))
        changes = rule.changes(network, at, forward, message, block, rate_shift=rate_shift, words=words)
        updates += synapses_model(at.synapses).change(at, network.weights[at.index], block, changes)
    for at in spec.placed:
        neuron_model(at.neuron).settle(at, forward.layers[at.index], network.layer_state(at.index))
    return LearnRecord(forward=forward, teaching=teaching, updates=updates)

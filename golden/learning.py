"""Learning from one image: what every rule shares, and the seam behind which a rule stands.

After the forward pass a rule says what the teaching signal tells each layer. Then every layer changes its
weights by itself, row by row: a row is the presynaptic neuron's weights to all neurons of the layer, read
once, changed by one rounded amount per weight, clipped, and written once. ``docs/add-a-rule.md`` builds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.desire import DesireRule
from lifstream.golden.draws import rounding_words
from lifstream.golden.network import ForwardRecord, Network
from lifstream.golden.spec import NetworkSpec, Phase, Rounding
from lifstream.golden.stdp import StdpRule

__all__ = ["Block", "LearnRecord", "LearningRule", "learn", "rule_for"]

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_] | None


class Block(NamedTuple):
    """The part of a layer's matrix that a sample changes."""

    rows: IntArray
    """Presynaptic neurons, ascending."""
    columns: IntArray
    """Postsynaptic neurons, ascending."""


class LearningRule(Protocol):
    """What a learning rule supplies. The hardware's mirror is :class:`lifstream.hdl.lanes.LaneGroup` and
    :class:`lifstream.hdl.layer.LifLayer` with their derived classes."""

    def teach(self, network: Network, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[Any, ...]:
        """What each LIF layer is told after the forward pass, with the old weights; empty: nothing to learn."""

    def visited(self, spec: NetworkSpec, layer: int, forward: ForwardRecord, message: Any) -> tuple[IntArray, IntArray]:
        """Rows and columns of the layer's matrix that change."""

    def changes(self, network: Network, layer: int, forward: ForwardRecord, message: Any, block: Block, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        """Rounded weight changes in LSBs, int64 (rows, columns), from the layer's histories.

        ``words``, int64 (rows,), holds the rows' random words, or is None to round half up.
        """

    def settle(self, network: Network, forward: ForwardRecord) -> None:
        """Whatever else a training sample changes, whether or not it was learnt from."""


@dataclass(frozen=True, kw_only=True)
class LearnRecord:
    """One training sample: its forward pass, what the layers were told, and how much was touched."""

    forward: ForwardRecord
    teaching: tuple[Any, ...]
    """One message per LIF layer (with desire backpropagation a :class:`lifstream.golden.desire.Desire`); empty when
    there was nothing to learn."""
    updates: int = 0
    """Weights the sample visited, over all layers."""


_DESIRE, _STDP = DesireRule(), StdpRule()


def rule_for(spec: NetworkSpec) -> LearningRule:
    """The learning rule of a contract."""
    return _DESIRE if spec.stdp is None else _STDP


def learn(network: Network, image: NDArray[np.uint8], label: int, *, rate_shift: int,
          kept: Sequence[Mask] | None = None, rounding: Sequence[int] | None = None,
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
        Rounding states of the layers, as in :class:`lifstream.golden.draws.SampleDraws`; stochastic rounding needs
        them.
    rule
        A rule of one's own; None takes the contract's.

    Raises
    ------
    ValueError
        Stochastic rounding without rounding states.
    """
    spec = network.spec
    if (rounding is None) != (spec.rounding is not Rounding.STOCHASTIC):
        raise ValueError(f"rounding: states are {'missing' if rounding is None else 'not used'}, "
                         f"the contract's rounding is {spec.rounding}")
    rule = rule or rule_for(spec)
    forward = network.forward(image, phase=Phase.TRAINING, kept=kept)
    teaching = rule.teach(network, forward, label, kept)
    updates = 0
    for layer, message in enumerate(teaching):
        block = Block(*rule.visited(spec, layer, forward, message))
        if not len(block.rows) or not len(block.columns):
            continue
        words = rounding_words(rounding[layer], block.rows) if rounding is not None else None
        changes = rule.changes(network, layer, forward, message, block, rate_shift=rate_shift, words=words)
        place = np.ix_(block.rows, block.columns)
        network.weights[layer][place] = np.clip(network.weights[layer][place] + changes, *spec.plastic_range)
        updates += changes.size
    rule.settle(network, forward)
    return LearnRecord(forward=forward, teaching=teaching, updates=updates)

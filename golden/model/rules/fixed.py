"""Weights that do not change: :class:`lifstream.golden.contract.rules.Fixed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.model.protocols import Block, ForwardRecord, IntArray, LearntNetwork, Mask
from lifstream.golden.model.rules.desire import DesireModel

__all__ = ["FixedModel"]

_NONE = np.zeros(0, dtype=np.int64)


class FixedModel:
    """The rule :class:`lifstream.golden.contract.rules.Fixed`. No layer is ever told anything."""

    message = type(None)

    def initial_weights(self, at: PlacedLayer, random: np.random.RandomState) -> NDArray[np.int32]:
        return DesireModel().initial_weights(at, random)

    def teach(self, network: LearntNetwork, forward: ForwardRecord, label: int, kept: Sequence[Mask] | None
              ) -> tuple[Any, ...]:
        return ()

    def visited(self, at: PlacedLayer, forward: ForwardRecord, message: Any) -> tuple[IntArray, IntArray]:
        return _NONE, _NONE

    def changes(self, network: LearntNetwork, at: PlacedLayer, forward: ForwardRecord, message: Any, block: Block, *,
                rate_shift: int, words: IntArray | None) -> IntArray:
        return np.zeros((len(block.presynaptic), len(block.postsynaptic)), dtype=np.int64)

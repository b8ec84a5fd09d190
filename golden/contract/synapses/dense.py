"""All to all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.synapses.base import NEURONS_MAX, Synapses, Target

__all__ = ["Dense"]


@dataclass(frozen=True, kw_only=True)
class Dense(Synapses, kind="dense"):
    """Every presynaptic neuron reaches every postsynaptic one; row ``j`` of the weights is presynaptic neuron ``j``.

    Parameters
    ----------
    inputs, outputs
        Neurons on either side, 1..65,536.
    """

    all_to_all: ClassVar[bool] = True

    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        require_integer("inputs", self.inputs, 1, NEURONS_MAX)
        require_integer("outputs", self.outputs, 1, NEURONS_MAX)

    @property
    def n_in(self) -> int:
        return self.inputs

    @property
    def n_out(self) -> int:
        return self.outputs

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.inputs, self.outputs

    @property
    def fan_in(self) -> int:
        return self.inputs

    def targets(self, presynaptic: int) -> Iterator[Target]:
        yield Target(row=presynaptic, first=0)

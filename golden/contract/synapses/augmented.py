"""Sources beside the layer before: a bias, and the layer's own spikes of the step before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.synapses.base import NEURONS_MAX, Map, Synapses, Target

__all__ = ["Augmented"]


@dataclass(frozen=True, kw_only=True)
class Augmented(Synapses, kind="augmented"):
    """Synapses with further presynaptic neurons, numbered behind those of the layer before, and further rows.

    First, with ``recurrent``, the layer's own neurons: what one fired in a step is its spike in the step after (in a
    sample's first step none fires). Then, with ``bias``, a neuron that fires in every step, and reaches every
    position by the last row: a constant current for each column. Their weights learn as any do.

    Parameters
    ----------
    synapses
        From the layer before; with ``recurrent``, dense.
    recurrent, bias
        What is added; at least one of them.

    Raises
    ------
    InputError
        Nothing is added, there are too many presynaptic neurons, or maps are to be recurrent.
    """

    synapses: Synapses
    recurrent: bool = False
    bias: bool = False

    def __post_init__(self) -> None:
        for name in ("recurrent", "bias"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}: {getattr(self, name)!r} is not true or false")
        if isinstance(self.synapses, Augmented):
            raise InputError("synapses: augmented, give one with both recurrent and bias")
        if not (self.recurrent or self.bias):
            raise InputError("recurrent: nothing is added; set it, or bias")
        if self.recurrent and not self.synapses.all_to_all:
            raise InputError(f"recurrent: {self.synapses.kind} synapses cannot be, dense ones alone")
        if self.n_in > NEURONS_MAX:
            raise InputError(f"synapses: {self.n_in} presynaptic neurons, at most {NEURONS_MAX} are supported")

    @property
    def all_to_all(self) -> bool:  # type: ignore[override]
        """As those from the layer before."""
        return self.synapses.all_to_all

    @property
    def n_before(self) -> int:
        return self.synapses.n_before

    @property
    def n_in(self) -> int:
        return self.synapses.n_in + self.recurrent * self.n_out + self.bias

    @property
    def n_out(self) -> int:
        return self.synapses.n_out

    @property
    def weight_shape(self) -> tuple[int, int]:
        rows, columns = self.synapses.weight_shape
        return rows + self.recurrent * self.n_out + self.bias, columns

    @property
    def fan_in(self) -> int:
        return self.synapses.fan_in + self.recurrent * self.n_out + self.bias

    @property
    def patch(self) -> Map | None:
        return self.synapses.patch

    def targets(self, presynaptic: int) -> Iterator[Target]:
        further = presynaptic - self.synapses.n_in
        if further < 0:
            yield from self.synapses.targets(presynaptic)
            return
        rows, columns = self.synapses.weight_shape
        for position in range(self.positions):  # one, if it is recurrent
            yield Target(row=rows + further, first=position * columns)

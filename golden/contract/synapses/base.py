"""What every kind of synapses declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lifstream.golden.contract.declaration import Declaration

__all__ = ["Synapses", "Target"]


class Target(NamedTuple):
    """Postsynaptic neurons that a presynaptic one reaches through a row of weights."""

    row: int
    """Row of the weight matrix; its columns are the neurons in order."""
    first: int
    """Index of the first of them."""


class Synapses(Declaration, family="kind of synapses"):
    """Base of the kinds of synapses. Weights are a matrix of :attr:`rows` x :attr:`columns`."""

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        raise NotImplementedError

    @property
    def n_out(self) -> int:
        """Postsynaptic neurons."""
        raise NotImplementedError

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weight matrix: a row for each way to reach a run of neurons, a column for each of them."""
        raise NotImplementedError

    @property
    def fan_in(self) -> int:
        """The most synapses a postsynaptic neuron has."""
        raise NotImplementedError

    def targets(self, presynaptic: int) -> Iterator[Target]:
        """What presynaptic neuron 0..n_in-1 reaches, in the order in which weights are updated."""
        raise NotImplementedError

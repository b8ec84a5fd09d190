"""What every kind of synapses declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError

__all__ = ["NEURONS_MAX", "Map", "Synapses", "Target"]

NEURONS_MAX = 65_536
"""Most neurons on either side of synapses."""


@dataclass(frozen=True, kw_only=True)
class Map(Declaration):
    """A map of neurons, numbered position by position, channel last: ``(y * width + x) * channels + c``.

    Parameters
    ----------
    height, width, channels
        Its size; the product is at most 65,536.
    """

    height: int
    width: int
    channels: int = 1

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            require_integer(name, getattr(self, name), 1, NEURONS_MAX)
        if self.neurons > NEURONS_MAX:
            raise InputError(f"height: {self} has {self.neurons} neurons, must be at most {NEURONS_MAX}")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"

    @property
    def neurons(self) -> int:
        """How many it has."""
        return self.height * self.width * self.channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def place(self, neuron: int) -> tuple[int, int, int]:
        """Row, column and channel of a neuron."""
        position, channel = divmod(neuron, self.channels)
        return *divmod(position, self.width), channel


class Target(NamedTuple):
    """Postsynaptic neurons that a presynaptic one reaches through a row of weights."""

    row: int
    """Row of the weight matrix; its columns are the neurons in order."""
    first: int
    """Index of the first of them; a multiple of the number of columns."""


class Synapses(Declaration, family="kind of synapses"):
    """Base of the kinds of synapses.

    Everything follows from :meth:`targets`. Postsynaptic neurons fall into *positions*, runs of as many as the weight
    matrix has columns; a presynaptic neuron reaches a position through one row, if at all. Presynaptic neuron and
    position therefore name all synapses between them, which change together: see
    :func:`lifstream.golden.model.synapses.change_weights`.
    """

    all_to_all: ClassVar[bool] = False
    """Whether presynaptic neuron ``j`` reaches every postsynaptic one by row ``j``: no target need be looked up."""

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        raise NotImplementedError

    @property
    def n_before(self) -> int:
        """Presynaptic neurons that are the layer before's: the first ones."""
        return self.n_in

    @property
    def recurrent(self) -> bool:
        """Whether behind those come the layer's own neurons ..."""
        return False

    @property
    def bias(self) -> bool:
        """... and last a neuron that fires in every step."""
        return False

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

    @property
    def positions(self) -> int:
        """Runs that the postsynaptic neurons fall into, a column of the weight matrix for each neuron of one."""
        return self.n_out // self.weight_shape[1]

    @property
    def patch(self) -> Map | None:
        """The map that the rows of a postsynaptic neuron's weights span, None where that is all neurons before."""
        return None

    def targets(self, presynaptic: int) -> Iterator[Target]:
        """What presynaptic neuron 0..n_in-1 reaches, in the order in which weights are updated: positions ascending.

        Nothing, where a stride passes it over.
        """
        raise NotImplementedError

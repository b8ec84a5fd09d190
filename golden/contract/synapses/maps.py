"""Synapses between maps of neurons: convolution, local connection, and sums over squares in front of either or of any.

A presynaptic neuron reaches the positions whose patch holds it; a patch is ``kernel`` large, the patch of position
(0, 0) starts ``padding`` above and to the left of the map, and those of its neighbours ``stride`` further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.synapses.base import NEURONS_MAX, Map, Synapses, Target

__all__ = ["Conv", "Local", "SumPool"]

_CONNECTIONS_MAX = 1 << 21
"""Most pairs of a presynaptic neuron and a position that it reaches; models and hardware go through them one by one."""
_AXES = ("height", "width")


def _require_pair(name: str, pair: object, low: int, high: tuple[int, int]) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InputError(f"{name}: {pair!r} is not a pair of integers, (down, right)")
    for axis, value, most in zip(_AXES, pair, high, strict=True):
        require_integer(f"{name} ({axis})", value, low, most)


@dataclass(frozen=True, kw_only=True)
class _Patches(Synapses):
    """What convolution and local connection share: the patches of a map. Pairs are (down, right)."""

    inputs: Map
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        require_integer("channels", self.channels, 1, NEURONS_MAX)
        _require_pair("kernel", self.kernel, 1, (NEURONS_MAX, NEURONS_MAX))
        _require_pair("stride", self.stride, 1, (NEURONS_MAX, NEURONS_MAX))
        # A patch further out would hold nothing but padding.
        _require_pair("padding", self.padding, 0, (self.kernel[0] - 1, self.kernel[1] - 1))
        for axis, size, kernel, padding in zip(_AXES, self.inputs.size, self.kernel, self.padding, strict=True):
            if kernel > size + 2 * padding:
                raise InputError(f"kernel ({axis}): {kernel} is out of bounds, the padded map has {size + 2 * padding}")
        if self.n_out > NEURONS_MAX:
            raise InputError(f"channels: {self.channels} at {self.positions} positions are {self.n_out} neurons, "
                             f"must be at most {NEURONS_MAX}")
        if (connections := self.positions * self.taps) > _CONNECTIONS_MAX:
            raise InputError(f"kernel: {self.taps} taps at {self.positions} positions are {connections} connections, "
                             f"at most {_CONNECTIONS_MAX} are supported")

    @cached_property
    def output_size(self) -> tuple[int, int]:
        """Positions down and right."""
        down, right = ((size + 2 * padding - kernel) // stride + 1 for size, kernel, stride, padding in zip(
            self.inputs.size, self.kernel, self.stride, self.padding, strict=True))
        return down, right

    @property
    def outputs(self) -> Map:
        """The map of postsynaptic neurons, which must not be too large for one."""
        return Map(height=self.output_size[0], width=self.output_size[1], channels=self.channels)

    @property
    def positions(self) -> int:
        """Positions of the map of postsynaptic neurons."""
        return self.output_size[0] * self.output_size[1]

    @property
    def patch(self) -> Map:
        return Map(height=self.kernel[0], width=self.kernel[1], channels=self.inputs.channels)

    @property
    def taps(self) -> int:
        """Presynaptic neurons in a patch, padding counted."""
        return self.kernel[0] * self.kernel[1] * self.inputs.channels

    @property
    def n_in(self) -> int:
        return self.inputs.neurons

    @property
    def n_out(self) -> int:
        return self.positions * self.channels

    @property
    def fan_in(self) -> int:
        return self.taps

    def targets(self, presynaptic: int) -> Iterator[Target]:
        *place, channel = self.inputs.place(presynaptic)
        downs, rights = (_reached(*axis) for axis in zip(place, self.output_size, self.kernel, self.stride,
                                                         self.padding, strict=True))
        for y, kernel_y in downs:
            for x, kernel_x in rights:
                position = y * self.output_size[1] + x
                tap = (kernel_y * self.kernel[1] + kernel_x) * self.inputs.channels + channel
                yield Target(row=self._row(position, tap), first=position * self.channels)

    def _row(self, position: int, tap: int) -> int:
        """Row of the weights of a tap at a position."""
        raise NotImplementedError


def _reached(place: int, positions: int, kernel: int, stride: int, padding: int) -> list[tuple[int, int]]:
    """Along one axis: the positions whose patch holds ``place``, ascending, and where in the patch it is."""
    first = max(0, -(-(place + padding - kernel + 1) // stride))
    last = min(positions - 1, (place + padding) // stride)
    return [(position, place + padding - position * stride) for position in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class Conv(_Patches, kind="conv"):
    """Convolution: all positions share the weights. Row ``(ky * kernel_width + kx) * C_in + ci`` is a tap.

    Parameters
    ----------
    inputs
        The presynaptic map.
    channels
        Of the postsynaptic map.
    kernel
        Height and width of a patch, 1 to the padded map's.
    stride
        Distance of neighbouring patches, down and right, 1..65,536.
    padding
        Rows above and below, and columns left and right, of neurons that never spike; 0..kernel - 1.

    Raises
    ------
    InputError
        A field out of bounds, a map of more than 65,536 neurons, or more than 2**21 taps at all positions together.
    """

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.taps, self.channels

    def _row(self, position: int, tap: int) -> int:
        return tap


@dataclass(frozen=True, kw_only=True)
class Local(_Patches, kind="local"):
    """The geometry of :class:`Conv`, but each position has weights of its own: row ``position * taps + tap``.

    Parameters, and what is raised, are those of :class:`Conv`.
    """

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.positions * self.taps, self.channels

    def _row(self, position: int, tap: int) -> int:
        return position * self.taps + tap


@dataclass(frozen=True, kw_only=True)
class SumPool(Synapses, kind="sum-pool"):
    """Sums over squares of a map, channel by channel, in front of other synapses: no weights, no memory, no step.

    A presynaptic neuron acts as the neuron ``(y // size, x // size, c)`` of the pooled map, so what several of a
    square spike in a step adds up in the synapses behind.

    Parameters
    ----------
    inputs
        The presynaptic map.
    size
        Side of a square, at least 1; divides the map's height and width.
    synapses
        What the pooled map is presynaptic to; any but another ``sum-pool``.

    Raises
    ------
    InputError
        A field out of bounds, a size that does not divide the map, or synapses of another number of inputs.
    """

    inputs: Map
    size: int
    synapses: Synapses

    def __post_init__(self) -> None:
        require_integer("size", self.size, 1, min(self.inputs.size))
        for axis, size in zip(_AXES, self.inputs.size, strict=True):
            if size % self.size:
                raise InputError(f"size: {self.size} does not divide the map's {axis} of {size}")
        if isinstance(self.synapses, SumPool):
            raise InputError("synapses: sum-pool, give one sum-pool of the product of the sizes")
        if self.synapses.n_in != self.pooled.neurons:
            raise InputError(f"synapses: take {self.synapses.n_in} inputs, the pooled map of {self.pooled} has "
                             f"{self.pooled.neurons}")
        if (connections := self.fan_in * self.positions) > _CONNECTIONS_MAX:
            raise InputError(f"size: {self.size} makes {connections} connections, at most {_CONNECTIONS_MAX} are "
                             "supported")

    @property
    def pooled(self) -> Map:
        """The map of sums."""
        return Map(height=self.inputs.height // self.size, width=self.inputs.width // self.size,
                   channels=self.inputs.channels)

    @property
    def n_in(self) -> int:
        return self.inputs.neurons

    @property
    def n_out(self) -> int:
        return self.synapses.n_out

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.synapses.weight_shape

    @property
    def fan_in(self) -> int:
        return self.size * self.size * self.synapses.fan_in

    @property
    def patch(self) -> Map:
        return self.synapses.patch or self.pooled

    def targets(self, presynaptic: int) -> Iterator[Target]:
        y, x, channel = self.inputs.place(presynaptic)
        square = y // self.size * self.pooled.width + x // self.size
        return self.synapses.targets(square * self.inputs.channels + channel)

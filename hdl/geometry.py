"""How the hardware is folded. Results never depend on it; area and cycles do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec

__all__ = ["Geometry", "LayerGeometry", "PerLayer", "balanced_lanes", "per_layer_text"]

PerLayer = int | tuple[int, ...]
"""A number for all layers of a network, or a tuple with one for each of its layers, the first layer first."""

LANES_PER_GROUP_MAX = 8


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, kw_only=True)
class LayerGeometry:
    """One layer's lanes, arranged in groups that share a membrane unit.

    Neuron ``i`` lives in fold ``i // lanes``; within a fold, position ``p`` is lane ``p // groups``
    of group ``p % groups``, so that the groups together deliver ``groups`` consecutive neurons per
    clock. The last fold, and the last lane of some groups, may be padding.
    """

    n_in: int
    n_out: int
    groups: int
    lanes_per_group: int
    unroll: int = 1

    @property
    def lanes(self) -> int:
        """Physical lanes: synaptic accumulators working at the same time."""
        return self.groups * self.lanes_per_group

    @property
    def folds(self) -> int:
        """Clocks per spike event."""
        return _ceil_div(self.n_out, self.lanes)

    @property
    def rows(self) -> int:
        """Words of each group's weight memory; row ``fold * n_in + j`` serves presynaptic ``j``."""
        return self.n_in * self.folds

    def blocks(self, steps: int) -> int:
        """Clocks to go through ``steps`` time steps, ``unroll`` at a time."""
        return _ceil_div(steps, self.unroll)

    def to_json(self) -> dict[str, int]:
        """Plain values for ``NAME.v.json``."""
        return {"n_in": self.n_in, "n_out": self.n_out, "groups": self.groups,
                "lanes_per_group": self.lanes_per_group, "lanes": self.lanes, "folds": self.folds,
                "unroll": self.unroll}


def per_layer_text(value: PerLayer) -> str:
    """As it stands on the command line: ``16``, or ``8,10``."""
    return str(value) if isinstance(value, int) else ",".join(map(str, value))


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Hardware-only choices for a whole network.

    Parameters
    ----------
    lanes
        Neurons of a layer updated per clock, 1..65536, for all layers or for each; a layer takes ``min(lanes, n_out)``,
        rounded up to whole groups.
    pixels_per_clock
        Pixels the encoder examines per clock, 1..16.
    unroll
        Time steps a weight update goes through per clock, 1..8, for all layers or for each.

    Raises
    ------
    InputError
        A value out of bounds.
    """

    lanes: PerLayer
    pixels_per_clock: int = 4
    unroll: PerLayer = 2

    def __post_init__(self) -> None:
        _check_bounds("lanes", self.lanes, 1, 65_536)
        _check_bounds("pixels_per_clock", (self.pixels_per_clock,), 1, 16)
        _check_bounds("unroll", self.unroll, 1, 8)

    def layer(self, spec: NetworkSpec, layer: int) -> LayerGeometry:
        """Geometry of one layer of ``spec``.

        Raises
        ------
        InputError
            There are numbers for another number of layers.
        """
        n_in, n_out = spec.layers[layer].n_in, spec.layers[layer].n_out
        lanes = min(_of_layer("lanes", self.lanes, spec, layer), n_out)
        groups = _ceil_div(lanes, LANES_PER_GROUP_MAX)
        return LayerGeometry(n_in=n_in, n_out=n_out, groups=groups, lanes_per_group=_ceil_div(lanes, groups),
                             unroll=_of_layer("unroll", self.unroll, spec, layer))

    def layers(self, spec: NetworkSpec) -> list[LayerGeometry]:
        """Geometry of every layer of ``spec``; raises as :meth:`layer`."""
        return [self.layer(spec, layer) for layer in range(len(spec.layers))]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``NAME.v.json``; what differs between layers is a list."""
        return {"lanes": _plain(self.lanes), "pixels_per_clock": self.pixels_per_clock,
                "unroll": _plain(self.unroll)}

    def __str__(self) -> str:
        return (f"lanes {per_layer_text(self.lanes)}, pixels per clock {self.pixels_per_clock}, "
                f"unroll {per_layer_text(self.unroll)}")


def balanced_lanes(spec: NetworkSpec, *, most: int) -> tuple[int, ...]:
    """Lanes per layer: as few as keep every layer from being slower than the slowest one is with ``most`` lanes.

    Layers are compared by their synaptic clocks, ``n_in x folds``, the clocks of a step in which every input spikes.
    So the layer that decides is the same whatever spikes, as long as the same share of each layer's inputs does.

    Parameters
    ----------
    spec
        The numeric contract.
    most
        Lanes that no layer is to have more of, 1..65536.

    Raises
    ------
    InputError
        ``most`` is out of bounds.
    """
    layers = Geometry(lanes=most).layers(spec)
    slowest = max(layer.n_in * layer.folds for layer in layers)
    return tuple(min(most, _ceil_div(layer.n_out, slowest // layer.n_in)) for layer in layers)


def _check_bounds(name: str, value: object, low: int, high: int) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, bool) or not isinstance(each, int):
            raise InputError(f"{name}: {each!r} is not an integer")
        if not low <= each <= high:
            raise InputError(f"{name}: {each} is out of bounds, must be {low}..{high}")


def _of_layer(name: str, value: PerLayer, spec: NetworkSpec, layer: int) -> int:
    if isinstance(value, int):
        return value
    if len(value) != len(spec.layers):
        raise InputError(f"{name}: {per_layer_text(value)!r} is for {len(value)} layers of spiking neurons, but "
                         f"{spec.summary} has {len(spec.layers)}; give one number for all, or one for each")
    return value[layer]


def _plain(value: PerLayer) -> int | list[int]:
    return value if isinstance(value, int) else list(value)

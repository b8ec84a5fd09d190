"""How the hardware is folded. Results never depend on it; area and cycles do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.synapses import Synapses

__all__ = ["LANES_PER_GROUP_MAX", "Geometry", "LayerGeometry", "PerLayer", "balanced_lanes", "counted",
           "per_layer_text", "target_count"]

PerLayer = int | tuple[int, ...]
"""A number for all layers of a network, or a tuple with one for each of its layers, the first layer first."""

LANES_PER_GROUP_MAX = 8

_SPIKING = 8
"""One of so many inputs of a map is taken to spike in a step."""


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, kw_only=True)
class LayerGeometry:
    """One layer's lanes, arranged in groups that share a membrane unit.

    Neuron ``i`` is column ``i % columns`` of position ``i // columns``. Column ``c`` lives in fold ``c // lanes``
    of its position's ``row_folds``; within a fold, place ``p`` is lane ``p // groups`` of group ``p % groups``, so
    that the groups together deliver ``groups`` consecutive neurons per clock. A position's last fold, and the last
    lane of some groups, may be padding. Dense layers have one position.
    """

    n_in: int
    n_out: int
    groups: int
    lanes_per_group: int
    unroll: int = 1
    positions: int = 1
    """Runs of neurons that a row of weights reaches."""
    added: int = 0
    """Presynaptic neurons, the last ones, that are not the layer before's (:mod:`lifstream.hdl.layer.augment`)."""
    weight_rows: int | None = None
    """Rows of the weight matrix where targets are looked up (:mod:`lifstream.hdl.layer.targets`). None: every
    presynaptic neuron has a row of its own, which reaches all."""

    @property
    def walked(self) -> bool:
        """Whether a presynaptic neuron's targets are looked up."""
        return self.weight_rows is not None

    @property
    def n_before(self) -> int:
        """Presynaptic neurons that are the layer before's."""
        return self.n_in - self.added

    @property
    def columns(self) -> int:
        """Of the weight matrix: neurons of a position."""
        return self.n_out // self.positions

    @property
    def matrix_rows(self) -> int:
        """Rows of the weight matrix."""
        return self.n_in if self.weight_rows is None else self.weight_rows

    @property
    def row_folds(self) -> int:
        """Clocks to go through a row of the weight matrix."""
        return _ceil_div(self.columns, self.lanes)

    @property
    def padded_columns(self) -> int:
        """Places for the neurons of a position."""
        return self.row_folds * self.lanes

    @property
    def lanes(self) -> int:
        """Physical lanes: synaptic accumulators working at the same time."""
        return self.groups * self.lanes_per_group

    @property
    def folds(self) -> int:
        """Clocks to go through all neurons; of a dense layer, per spike event."""
        return self.positions * self.row_folds

    @property
    def rows(self) -> int:
        """Words of each group's weight memory: row ``r`` of the matrix is in words ``fold * matrix_rows + r``."""
        return self.matrix_rows * self.row_folds

    @property
    def deep(self) -> bool:
        """Whether folds are so many that what belongs to them is kept in block RAM, which is read ahead."""
        return self.walked and self.folds > 1

    @property
    def fold_latency(self) -> int:
        """Clocks from a fold being named to what belongs to it being there."""
        return 2 if self.deep else 0

    def blocks(self, steps: int) -> int:
        """Clocks to go through ``steps`` time steps, ``unroll`` at a time."""
        return _ceil_div(steps, self.unroll)

    def __str__(self) -> str:
        clocks = f"{counted(self.row_folds, 'clock')} per spike"
        if self.walked:
            clocks += f" and position it reaches, out of {self.positions}"
        lanes = f"{counted(self.lanes, 'lane')} in {counted(self.groups, 'group')}"
        more = f" and {self.added} more" if self.added else ""
        return f"Layer {self.n_before}{more} -> {self.n_out}: {lanes}, {clocks}"

    def to_json(self) -> dict[str, int]:
        """Plain values for ``NAME.v.json``."""
        return {"n_in": self.n_in, "n_out": self.n_out, "groups": self.groups,
                "lanes_per_group": self.lanes_per_group, "lanes": self.lanes, "folds": self.folds,
                "unroll": self.unroll,
                **({"positions": self.positions, "weight_rows": self.matrix_rows} if self.walked else {})}


def counted(count: int, what: str) -> str:
    """``1 clock``, ``2 clocks``."""
    return f"{count} {what}" + ("" if count == 1 else "s")


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
    neurons_per_unit
        Lanes that share a membrane unit, 1..8, for all layers or for each; None: 8, and in layers of maps, where a step
        serves every position that the sample has reached, as many as keep all of them from taking longer than half of
        what the spikes take, if an eighth of the inputs spike.

    Raises
    ------
    InputError
        A value out of bounds.
    """

    lanes: PerLayer
    pixels_per_clock: int = 4
    unroll: PerLayer = 2
    neurons_per_unit: PerLayer | None = None

    def __post_init__(self) -> None:
        _check_bounds("lanes", self.lanes, 1, 65_536)
        _check_bounds("pixels_per_clock", (self.pixels_per_clock,), 1, 16)
        _check_bounds("unroll", self.unroll, 1, 8)
        if self.neurons_per_unit is not None:
            _check_bounds("neurons-per-unit", self.neurons_per_unit, 1, LANES_PER_GROUP_MAX)

    def layer(self, spec: NetworkSpec, layer: int) -> LayerGeometry:
        """Geometry of one layer of ``spec``.

        Raises
        ------
        InputError
            There are numbers for another number of layers.
        """
        synapses = spec.layers[layer].synapses
        rows, columns = synapses.weight_shape
        walked = not synapses.all_to_all
        lanes = min(_of_layer("lanes", self.lanes, spec, layer), columns)
        if self.neurons_per_unit is not None:
            most = _of_layer("neurons-per-unit", self.neurons_per_unit, spec, layer)
        else:
            most = _neurons_per_unit(synapses) if walked else LANES_PER_GROUP_MAX
        groups = _ceil_div(lanes, most)
        return LayerGeometry(n_in=synapses.n_in, n_out=synapses.n_out, groups=groups,
                             lanes_per_group=_ceil_div(lanes, groups),
                             unroll=_of_layer("unroll", self.unroll, spec, layer),
                             positions=synapses.positions, added=synapses.n_in - synapses.n_before,
                             weight_rows=rows if walked else None)

    def only(self, spec: NetworkSpec, layer: int) -> Geometry:
        """What of it decides one layer's: the same for geometries that differ in other layers alone.

        Raises
        ------
        InputError
            There are numbers for another number of layers.
        """
        lanes = min(_of_layer("lanes", self.lanes, spec, layer), spec.layers[layer].synapses.weight_shape[1])
        shared = None if self.neurons_per_unit is None else \
            _of_layer("neurons-per-unit", self.neurons_per_unit, spec, layer)
        return Geometry(lanes=lanes, pixels_per_clock=1, unroll=_of_layer("unroll", self.unroll, spec, layer),
                        neurons_per_unit=shared)

    def layers(self, spec: NetworkSpec) -> list[LayerGeometry]:
        """Geometry of every layer of ``spec``; raises as :meth:`layer`."""
        return [self.layer(spec, layer) for layer in range(len(spec.layers))]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``NAME.v.json``; what differs between layers is a list."""
        chosen = {} if self.neurons_per_unit is None else {"neurons_per_unit": _plain(self.neurons_per_unit)}
        return {"lanes": _plain(self.lanes), "pixels_per_clock": self.pixels_per_clock,
                "unroll": _plain(self.unroll), **chosen}

    def __str__(self) -> str:
        return (f"lanes {per_layer_text(self.lanes)}, pixels per clock {self.pixels_per_clock}, "
                f"unroll {per_layer_text(self.unroll)}"
                + ("" if self.neurons_per_unit is None else
                   f", neurons per membrane unit {per_layer_text(self.neurons_per_unit)}"))


def balanced_lanes(spec: NetworkSpec, *, most: int) -> tuple[int, ...]:
    """Lanes per layer: as few as keep every layer from being slower than the slowest one is with ``most`` lanes.

    Layers are compared by their synaptic clocks, those of a step in which every input spikes: ``n_in x folds`` of a
    dense layer. So the layer that decides is the same whatever spikes, as long as the same share of each layer's
    inputs does.

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
    reached = [target_count(layer.synapses) for layer in spec.layers]
    slowest = max(targets * layer.row_folds for targets, layer in zip(reached, layers, strict=True))
    return tuple(min(most, _ceil_div(layer.columns, max(1, slowest // max(1, targets))))
                 for targets, layer in zip(reached, layers, strict=True))


def _neurons_per_unit(synapses: Synapses) -> int:
    """Lanes of a layer of maps that share a membrane unit, unless chosen."""
    return max(1, min(LANES_PER_GROUP_MAX, target_count(synapses) // (2 * _SPIKING * synapses.positions)))


@lru_cache(maxsize=64)
def target_count(synapses: Synapses) -> int:
    """Targets of all presynaptic neurons together."""
    return sum(1 for presynaptic in range(synapses.n_in) for _ in synapses.targets(presynaptic))


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

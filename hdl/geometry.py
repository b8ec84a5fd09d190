"""How the hardware is folded. Results never depend on it; area and cycles do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lifstream.golden.spec import InputError, NetworkSpec

__all__ = ["Geometry", "LayerGeometry"]

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


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Hardware-only choices for a whole network.

    Parameters
    ----------
    lanes
        Neurons of a layer updated per clock, at least 1; each layer takes ``min(lanes, n_out)``,
        rounded up to whole groups.
    window
        Pixels the encoder examines per clock, 1..16.
    unroll
        Time steps a weight update goes through per clock, 1..8.

    Raises
    ------
    InputError
        A value out of bounds.
    """

    lanes: int
    window: int = 4
    unroll: int = 2

    def __post_init__(self) -> None:
        for name, low, high in (("lanes", 1, 65_536), ("window", 1, 16), ("unroll", 1, 8)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"{name}: {value!r} is not an integer")
            if not low <= value <= high:
                raise InputError(f"{name}: {value} is out of bounds, must be {low}..{high}")

    def layer(self, spec: NetworkSpec, layer: int) -> LayerGeometry:
        """Geometry of one layer of ``spec``."""
        n_in, n_out = spec.sizes[layer], spec.sizes[layer + 1]
        lanes = min(self.lanes, n_out)
        groups = _ceil_div(lanes, LANES_PER_GROUP_MAX)
        return LayerGeometry(n_in=n_in, n_out=n_out, groups=groups,
                             lanes_per_group=_ceil_div(lanes, groups), unroll=self.unroll)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``NAME.v.json``."""
        return {"lanes": self.lanes, "window": self.window, "unroll": self.unroll}

"""What a network takes of an FPGA, and how fast it is, within about a second: nothing is synthesised or simulated.

Memories are mapped as synthesis maps them (:mod:`lifstream.boards.memories`). LUTs and flip-flops are sums over what
the design is made of (:mod:`lifstream.hdl.census`), with a family's weights, which ``python -m bench.fit`` fits to
syntheses. Clock cycles are a schedule (:mod:`lifstream.hdl.timing`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lifstream.boards.memories import mapped
from lifstream.boards.targets import Family, Target
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.census import Census, core_census, layer_facts, link_census
from lifstream.hdl.geometry import Geometry

__all__ = ["COUNTED", "Capacity", "Fmax", "Usage", "capacity", "census_by_part", "features", "fmax", "total", "usage",
           "usage_by_part"]

COUNTED = ("luts", "ffs")
"""What is fitted."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a design, or a part of one, takes: LUTs (of an iCE40 logic cells), flip-flops, and blocks of memory."""

    luts: float = 0
    ffs: float = 0
    block_rams: int = 0
    single_port_rams: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(luts=self.luts + other.luts, ffs=self.ffs + other.ffs,
                     block_rams=self.block_rams + other.block_rams,
                     single_port_rams=self.single_port_rams + other.single_port_rams)


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What an FPGA has, and how much of it a design may take: one that fills it cannot be placed."""

    luts: int
    ffs: int
    block_rams: int
    single_port_rams: int = 0
    full: float = 0.95

    def shares(self, usage: Usage) -> dict[str, tuple[float, int]]:
        """By the names people know: how much is used, and how much there is."""
        named = {"logic cells" if self.single_port_rams else "LUTs": (usage.luts, self.luts),
                 "flip-flops": (usage.ffs, self.ffs), "block RAMs": (usage.block_rams, self.block_rams)}
        if self.single_port_rams:
            named["single-port RAMs"] = (usage.single_port_rams, self.single_port_rams)
        return named

    def fits(self, usage: Usage) -> bool:
        """Whether all is there."""
        return all(used <= (available if "RAM" in name else self.full * available)
                   for name, (used, available) in self.shares(usage).items())


_CAPACITIES = {
    "ulx3s-85f": Capacity(luts=83_640, ffs=83_640, block_rams=208),
    # Of the iCE40 all but a few cells have been placed.
    "icebreaker": Capacity(luts=5_280, ffs=5_280, block_rams=30, single_port_rams=4, full=0.99),
    "tang-nano-9k": Capacity(luts=8_640, ffs=6_480, block_rams=26),
}


def capacity(target: Target) -> Capacity:
    """What a board's FPGA has.

    Raises
    ------
    InputError
        It is not known what a design takes of it.
    """
    try:
        return _CAPACITIES[target.name]
    except KeyError:
        raise InputError(f"--board: there are no syntheses for {target.name} to estimate from; choose one of: "
                         f"{', '.join(_CAPACITIES)}") from None


@dataclass(frozen=True, kw_only=True)
class Fmax:
    """Between which frequencies the fastest clock of like designs was, in MHz, and which those were."""

    low: float
    high: float
    basis: str


_FMAX = {
    (Family.ECP5, False): Fmax(low=87, high=96, basis="mnist-128, lanes 128, by place and route"),
    (Family.ECP5, True): Fmax(low=71, high=83, basis="conv-small and conv-mnist, by place and route"),
    (Family.ICE40, False): Fmax(low=26, high=28, basis="digits and 64-16-10, lanes 1, by place and route"),
    (Family.ICE40, True): Fmax(low=18, high=28, basis="dense networks; none of maps was placed"),
    (Family.GOWIN, False): Fmax(low=50, high=59, basis="digits, lanes 2, by place and route"),
    (Family.GOWIN, True): Fmax(low=27, high=59, basis="dense networks; none of maps was placed"),
}


def fmax(target: Target, spec: NetworkSpec) -> Fmax:
    """How fast a clock like designs allow: a class, no prediction."""
    return _FMAX[target.family, not all(layer.synapses.all_to_all for layer in spec.layers)]


_REGISTERED, _WIDEST = ("weights", "trains"), 36
"""Memories of an ECP5 whose answers go to registers that a block RAM takes over (:func:`absorb_output_registers`), but
for one of words as wide as this."""


def features(census: Census, family: Family) -> dict[str, float]:
    """What LUTs and flip-flops are fitted to: a part's bits of each kind, and what its memories take."""
    bits = census.bits
    taken: Counter[str] = Counter()
    for memory, count in census.memories.items():
        made = mapped(memory, family)
        taken["lut_ram"] += count * made.lut_rams
        taken["selected"] += count * made.selected
        taken["kept"] += count * made.registers
        if family is Family.ECP5 and memory.name in _REGISTERED and 0 < made.word_bits < _WIDEST:
            taken["absorbed"] += count * memory.width
    return {"register": bits["register"], "add": bits["add"] + bits["compare"], "mux": bits["mux"],
            "pick": bits["pick"], "shift": bits["shift"], "assign": bits["assign"],
            "logic": bits["logic"] + bits["reduce"] + bits["equal"], "choose": bits["choose"], **taken}


@cache
def _weights() -> dict[str, Any]:
    text = (resources.files("lifstream.boards") / "estimate.json").read_text()
    weights: dict[str, Any] = json.loads(text)["weights"]
    return weights


def usage(census: Census, family: Family) -> Usage:
    """What a part takes of an FPGA family."""
    found, weights = features(census, family), _weights()[family.value]
    blocks = [(mapped(memory, family), count) for memory, count in census.memories.items()]
    counted = {name: sum(weights[name].get(feature, 0) * value for feature, value in found.items()) for name in COUNTED}
    return Usage(luts=counted["luts"], ffs=counted["ffs"] - found.get("absorbed", 0),
                 block_rams=sum(made.block_rams * count for made, count in blocks),
                 single_port_rams=sum(made.single_port_rams * count for made, count in blocks))


def census_by_part(spec: NetworkSpec, geometry: Geometry) -> dict[str, Census]:
    """What a board's design is made of: each layer, what is around them, and the serial link."""
    parts = {f"layer {index}": layer_facts(spec, geometry, index).census for index in range(len(spec.layers))}
    return {"input, readout, host": core_census(spec, geometry.pixels_per_clock), **parts, "serial link": link_census()}


def usage_by_part(spec: NetworkSpec, geometry: Geometry, family: Family) -> dict[str, Usage]:
    """What each part of a board's design takes."""
    return {name: usage(part, family) for name, part in census_by_part(spec, geometry).items()}


def total(parts: Mapping[str, Usage] | Sequence[Usage]) -> Usage:
    """Of all parts."""
    found = Usage()
    for part in parts.values() if isinstance(parts, Mapping) else parts:
        found = found + part
    return found

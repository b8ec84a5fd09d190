"""Syntheses of many designs, which the estimate of resources is fitted to and tested against.

    python -m bench.synthesis                     # those that bench/syntheses.jsonl does not have yet
    python -m bench.synthesis --only icebreaker

Each is synthesised and packed as ``lifstream build`` would, and not placed; a line of JSON per design is appended as
soon as it is there, so that an interrupted run goes on. Which designs are to test was chosen before any was measured.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from lifstream.boards.flow import BuildFailed, counted
from lifstream.boards.targets import target_by_name
from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.study.presets import PRESETS, Preset, preset_by_name, preset_in_words
from lifstream.hdl.geometry import Geometry
from lifstream.options import GeometryOptions

__all__ = ["DESIGNS", "SYNTHESES", "Design", "kept"]

SYNTHESES = Path(__file__).parent / "syntheses.jsonl"


@dataclass(frozen=True)
class Design:
    """A network, its folding, and the board it is synthesised for.

    Parameters
    ----------
    board
        Name of the board; empty where none matters.
    network
        A preset's name, or words for ``dataset``.
    lanes
        As ``--lanes``; None: the board's.
    test
        Whether it tests the estimate, and is not used to fit it.
    varied
        Of :meth:`Preset.varied`.
    folding
        Further fields of :class:`GeometryOptions`.
    dataset
        What a network in words is for.
    """

    board: str
    network: str
    lanes: str | None = None
    test: bool = False
    varied: dict[str, Any] = field(default_factory=dict)
    folding: dict[str, Any] = field(default_factory=dict)
    dataset: str = "digits"

    @property
    def preset(self) -> Preset:
        """Its network."""
        base = preset_by_name(self.network) if self.network in PRESETS else \
            preset_in_words(self.network, dataset=self.dataset)
        return base.varied(**self.varied)

    @property
    def geometry(self) -> Geometry:
        """Its folding."""
        options = GeometryOptions(lanes=self.lanes, **self.folding)
        return options.geometry(self.preset.spec, target=target_by_name(self.board) if self.board else None)

    @property
    def name(self) -> str:
        """For people, and the same for the same design."""
        parts = [self.network if self.network in PRESETS else f"{self.network} ({self.dataset})",
                 *(f"{key} {value}" for key, value in (self.varied | self.folding).items())]
        board = [self.board] if self.board else []
        return ", ".join([*board, *parts, *([] if self.lanes is None else [f"lanes {self.lanes}"])])


_PAPER, _REWARD = NamedRule.PAPER, NamedRule.REWARD_STDP

DESIGNS = (
    # Small ones of every kind: a synthesis takes minutes.
    Design("icebreaker", "digits"),
    Design("icebreaker", "dense 16, dense 10", "2,1", True, {"weight_bits": 10}),
    Design("icebreaker", "conv 4 3x3/2, dense 10", "2,2"),
    Design("icebreaker", "conv 6 3x3/2, dense 10", "3,1", True),
    Design("icebreaker", "digits-stdp", "2", False, {"hidden": 20}),
    Design("icebreaker", "digits-stdp", "4", True, {"hidden": 16, "weight_bits": 6}),
    Design("icebreaker", "dense 10", "5", False, {}, {"unroll": "2", "pixels_per_clock": 2}),
    Design("icebreaker", "dense 12, dense 12, dense 10", "1,2,1", True),
    Design("ulx3s-85f", "digits", "8"),
    Design("ulx3s-85f", "dense 20, dense 10", "20,10", True, {"weight_bits": 12}),
    Design("ulx3s-85f", "conv 8 3x3/2, dense 10", "8,5"),
    Design("ulx3s-85f", "conv 6 3x3/2, dense 10", "6,10", True),
    Design("ulx3s-85f", "digits-stdp", "8", False, {"hidden": 16}),
    Design("ulx3s-85f", "digits-stdp", "12", True, {"hidden": 24}),
    Design("ulx3s-85f", "digits", None, False, {"rule": _PAPER}),
    Design("ulx3s-85f", "dense 16, dense 16, dense 10", "16,8,2", True, {}, {"unroll": "1"}),
    Design("tang-nano-9k", "conv 4 3x3/2, dense 10", "4,2"),
    Design("tang-nano-9k", "digits", "4", True, {"hidden": 24, "weight_bits": 12}),
    Design("tang-nano-9k", "digits-stdp", "4", False, {"hidden": 24}),
    Design("tang-nano-9k", "conv 6 3x3/2, dense 10", "3,2", True),
    Design("tang-nano-9k", "digits"),
    Design("tang-nano-9k", "dense 20, dense 16, dense 10", "2,4,2", True),
    Design("tang-nano-9k", "digits", "8", False, {"rule": _PAPER}),
    Design("tang-nano-9k", "digits-stdp", "2", True, {"rule": _REWARD, "hidden": 40}),
    Design("tang-nano-9k", "dense 24, dense 12, dense 10", "4,2,1", True, {}, {"unroll": "2"}),
    Design("tang-nano-9k", "digits", "10", True, {"hidden": 40, "steps": 12, "weight_bits": 10},
           {"pixels_per_clock": 4}),
    # Larger ones.
    Design("ulx3s-85f", "mnist-128", "32"),
    Design("ulx3s-85f", "mnist-128", "16", True, {"hidden": 64}, {"pixels_per_clock": 2}),
    Design("ulx3s-85f", "stdp-100", "20"),
    # Placed and routed once, see docs/results.md.
    Design("icebreaker", "digits", None, True, {"hidden": 16}),
    Design("ulx3s-85f", "mnist-128"),
    Design("ulx3s-85f", "conv-small", "16,16,10", True),
    Design("ulx3s-85f", "conv-mnist", "12,16,10", True),
)
"""All designs; every name is one's own."""


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by the designs' names."""
    if not path.exists():
        return {}
    return {line["design"]: line for line in map(json.loads, path.read_text().splitlines())}


def measured(design: Design) -> dict[str, Any]:
    """Synthesise a design; a line of the file."""
    target, spec = target_by_name(design.board), design.preset.spec
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        taken = counted(target, spec=spec, geometry=design.geometry, folder=Path(folder), watch=lambda *_: None)
        cells = json.loads((Path(folder) / "stat.json").read_text())["design"]["num_cells_by_type"]
        log = (Path(folder) / "synthesise.log").read_text()
        mapped = Counter(re.findall(r"^(?:mapping memory|using FF mapping for memory) (\S+(?: via \S+)?)", log, re.M))
    return {"design": design.name, "board": design.board, "spec_digest": spec.digest(),
            "geometry": design.geometry.to_json(), "seconds": round(time.monotonic() - begun),
            "packed": {name: resource.used for name, resource in taken.items() if resource.used},
            "mapped": mapped,
            "cells": {name: count for name, count in sorted(cells.items()) if not name.startswith("$")}}


def main(only: Annotated[str, typer.Option(help="Designs with this in their names alone.")] = "",
         part: Annotated[str, typer.Option(help="Every N-th alone, from the K-th: K/N.")] = "0/1") -> None:
    """Synthesise the designs that were not measured before."""
    first, every = map(int, re.fullmatch(r"(\d+)/(\d+)", part).groups())    # type: ignore[union-attr]
    for design in [design for design in DESIGNS if only in design.name][first::every]:
        if design.name in kept(SYNTHESES):
            continue
        try:
            line = measured(design)
        except BuildFailed as error:
            print(f"{design.name}: {error}", flush=True)
            continue
        with SYNTHESES.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(f"{design.name}: {line['packed']} in {line['seconds']} s", flush=True)


if __name__ == "__main__":
    typer.run(main)

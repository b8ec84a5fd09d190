"""Fits what a bit of each kind takes of an FPGA family to the syntheses, and shows how far the estimates are off.

    python -m bench.fit                           # writes boards/estimate.json

Designs to test are left out of the fit. There are few others, so weights stay near those that a LUT of four inputs per
bit suggests, first for all families together, each with a factor of its own, then for each family near those; none is
negative.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.cycles import CYCLES, IMAGES
from bench.cycles import DESIGNS as SIMULATED
from bench.synthesis import DESIGNS, SYNTHESES, Design, kept
from lifstream.boards.estimate import COUNTED, census_by_part, features, usage
from lifstream.boards.targets import Family, target_by_name
from lifstream.golden.files import write_text
from lifstream.golden.study.activity import measured_activity
from lifstream.golden.study.datasets import load_dataset
from lifstream.hdl.timing import image_cycles
from lifstream.library import model_of_preset

__all__ = ["Off", "cycles_off", "fitted", "resources_off"]

_WEIGHTS = Path(__file__).parent.parent / "boards" / "estimate.json"

_EXPECTED = {
    "luts": {"register": 0.15, "add": 1.0, "mux": 0.6, "pick": 0.4, "shift": 0.5, "assign": 0.4, "logic": 0.4,
             "choose": 0.15, "selected": 0.4, "kept": 1.0},
    "ffs": {"register": 0.95, "kept": 1.0},
}
"""Per bit, before anything was measured; what is not here is no part of the fit."""
_KNOWN: dict[Family, dict[str, dict[str, float]]] = {
    Family.ECP5: {"luts": {"lut_ram": 4.0}, "ffs": {}},
    Family.ICE40: {"luts": {}, "ffs": {}},
    Family.GOWIN: {"luts": {"lut_ram": 8.0}, "ffs": {"lut_ram": 6.0}},
}
"""What need not be fitted: the places that a memory of LUTs takes in place and route, flip-flops beside it too."""
_NEARNESS = 0.03
"""How much a weight that is wrong by all of itself counts, beside an estimate that is."""

_MEASURED = {
    Family.ECP5: {"luts": "TRELLIS_COMB", "ffs": "TRELLIS_FF", "block_rams": "DP16KD"},
    Family.ICE40: {"luts": "ICESTORM_LC", "ffs": "SB_DFF", "block_rams": "ICESTORM_RAM",
                   "single_port_rams": "ICESTORM_SPRAM"},
    Family.GOWIN: {"luts": "LUT4", "ffs": "DFF", "block_rams": "BSRAM"},
}


_LEAST = 0.05
"""Of what was expected, at least so much is what a family's weights are near to."""


def taken(line: dict[str, Any]) -> dict[str, int]:
    """What a synthesised design takes, under the estimate's names."""
    names = _MEASURED[target_by_name(line["board"]).family]
    found = {name: line["packed"].get(cell, 0) for name, cell in names.items()}
    if line["board"] == "icebreaker":   # flip-flops are not counted by themselves there
        found["ffs"] = sum(count for cell, count in line["cells"].items() if cell.startswith("SB_DFF"))
    return found


def non_negative_least_squares(matrix: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ``x >= 0`` for which ``matrix @ x`` is nearest to ``wanted``, one coordinate after the other."""
    gram, aim = matrix.T @ matrix, matrix.T @ wanted
    found = np.zeros(matrix.shape[1])
    for _ in range(20_000):
        before = found.copy()
        for index in range(len(found)):
            rest = aim[index] - gram[index] @ found + gram[index, index] * found[index]
            found[index] = max(0.0, rest / gram[index, index])
        if np.abs(found - before).max() < 1e-9:
            break
    return found


def _relative(rows: list[dict[str, float]], wanted: list[float], expected: dict[str, float]) -> NDArray[np.float64]:
    """A design per row, a feature per column: what the expected weight of it makes of what is wanted."""
    return np.array([[row.get(name, 0.0) * weight for name, weight in expected.items()] for row in rows]) \
        / np.array(wanted)[:, None]


def _near(parts: NDArray[np.float64], expected: dict[str, float]) -> dict[str, float]:
    """Weights with which each row adds up to 1, by relative errors, near the expected ones times one factor."""
    factor = 1 / float(parts.sum(axis=1).mean())
    near = np.eye(len(expected)) * _NEARNESS
    found = non_negative_least_squares(np.vstack([factor * parts, near]),
                                       np.concatenate([np.ones(len(parts)), np.full(len(expected), _NEARNESS)]))
    return {name: float(factor * each * weight) for each, (name, weight) in zip(found, expected.items(), strict=True)}


def measured_designs(*, test: bool) -> list[tuple[Design, dict[str, Any]]]:
    """Designs that were synthesised, to test or to fit, with their lines."""
    lines = kept(SYNTHESES)
    return [(design, lines[design.name]) for design in DESIGNS if design.name in lines and design.test == test]


def fitted() -> dict[str, dict[str, dict[str, float]]]:
    """Weights by family, by what is fitted, by feature: first of all families together, each with a factor of its own,
    then of each near those."""
    rows: dict[Family, list[dict[str, float]]] = {}
    wanted: dict[Family, list[dict[str, int]]] = {}
    for design, line in measured_designs(test=False):
        family, found = target_by_name(design.board).family, Counter[str]()
        for part in census_by_part(design.preset.spec, design.geometry).values():
            found.update(features(part, family))
        takes = taken(line)
        takes["ffs"] += int(found["absorbed"])
        rows.setdefault(family, []).append(found)
        wanted.setdefault(family, []).append(takes)
    weights: dict[str, dict[str, dict[str, float]]] = {family.value: {} for family in rows}
    for what in COUNTED:
        left = {family: [takes[what] - sum(row.get(name, 0) * weight for name, weight in _KNOWN[family][what].items())
                         for row, takes in zip(rows[family], wanted[family], strict=True)] for family in rows}
        parts = [_relative(rows[family], left[family], _EXPECTED[what]) for family in rows]
        shared = _near(np.vstack([each / each.sum(axis=1).mean() for each in parts]), _EXPECTED[what])
        shared = {name: max(weight, _LEAST * _EXPECTED[what][name]) for name, weight in shared.items()}
        for family in rows:
            own = _near(_relative(rows[family], left[family], shared), shared)
            weights[family.value][what] = {name: round(weight, 4)
                                           for name, weight in (_KNOWN[family][what] | own).items()}
    return weights


@dataclass(frozen=True, kw_only=True)
class Off:
    """How far an estimate is off.

    Parameters
    ----------
    design
        Its name.
    test
        Whether it was left out of the fit.
    estimated, measured
        By what is estimated.
    """

    design: str
    test: bool
    estimated: dict[str, float]
    measured: dict[str, float]

    def error(self, what: str) -> float:
        """As a share of what was measured."""
        return self.estimated[what] / self.measured[what] - 1


def resources_off(*, test: bool) -> list[Off]:
    """Of the designs that were synthesised."""
    found = []
    for design, line in measured_designs(test=test):
        family = target_by_name(design.board).family
        parts = [usage(part, family) for part in census_by_part(design.preset.spec, design.geometry).values()]
        measured = taken(line)
        found.append(Off(design=design.name, test=test, measured=measured,
                         estimated={name: sum(getattr(part, name) for part in parts) for name in measured}))
    return found


def cycles_off(*, test: bool) -> list[Off]:
    """Of the designs that were co-simulated, from the activity of the same images and weights."""
    lines, found = kept(CYCLES), []
    for design in SIMULATED:
        if design.name not in lines or design.test != test:
            continue
        preset, data = design.preset, load_dataset("digits")
        network, rate = model_of_preset(preset)[0].network, preset.training.rate_shift
        activity = {"infer": measured_activity(network, data.test[:IMAGES]),
                    "learn": measured_activity(network, data.train[:IMAGES], rate_shift=rate)}
        found.append(Off(design=design.name, test=test, measured={name: lines[design.name][name] for name in activity},
                         estimated={name: image_cycles(preset.spec, design.geometry, samples,
                                                       rate_shift=rate if name == "learn" else None).total
                                    for name, samples in activity.items()}))
    return found


def _table(rows: list[Off], title: str) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.measured))
    table = Table(title=title, box=None)
    table.add_column("design")
    for name in names:
        table.add_column(f"{name}: estimated, measured, off", justify="right")
    for row in rows:
        table.add_row(row.design + (" (test)" if row.test else ""), *(
            f"{row.estimated[name]:,.0f} {row.measured[name]:,.0f} {row.error(name):+.1%}"
            if row.measured.get(name) else "" for name in names))
    return table


def _distribution(rows: list[Off], title: str) -> Table:
    """Of the errors of the designs to test, by what is estimated."""
    table = Table(title=title, box=None)
    for heading in ("", "designs", "mean of the absolute errors", "largest too small", "largest too large"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in dict.fromkeys(name for row in rows for name in row.measured):
        errors = [row.error(name) for row in rows if row.measured.get(name)]
        if errors:
            table.add_row(name, str(len(errors)), f"{np.abs(errors).mean():.1%}", f"{min(0, *errors):+.1%}",
                          f"{max(0, *errors):+.1%}")
    return table


def main() -> None:
    """Fit, write the weights, show the errors."""
    designs = [design.name for design, _ in measured_designs(test=False)]
    write_text(_WEIGHTS, json.dumps({"weights": fitted(), "designs": designs}, indent=1) + "\n")
    console = Console(width=200)
    for title, off in (("resources", resources_off), ("clock cycles per image", cycles_off)):
        tested = off(test=True)
        console.print(_table(off(test=False) + tested, title))
        console.print(_distribution(tested, f"{title}: designs to test"))


if __name__ == "__main__":
    main()

"""Checkpoints of a co-simulation that were not written by one: refused before a simulator starts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.protocol import COUNTERS
from lifstream.golden.study.archive import write_archive
from lifstream.golden.study.model_files import network_to
from lifstream.sim.checkpoint import require_checkpoint
from tests.conftest import random_network

SPEC = flat_network(sizes=(6, 4, 3), dropout=20)
PLAYED = (10, 7)
JUNK: list[Any] = [None, True, -1, 10**20, 1.5, "text", [], [1], [None], {}, {"a": 1}]


def header() -> dict[str, Any]:
    """Of a run that has played three images of its second segment."""
    entry = dict.fromkeys(COUNTERS, 5) | {"images": 13, "correct": 2, "count": 3, "learning": False, "clocks": 950}
    return {"format": 1, "kind": "cosim checkpoint", "run": "abc", "random_states": [17], "state": {
        "played": 13, "cycles": 900, "predictions": [0, -1, 2] * 4 + [1], "history": [entry, entry],
        "segments": [{"split": "test", "learning": True, "images": 10, "accuracy": 0.5}],
        "segment_index": 1, "start": 3, "right": 2}}


def required(path: Path, values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    write_archive(path, values, network_to(random_network(SPEC, 1)) if arrays is None else arrays)
    require_checkpoint(path, run="abc", spec=SPEC, played=PLAYED)


def test_a_whole_one(tmp_path: Path) -> None:
    required(tmp_path / "c.npz", header())


@pytest.mark.parametrize("change", [{"run": "other"}, {"kind": "checkpoint"}, {"kind": None}, {"run": ["abc"]}])
def test_of_another_run(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="belongs to another run"):
        required(tmp_path / "c.npz", header() | change)


def test_malformed_fields(tmp_path: Path) -> None:
    places = [(["state", name], value) for name in header()["state"] for value in JUNK]
    places += [(["state", "history", 1, name], value) for name in (*COUNTERS, "count", "clocks") for value in JUNK]
    places += [(["state", "segments", 0, name], value) for name in ("split", "learning") for value in JUNK]
    places += [([name], value) for name in ("state", "random_states") for value in [*JUNK, [0], [1 << 32], [1, 1]]]
    for place, value in places:
        values = copy.deepcopy(header())
        inner: Any = values
        for name in place[:-1]:
            inner = inner[name]
        if (place[-1], value) in (("split", "text"), ("learning", True), ("random_states", [1])) or (
                value is True and "history" in place[:-1]):
            continue
        inner[place[-1]] = value
        with pytest.raises(InputError, match=r"c\.npz.*corrupt"):
            required(tmp_path / "c.npz", values)


def test_numbers_that_do_not_fit_together(tmp_path: Path) -> None:
    for change in ({"segment_index": 2}, {"start": 8}, {"right": 4}, {"played": 12}, {"segment_index": 0},
                   {"predictions": [3] * 13}, {"predictions": [0] * 12}, {"history": []}, {"history": [{}]},
                   *({"history": [{name: value for name, value in entry.items() if name != missing}]}
                     for entry in header()["state"]["history"][:1] for missing in entry)):
        values = header()
        values["state"] |= change
        with pytest.raises(InputError, match="corrupt"):
            required(tmp_path / "c.npz", values)


def test_other_weights(tmp_path: Path) -> None:
    arrays = network_to(random_network(SPEC, 1))
    for changed in ({}, {**arrays, "weights_0": np.zeros((6, 5), np.int16)}, {**arrays, "extra": np.zeros(3)},
                    {**arrays, "weights_0": np.full((6, 4), 40_000)}):
        with pytest.raises(InputError, match=r"c\.npz"):
            required(tmp_path / "c.npz", header(), changed)

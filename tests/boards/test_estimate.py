"""Estimates against syntheses and co-simulations that they were not fitted to, and the parts they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cycles import CYCLES
from bench.cycles import DESIGNS as SIMULATED
from bench.fit import Off, cycles_off, fitted, non_negative_least_squares, resources_off, taken
from bench.synthesis import DESIGNS, SYNTHESES, Design, kept, measured
from lifstream.boards.estimate import _weights, capacity, census_by_part, fmax, total, usage, usage_by_part
from lifstream.boards.fitting import chosen_lanes
from lifstream.boards.memories import mapped
from lifstream.boards.targets import Family, target_by_name
from lifstream.golden.contract.errors import InputError
from lifstream.golden.study.activity import Rates, random_activity
from lifstream.golden.study.presets import PRESETS, preset_by_name, preset_in_words
from lifstream.hdl.census import MemoryShape
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.timing import image_cycles

LEAST = 12
"""Designs that were not used in the fit."""
BOUNDS = {"luts": 0.2, "ffs": 0.2, "block_rams": 0.1, "single_port_rams": 0.0, "infer": 0.1, "learn": 0.1}


def beyond(rows: list[Off]) -> list[str]:
    """What is further off than its bound."""
    return [f"{row.design}: {what} {row.estimated[what]:.0f}, measured {row.measured[what]}"
            for row in rows for what in row.measured
            if row.measured[what] and abs(row.error(what)) > BOUNDS[what] + 1e-9]


@pytest.fixture(scope="module")
def synthesised() -> list[Off]:
    return resources_off(test=True)


@pytest.fixture(scope="module")
def simulated() -> list[Off]:
    return cycles_off(test=True)


def test_resources_of_designs_that_were_not_fitted(synthesised: list[Off]) -> None:
    assert len(synthesised) >= LEAST
    assert len({row.design.split(",")[0] for row in synthesised}) == 3
    assert beyond(synthesised) == []


def test_cycles_of_designs_that_were_not_fitted(simulated: list[Off]) -> None:
    assert len(simulated) >= LEAST
    assert beyond(simulated) == []


def test_a_quarter_more_would_be_noticed(synthesised: list[Off], simulated: list[Off]) -> None:
    for rows in (synthesised, simulated):
        for what in rows[0].measured:
            wrong = [replace(row, estimated={**row.estimated, what: 1.25 * row.estimated[what] + 1}) for row in rows
                     if what in row.measured]
            assert beyond(wrong), what


@pytest.mark.parametrize(("designs", "path"), [(DESIGNS, SYNTHESES), (SIMULATED, CYCLES)])
def test_what_was_measured_is_what_is_described(designs: tuple[Design, ...], path: Path) -> None:
    lines = kept(path)
    assert len({design.name for design in designs}) == len(designs)
    assert set(lines) <= {design.name for design in designs}
    for design in designs:
        if design.name in lines:
            line = lines[design.name]
            assert line["spec_digest"] == design.preset.spec.digest(), design.name
            assert line["geometry"] == json.loads(json.dumps(design.geometry.to_json())), design.name


def test_the_weights_are_those_of_the_fit() -> None:
    made = fitted()
    assert set(made) == set(_weights())
    for family, quantities in made.items():
        for what, weights in quantities.items():
            assert weights == pytest.approx(_weights()[family][what], abs=2e-3)


def test_no_weight_is_negative() -> None:
    import numpy as np

    random = np.random.RandomState(3)
    matrix = random.random_sample((20, 4))
    wanted = matrix @ [1.0, 2.0, 3.0, -2.0]
    found = non_negative_least_squares(matrix, wanted)
    assert (found >= 0).all()
    assert found[3] == pytest.approx(0)
    for index in range(4):  # no step from there helps
        for step in (-1e-3, 1e-3):
            moved = np.maximum(0, found + step * (np.arange(4) == index))
            assert ((matrix @ moved - wanted) ** 2).sum() >= ((matrix @ found - wanted) ** 2).sum() - 1e-9


@pytest.mark.regress
@pytest.mark.parametrize("design", [
    Design("icebreaker", "dense 8, dense 10", "1,1"), Design("tang-nano-9k", "dense 10", "2")], ids=str)
def test_fresh_syntheses(design: Design) -> None:
    line = taken(measured(design))
    family = target_by_name(design.board).family
    parts = [usage(part, family) for part in census_by_part(design.preset.spec, design.geometry).values()]
    off = Off(design=design.name, test=True, measured=line,
              estimated={name: sum(getattr(part, name) for part in parts) for name in line})
    assert beyond([off]) == []


def memory(depth: int, width: int, *, writes: int = 1, sync: int = 1, comb: int = 0, name: str = "m") -> MemoryShape:
    return MemoryShape(name=name, depth=depth, width=width, writes=writes, sync_reads=sync, async_reads=comb)


@pytest.mark.parametrize(("family", "shape", "takes"), [
    (Family.ECP5, memory(784, 128), {"block_rams": 8}),
    (Family.ECP5, memory(784, 28), {"block_rams": 2}),
    (Family.ECP5, memory(32, 16, sync=0, comb=1), {"lut_rams": 8}),
    (Family.ECP5, memory(256, 20, writes=0), {"block_rams": 1}),
    (Family.ECP5, memory(16, 4, name="order"), {"lut_rams": 1}),
    (Family.GOWIN, memory(8, 48), {"lut_rams": 12}),
    (Family.ICE40, memory(8, 48), {"block_rams": 3}),
    (Family.ICE40, memory(4, 8, sync=0, comb=1), {"registers": 32}),
    (Family.ICE40, memory(32, 6, sync=0, comb=2), {"block_rams": 2}),
    (Family.ICE40, memory(2048, 16, name="weights"), {"single_port_rams": 1}),
    (Family.ICE40, memory(20_000, 17, name="weights"), {"single_port_rams": 4}),
], ids=str)
def test_a_memory_becomes(family: Family, shape: MemoryShape, takes: dict[str, int]) -> None:
    made = mapped(shape, family)
    assert {name: getattr(made, name) for name in ("block_rams", "single_port_rams", "lut_rams", "registers")
            if getattr(made, name)} == takes


def test_parts_add_up() -> None:
    spec = preset_by_name("digits").spec
    parts = usage_by_part(spec, Geometry(lanes=4), Family.ECP5)
    assert list(parts) == ["input, readout, host", "layer 0", "layer 1", "serial link"]
    assert total(parts).luts == pytest.approx(sum(part.luts for part in parts.values()))
    assert total(parts).block_rams == sum(part.block_rams for part in parts.values())


def test_boards_have_classes_of_clocks() -> None:
    dense, maps = preset_by_name("digits").spec, preset_by_name("conv-digits").spec
    for name in ("ulx3s-85f", "icebreaker", "tang-nano-9k"):
        target = target_by_name(name)
        assert fmax(target, maps).low <= fmax(target, dense).low
        assert fmax(target, dense).low <= fmax(target, dense).high
        assert capacity(target).luts > 5_000
    with pytest.raises(InputError, match="arty-a7 to estimate from"):
        capacity(target_by_name("arty-a7"))


# -- lanes --------------------------------------------------------------------------------------


def chosen(words: str, board: str, *, most_cycles: float | None) -> tuple[list[int], float, bool]:
    spec = preset_by_name(words).spec if words in PRESETS else preset_in_words(words, dataset="digits").spec
    target = target_by_name(board)
    samples = random_activity(spec, Rates.typical(spec), samples=3)
    choice = chosen_lanes(spec, target, target.geometry(spec), samples, most_cycles=most_cycles)
    assert choice.cycles == image_cycles(spec, choice.geometry, samples)
    return [layer.lanes for layer in choice.geometry.layers(spec)], choice.cycles.total, choice.fits


def test_no_more_lanes_than_the_speed_needs() -> None:
    words = "dense 24, dense 10"
    spec = preset_in_words(words, dataset="digits").spec
    samples = random_activity(spec, Rates.typical(spec), samples=3)
    lanes, cycles, fits = chosen(words, "ulx3s-85f", most_cycles=2_000)
    assert fits
    assert cycles <= 2_000
    for layer in range(2):
        fewer = tuple(count - (index == layer) for index, count in enumerate(lanes))
        if min(fewer) >= 1:
            slower = image_cycles(spec, replace(target_by_name("ulx3s-85f").geometry(spec), lanes=fewer), samples)
            assert slower.total > 2_000, fewer


def test_as_many_lanes_as_fit() -> None:
    lanes, cycles, fits = chosen("digits", "icebreaker", most_cycles=None)
    assert fits
    assert lanes[1] <= lanes[0]     # the first layer has more to do
    wide, quick, _ = chosen("digits", "tang-nano-9k", most_cycles=None)
    assert wide[0] > lanes[0]
    assert quick < cycles


@pytest.mark.parametrize("check", [
    lambda: chosen("dense 24, dense 10", "ulx3s-85f", most_cycles=1)[1] > 1,
    lambda: not chosen("dense 250, dense 10", "icebreaker", most_cycles=None)[2],
], ids=["too fast", "too large"])
def test_what_cannot_be_is_told(check: Callable[[], bool]) -> None:
    assert check()

"""Cached runs, comparisons and sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, named_rule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.study.comparison import (
    PUBLISHED,
    Row,
    Variant,
    grid,
    markdown,
    measured_row,
    published_rows,
    variants,
)
from lifstream.golden.study.cost import ecp5_block_rams, synaptic_operations, weight_memory_bits
from lifstream.golden.study.experiments import Experiment, Failure, Measurement, Store, run_experiments
from lifstream.golden.study.figures import comparison_figure, save_figure, sweep_figure
from lifstream.golden.study.presets import PRESETS, Preset
from lifstream.golden.twin.engine import Arithmetic
from tests.conftest import flat

DIGITS = replace(PRESETS["digits"], training=replace(PRESETS["digits"].training, epochs=1))


def experiments(*seeds: int) -> list[Experiment]:
    return [Experiment(preset=DIGITS, seed=seed, test=True) for seed in seeds]


def broken(preset: Preset) -> Preset:
    """Impossible only when it is run: the network has too few classes for the data."""
    return replace(preset, spec=changed(preset.spec, sizes=(64, 8, 3)))


def test_the_key_is_what_decides_the_result() -> None:
    base = experiments(1)[0]
    others = [replace(base, seed=2), replace(base, test=False), replace(base, arithmetic=Arithmetic.FLOAT),
              replace(base, preset=DIGITS.varied(weight_bits=12)),
              replace(base, preset=replace(DIGITS, training=replace(DIGITS.training, shift=1)))]
    assert len({experiment.key() for experiment in [base, *others]}) == 6
    assert replace(base, preset=replace(DIGITS, name="another name")).key() == base.key()


def test_a_finished_run_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    first = dict(run_experiments(experiments(1, 2), store=store))
    monkeypatch.setattr("lifstream.golden.study.experiments.Trainer", None)
    assert dict(run_experiments(experiments(1, 2), store=store)) == first
    again = dict(run_experiments(experiments(3), store=store))
    assert all(isinstance(result, Failure) for result in again.values())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json"]


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    [(experiment, first)] = run_experiments(experiments(1), store=store)
    for damage in ("", "{", '{"unknown": 1}', "[]"):
        (tmp_path / f"{experiment.key()}.json").write_text(damage)
        [(_, again)] = run_experiments(experiments(1), store=store)
        assert again == first


def test_workers_measure_the_same(tmp_path: Path) -> None:
    alone = dict(run_experiments(experiments(1, 2, 3), store=Store(tmp_path / "alone")))
    together = dict(run_experiments(experiments(1, 2, 3), store=Store(tmp_path / "together"), workers=2))
    assert alone == together


def test_a_failing_run_does_not_stop_the_others(tmp_path: Path) -> None:
    chosen = [Experiment(preset=broken(DIGITS), seed=1), *experiments(1)]
    results = dict(run_experiments(chosen, store=Store(tmp_path)))
    assert results[chosen[0]] == Failure(message="data set digits: 10 classes, but digits tells 3 apart")
    assert isinstance(results[chosen[1]], Measurement)


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    longer = replace(DIGITS, training=replace(DIGITS.training, epochs=3))
    chosen = [Experiment(preset=longer, seed=1, test=True)]
    expected = dict(run_experiments(chosen, store=Store(tmp_path / "whole")))
    epochs: list[int] = []

    def stop(report: object) -> None:
        task = report.task  # type: ignore[attr-defined]
        if task.startswith("epoch 3"):
            raise KeyboardInterrupt
        epochs.append(int(task[6]) if task.startswith("epoch") else 0)

    with pytest.raises(KeyboardInterrupt):
        list(run_experiments(chosen, store=Store(tmp_path / "parts"), report=stop))
    epochs.clear()
    again = dict(run_experiments(chosen, store=Store(tmp_path / "parts"), report=lambda report: epochs.append(
        int(report.task[6]) if report.task.startswith("epoch") else 3)))
    assert again == expected
    assert min(epochs) == 3
    assert [path.suffix for path in (tmp_path / "parts").iterdir()] == [".json"]


def test_a_cluster_measures_the_same(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    alone = dict(run_experiments(experiments(1, 2), store=Store(tmp_path / "alone")))
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                                  dashboard_address=None) as cluster:
        together = dict(run_experiments(experiments(1, 2), store=Store(tmp_path / "cluster"),
                                        scheduler=cluster.scheduler_address))
    assert alone == together


def test_no_scheduler_is_one_error(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    for address in ("nonsense://x", "tcp://127.0.0.1:1"):
        with pytest.raises(InputError, match="no Dask scheduler answers at"):
            list(run_experiments(experiments(1), store=Store(tmp_path), scheduler=address))


# -- tables ------------------------------------------------------------------------------------

def test_rows_of_the_comparison() -> None:
    rows = variants(DIGITS, epochs=4)
    assert [row.arithmetic for row in rows].count(Arithmetic.FLOAT) == 2
    assert {row.preset.spec.layers[0].formats.weight_bits for row in rows} == {6, 8, 12, 16}
    assert {flat(row.preset.spec).rounding for row in rows} == set(Rounding)
    assert {named_rule(row.preset.spec) for row in rows} == {NamedRule.PAPER, NamedRule.GRADED}
    assert {row.preset.training.epochs for row in rows} == {4}


def measurement(accuracy: float) -> Measurement:
    return Measurement(validation_accuracy=0.5, test_accuracy=accuracy, epochs=3, update_rate=0.1,
                       updates_per_image=30.0, spikes_per_image=[100.0, 20.0, 5.0], digest="0")


def test_row_from_measurements() -> None:
    row = measured_row(name="n", source="s", spec=flat_network(sizes=(784, 128, 10)), arithmetic=Arithmetic.INTEGER,
                       results=[measurement(0.9), measurement(0.94), Failure(message="broke")])
    assert round(row.mean or 0, 12) == 0.92
    assert round(row.spread or 0, 12) == round(0.02 * 2**0.5, 12)
    assert (row.spikes, row.operations, row.updates) == (125, 100 * 128 + 20 * 10, 30)
    assert row.failures == ("broke",)
    assert row.to_json()["mean"] == row.mean
    page = markdown([row, *published_rows("mnist")], title="T", notes=["N"])
    assert "92.00 % ± 2.83 (n = 2), 1 failed" in page
    assert "* n: broke" in page
    assert "98.41 %" in page
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_row_without_results() -> None:
    row = measured_row(name="n", source="s", spec=flat_network(sizes=(8, 4)), arithmetic=Arithmetic.FLOAT,
                       results=[Failure(message="broke")])
    assert row.mean is row.spread is row.spikes is None
    assert "| failed |" in markdown([row], title="T", notes=[])


def test_published_figures_have_sources() -> None:
    assert all(system.source and system.accuracy for system in PUBLISHED)
    assert published_rows("digits") == []
    paper = published_rows("fashion-mnist")[0]
    assert (paper.mean, paper.parameters) == (0.8756, 885_000)


def test_costs() -> None:
    spec = flat_network(sizes=(784, 128, 10))
    assert weight_memory_bits(spec) == (784 * 128 + 1280) * 16
    assert ecp5_block_rams(flat_network(sizes=(784, 128))) == 114
    assert ecp5_block_rams(flat_network(sizes=(64, 32))) == -(-32 * 16 // 36)
    assert synaptic_operations(spec, [2000.0, 100.0]) == 2000 * 128 + 100 * 10


def test_grid() -> None:
    points = grid(DIGITS, weight_bits=[8, 1], hidden=[16], rules=[NamedRule.PAPER, NamedRule.GRADED])
    assert [point.name for point in points] == [
        f"rule {rule}, weight bits {bits}, hidden neurons 16" for rule in ("paper", "graded") for bits in (8, 1)]
    assert isinstance(points[0].variant, Variant)
    assert flat(points[0].variant.preset.spec).sizes == (64, 16, 10)
    assert points[0].variant.preset.spec.layers[0].formats.weight_fraction == 6
    assert isinstance(points[1].variant, Failure)
    assert "weight_bits: 1" in points[1].variant.message
    assert [point.name for point in grid(DIGITS)] == ["as the preset"]
    assert [point.variant.arithmetic for point in grid(DIGITS, arithmetics=list(Arithmetic))
            if isinstance(point.variant, Variant)] == list(Arithmetic)
    [stochastic] = [point.variant for point in grid(DIGITS, roundings=[Rounding.STOCHASTIC], weight_bits=[8])]
    assert isinstance(stochastic, Variant)
    assert flat(stochastic.preset.spec).rounding is Rounding.STOCHASTIC
    assert stochastic.preset.training.rate_shift == DIGITS.training.rate_shift - 1
    fewer = grid(DIGITS, steps=[10])[0].variant
    assert isinstance(fewer, Variant)
    assert flat(fewer.preset.spec).desire_margin == 2
    assert fewer.preset.training.rate_shift == DIGITS.training.rate_shift - 1
    margins = [flat(DIGITS.varied(steps=steps).spec).desire_margin for steps in (1, 2, 4, 9, 10, 32)]
    assert margins == [0, 1, 1, 1, 2, 6]


def test_figures_of_odd_tables(tmp_path: Path) -> None:
    empty = Row(name="e", source="", network="", accuracies=(), parameters=None, memory_bits=None)
    save_figure(comparison_figure([empty, *published_rows("mnist")], title="t"), tmp_path / "c.png")
    save_figure(sweep_figure([({}, empty)], measure="m", title="t"), tmp_path / "s.png")
    words = [({"arithmetic": kind}, replace(empty, accuracies=(0.5,))) for kind in ("integer", "float")]
    save_figure(sweep_figure(words, measure="m", title="t"), tmp_path / "w.png")
    save_figure(sweep_figure([({"steps": 4, "rule": "paper"}, replace(empty, accuracies=(0.5, 0.6))),
                              ({"steps": 8, "rule": "graded"}, empty)], measure="m", title="t"), tmp_path / "t.png")
    assert all(path.stat().st_size > 5_000 for path in tmp_path.iterdir())


def test_stored_results_are_plain_json(tmp_path: Path) -> None:
    [(experiment, _)] = run_experiments(experiments(1), store=Store(tmp_path))
    stored = json.loads((tmp_path / f"{experiment.key()}.json").read_text())
    assert 0 < stored["test_accuracy"] <= 1
    assert len(stored["spikes_per_image"]) == 3


@pytest.mark.parametrize("choice", [{"weight_bits": 0}, {"weight_bits": -3}, {"weight_bits": 10**9}, {"steps": 0},
                                    {"steps": 10**400}, {"steps": -1}, {"hidden": 0}, {"hidden": 10**400}])
@pytest.mark.parametrize("name", ["digits", "digits-stdp"])
def test_impossible_variations(name: str, choice: dict[str, int]) -> None:
    with pytest.raises(InputError, match="out of bounds"):
        PRESETS[name].varied(**choice)  # type: ignore[arg-type]

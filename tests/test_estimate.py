"""The commands estimate and explore, as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lifstream import explore
from lifstream.golden.study import datasets
from lifstream.golden.study.comparison import Variant
from lifstream.golden.study.experiments import Failure, Measurement
from lifstream.golden.study.figures import pareto_figure, save_figure
from lifstream.golden.study.pareto import DesignPoint, pareto_front
from tests.test_cli import fails, run

SMALL = ("--layers", "dense 12, dense 10", "--dataset", "digits")


def estimated(*arguments: str, cwd: Path, status: int = 0) -> dict[str, Any]:
    done = run("estimate", *arguments, "--json", cwd=cwd)
    assert done.returncode == status, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_released_model_is_estimated_by_its_own_spikes(tmp_path: Path) -> None:
    report = estimated("--board", "icebreaker", "digits", cwd=tmp_path)
    assert report["fits"]
    assert report["activity"].startswith("the trained model on 50 test images")
    assert report["bottleneck"] == "logic cells"
    assert report["luts"] == pytest.approx(sum(part["luts"] for part in report["parts"].values()), abs=4)
    assert report["images_per_second"]["infer"] == pytest.approx(18e6 / report["cycles_per_image"]["infer"], rel=1e-3)
    assert report["cycles_per_image"]["train"] > report["cycles_per_image"]["infer"]
    assert [layer["lanes"] for layer in report["layers"]] == [1, 1]


def test_people_read_the_same(tmp_path: Path) -> None:
    done = run("estimate", "--board", "icebreaker", "digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for told in ("layer 1", "serial link", "fits; scarcest: logic cells", "images/s at 18 MHz", "MHz (digits and"):
        assert told in done.stdout


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    report = estimated("--board", "icebreaker", "--preset", "mnist-128", "--data-dir", str(tmp_path), cwd=tmp_path,
                       status=1)
    assert not report["fits"]
    assert report["single_port_rams"] > report["available"]["single-port RAMs"]


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        raise AssertionError("an estimate needs no images")

    monkeypatch.setattr(datasets, "_download", download)
    monkeypatch.setattr(datasets, "_candidate_folders", lambda _: [tmp_path])
    report = estimated("--board", "ulx3s-85f", "local-mnist", cwd=tmp_path)
    assert report["activity"].startswith("assumed")
    assert report["activity"].endswith("assumed too")


def test_without_a_model_the_activity_is_assumed(tmp_path: Path) -> None:
    report = estimated("--board", "tang-nano-9k", *SMALL, cwd=tmp_path)
    assert report["activity"].startswith("assumed")
    assert report["activity"].endswith("from test images")


def test_lanes_for_a_speed(tmp_path: Path) -> None:
    slow, quick = (estimated("--board", "ulx3s-85f", *SMALL, "--target-images-per-second", speed, cwd=tmp_path)
                   for speed in ("20000", "60000"))
    assert slow["target_reached"]
    assert quick["target_reached"]
    assert slow["images_per_second"]["infer"] >= 20_000
    assert slow["layers"][0]["lanes"] < quick["layers"][0]["lanes"]
    assert slow["luts"] < quick["luts"]
    # What was chosen can be asked for.
    lanes = ",".join(map(str, slow["geometry"]["lanes"]))
    again = estimated("--board", "ulx3s-85f", *SMALL, "--lanes", lanes, cwd=tmp_path)
    assert again["luts"] == slow["luts"]
    assert again["cycles_per_image"] == slow["cycles_per_image"]


def test_a_speed_out_of_reach_is_told(tmp_path: Path) -> None:
    done = run("estimate", "--board", "ulx3s-85f", *SMALL, "--target-images-per-second", "1e9", cwd=tmp_path)
    assert done.returncode == 1
    assert "NOT reached" in done.stdout


@pytest.mark.parametrize(("arguments", "naming"), [
    (("--board", "toaster", "digits"), "board 'toaster' is unknown"),
    (("--board", "arty-a7", "digits"), "--board: there are no syntheses for arty-a7"),
    (("--board", "icebreaker", "digits", "--lanes", "1,2,3"), "--lanes: '1,2,3' is for 3 layers"),
    (("--board", "icebreaker", "digits", "--lanes", "0"), "--lanes: 0 is out of bounds"),
    (("--board", "icebreaker", "digits", "--neurons-per-unit", "9"), "--neurons-per-unit: 9"),
    (("--board", "icebreaker", "digits", "--fit", "--lanes", "4"), "--lanes: they are chosen by --fit"),
    (("--board", "icebreaker", "digits", "--target-images-per-second", "0"), "--target-images-per-second: 0"),
    (("--board", "icebreaker", "digits", "--target-images-per-second", "nan"), "--target-images-per-second: nan"),
    (("--board", "icebreaker", "digits", "--clock", "-3"), "--clock: -3 MHz"),
    (("--board", "icebreaker", "digits", "--samples", "0"), "--samples"),
    (("--board", "icebreaker", "nowhere"), "network 'nowhere' is unknown"),
    (("--board", "icebreaker"), "estimate: name either a NETWORK"),
    (("--board", "icebreaker", "digits", "--preset", "digits"), "only one of them"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_estimate_refuses(arguments: tuple[str, ...], naming: str, tmp_path: Path) -> None:
    fails("estimate", *arguments, cwd=tmp_path, naming=naming)


# -- exploring ----------------------------------------------------------------------------------


def untrained(chosen: Sequence[Variant], seeds: int, *_: object, **__: object) -> list[list[Measurement | Failure]]:
    """Accuracies that grow with neurons and bits, where training would take longer."""
    found: list[list[Measurement | Failure]] = []
    for variant in chosen:
        spec = variant.preset.spec
        accuracy = 1 - 1 / spec.layers[0].n_out - 1 / spec.layers[0].formats.weight_bits ** 2
        found.append([Measurement(
            validation_accuracy=accuracy, test_accuracy=None, epochs=1, update_rate=0.5, updates_per_image=1.0,
            spikes_per_image=[300.0, *(0.1 * layer.n_out * spec.steps for layer in spec.layers)], digest="")] * seeds)
    return found


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "run_variants", untrained)


@pytest.mark.usefixtures("at_once")
def test_explore(tmp_path: Path) -> None:
    done = run("explore", "--dataset", "digits", "--board", "icebreaker", "--hidden", "8,90", "--widths", "16",
               "--out", "found", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == [
        "explore.json", "explore.md", "explore.png"]
    designs = {design["name"]: design for design in report["designs"]}
    assert json.loads((tmp_path / "found" / "explore.json").read_text()) == report["designs"]
    assert len(designs) == 2
    small, large = designs["weight bits 16, hidden neurons 8"], designs["weight bits 16, hidden neurons 90"]
    assert small["fits"]
    assert small["pareto"]
    assert not large["fits"]
    assert not large["pareto"]      # it is the most accurate, but does not fit
    assert max(large["shares"].values()) > 1
    assert max(small["shares"].values()) <= 1
    assert "| weight bits 16, hidden neurons 8 |" in (tmp_path / "found" / "explore.md").read_text()


@pytest.mark.usefixtures("at_once")
def test_explore_networks_in_words(tmp_path: Path) -> None:
    done = run("explore", "--dataset", "digits", "--board", "tang-nano-9k", "--networks",
               "dense 10; dense 6, dense 10", "--widths", "8", "--target-images-per-second", "20000",
               "--out", "found", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    designs = json.loads(done.stdout)["designs"]
    assert [design["name"] for design in designs] == ["dense10, weight bits 8", "dense6-dense10, weight bits 8"]
    assert all(design["images_per_second"] >= 20_000 for design in designs if design["fits"])
    assert any(design["fits"] for design in designs)


@pytest.mark.regress
def test_explore_trains_once(tmp_path: Path) -> None:
    arguments = ("explore", "--dataset", "digits", "--board", "tang-nano-9k", "--hidden", "8", "--widths", "8",
                 "--epochs", "1", "--store", "runs", "--out", "found", "--json")
    first = run(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    [result] = (tmp_path / "runs").iterdir()
    stamp = result.stat().st_mtime_ns
    second = run(*arguments, cwd=tmp_path)
    assert second.stdout == first.stdout
    assert result.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("arguments", "naming"), [
    (("--board", "toaster"), "board 'toaster' is unknown"),
    (("--board", "arty-a7"), "there are no syntheses"),
    (("--board", "icebreaker", "--dataset", "letters"), "data set 'letters' is unknown"),
    (("--board", "icebreaker", "--hidden", "8,x"), "--hidden: '8,x'"),
    (("--board", "icebreaker", "--hidden", "0"), "--hidden: 0 is not possible"),
    (("--board", "icebreaker", "--epochs", "0"), "--epochs: 0"),
    (("--board", "icebreaker", "--preset", "mnist-128"), "--preset: mnist-128 is for mnist"),
    (("--board", "icebreaker", "--networks", "dense 10", "--preset", "digits"), "--networks: networks are named"),
    (("--board", "icebreaker", "--networks", "dense 10;"), "layers:"),
    (("--board", "icebreaker", "--target-images-per-second", "-1"), "--target-images-per-second: -1"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_explore_refuses(arguments: tuple[str, ...], naming: str, tmp_path: Path) -> None:
    fails("explore", *arguments, cwd=tmp_path, naming=naming)
    assert not (tmp_path / "build").exists()


def test_the_front_holds_what_no_other_beats() -> None:
    points = [(0.9, -10.0), (0.8, -5.0), (0.8, -6.0), (0.95, -20.0), (0.9, -10.0), (0.7, -5.0)]
    assert pareto_front(points) == [True, True, False, True, True, False]
    assert pareto_front([]) == []


def test_a_plot_of_anything(tmp_path: Path) -> None:
    def point(name: str, fits: bool, speed: float) -> DesignPoint:
        return DesignPoint(name=name, family=f"f{speed}", accuracy=0.5, costs={"LUTs": 0.4}, images_per_second=speed,
                           fits=fits)

    for number, points in enumerate(([point("a", True, 10.0)], [point("a", False, 10.0)],
                                     [point(f"${index}", index % 2 == 0, 10.0 ** index) for index in range(5)])):
        save_figure(pareto_figure(points, measure="accuracy", title="t" * 200), tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5_000

"""Importing a network of another tool, as a user does it: the file, the report, the Verilog, the board."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.input import Pixels
from lifstream.golden.model.encoder import unpacked
from lifstream.golden.study.model_files import find_model, load_model
from lifstream.golden.study.own_data import load_data
from tests.golden.test_nir import affine, conv, graph, integrate, nir, pool, unlike, unlike_slow
from tests.test_cli import fails, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recurrent network in NIR, of neurons that differ, spike trains for it, and what they become."""
    made = tmp_path_factory.mktemp("import")
    nir.write(made / "net.nir", graph(affine(6, 5), unlike_slow(6), affine(3, 6), unlike(3),
                                      back=("n1", nir.Affine(weight=np.full((6, 6), -0.1), bias=np.zeros(6)))))
    random = np.random.default_rng(1)
    np.savez(made / "mine.npz", **{f"{part}_{kind}": values for part, count in (("train", 8), ("test", 5))
                                   for kind, values in (("spikes", random.random((count, 12, 5)) < 0.3),
                                                        ("labels", np.arange(count) % 3))})
    done = run("import", "net.nir", "--out", "m.npz", "--calibrate", "mine.npz", "--json", cwd=made)
    assert done.returncode == 0, done.stderr
    (made / "report.json").write_text(done.stdout)
    return made


def test_the_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert (report["steps"], report["samples"], report["calibrated_on"]) == (12, 8, "mine")
    first, last = report["layers"]
    assert (first["name"], first["weights"], first["weight_bits"], last["weights"]) == ("n1", 5 * 6 + 36 + 6, 16, 21)
    assert (first["saturated"], last["saturated"]) == (0, 0)
    assert 0 < first["largest_error"] < 2.0**-first["weight_fraction"]
    assert all(re.fullmatch(r"\d+\.\.\d+ / 2\*\*\d+", decay) for decay in (
        first["potential_decay"], first["current_decay"], last["potential_decay"]))
    assert report["notes"] == ["time step 0.0001 s, the default; --dt gives another"]
    shown = run("import", "net.nir", "--out", "n.npz", "--weight-bits", "6", "--steps", "9", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    for each in ("net.nir: 5-6-3, 93 weights", "6 bits", "changed", "20 samples of 9 steps, random",
                 "answered differently", "n.npz"):
        assert each in shown.stdout


@pytest.mark.regress
def test_the_model_goes_everywhere(folder: Path) -> None:
    model = load_model(folder / "m.npz")
    assert (model.preset, model.dataset, model.training["imported"]) == ("net", "mine", "net.nir")
    data = load_data(str(folder / "mine.npz"))
    assert unpacked(data.train.images, steps=12, neurons=5).tolist() == \
        np.load(folder / "mine.npz")["train_spikes"].tolist()
    simulated = run("cosim", "m.npz", "--dataset", "mine.npz", "--images", "5", "--stalls", "random", "--json",
                    cwd=folder)
    assert simulated.returncode == 0, simulated.stderr
    told = json.loads(simulated.stdout)
    evaluated = run("eval", "m.npz", "--dataset", "mine.npz", "--json", cwd=folder)
    assert evaluated.returncode == 0, evaluated.stderr
    assert (told["bit_exact"], told["accuracy"]) == (True, json.loads(evaluated.stdout)["test_accuracy"])
    board = run("board", "--simulated", "m.npz", "infer", "--dataset", "random", "--images", "2", "--json", cwd=folder)
    assert board.returncode == 0, board.stderr
    assert json.loads(board.stdout)["answers_equal"]
    planted = run("cosim", "m.npz", "--dataset", "random", "--images", "3", "--plant-fault", "pixel",
                  "--divergence-clocks", "0", cwd=folder)
    assert planted.returncode == 1
    assert "encoder, neuron" in planted.stderr
    own = run("cosim", "m.npz", "--dataset", "random", "--images", "3", "--plant-fault", "parameter", cwd=folder)
    assert own.returncode == 1
    assert re.search(r"image \d, step \d+, layer [01], neuron \d: (membrane potential|spike) expected ", own.stderr)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_the_shipped_bench(folder: Path) -> None:
    done = run("verilog", "--model", "m.npz", "--name", "taken", "--out", "v", cwd=folder)
    assert done.returncode == 0, done.stderr
    subprocess.run(["iverilog", "-g2012", "-o", "bench", "taken_tb.v", "taken.v"], cwd=folder / "v", check=True)
    said = subprocess.run(["vvp", "bench"], cwd=folder / "v", check=True, capture_output=True, text=True).stdout
    assert "PASS: every answer is the golden model's" in said
    assert "sample of class" in said


def test_maps_of_events(tmp_path: Path) -> None:
    nir.write(tmp_path / "maps.nir", graph(
        conv(3, 2, (3, 3), (6, 4), padding=1), integrate((3, 6, 4)), pool(nir.SumPool2d, 2),
        nir.Flatten({"input": np.array([3, 3, 2])}, 0, -1), affine(4, 18), integrate(4), shape=(2, 6, 4)))
    random = np.random.default_rng(2)
    np.savez(tmp_path / "d.npz", **{f"{part}_{kind}": values for part in ("train", "test") for kind, values in (
        ("spikes", (random.random((4, 10, 2, 6, 4)) < 0.2).astype(np.int8)), ("labels", np.arange(4)))})
    done = run("import", "maps.nir", "--out", "m.npz", "--calibrate", "d.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = run("cosim", "m.npz", "--dataset", "d.npz", "--images", "3", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["bit_exact"], told.stderr


def test_images_make_a_network_of_images(tmp_path: Path) -> None:
    def behind(shape: tuple[int, ...], channels: int, size: tuple[int, int]) -> Any:
        return graph(conv(2, channels, (2, 2), size, stride=2), integrate((2, size[0] // 2, size[1] // 2)),
                     nir.Flatten({"input": np.array([2, size[0] // 2, size[1] // 2])}, 0, -1),
                     affine(10, 64 // channels // 2), integrate(10), shape=shape)

    nir.write(tmp_path / "image.nir", behind((1, 8, 8), 1, (8, 8)))
    nir.write(tmp_path / "vector.nir", graph(affine(10, 64), integrate(10), shape=(64,)))
    for name, steps, wanted in (("image", (), 20), ("vector", ("--steps", "9"), 9)):
        done = run("import", f"{name}.nir", "--out", f"{name}.npz", "--calibrate", "digits", *steps, "--json",
                   cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["steps"], told["samples"], told["calibrated_on"]) == (wanted, 20, "digits")
        assert load_model(tmp_path / f"{name}.npz").network.spec.input == Pixels(count=64)
    simulated = run("cosim", "image.npz", "--images", "3", "--json", cwd=tmp_path)
    assert simulated.returncode == 0, simulated.stderr
    assert json.loads(simulated.stdout)["bit_exact"]
    evaluated = run("eval", "vector.npz", "--json", cwd=tmp_path)
    assert json.loads(evaluated.stdout)["images"] == 360, evaluated.stderr
    nir.write(tmp_path / "two.nir", behind((2, 4, 8), 2, (4, 8)))
    nir.write(tmp_path / "wide.nir", behind((1, 4, 16), 1, (4, 16)))
    for name, map_ in (("two", "4x8x2"), ("wide", "4x16x1")):
        fails("import", f"{name}.nir", "--out", "x.npz", "--calibrate", "digits", cwd=tmp_path,
              naming=f"--calibrate: digits holds images of 8x8, but the graph takes a map of {map_}")


def test_what_is_refused(folder: Path) -> None:
    (folder / "broken.nir").write_bytes(b"none")
    nir.write(folder / "delay.nir", graph(nir.Delay(delay=np.ones(5)), integrate(5)))

    def refuses(*arguments: str, naming: str) -> None:
        fails(*arguments, cwd=folder, naming=naming)

    refuses("import", "nothing.nir", "--out", "x.npz", naming="nothing.nir: no such file")
    refuses("import", "broken.nir", "--out", "x.npz", naming="broken.nir: holds no NIR graph")
    refuses("import", "delay.nir", "--out", "x.npz", naming="delay.nir: node n0 (Delay): is not supported; what is: ")
    refuses("import", "net.nir", "--out", "net.nir/x.npz", naming="net.nir")
    refuses("import", "net.nir", "--out", "x.npz", "--weight-bits", "25", naming="--weight-bits")
    refuses("import", "net.nir", "--out", "x.npz", "--dt", "-1", naming="net.nir: --dt: -1.0 is no time step")
    refuses("import", "net.nir", "--out", "x.npz", "--calibrate", "digits",
            naming="digits: 64 pixels, but the model takes 5")
    refuses("import", "net.nir", "--out", "x.npz", "--calibrate", "mine.npz", "--steps", "9",
            naming="--steps: 9, but mine has 12 time steps")
    refuses("cosim", "m.npz", "--train", "--dataset", "random", naming="the network's weights do not change")
    refuses("cosim", "m.npz", "--dataset", "digits", naming="digits: holds images, but the model takes events")
    refuses("board", "--simulated", "m.npz", "train", "--dataset", "random", naming="the network's weights do not cha")
    refuses("cosim", "digits", "--dataset", "mine.npz", naming="mine: holds events, but the model takes images")
    assert not (folder / "x.npz").exists()


def test_spike_trains_that_are_none(tmp_path: Path) -> None:
    spikes, labels = np.zeros((3, 4, 5), np.uint8), np.zeros(3, int)

    def refuses(naming: str, **changes: Any) -> None:
        arrays = {"train_spikes": spikes, "train_labels": labels, "test_spikes": spikes, "test_labels": labels}
        np.savez(tmp_path / "d.npz", **{name: value for name, value in (arrays | changes).items() if value is not None})
        fails("cosim", "digits", "--dataset", "d.npz", cwd=tmp_path, naming=naming)

    refuses("train_spikes holds 2, must be 0..1", train_spikes=spikes + 2)
    refuses("expected integers, (count, steps, neurons) or (count, steps, channels, height, width)",
            train_spikes=spikes[..., None])
    refuses("3 train spikes but 2 labels", train_labels=labels[:2])
    refuses("test_spikes is missing", test_spikes=None)
    refuses("are of other kinds, channels or steps", test_spikes=spikes[:, :3])


def test_export_and_back(tmp_path: Path) -> None:
    assert run("export", "conv-digits", "--out", "x.nir", cwd=tmp_path).returncode == 0
    back = run("import", "x.nir", "--out", "back.npz", "--json", cwd=tmp_path)
    assert json.loads(back.stdout)["restored"]
    assert load_model(tmp_path / "back.npz").network.digest() == load_model(find_model("conv-digits")).network.digest()
    told = run("eval", "back.npz", "--dataset", "digits", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["test_accuracy"] == pytest.approx(0.9861, abs=1e-4), told.stderr
    fails("export", "nothing", "--out", "x.nir", cwd=tmp_path, naming="nothing: no such file")
    fails("export", "digits", "--out", "x.nir/y.nir", cwd=tmp_path, naming="x.nir")
    os.mkfifo(tmp_path / "pipe")
    fails("export", "digits", "--out", "pipe", cwd=tmp_path, naming="pipe: is no regular file")


def test_recordings_are_a_data_set(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        path = tmp_path / part / "1" / "a.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([3, 4, 0x80, 0, 9]))
    done = run("events", ".", "--format", "n-mnist", "--steps", "6", "--scale", "2", "--out", "n.npz", cwd=tmp_path)
    assert "1 training and 1 test samples of 6 steps, 17x17x2 neurons, 1 spikes" in done.stdout, done.stderr
    learnt = run("cosim", "--layers", "conv 2 3x3/2, dense 2", "--dataset", "n.npz", "--train", "--images", "1",
                 "--json", cwd=tmp_path)
    assert json.loads(learnt.stdout)["bit_exact"], learnt.stderr
    fails("events", "nowhere", "--format", "shd", "--steps", "6", "--out", "n.npz", cwd=tmp_path, naming="shd_train.h5")
    fails("events", ".", "--format", "n-mnist", "--steps", "6", "--seconds", "0", "--out", "n.npz", cwd=tmp_path,
          naming="--seconds: 0.0 is no time")

"""The command line, as a user meets it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from lifstream import hardware
from lifstream.accuracy import train_network
from lifstream.cli import main
from lifstream.console import Output
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.model_files import load_model
from lifstream.golden.study.presets import preset_by_name
from lifstream.sim import cosim as cosimulation
from tests.conftest import error_lines, write_idx

COMMANDS = ("train", "eval", "compare", "sweep", "estimate", "explore", "import", "export", "events", "verilog",
            "cosim", "demo", "play")


def run(*arguments: str, cwd: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Call the command in this very process, which has imported everything already."""
    out, err = io.StringIO(), io.StringIO()
    with (chdir(cwd), redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", ["lifstream", *arguments]),
          patch.dict(os.environ, {} if path is None else {"PATH": path}), pytest.raises(SystemExit) as left):
        main()
    return subprocess.CompletedProcess(arguments, int(left.value.code or 0), out.getvalue(), err.getvalue())


def fails(*arguments: str, cwd: Path, naming: str, path: str | None = None) -> None:
    """Exit status 2, and one line on stderr that names the culprit (after what a slow machine has to say first)."""
    done = run(*arguments, cwd=cwd, path=path)
    assert done.returncode == 2, done.stderr
    lines = error_lines(done.stderr)
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lifstream: ")
    assert naming in lines[0]
    assert done.stdout == ""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("cli")
    done = run("train", "--preset", "digits", "--epochs", "2", "--out", "d.npz", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, tmp_path: Path) -> None:
    done = run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize("arguments", [
    ("board",), ("board", "infer"), ("board", "train"), ("board", "weights"), ("board", "--preset", "digits", "train"),
    ("build",), ("program",)])
def test_help_needs_nothing_else(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ("--simulated" in done.stdout) == (arguments[0] == "board")


def test_no_command_shows_the_commands(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert all(command in done.stdout for command in COMMANDS)


def test_train_reports_and_eval_agrees(trained: tuple[Path, dict[str, object]]) -> None:
    folder, report = trained
    assert sorted(path.name for path in folder.iterdir()) == ["d.metrics.jsonl", "d.npz", "d.png"]
    lines = [json.loads(line) for line in (folder / "d.metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(line["images_per_second"] > 0 for line in lines)
    done = run("eval", "d.npz", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads(done.stdout)
    assert evaluation["test_accuracy"] == report["test_accuracy"]
    assert evaluation["images"] == 360
    assert evaluation["digest"] == report["digest"]
    people = run("eval", "d.npz", cwd=folder)
    assert f"test accuracy {100 * evaluation['test_accuracy']:.2f} %" in people.stdout


@pytest.mark.simulation
def test_cosim_and_planted_fault(trained: tuple[Path, dict[str, object]]) -> None:
    folder, _ = trained
    command = ("cosim", "d.npz", "--images", "30", "--lanes", "8")
    done = run(*command, "--stalls", "random", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bit_exact"] is True
    assert report["images"] == 30
    assert report["cycles_per_image"] > 0
    done = run(*command, "--plant-fault", "weight", "--divergence-clocks", "0", cwd=folder)
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("image", "step", "layer", "neuron", "expected", "got", "clock", "ns",
                                                "harness.dut.network.layer_"))
    done = run(*command, "--plant-fault", "weight", "--divergence-clocks", "0", "--json", cwd=folder)
    report = json.loads(done.stdout)
    assert report["mismatches"][0] == report["divergence"]
    assert 1 < len(report["mismatches"]) <= 10


@pytest.mark.simulation
def test_a_simulator_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    real = cosimulation.run_bench

    def dying(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **{**options, "module": "nowhere.tb_none"})

    monkeypatch.setattr(cosimulation, "run_bench", dying)
    done = run("cosim", "--preset", "digits", "--images", "2", "--lanes", "4", cwd=tmp_path)
    assert done.returncode == 1
    [line] = error_lines(done.stderr)
    assert "without a result" in line
    log = Path(line.rsplit("see ", 1)[1])
    assert log.exists()


@pytest.mark.simulation
def test_cosim_learns(tmp_path: Path) -> None:
    done = run("cosim", "--preset", "digits", "--train", "--images", "40", "--epochs", "2", "--lanes", "8",
               "--check-every", "15", "--test-images", "20", "--figure", "f.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bit_exact"] is True
    assert report["images"] == 80
    assert report["test_images"] == 20
    assert set(report["cycles"]) == {"load", "forward", "desire", "update"}
    assert sum(report["cycles"].values()) == report["cycles_per_image"]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    done = run("cosim", "--preset", "digits", "--train", "--images", "40", "--epochs", "2", "--lanes", "8",
               "--plant-fault", "update", "--divergence-clocks", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("image", "layer", "row", "column", "expected", "got"))


@pytest.mark.regress
@pytest.mark.simulation
def test_cosim_resumes(tmp_path: Path) -> None:
    """Killed somewhere after its first checkpoint, a run continues to the weights of one that was not."""
    command = ["cosim", "--preset", "digits", "--train", "--images", "20", "--epochs", "3", "--lanes", "8",
               "--check-every", "10", "--test-images", "20", "--json"]
    whole = json.loads(run(*command, cwd=tmp_path).stdout)
    command += ["--checkpoint", "c.npz"]
    started = subprocess.Popen([sys.executable, "-c", "from lifstream.cli import main; main()", *command],
                               cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    while not (tmp_path / "c.npz").exists() and started.poll() is None:
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    done = run(*command, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)
    for name in ("bit_exact", "images", "digest", "accuracy", "train_accuracy", "update_rate"):
        assert resumed[name] == whole[name], name
    fails(*command, "--resume", "--seed", "9", cwd=tmp_path, naming="belongs to another run")
    fails(*command[:-2], "--resume", cwd=tmp_path, naming="--checkpoint")


def test_verilog_writes_its_files(tmp_path: Path) -> None:
    done = run("verilog", "--preset", "digits", "--lanes", "7", "--name", "my_core", "--out", "out", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["files.f", "my_core.v", "my_core.v.json", "my_core.vlt", "my_core.xml", "my_core_instance.vh",
                           "my_core_tb.v"]
    assert sorted(Path(path).name for path in report["files"]) == written
    assert report["spec_digest"] == json.loads((tmp_path / "out" / "my_core.v.json").read_text())["spec_digest"]
    fails("verilog", "--preset", "digits", "--name", "1st", "--out", "no", cwd=tmp_path, naming="module name '1st'")
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.simulation
def test_the_generated_bench_classifies_an_image(tmp_path: Path) -> None:
    """All files of the folder, whatever the folder in which it runs; the weights are the released model's."""
    done = run("verilog", "--preset", "digits", "--name", "digits_core", "--out", "build/v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sources = sorted(str(path) for path in (tmp_path / "build/v").glob("*.v"))
    subprocess.run(["iverilog", "-g2012", "-o", tmp_path / "tb", *sources], check=True)
    (tmp_path / "elsewhere").mkdir()
    played = subprocess.run(["vvp", tmp_path / "tb"], cwd=tmp_path / "elsewhere", capture_output=True, text=True,
                            check=True)
    assert "digits_core: prediction 2; image of a 2; spike counts 0 0 14 " in played.stdout
    assert played.stdout.splitlines()[-1].startswith("PASS")
    assert "Weights: the released model digits, digest 891ba9e24b78f457." in Path(sources[1]).read_text()


def test_a_network_too_large_for_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lifstream.hdl.usage.BENCH_BYTES_MAX", 1000)
    hardware.verilog(out=tmp_path, preset="digits", lanes="4")
    assert "wrote no bench" in capsys.readouterr().out
    assert not (tmp_path / "top_tb.v").exists()


@pytest.mark.simulation
def test_demo(tmp_path: Path) -> None:
    done = run("demo", "--epochs", "1", "--out", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert "bit-exact" in last
    assert "accuracy" in last
    assert (tmp_path / "report" / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "**Bit-exact**: 360 test images" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize("lanes", ["0", "-1", "many", "1.5"])
@pytest.mark.parametrize("command", ["verilog", "cosim"])
def test_impossible_lanes(tmp_path: Path, command: str, lanes: str) -> None:
    extra = ["--out", "out"] if command == "verilog" else []
    fails(command, "--preset", "digits", "--lanes", lanes, *extra, cwd=tmp_path, naming="lanes")
    assert not (tmp_path / "out").exists()


def test_bad_arguments(tmp_path: Path) -> None:
    fails("train", "--preset", "nothing", cwd=tmp_path, naming="'nothing' is unknown")
    fails("train", cwd=tmp_path, naming="--preset")
    fails("train", "--preset", "digits", "--epochs", "0", cwd=tmp_path, naming="epochs: 0")
    fails("cosim", cwd=tmp_path, naming="name either a MODEL, a --preset, --layers or --spec")
    fails("cosim", "--preset", "digits", "digits", cwd=tmp_path, naming="or --spec, and only one of them")
    fails("cosim", "digits", "--waves", "w.lxt", cwd=tmp_path, naming="w.lxt: a waveform's name ends in .vcd or .fst")
    fails("cosim", "--preset", "digits", "--images", "0", cwd=tmp_path, naming="--images: 0")
    fails("cosim", "--preset", "digits", "--stalls", "often", cwd=tmp_path, naming="random")
    fails("cosim", "--preset", "digits", "--train", "--epochs", "0", cwd=tmp_path, naming="--epochs: 0")
    fails("cosim", "--preset", "digits", "--unroll", "9", cwd=tmp_path, naming="unroll: 9")
    fails("eval", "nowhere.npz", cwd=tmp_path, naming="nowhere.npz")
    fails("wander", cwd=tmp_path, naming="wander")


def test_model_of_another_preset(trained: tuple[Path, dict[str, object]]) -> None:
    fails("eval", "d.npz", "--preset", "mnist-128", cwd=trained[0], naming="use the preset it was trained with: digits")


WORDS = ("--layers", "conv 4 3x3/2, dense 10", "--dataset", "digits")


@pytest.fixture(scope="module")
def trained_in_words(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("words")
    done = run("train", *WORDS, "--epochs", "1", "--validation", "1400", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_a_network_in_words_is_trained(trained_in_words: tuple[Path, dict[str, Any]]) -> None:
    folder, report = trained_in_words
    assert (report["preset"], report["layers"], report["out"]) == (
        "conv4-dense10", "conv 4 3x3/2, dense 10", "conv4-dense10.npz")
    assert sorted(path.suffix for path in folder.iterdir()) == [".jsonl", ".npz", ".png", ".png"]
    for named in ((), WORDS):
        done = run("eval", "conv4-dense10.npz", *named, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        evaluated = json.loads(done.stdout)
        assert (evaluated["digest"], evaluated["spec_digest"], evaluated["test_accuracy"], evaluated["dataset"]) == (
            report["digest"], report["spec_digest"], report["test_accuracy"], "digits")
    fails("eval", "conv4-dense10.npz", "--preset", "digits", cwd=folder,
          naming="the words it was trained with: --layers 'conv 4 3x3/2, dense 10' --dataset digits")
    fails("eval", "conv4-dense10.npz", "--layers", "dense 10", "--dataset", "digits", cwd=folder, naming="asked for")


def test_a_network_says_first_what_it_is(tmp_path: Path) -> None:
    done = run("train", *WORDS, "--epochs", "1", "--validation", "1430", "--weight-bits", "8", "--rounding", "half-up",
               "--out", "n.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ("conv4-dense10: conv 4 3x3/2, dense 10; 676 weights of 8 bits, for digits")
    done = run("verilog", "--preset", "digits", "--lanes", "4", "--out", "v", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "digits: dense 32, dense 10; 2,368 weights of 16 bits, for digits"


def test_a_convolution_of_narrow_weights_is_trained(tmp_path: Path) -> None:
    done = run("train", "--preset", "conv-digits", "--weight-bits", "8", "--epochs", "1", "--validation", "1400",
               "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec_digest"] != json.loads(
        run("verilog", "--preset", "conv-digits", "--lanes", "4", "--out", "v", "--json", cwd=tmp_path).stdout
        )["spec_digest"]
    done = run("eval", "conv-digits.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_verilog_of_a_network_in_words(trained_in_words: tuple[Path, dict[str, Any]]) -> None:
    folder, report = trained_in_words
    for named, out in ((WORDS, "words"), (("--model", "conv4-dense10.npz"), "model")):
        done = run("verilog", *named, "--lanes", "4", "--out", f"build/{out}", "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["spec_digest"] == report["spec_digest"]
    assert (folder / "build/words/top.v").read_bytes() == (folder / "build/model/top.v").read_bytes()


def test_networks_in_words_wherever_presets_are(tmp_path: Path) -> None:
    done = run("build", "--board", "arty-a7", *WORDS, "--weight-bits", "8", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["preset"] == "conv4-dense10"
    assert report["files"][0] == "build/arty-a7-conv4-dense10-8-bit/top.v"
    done = run("sweep", *WORDS, "--widths", "8", "--epochs", "1", "--store", "runs", "--out", "swept", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["preset"] == "conv4-dense10"


@pytest.mark.simulation
def test_a_network_in_words_learns_on_chip(tmp_path: Path) -> None:
    done = run("cosim", *WORDS, "--train", "--images", "6", "--test-images", "4", "--lanes", "4", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bit_exact"] is True


@pytest.mark.regress
@pytest.mark.simulation
def test_a_board_with_a_network_in_words(tmp_path: Path) -> None:
    """Simulated, as no port is given; what it has learnt is a model that goes on."""
    done = run("board", *WORDS, "infer", "--images", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers_equal"] is True


def test_damaged_data(data_dir: Path, tmp_path: Path) -> None:
    def train(naming: str) -> None:
        fails("train", "--preset", "mnist-128", "--data-dir", str(data_dir), cwd=tmp_path, naming=naming)

    labels = data_dir / "t10k-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1])
    train("truncated")
    labels.write_bytes(b"\xff" + content[1:])
    train("magic number")
    write_idx(labels, np.zeros(3))
    train("3 labels")


def test_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fails("verilog", "--preset", "digits", "--out", "file", cwd=tmp_path, naming="cannot be written")
    fails("train", "--preset", "digits", "--out", "file/m.npz", cwd=tmp_path, naming="cannot be written")
    fails("train", "--preset", "digits", "--out", ".", cwd=tmp_path, naming="is a folder")


def test_missing_compiler(tmp_path: Path) -> None:
    fails("cosim", "--preset", "digits", "--images", "1", cwd=tmp_path, path=str(tmp_path),
          naming="apt-get install g++")


def test_compare_prints_writes_and_repeats_nothing(tmp_path: Path) -> None:
    arguments = ("compare", "--dataset", "digits", "--seeds", "1", "--epochs", "1", "--store", "runs", "--out", "out")
    first = run(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "paper rule, float" in first.stdout
    assert "released model digits" in first.stdout
    stored = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    again = run(*arguments, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)["rows"]
    assert rows == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == stored
    assert (tmp_path / "out" / "compare.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "compare.md").read_text().count("\n|") == len(rows) + 2


def test_verilog_of_a_model(tmp_path: Path) -> None:
    done = run("verilog", "--model", "digits", "--lanes", "4", "--out", "v", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    described = json.loads((tmp_path / "v" / "top.v.json").read_text())
    assert described["spec_digest"] == json.loads(done.stdout)["spec_digest"]
    fails("verilog", "--out", "v", cwd=tmp_path, naming="name either a --model, a --preset, --layers or --spec")
    fails("verilog", "--model", "digits", "--rule", "paper", "--out", "v", cwd=tmp_path, naming="--rule")


@pytest.mark.regress
@pytest.mark.simulation
def test_a_released_model_goes_on_learning_on_chip(tmp_path: Path) -> None:
    done = run("cosim", "digits", "--train", "--images", "20", "--test-images", "10", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bit_exact"] is True
    assert report["images"] == 20


@pytest.mark.regress
@pytest.mark.simulation
def test_a_varied_network_trains_and_goes_on_chip(tmp_path: Path) -> None:
    done = run("train", "--preset", "digits", "--weight-bits", "8", "--rounding", "stochastic", "--steps", "10",
               "--hidden", "12", "--shift", "1", "--epochs", "1", "--out", "d.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("cosim", "d.npz", "--train", "--images", "20", "--test-images", "10", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bit_exact"] is True


@pytest.mark.simulation
def test_competing_neurons_from_training_to_chip(tmp_path: Path) -> None:
    """Train, look at the fields, evaluate, go on learning in the Verilog, generate it."""
    done = run("train", "--preset", "digits-stdp", "--hidden", "20", "--epochs", "1", "--out", "s.npz", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["test_accuracy"] > 0.5
    assert (tmp_path / "s.fields.png").read_bytes().startswith(b"\x89PNG")
    evaluated = json.loads(run("eval", "s.npz", "--json", cwd=tmp_path).stdout)
    assert evaluated["test_accuracy"] == report["test_accuracy"]
    assert sum(evaluated["neurons_per_class"]) + evaluated["unlabelled_neurons"] == 20
    done = run("cosim", "s.npz", "--train", "--images", "15", "--label-images", "15", "--test-images", "10", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bit_exact"] is True
    done = run("cosim", "s.npz", "--train", "--images", "15", "--label-images", "15", "--test-images", "10",
               "--plant-fault", "threshold", "--divergence-clocks", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert "adaptive threshold expected" in done.stderr
    done = run("cosim", "digits", "--images", "5", "--plant-fault", "inhibition", cwd=tmp_path)
    assert done.returncode == 2
    assert "no lateral inhibition" in done.stderr


def test_kernels_and_feature_maps_are_drawn(tmp_path: Path) -> None:
    """While a convolution is trained, and of any test image and model afterwards."""
    done = run("train", "--preset", "conv-digits", "--epochs", "1", "--out", "c.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.maps.png", "c.metrics.jsonl", "c.npz", "c.png"]
    assert done.stdout.splitlines()[-1].endswith("c.metrics.jsonl, c.png, c.maps.png")
    while_trained = (tmp_path / "c.maps.png").read_bytes()
    assert while_trained.startswith(b"\x89PNG")
    drawn = []
    for model, arguments in (("c.npz", ()), ("c.npz", ("--image", "7")), ("digits", ())):
        done = run("eval", model, "--figure", "x.png", *arguments, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["figure"] == "x.png"
        drawn.append((tmp_path / "x.png").read_bytes())
    assert len({while_trained, *drawn}) == 4
    assert json.loads(run("eval", "c.npz", "--json", cwd=tmp_path).stdout)["figure"] is None
    fails("eval", "c.npz", "--figure", "x.png", "--image", "360", cwd=tmp_path, naming="--image: 360 is out of bounds")
    fails("eval", "c.npz", "--figure", "c.npz/x.png", cwd=tmp_path, naming="c.npz")


def test_pictures_are_redrawn_every_10_000_images_and_at_the_end(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []
    pictures = {tmp_path / name: lambda trainer, path: calls.append((path.name, trainer.images_seen))
                for name in ("a", "b")}
    preset, digits = preset_by_name("digits"), load_dataset("digits")
    train_network(preset, digits, 1, Output(as_json=True), pictures=pictures)
    assert calls == [(name, epochs * 1_287) for epochs in (8, 10) for name in ("a", "b")]


def test_commands_start_without_matplotlib() -> None:
    script = "import sys, lifstream.cli; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.simulation
def test_simulated_board_infers_and_learns(tmp_path: Path) -> None:
    """A preset starts with random weights; options stand before the command or behind it."""
    done = run("board", "--simulated", "digits", "train", "--images", "6", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["weights_equal"] is True
    assert report["answers_equal"] is True
    assert report["images"] == 6


@pytest.mark.regress
@pytest.mark.simulation
def test_simulated_board_takes_models(trained: tuple[Path, dict[str, object]]) -> None:
    """A model has its own weights, a released one or a file."""
    folder, model = trained
    done = run("board", "infer", "--simulated", "digits", "--model", "digits", "--images", "4", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    released = json.loads(done.stdout)
    assert released["answers_equal"] is True
    done = run("board", "--simulated", "d.npz", "infer", "--images", "4", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers_equal"] is True
    assert json.loads(done.stdout)["digest"] == model["digest"] != released["digest"]


@pytest.mark.parametrize(("arguments", "naming"), [
    (("infer",), "--preset, or simulate one"),
    (("infer", "--layers", "dense 10", "--dataset", "digits", "--preset", "digits"), "--preset, or simulate one"),
    (("infer", "--layers", "dense 10"), "--layers: name the images too, with --dataset"),
    (("infer", "--simulated", "digits", "--dataset", "nowhere"), "data set 'nowhere' is unknown"),
    (("infer", "--layers", "dense 10", "--dataset", "digits", "--port", "nowhere"), "opened as a serial port"),
    (("infer", "--layers", "dense 10", "--dataset", "digits", "--port", "x", "--netlist", "icebreaker"), "--netlist"),
    (("--simulated", "nothing", "infer"), "'nothing' is unknown"),
    (("--preset", "digits", "infer"), "name its serial port with --port"),
    (("--preset", "digits", "infer", "--port", "nowhere"), "cannot be opened as a serial port"),
    (("--preset", "digits", "infer", "--simulated", "digits"), "--preset, or simulate one"),
    (("--simulated", "d.npz", "infer", "--weight-bits", "8"), "--weight-bits: a model has its own width"),
    (("--simulated", "d.npz", "infer", "--model", "mnist-128"), "is not the one asked for"),
    (("--simulated", "digits", "train", "--port", "x"), "exclude each other"),
    (("--simulated", "digits", "train", "--images", "0"), "--images: 0")])
def test_board_names_bad_input(trained: tuple[Path, object], arguments: tuple[str, ...], naming: str) -> None:
    fails("board", *arguments, cwd=trained[0], naming=naming)


@pytest.mark.parametrize(("arguments", "naming"), [
    (("build", "--board", "de10", "--preset", "digits"), "board 'de10' is unknown, choose one of: ulx3s-85f"),
    (("build", "--board", "icebreaker", "--preset", "nothing"), "'nothing' is unknown"),
    (("build", "--board", "icebreaker", "--preset", "digits", "--clock", "500"), "--clock: the board's PLL"),
    (("build", "--board", "icebreaker", "--preset", "digits", "--baud", "7000000"), "--baud: 7000000 does not divide"),
    (("build", "--board", "icebreaker", "--preset", "digits", "--lanes", "0"), "lanes: 0 is out of bounds"),
    (("build", "--board", "icebreaker", "--preset", "digits", "--weight-bits", "40"), "weight_bits: 40 is out of"),
    (("build", "--board", "icebreaker"), "name either a MODEL, a --preset, --layers or --spec"),
    (("build", "--board", "icebreaker", "digits", "--preset", "digits"), "or --spec, and only one of them"),
    (("build", "--board", "icebreaker", "digits", "--weight-bits", "8"), "--weight-bits: a MODEL has its own width"),
    (("build", "--board", "icebreaker", "nothing.npz"), "nothing.npz: no such file and no released model"),
    (("program", "--board", "icebreaker", "nothing.bin"), "nothing.bin: no such file"),
    (("program", "--board", "other", "nothing.bin"), "board 'other' is unknown")])
def test_building_names_bad_input(tmp_path: Path, arguments: tuple[str, ...], naming: str) -> None:
    fails(*arguments, cwd=tmp_path, naming=naming)


def test_a_project_for_the_vendors_tools(tmp_path: Path) -> None:
    done = run("build", "--board", "arty-a7", "--preset", "digits", "--out", "arty", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [Path(file).name for file in json.loads(done.stdout)["files"]] == ["top.v", "top.xdc", "top.tcl"]
    assert "PLLE2_BASE" in (tmp_path / "arty/top.v").read_text()
    assert "create_clock" in (tmp_path / "arty/top.xdc").read_text()
    assert "write_bitstream" in (tmp_path / "arty/top.tcl").read_text()


def test_a_model_is_built(trained: tuple[Path, dict[str, object]]) -> None:
    folder, model = trained
    done = run("build", "--board", "arty-a7", "d.npz", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["files"] == [f"build/arty-a7-d/{name}" for name in ("top.v", "top.xdc", "top.tcl")]
    assert (report["preset"], report["model"], report["spec_digest"]) == (
        "digits", model["digest"], model["spec_digest"])


def test_program_calls_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, bitstream = tmp_path / "loader", tmp_path / "top.bin"
    bitstream.write_bytes(b"bits")
    loader.write_text('#!/bin/sh\necho "$@" > called; exit $STATUS\n')
    loader.chmod(0o755)
    monkeypatch.setenv("OPENFPGALOADER", str(loader))
    monkeypatch.setenv("STATUS", "0")
    assert run("program", "--board", "icebreaker", "--flash", "top.bin", cwd=tmp_path).returncode == 0
    assert (tmp_path / "called").read_text() == "-b ice40_generic -f top.bin\n"
    monkeypatch.setenv("STATUS", "3")
    done = run("program", "--board", "icebreaker", "top.bin", cwd=tmp_path)
    assert done.returncode == 1
    assert "exit status 3; is the board plugged in?" in done.stderr
    monkeypatch.setenv("OPENFPGALOADER", str(tmp_path / "missing"))
    fails("program", "--board", "icebreaker", "top.bin", cwd=tmp_path, naming="cannot be run")


def test_axi_core_is_generated_with_its_package(tmp_path: Path) -> None:
    done = run("verilog", "--preset", "digits", "--lanes", "8", "--interface", "axi", "--out", "axi", "--json",
               cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "axi").iterdir()) == [
        "driver", "files.f", "lifstream_axi.rdl", "package_ip.tcl", "python", "registers", "top.v", "top.v.json",
        "top.vlt", "top.xml", "top_instance.vh", "top_tb.v"]
    assert sorted(path.name for path in (tmp_path / "axi" / "driver").iterdir()) == [
        "lifstream.c", "lifstream.h", "lifstream_axi.h", "lifstream_axi_dma.c", "lifstream_axi_dma.h",
        "lifstream_protocol.h", "top_network.h"]
    assert "lifstream behind AXI" in (tmp_path / "axi" / "registers" / "index.html").read_text()
    assert {str(tmp_path / file) for file in json.loads(done.stdout)["files"]} >= {
        str(tmp_path / "axi" / file) for file in ("lifstream_axi.rdl", "driver/lifstream.c", "python/lifstream_axi")}
    described = json.loads((tmp_path / "axi" / "top.v.json").read_text())
    assert described["registers"]["images"] == 0x40
    fails("verilog", "--preset", "digits", "--interface", "axi", "--axi-width", "3", "--out", "no", cwd=tmp_path,
          naming="AXI width: 3")
    assert not (tmp_path / "no").exists()


def test_own_images_and_a_contract_in_json(tmp_path: Path) -> None:
    """Trained, evaluated, co-simulated and played to a board with images from a file, and a contract from a file."""
    labels = np.arange(60) % 3
    images = np.zeros((60, 6, 5), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label:2 * label + 2] = 200
    np.savez(tmp_path / "bars.npz", train_images=images[:45], train_labels=labels[:45], test_images=images[45:],
             test_labels=labels[45:])
    bars = ("--dataset", "bars.npz")
    done = run("train", "--layers", "dense 3", *bars, "--epochs", "2", "--out", "m.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] == 1
    fails("eval", "m.npz", cwd=tmp_path, naming="data set 'bars' is unknown, neither a file FILE.npz")
    for command in (("eval", "m.npz", *bars), ("cosim", "m.npz", *bars, "--images", "3"),
                    ("board", "--simulated", "m.npz", *bars, "infer", "--images", "2")):
        done = run(*command, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result.get("accuracy", result.get("test_accuracy")) == 1
    spec = load_model(tmp_path / "m.npz").network.spec
    (tmp_path / "net.json").write_text(json.dumps(spec.to_json()))
    done = run("cosim", "--spec", "net.json", "--train", "--images", "4", "--test-images", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec_digest"] == spec.digest()
    fails("cosim", "m.npz", "--dataset", "digits", cwd=tmp_path, naming="digits: 64 pixels, but the model takes 30")


def test_compare_quick_trains_nothing(tmp_path: Path) -> None:
    done = run("compare", "--quick", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)["rows"]] == [
        "released model conv-digits", "released model digits"]


def test_sweep_reports_the_cell_that_fails(tmp_path: Path) -> None:
    done = run("sweep", "--rules", "graded,stdp", "--arithmetics", "float", "--seeds", "2", "--workers", "2",
               "--epochs", "1", "--store", "runs", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "2 runs failed, the first: arithmetic: the float model has desire backpropagation only" in done.stderr
    good, bad = json.loads(done.stdout)["cells"]
    assert good["axes"] == {"rule": "graded", "arithmetic": "float"}
    assert len(good["accuracies"]) == 2
    assert bad["accuracies"] == []
    assert sorted(path.name for path in (tmp_path / "build" / "sweep-digits").iterdir()) == [
        "sweep.json", "sweep.md", "sweep.png"]


@pytest.mark.parametrize(("arguments", "naming"), [
    (("sweep", "--widths", "8,x"), "--widths: '8,x'"),
    (("sweep", "--rules", "best"), "--rules: 'best'"),
    (("sweep", "--seeds", "0"), "--seeds: 0"),
    (("compare", "--dataset", "cifar"), "data set 'cifar'"),
    (("compare", "--dataset", "digits", "--preset", "mnist-128"), "--preset: mnist-128 is for mnist"),
    (("eval", "mnist-512"), "no released model"),
    (("train", "--preset", "digits", "--shift", "9"), "shift: 9"),
    (("train", "--preset", "digits", "--validation", "0", "--patience", "3"), "patience"),
])
def test_golden_commands_name_bad_input(tmp_path: Path, arguments: tuple[str, ...], naming: str) -> None:
    fails(*arguments, cwd=tmp_path, naming=naming)
    assert not list(tmp_path.rglob("*.npz"))

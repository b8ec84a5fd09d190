"""The notebooks run from top to bottom, and are stored without outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def run(code: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run cells in one interpreter, in order."""
    text = "\n".join(f"# cell {number}\n{source}" for number, source in enumerate(code, 1))
    return subprocess.run([sys.executable, "-W", "error", "-c", text], cwd=folder, capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(notebook: Path) -> None:
    found = cells(notebook)
    assert len(found) > 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in found)
    assert notebook.stat().st_size < 20_000


@pytest.mark.timeout(900)    # kernels and a simulator are compiled first
@pytest.mark.parametrize("name", ["train", pytest.param("board", marks=pytest.mark.simulation)])
def test_notebooks_run(name: str, tmp_path: Path) -> None:
    assert name in {notebook.stem for notebook in NOTEBOOKS}
    done = run(["".join(cell["source"]) for cell in cells(FOLDER / f"{name}.ipynb")], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout


def test_all_notebooks_are_run() -> None:
    assert {notebook.stem for notebook in NOTEBOOKS} == {"train", "board"}


def test_a_cell_that_fails_is_seen(tmp_path: Path) -> None:
    assert run(["a = 1", "assert a == 2"], tmp_path).returncode != 0

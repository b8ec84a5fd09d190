"""What users install: one package, under whose name everything lies, whatever their own folders are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import lifstream

ROOT = Path(__file__).parent.parent
ROOMS = ("golden", "hdl", "sim", "boards")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source distribution and the wheel that is made from it, as ``python -m build`` does."""
    folder = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=ignored)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", str(folder / "tree")], check=True,
                   capture_output=True, text=True)
    return {path.suffix: path for path in (folder / "tree" / "dist").iterdir()}


def test_an_installation_holds_one_package(distributions: dict[str, Path]) -> None:
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"lifstream", f"lifstream-{version('lifstream')}.dist-info"}
    for room in (*ROOMS, ""):
        folder = ROOT / (room or "lifstream")
        found = folder.rglob("*.py") if room else folder.glob("*.py")  # what lies in links there, its room checks
        sources = [path.relative_to(folder).as_posix() for path in found]
        assert sources
        assert {"/".join(filter(None, ("lifstream", room, name))) for name in sources} <= names
    for data in ("golden/study/models/digits.npz", "golden/study/digits.npz", "boards/dp16kd.v",
                 "boards/estimate.json",
                 "boards/c/lifstream.c", "boards/c/lifstream.h", "golden/contract/lifstream_axi.rdl",
                 "fusesoc/digits.core", "fusesoc/generator.core", "fusesoc/generator.py",
                 "py.typed",
                 *(f"boards/play/page/{name}" for name in ("index.html", "play.css", "play.js"))):
        assert f"lifstream/{data}" in names


def test_the_source_distribution_builds_without_links(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions[".gz"]) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym()]
    assert any(member.name.endswith("lifstream/hdl/host/core.py") for member in members)


@pytest.mark.simulation
def test_folders_of_the_user_are_not_taken_for_ours(tmp_path: Path, distributions: dict[str, Path]) -> None:
    """Co-simulation in a folder with a ``sim`` and an ``hdl`` of its own, from what the wheel holds."""
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        wheel.extractall(tmp_path / "site")
    for room in ROOMS:
        (tmp_path / "work" / room).mkdir(parents=True)
        (tmp_path / "work" / room / "__init__.py").write_text("raise RuntimeError('the user\'s own')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-m", "lifstream", "cosim", "digits", "--images", "2", "--lanes", "4"],
                          cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bit-exact" in done.stdout


def test_version() -> None:
    assert lifstream.__version__ == version("lifstream")
    for command in (["-m", "lifstream"], ["-c", "from lifstream.cli import main; main()"]):
        done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"lifstream {lifstream.__version__}\n")

"""The direction of dependence between the rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What the files of a room must not import; a longer prefix that is allowed wins.
CONTRACT, MODEL, TWIN, STUDY = (f"lifstream.golden.{room}" for room in ("contract", "model", "twin", "study"))
FILES = "lifstream.golden.files"  # below all rooms but the contract's errors
FORBIDDEN = {
    "golden": ({"lifstream", "amaranth", "cocotb"}, {f"{CONTRACT}.errors"}),
    "golden/contract": ({"lifstream", "amaranth", "cocotb", "numpy", "numba"}, {CONTRACT}),
    "golden/model": ({"lifstream", "amaranth", "cocotb", "numba"}, {CONTRACT, MODEL}),
    "golden/twin": ({"lifstream", "amaranth", "cocotb"}, {CONTRACT, MODEL, TWIN, FILES}),
    "golden/study": ({"lifstream", "amaranth", "cocotb", "numba"}, {CONTRACT, MODEL, TWIN, STUDY, FILES}),
    "hdl": ({"lifstream", "cocotb", "numpy"}, {"lifstream.hdl", CONTRACT, FILES}),
    "sim": ({"lifstream", "amaranth"}, {"lifstream.golden", "lifstream.sim"}),
    "boards": ({"lifstream"}, {f"lifstream.{room}" for room in ("golden", "hdl", "sim", "boards")}),
}
ROOMS = {"golden", "hdl", "sim", "boards"}
BENCHES = ("sim", "boards")


def imports(source: str) -> set[str]:
    """Every module a source imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(room: str, source: str) -> set[str]:
    """Imports of ``source`` that a file of ``room`` may not have."""
    forbidden, allowed = FORBIDDEN[room]

    def within(module: str, names: set[str]) -> bool:
        return any(module == name or module.startswith(name + ".") for name in names)

    # `from lifstream.golden.contract.network import X` also names the packages above, which hold nothing.
    above = {name.rsplit(".", parts)[0] for name in allowed for parts in range(1, name.count(".") + 1)}
    return {module for module in imports(source)
            if within(module, forbidden) and not within(module, allowed) and module not in above}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_point_the_right_way(room: str) -> None:
    folder = ROOT / room
    files = sorted(folder.glob("*.py") if folder.name == "golden" else folder.rglob("*.py"))
    assert files
    for path in files:
        assert violations(room, path.read_text()) == set(), path


@pytest.mark.parametrize("room", BENCHES)
def test_benches_never_import_hdl(room: str) -> None:
    benches = sorted((ROOT / room).glob("tb_*.py"))
    assert benches
    for path in benches:
        source = path.read_text()
        assert violations(room, source) == set(), path
        assert {module for module in imports(source) if module.startswith("lifstream.hdl")} == set(), path


def test_rooms_are_imported_by_the_names_that_users_have() -> None:
    """A user's own ``sim`` or ``boards`` must not be taken for ours."""
    sources = [path for folder in (*ROOMS, "lifstream", "tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    for path in sources:
        assert {module.split(".")[0] for module in imports(path.read_text())} & ROOMS == set(), path


@pytest.mark.parametrize(("room", "source", "found"), [
    ("golden", "import amaranth.hdl", {"amaranth.hdl"}),
    ("golden", "from lifstream.hdl.host.core import Core", {"lifstream.hdl.host.core", "lifstream.hdl.host.core.Core"}),
    ("golden/model", "from lifstream.golden.model.operations import leak", set()),
    ("golden/contract", "import numpy as np", {"numpy"}),
    ("golden/model", "from lifstream.golden.twin import engine",
     {"lifstream.golden.twin", "lifstream.golden.twin.engine"}),
    ("golden/twin", "from lifstream.golden.study import epochs",
     {"lifstream.golden.study", "lifstream.golden.study.epochs"}),
    ("hdl", "from lifstream.golden.model.operations import leak",
     {"lifstream.golden.model.operations", "lifstream.golden.model.operations.leak"}),
    ("hdl", "from lifstream.golden.contract.network import NetworkSpec", set()),
    ("sim", "def f():\n    from lifstream.hdl import network", {"lifstream.hdl", "lifstream.hdl.network"}),
    ("boards", "from lifstream import cli", {"lifstream.cli"}),
])
def test_the_check_can_fail(room: str, source: str, found: set[str]) -> None:
    assert violations(room, source) == found

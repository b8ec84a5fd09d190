"""The direction of dependence between the rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What the files of a room must not import; a longer prefix that is allowed wins.
FORBIDDEN = {
    "golden": ({"hdl", "sim", "boards", "lifstream", "amaranth", "cocotb"}, set()),
    "hdl": ({"golden", "sim", "boards", "lifstream", "cocotb"}, {"golden.spec", "golden.presets", "golden.protocol",
                                                                      "golden.files"}),
    "sim": ({"hdl", "boards", "lifstream", "amaranth"}, set()),
    "boards": ({"lifstream"}, set()),
}
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

    packages = {name.split(".")[0] for name in allowed}
    return {module for module in imports(source)
            if within(module, forbidden) and not within(module, allowed) and module not in packages}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_point_the_right_way(room: str) -> None:
    files = sorted((ROOT / room).glob("*.py"))
    assert files
    for path in files:
        assert violations(room, path.read_text()) == set(), path


@pytest.mark.parametrize("room", BENCHES)
def test_benches_never_import_hdl(room: str) -> None:
    benches = sorted((ROOT / room).glob("tb_*.py"))
    assert benches
    for path in benches:
        assert violations("sim", path.read_text()) == set(), path


@pytest.mark.parametrize(("room", "source", "found"), [
    ("golden", "import amaranth.hdl", {"amaranth.hdl"}),
    ("hdl", "from golden.lif import leak", {"golden.lif", "golden.lif.leak"}),
    ("hdl", "from golden.spec import NetworkSpec", set()),
    ("sim", "def f():\n    from hdl import network", {"hdl", "hdl.network"}),
])
def test_the_check_can_fail(room: str, source: str, found: set[str]) -> None:
    assert violations(room, source) == found

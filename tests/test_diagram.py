"""The picture of the architecture is the design's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from lifstream.golden.contract.flat import flat_network
from lifstream.hdl.geometry import Geometry

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def diagram() -> Any:
    described = importlib.util.spec_from_file_location("diagram", DOCS / "diagram.py")
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    with pytest.MonkeyPatch.context() as patch:     # dataclasses look their module up
        patch.setitem(__import__("sys").modules, "diagram", module)
        described.loader.exec_module(module)
    return module


def test_the_picture_is_up_to_date(diagram: Any) -> None:
    assert diagram.PLACE.read_text() == diagram.picture(), "draw it again: python docs/diagram.py"


def test_it_shows_what_is_there(diagram: Any) -> None:
    """Streams follow the network: one more layer is one more block, with spikes there and desires back."""
    _, edges, inner = diagram.elaborated(flat_network(sizes=(9, 6, 5, 3)), Geometry(lanes=2))
    assert inner == ["encoder", "layer_0", "layer_1", "layer_2", "readout"]
    ways = {(edge.source, edge.sink) for edge in edges}
    assert {("encoder", "layer_0"), ("layer_1", "layer_2"), ("layer_2", "layer_1"), ("readout", "sender")} <= ways
    assert ("layer_0", "layer_2") not in ways
    assert diagram.drawn(flat_network(sizes=(9, 6, 3)), Geometry(lanes=2), "x") != diagram.picture()

"""A kind of neuron is a few lines: that of ``docs/add-a-neuron.md``, with no leak, reset to zero, does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil

from lifstream.golden.contract.flat import flat_network
from lifstream.hdl.emit import emit_network
from lifstream.hdl.events import EventKind
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.layer.desire_lanes import DesireLanes
from lifstream.hdl.layer.desire_teaching import DesireTeaching
from lifstream.hdl.layer.layer import LifLayer, NeuronKind, RuleKind
from lifstream.hdl.layer.membrane import NeuronUnit
from lifstream.hdl.layer.output import SliceCollector
from lifstream.hdl.layer.slots import KEEP_APART
from lifstream.hdl.registry import make_layer
from tests.conftest import random_network
from tests.hdl.clocked import Clocked, run

SPEC = flat_network(sizes=(7, 10), steps=6)


PAGE = Path(__file__).parents[2] / "docs" / "add-a-neuron.md"


def page_s_neuron() -> type[NeuronUnit]:
    """The neuron that the page's code builds."""
    block, = re.findall(r"```python\n# hdl/layer/(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(f"# {block}", names)
    unit: type[NeuronUnit] = names["IntegrateAndFireUnit"]
    return unit


def expected(trains: np.ndarray, weights: np.ndarray) -> list[list[int]]:
    """Neurons that fire, step by step."""
    low, high = SPEC.at(0).membrane_range
    potential = np.zeros(weights.shape[1], dtype=np.int64)
    fired = []
    for train in trains:
        potential = np.clip(potential + train @ weights, low, high)
        fired.append(np.flatnonzero(potential >= SPEC.layers[0].formats.one).tolist())
        potential[potential >= SPEC.layers[0].formats.one] = 0
    return fired


@pytest.mark.parametrize("lanes", [3, 10])
def test_the_page_s_neuron(lanes: int) -> None:
    layer = LifLayer(at=SPEC.at(0), geometry=Geometry(lanes=lanes).layer(SPEC, 0),
                     neuron=NeuronKind(unit=page_s_neuron(), emission=SliceCollector),
                     rule=RuleKind(lanes=DesireLanes, teaching=DesireTeaching))
    weights = random_network(SPEC, 2, scale=1.5).weights[0].astype(np.int64)
    trains = np.random.default_rng(3).random((2, SPEC.steps, 7)) < 0.5
    spikes: list[list[int]] = [[]]

    async def bench(block: Clocked) -> None:
        block.send("weights", weights.ravel().tolist())
        await block.until(lambda: not block.pending("weights") and block.get(layer.idle))
        for sample in trains:
            for step, train in enumerate(sample):
                kind = EventKind.SAMPLE_END if step == SPEC.steps - 1 else EventKind.STEP_END
                block.send("events", [{"kind": EventKind.SPIKE, "neuron": int(j)} for j in np.flatnonzero(train)])
                block.send("events", [{"kind": kind, "neuron": 0}])
        markers = 2 * SPEC.steps
        await block.until(lambda: sum(event.kind != EventKind.SPIKE for event in block.received["spikes"]) == markers)
        for event in block.received["spikes"]:
            if event.kind == EventKind.SPIKE:
                spikes[-1].append(event.neuron)
            else:
                spikes.append([])

    run(layer, bench)
    assert [sorted(step) for step in spikes[:-1]] == [step for sample in trains for step in expected(sample, weights)]
    assert any(spikes)


def test_registers_of_every_group_are_marked_for_place_and_route() -> None:
    """In RTLIL, which boards are built from; the Verilog for others is free of it."""
    name, = KEEP_APART
    layer = make_layer(spec=SPEC, geometry=Geometry(lanes=10), layer=0)
    text = rtlil.convert(layer, name="top")
    marked = {line.split("\\")[-1] for before, line in zip(text.splitlines(), text.splitlines()[1:], strict=False)
              if before.strip() == f"attribute \\{name} 1" and line.strip().startswith("wire")}
    assert {"leaf", "reading", "arriving", "arriving_step", "learn_leaf", "serving", "busy", "tag_0", "valid_0",
            "valid_3"} <= marked
    assert name not in emit_network(spec=SPEC, geometry=Geometry(lanes=10)).verilog

"""The bench compares what the rule of ``docs/add-a-rule.md`` learns with a design, without being told of the rule."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.contract.flat import changed, flat_network
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import Magnitude
from lifstream.golden.model.learning import learn
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim import cosim
from lifstream.sim.cosim import CosimResult, Segment, cosimulate
from tests.conftest import random_images, random_network
from tests.golden.test_add_a_rule import page_s_rule

pytestmark = pytest.mark.simulation

COUNTING = flat_network(sizes=(12, 3), magnitude=Magnitude.TERNARY, output_threshold=1, leak_shift=1, trace_fraction=0)
"""Where traces last for a step, and all desires are as large, desire backpropagation of one layer is the page's rule:
so there is a design that follows it."""


def play(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> CosimResult:
    with monkeypatch.context() as patch:
        run_bench = cosim.run_bench
        patch.setattr(cosim, "run_bench", lambda built, **rest: run_bench(
            built, **{**rest, "module": "tests.sim.tb_page_rule"}))
        emission = emit_network(spec=spec, geometry=Geometry(lanes=3))
        data = Split(images=random_images(12, 12, 3), labels=(np.arange(12) % 3).astype(np.uint8))
        segments = [Segment(split="all", order=np.arange(12), rate_shift=spec.rate_shift_range[0], check_every=4),
                    Segment(split="all", order=np.arange(12))]
        return cosimulate(Model(network=random_network(spec, 2), preset="test", dataset="none"), {"all": data},
                          segments, verilog=emission.verilog, description=emission.description)


def test_a_design_of_the_page_s_rule_is_bit_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    result = play(COUNTING, monkeypatch)
    assert result.bit_exact, result.message
    golden = random_network(COUNTING, 2)
    for image, label in zip(random_images(12, 12, 3), np.arange(12) % 3, strict=True):
        learn(golden, image, int(label), rate_shift=COUNTING.rate_shift_range[0], rule=page_s_rule())
    assert result.digest == golden.digest()
    assert result.counters["learned"] > 0


def test_a_design_of_another_rule_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    result = play(changed(COUNTING, trace_fraction=4), monkeypatch)
    assert not result.bit_exact
    assert ": weight expected" in result.message or "membrane potential expected" in result.message

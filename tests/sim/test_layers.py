"""Contracts whose layers differ in formats, leaks, traces, dropout and rounding, in the Verilog."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Segment, Stalls, Surroundings, cosimulate
from tests.conftest import random_images
from tests.golden.test_layers import SPECS, start

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("geometry", [
    pytest.param(Geometry(lanes=20), id="one fold"), pytest.param(Geometry(lanes=3, unroll=3), id="folded")])
@pytest.mark.parametrize("name", SPECS)
def test_layers_that_differ_are_bit_exact(name: str, geometry: Geometry) -> None:
    spec, labels = SPECS[name], (np.arange(40) % 4).astype(np.uint8)
    emission = emit_network(spec=spec, geometry=geometry)
    low, high = spec.rate_shift_range
    segments = [Segment(split="all", order=np.arange(40), rate_shift=rate_shift, check_every=20)
                for rate_shift in (low, low + 2, high)]
    segments.append(Segment(split="all", order=np.arange(10)))
    result = cosimulate(Model(network=start(spec), preset="test", dataset="none"),
                        {"all": Split(images=random_images(40, 20, 5), labels=labels)}, segments,
                        verilog=emission.verilog, description=emission.description,
                        surroundings=Surroundings(stalls=Stalls.RANDOM))
    assert result.bit_exact, result.message
    assert result.counters["learned"] > 0
    assert result.digest != start(spec).digest()

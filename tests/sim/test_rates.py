"""The smallest and the largest rate shift of every rule: the emitted Verilog against the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.rules import Bounds
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Segment, cosimulate
from tests.conftest import random_images
from tests.golden import test_rates as golden
from tests.golden.test_stdp import plastic
from tests.sim.blocks import once

pytestmark = pytest.mark.simulation

SIZES = golden.SIZES
SPECS = {
    "paper": golden.SPECS["paper, half-up, F = 4, X = 8"],
    "graded": golden.SPECS["graded, stochastic, F = 22, X = 0"],
    "stdp": plastic(SIZES, depression_shift=4, rounding=Rounding.STOCHASTIC, threshold_rise=20),
    "rstdp": plastic(SIZES, rule=NamedRule.REWARD_STDP, punishment_shift=4, threshold_rise=20),
    "rstdp, saturating": plastic(SIZES, rule=NamedRule.REWARD_STDP, punishment_shift=1, threshold_rise=20,
                                 bounds=Bounds.SATURATE, rounding=Rounding.STOCHASTIC),
}


@pytest.mark.parametrize("name", SPECS)
def test_both_ends_of_the_range_of_rates(name: str) -> None:
    spec = SPECS[name]
    low, high = spec.rate_shift_range
    images = Split(images=random_images(12, SIZES[0], 3), labels=(np.arange(12) % 3).astype(np.uint8))
    emission = once(emit_network, spec=spec, geometry=Geometry(lanes=6))
    order = np.arange(12)
    segments = [Segment(split="all", order=order, rate_shift=rate_shift, check_every=100)
                for rate_shift in (high, low, high)]
    network = golden.initial(spec)
    result = cosimulate(Model(network=network, preset="test", dataset="none"), {"all": images}, segments,
                        verilog=emission.verilog, description=emission.description)
    assert result.bit_exact, result.message
    assert result.images == 36
    assert result.counters["rate_shift"] == high
    assert result.digest != network.digest()

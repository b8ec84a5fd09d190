"""Learning from more samples than the spike history has numbers for: the emitted Verilog against the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.contract.flat import changed, flat_network
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Segment, cosimulate
from tests.conftest import flat, random_network
from tests.golden.test_stdp import plastic
from tests.sim.blocks import once

pytestmark = pytest.mark.simulation

REPEATS = (256, 255)
"""Samples after which a number may come again: with clearing after 255, and without."""
EARLY = 4
PIXELS = 2 + EARLY * len(REPEATS)
COUNT = EARLY + max(REPEATS)


def images() -> Split:
    """Two pixels that always spike; each of the others in an early sample, and in one whose number may be the same."""
    pixels = np.zeros((COUNT, PIXELS), dtype=np.uint8)
    pixels[:, :2] = 255
    for pixel in range(2, PIXELS):
        number, after = (pixel - 2) // len(REPEATS), REPEATS[pixel % len(REPEATS)]
        pixels[number, pixel], pixels[number + after, pixel] = 255, 110  # six spikes, then two
    return Split(images=pixels, labels=(np.arange(COUNT) % 3).astype(np.uint8))


def network(spec: NetworkSpec) -> Network:
    if flat(spec).stdp is None:
        return random_network(spec, 3)
    weights = Network.initial(spec=spec, seed=1).weights
    weights[0][:] = spec.layers[0].formats.one // 2
    return Network(spec=spec, weights=weights)


@pytest.mark.parametrize(("spec", "rate_shift"), [
    (flat_network(sizes=(PIXELS, 3), steps=6, desire_margin=0), 12),
    (changed(plastic((PIXELS, 4, 3), threshold_rise=5, weight_sum=0, presynaptic_target=2), steps=6), 12),
], ids=["rows of those that fired", "every row"])
def test_sample_numbers_repeat(spec: NetworkSpec, rate_shift: int) -> None:
    data = images()
    emission = once(emit_network, spec=spec, geometry=Geometry(lanes=4))
    segments = [Segment(split="all", order=np.arange(COUNT), rate_shift=rate_shift, check_every=64)]
    result = cosimulate(Model(network=network(spec), preset="test", dataset="none"), {"all": data}, segments,
                        verilog=emission.verilog, description=emission.description)
    assert result.bit_exact, result.message
    assert result.counters["learned"] + result.counters["skipped"] == COUNT
    # The samples whose numbers are repeated do change what only they show.
    golden = network(spec)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        before = golden.weights[0].copy()
        learn(golden, image, int(label), rate_shift=rate_shift)
        if number >= min(REPEATS):
            shown = np.flatnonzero(image[2:]) + 2
            assert (golden.weights[0] != before)[shown].any(axis=1).all(), number
    assert result.digest == golden.digest()

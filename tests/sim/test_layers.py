"""Contracts whose layers differ in formats, leaks, traces, dropout and rounding, in the Verilog."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Segment, Stalls, Surroundings, cosimulate
from tests.conftest import quick, random_images
from tests.golden.test_layers import SPECS, start, unlike_networks
from tests.sim.blocks import once

pytestmark = pytest.mark.simulation

GEOMETRIES = {"one fold": Geometry(lanes=20), "folded": Geometry(lanes=3, unroll=3)}


@pytest.mark.parametrize(("name", "geometry"), quick(
    itertools.product(SPECS, GEOMETRIES),
    ("unlike", "folded"), ("competing", "one fold")))
def test_layers_that_differ_are_bit_exact(name: str, geometry: str) -> None:
    spec, labels = SPECS[name], (np.arange(40) % 4).astype(np.uint8)
    emission = once(emit_network, spec=spec, geometry=GEOMETRIES[geometry])
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


def check_drawn(drawn: st.DataObject) -> None:
    """A network drawn at random, at a geometry drawn at random, learns bit-exactly."""
    spec = drawn.draw(unlike_networks())
    layers = len(spec.layers)
    geometry = Geometry(lanes=tuple(drawn.draw(st.integers(1, 13)) for _ in range(layers)),
                        unroll=tuple(drawn.draw(st.integers(1, 4)) for _ in range(layers)),
                        pixels_per_clock=drawn.draw(st.integers(1, 5)))
    emission = once(emit_network, spec=spec, geometry=geometry)
    low, high = spec.rate_shift_range
    images = random_images(24, spec.inputs, drawn.draw(st.integers(0, 999)))
    data = Split(images=images, labels=(np.arange(24) % spec.classes).astype(np.uint8))
    segments = [Segment(split="all", order=np.arange(24), rate_shift=drawn.draw(st.integers(low, high)),
                        check_every=8), Segment(split="all", order=np.arange(6))]
    result = cosimulate(Model(network=start(spec), preset="test", dataset="none"), {"all": data}, segments,
                        verilog=emission.verilog, description=emission.description,
                        surroundings=Surroundings(stalls=drawn.draw(st.sampled_from(Stalls))))
    assert result.bit_exact, result.message


@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_random_layers(drawn: st.DataObject) -> None:
    check_drawn(drawn)


@pytest.mark.regress
@pytest.mark.timeout(3600)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_many_random_layers(drawn: st.DataObject) -> None:
    check_drawn(drawn)

"""Every block alone, as ``rtl(x) == golden(x)`` over a table of cases and kinds of stalls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.flat import NamedRule, flat_network, with_rule
from lifstream.golden.contract.formats import Overflow, Phase
from lifstream.golden.contract.rules import Magnitude
from lifstream.golden.model.encoder import encode
from lifstream.golden.model.neurons.lif import LIF
from lifstream.golden.model.readouts import unique_maximum
from lifstream.golden.model.rules.desire import output_desire
from lifstream.golden.model.synapses import synaptic_current
from lifstream.hdl.encoder import Encoder
from lifstream.hdl.events import EventSerializer
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.layer.layer import LifLayer
from lifstream.hdl.readout import Readout
from lifstream.hdl.registry import make_layer
from lifstream.sim.cosim import Stalls
from tests.conftest import flat, quick, random_network
from tests.sim.blocks import LEARN, SAMPLE_END, SPIKE, STEP_END, BlockError, emitted, pack, simulate, spike_events

pytestmark = pytest.mark.simulation

ALL_STALLS = list(Stalls)


def small_serializer() -> EventSerializer:
    return EventSerializer(width=5, tag=unsigned(4), neurons=20, locate=lambda tag, place: tag + place)


@pytest.mark.parametrize("stalls", ALL_STALLS)
def test_serializer(tmp_path: Path, stalls: Stalls) -> None:
    slices = [(0b10011, 3, SPIKE), (0b00000, 0, STEP_END), (0b11111, 10, SAMPLE_END), (0b00100, 8, SPIKE),
              (0b10000, 15, STEP_END), (0b00001, 0, SPIKE)]
    expected = []
    for mask, tag, kind in slices:
        expected += [(SPIKE, tag + place) for place in range(5) if mask >> place & 1]
        expected += [(kind, 0)] if kind != SPIKE else []
    stimuli = [mask | tag << 5 | kind << 9 for mask, tag, kind in slices]
    result, = simulate(emitted(small_serializer), [
        {"stimuli": {"slices": stimuli}, "expected": {"spikes": len(expected)}}], tmp_path, stalls=stalls)
    assert result["spikes"] == pack(expected)
    if stalls is Stalls.NONE:  # one event per clock, no bubble between slices
        assert np.diff(result["spikes.cycles"]).tolist() == [1] * (len(expected) - 1)


ENCODER_IMAGES = np.array([
    [0] * 11, [255] * 11, [0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0], [12] * 11, [13] * 11,
    [0, 255, 3, 128, 127, 1, 254, 0, 64, 13, 12], [255] + [0] * 10, [0] * 10 + [90]], dtype=np.uint8)


@pytest.mark.parametrize("stalls", ALL_STALLS)
@pytest.mark.parametrize("pixels_per_clock", [1, 4])
def test_encoder(tmp_path: Path, stalls: Stalls, pixels_per_clock: int) -> None:
    expected = [event for image in ENCODER_IMAGES for event in spike_events(encode(image, 20))]
    result, = simulate(emitted(Encoder, pixels=11, steps=20, pixels_per_clock=pixels_per_clock), [
        {"stimuli": {"pixels": ENCODER_IMAGES.ravel().tolist()}, "expected": {"spikes": len(expected)}}],
        tmp_path, stalls=stalls)
    assert result["spikes"] == pack(expected)


def test_encoder_skips_silent_pixels(tmp_path: Path) -> None:
    """Two pixels of 40 spike: after the load, an image costs little more than its events."""
    image = [0] * 40
    image[3] = image[30] = 255
    result, = simulate(emitted(Encoder, pixels=40, steps=20, pixels_per_clock=1), [
        {"stimuli": {"pixels": image}, "expected": {"spikes": 60}}], tmp_path, stalls=Stalls.NONE)
    cycles = result["spikes.cycles"]
    assert cycles[-1] - cycles[0] <= 60


LAYER_CASES = {
    # name: spec, lanes
    "one lane": (flat_network(sizes=(5, 3)), 1),
    "lanes do not divide": (flat_network(sizes=(6, 7)), 3),
    "two groups": (flat_network(sizes=(9, 11), steps=6), 11),
    "padded group": (flat_network(sizes=(9, 13), steps=6), 13),
    "wide membrane": (flat_network(sizes=(5, 4), membrane_overflow=Overflow.WIDE, membrane_clamp=0), 4),
    "narrow weights, slow leak": (flat_network(sizes=(5, 4), weight_bits=8, weight_fraction=6, leak_shift=4), 2),
    "one neuron": (flat_network(sizes=(1, 1), steps=5), 1),
}


def layer_of(name: str) -> LifLayer:
    spec, lanes = LAYER_CASES[name]
    return make_layer(spec=spec, geometry=Geometry(lanes=lanes), layer=0)


def layer_vectors(name: str, seed: int) -> tuple[list[int], list[int], list[int]]:
    """A layer's weights, its input events and the output events golden expects."""
    spec, _ = LAYER_CASES[name]
    random = np.random.default_rng(seed)
    weights = random_network(spec, seed, scale=2.5).weights[0]
    weights.ravel()[random.integers(weights.size)] = spec.layers[0].formats.weight_max
    weights.ravel()[random.integers(weights.size)] = spec.layers[0].formats.weight_min
    events, expected = [], []
    for rate in (0.3, 0.0, 1.0, 0.5):
        trains = random.random((spec.steps, spec.inputs)) < rate
        record = LIF.run(spec.at(0), synaptic_current(trains, weights), phase=Phase.INFERENCE, kept=None, state={})
        shuffled = []  # the order within a step carries no meaning
        for step in range(spec.steps):
            of_step = spike_events(trains[step:step + 1])[:-1]
            random.shuffle(of_step)
            kind = SAMPLE_END if step == spec.steps - 1 else STEP_END
            shuffled += [(int(a), int(b)) for a, b in of_step] + [(kind, 0)]
        events += pack(shuffled)
        expected += pack(spike_events(record.spikes))
    return weights.ravel().tolist(), events, expected


@pytest.mark.parametrize("name", quick(
    LAYER_CASES, "lanes do not divide", "padded group", "wide membrane", "narrow weights, slow leak"))
def test_layer_geometry(tmp_path: Path, name: str) -> None:
    weights, events, expected = layer_vectors(name, 3)
    for stalls in ALL_STALLS:
        results = simulate(emitted(layer_of, name), [
            {"stimuli": {"weights": weights}, "expected": {}},
            {"stimuli": {"events": events}, "expected": {"spikes": len(expected)}}], tmp_path / stalls, stalls=stalls)
        assert results[1]["spikes"] == expected, stalls

def test_layer_survives_reset_in_the_middle_of_a_sample(tmp_path: Path) -> None:
    for name in ("lanes do not divide", "two groups"):
        weights, events, expected = layer_vectors(name, 4)
        results = simulate(emitted(layer_of, name), [
            {"stimuli": {"weights": weights}, "expected": {}},
            {"stimuli": {"events": events[:len(events) // 3]}, "expected": {}},
            {"stimuli": {"events": events}, "expected": {"spikes": len(expected)}, "reset": True}], tmp_path / name,
            stalls=Stalls.RANDOM)
        assert results[2]["spikes"] == expected


@pytest.mark.parametrize("stalls", ALL_STALLS)
def test_encoder_announces_learning_and_gives_up_images(tmp_path: Path, stalls: Stalls) -> None:
    learn, abort = 1 << 8, 1 << 9
    pixels, expected = [], []
    for number, image in enumerate(ENCODER_IMAGES):
        pixels += [*image[:number].tolist(), abort]  # begun, then given up
        flag = learn if number % 2 else 0
        pixels += [int(pixel) | flag for pixel in image]
        expected += [(LEARN, 0)] if flag else []
        expected += spike_events(encode(image, 20))
    result, = simulate(emitted(Encoder, pixels=11, steps=20, pixels_per_clock=4), [
        {"stimuli": {"pixels": pixels}, "expected": {"spikes": len(expected)}}], tmp_path, stalls=stalls)
    assert result["spikes"] == pack(expected)


READOUT_COUNTS = [[3, 1, 0], [1, 3, 3], [0, 0, 0], [0, 0, 9], [20, 20, 20], [0, 20, 19], [16, 0, 0], [0, 5, 4]]


@pytest.mark.parametrize("rule", [NamedRule.PAPER, NamedRule.GRADED])
@pytest.mark.parametrize("stalls", ALL_STALLS)
def test_readout(tmp_path: Path, stalls: Stalls, rule: NamedRule) -> None:
    """Each set of counts is only classified, then learnt from with every label."""
    spec = with_rule(flat_network(sizes=(4, 3)), rule)
    events, labels, results, desires = [], [], [], []
    for counts in READOUT_COUNTS:
        trains = spike_events(np.array([[step < count for count in counts] for step in range(20)]))
        prediction = int(unique_maximum(np.array(counts)))
        for label in (None, 0, 1, 2):
            events += trains if label is None else [(LEARN, 0), *trains]
            learned = False
            if label is not None:
                labels.append(label)
                desire = output_desire(spec.placed[-1], np.array(counts), label)
                learned = bool(desire.sign.any())
                desires += [] if learned else [{"skip": 1}]
                for sign, exponent, error in zip(*desire, strict=True):
                    if learned:
                        magnitude = -exponent if flat(spec).magnitude is Magnitude.GRADED else error
                        desires.append({"skip": 0, "sign": int(sign), "magnitude": int(magnitude)})
            results.append((prediction, int(label is not None), int(learned), counts))
    result, = simulate(emitted(Readout, spec=spec), [
        {"stimuli": {"spikes": pack(events), "labels": labels},
         "expected": {"result": len(results), "desires": len(desires)}}], tmp_path, stalls=stalls)
    for word, (prediction, trained, learned, counts) in zip(result["result"], results, strict=True):
        assert (word & 3 if word >> 2 & 1 else -1) == prediction
        assert (word >> 3 & 1, word >> 4 & 1) == (trained, learned)
        assert [word >> (5 + 5 * place) & 31 for place in range(3)] == counts
    for word, desire in zip(result["desires"], desires, strict=True):
        assert word & 1 == desire["skip"]
        if not desire["skip"]:
            active = word >> 1 & 1
            assert active * (1 - 2 * (word >> 2 & 1)) == desire["sign"]
            assert not active or word >> 3 == desire["magnitude"]


class Misbehaving(wiring.Component):
    """Passes payloads on, and breaks one stream rule."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        super().__init__({"source": In(stream.Signature(8)), "sink": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        toggle = Signal()
        m.d.sync += toggle.eq(~toggle)
        m.d.comb += [self.sink.payload.eq(self.source.payload), self.sink.valid.eq(self.source.valid),
                     self.source.ready.eq(self.sink.ready)]
        match self._rule:
            case "valid drops":
                m.d.comb += [self.sink.valid.eq(self.source.valid & toggle),
                             self.source.ready.eq(self.sink.ready & toggle)]
            case "payload changes":
                m.d.comb += self.sink.payload.eq(self.source.payload ^ toggle)
            case "valid waits for ready":
                m.d.comb += self.sink.valid.eq(self.source.valid & self.sink.ready)
            case "loses one":
                with m.If(self.source.payload == 7):
                    m.d.comb += [self.sink.valid.eq(0), self.source.ready.eq(1)]
        return m


@pytest.mark.parametrize(("rule", "stalls", "message"), [
    ("none", Stalls.HEAVY, None),
    ("none", Stalls.POLITE, None),
    ("valid drops", Stalls.HEAVY, "stream rule broken on sink"),
    ("payload changes", Stalls.HEAVY, "stream rule broken on sink"),
    ("valid waits for ready", Stalls.POLITE, "only 0 of 10 transfers came on sink"),
    ("loses one", Stalls.NONE, "only 9 of 10 transfers came on sink"),
])
def test_the_monitors_can_fail(tmp_path: Path, rule: str, stalls: Stalls, message: str | None) -> None:
    runs = [{"stimuli": {"source": list(range(10))}, "expected": {"sink": 10}, "cycle_limit": 2000}]
    if message is None:
        assert simulate(emitted(Misbehaving, rule), runs, tmp_path, stalls=stalls)[0]["sink"] == list(range(10))
    else:
        with pytest.raises(BlockError, match=message):
            simulate(emitted(Misbehaving, rule), runs, tmp_path, stalls=stalls)

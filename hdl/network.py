"""The network: encoder, layers and readout in a chain; spikes go up, desires come back down.

::

    pixels -> encoder -> layer_0 -> layer_1 -> ... -> readout -> result
                            ^  <-----  ^  <----  ...  <---  labels
    weights ----------------+----------+----> readback
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.protocol import THRESHOLD_BYTES
from lifstream.golden.spec import NetworkSpec
from lifstream.hdl.desire_layer import DesireLayer
from lifstream.hdl.encoder import Encoder, PixelLayout
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.layer import LayerPhase
from lifstream.hdl.plastic_layer import PlasticLayer
from lifstream.hdl.readout import Readout, ResultLayout
from lifstream.hdl.votes import VoteReadout

__all__ = ["Network"]


class Network(wiring.Component):
    """A whole network.

    Latency: an image's result follows its last input event by about 30 clocks per layer. Throughput:
    an image takes about ``spikes x folds + steps`` clocks of its slowest layer, and what its layers
    need to learn (:class:`lifstream.hdl.layer.LifLayer`); the next image is loaded meanwhile, and successive
    layers work at the same time.

    ``pixels``: ``inputs`` per image, row by row. ``labels``: one per image to learn from. ``weights``:
    one weight per transfer, layer by layer, each matrix in row order; after the last it starts over.
    ``read``: a pulse sends all weights on ``readback``, in the same order. ``result``: one per image,
    in order. ``rate``: right shift from correlation to weight LSBs. ``reseed``: a pulse sets the
    generators to ``random_states`` (dropout, then rounding). Weights are loaded and read, and rate and generators
    are changed, only while ``idle`` is set. With plasticity the votes come after the layers' weights;
    ``counts`` follow each result; ``thresholds``, ``read_thresholds`` and ``threshold_readback`` do for adaptive
    thresholds what their likes do for weights.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, window and unrolling; results do not depend on them.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry) -> None:
        self.spec, self.geometry = spec, geometry
        plastic = spec.stdp is not None
        kind = PlasticLayer if plastic else DesireLayer
        self.layers = [kind(spec=spec, layer=layer, geometry=geometry.layer(spec, layer))
                       for layer in range(spec.lif_layers)]
        self.encoder = Encoder(pixels=spec.inputs, steps=spec.steps, window=geometry.window)
        self.readout = VoteReadout(spec=spec) if plastic else Readout(spec=spec)
        result = ResultLayout(classes=spec.classes, count_bits=None if plastic else spec.count_bits)
        thresholds = stream.Signature(unsigned(8 * THRESHOLD_BYTES))
        super().__init__({
            "pixels": In(stream.Signature(PixelLayout())),
            "labels": In(stream.Signature(unsigned(bits_for_index(spec.classes)))),
            "weights": In(stream.Signature(signed(spec.weight_bits))),
            "read": In(1),
            "readback": Out(stream.Signature(signed(spec.weight_bits))),
            "result": Out(stream.Signature(result)),
            "rate": In(5),
            "reseed": In(1),
            "random_states": In(32).array(len(spec.random_seeds)),
            "idle": Out(1),
            "loading": Out(1),
            "forward": Out(1),
            "desiring": Out(1),
            "updating": Out(1),
            **({
                "counts": Out(stream.Signature(unsigned(spec.count_bits))),
                "thresholds": In(thresholds),
                "read_thresholds": In(1),
                "threshold_readback": Out(thresholds),
            } if plastic else {}),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.encoder = encoder = self.encoder
        connect(m, wiring.flipped(self.pixels), encoder.pixels)
        spikes = encoder.spikes
        for index, layer in enumerate(self.layers):
            m.submodules[f"layer_{index}"] = layer
            connect(m, spikes, layer.events)
            m.d.comb += layer.rate.eq(self.rate)
            if layer.has_dropout or layer.rounds_at_random:
                m.d.comb += layer.reseed.eq(self.reseed)
            if layer.has_dropout:
                m.d.comb += layer.dropout_state.eq(self.random_states[index])
            if layer.rounds_at_random:
                m.d.comb += layer.rounding_state.eq(self.random_states[index - spec.lif_layers])
            if index > 0:
                connect(m, layer.back, self.layers[index - 1].desires)
            spikes = layer.spikes
        m.submodules.readout = readout = self.readout
        connect(m, spikes, readout.spikes)
        connect(m, wiring.flipped(self.labels), readout.labels)
        connect(m, readout.desires, self.layers[-1].desires)
        connect(m, readout.result, wiring.flipped(self.result))

        # -- state: each layer takes, and gives, as much as it has -----------------------------------
        matrices = [(layer.weights, layer.read, layer.readback, layer.geometry.n_in * layer.geometry.n_out)
                    for layer in self.layers]
        if spec.stdp is not None:
            connect(m, readout.counts, wiring.flipped(self.counts))
            # Nothing fires behind a layer that does not.
            m.d.comb += readout.fired.eq(self.layers[0].fired)
            matrices.append((readout.weights, readout.read, readout.readback, spec.responding * spec.classes))
            _in_turn(m, "threshold", self.thresholds, self.read_thresholds, self.threshold_readback,
                     [(layer.thresholds, layer.read_thresholds, layer.threshold_readback, layer.geometry.n_out)
                      for layer in self.layers])
        _in_turn(m, "weight", self.weights, self.read, self.readback, matrices)

        # -- what the network is doing --------------------------------------------------------------
        phases = [layer.phase for layer in self.layers]
        taught = [LayerPhase.RECEIVE, LayerPhase.STORE, LayerPhase.BACK, LayerPhase.SKIP] if spec.stdp is None else [
            LayerPhase.RECEIVE, LayerPhase.PASS, LayerPhase.SETTLE]
        m.d.comb += [
            self.loading.eq(encoder.loading),
            self.forward.eq(encoder.playing | Cat(layer.working for layer in self.layers).any()),
            self.desiring.eq(Cat(phase == each for phase in phases for each in taught).any()),
            self.updating.eq(Cat(phase == LayerPhase.UPDATE for phase in phases).any()),
            self.idle.eq(~encoder.playing & ~encoder.loading & ~self.result.valid
                         & Cat(layer.idle for layer in self.layers).all()
                         & (readout.idle if spec.stdp is not None else 1)),
        ]
        return m


def _in_turn(m: Module, name: str, source: Value, read: Value, readback: Value,
             parts: list[tuple[Value, Value, Value, int]]) -> None:
    """Share a stream in, a pulse, and a stream out among blocks, which take and give so many items each, in turn."""
    longest = max(count for _, _, _, count in parts)
    target = Signal(bits_for_index(len(parts)), name=f"{name}_target")
    taken = Signal(bits_for_index(longest), name=f"{name}_taken")
    giver = Signal(bits_for_index(len(parts)), name=f"{name}_giver")
    given = Signal.like(taken, name=f"{name}_given")
    start = Signal(len(parts), name=f"{name}_start")  # a block is to send what it has
    m.d.sync += start.eq(read)
    for index, (into, pulse, out, count) in enumerate(parts):
        following = (index + 1) % len(parts)
        m.d.comb += [into.payload.eq(source.payload), pulse.eq(start[index])]
        with m.If(target == index):
            m.d.comb += [into.valid.eq(source.valid), source.ready.eq(into.ready)]
            with m.If(source.valid & source.ready):
                m.d.sync += taken.eq(taken + 1)
                with m.If(taken == count - 1):
                    m.d.sync += [taken.eq(0), target.eq(following)]
        with m.If(giver == index):
            m.d.comb += [readback.payload.eq(out.payload), readback.valid.eq(out.valid), out.ready.eq(readback.ready)]
            with m.If(readback.valid & readback.ready):
                m.d.sync += given.eq(given + 1)
                with m.If(given == count - 1):
                    m.d.sync += [given.eq(0), giver.eq(following)]
                    if following:
                        m.d.sync += start.eq(1 << following)

"""The network: encoder, layers and readout in a chain; spikes go up, desires come back down.

::

    pixels -> encoder -> layer_0 -> layer_1 -> ... -> readout -> result
                            ^  <-----  ^  <----  ...  <---  labels
    weights ----------------+----------+----> readback
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from golden.spec import InputError, NetworkSpec
from hdl.encoder import Encoder, PixelLayout
from hdl.events import bits_for_index
from hdl.geometry import Geometry
from hdl.layer import LayerPhase, LifLayer
from hdl.readout import Readout, ResultLayout

__all__ = ["Network"]


class Network(wiring.Component):
    """A whole network.

    Latency: an image's result follows its last input event by about 30 clocks per layer. Throughput:
    an image takes about ``spikes x folds + steps`` clocks of its slowest layer, and what its layers
    need to learn (:class:`hdl.layer.LifLayer`); the next image is loaded meanwhile, and successive
    layers work at the same time.

    ``pixels``: ``inputs`` per image, row by row. ``labels``: one per image to learn from. ``weights``:
    one weight per transfer, layer by layer, each matrix in row order; after the last it starts over.
    ``read``: a pulse sends all weights on ``readback``, in the same order. ``result``: one per image,
    in order. ``rate``: right shift from correlation to weight LSBs. ``reseed``: a pulse sets the
    generators to ``random_states`` (dropout, then rounding). Weights are loaded and read, and rate and generators
    are changed, only while ``idle`` is set.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, window and unrolling; results do not depend on them.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry) -> None:
        if spec.stdp is not None:
            raise InputError("stdp: the hardware learns by desire backpropagation only; use train and eval")
        self.spec, self.geometry = spec, geometry
        self.layers = [LifLayer(spec=spec, layer=layer, geometry=geometry.layer(spec, layer))
                       for layer in range(spec.layers)]
        self.encoder = Encoder(pixels=spec.inputs, steps=spec.steps, window=geometry.window)
        self.readout = Readout(spec=spec)
        result = ResultLayout(classes=spec.classes, count_bits=spec.count_bits)
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
                m.d.comb += layer.rounding_state.eq(self.random_states[index - spec.layers])
            if index > 0:
                connect(m, layer.back, self.layers[index - 1].desires)
            spikes = layer.spikes
        m.submodules.readout = readout = self.readout
        connect(m, spikes, readout.spikes)
        connect(m, wiring.flipped(self.labels), readout.labels)
        connect(m, readout.desires, self.layers[-1].desires)
        connect(m, readout.result, wiring.flipped(self.result))

        # -- weights: each layer takes, and gives, as many as its matrix has ------------------------
        target = Signal(bits_for_index(spec.layers))
        taken = Signal(bits_for_index(max(layer.geometry.n_in * layer.geometry.n_out for layer in self.layers)))
        giver = Signal(bits_for_index(spec.layers))
        given = Signal.like(taken)
        start = Signal(spec.layers)  # a layer is to send its weights
        m.d.sync += start.eq(self.read)
        for index, layer in enumerate(self.layers):
            matrix = layer.geometry.n_in * layer.geometry.n_out
            following = (index + 1) % spec.layers
            m.d.comb += [layer.weights.payload.eq(self.weights.payload), layer.read.eq(start[index])]
            with m.If(target == index):
                m.d.comb += [layer.weights.valid.eq(self.weights.valid), self.weights.ready.eq(layer.weights.ready)]
                with m.If(self.weights.valid & self.weights.ready):
                    m.d.sync += taken.eq(taken + 1)
                    with m.If(taken == matrix - 1):
                        m.d.sync += [taken.eq(0), target.eq(following)]
            with m.If(giver == index):
                m.d.comb += [self.readback.payload.eq(layer.readback.payload),
                             self.readback.valid.eq(layer.readback.valid),
                             layer.readback.ready.eq(self.readback.ready)]
                with m.If(self.readback.valid & self.readback.ready):
                    m.d.sync += given.eq(given + 1)
                    with m.If(given == matrix - 1):
                        m.d.sync += [given.eq(0), giver.eq(following)]
                        if following:
                            m.d.sync += start.eq(1 << following)

        # -- what the network is doing --------------------------------------------------------------
        phases = [layer.phase for layer in self.layers]
        m.d.comb += [
            self.loading.eq(encoder.loading),
            self.forward.eq(encoder.playing | Cat(layer.working for layer in self.layers).any()),
            self.desiring.eq(Cat((phase == LayerPhase.RECEIVE) | (phase == LayerPhase.STORE)
                                  | (phase == LayerPhase.BACK) | (phase == LayerPhase.SKIP) for phase in phases).any()),
            self.updating.eq(Cat(phase == LayerPhase.UPDATE for phase in phases).any()),
            self.idle.eq(~encoder.playing & ~encoder.loading & ~self.result.valid
                         & Cat(layer.idle for layer in self.layers).all()),
        ]
        return m


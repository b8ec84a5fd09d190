"""The network: encoder, layers and readout in a chain, and the weights' way in.

::

    pixels -> encoder -> layer_0 -> layer_1 -> ... -> readout -> result
                            ^          ^
    weights ----------------+----------+
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from golden.spec import NetworkSpec
from hdl.encoder import Encoder
from hdl.events import bits_for_index
from hdl.geometry import Geometry
from hdl.layer import LifLayer
from hdl.readout import Readout, ResultLayout

__all__ = ["Network"]


class Network(wiring.Component):
    """A whole network.

    Latency: an image's result follows its last input event by about 30 clocks per layer. Throughput:
    an image takes about ``spikes x folds + steps`` clocks of its slowest layer; the next image is
    loaded meanwhile, and successive layers work at the same time.

    ``pixels``: intensities, ``inputs`` per image, row by row. ``weights``: one weight per transfer,
    layer by layer, each matrix in row order (presynaptic neuron by presynaptic neuron); after the
    last it starts over. ``result``: one per image, in order.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes and window; results do not depend on them.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry) -> None:
        self.spec, self.geometry = spec, geometry
        self.layers = [LifLayer(spec=spec, layer=layer, geometry=geometry.layer(spec, layer))
                       for layer in range(spec.layers)]
        result = ResultLayout(classes=spec.classes, count_bits=spec.count_bits)
        super().__init__({
            "pixels": In(stream.Signature(unsigned(8))),
            "weights": In(stream.Signature(signed(spec.weight_bits))),
            "result": Out(stream.Signature(result)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.encoder = encoder = Encoder(
            pixels=spec.inputs, steps=spec.steps, window=self.geometry.window)
        connect(m, wiring.flipped(self.pixels), encoder.pixels)
        spikes = encoder.spikes
        for index, layer in enumerate(self.layers):
            m.submodules[f"layer_{index}"] = layer
            connect(m, spikes, layer.events)
            spikes = layer.spikes
        m.submodules.readout = readout = Readout(classes=spec.classes, count_bits=spec.count_bits)
        connect(m, spikes, readout.spikes)
        connect(m, readout.result, wiring.flipped(self.result))

        # -- weights: each layer takes as many as its matrix has ---------------------------------
        target = Signal(bits_for_index(spec.layers))
        taken = Signal(bits_for_index(max(layer.geometry.n_in * layer.geometry.n_out for layer in self.layers)))
        with m.Switch(target):
            for index, layer in enumerate(self.layers):
                m.d.comb += layer.weights.payload.eq(self.weights.payload)
                with m.Case(index):
                    m.d.comb += [layer.weights.valid.eq(self.weights.valid),
                                 self.weights.ready.eq(layer.weights.ready)]
                    with m.If(self.weights.valid & self.weights.ready):
                        m.d.sync += taken.eq(taken + 1)
                        with m.If(taken == spec.sizes[index] * spec.sizes[index + 1] - 1):
                            m.d.sync += [taken.eq(0), target.eq((index + 1) % spec.layers)]
        return m

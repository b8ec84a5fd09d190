"""The network: encoder, layers and readout in a chain; spikes go up, desires come back down.

::

    pixels -> encoder -> layer_0 -> layer_1 -> ... -> readout -> result
                            ^  <-----  ^  <----  ...  <---  labels
    state ------------------+----------+----> readback
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.event_input import EventInput
from lifstream.hdl.events import bits_for_index, label_layout
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.registry import StateKind, make_input, make_layer, readout_class, state_kinds

__all__ = ["Network", "least_rate_offset"]


class Network(wiring.Component):
    """A whole network.

    Latency: an image's result follows its last input event by about 30 clocks per layer. Throughput:
    an image takes about ``spikes x folds + steps`` clocks of its slowest layer, and what its layers
    need to learn (:class:`lifstream.hdl.layer.layer.LifLayer`); the next image is loaded meanwhile, and successive
    layers work at the same time.

    ``pixels``: ``inputs`` per image, row by row; or ``events``. ``labels``, where weights change: one per image to
    learn from.
    ``result``: one per image, in order; on ``answer`` follows what is told of the last layer's neurons, unless the
    result holds it. ``rate``: right shift from
    correlation to weight LSBs, of the layer in which it is largest.
    ``reseed``: a pulse sets the generators to ``random_states`` (dropout, then rounding). For each kind of state
    (:class:`lifstream.hdl.registry.StateKind`) three ports: items in, layer by layer, each matrix in row order; a
    pulse that asks for them; and items out. State is loaded and read, and rate and generators are changed, only while
    ``idle`` is set.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling; results do not depend on them.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry) -> None:
        self.spec, self.geometry = spec, geometry
        self.layers = [make_layer(spec=spec, geometry=geometry, layer=layer) for layer in range(len(spec.layers))]
        self.encoder = make_input(spec=spec, geometry=geometry)
        self.readout = readout_class(spec)(spec=spec)
        self.state = state_kinds(spec)
        members = {
            self.samples: In(getattr(self.encoder, self.samples).signature.flip()),
            **({"labels": In(stream.Signature(label_layout(spec)))} if spec.learns else {}),
            "result": Out(self.readout.result.signature),
            "rate": In(5),
            "reseed": In(1),
            "random_states": In(32).array(len(spec.random_seeds)),
            "idle": Out(1),
            "loading": Out(1),
            "forward": Out(1),
            "desiring": Out(1),
            "updating": Out(1),
        }
        for kind in self.state:
            items = stream.Signature(kind.shape)
            members |= {kind.name: In(items), kind.read: In(1), kind.readback: Out(items)}
        if self.readout.answer_follows:
            members["answer"] = Out(self.readout.answer.signature)
        super().__init__(members)

    @property
    def samples(self) -> str:
        """Name of the stream on which samples come in."""
        return "events" if isinstance(self.encoder, EventInput) else "pixels"

    def items(self, kind: StateKind) -> int:
        """How many items of a kind of state the network holds."""
        return sum(block.state_items.get(kind.name, 0) for block in (*self.layers, self.readout))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.encoder = encoder = self.encoder
        connect(m, wiring.flipped(getattr(self, self.samples)), getattr(encoder, self.samples))
        spikes = encoder.spikes
        dropping = [index for index, layer in enumerate(self.layers) if layer.has_dropout]
        rounding = [index for index, layer in enumerate(self.layers) if layer.rounds_at_random]
        for index, layer in enumerate(self.layers):
            m.submodules[f"layer_{index}"] = layer
            connect(m, spikes, layer.events)
            beyond = _rate_offset(spec, index) - least_rate_offset(spec)
            m.d.comb += layer.rate.eq(self.rate - beyond if beyond else self.rate)
            if layer.has_dropout or layer.rounds_at_random:
                m.d.comb += layer.reseed.eq(self.reseed)
            if layer.has_dropout:
                m.d.comb += layer.dropout_state.eq(self.random_states[dropping.index(index)])
            if layer.rounds_at_random:
                m.d.comb += layer.rounding_state.eq(self.random_states[len(dropping) + rounding.index(index)])
            if index > 0 and spec.learns:
                connect(m, layer.back, self.layers[index - 1].desires)
            spikes = layer.spikes
        m.submodules.readout = readout = self.readout
        connect(m, spikes, readout.spikes)
        if spec.learns:
            connect(m, wiring.flipped(self.labels), readout.labels)
            connect(m, readout.desires, self.layers[-1].desires)
        connect(m, readout.result, wiring.flipped(self.result))
        if readout.answer_follows:
            connect(m, readout.answer, wiring.flipped(self.answer))
        if "responses" in readout.signature.members:
            connect(m, self.layers[-1].responses, readout.responses)
        if "fired" in readout.signature.members:
            # Nothing fires behind a layer that does not.
            m.d.comb += readout.fired.eq(self.layers[0].fired)

        # -- state: each block takes, and gives, as much as it has -----------------------------------
        for kind in self.state:
            names = (kind.name, kind.read, kind.readback)
            parts = [(*(getattr(block, name) for name in names), block.state_items[kind.name])
                     for block in (*self.layers, readout) if kind.name in block.state_items]
            source, read, readback = (getattr(self, name) for name in names)
            _in_turn(m, kind.name, source, read, readback, parts)

        # -- what the network is doing --------------------------------------------------------------
        m.d.comb += [
            self.loading.eq(encoder.loading),
            self.forward.eq(encoder.playing | Cat(layer.working for layer in self.layers).any()),
            self.desiring.eq(Cat(layer.phase == each for layer in self.layers for each in layer.taught_phases).any()),
            self.updating.eq(Cat(layer.phase == LayerPhase.UPDATE for layer in self.layers).any()),
            self.idle.eq(~encoder.playing & ~encoder.loading & ~self.result.valid
                         & Cat(layer.idle for layer in self.layers).all() & readout.idle),
        ]
        return m


def _rate_offset(spec: NetworkSpec, layer: int) -> int:
    """What is taken off a rate shift to get the right shift of a layer's updates."""
    at = spec.at(layer)
    return -at.rule.update_shift(0, at.formats)


def least_rate_offset(spec: NetworkSpec) -> int:
    """The smallest of the layers' offsets: the network's ``rate`` is a rate shift less this."""
    return min(_rate_offset(spec, layer) for layer in range(len(spec.layers)))


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

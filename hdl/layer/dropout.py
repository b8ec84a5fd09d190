"""Dropout masks from xorshift32, one set ahead of the sample that uses them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.arithmetic import xorshift32
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.layer.part import LayerPart

__all__ = ["DropoutMasks", "LayerDropout"]


class DropoutMasks(wiring.Component):
    """Draws a mask per neuron and sample; the next sample's while the present one runs.

    A draw is one step of xorshift32 (shifts 13, 17, 5); the neuron is kept when its top byte is at
    least ``dropout``. Draws go in index order and restart from the seed at reset,
    and from any state on demand.

    Latency: ``neurons`` clocks per set. Throughput: one draw per clock. One comparator of 8 bits, no
    multiplier. Memory: ``2 x neurons`` bits.

    Parameters
    ----------
    neurons
        Neurons of the layer.
    dropout
        Probability of being dropped, in 1/256.
    seed
        State after reset, not zero.
    """

    def __init__(self, *, neurons: int, dropout: int, seed: int) -> None:
        self._neurons, self._dropout, self._seed = neurons, dropout, seed
        super().__init__({
            "ready": Out(1),        # the next set is complete
            "begin": In(1),         # pulse: the next sample starts
            "current": Out(1),      # number of the set in force
            "drawing": Out(1),      # `neuron` of set `~current` has just been drawn
            "kept": Out(1),
            "neuron": Out(unsigned(bits_for_index(neurons))),
            "reseed": In(1),        # pulse: draw the next set anew, from `state`
            "state": In(32),
            "ask": In(unsigned(bits_for_index(neurons))),
            "answer": Out(1),       # whether `ask` is kept in the present sample; no latency
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sets = sets = memory.Memory(shape=1, depth=2 * self._neurons, init=[])
        write = sets.write_port()
        read = sets.read_port(domain="comb")
        state = Signal(32, init=self._seed)
        draw = Signal(32)
        m.d.comb += [
            draw.eq(xorshift32(state)),
            self.drawing.eq(~self.ready),
            self.kept.eq(draw[24:] >= self._dropout),
            write.addr.eq(self.neuron + Mux(self.current, 0, self._neurons)),
            write.data.eq(self.kept),
            write.en.eq(self.drawing),
            read.addr.eq(self.ask + Mux(self.current, self._neurons, 0)),
            self.answer.eq(read.data),
        ]
        with m.If(self.drawing):
            m.d.sync += [state.eq(draw), self.neuron.eq(self.neuron + 1)]
            with m.If(self.neuron == self._neurons - 1):
                m.d.sync += [self.neuron.eq(0), self.ready.eq(1)]
        with m.If(self.reseed):
            m.d.sync += [state.eq(self.state), self.neuron.eq(0), self.ready.eq(0)]
        with m.If(self.begin):
            m.d.sync += [self.current.eq(~self.current), self.ready.eq(0)]
        return m


class LayerDropout(LayerPart):
    """Draws a layer's masks, writes them into its groups of lanes, and keeps a copy for the learning rule.

    Latency: a neuron's mask is in its group 3 clocks after it has been drawn. Throughput: a neuron per clock. Adders:
    one of an address, in a layer of maps two. No multiplier. Memory: that of :class:`DropoutMasks`.
    """

    @property
    def outer(self) -> tuple[str, ...]:
        """The generator's state may be set."""
        return ("dropout_state",)

    def _ports(self) -> dict[str, Any]:
        geometry = self._geometry
        address = bits_for_index(2 * geometry.folds * geometry.lanes_per_group)
        return {
            "begin": In(1),             # pulse: the next sample starts
            "reseed": In(1),            # pulse: set the generator ...
            "dropout_state": In(32),    # ... to this
            "masks_current": Out(1),    # number of the set in force
            "masks_ready": Out(1),      # the next is complete
            "mask": Out(data.StructLayout({"enable": 1, "kept": 1, "address": address})),
            "mask_group": Out(geometry.groups),
            "asked": In(bits_for_index(geometry.n_out)),
            "kept": Out(1),             # whether this neuron is, in the present sample
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, at = self._geometry, self._at
        assert at.dropout_seed is not None
        addresses = geometry.folds * geometry.lanes_per_group
        m.submodules.masks = masks = DropoutMasks(
            neurons=geometry.n_out, dropout=at.neuron.dropout, seed=at.dropout_seed)
        place = Signal(bits_for_index(addresses))
        turn = Signal(geometry.groups, init=1)
        mask, select = Signal.like(self.mask, name="mask_now"), Signal(geometry.groups)
        m.d.comb += [
            masks.begin.eq(self.begin), masks.ask.eq(self.asked), masks.reseed.eq(self.reseed),
            masks.state.eq(self.dropout_state), self.masks_current.eq(masks.current), self.masks_ready.eq(masks.ready),
            self.kept.eq(masks.answer), self.mask.eq(mask), self.mask_group.eq(select),
        ]
        m.d.sync += [
            mask.kept.eq(masks.kept),
            mask.address.eq(place + Mux(masks.current, 0, addresses)),
            select.eq(Mux(masks.drawing, turn, 0)),
        ]
        with m.If(masks.drawing):
            m.d.sync += turn.eq(turn.rotate_left(1))
            with m.If(turn[-1]):
                m.d.sync += place.eq(place + 1)
            if geometry.positions > 1:
                self._next_position(m, masks.drawing, turn, place)
            with m.If(masks.neuron == geometry.n_out - 1):
                m.d.sync += [turn.eq(1), place.eq(0)]
        with m.If(self.reseed):
            m.d.sync += [turn.eq(1), place.eq(0)]
        return m

    def _next_position(self, m: Module, drawing: Value, turn: Signal, place: Signal) -> None:
        """Behind a position's last neuron comes the first place of the next."""
        geometry = self._geometry
        column = Signal(bits_for_index(geometry.columns))
        passed = geometry.padded_columns // geometry.groups - (geometry.columns - 1) // geometry.groups
        with m.If(drawing):
            m.d.sync += column.eq(column + 1)
            with m.If(column == geometry.columns - 1):
                m.d.sync += [column.eq(0), turn.eq(1), place.eq(place + passed)]
        with m.If(self.reseed):
            m.d.sync += column.eq(0)

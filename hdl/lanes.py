"""A group of synaptic lanes: weight memory, current accumulators and one shared membrane unit.

This is the datapath of a neuron. Control comes as *slots*, one per clock, that travel a fixed
pipeline; nothing in a group ever stalls::

    slot -> leaf register -> weight memory -> output register -> accumulate
                                                                   | STEP: current <- accumulator
                                                                   v
      select current, read membrane -> add -> clamp -> fire, reset -> leak, write membrane
                                                         |
                                                         v  one neuron per clock

Nothing passes from group to group: a layer is as wide as one likes.
"""

from __future__ import annotations

import itertools

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out

from golden.spec import NetworkSpec, Overflow, Phase
from hdl.events import EventKind, bits_for_index
from hdl.geometry import LayerGeometry

__all__ = ["LaneGroup", "SlotKind", "SlotLayout"]

_MEMBRANE_STAGES = 4
"""Registers between a membrane potential being read and its successor being written."""


def _depth(words: int) -> int:
    """At least two words: the address of a single word would have no bits."""
    return max(2, words)


class SlotKind(enum.Enum, shape=3):
    """What the groups of a layer do with a slot."""

    IDLE = 0
    """Nothing."""
    SPIKE = 1
    """Add the weight row to the accumulators of ``fold``."""
    STEP = 2
    """Hand the accumulators of ``fold`` to the membrane unit, and clear them."""
    CLEAR = 3
    """Clear the accumulators of ``fold``."""
    WRITE = 4
    """Write the loaded weights to the row."""


class SlotLayout(data.StructLayout):
    """One clock's work for all groups of a layer."""

    def __init__(self, geometry: LayerGeometry) -> None:
        super().__init__({
            "kind": SlotKind,
            "row": bits_for_index(geometry.rows),
            "fold": bits_for_index(geometry.folds),
            "first": 1,             # STEP: the sample's first step, the membrane starts at zero
            "marker": EventKind,    # STEP: marker that follows the fold's last neuron
        })


class LaneGroup(wiring.Component):
    """``K`` lanes with their weights, for every fold, and the membrane unit they share.

    Latency: 4 clocks from a slot to the accumulators, then 4 more to the first neuron's spike.
    Throughput: one slot per clock; a STEP slot must not follow another within
    :meth:`step_interval` clocks.
    Adders: K accumulators of the current's width and 3 of the membrane's. No multiplier.
    Memory: ``rows x K x W`` bits of weights, ``folds x K`` membrane potentials and, folded,
    ``folds x K`` currents.

    Parameters
    ----------
    spec
        The numeric contract.
    layer
        Index of the layer.
    geometry
        Its folding.
    """

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        self._spec, self._layer, self._geometry = spec, layer, geometry
        super().__init__({
            "slot": In(SlotLayout(geometry)),
            "load": In(data.StructLayout({"enable": 1, "weight": signed(spec.weight_bits)})),
            "slice_valid": Out(1),
            "slice_marker": Out(EventKind),
            "spike": Out(1),
            "membrane": Out(signed(spec.membrane_bits(layer))),
        })

    @staticmethod
    def step_interval(geometry: LayerGeometry) -> int:
        """Clocks between two STEP slots: every lane is served, and no membrane is read too early."""
        return max(geometry.lanes_per_group, -(-(_MEMBRANE_STAGES + 1) // geometry.folds))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, geometry, layer = self._spec, self._geometry, self._layer
        lanes, folds = geometry.lanes_per_group, geometry.folds
        weight_shape = signed(spec.weight_bits)
        current_shape = signed(spec.current_bits(layer))

        # -- weights: loaded through a shift register, written a row at a time -------------------
        m.submodules.weights = weights = memory.Memory(
            shape=data.ArrayLayout(weight_shape, lanes), depth=_depth(geometry.rows), init=[])
        write, read = weights.write_port(), weights.read_port()
        loaded = [Signal(weight_shape, name=f"loaded_{lane}", reset_less=True) for lane in range(lanes)]
        with m.If(self.load.enable):
            m.d.sync += [stage.eq(source) for stage, source in
                         zip(loaded, [*loaded[1:], self.load.weight], strict=True)]

        # -- slot pipeline -----------------------------------------------------------------------
        leaf, reading, arriving = (Signal(SlotLayout(geometry), name=name)
                                   for name in ("leaf", "reading", "arriving"))
        m.d.sync += [leaf.eq(self.slot), reading.eq(leaf), arriving.eq(reading)]
        m.d.comb += [
            read.addr.eq(leaf.row),
            write.addr.eq(leaf.row),
            write.en.eq(leaf.kind == SlotKind.WRITE),
            write.data.eq(Cat(loaded)),
            # One slot either reads or writes, so a row is never read while it is written.
            read.en.eq(leaf.kind != SlotKind.WRITE),
        ]
        row = Signal(data.ArrayLayout(weight_shape, lanes), reset_less=True)
        m.d.sync += row.eq(read.data)

        # -- accumulate: exact, so the order of events within a step has no effect ----------------
        adding = arriving.kind == SlotKind.SPIKE
        stepping = arriving.kind == SlotKind.STEP
        clearing = stepping | (arriving.kind == SlotKind.CLEAR)
        current = Array([Signal(current_shape, name=f"current_{lane}", reset_less=True)
                         for lane in range(lanes)])
        if folds == 1:
            for lane in range(lanes):
                accumulator = Signal(current_shape, name=f"accumulator_{lane}", reset_less=True)
                with m.If(clearing):
                    m.d.sync += accumulator.eq(0)
                with m.Elif(adding):
                    m.d.sync += accumulator.eq(accumulator + row[lane])
                with m.If(stepping):
                    m.d.sync += current[lane].eq(accumulator)
        else:
            m.submodules.accumulators = accumulators = memory.Memory(
                shape=data.ArrayLayout(current_shape, lanes), depth=folds, init=[])
            put, get = accumulators.write_port(), accumulators.read_port(domain="comb")
            m.d.comb += [get.addr.eq(arriving.fold), put.addr.eq(arriving.fold),
                         put.en.eq(clearing | adding)]
            for lane in range(lanes):
                m.d.comb += put.data[lane].eq(Mux(clearing, 0, get.data[lane] + row[lane]))
                with m.If(stepping):
                    m.d.sync += current[lane].eq(get.data[lane])

        # -- membrane unit: one neuron per clock -------------------------------------------------
        lane_bits = bits_for_index(lanes)
        busy = Signal()
        lane = Signal(lane_bits)
        fold = Signal(bits_for_index(folds))
        first = Signal()
        marker = Signal(EventKind)
        with m.If(stepping):
            m.d.sync += [busy.eq(1), lane.eq(0), fold.eq(arriving.fold),
                         first.eq(arriving.first), marker.eq(arriving.marker)]
        with m.Elif(lane == lanes - 1):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += lane.eq(lane + 1)

        low, high = spec.membrane_range(layer)
        membrane_shape = signed(spec.membrane_bits(layer))
        sum_shape = signed(max(spec.membrane_bits(layer), spec.current_bits(layer)) + 1)
        threshold = spec.threshold(layer, Phase.INFERENCE)
        address_shape = unsigned(bits_for_index(folds * lanes))

        m.submodules.leaked = leaked = memory.Memory(shape=membrane_shape, depth=_depth(folds * lanes), init=[])
        recall, store = leaked.read_port(domain="comb"), leaked.write_port()

        valid = [Signal(name=f"valid_{stage}") for stage in range(_MEMBRANE_STAGES)]
        address = [Signal(address_shape, name=f"address_{stage}", reset_less=True)
                   for stage in range(_MEMBRANE_STAGES)]
        markers = [Signal(EventKind, name=f"marker_{stage}", reset_less=True)
                   for stage in range(_MEMBRANE_STAGES)]
        for pipeline in (valid, address, markers):
            m.d.sync += [later.eq(earlier) for earlier, later in itertools.pairwise(pipeline)]
        m.d.sync += [
            valid[0].eq(busy),
            address[0].eq(recall.addr),
            markers[0].eq(Mux(lane == lanes - 1, marker, EventKind.SPIKE)),
        ]

        selected = Signal(current_shape, reset_less=True)
        remembered = Signal(membrane_shape, reset_less=True)
        m.d.comb += recall.addr.eq(lane if folds == 1 else self._address(m, fold, lane, lanes, folds))
        m.d.sync += [selected.eq(current[lane]), remembered.eq(Mux(first, 0, recall.data))]

        total = Signal(sum_shape, reset_less=True)
        m.d.sync += total.eq(remembered + selected)

        integrated = Signal(membrane_shape, reset_less=True)
        if spec.membrane_overflow is Overflow.SATURATE:
            m.d.sync += integrated.eq(Mux(total < low, low, Mux(total > high, high, total)))
        else:
            m.d.sync += integrated.eq(total)

        above = Signal(signed(membrane_shape.width + 1))
        m.d.comb += above.eq(integrated - threshold)
        fired = above >= 0
        after = Signal(membrane_shape, reset_less=True)
        m.d.sync += [
            self.spike.eq(fired),
            self.membrane.eq(integrated),
            after.eq(Mux(fired, above, integrated)),
        ]
        m.d.comb += [
            self.slice_valid.eq(valid[-1]),
            self.slice_marker.eq(markers[-1]),
            store.addr.eq(address[-1]),
            store.en.eq(valid[-1]),
            store.data.eq(((after << spec.leak_shift) - after) >> spec.leak_shift),
        ]
        return m

    @staticmethod
    def _address(m: Module, fold: Signal, lane: Signal, lanes: int, folds: int) -> Signal:
        """``fold * lanes + lane`` from a table: an addition of constants, not a multiplication."""
        base = Signal(bits_for_index(lanes * folds))
        with m.Switch(fold):
            for value in range(folds):
                with m.Case(value):
                    m.d.comb += base.eq(value * lanes)
        result = Signal(bits_for_index(lanes * folds))
        m.d.comb += result.eq(base + lane)
        return result

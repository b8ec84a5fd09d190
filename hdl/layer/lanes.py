"""A group of synaptic lanes: weight memory, current accumulators, one shared membrane unit, learning.

This is the datapath of a neuron. Control comes as *slots* and *learning steps*, one of each per
clock, that travel a fixed pipeline; nothing in a group ever stalls::

    slot -> leaf register -> weight memory -> row register -> accumulate
                                ^                |                 | STEP: current <- accumulator
                                |                |                 v
                                |                |        membrane unit: one neuron per clock
                                |                |                 |
                                |                |                 v
                                |                |          spikes or candidate
                                |                v                 |
                                |     HOLD: loaded weights         v
                                +--- WRITE --- +/- changes <- learning rule <- trace

Nothing passes from group to group: a layer is as wide as one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.arithmetic import add_rounded, saturate
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.join import drive, join, outputs, with_bits
from lifstream.hdl.layer.membrane import MembraneUnit, NeuronUnit, Pace, TagLayout
from lifstream.hdl.layer.slots import KEEP_APART, LearnLayout, SlotKind, SlotLayout

__all__ = ["LaneGroup", "LaneRule", "split_step"]


class ChangeLayout(data.StructLayout):
    """A lane's weight change: ``magnitude + carry``, its sign, and whether there is one."""

    def __init__(self, size_bits: int) -> None:
        super().__init__({"magnitude": size_bits, "carry": 1, "negative": 1, "active": 1})


class LaneRule(wiring.Component):
    """The learning unit of a group: what changes each lane's loaded weight.

    It may take anything the group or its membrane unit knows, by name: inputs of its own are joined to them. Those of
    its ports that :meth:`layer_ports` names become the group's.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    index
        Number of the group in its layer.
    slot
        Layout of a slot.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, index: int,
                 slot: SlotLayout) -> None:
        self._at, self._geometry, self._index = at, geometry, index
        lanes, self.tag, own = geometry.lanes_per_group, self._tag(), self._own_ports()
        weights = data.ArrayLayout(signed(at.formats.weight_bits), lanes)
        super().__init__(with_bits({
            "leaf": In(slot),           # the slot that reads or writes the weight memory ...
            "arriving": In(slot),       # ... and the one whose row has been read
            "row": In(weights),
            "loaded": In(weights),      # the row that is to change
            "learn": In(self._learn_layout()),
            "changes": Out(ChangeLayout(self.size_bits(at))).array(lanes),
            # Of the membrane unit: a neuron's slot and what is to be known of it; its potential; its slice.
            "starting": In(1),
            "serving_slot": In(slot),
            "note": Out(self.tag.own),
            "integrated": In(signed(at.membrane_bits)),
            "slice_valid": In(1),
            "served": In(self.tag),
            **own,
        }))

    @classmethod
    def size_bits(cls, at: PlacedLayer) -> int:
        """Width of a change's magnitude."""
        raise NotImplementedError

    def layer_ports(self) -> tuple[str, ...]:
        """Those of its own ports that are the layer's business."""
        raise NotImplementedError

    def _learn_layout(self) -> LearnLayout:
        """What it is told, clock by clock."""
        raise NotImplementedError

    def _tag(self) -> TagLayout:
        """What it wants to know of a neuron that has been served."""
        raise NotImplementedError

    def _own_ports(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class _Slots:
    """A slot on its way through the group, and what is decoded of it."""

    leaf: Signal
    reading: Signal
    arriving: Signal
    adding: Signal
    stepping: Signal
    clearing: Signal
    holding: Signal


class LaneGroup(wiring.Component):
    """``K`` lanes with their weights, for every fold, and what they share.

    Latency: 4 clocks from a slot to the accumulators. Throughput: one slot and one learning step per
    clock; a STEP slot must not follow another within :meth:`MembraneUnit.step_interval` clocks.
    Adders: K accumulators of the current's width, K of the weight's; those of membrane unit and rule. Memory:
    ``rows x K x W`` bits of weights; folded, also ``folds x K`` currents.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    index
        Number of the group in its layer.
    neuron
        What its kind of neuron adds to the membrane unit.
    rule
        What its lanes learn by; None: weights are loaded and read, and do not change.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, index: int,
                 neuron: type[NeuronUnit], rule: type[LaneRule] | None) -> None:
        self._at, self._geometry = at, geometry
        slot = SlotLayout(at, geometry, neuron.slot_fields(geometry))
        self._neuron = neuron(at=at, geometry=geometry, index=index)
        self._rule = rule(at=at, geometry=geometry, index=index, slot=slot) if rule is not None else None
        self._membrane = MembraneUnit(unit=self._neuron, at=at, geometry=geometry,
                                      tag=self._rule.tag if self._rule is not None else TagLayout(geometry, (), {}))
        parts: list[NeuronUnit | LaneRule] = [self._neuron, *([self._rule] if self._rule is not None else [])]
        self.layer_ports: dict[str, Any] = {
            name: part.signature.members[name] for part in parts for name in part.layer_ports()}
        super().__init__({
            "slot": In(slot),
            **({"learn": In(self._rule.learn.shape())} if self._rule is not None else {}),
            "load": In(data.StructLayout({"enable": 1, "weight": signed(at.formats.weight_bits)})),
            "unload": Out(signed(at.formats.weight_bits)),
            "slice_valid": Out(1),
            "membrane": Out(signed(at.membrane_bits)),
            **self.layer_ports,
        })

    @property
    def pace(self) -> Pace:
        """How fast steps may follow each other."""
        return Pace(self._membrane.turnaround, self._membrane.step_interval)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self._geometry.lanes_per_group
        weights = data.ArrayLayout(signed(self._at.formats.weight_bits), lanes)
        at = self._slots(m)
        loaded = [Signal(weights.elem_shape, name=f"loaded_{lane}", reset_less=True) for lane in range(lanes)]
        row = self._row(m, at.leaf, weights, loaded)
        membrane, rule = self._membrane, self._rule
        m.submodules.membrane_unit = membrane
        parts: list[wiring.Component] = [membrane]
        learning: dict[str, Any] = {}
        if rule is not None:
            m.submodules.rule = rule
            parts.append(rule)
            learn = Signal(self.learn.shape(), name="learn_leaf", reset_less=True, attrs=KEEP_APART)
            m.d.sync += learn.eq(self.learn)
            learning = {"learn": learn, "leaf": at.leaf, "row": row, "loaded": Cat(loaded)}
        starting: Value = at.stepping
        for kind in self._neuron.starts:
            if kind is not SlotKind.STEP:
                starting = starting | (at.arriving.kind == kind)
        told = {name: getattr(self, name) for name, member in self.layer_ports.items() if member.flow is In}
        join(m, parts, outputs(parts) | {
            "arriving": at.arriving, "starting": starting, "current": self._accumulate(m, at, row), **learning, **told})
        for part in parts:
            for name in part.signature.members:
                if name in self.signature.members and self.signature.members[name].flow is Out:
                    drive(m, getattr(self, name), getattr(part, name))
        self._change(m, at, loaded, row)
        return m

    def _slots(self, m: Module) -> _Slots:
        """The slot's registers: before the weight memory, beside it, and behind it with the row."""
        # Without reset of their own: what the layer sends is reset, for longer than they take to pass it on.
        leaf, reading, arriving = (Signal(self.slot.shape(), name=name, reset_less=True, attrs=KEEP_APART)
                                   for name in ("leaf", "reading", "arriving"))
        m.d.sync += [leaf.eq(self.slot), reading.eq(leaf), arriving.eq(reading)]
        # What arrives, decoded a clock before: it goes to all lanes.
        adding, stepping, clearing, holding = (
            Signal(name=f"arriving_{name}", reset_less=True, attrs=KEEP_APART)
            for name in ("spike", "step", "clear", "hold"))
        m.d.sync += [
            adding.eq(reading.kind == SlotKind.SPIKE), stepping.eq(reading.kind == SlotKind.STEP),
            clearing.eq((reading.kind == SlotKind.STEP) | (reading.kind == SlotKind.CLEAR)),
            holding.eq(reading.kind == SlotKind.HOLD),
        ]
        return _Slots(leaf=leaf, reading=reading, arriving=arriving, adding=adding, stepping=stepping,
                      clearing=clearing, holding=holding)

    def _row(self, m: Module, leaf: Signal, shape: data.ArrayLayout, loaded: list[Signal]) -> Signal:
        """The weight memory; returns the row of the slot that arrives."""
        m.submodules.weights = weights = memory.Memory(shape=shape, depth=max(2, self._geometry.rows), init=[])
        write, read = weights.write_port(), weights.read_port()
        m.d.comb += [
            read.addr.eq(leaf.row),
            write.addr.eq(leaf.row),
            write.en.eq(leaf.kind == SlotKind.WRITE),
            write.data.eq(Cat(loaded)),
            # One slot either reads or writes, so a row is never read while it is written.
            read.en.eq(leaf.kind != SlotKind.WRITE),
            self.unload.eq(loaded[0]),
        ]
        row = Signal(shape, reset_less=True)
        m.d.sync += row.eq(read.data)
        return row

    def _change(self, m: Module, at: _Slots, loaded: list[Signal], row: Signal) -> None:
        """Weights on their way in and out, and their update."""
        low, high = self._at.weight_range
        applied = Signal()
        totals = []
        if self._rule is not None:
            m.d.sync += applied.eq(self._rule.learn.apply)
        for lane, (stage, change) in enumerate(zip(loaded, self._rule.changes if self._rule else (), strict=False)):
            added = add_rounded(weight=stage, magnitude=change.magnitude, carry=change.carry,
                                negative=change.negative)
            total = Signal(added.shape(), name=f"total_{lane}", reset_less=True)
            changing = Signal(name=f"changing_{lane}", reset_less=True)
            m.d.sync += [total.eq(added), changing.eq(change.active)]
            totals.append((stage, total, changing))
        with m.If(self.load.enable):
            m.d.sync += [stage.eq(source) for stage, source in
                         zip(loaded, [*loaded[1:], self.load.weight], strict=True)]
        with m.Elif(at.holding):
            m.d.sync += [stage.eq(row[lane]) for lane, stage in enumerate(loaded)]
        with m.Elif(applied):
            for stage, total, changing in totals:
                with m.If(changing):
                    m.d.sync += stage.eq(saturate(total, low, high))

    def _accumulate(self, m: Module, at: _Slots, row: Value) -> list[Signal]:
        """Synaptic currents: exact, so the order of events within a step has no effect."""
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        shape = signed(self._at.current_bits)
        adding, stepping, clearing, fold = at.adding, at.stepping, at.clearing, at.arriving.fold
        current = [Signal(shape, name=f"current_{lane}", reset_less=True) for lane in range(lanes)]
        if folds == 1:
            for lane in range(lanes):
                accumulator = Signal(shape, name=f"accumulator_{lane}", reset_less=True)
                with m.If(clearing):
                    m.d.sync += accumulator.eq(0)
                with m.Elif(adding):
                    m.d.sync += accumulator.eq(accumulator + row[lane])
                with m.If(stepping):
                    m.d.sync += current[lane].eq(accumulator)
        elif self._geometry.deep:
            totals = self._accumulate_behind(m, at, row)
            with m.If(stepping):
                m.d.sync += [each.eq(total) for each, total in zip(current, totals, strict=True)]
        else:
            m.submodules.accumulators = accumulators = memory.Memory(
                shape=data.ArrayLayout(shape, lanes), depth=folds, init=[])
            put = accumulators.write_port()
            get = accumulators.read_port(domain="comb")
            m.d.comb += [get.addr.eq(fold), put.addr.eq(fold), put.en.eq(clearing | adding)]
            for lane in range(lanes):
                m.d.comb += put.data[lane].eq(Mux(clearing, 0, get.data[lane] + row[lane]))
                with m.If(stepping):
                    m.d.sync += current[lane].eq(get.data[lane])
        return current

    def _accumulate_behind(self, m: Module, at: _Slots, row: Value) -> list[Value]:
        """Accumulators in block RAM: read beside the weights, written a clock after the row is added.

        A slot that follows another of its fold by less than four clocks is given that one's sum instead of what the
        memory holds. Returns the accumulators of the slot that arrives, before its row is added.
        """
        shape = data.ArrayLayout(signed(self._at.current_bits), self._geometry.lanes_per_group)
        m.submodules.accumulators = accumulators = memory.Memory(shape=shape, depth=self._geometry.folds, init=[])
        put, get = accumulators.write_port(), accumulators.read_port()
        leaf, reading, arriving = at.leaf.fold, at.reading.fold, at.arriving.fold
        held, total, earlier, present = (Signal(shape, name=name, reset_less=True)
                                         for name in ("held", "total", "total_before", "present"))
        fold = Signal.like(arriving, name="total_fold", reset_less=True)
        # Whether a slot is of the fold of the one that is one, two, three clocks before it.
        writes, wrote, first, second, third = (
            Signal(name=name, reset_less=True) for name in ("writes", "wrote", "first", "second", "third"))
        m.d.comb += [
            writes.eq(at.adding | at.clearing), present.eq(Mux(first, total, held)), get.addr.eq(leaf),
            put.addr.eq(fold), put.en.eq(wrote), put.data.eq(total),
        ]
        m.d.sync += [
            first.eq(writes & (reading == arriving)), second.eq(writes & (leaf == arriving)),
            third.eq(wrote & (leaf == fold)),
            held.eq(Mux(second, total, Mux(third, earlier, get.data))),
            wrote.eq(writes), fold.eq(arriving), earlier.eq(total),
        ]
        for lane in range(self._geometry.lanes_per_group):
            m.d.sync += total[lane].eq(Mux(at.clearing, 0, present[lane] + row[lane]))
        return [present[lane] for lane in range(self._geometry.lanes_per_group)]


def split_step(m: Module, step: Value, steps: int, unroll: int) -> tuple[Signal, Signal]:
    """Block and place in the block of a step: ``step // unroll`` and ``step % unroll``, from a table."""
    block = Signal(bits_for_index(-(-steps // unroll)))
    part = Signal(bits_for_index(unroll))
    with m.Switch(step):
        for value in range(steps):
            with m.Case(value):
                m.d.comb += [block.eq(value // unroll), part.eq(value % unroll)]
    return block, part

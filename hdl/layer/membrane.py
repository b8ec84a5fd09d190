"""The membrane unit of a group: serves its neurons one after another, whatever kind of neuron they are.

::

    slot -> recall potential, select current -> reset put off -> add -> clamp -> fire -> write potential
                                                (competing.py)               (elementwise.py)
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from amaranth.hdl import Array, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import Overflow
from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.arithmetic import saturate
from lifstream.hdl.events import EventKind, bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.join import drive, join, with_bits
from lifstream.hdl.layer.slots import KEEP_APART, SlotKind, SlotLayout, by_fold

__all__ = ["MembraneUnit", "NeuronUnit", "Pace", "TagLayout", "carried"]

_TURNAROUND = 5
"""Clocks from a potential being read to its successor being there for reading, where neurons fire at once; where they
compete, a step waits longer than that for the winner of the one before."""


def carried(m: Module, signal: Any, stages: int, *, name: str | None = None) -> Any:
    """The signal some clocks later; a value, or one with fields, needs a name."""
    for stage in range(stages):
        following = Signal.like(signal, name=f"{name or signal.name}_{stage}", reset_less=True)
        m.d.sync += following.eq(signal)
        signal = following
    return signal


def registered(m: Module, value: Any, name: str) -> Signal:
    """The value a clock later, in a register that each group has for itself."""
    later = Signal(value.shape(), name=name, reset_less=True, attrs=KEEP_APART)
    m.d.sync += later.eq(value)
    return later


class TagLayout(data.StructLayout):
    """What must be known of a neuron on its way through the membrane unit: some of what the unit knows, by name (its
    place; whether it is in a sample's first step and its fold's last; the marker that follows it; which set of dropout
    masks is in force), and what else neuron or learning rule find out when it begins to be served.

    Parameters
    ----------
    geometry
        The layer's folding.
    fields
        Names out of ``address``, ``lane``, ``fold``, ``first``, ``last``, ``marker``, ``masks``; in layers of maps also
        ``position``.
    own
        Further fields.
    """

    def __init__(self, geometry: LayerGeometry, fields: tuple[str, ...], own: dict[str, Any]) -> None:
        known = {"address": bits_for_index(geometry.folds * geometry.lanes_per_group),
                 "lane": bits_for_index(geometry.lanes_per_group), "fold": bits_for_index(geometry.folds),
                 "first": 1, "last": 1, "marker": EventKind, "masks": 1,
                 "position": bits_for_index(geometry.positions)}
        super().__init__({**{name: known[name] for name in fields}, **own})
        self.own = data.StructLayout(own)


class Pace(NamedTuple):
    """How fast steps may follow each other in a layer, clocks."""

    turnaround: int
    """Between two steps of a fold."""
    interval: int
    """Between two steps, of whichever fold."""


class NeuronUnit(wiring.Component):
    """What a kind of neuron adds to the membrane unit: before a current is added to the potential, and after.

    Beside the ports here it may have outputs and inputs of its own, which become the membrane unit's; those named by
    :meth:`layer_ports` become the group's, and are joined with the layer's parts.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    index
        Number of the group in its layer.
    """

    recall_stages: int
    """Registers between a potential being recalled and a current being added."""
    store_stages: int
    """Registers between the clamped sum and what is written."""
    starts: tuple[SlotKind, ...] = (SlotKind.STEP,)
    """Slots that have all neurons of a fold served."""
    further_turnaround: int = 0
    """Clocks by which a step of a fold must wait longer for the one before than for neurons that fire at once."""

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, index: int) -> None:
        self._at, self._geometry, self._index = at, geometry, index
        potential = signed(at.membrane_bits)
        self.driven_shape, self.tag, self.own_ports = self._driven_shape(), self._tag(), self._own_ports()
        super().__init__(with_bits({
            "serving_slot": In(SlotLayout(at, geometry, self.slot_fields(geometry))),
            "lane": In(bits_for_index(geometry.lanes_per_group)),
            "address": In(bits_for_index(geometry.folds * geometry.lanes_per_group)),
            "own": Out(self.tag.own),   # of the neuron being served, with this slot, of this lane and address
            "valid": In(1).array(self.stages()),        # neurons on their way, the latest first ...
            "tags": In(self.tag).array(self.stages()),  # ... and what is known of them
            "recall_address": In(bits_for_index(geometry.folds * geometry.lanes_per_group)),    # is being read
            "recalled": In(potential),          # of the first of them
            "drawn": In(signed(at.current_bits)),   # ... and the current of its spikes
            "driven": Out(self.driven_shape),   # the same, `recall_stages` later, when its current is added
            "integrated": In(potential),        # the sum, clamped, 2 later
            "stored": Out(potential),           # what is written, `store_stages` later ...
            "stores": Out(1),                   # ... and whether it is
            **self.own_ports,
        }))

    def stages(self) -> int:
        """Registers from a neuron being served to its potential being written."""
        return 1 + self.recall_stages + 2 + self.store_stages

    @classmethod
    def slot_fields(cls, geometry: LayerGeometry) -> dict[str, Any]:  # noqa: ARG003 (derived classes need it)
        """Fields of its own in a slot; a part of the layer has outputs of these names."""
        return {}

    def layer_ports(self) -> tuple[str, ...]:
        """Those of its own ports that are the layer's business."""
        raise NotImplementedError

    def _driven_shape(self) -> Shape:
        return signed(self._at.membrane_bits)

    def _tag(self) -> TagLayout:
        raise NotImplementedError

    def _own_ports(self) -> dict[str, Any]:
        return {}

    def integrate(self, potential: Value, current: Value) -> Value:
        """What potential and current come to, before the clamp."""
        return potential + current


class MembraneUnit(wiring.Component):
    """Potentials of a group's neurons, one per clock.

    Latency: 4 clocks from ``starting`` to the first neuron's slice, and the stages its kind of neuron adds. Throughput:
    a neuron per clock; a fold must not follow another within :meth:`step_interval` clocks. Adders: one of the
    membrane's width, and those of the neuron. No multiplier. Memory: ``folds x K`` membrane potentials.

    Parameters
    ----------
    unit
        What its kind of neuron adds.
    at
        The layer at its place in the network.
    geometry
        Its folding.
    tag
        What the learning rule wants to know of a neuron that has been served.
    """

    def __init__(self, *, unit: NeuronUnit, at: PlacedLayer, geometry: LayerGeometry,
                 tag: TagLayout) -> None:
        self._unit, self._at, self._geometry = unit, at, geometry
        slot = SlotLayout(at, geometry, unit.slot_fields(geometry))
        self._tags = {"neuron": unit.tag, **({"rule": tag} if tag.members else {})}
        super().__init__(with_bits({
            "arriving": In(slot),
            "starting": In(1),          # serve the fold that arrives
            "current": In(signed(at.current_bits)).array(geometry.lanes_per_group),
            "note": In(tag.own),        # what the rule wants to know of the neuron being served
            "lane": Out(bits_for_index(geometry.lanes_per_group)),  # being served ...
            "serving_slot": Out(slot),                              # ... with this slot
            "integrated": Out(signed(at.membrane_bits)),   # the sum, clamped
            "membrane": Out(signed(at.membrane_bits)),     # the same, when its slice is there ...
            "slice_valid": Out(1),
            "served": Out(tag),                                     # ... of this neuron
            **unit.own_ports,
        }))

    @property
    def turnaround(self) -> int:
        """Clocks between two STEP slots of a fold: no potential is read too early."""
        return _TURNAROUND + self._geometry.deep + self._unit.further_turnaround

    @property
    def step_interval(self) -> int:
        """Clocks between two STEP slots: every lane is served. Where all folds take turns, none has its own again
        before the turnaround; a position of a map is read for two clocks."""
        geometry = self._geometry
        if geometry.walked:
            return max(geometry.lanes_per_group, 2)
        return max(geometry.lanes_per_group, -(-self.turnaround // geometry.folds))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at, unit, geometry = self._at, self._unit, self._geometry
        m.submodules.neuron = unit
        lanes, folds = geometry.lanes_per_group, geometry.folds
        busy = Signal(attrs=KEEP_APART)
        lane = Signal(bits_for_index(lanes), attrs=KEEP_APART)
        serving = Signal(self.arriving.shape(), reset_less=True, attrs=KEEP_APART)
        with m.If(self.starting):
            m.d.sync += [busy.eq(1), lane.eq(0), serving.eq(self.arriving)]
        with m.Elif(lane == lanes - 1):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += lane.eq(lane + 1)

        address = Signal(bits_for_index(folds * lanes))
        m.d.comb += address.eq(lane if folds == 1 else by_fold(m, geometry, serving.fold, lanes) + lane)
        shape = signed(at.membrane_bits)
        m.submodules.potentials = potentials = memory.Memory(shape=shape, depth=max(2, folds * lanes), init=[])
        recall, store = potentials.read_port(domain="sync" if geometry.deep else "comb"), potentials.write_port()
        m.d.comb += recall.addr.eq(address)
        selected: Value = Array(self.current)[lane]
        if geometry.deep:   # block RAM answers a clock later
            selected = registered(m, selected, "selected_early")
            busy, lane, serving, address = (registered(m, signal, f"{name}_late") for name, signal in (
                ("busy", busy), ("lane", lane), ("serving", serving), ("address", address)))

        stages = unit.stages()
        valid = [Signal(name=f"valid_{stage}", attrs=KEEP_APART) for stage in range(stages)]
        tags = [Signal(data.StructLayout(self._tags), name=f"tag_{stage}", reset_less=True, attrs=KEEP_APART)
                for stage in range(stages)]
        for pipeline in (valid, tags):
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(pipeline)]
        last = lane == lanes - 1
        known = {"address": address, "lane": lane, "fold": serving.fold, "first": serving.first, "last": last,
                 "marker": Mux(last, serving.marker, EventKind.SPIKE), "masks": serving.masks,
                 **({"position": serving.position} if geometry.walked else {})}
        m.d.sync += valid[0].eq(busy)
        for part, layout in self._tags.items():
            own: Any = getattr(unit, "own", None) if part == "neuron" else getattr(self, "note", None)
            m.d.sync += [tags[0][part][name].eq(own[name] if name in layout.own.members else known[name])
                         for name, _ in layout]

        recalled = Signal(shape, reset_less=True)
        drawn = Signal(self.current[0].shape(), name="selected", reset_less=True)
        added = unit.integrate(unit.driven, carried(m, drawn, unit.recall_stages))
        total = Signal(added.shape(), name="total", reset_less=True)
        integrated = Signal(shape, reset_less=True)
        low, high = at.membrane_range
        wide = at.formats.membrane_overflow is Overflow.WIDE
        m.d.sync += [
            recalled.eq(Mux(serving.first, 0, recall.data)),
            drawn.eq(selected),
            total.eq(added),
            integrated.eq(total if wide else saturate(total, low, high)),
        ]
        m.d.comb += [
            self.lane.eq(lane), self.serving_slot.eq(serving),
            self.integrated.eq(integrated), self.membrane.eq(carried(m, integrated, unit.store_stages)),
            self.slice_valid.eq(valid[-1] & unit.stores),
            store.addr.eq(tags[-1].neuron.address), store.en.eq(self.slice_valid), store.data.eq(unit.stored),
        ]
        if "rule" in self._tags:
            m.d.comb += self.served.eq(tags[-1].rule)
        offered = {"serving_slot": serving, "lane": lane, "address": address, "valid": valid,
                   "tags": [tag.neuron for tag in tags], "recalled": recalled, "integrated": integrated,
                   "drawn": drawn, "recall_address": recall.addr}
        for name, member in unit.own_ports.items():
            if member.flow is Out:
                drive(m, getattr(self, name), getattr(unit, name))
        join(m, [unit], {**{name: getattr(self, name) for name, member in unit.own_ports.items()
                            if member.flow is In}, **offered})
        return m

"""A layer of spiking neurons: its parts, and how they are joined.

::

    events -> fetch -> frame ── slots ──> copies -> groups of lanes -> emission -> output -> spikes
                         ^                              ^
             loader ─────┤                              │
             teaching ───┤                              │
             update ─────┴── learning steps ──> copies ─┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Module, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import EventKind, spike_stream
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.arrays import ArrayAccess, neuron_arrays
from lifstream.hdl.layer.augment import Augment
from lifstream.hdl.layer.dropout import LayerDropout
from lifstream.hdl.layer.fan_out import FanOut
from lifstream.hdl.layer.fetch import EventFetch
from lifstream.hdl.layer.frame import Frame
from lifstream.hdl.layer.history import SpikeHistory
from lifstream.hdl.layer.join import drive, join, outputs
from lifstream.hdl.layer.lanes import LaneGroup, LaneRule
from lifstream.hdl.layer.loader import WeightLoader
from lifstream.hdl.layer.membrane import NeuronUnit
from lifstream.hdl.layer.output import SpikeOutput
from lifstream.hdl.layer.part import Emission, LayerPart, Teaching
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind
from lifstream.hdl.layer.targets import TargetFetch
from lifstream.hdl.layer.update import WeightUpdate
from lifstream.hdl.queue import StreamQueue

__all__ = ["LifLayer", "NeuronKind", "RuleKind"]

_QUEUED_FROM = 4
"""With more groups, weights on their way in pass a queue: from here to the groups it is far."""


@dataclass(frozen=True, kw_only=True)
class NeuronKind:
    """A kind of neuron, as hardware."""

    unit: type[NeuronUnit]
    """In each group of lanes."""
    emission: type[Emission]
    """How the groups' spikes become slices."""


@dataclass(frozen=True, kw_only=True)
class RuleKind:
    """A learning rule, as hardware."""

    lanes: type[LaneRule] | None
    """In each group of lanes; None: weights do not change."""
    teaching: type[Teaching]
    """In the layer."""


_NO_LEARNING = {
    "update_slot": Const(SlotKind.IDLE, 3), "update_row": Const(0), "update_asks": Const(0), "update_source": Const(0),
    "update_takes": Const(0), "back_asks": Const(0), "back_source": Const(0), "own_slot": Const(0)}
"""What parts are told where nothing learns."""


class LifLayer(wiring.Component):
    """``n_out`` neurons, folded onto the geometry's lanes.

    **Forward.** A spike event reads one weight row in every group and adds it to the synaptic
    currents, ``folds`` clocks each; in a layer of maps, a row for each position that it reaches. A step's end hands
    the currents to the membrane units, which serve ``groups`` neurons per clock; the next step's events are added
    meanwhile. Firing neurons leave as events. A LEARN event makes the sample one to learn from: the histories the rule
    needs are recorded, and after the sample the layer awaits what it is to learn.

    **Update.** Row by row: fetch the presynaptic train, rebuild its trace, accumulate the rule's sums in all
    lanes, shift them serially, round once, add, write the row once.

    Latency: about 20 clocks from a step's end to its first output spike. Throughput: one spike event per ``folds``
    clocks (of a map: a position that it reaches per ``row_folds`` clocks), and a clock more after a marker; one step
    per ``max(lanes_per_group, 5 / folds) x folds`` clocks at the most. Update: ``folds x max(T / unroll + 2, shifts +
    4)`` clocks per row. Back-pressure on ``spikes`` stalls the layer before a slice could be lost. Weights may be
    loaded and read between samples. Adders and memory: those of its parts. No multiplier, but for ternary desires that
    travel back.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    neuron
        The kind of its neurons.
    rule
        What it learns by.
    fetch
        What says which rows and folds an event touches.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, neuron: NeuronKind, rule: RuleKind,
                 fetch: type[EventFetch | TargetFetch] = EventFetch) -> None:
        self.at, self.geometry, self._neuron, self._fetch = at, geometry, neuron, fetch
        self._groups = [LaneGroup(at=at, geometry=geometry, index=index, neuron=neuron.unit,
                                  rule=rule.lanes) for index in range(geometry.groups)]
        parts: dict[str, type[LayerPart]] = {"dropout": LayerDropout} if self.has_dropout else {}
        if neuron_arrays(at):
            parts["arrays"] = ArrayAccess
        self._teaching = rule.teaching(at=at, geometry=geometry)
        self._emission = neuron.emission(at=at, geometry=geometry)
        self._further = {name: part(at=at, geometry=geometry) for name, part in parts.items()}
        self._parts: list[LayerPart] = [self._teaching, self._emission, *self._further.values()]
        weights = stream.Signature(signed(at.formats.weight_bits))
        members = {
            "events": In(spike_stream(geometry.n_before)),
            "spikes": Out(spike_stream(geometry.n_out)),
            "weights": In(weights),
            "read": In(1),          # pulse: send all weights on `readback`
            "readback": Out(weights),
            "rate": In(5),          # right shift from correlation to weight LSBs, for a desire of magnitude 1
            "phase": Out(LayerPhase),
            "working": Out(1),      # a sample is under way
            "idle": Out(1),         # neither that, nor are weights loaded or read
        }
        if self.has_dropout or self.rounds_at_random:
            members["reseed"] = In(1)   # pulse: set the generators to their states; only while idle
        if self.rounds_at_random:
            members["rounding_state"] = In(32)
        super().__init__(members | {name: part.signature.members[name]
                                    for part in self._parts for name in part.outer})

    @property
    def groups(self) -> tuple[LaneGroup, ...]:
        """Its groups of lanes, which are all alike."""
        return tuple(self._groups)

    @property
    def teaching(self) -> Teaching:
        """What it does to learn."""
        return self._teaching

    @property
    def emission(self) -> Emission:
        """What makes slices of its neurons' spikes."""
        return self._emission

    @property
    def has_dropout(self) -> bool:
        """Whether this layer draws dropout masks."""
        return self.at.neuron.dropout > 0

    @property
    def rounds_at_random(self) -> bool:
        """Whether weight updates are rounded by random words."""
        return self.at.rounds_at_random

    @property
    def tapped(self) -> frozenset[str]:
        """Streams that benches tap, at its end or the other."""
        return frozenset({"events", "spikes", "back"}) | self._teaching.tapped

    @property
    def _learns(self) -> bool:
        """Whether its weights change."""
        return self.at.rule.learns

    @property
    def taught_phases(self) -> tuple[LayerPhase, ...]:
        """Phases between the sample and the update."""
        return self._teaching.phases

    @property
    def state_items(self) -> dict[str, int]:
        """Items of each kind of state (:class:`lifstream.hdl.registry.StateKind`) it holds."""
        items = {"weights": self.geometry.matrix_rows * self.geometry.columns}
        for part in self._parts:
            items |= part.state_items
        return items

    @property
    def memories(self) -> list[dict[str, Any]]:
        """Memories of what it has learnt, as the emitted description lists them: one signal per group.

        A weight stands in word ``fold * fold_words + row``, by the fold of its column, in the field of its lane,
        ``width`` bits wide.
        """
        weights = {"quantity": "weight", "signals": [f"group_{group}.weights" for group in range(self.geometry.groups)],
                   "lanes_per_group": self.geometry.lanes_per_group, "fold_words": self.geometry.matrix_rows,
                   "width": self.at.formats.weight_bits}
        return [weights, *(memory for part in self._parts for memory in part.memories)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at, geometry, groups, teaching = self.at, self.geometry, self._groups, self._teaching
        slot_fields = self._neuron.unit.slot_fields(geometry)
        m.submodules.fetch = fetch = self._fetch(at=at, geometry=geometry)
        m.submodules.frame = frame = Frame(
            at=at, geometry=geometry, pace=groups[0].pace, slot_fields=slot_fields, own_slot=teaching.slot_kind,
            every_row=teaching.every_row)
        m.submodules.output = output = SpikeOutput(geometry=geometry, emission=self._emission)
        m.submodules.teaching, m.submodules.emission = teaching, self._emission
        for name, part in self._further.items():
            m.submodules[name] = part
        for index, group in enumerate(groups):
            m.submodules[f"group_{index}"] = group
        connect(m, self._emission.slices, output.slices)
        self._join_spikes(m, fetch.events, output.spikes)
        parts: list[wiring.Component] = [fetch, frame, output, *self._parts]
        if self._learns:
            m.submodules.update = update = WeightUpdate(at=at, geometry=geometry, teaching=teaching,
                                                        learn=groups[0].learn.shape())
            parts.append(update)
        told = outputs(parts)
        loader = self._load(m, told)
        history = self._record(m, told) if self._learns else {"history_busy": Const(0)}
        join(m, parts, {
            **loader, **history, **self._gathered(), **self._own_inputs(), **_NO_LEARNING,
            "masks_current": Const(0), "masks_ready": Const(1), "kept": Const(1),
            "spike_leaves": self.spikes.valid & self.spikes.ready & (self.spikes.p.kind == EventKind.SPIKE),
            "leaving": self.spikes.p.neuron} | told)
        self._send(m, told)
        self._show(m, told)
        return m

    def _join_spikes(self, m: Module, into: Any, out: Any) -> None:
        """Events to the fetch, and spikes out of the layer; between them what the synapses add."""
        if not self.geometry.added:
            connect(m, wiring.flipped(self.events), into)
            connect(m, out, wiring.flipped(self.spikes))
            return
        m.submodules.augment = augment = Augment(synapses=self.at.synapses)
        connect(m, wiring.flipped(self.events), augment.before)
        connect(m, augment.events, into)
        if self.at.synapses.recurrent:
            connect(m, out, augment.own)
            connect(m, augment.spikes, wiring.flipped(self.spikes))
        else:
            connect(m, out, wiring.flipped(self.spikes))

    def _load(self, m: Module, told: dict[str, Any]) -> dict[str, Any]:
        """The loader of the weights; returns what it tells the other parts."""
        m.submodules.loader = loader = WeightLoader(geometry=self.geometry, weight_bits=self.at.formats.weight_bits,
                                                    refresh=self._teaching.keeps_sums)
        waiting: Value = Const(0)   # a weight that the loader has not taken yet
        if self.geometry.groups > _QUEUED_FROM:
            m.submodules.weight_queue = queue = StreamQueue(shape=signed(self.at.formats.weight_bits), depth=2)
            connect(m, wiring.flipped(self.weights), queue.source)
            connect(m, queue.sink, loader.weights)
            waiting = queue.sink.valid
        else:
            connect(m, wiring.flipped(self.weights), loader.weights)
        connect(m, loader.readback, wiring.flipped(self.readback))
        m.d.comb += [loader.read.eq(self.read), loader.hold_off.eq(told["learning"]),
                     loader.grant.eq(told["load_grant"])]
        m.submodules.load_copies = copies = FanOut(shape=self._groups[0].load.shape(), groups=self.geometry.groups,
                                                   select=True)
        m.d.comb += [copies.source.weight.eq(loader.load), copies.select.eq(loader.enable)]
        for index, group in enumerate(self._groups):
            m.d.comb += [group.load.eq(copies.copies[index]), loader.unload[index].eq(group.unload)]
        m.d.comb += self.idle.eq(~self.working & ~loader.active & ~waiting)
        return {"load_request": loader.request, "load_write": loader.writing, "load_row": loader.row,
                "load_fold": loader.fold, "load_first": loader.first, "loading": loader.active | waiting,
                "refreshing": loader.refreshing}

    def _record(self, m: Module, told: dict[str, Any]) -> dict[str, Any]:
        """The history of presynaptic spikes; returns what it tells the other parts."""
        limit, phase = self._teaching.counts_to, told["phase"]
        m.submodules.history = history = SpikeHistory(neurons=self.geometry.n_in, steps=self.at.steps, limit=limit,
                                                      every=self._teaching.every_row, ascending=self.geometry.walked)
        m.d.comb += [
            history.begin.eq(told["begin"]), history.step.eq(told["step"]), history.spike.eq(told["record"]),
            history.spiking.eq(told["neuron"]),
        ]
        trains: dict[str, Any] = {"history_busy": history.busy, "train_neuron": history.neuron, "train": history.train}
        scan = phase == LayerPhase.UPDATE
        if limit is None:   # nothing else is asked before
            scan = scan | (phase == LayerPhase.BACK)
        else:
            m.d.comb += [history.counting.eq(told["counting"]), history.counted.eq(told["counted"])]
            trains["often"] = history.often
        if self.geometry.walked:
            m.d.comb += [history.scan.eq(scan), history.take.eq(told["train_take"])]
            return trains | {"train_found": history.found, "train_exhausted": history.exhausted}
        m.d.comb += history.index.eq(told["train_index"])
        return trains | {"train_count": history.count}

    def _gathered(self) -> dict[str, Any]:
        """What the groups tell, an array each."""
        names = ["slice_valid", "membrane",
                 *(name for name, member in self._groups[0].layer_ports.items() if member.flow is Out)]
        return {name: [getattr(group, name) for group in self._groups] for name in names}

    def _own_inputs(self) -> dict[str, Any]:
        """What the layer itself is told."""
        return {name: getattr(self, name) for name, member in self.signature.members.items()
                if member.flow is In and not member.is_signature}

    def _send(self, m: Module, told: dict[str, Any]) -> None:
        """What all groups are told, or some of them, goes through copies."""
        own = [name for name, member in self._groups[0].layer_ports.items() if member.flow is In]
        for name in ("slot", *(("learn",) if self._learns else ()), *own):
            select = told.get(f"{name}_group")
            copies = FanOut(shape=told[name].shape(), groups=len(self._groups), select=select is not None)
            m.submodules[f"{name}_copies"] = copies
            m.d.comb += copies.source.eq(told[name])
            if select is not None:
                m.d.comb += copies.select.eq(select)
            for group, copy in zip(self._groups, copies.copies, strict=True):
                m.d.comb += getattr(group, name).eq(copy)

    def _show(self, m: Module, told: dict[str, Any]) -> None:
        """Ports of parts that are the layer's; what the layer is doing."""
        for part in self._parts:
            for name in part.outer:
                port, own = getattr(part, name), getattr(self, name)
                member = part.signature.members[name]
                if member.is_signature:
                    connect(m, wiring.flipped(own), port)
                elif member.flow is Out:
                    drive(m, own, port)
        m.d.comb += [self.phase.eq(told["phase"]),
                     self.working.eq(told["occupied"] | ~told["drained"] | told["learning"])]

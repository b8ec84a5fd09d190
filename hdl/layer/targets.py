"""Targets: which rows and folds a presynaptic neuron touches where synapses have structure, from tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.synapses import Synapses
from lifstream.hdl.events import EventKind, SpikeLayout, bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.fetch import event_ports
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import by_fold

__all__ = ["TargetFetch", "TargetTables", "target_tables"]


@dataclass(frozen=True, kw_only=True)
class TargetTables:
    """What a layer's presynaptic neurons reach, as two tables.

    Neurons whose targets differ by a constant number of rows alone, as the channels of one place do, share a list.
    """

    sources: tuple[tuple[int, int], ...]
    """Per presynaptic neuron: where its list begins, and what is added to the list's rows."""
    targets: tuple[tuple[int, int, bool, bool], ...]
    """The lists: row, position, whether it is the list's last, and whether it is a target at all: the list of a neuron
    that reaches nothing has one entry, which is none."""


@lru_cache(maxsize=32)
def target_tables(synapses: Synapses) -> TargetTables:
    """The tables of a layer's synapses."""
    columns = synapses.weight_shape[1]
    begins: dict[tuple[tuple[int, int], ...], int] = {}
    sources: list[tuple[int, int]] = []
    entries: list[tuple[int, int, bool, bool]] = []
    for presynaptic in range(synapses.n_in):
        reached = tuple(synapses.targets(presynaptic))
        least = min((target.row for target in reached), default=0)
        listed = tuple((target.row - least, target.first // columns) for target in reached)
        if listed not in begins:
            begins[listed] = len(entries)
            entries += [(row, position, place == len(listed) - 1, True)
                        for place, (row, position) in enumerate(listed)] or [(0, 0, True, False)]
        sources.append((begins[listed], least))
    return TargetTables(sources=tuple(sources), targets=tuple(entries))


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """An event, or a neuron, whose targets are gone through."""

    waiting: Signal
    """Another is behind it."""
    occupied: Signal
    kind: Signal
    neuron: Signal
    row: Value
    fold: Value
    position: Value
    reaches: Value
    """The target is one."""
    last: Value
    """The target and fold are its last."""


class TargetFetch(wiring.Component):
    """Holds an event while slots are issued for it, and says which: position after position, and in each fold after
    fold of the channels, as the synapses declare. For learning it goes through the targets of any neuron.

    Markers, and whatever else goes through all folds in turn, take their fold from here too.

    Latency: 2 clocks from the event to its first slot. Throughput: a target per clock and fold of the channels, without
    a bubble; a neuron that reaches nothing costs a clock. Adders: four of a row's index, two of a fold's. No
    multiplier. Memory, read by both walks: ``n_in x (log2(list entries) + log2(rows))`` bits, and for each list entry a
    row, a position and two bits. Of a convolution that is an entry for each place of the presynaptic map and position
    that it reaches, 1,296 for 14 x 14 places and 3 x 3 kernels, stride 1.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        The layer's folding.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry) -> None:
        self._at, self._geometry, self._tables = at, geometry, target_tables(at.synapses)
        neuron, row, fold = (bits_for_index(count) for count in (geometry.n_in, geometry.rows, geometry.folds))
        super().__init__({
            **event_ports(geometry),
            # The other walk.
            "phase": In(LayerPhase),
            **({"back_asks": In(1), "back_source": In(neuron), "own_slot": In(1)} if not at.first else {}),
            "update_asks": In(1),   # go through the targets ...
            "update_source": In(neuron),    # ... of this neuron
            "update_takes": In(1),  # the target is over
            "walk_ready": Out(1),   # what is asked for is taken
            "walked": Out(1),       # a target is there
            "walked_row": Out(row),
            "walked_fold": Out(fold),
            "walked_position": Out(bits_for_index(geometry.positions)),
            "walked_void": Out(1),  # ... which is none
            "walked_last": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, tables = self._geometry, self._tables
        source = data.StructLayout({"address": bits_for_index(len(tables.targets)),
                                    "row": bits_for_index(geometry.matrix_rows)})
        target = data.StructLayout({"row": bits_for_index(geometry.matrix_rows),
                                    "position": bits_for_index(geometry.positions), "last": 1, "reaches": 1})
        m.submodules.sources = self._sources = memory.Memory(
            shape=source, depth=max(2, geometry.n_in),
            init=[{"address": address, "row": row} for address, row in tables.sources])
        m.submodules.targets = self._targets = memory.Memory(
            shape=target, depth=max(2, len(tables.targets)),
            init=[{"row": row, "position": position, "last": last, "reaches": reaches}
                  for row, position, last, reaches in tables.targets])
        self._forward(m)
        self._learning(m)
        return m

    def _forward(self, m: Module) -> None:
        """Events go through their targets; all else through all folds."""
        geometry, events = self._geometry, self.events
        going = Signal()
        walk = self._walk(m, "event", valid=events.valid, ready=events.ready, event=events.payload, step=going,
                          done=self.done)
        fold = Signal.like(self.fold)
        m.d.comb += [
            going.eq(walk.occupied & (walk.kind == EventKind.SPIKE) & self.flowing),
            self.occupied.eq(walk.waiting | walk.occupied), self.neuron.eq(walk.neuron),
            self.event_kind.eq(Mux(walk.occupied, walk.kind, EventKind.SPIKE)),
            self.spiking.eq(going & walk.reaches), self.spike_row.eq(walk.row),
            self.fold.eq(Mux(self.spiking, walk.fold, fold)),
            self.last_fold.eq(Mux(self.spiking, walk.last, fold == geometry.folds - 1)),
        ]
        if geometry.folds > 1:
            with m.If(self.issue & ~self.spiking):
                m.d.sync += fold.eq(Mux(self.last_fold, 0, fold + 1))

    def _learning(self, m: Module) -> None:
        """Neurons that are learnt from, or whose desire is wanted, go through their targets."""
        updating = self.phase == LayerPhase.UPDATE
        asked = Signal(SpikeLayout(self._geometry.n_in))
        asks: Value = self.update_asks
        takes: Value = self.update_takes
        source: Value = self.update_source
        if not self._at.first:
            asks, takes = asks | self.back_asks, takes | self.own_slot
            source = Mux(updating, source, self.back_source)
        m.d.comb += [asked.kind.eq(EventKind.SPIKE), asked.neuron.eq(source)]
        walk = self._walk(m, "learning", valid=asks, ready=self.walk_ready, event=asked, step=takes, done=Const(0))
        m.d.comb += [
            self.walked.eq(walk.occupied), self.walked_row.eq(walk.row), self.walked_fold.eq(walk.fold),
            self.walked_position.eq(walk.position), self.walked_void.eq(~walk.reaches), self.walked_last.eq(walk.last),
        ]

    def _walk(self, m: Module, name: str, *, valid: Value, ready: Value, event: Any, step: Value,
              done: Value) -> _Walk:
        """Two events at a time: one waits with its entry of the first table, of the other a target is there."""
        geometry = self._geometry
        row_folds, last_row_fold = geometry.row_folds, Const(1)
        source, target = self._sources.read_port(), self._targets.read_port()
        waiting, occupied = Signal(name=f"{name}_waiting"), Signal(name=f"{name}_occupied")
        waits, held = (Signal(SpikeLayout(geometry.n_in), name=f"{name}_{part}") for part in ("waits", "held"))
        base = Signal(bits_for_index(geometry.matrix_rows), name=f"{name}_base")
        following = Signal(bits_for_index(len(self._tables.targets)), name=f"{name}_following")
        accepts, moves, over = (Signal(name=f"{name}_{part}") for part in ("accepts", "moves", "over"))
        row: Value = base + target.data.row
        fold: Value = target.data.position
        if row_folds > 1:
            part = Signal(range(row_folds), name=f"{name}_part")
            part_row = Signal(range(geometry.rows), name=f"{name}_row")
            last_row_fold = part == row_folds - 1
            row, fold = row + part_row, by_fold(m, geometry, fold, row_folds) + part
            with m.If(step):
                m.d.sync += [part.eq(Mux(last_row_fold, 0, part + 1)),
                             part_row.eq(Mux(last_row_fold, 0, part_row + geometry.matrix_rows))]
        m.d.comb += [
            over.eq(step & last_row_fold & target.data.last),
            moves.eq(waiting & (~occupied | over)), ready.eq(~waiting | moves), accepts.eq(valid & ready),
            source.addr.eq(event.neuron), source.en.eq(accepts),
            target.addr.eq(Mux(moves, source.data.address, following)), target.en.eq(moves | (step & last_row_fold)),
        ]
        with m.If(target.en):
            m.d.sync += following.eq(target.addr + 1)
        with m.If(over | done):
            m.d.sync += occupied.eq(0)
        with m.If(moves):
            m.d.sync += [waiting.eq(0), occupied.eq(1), held.eq(waits), base.eq(source.data.row)]
        with m.If(accepts):
            m.d.sync += [waiting.eq(1), waits.eq(event)]
        return _Walk(waiting=waiting, occupied=occupied, kind=held.kind, neuron=held.neuron, row=row, fold=fold,
                     position=target.data.position, reaches=target.data.reaches,
                     last=target.data.last & last_row_fold)

"""Targets: which rows and folds a presynaptic neuron touches where synapses have structure, from tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.synapses import Synapses
from lifstream.hdl.events import EventKind, SpikeLayout, bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.fetch import event_ports
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.reached import ReachedPositions
from lifstream.hdl.layer.slots import by_fold
from lifstream.hdl.queue import StreamQueue

__all__ = ["TargetFetch", "TargetTables", "target_tables"]


_AHEAD = 8
"""Targets read ahead at most."""
_UNDER_WAY = 3
"""Of them, those that can still come when there is no more room: read, being read, and that is known a clock later."""


class Source(NamedTuple):
    """Where a presynaptic neuron's list begins, what is added to its rows, and whether it has one entry alone."""

    address: int
    row: int
    single: bool


class Entry(NamedTuple):
    """A target: its row and position, whether the next entry is the list's last, and whether it is a target at all: the
    list of a neuron that reaches nothing has one entry, which is none."""

    row: int
    position: int
    last_follows: bool
    reaches: bool


@dataclass(frozen=True, kw_only=True)
class TargetTables:
    """What a layer's presynaptic neurons reach, as two tables.

    Neurons whose targets differ by a constant number of rows alone, as the channels of one place do, share a list.
    """

    sources: tuple[Source, ...]
    """By presynaptic neuron."""
    targets: tuple[Entry, ...]
    """The lists."""


def _words(entries: int) -> int:
    """Words of a table: a power of two where that is little more, so that synthesis need not put unlike block RAMs
    together, and choose between their answers."""
    power = 1 << (entries - 1).bit_length()
    return max(2, power if power - entries <= entries // 16 else entries)


@lru_cache(maxsize=32)
def target_tables(synapses: Synapses) -> TargetTables:
    """The tables of a layer's synapses."""
    columns = synapses.weight_shape[1]
    begins: dict[tuple[tuple[int, int], ...], int] = {}
    sources: list[Source] = []
    entries: list[Entry] = []
    for presynaptic in range(synapses.n_in):
        reached = tuple(synapses.targets(presynaptic))
        least = min((target.row for target in reached), default=0)
        listed = tuple((target.row - least, target.first // columns) for target in reached)
        if listed not in begins:
            begins[listed] = len(entries)
            entries += [Entry(row, position, place == len(listed) - 2, True)
                        for place, (row, position) in enumerate(listed)] or [Entry(0, 0, False, False)]
        sources.append(Source(begins[listed], least, len(listed) < 2))
    return TargetTables(sources=tuple(sources), targets=tuple(entries))


class TargetFetch(wiring.Component):
    """Holds an event while slots are issued for it, and says which: position after position, and in each fold after
    fold of the channels, as the synapses declare. For learning it goes through the targets of any neuron.

    A step's end goes through the positions that the sample has reached (:class:`ReachedPositions`). From the end of a
    sample to learn from until its update is over, events wait, and the way through the tables is the learning rule's.

    Latency: 7 clocks from the event to its first slot. Throughput: a target per clock and fold of the channels, without
    a bubble; a neuron that reaches nothing costs a clock. Adders: two of a row's index, one of a fold's. No
    multiplier. Memory: ``n_in x (log2(list entries) + log2(rows))`` bits, and for each list entry a
    row, a position and two bits; 8 targets in a queue. Of a convolution that is an entry for each place of the
    presynaptic map and position that it reaches, 1,296 for 14 x 14 places and 3 x 3 kernels, stride 1.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        The layer's folding.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry) -> None:
        self._at, self._geometry, self._tables = at, geometry, target_tables(at.synapses)
        self._queue = StreamQueue(shape=SpikeLayout(geometry.n_in), depth=2)
        neuron, row, fold, position = (bits_for_index(count) for count in (
            geometry.n_in, geometry.rows, geometry.folds, geometry.positions))
        super().__init__({
            **event_ports(geometry),
            # The end of a step, and what else goes through folds.
            "clearing": In(1),      # all folds are gone through
            "position": Out(position),
            "newly": Out(1),        # the sample has reached it since the step before
            "settled": Out(1),      # a step may end
            "reached": Out(1),      # the sample has reached the position for which a slot was issued a clock ago
            # What learning goes through.
            "phase": In(LayerPhase),
            **({"back_asks": In(1), "back_source": In(neuron), "own_slot": In(1)} if not at.first else {}),
            "update_asks": In(1),   # go through the targets ...
            "update_source": In(neuron),    # ... of this neuron
            "update_takes": In(1),  # the target is over
            "walk_ready": Out(1),   # what is asked for is taken
            "walked": Out(1),       # a target is there
            "walked_row": Out(row),
            "walked_fold": Out(fold),
            "walked_position": Out(position),
            "walked_void": Out(1),  # ... which is none
            "walked_last": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, tables = self._geometry, self._tables
        row = bits_for_index(geometry.matrix_rows)
        source = data.StructLayout({"address": bits_for_index(len(tables.targets)), "row": row, "single": 1})
        target = data.StructLayout({"row": row, "position": bits_for_index(geometry.positions), "last_follows": 1,
                                    "reaches": 1})
        m.submodules.sources = sources = memory.Memory(
            shape=source, depth=max(2, geometry.n_in), init=[each._asdict() for each in tables.sources])
        m.submodules.targets = targets = memory.Memory(
            shape=target, depth=_words(len(tables.targets)), init=[each._asdict() for each in tables.targets])
        event, valid, ready = Signal(SpikeLayout(geometry.n_in), name="entering"), Signal(), Signal()
        takes = self._enter(m, event, valid, ready)
        going, found = Signal(), Signal()
        held, before = self._walk(m, sources.read_port(), targets.read_port(), valid=valid, ready=ready, event=event,
                                  found=found, step=going | takes)
        spike = found & (held.kind == EventKind.SPIKE)
        m.d.comb += [
            going.eq(spike & self.flowing), self.occupied.eq(self._queue.sink.valid | before | found),
            self.neuron.eq(held.neuron),
            self.event_kind.eq(Mux(found, held.kind, EventKind.SPIKE)),
            self.spiking.eq(going & ~self.walked_void), self.spike_row.eq(self.walked_row), self.walked.eq(found),
        ]
        self._steps(m, spike, found & (held.kind != EventKind.SPIKE) & (held.kind != EventKind.LEARN))
        return m

    def _enter(self, m: Module, event: data.View, valid: Signal, ready: Signal) -> Value:
        """What goes through its targets next: an event, or what learning asks for; returns whether that takes one."""
        events, learns, closed, taught = self.events, Signal(), Signal(), Signal()
        m.submodules.queue = queue = self._queue
        m.d.sync += learns.eq(self.phase != LayerPhase.FORWARD)
        # Events wait from the end of a sample to learn from until that is done.
        accepted = events.valid & events.ready
        with m.If(accepted & (events.p.kind == EventKind.LEARN)):
            m.d.sync += taught.eq(1)
        with m.If(accepted & (events.p.kind == EventKind.SAMPLE_END) & taught):
            m.d.sync += [closed.eq(1), taught.eq(0)]
        with m.If(learns & (self.phase == LayerPhase.FORWARD)):
            m.d.sync += closed.eq(0)
        asks: Value = self.update_asks
        takes: Value = self.update_takes
        source: Value = self.update_source
        if not self._at.first:
            asks, takes = asks | self.back_asks, takes | self.own_slot
            source = Mux(self.phase == LayerPhase.UPDATE, source, self.back_source)
        waiting = queue.sink.valid  # when learning asks, none does
        m.d.comb += [
            queue.source.valid.eq(events.valid & ~closed), queue.source.payload.eq(events.payload),
            events.ready.eq(queue.source.ready & ~closed),
            valid.eq(waiting | asks), queue.sink.ready.eq(ready), self.walk_ready.eq(ready),
            event.kind.eq(Mux(waiting, queue.sink.p.kind, EventKind.SPIKE)),
            event.neuron.eq(Mux(waiting, queue.sink.p.neuron, source)),
        ]
        return takes

    def _steps(self, m: Module, walking: Value, ending: Value) -> None:
        """At a step's end, the positions that the sample has reached; after reset, all."""
        geometry = self._geometry
        m.submodules.reached_positions = reached = ReachedPositions(positions=geometry.positions)
        sweep, part = Signal(bits_for_index(geometry.folds)), Signal(bits_for_index(geometry.row_folds))
        last_part: Value = part == geometry.row_folds - 1 if geometry.row_folds > 1 else Const(1)
        served, over = Signal(), Signal()   # a fold is; the sample is
        m.d.comb += [
            served.eq(self.issue & ~self.spiking & ~self.clearing),
            reached.reach.eq(self.spiking), reached.ask.eq(walking), reached.reaching.eq(self.walked_position),
            self.reached.eq(reached.known), reached.ending.eq(ending), self.settled.eq(reached.settled),
            reached.next.eq(served & last_part), self.position.eq(reached.position), self.newly.eq(reached.newly),
            reached.forget.eq(over & (self.phase == LayerPhase.FORWARD)),
            self.fold.eq(Mux(self.spiking, self.walked_fold, Mux(
                self.clearing, sweep, by_fold(m, geometry, reached.position, geometry.row_folds) + part))),
            self.last_fold.eq(Mux(self.spiking, self.walked_last, Mux(
                self.clearing, sweep == geometry.folds - 1, last_part & reached.last))),
        ]
        with m.If(self.issue & self.clearing):
            m.d.sync += sweep.eq(sweep + 1)
        with m.If(served):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))
        with m.If(served & self.last_fold & (self.event_kind == EventKind.SAMPLE_END)):
            m.d.sync += over.eq(1)
        with m.If(reached.forget):
            m.d.sync += over.eq(0)

    def _walk(self, m: Module, source: Any, target: Any, *, valid: Signal, ready: Signal, event: data.View,
              found: Signal, step: Value) -> tuple[data.View, Value]:
        """An event's entry of the first table is being read, another's is there, a target of a third is being read,
        those read before are in a queue, and one is there, in registers. What happens to that, decided late, goes no
        further than the queue; between block RAMs there is nothing but registers.

        Returns the event whose target is there, and whether anything is on its way.
        """
        geometry = self._geometry
        row_folds, last_row_fold = geometry.row_folds, Const(1)
        looking, waiting, occupied, room = (Signal() for _ in range(4))
        looks, waits, held = (Signal(SpikeLayout(geometry.n_in), name=name) for name in ("looks", "waits", "held"))
        entry = Signal.like(source.data, name="entry")
        base = Signal(bits_for_index(geometry.rows))
        before = Signal(bits_for_index(len(self._tables.targets)))     # the entry read last
        accepts, shifts, moves, over, passes, walks = (Signal() for _ in range(6))
        part: Value = Const(0)
        if row_folds > 1:
            part = Signal(range(row_folds), name="walked_part")
            last_row_fold = part == row_folds - 1
            first_base = Signal(bits_for_index(geometry.matrix_rows))
            with m.If(passes & walks):
                m.d.sync += [part.eq(Mux(last_row_fold, 0, part + 1)),
                             base.eq(Mux(last_row_fold, first_base, base + geometry.matrix_rows))]
        last = Signal()     # the target is its neuron's last: known before it is read
        with m.If(target.en):
            m.d.sync += last.eq(Mux(moves, entry.single, target.data.last_follows))
        m.d.comb += [
            walks.eq(held.kind == EventKind.SPIKE), passes.eq(occupied & room),
            over.eq(passes & (~walks | (last_row_fold & last))),
            moves.eq(waiting & (~occupied | over)), shifts.eq(looking & (~waiting | moves)),
            ready.eq(~looking | shifts), accepts.eq(valid & ready),
            source.addr.eq(event.neuron), source.en.eq(accepts),
            target.addr.eq(Mux(moves, entry.address, before + 1)), target.en.eq(moves | (passes & last_row_fold)),
        ]
        with m.If(target.en):
            m.d.sync += before.eq(target.addr)
        with m.If(over):
            m.d.sync += occupied.eq(0)
        with m.If(moves):
            m.d.sync += [waiting.eq(0), occupied.eq(1), held.eq(waits), base.eq(entry.row)]
            m.d.sync += first_base.eq(entry.row) if row_folds > 1 else []
        with m.If(shifts):
            m.d.sync += [looking.eq(0), waiting.eq(1), waits.eq(looks), entry.eq(source.data)]
        with m.If(accepts):
            m.d.sync += [looking.eq(1), looks.eq(event)]

        read = Signal(data.StructLayout({
            "event": SpikeLayout(geometry.n_in), "base": base.shape(), "target": target.data.shape(),
            "part": part.shape(), "last": 1}), name="read")
        reads = Signal()
        m.submodules.ahead = ahead = StreamQueue(shape=read.shape(), depth=_AHEAD)
        put, get = ahead.source, ahead.sink
        m.d.sync += [
            reads.eq(passes), read.event.eq(held), read.base.eq(base), read.target.eq(target.data), read.part.eq(part),
            read.last.eq(last & last_row_fold), room.eq(ahead.level <= _AHEAD - _UNDER_WAY)]
        m.d.comb += [put.valid.eq(reads), put.payload.eq(read), get.ready.eq(~found | step)]
        there = Signal.like(held, name="there")
        with m.If(step | self.done):    # after a marker the next event comes a clock later
            m.d.sync += found.eq(0)
        with m.If(get.valid & get.ready):
            reached = get.p.target
            m.d.sync += [
                found.eq(1), there.eq(get.p.event), self.walked_row.eq(get.p.base + reached.row),
                self.walked_fold.eq(by_fold(m, geometry, reached.position, row_folds) + get.p.part),
                self.walked_position.eq(reached.position), self.walked_void.eq(~reached.reaches),
                self.walked_last.eq(get.p.last),
            ]
        return there, looking | waiting | occupied | reads | get.valid

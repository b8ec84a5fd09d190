"""The frame of a layer: which slot is issued at each clock, and how a sample goes by."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import EventKind, bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.membrane import Pace
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind, SlotLayout

__all__ = ["Frame"]


class Frame(wiring.Component):
    """Issues one slot per clock: for a spike, weights on their way in or out, an update, or a step's end.

    It is told who wants one, and tells who has got it. Steps are handed over only when all is ready for their slices;
    a sample to learn from is begun only when everything of the one before has left.

    Latency: 1 clock from a wish to its slot. Throughput: a slot per clock; a clock more after a marker; a step per
    :meth:`lifstream.hdl.layer.membrane.MembraneUnit.step_interval` clocks and fold at the most. Adders: one of a step's
    index, one of a row's. No multiplier, no memory.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        The layer's folding.
    pace
        How fast steps may follow each other.
    slot_fields
        Fields of a slot that the kind of neuron adds; inputs of these names say what is in them.
    own_slot
        The kind of slot that the learning rule asks for, if any.
    every_row
        Whether slots that read or write a row say which.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, pace: Pace, slot_fields: dict[str, Any],
                 own_slot: SlotKind | None, every_row: bool) -> None:
        self._at, self._geometry, self._pace = at, geometry, pace
        self._slot_fields, self._own_slot, self._every_row = slot_fields, own_slot, every_row
        row, fold = bits_for_index(geometry.rows), bits_for_index(geometry.folds)
        members = {
            "slot": Out(SlotLayout(at, geometry, slot_fields)),
            # The event under way (fetch).
            "event_kind": In(EventKind), "spiking": In(1), "spike_row": In(row),
            "fold": In(fold), **({} if geometry.walked else {"fold_row": In(row)}), "last_fold": In(1),
            "flowing": Out(1), "issue": Out(1), "done": Out(1),
            **(self._map_ports() if geometry.walked else {}),
            # How spikes leave (output, emission).
            "has_room": In(1), "drained": In(1), "may_step": In(1),
            "stepping": Out(1),         # pulse: a step is handed over, for the present fold
            "announce": Out(1),         # pulse: pass a LEARN event on
            # Weights on their way in and out (loader).
            "load_request": In(1), "load_write": In(1), "load_row": In(row), "load_fold": In(fold),
            "load_first": In(1), "loading": In(1),
            "load_grant": Out(1),
            # The sample (learning rule, history, dropout).
            "phase": In(LayerPhase), "learning": In(1), "history_busy": In(1),
            "masks_current": In(1), "masks_ready": In(1),
            "begin": Out(1),            # pulse: a sample to learn from starts ...
            "over": Out(1),             # pulse: ... and is over
            "record": Out(1),           # this spike is one to remember
            "step": Out(bits_for_index(at.steps)),    # index of the step whose events are taken
            "unhurried": Out(1),        # a fold may be served
            # Updates, and what else the rule wants.
            "update_slot": In(SlotKind), "update_row": In(row),
            **{name: In(shape) for name, shape in slot_fields.items()},
        }
        if every_row:
            members |= {"update_fold": In(fold), "update_first": In(1)}
        if own_slot is not None:
            members["own_slot"] = In(1)
        if own_slot is SlotKind.BACK:
            members |= ({"walked_row": In(row), "walked_fold": In(fold), "walked_last": In(1), "walked_void": In(1)}
                        if geometry.walked else {"own_row": In(bits_for_index(geometry.n_in))})
        super().__init__(members)

    def _map_ports(self) -> dict[str, Any]:
        """Which positions a step's end goes through."""
        return {
            "clearing": Out(1),     # all folds are to be gone through
            "settled": In(1), "position": In(bits_for_index(self._geometry.positions)), "newly": In(1),
            "reached": In(1),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = Signal.like(self.slot, name="slot_now")
        # Before another fold may be served.
        pause = Signal(range(self._pace.turnaround + self._pace.interval))
        clearing = Signal(init=1)
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        step = Signal.like(self.step, name="step_now")
        m.d.comb += [self.slot.eq(slot), self.step.eq(step), self.unhurried.eq(pause == 0)]
        if self._geometry.walked:
            m.d.comb += [self.slot.reached.eq(self.reached), self.clearing.eq(clearing)]
        may_step, may_learn = self._permissions(m, clearing)

        m.d.sync += slot.eq(slot.shape().const({}))
        m.d.sync += [slot.fold.eq(self.fold), slot.masks.eq(self.masks_current), slot.learn.eq(self.learning),
                     slot.step.eq(step)]
        if self._geometry.walked:
            m.d.sync += slot.position.eq(self.position)
        with m.If(self.spiking):
            m.d.comb += [self.issue.eq(1), self.record.eq(self.learning & self.last_fold)]
            m.d.sync += [slot.kind.eq(SlotKind.SPIKE), slot.row.eq(self.spike_row)]
        with m.Elif(self.load_request):
            m.d.comb += self.load_grant.eq(1)
            m.d.sync += [slot.kind.eq(Mux(self.load_write, SlotKind.WRITE, SlotKind.HOLD)), slot.row.eq(self.load_row)]
            if self._every_row:
                m.d.sync += [slot.fold.eq(self.load_fold), slot.first.eq(self.load_first)]
        with m.Elif(clearing):  # after reset, accumulators hold what the last run left
            m.d.comb += self.issue.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.CLEAR), clearing.eq(~self.last_fold)]
        # Sums on the way back and updates come at other times than markers do, and go behind them for one reason: what
        # a marker starts lies far apart.
        if self._own_slot not in (None, SlotKind.BACK):
            with m.Elif(self.own_slot):
                m.d.comb += self.issue.eq(1)
                m.d.sync += [slot.kind.eq(self._own_slot),
                             pause.eq(self._pace.interval - 1)]
        with m.Elif((self.event_kind != EventKind.SPIKE) & (self.phase == LayerPhase.FORWARD)):
            self._marker(m, slot, step, pause, may_step, may_learn)
        if self._own_slot is SlotKind.BACK:
            with m.Elif(self.own_slot):
                m.d.sync += slot.kind.eq(SlotKind.BACK)
                if self._geometry.walked:
                    m.d.sync += [slot.row.eq(self.walked_row), slot.fold.eq(self.walked_fold),
                                 slot.last.eq(self.walked_last), slot.void.eq(self.walked_void)]
                else:
                    m.d.comb += self.issue.eq(1)
                    m.d.sync += [slot.row.eq(self.fold_row + self.own_row), slot.last.eq(self.last_fold)]
        with m.Elif(self.update_slot != SlotKind.IDLE):
            m.d.sync += [slot.kind.eq(self.update_slot), slot.row.eq(self.update_row)]
            if self._every_row:
                m.d.sync += [slot.fold.eq(self.update_fold), slot.first.eq(self.update_first)]
        m.d.sync += [slot[name].eq(getattr(self, name)) for name in self._slot_fields]
        return m

    def _permissions(self, m: Module, clearing: Signal) -> tuple[Value, Signal]:
        """Whether spikes may go on; returns whether a step may be handed over, and a sample to learn from begun.

        All are known a clock before: what they depend on changes with markers alone, and after a marker the next event
        comes a clock later than it could. So the same neuron's spikes in two steps are three clocks apart at least,
        which the history needs.
        """
        flowing, may_learn, room_to_step = Signal(), Signal(), Signal()
        m.d.sync += [
            flowing.eq((self.phase == LayerPhase.FORWARD) & ~clearing & ~(self.learning & self.history_busy)),
            may_learn.eq(self.drained & self.masks_ready & ~self.loading & ~self.history_busy),
        ]
        # Folded, a marker's steps may follow each other at once.
        known = m.d.sync if self._geometry.folds == 1 else m.d.comb
        known += room_to_step.eq(self.unhurried & self.has_room)
        m.d.comb += self.flowing.eq(flowing)
        settled: Value = self.settled if self._geometry.walked else Const(1)
        return room_to_step & self.may_step & settled, may_learn

    def _marker(self, m: Module, slot: Signal, step: Signal, pause: Signal, may_step: Value,
                may_learn: Signal) -> None:
        """A step is handed over, fold by fold, or a sample to learn from is begun."""
        geometry, kind, last_fold = self._geometry, self.event_kind, self.last_fold
        first = Signal(init=1)
        rest = self._pace.interval - 1
        with m.Switch(kind):
            with m.Case(EventKind.SPIKE):
                pass
            # Everything of the sample before has left first: `learning` changes for all at once.
            with m.Case(EventKind.LEARN), m.If(may_learn):
                m.d.comb += [self.announce.eq(1), self.begin.eq(1), self.done.eq(1)]
            with m.Default(), m.If(may_step):
                m.d.comb += [self.issue.eq(1), self.stepping.eq(1)]
                m.d.sync += [
                    slot.kind.eq(SlotKind.STEP),
                    slot.first.eq(self.newly if geometry.walked else first),
                    slot.marker.eq(Mux(last_fold, kind, EventKind.SPIKE)),
                    # The same position may be the next step's first.
                    pause.eq(Mux(last_fold, max(rest, self._pace.turnaround - 1), rest)
                             if geometry.walked else rest),
                ]
                with m.If(last_fold):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [first.eq(kind == EventKind.SAMPLE_END), step.eq(step + 1)]
                    with m.If(kind == EventKind.SAMPLE_END):
                        m.d.comb += self.over.eq(self.learning)
                        m.d.sync += step.eq(0)

"""Fetch: which rows and folds a spike event touches, where every presynaptic neuron has a row of its own."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import EventKind, SpikeLayout, bits_for_index, spike_stream
from lifstream.hdl.geometry import LayerGeometry

__all__ = ["EventFetch", "event_ports"]


def event_ports(geometry: LayerGeometry) -> dict[str, Member]:
    """What every kind of fetch has: events in, and which row and fold their slots are for."""
    return {
        "events": In(spike_stream(geometry.n_in)),
        "flowing": In(1),       # spikes may go on
        "issue": In(1),         # a slot is issued for the present fold, which is then over
        "done": In(1),          # the event is over, if it is no spike
        "occupied": Out(1),     # there is an event ...
        "event_kind": Out(EventKind),                       # ... of this kind; without one, a spike
        "spiking": Out(1),      # ... a spike that wants the slot now
        "neuron": Out(bits_for_index(geometry.n_in)),       # ... of this neuron
        "spike_row": Out(bits_for_index(geometry.rows)),    # ... whose row this is
        "fold": Out(bits_for_index(geometry.folds)),        # of the slot
        "last_fold": Out(1),
    }


class EventFetch(wiring.Component):
    """Holds an event while slots are issued for it, and says which: fold after fold, the row of its neuron in each.

    All else that goes through the folds in turn, as markers do, takes its fold from here too.

    Latency: 1 clock from the event to its first slot. Throughput: a spike per ``folds`` clocks, without a bubble.
    Adders: two of a row's index. No multiplier, no memory.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        The layer's folding.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry) -> None:
        self._geometry = geometry
        super().__init__({
            **event_ports(geometry),
            "fold_row": Out(bits_for_index(geometry.rows)),     # first row of the fold
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self._geometry
        occupied = Signal()
        event = Signal(SpikeLayout(geometry.n_in))
        fold, fold_row = Signal.like(self.fold), Signal.like(self.fold_row)
        over = self.spiking & self.last_fold
        m.d.comb += [
            self.occupied.eq(occupied), self.event_kind.eq(Mux(occupied, event.kind, EventKind.SPIKE)),
            self.neuron.eq(event.neuron),
            self.spiking.eq(occupied & (event.kind == EventKind.SPIKE) & self.flowing),
            self.spike_row.eq(fold_row + event.neuron),
            self.fold.eq(fold), self.fold_row.eq(fold_row),
            self.last_fold.eq(fold == geometry.folds - 1 if geometry.folds > 1 else Const(1)),
            self.events.ready.eq(~occupied | over),
        ]
        if geometry.folds > 1:
            with m.If(self.issue):
                m.d.sync += [fold.eq(fold + 1), fold_row.eq(fold_row + geometry.n_in)]
                with m.If(self.last_fold):
                    m.d.sync += [fold.eq(0), fold_row.eq(0)]
        with m.If(self.done | over):
            m.d.sync += occupied.eq(0)
        with m.If(self.events.valid & self.events.ready):
            m.d.sync += [occupied.eq(1), event.eq(self.events.payload)]
        return m

"""Events beside those of the layer before: a bias neuron's in every step, and the layer's own spikes a step later.

::

    events of the layer before ──────────┐
    bias: one before each step's end ────┤──> events of all presynaptic neurons -> fetch
    own spikes of the step before ───────┘
              ^
              └── a copy of what leaves the layer
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.synapses import Synapses
from lifstream.hdl.events import EventKind, SpikeLayout, spike_stream
from lifstream.hdl.queue import StreamQueue

__all__ = ["Augment"]


class Augment(wiring.Component):
    """Passes events on, and puts others in front of the marker that ends a step: first what the layer itself fired in
    the step before, once all of that has left it, then the bias neuron's spike.

    Latency: none for spikes; a clock more for each event added. Throughput: an event per clock. A recurrent layer's
    step ends only when the step before has left it, so its steps do not overlap, nor do samples. Adders: one of an
    index where it is recurrent. No multiplier. Memory: there, ``n_out + 2`` events.

    Parameters
    ----------
    synapses
        Of the layer.
    """

    def __init__(self, *, synapses: Synapses) -> None:
        self._synapses = synapses
        own = spike_stream(synapses.n_out)
        super().__init__({
            "before": In(spike_stream(synapses.n_before)),
            "events": Out(spike_stream(synapses.n_in)),
            **({"own": In(own), "spikes": Out(own)} if synapses.recurrent else {}),     # what leaves the layer
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        synapses, before, events = self._synapses, self.before, self.events
        ends = (before.p.kind == EventKind.STEP_END) | (before.p.kind == EventKind.SAMPLE_END)
        passed = before.valid & before.ready
        added = Signal()    # what comes in front of the marker has been sent
        owed = Signal()     # a step of the sample has gone before
        with m.FSM(name="augment_state"):
            with m.State("PASS"):
                with m.If(before.valid & ends & ~added):
                    m.d.sync += added.eq(not synapses.bias)
                    m.next = "BIAS" if synapses.bias else "PASS"
                    if synapses.recurrent:
                        with m.If(owed):
                            m.d.sync += added.eq(0)
                            m.next = "OWN"
                with m.Else():
                    m.d.comb += [events.valid.eq(before.valid), events.p.kind.eq(before.p.kind),
                                 events.p.neuron.eq(before.p.neuron), before.ready.eq(events.ready)]
                    with m.If(passed & ends):
                        m.d.sync += [added.eq(0), owed.eq(1)]
                        with m.If(before.p.kind == EventKind.SAMPLE_END):
                            m.d.sync += owed.eq(0)
                            if synapses.recurrent:
                                m.next = "DRAIN"
            if synapses.bias:
                with m.State("BIAS"):
                    m.d.comb += [events.valid.eq(1), events.p.kind.eq(EventKind.SPIKE),
                                 events.p.neuron.eq(synapses.n_in - 1)]
                    with m.If(events.ready):
                        m.d.sync += added.eq(1)
                        m.next = "PASS"
            if synapses.recurrent:
                self._return(m, added)
        return m

    def _return(self, m: Module, added: Signal) -> None:
        """Keep what leaves the layer, and send a step's spikes, or give up those of a sample's last step."""
        synapses, own, spikes, events = self._synapses, self.own, self.spikes, self.events
        # A step's spikes and marker, and a sample's LEARN.
        m.submodules.queue = queue = StreamQueue(shape=SpikeLayout(synapses.n_out), depth=synapses.n_out + 2)
        kept = queue.sink
        m.d.comb += [
            spikes.payload.eq(own.payload), queue.source.payload.eq(own.payload),
            spikes.valid.eq(own.valid & queue.source.ready), queue.source.valid.eq(own.valid & spikes.ready),
            own.ready.eq(spikes.ready & queue.source.ready),
        ]
        with m.State("OWN"):
            with m.If(kept.p.kind == EventKind.SPIKE):
                m.d.comb += [events.valid.eq(kept.valid), events.p.kind.eq(EventKind.SPIKE),
                             events.p.neuron.eq(synapses.n_before + kept.p.neuron), kept.ready.eq(events.ready)]
            with m.Else():
                m.d.comb += kept.ready.eq(1)
                with m.If(kept.valid & (kept.p.kind == EventKind.STEP_END)):
                    m.d.sync += added.eq(not synapses.bias)
                    m.next = "BIAS" if synapses.bias else "PASS"
        with m.State("DRAIN"):
            m.d.comb += kept.ready.eq(1)
            with m.If(kept.valid & (kept.p.kind == EventKind.SAMPLE_END)):
                m.next = "PASS"

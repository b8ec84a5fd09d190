"""Events from outside: each names a step and a neuron; markers are put between the steps."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import EventKind, bits_for_index, spike_stream

__all__ = ["EventInput", "EventLayout"]


class EventLayout(data.StructLayout):
    """A ``neuron``'s spike in a ``step``, or, with ``end``, the sample's end; ``learn``, in all of a sample's, whether
    it is to be learnt from."""

    def __init__(self, *, neurons: int, steps: int) -> None:
        super().__init__({"neuron": bits_for_index(neurons), "step": bits_for_index(steps), "end": 1, "learn": 1})


class EventInput(wiring.Component):
    """Passes events on as they come, in ascending steps, with the ends of the steps between them. Nothing is kept: a
    spike is in the first layer's currents before the next one has arrived.

    Latency: none for a spike of the present step; a clock for each step's end in front of one. Throughput: an event per
    clock. Adders: a counter. No multiplier, no memory.

    Parameters
    ----------
    neurons
        That events come from.
    steps
        ``T``, time steps per sample.
    """

    def __init__(self, *, neurons: int, steps: int) -> None:
        self._steps = steps
        super().__init__({
            "events": In(stream.Signature(EventLayout(neurons=neurons, steps=steps))),
            "loading": Out(1),  # never: what comes is played at once
            "playing": Out(1),  # a sample is under way
            "spikes": Out(spike_stream(neurons)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        events, spikes, last_step = self.events, self.spikes, self._steps - 1
        step = Signal(bits_for_index(self._steps))
        begun = Signal()    # the sample's LEARN event has been sent, if there is one
        m.d.comb += [spikes.p.neuron.eq(events.p.neuron), self.playing.eq(begun | events.valid),
                     spikes.valid.eq(events.valid)]
        sent = spikes.valid & spikes.ready
        with m.If(~begun):
            with m.If(events.p.learn):
                m.d.comb += spikes.p.kind.eq(EventKind.LEARN)
                m.d.sync += begun.eq(sent)
            with m.Else():
                m.d.comb += spikes.valid.eq(0)
                m.d.sync += begun.eq(events.valid)
        with m.Elif(events.p.end & (step == last_step)):
            m.d.comb += [spikes.p.kind.eq(EventKind.SAMPLE_END), events.ready.eq(spikes.ready)]
            with m.If(sent):
                m.d.sync += [step.eq(0), begun.eq(0)]
        with m.Elif(events.p.end | (step != events.p.step)):
            m.d.comb += spikes.p.kind.eq(EventKind.STEP_END)
            with m.If(sent):
                m.d.sync += step.eq(step + 1)
        with m.Else():
            m.d.comb += [spikes.p.kind.eq(EventKind.SPIKE), events.ready.eq(spikes.ready)]
        return m

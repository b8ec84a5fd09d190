"""Readout by membrane potentials: the neuron whose number is largest names the class."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.events import EventKind, bits_for_index, spike_stream
from lifstream.hdl.layer.potentials import response_shape
from lifstream.hdl.readout import ResultLayout

__all__ = ["PotentialReadout"]


class PotentialReadout(wiring.Component):
    """Waits for a sample's end, takes the number of each neuron (:class:`PotentialCollector` of the last layer makes
    them), and finds the unique largest; then sends the result, and behind it the numbers.

    Latency: ``classes + 1`` clocks from a sample's end to its result. Throughput: an event per clock; events wait
    while numbers are taken and sent. A comparator of the response's width. No multiplier. Memory: a response per
    neuron.

    Parameters
    ----------
    spec
        The numeric contract.
    """

    answer_follows = True
    """Whether what is told of the neurons comes on a stream of its own, behind the result."""

    state_items: dict[str, int] = {}
    """Items of each kind of state (:class:`lifstream.hdl.registry.StateKind`) it holds."""

    def __init__(self, *, spec: NetworkSpec) -> None:
        self._spec = spec
        responses = stream.Signature(response_shape(spec))
        super().__init__({
            "spikes": In(spike_stream(spec.responding)),
            "responses": In(responses),
            "result": Out(stream.Signature(ResultLayout(classes=spec.classes, count_bits=None))),
            "answer": Out(responses),
            "idle": Out(1),             # always: no state is on its way in or out
        })

    @property
    def tapped(self) -> frozenset[str]:
        """Streams that benches tap, at its end or the other."""
        return frozenset({"spikes"})

    @property
    def memories(self) -> list[dict[str, Any]]:
        """Memories of what it has learnt, as the emitted description lists them: none."""
        return []

    def elaborate(self, platform: object) -> Module:
        m = Module()
        neurons, shape = self._spec.responding, response_shape(self._spec)
        m.submodules.taken = taken = memory.Memory(shape=shape, depth=max(2, neurons), init=[])
        put, get = taken.write_port(), taken.read_port(domain="comb")
        scan = Signal(bits_for_index(neurons))
        largest, winner, unique = Signal(shape), Signal(bits_for_index(neurons)), Signal(init=1)
        final = scan == neurons - 1
        m.d.comb += [
            self.idle.eq(1), put.addr.eq(scan), put.data.eq(self.responses.payload), get.addr.eq(scan),
            self.answer.payload.eq(get.data), self.result.p.prediction.eq(winner), self.result.p.unique.eq(unique),
        ]
        following = Signal()
        with m.If(following):
            m.d.sync += scan.eq(scan + 1)
            with m.If(final):
                m.d.sync += scan.eq(0)
        with m.FSM(name="readout_state"):
            with m.State("WAIT"):
                m.d.comb += self.spikes.ready.eq(1)
                with m.If(self.spikes.valid & (self.spikes.p.kind == EventKind.SAMPLE_END)):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.responses.ready.eq(1)
                with m.If(self.responses.valid):
                    m.d.comb += [put.en.eq(1), following.eq(1)]
                    with m.If((scan == 0) | (self.responses.payload > largest)):
                        m.d.sync += [largest.eq(self.responses.payload), winner.eq(scan), unique.eq(1)]
                    with m.Elif(self.responses.payload == largest):
                        m.d.sync += unique.eq(0)
                    with m.If(final):
                        m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.result.valid.eq(1)
                with m.If(self.result.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.d.comb += following.eq(1)
                    with m.If(final):
                        m.next = "WAIT"
        return m

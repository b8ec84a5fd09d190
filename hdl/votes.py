"""Readout by votes: each output spike adds its neuron's votes to the classes' totals."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import signed_bits
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import Modulation, PairStdp
from lifstream.golden.contract.state import StateArray
from lifstream.hdl.events import DesireLayout, EventKind, bits_for_index, label_layout, spike_stream
from lifstream.hdl.readout import ResultLayout

__all__ = ["VoteReadout"]


class VoteReadout(wiring.Component):
    """Counts spikes and adds up votes until the sample ends, then scans the totals once.

    After a sample to learn from, which takes a label from ``labels``, one item on ``desires`` says whether the
    prediction is to be unlearnt (with a reward, when it is not the label) and whether any neuron fired at all.
    After the result follow the spike counts of all neurons, on ``answer``. After reset the memory of counts is
    cleared, a neuron per clock; events wait for it.

    Latency: ``classes + 1`` clocks from a sample's end to what it teaches; the result follows. Throughput: one
    event per clock; events wait during the scan and until the answer is taken. ``classes`` adders of the
    totals' width. No multiplier. Memory: ``n x classes x W`` bits of votes, ``n`` spike counts.

    Parameters
    ----------
    spec
        The numeric contract.
    """

    answer_follows = True
    """Whether what is told of the neurons comes on a stream of its own, behind the result."""

    def __init__(self, *, spec: NetworkSpec) -> None:
        self._spec = spec
        weight = stream.Signature(signed(self._votes.bits))
        super().__init__({
            "spikes": In(spike_stream(spec.responding)),
            "fired": In(1),             # until it is told on `desires`: a neuron of any layer fired in the sample
            "labels": In(stream.Signature(label_layout(spec))),
            "desires": Out(stream.Signature(DesireLayout(spec))),
            "result": Out(stream.Signature(ResultLayout(classes=spec.classes, count_bits=None))),
            "answer": Out(stream.Signature(unsigned(spec.count_bits))),
            "weights": In(weight),      # votes, row by row; then from the start
            "read": In(1),              # pulse: send all votes on `readback`
            "readback": Out(weight),
            "idle": Out(1),             # no votes on their way in or out
        })

    @property
    def _rewarded(self) -> bool:
        rule = self._spec.layers[-1].rule
        assert isinstance(rule, PairStdp)
        return rule.modulation is Modulation.REWARD

    @property
    def _votes(self) -> StateArray:
        return self._spec.readout.state(self._spec.responding)[0]

    @property
    def tapped(self) -> frozenset[str]:
        """Streams that benches tap, at its end or the other, or that nobody reads: their payload is not emitted."""
        return frozenset({"spikes"} if self._rewarded else {"spikes", "labels"})

    @property
    def state_items(self) -> dict[str, int]:
        """Items of each kind of state (:class:`lifstream.hdl.registry.StateKind`) it holds."""
        return {"weights": self._spec.responding * self._spec.classes}

    @property
    def memories(self) -> list[dict[str, Any]]:
        """Memories of what it has learnt, as the emitted description lists them: a matrix of one group and one fold."""
        spec = self._spec
        return [{"quantity": "weight", "signals": ["votes"], "lanes_per_group": spec.classes,
                 "fold_words": spec.responding, "width": self._votes.bits}]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self._spec
        neurons, classes = spec.responding, spec.classes
        reach = neurons * spec.steps
        totals = [Signal(signed(signed_bits(reach * self._votes.low, reach * self._votes.high)), name=f"total_{index}")
                  for index in range(classes)]
        votes = self._access(m)
        scan = Signal(bits_for_index(max(classes, neurons)))
        learning, clearing = Signal(), Signal()
        spike = self.spikes.valid & self.spikes.ready & (self.spikes.p.kind == EventKind.SPIKE)
        self._responses(m, spike, scan, clearing)
        adding = Signal()
        m.d.sync += adding.eq(spike)
        with m.If(adding):
            m.d.sync += [total.eq(total + votes[index]) for index, total in enumerate(totals)]
        with m.FSM(name="readout_state"):
            with m.State("CLEAR"):
                m.d.comb += clearing.eq(1)
                m.d.sync += scan.eq(scan + 1)
                with m.If(scan == neurons - 1):
                    m.d.sync += scan.eq(0)
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += self.spikes.ready.eq(1)
                with m.If(self.spikes.valid), m.Switch(self.spikes.p.kind):
                    with m.Case(EventKind.LEARN):
                        m.d.sync += learning.eq(1)
                    with m.Case(EventKind.SAMPLE_END):
                        m.next = "SETTLE"
            self._decide(m, totals, scan, learning, adding)
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.d.comb += clearing.eq(1)
                    m.d.sync += scan.eq(scan + 1)
                    with m.If(scan == neurons - 1):
                        m.d.sync += [scan.eq(0), learning.eq(0)]
                        m.d.sync += [total.eq(0) for total in totals]
                        m.next = "COUNT"
        return m

    def _access(self, m: Module) -> Value:
        """The memory of votes, on their way in and out; returns those of the neuron that spiked a clock ago."""
        spec = self._spec
        neurons, classes = spec.responding, spec.classes
        m.submodules.votes = votes = memory.Memory(
            shape=data.ArrayLayout(signed(self._votes.bits), classes), depth=max(2, neurons), init=[])
        put = votes.write_port(granularity=1)
        get = votes.read_port()
        row = Signal(bits_for_index(neurons))
        column = Signal(bits_for_index(classes))
        following = Signal()
        with m.If(following):
            m.d.sync += column.eq(column + 1)
            with m.If(column == classes - 1):
                m.d.sync += [column.eq(0), row.eq(row + 1)]
                with m.If(row == neurons - 1):
                    m.d.sync += row.eq(0)
        reading = Signal()
        m.d.comb += [
            get.addr.eq(Mux(reading, row, self.spikes.p.neuron)),
            put.addr.eq(row), put.en.eq(Mux(self.weights.valid & self.weights.ready, 1 << column, 0)),
            self.readback.payload.eq(Array(get.data[index] for index in range(classes))[column]),
            self.idle.eq(~reading & (row == 0) & (column == 0)),
        ]
        m.d.comb += [put.data[index].eq(self.weights.payload) for index in range(classes)]
        with m.FSM(name="vote_state"):
            with m.State("LOAD"):
                m.d.comb += [self.weights.ready.eq(1), following.eq(self.weights.valid)]
                with m.If(self.read):
                    m.d.sync += reading.eq(1)
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.readback.valid.eq(1)
                with m.If(self.readback.ready):
                    m.d.comb += following.eq(1)
                    m.next = "FETCH"
                    with m.If((column == classes - 1) & (row == neurons - 1)):
                        m.d.sync += reading.eq(0)
                        m.next = "LOAD"
        return get.data

    def _responses(self, m: Module, spike: Value, scan: Signal, clearing: Signal) -> None:
        """Spike counts of the neurons: of one that fires, or of the one whose turn it is to be sent or cleared."""
        m.submodules.responses = responses = memory.Memory(
            shape=self._spec.count_bits, depth=max(2, self._spec.responding), init=[])
        note, noted = responses.write_port(), responses.read_port(domain="comb")
        m.d.comb += [
            noted.addr.eq(Mux(self.answer.valid | clearing, scan, self.spikes.p.neuron)),
            note.addr.eq(noted.addr), note.data.eq(Mux(clearing, 0, noted.data + 1)), note.en.eq(spike | clearing),
            self.answer.payload.eq(noted.data),
        ]

    def _decide(self, m: Module, totals: list[Signal], scan: Signal, learning: Signal, adding: Signal) -> None:
        """Once the last votes have been added: the largest total, what it teaches, and the result."""
        classes = self._spec.classes
        total = Array(totals)[scan]
        largest = Signal.like(totals[0], name="largest")
        winner = Signal(bits_for_index(classes))
        unique = Signal(init=1)
        learned = Signal()
        wrong = ~unique | (winner != self.labels.p.label)
        m.d.comb += [
            self.result.p.prediction.eq(winner), self.result.p.unique.eq(unique),
            self.result.p.trained.eq(learning), self.result.p.learned.eq(learned),
            self.desires.p.active.eq(self.fired), self.desires.p.skip.eq(~self.fired),
            self.desires.p.negative.eq(wrong if self._rewarded else Const(0)),
        ]
        with m.State("SETTLE"):
            m.d.sync += [winner.eq(0), unique.eq(1), scan.eq(0)]
            with m.If(~adding):
                m.d.sync += largest.eq(totals[0])
                m.next = "SCAN"
        with m.State("SCAN"):
            with m.If(scan != 0):
                with m.If(total > largest):
                    m.d.sync += [largest.eq(total), winner.eq(scan), unique.eq(1)]
                with m.Elif(total == largest):
                    m.d.sync += unique.eq(0)
            m.d.sync += scan.eq(scan + 1)
            with m.If(scan == classes - 1):
                m.d.sync += scan.eq(0)
                m.next = "RESULT"
                with m.If(learning):
                    m.next = "TEACH"
        with m.State("TEACH"):  # first, since the layers wait for it
            m.d.comb += self.desires.valid.eq(self.labels.valid)
            with m.If(self.labels.valid & self.desires.ready):
                m.d.comb += self.labels.ready.eq(1)
                m.d.sync += learned.eq(self.fired)
                m.next = "RESULT"
        with m.State("RESULT"):
            m.d.comb += self.result.valid.eq(1)
            with m.If(self.result.ready):
                m.next = "ANSWER"

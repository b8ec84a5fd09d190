"""Readout: counts output spikes, names the unique most active class, and says what was wanted."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import DESIRE_EXPONENT_MIN, DesireBackpropagation, Magnitude
from lifstream.hdl.events import DesireLayout, EventKind, bits_for_index, label_layout, magnitude_bits, spike_stream

__all__ = ["Readout", "ResultLayout"]


class ResultLayout(data.StructLayout):
    """A sample's result: ``prediction`` is meaningful when ``unique`` is set, that is, when no two
    classes share the largest spike count or total; ``learned`` when a sample to learn from had something to
    teach; ``counts`` holds every class's spike count, unless the answer follows on a stream of its own."""

    def __init__(self, *, classes: int, count_bits: int | None) -> None:
        super().__init__({
            "prediction": bits_for_index(classes),
            "unique": 1,
            "trained": 1,
            "learned": 1,
            **({} if count_bits is None else {"counts": data.ArrayLayout(unsigned(count_bits), classes)}),
        })


class Readout(wiring.Component):
    """Counts the spikes of each class until the sample ends, then scans the counts once.

    After a sample to learn from, which takes a label from ``labels``, the output layer's desires
    follow: the error is ``D - n`` for the label's class and ``n`` for the others; from
    ``output_threshold`` on it is a desire, with the largest power of two not above ``error / D``. Of a network that
    does not learn there are neither labels nor desires.

    Latency: ``classes + 6`` clocks from a sample's end to its first desire, ``classes + 3`` to its result if
    there are none; the result follows the last desire. Throughput: one event per clock; events wait during
    the scan, while desires are sent, and while a result waits to be taken. Two adders and some
    comparators of the count's width. No multiplier, no memory.

    Parameters
    ----------
    spec
        The numeric contract.
    """

    answer_follows = False
    """Whether what is told of the neurons comes on a stream of its own, behind the result."""

    state_items: dict[str, int] = {}
    """Items of each kind of state (:class:`lifstream.hdl.registry.StateKind`) it holds."""

    def __init__(self, *, spec: NetworkSpec) -> None:
        self._spec = spec
        super().__init__({
            "spikes": In(spike_stream(spec.classes)),
            **({"labels": In(stream.Signature(label_layout(spec))),
                "desires": Out(stream.Signature(DesireLayout(spec)))} if spec.learns else {}),
            "result": Out(stream.Signature(ResultLayout(classes=spec.classes, count_bits=spec.count_bits))),
            "idle": Out(1),             # always: no state is on its way in or out
        })

    @property
    def tapped(self) -> frozenset[str]:
        """Streams that benches tap, at its end or the other."""
        return frozenset({"spikes", "desires"})

    @property
    def memories(self) -> list[dict[str, Any]]:
        """Memories of what it has learnt, as the emitted description lists them: none."""
        return []

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, learns = self._spec, self._spec.learns
        classes = spec.classes
        counts = Array([Signal(spec.count_bits, name=f"count_{index}") for index in range(classes)])
        scan = Signal(bits_for_index(classes))
        largest = Signal(spec.count_bits)
        winner = Signal.like(scan)
        unique = Signal(init=1)
        learning = Signal()
        wanted_any = Signal()
        m.d.comb += [
            self.result.p.prediction.eq(winner),
            self.result.p.unique.eq(unique),
            self.result.p.trained.eq(learning),
            self.result.p.learned.eq(wanted_any),
        ]
        m.d.comb += self.idle.eq(1)
        m.d.comb += [self.result.p.counts[index].eq(count) for index, count in enumerate(counts)]

        # A count is picked, its error found, then both are looked at.
        fetched_count, count = Signal(spec.count_bits), Signal(spec.count_bits)
        fetched_place, place = Signal.like(scan), Signal.like(scan)
        fetched, picked = Signal(), Signal()
        pick = Signal()
        last = place == classes - 1
        with m.If(pick):
            m.d.sync += [
                fetched_count.eq(counts[scan]), fetched_place.eq(scan), fetched.eq(1), scan.eq(scan + 1),
                count.eq(fetched_count), place.eq(fetched_place), picked.eq(fetched),
            ]
        wanted = Signal()
        may_scan: Value = Const(1)
        teaches: Value = Const(0)
        if learns:
            may_scan = ~learning | self.labels.valid
            teaches = ~self.labels.p.void if isinstance(spec.input, Events) else Const(1)
            desire = self._desire(m, pick, fetched_count, fetched_place, wanted)
            offered = Signal(DesireLayout(spec))
            offering, offered_last = Signal(), Signal()
            m.d.comb += [self.desires.payload.eq(offered), self.desires.valid.eq(offering)]

        with m.FSM(name="readout_state"):
            with m.State("COUNT"):
                m.d.comb += self.spikes.ready.eq(1)
                with m.If(self.spikes.valid), m.Switch(self.spikes.p.kind):
                    with m.Case(EventKind.SPIKE):
                        m.d.sync += counts[self.spikes.p.neuron].eq(counts[self.spikes.p.neuron] + 1)
                    with m.Case(EventKind.LEARN):
                        m.d.sync += learning.eq(1)
                    with m.Case(EventKind.SAMPLE_END):
                        m.d.sync += [largest.eq(0), winner.eq(0), unique.eq(1), wanted_any.eq(0)]
                        m.next = "SCAN"
            with m.State("SCAN"), m.If(may_scan):
                m.d.comb += pick.eq(1)
                with m.If(picked):
                    with m.If((count > largest) | (place == 0)):
                        m.d.sync += [largest.eq(count), winner.eq(place), unique.eq(1)]
                    with m.Elif(count == largest):
                        m.d.sync += unique.eq(0)
                    with m.If(learning & wanted & teaches):
                        m.d.sync += wanted_any.eq(1)
                    with m.If(last):
                        m.d.sync += [scan.eq(0), fetched.eq(0), picked.eq(0)]
                        m.next = "RESULT"
                        if learns:
                            with m.If(learning):
                                m.next = "DESIRE"
            with m.State("RESULT"):
                m.d.comb += self.result.valid.eq(1)
                with m.If(self.result.ready):
                    m.next = "CLEAR"
            if learns:
                with m.State("DESIRE"):  # first, since the layers wait for it
                    with m.If(~offering | self.desires.ready):
                        m.d.comb += pick.eq(1)
                        m.d.sync += [offering.eq(picked), offered_last.eq(last | ~wanted_any),
                                     offered.eq(Cat(~wanted_any, wanted, desire))]
                    with m.If(offering & self.desires.ready & offered_last):
                        m.d.comb += self.labels.ready.eq(1)
                        m.d.sync += [offering.eq(0), fetched.eq(0), picked.eq(0), scan.eq(0)]
                        m.next = "RESULT"
            with m.State("CLEAR"):
                m.d.sync += [count.eq(0) for count in counts]
                m.d.sync += learning.eq(0)
                m.next = "COUNT"
        return m

    def _desire(self, m: Module, pick: Value, fetched_count: Signal, fetched_place: Signal, wanted: Signal) -> Value:
        """The error of the class that is fetched, and a clock later whether that is a desire; returns its sign and
        magnitude."""
        spec, rule = self._spec, self._spec.layers[-1].rule
        assert isinstance(rule, DesireBackpropagation)
        desired_count = rule.desired_count(spec.steps)
        is_label, missing = Signal(), Signal(signed(spec.count_bits + 1))
        error = Signal(spec.count_bits)
        label = fetched_place == self.labels.p.label
        with m.If(pick):
            m.d.sync += [is_label.eq(label), error.eq(Mux(label, Mux(missing < 0, 0, missing), fetched_count))]
        magnitude: Value = Mux(wanted, error, 0)
        m.d.comb += [
            missing.eq(desired_count - fetched_count),
            wanted.eq(error >= rule.output_threshold),
        ]
        if rule.magnitude is Magnitude.GRADED:
            magnitude = Signal(magnitude_bits(spec))
            m.d.comb += magnitude.eq(-DESIRE_EXPONENT_MIN)
            for exponent in range(DESIRE_EXPONENT_MIN + 1, 1):
                with m.If(error >= -(-desired_count >> -exponent)):
                    m.d.comb += magnitude.eq(-exponent)
        return Cat(~is_label, magnitude)

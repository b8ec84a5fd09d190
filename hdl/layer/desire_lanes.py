"""What a group of lanes learns by desire backpropagation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import Phase, unsigned_bits
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import DESIRE_EXPONENT_MIN, DesireBackpropagation, Eligibility, Magnitude
from lifstream.golden.contract.state import StateArray
from lifstream.hdl.arithmetic import shift_rounding
from lifstream.hdl.events import bits_for_index, magnitude_bits
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.arrays import array_shape, neuron_arrays
from lifstream.hdl.layer.lanes import LaneRule, split_step
from lifstream.hdl.layer.membrane import TagLayout, carried
from lifstream.hdl.layer.slots import LearnLayout, SlotKind, by_fold

__all__ = ["DEFICIT_MAX", "DesireLanes", "DesireLearnLayout", "correlation_bits", "weighted_sum_bits"]

DEFICIT_MAX = -DESIRE_EXPONENT_MIN


def desire_rule(at: PlacedLayer) -> DesireBackpropagation:
    """The rule of a layer that learns by desires."""
    assert isinstance(at.rule, DesireBackpropagation)
    return at.rule


def correlation_bits(at: PlacedLayer) -> int:
    """Width of a correlation: the trace at its maximum on every step."""
    return unsigned_bits(at.correlation_range[1])


def weighted_sum_bits(at: PlacedLayer, terms: int) -> int:
    """Width of the sum of ``terms`` weights times magnitudes."""
    magnitude = DEFICIT_MAX if desire_rule(at).magnitude is Magnitude.GRADED else at.network.count_bits
    return at.formats.weight_bits + magnitude + (terms - 1).bit_length() + 1


class DesireLearnLayout(LearnLayout):
    """Lanes are told the presynaptic trace."""

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry) -> None:
        trace = unsigned(unsigned_bits(at.trace_max))
        super().__init__(at, geometry, excess_bits=4, own={"traces": data.ArrayLayout(trace, geometry.unroll)})

    def encode(self, place: int, *, trace: Value, spiked: Value, beyond: Value | None) -> dict[tuple[str, int], Value]:
        """The trace alone."""
        return {("traces", place): trace if beyond is None else Mux(beyond, 0, trace)}


class DesireLanes(LaneRule):
    """Eligibility, correlations and their shift; on the way back, the weighted sum of the group's desires.

    Latency: 7 clocks from a BACK slot to its sum. Throughput: a learning step per clock. Adders: K x unroll of the
    correlation's width; where desires travel back, K of the weighted sum's. No multiplier with graded desires; with
    ternary ones, K of weight x spike count where they travel back. Memory: ``folds x K x T`` bits of eligibility;
    folded, also ``folds x K`` desires. Hidden layers behind the first keep ``folds x K`` bits more: which neurons were
    eligible at all. Between maps all of that is block RAM, one port to read each: where it is used two clocks later.
    """

    @property
    def _hidden(self) -> bool:
        return not self._at.last

    @property
    def _always(self) -> bool:
        """Whether every neuron is eligible at every step."""
        return desire_rule(self._at).eligibility is Eligibility.MEMBRANE and not self._hidden

    def layer_ports(self) -> tuple[str, ...]:
        """Desires come in; what they sum to goes out."""
        return ("desire", *(("sum_valid", "sum_last", "sum") if not self._at.first else ()))

    @classmethod
    def size_bits(cls, at: PlacedLayer) -> int:
        """Width of a correlation."""
        return correlation_bits(at)

    def _learn_layout(self) -> LearnLayout:
        return DesireLearnLayout(self._at, self._geometry)

    def _tag(self) -> TagLayout:
        at, geometry = self._at, self._geometry
        return TagLayout(geometry, ("last", "first", "fold"), {
            "block": bits_for_index(geometry.folds * geometry.blocks(at.steps)),
            "part": bits_for_index(geometry.unroll),
            **({"rested": 1} if self._eligible_at_rest else {})})

    @property
    def _own_threshold(self) -> StateArray | None:
        """Thresholds that neurons have for themselves."""
        return next((array for array in neuron_arrays(self._at) if array.name == "thresholds"), None)

    @property
    def _notes_heard(self) -> bool:
        """Whether it is kept which neurons were eligible at any step: their desires alone are passed back."""
        return not self._at.first and not self._always and desire_rule(self._at).eligibility is Eligibility.MEMBRANE

    @property
    def _eligible_at_rest(self) -> bool:
        """Whether neurons of a position that the sample has not reached are eligible, under the least threshold."""
        return self._geometry.walked and self._notes_heard and self._at.neuron.threshold_in(Phase.TRAINING) >> 1 == 0

    def _own_ports(self) -> dict[str, Any]:
        at, geometry = self._at, self._geometry
        return {
            "fired": In(1),
            # Of the neuron whose potential is there, where neurons have their own.
            **({"threshold": In(array_shape(threshold))} if (threshold := self._own_threshold) is not None else {}),
            "desire": In(data.StructLayout({
                "enable": 1, "active": 1, "negative": 1, "magnitude": magnitude_bits(at.network),
                "store": 1, "fold": bits_for_index(geometry.folds)})),
            **({
                "sum_valid": Out(1),
                "sum_last": Out(1),
                "sum": Out(signed(weighted_sum_bits(at, geometry.lanes_per_group))),
            } if not self._at.first else {}),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at, geometry, slot = self._at, self._geometry, self.serving_slot
        block, part = split_step(m, slot.step, at.steps, geometry.unroll)
        blocks = geometry.blocks(at.steps)
        m.d.comb += [self.note.part.eq(part), self.note.block.eq(
            block if geometry.folds == 1 else by_fold(m, geometry, slot.fold, blocks) + block)]
        desires, shifted_desires = self._desires(m)
        words, heard = self._eligibility(m)
        changes = self._correlate(m, words, shifted_desires)
        for change, (magnitude, carry), desire in zip(self.changes, changes, shifted_desires, strict=True):
            m.d.comb += [change.magnitude.eq(magnitude), change.carry.eq(carry),
                         change.negative.eq(desire.negative), change.active.eq(desire.active)]
        if not self._at.first:
            self._back(m, desires, heard)
        return m

    def _desires(self, m: Module) -> tuple[list[data.View], list[data.View]]:
        """Desires of the lanes of two folds: of the row that arrives, and of the one being shifted."""
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        layout = data.StructLayout({"active": 1, "negative": 1, "magnitude": magnitude_bits(self._at.network)})
        received = [Signal(layout, name=f"desire_{lane}") for lane in range(lanes)]
        with m.If(self.desire.enable):
            m.d.sync += [stage.eq(source) for stage, source in pairwise(received)]
            m.d.sync += [received[-1][name].eq(self.desire[name]) for name in ("active", "negative", "magnitude")]
        if folds == 1:
            return received, received
        m.submodules.desires = desires = memory.Memory(
            shape=data.ArrayLayout(layout, lanes), depth=folds, init=[])
        put = desires.write_port()
        m.d.comb += [put.addr.eq(self.desire.fold), put.en.eq(self.desire.store), put.data.eq(Cat(received))]
        if self._geometry.deep:
            # Rows are read for weighted sums, or for changes, never both; sums are taken over no earlier than their
            # fold has been named for a clock.
            get = desires.read_port()
            arriving, shifted = (Signal(data.ArrayLayout(layout, lanes), name=f"desires_{name}", reset_less=True)
                                 for name in ("arriving", "shifted"))
            m.d.comb += get.addr.eq(self._back_or(self.learn.fold))
            m.d.sync += arriving.eq(get.data)
            with m.If(self.learn.take):
                m.d.sync += shifted.eq(get.data)
            return [arriving[lane] for lane in range(lanes)], [shifted[lane] for lane in range(lanes)]
        views = []
        for address in (self.arriving.fold, self.learn.shift_fold):
            get = desires.read_port(domain="comb")
            m.d.comb += get.addr.eq(address)
            views.append([get.data[lane] for lane in range(lanes)])
        return views[0], views[1]

    def _back_or(self, fold: Value) -> Value:
        """The fold of the slot about to arrive, if it asks for weighted sums; otherwise another."""
        return fold if self._at.first else Mux(self.leaf.kind == SlotKind.BACK, self.leaf.fold, fold)

    def _eligibility(self, m: Module) -> tuple[list[Value], Value]:
        """Which lanes were eligible: at the steps being learnt from; and, of the arriving fold, at any step."""
        at, geometry, learn = self._at, self._geometry, self.learn
        lanes, folds, blocks = geometry.lanes_per_group, geometry.folds, geometry.blocks(at.steps)
        if self._always:
            return [Const(-1, lanes)] * geometry.unroll, Const(-1, lanes)
        if self._own_threshold is not None:
            half: Value = self.threshold >> 1
        else:
            inference, training = (at.neuron.threshold_in(phase) for phase in Phase)
            half = Signal(range(max(inference, training) + 1), name="half", reset_less=True)
            m.d.sync += half.eq(Mux(self.serving_slot.learn, training >> 1, inference >> 1))
        eligible = Signal(reset_less=True)
        by_spike = desire_rule(at).eligibility is Eligibility.SPIKE
        m.d.sync += eligible.eq(self.fired if by_spike else self.integrated >= half)
        served, finished = self.served, self.slice_valid & self.served.last
        collected = Signal(lanes, reset_less=True)
        m.d.sync += collected.eq(Cat(collected[1:], eligible))
        words = []
        for place in range(geometry.unroll):
            history = memory.Memory(shape=lanes, depth=max(2, folds * blocks), init=[])
            m.submodules[f"eligibility_{place}"] = history
            put = history.write_port()
            get = history.read_port(domain="sync" if geometry.deep else "comb")
            m.d.comb += [
                put.addr.eq(served.block),
                put.data.eq(Cat(collected[1:], eligible)),
                put.en.eq(finished & (served.part == place)),
                get.addr.eq(learn.block if folds == 1 else by_fold(m, geometry, learn.fold, blocks) + learn.block),
            ]
            word = get.data
            if geometry.deep:
                word = Signal(lanes, name=f"eligible_{place}", reset_less=True)
                m.d.sync += word.eq(get.data)
            words.append(word)
        heard: Value = Const(-1, lanes)
        if self._notes_heard:
            heard = self._heard(m, Cat(collected[1:], eligible), finished)
        return words, heard

    def _correlate(self, m: Module, words: list[Value], desires: list[data.View]) -> list[tuple[Signal, Signal]]:
        """Correlations and their serial shift: magnitude and carry per lane."""
        at, learn = self._at, self.learn
        shape = unsigned(correlation_bits(at))
        told = Signal(data.StructLayout({name: learn[name].shape() for name in ("correlate", "fresh", "traces")}),
                      reset_less=True)
        m.d.comb += [told[name].eq(learn[name]) for name in ("correlate", "fresh", "traces")]
        told = carried(m, told, self._geometry.fold_latency, name="told")
        traces = [told.traces[place] for place in range(self._geometry.unroll)]
        result = []
        for lane, desire in enumerate(desires):
            gain = sum(Mux(1 if self._always else word[lane], trace, 0)
                       for word, trace in zip(words, traces, strict=True))
            correlation = Signal(shape, name=f"correlation_{lane}", reset_less=True)
            with m.If(told.correlate):
                m.d.sync += correlation.eq(Mux(told.fresh, 0, correlation) + gain)
            shifted = Signal(shape, name=f"shifted_{lane}", reset_less=True)
            carry = Signal(name=f"carry_{lane}", reset_less=True)
            with m.If(learn.take):
                m.d.sync += [shifted.eq(correlation), carry.eq(0)]
            small = learn.excess < desire.magnitude if desire_rule(at).magnitude is Magnitude.GRADED else 0
            with m.Elif(learn.shift & (learn.everyone | small)):
                shift_rounding(m, value=shifted, carry=carry,
                               random=learn.random if at.rounds_at_random else None)
            result.append((shifted, carry))
        return result

    def _heard(self, m: Module, eligible: Value, finished: Value) -> Value:
        """Lanes of the arriving fold that were eligible at any step: only their desires are passed back."""
        served = self.served
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        if folds == 1:
            heard = Signal(lanes, reset_less=True)
            with m.If(finished):
                m.d.sync += heard.eq(eligible | Mux(served.first, 0, heard))
            return heard
        m.submodules.heard = stored = memory.Memory(shape=lanes, depth=folds, init=[])
        put = stored.write_port()
        if self._geometry.deep:
            # Sums are taken long after the last fold has been served, so one port serves both.
            def later(value: Any, name: str) -> Any:
                return carried(m, value, 2, name=f"{name}_served")

            get, before = stored.read_port(), Signal(lanes, reset_less=True)
            m.d.sync += before.eq(get.data)
            resting: Value = Const(0, lanes)
            at_first = resting
            if self._eligible_at_rest:
                m.d.comb += self.note.rested.eq(self.serving_slot.step != 0)
                resting = Const(-1, lanes)
                at_first = later(served.rested, "rested").replicate(lanes)
            m.d.comb += [get.addr.eq(Mux(finished, served.fold, self.leaf.fold)),
                         put.addr.eq(later(served.fold, "fold")), put.en.eq(later(finished, "finished")),
                         put.data.eq(later(eligible, "eligible") | Mux(later(served.first, "first"), at_first, before))]
            return Mux(self.arriving.reached, before, resting)
        before, get = stored.read_port(domain="comb"), stored.read_port(domain="comb")
        m.d.comb += [before.addr.eq(served.fold), put.addr.eq(served.fold), put.en.eq(finished),
                     put.data.eq(eligible | Mux(served.first, 0, before.data)), get.addr.eq(self.arriving.fold)]
        return get.data

    def _back(self, m: Module, desires: list[data.View], heard: Value) -> None:
        """Weighted sum of the group's desires: magnitude, then sign, then an adder tree."""
        at = self._at
        sum_shape = signed(weighted_sum_bits(at, self._geometry.lanes_per_group))
        terms = []
        for lane, desire in enumerate(desires):
            weight = self.row[lane]
            if desire_rule(at).magnitude is Magnitude.GRADED:
                # Shifting the widened weight right loses nothing: the deficit is at most 10.
                product = (weight << DEFICIT_MAX) >> desire.magnitude
            else:
                product = weight * desire.magnitude
            scaled = Signal(product.shape(), name=f"scaled_{lane}", reset_less=True)
            active, negative = (Signal(name=f"{name}_{lane}", reset_less=True) for name in ("wanted", "negative"))
            term = Signal(signed(sum_shape.width), name=f"term_{lane}", reset_less=True)
            wanted = desire.active & heard[lane]
            if self._geometry.walked:
                wanted = wanted & ~self.arriving.void
            m.d.sync += [scaled.eq(product), active.eq(wanted), negative.eq(desire.negative),
                         term.eq(Mux(active, Mux(negative, -scaled, scaled), 0))]
            terms.append(term)
        scaling, back = Signal(), Signal()
        last_scaling, last = Signal(), Signal()
        m.d.sync += [
            scaling.eq(self.arriving.kind == SlotKind.BACK), last_scaling.eq(self.arriving.last),
            back.eq(scaling), last.eq(last_scaling),
        ]
        # A single term needs no adder and no clock for it.
        added = m.d.sync if len(terms) > 1 else m.d.comb
        added += [self.sum_valid.eq(back), self.sum_last.eq(last), self.sum.eq(sum(terms))]

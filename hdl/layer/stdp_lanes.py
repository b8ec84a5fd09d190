"""What a group of lanes learns by spike-timing-dependent plasticity."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.formats import signed_bits, unsigned_bits
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.rules import Bounds, PairStdp
from lifstream.hdl.arithmetic import leak, shift_rounding
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.competing import weight_sum_bits
from lifstream.hdl.layer.lanes import LaneRule, split_step
from lifstream.hdl.layer.membrane import TagLayout
from lifstream.hdl.layer.slots import LearnLayout, SlotKind, table

__all__ = ["StdpLanes", "StdpLearnLayout"]


def stdp_rule(at: PlacedLayer) -> PairStdp:
    """The rule of a layer that learns by spike-timing-dependent plasticity."""
    assert isinstance(at.rule, PairStdp)
    return at.rule


class StdpLearnLayout(LearnLayout):
    """Lanes are told the presynaptic trace less its target, and whether the neuron fired."""

    held = ("punished",)

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry) -> None:
        self._target = stdp_rule(at).presynaptic_target
        shape = signed(signed_bits(-2 * self._target, at.trace_max))
        super().__init__(at, geometry, excess_bits=5, own={
            # Trace less target, and less twice the target; whether the presynaptic neuron fired.
            "traces": data.ArrayLayout(shape, geometry.unroll),
            "heavy_traces": data.ArrayLayout(shape, geometry.unroll),
            "spiked": geometry.unroll,
            "punished": 1,
            # After `take`: measure the room the loaded weights have left.
            "aim": 1,
        })

    def encode(self, place: int, *, trace: Value, spiked: Value, beyond: Value | None) -> dict[tuple[str, int], Value]:
        """Past the last step postsynaptic trains hold anything."""
        within = 1 if beyond is None else ~beyond
        return {("traces", place): Mux(within, trace - self._target, 0),
                ("heavy_traces", place): Mux(within, trace - 2 * self._target, 0),
                ("spiked", place): spiked if beyond is None else spiked & ~beyond}


class StdpLanes(LaneRule):
    """Postsynaptic trains, sums over pairs of spikes, and sums of weights.

    Throughput: a learning step per clock. Adders: K of a weight sum; 2 x unroll x K of a trace's width (more with
    depression by postsynaptic traces). No multiplier. Memory: per neuron T bits of spike train; folded, also a weight
    sum.
    """

    @property
    def _stdp(self) -> PairStdp:
        return stdp_rule(self._at)

    def layer_ports(self) -> tuple[str, ...]:
        """Nothing but what every rule has."""
        return ()

    @classmethod
    def size_bits(cls, at: PlacedLayer) -> int:
        """Width of a pair sum without its sign."""
        low, high = at.correlation_range
        return unsigned_bits(max(-low, high))

    def _learn_layout(self) -> LearnLayout:
        return StdpLearnLayout(self._at, self._geometry)

    def _tag(self) -> TagLayout:
        return TagLayout(self._geometry, (), {})

    def _own_ports(self) -> dict[str, Any]:
        if not self._stdp.weight_sum:
            return {}
        # What the weights of the neuron being served come to.
        return {"lane": In(bits_for_index(self._geometry.lanes_per_group)),
                "served_sum": Out(weight_sum_bits(self._at))}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        heavy: list[Value] = []
        if self._stdp.weight_sum:
            sums, heavy = self._weight_sums(m)
            m.d.comb += self.served_sum.eq(self._served_sum(m, sums))
        changes = self._pair_sums(m, self._trains(m), heavy)
        for change, (magnitude, carry, negative) in zip(self.changes, changes, strict=True):
            m.d.comb += [change.magnitude.eq(magnitude), change.carry.eq(carry), change.negative.eq(negative),
                         change.active.eq(1)]
        return m

    def _served_sum(self, m: Module, sums: list[Value]) -> Value:
        """Out of the sums of the fold that is being served, not of the one that arrives."""
        if self._geometry.folds == 1:
            return Array(sums)[self.lane]
        held = [Signal.like(total, name=f"held_sum_{index}", reset_less=True) for index, total in enumerate(sums)]
        with m.If(self.starting):
            m.d.sync += [copy.eq(total) for copy, total in zip(held, sums, strict=True)]
        return Array(held)[self.lane]

    def _weight_sums(self, m: Module) -> tuple[list[Value], list[Value]]:
        """Sums of the weights, kept up as rows are written, and who is above the wanted sum.

        An update writes all rows anew, so who is heavy is remembered from before (SETTLE). Returns the sums
        of the fold that arrives, and who is heavy in the fold that learns.
        """
        at, lanes, folds = self._at, self._geometry.lanes_per_group, self._geometry.folds
        leaf, arriving, loaded = self.leaf, self.arriving, [self.loaded[lane] for lane in range(lanes)]
        shape = unsigned(weight_sum_bits(at))
        writing = leaf.kind == SlotKind.WRITE
        settling = arriving.kind == SlotKind.SETTLE
        if folds == 1:
            sums = [Signal(shape, name=f"sum_{lane}", reset_less=True) for lane in range(lanes)]
            heavy = [Signal(name=f"heavy_{lane}", reset_less=True) for lane in range(lanes)]
            for total, weight, flag in zip(sums, loaded, heavy, strict=True):
                with m.If(writing):
                    m.d.sync += total.eq(Mux(leaf.first, 0, total) + weight)
                with m.If(settling):
                    m.d.sync += flag.eq(total > self._stdp.weight_sum)
            return sums, heavy
        layout = data.ArrayLayout(shape, lanes)
        m.submodules.weight_sums = stored = memory.Memory(shape=layout, depth=folds, init=[])
        m.submodules.heavies = heavies = memory.Memory(shape=lanes, depth=folds, init=[])
        put, add, get = stored.write_port(), stored.read_port(domain="comb"), stored.read_port(domain="comb")
        mark, marked = heavies.write_port(), heavies.read_port(domain="comb")
        m.d.comb += [add.addr.eq(leaf.fold), put.addr.eq(leaf.fold), put.en.eq(writing), get.addr.eq(arriving.fold),
                     mark.addr.eq(arriving.fold), mark.en.eq(settling), marked.addr.eq(self.learn.fold),
                     mark.data.eq(Cat(get.data[lane] > self._stdp.weight_sum for lane in range(lanes)))]
        m.d.comb += [put.data[lane].eq(Mux(leaf.first, 0, add.data[lane]) + loaded[lane]) for lane in range(lanes)]
        return [get.data[lane] for lane in range(lanes)], [marked.data[lane] for lane in range(lanes)]

    def _trains(self, m: Module) -> list[Value]:
        """Spike trains of the lanes: the step before is written with each STEP or SETTLE slot; `unroll` are read."""
        at, geometry = self._at, self._geometry
        arriving, learn = self.arriving, self.learn
        lanes, folds, unroll = geometry.lanes_per_group, geometry.folds, geometry.unroll
        before = Signal(bits_for_index(at.steps))
        m.d.comb += before.eq(Mux(arriving.kind == SlotKind.SETTLE, at.steps, arriving.step) - 1)
        block, part = split_step(m, before, at.steps, unroll)
        writing = ((arriving.kind == SlotKind.STEP) & ~arriving.first) | (arriving.kind == SlotKind.SETTLE)
        mine = arriving.won & (arriving.winner_group == self._index) & (arriving.winner_fold == arriving.fold)
        words = []
        for place in range(unroll):
            trains = memory.Memory(shape=lanes, depth=max(2, folds * geometry.blocks(at.steps)), init=[])
            m.submodules[f"trains_{place}"] = trains
            put, get = trains.write_port(), trains.read_port(domain="comb")
            m.d.comb += [
                put.addr.eq(self._place(m, arriving.fold, block)), put.en.eq(writing & (part == place)),
                put.data.eq(Mux(mine, 1 << arriving.winner_lane, 0)),
                get.addr.eq(self._place(m, learn.fold, learn.block)),
            ]
            words.append(get.data)  # places past the last step are never written; their traces are sent as zero
        return words

    def _place(self, m: Module, fold: Value, block: Value) -> Value:
        folds, blocks = self._geometry.folds, self._geometry.blocks(self._at.steps)
        return block if folds == 1 else table(m, fold, folds, blocks) + block

    def _pair_sums(self, m: Module, trains: list[Value], heavy: list[Value]) -> list[tuple[Signal, Signal, Signal]]:
        """Sums over pairs of spikes, their serial shift by the rate and by the room left."""
        at, geometry, stdp, learn = self._at, self._geometry, self._stdp, self.learn
        lanes, unroll = geometry.lanes_per_group, geometry.unroll
        low, high = at.correlation_range
        shape = signed(signed_bits(low, high))
        size_shape = unsigned(self.size_bits(at))
        changes = []
        for lane in range(lanes):
            gain: Value | int = 0
            for place in range(unroll):
                trace = learn.traces[place]
                if heavy:
                    trace = Mux(heavy[lane], learn.heavy_traces[place], trace)
                gain = gain + Mux(trains[place][lane], trace << stdp.gain_shift, 0)
            if stdp.depression_shift is not None:
                gain = gain - self._depression(m, lane, trains)
            total = Signal(shape, name=f"pair_sum_{lane}", reset_less=True)
            with m.If(learn.correlate):
                m.d.sync += total.eq(Mux(learn.fresh, 0, total) + gain)
            shifted = Signal(size_shape, name=f"shifted_{lane}", reset_less=True)
            carry = Signal(name=f"carry_{lane}", reset_less=True)
            negative = Signal(name=f"negative_{lane}", reset_less=True)
            deficit = Signal(range(at.formats.weight_fraction + 1), name=f"deficit_{lane}", reset_less=True)
            small = (learn.excess < deficit) if stdp.bounds is Bounds.SOFT else 0
            with m.If(learn.take):
                m.d.sync += [shifted.eq(Mux(total < 0, -total, total)), carry.eq(0),
                             negative.eq((total < 0) ^ learn.punished)]
            with m.Elif(learn.shift & (learn.everyone | small)):
                shift_rounding(m, value=shifted, carry=carry,
                               random=learn.random if at.rounds_at_random else None)
            if stdp.bounds is Bounds.SOFT:
                with m.If(learn.aim):
                    m.d.sync += deficit.eq(self._deficit(m, lane, self.loaded[lane], negative))
            changes.append((shifted, carry, negative))
        return changes

    def _depression(self, m: Module, lane: int, trains: list[Value]) -> Value:
        """Postsynaptic trace of the lane, rebuilt from its train, where the presynaptic neuron fired."""
        at, learn = self._at, self.learn
        state = Signal(range(at.trace_max + 1), name=f"after_{lane}", reset_less=True)
        value: Value = Signal(range(at.trace_max + 1), name=f"after_start_{lane}")
        m.d.comb += value.eq(Mux(learn.fresh, 0, state))
        total: Value | int = 0
        for place, train in enumerate(trains):
            following = Signal(range(at.trace_max + 1), name=f"after_{lane}_{place}")
            m.d.comb += following.eq(leak(value, at.rule.trace_leak_shift) + (train[lane] << at.rule.trace_fraction))
            total = total + Mux(learn.spiked[place], following, 0)
            value = following
        with m.If(learn.correlate):
            m.d.sync += state.eq(value)
        return Value.cast(total)

    def _deficit(self, m: Module, lane: int, weight: Signal, negative: Value) -> Value:
        """Leading zeros of the room left, of F bits: a weight's own on its way down, its complement's up."""
        fraction = self._at.formats.weight_fraction
        room = Signal(fraction, name=f"room_{lane}")
        count = Signal(range(fraction + 1), name=f"leading_{lane}")
        m.d.comb += [room.eq(Mux(negative, weight[:fraction], ~weight[:fraction])), count.eq(fraction)]
        for bit in range(fraction):
            with m.If(room[bit]):
                m.d.comb += count.eq(fraction - 1 - bit)
        return count

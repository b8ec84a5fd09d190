"""A group of lanes that learns by spike-timing-dependent plasticity, and its share of the competition.

The membrane unit of :class:`lifstream.hdl.lanes.DesireLanes`, with the reset put off: who fires is known only when all
neurons of the layer have been compared, so reset and inhibition are applied when a potential is next read::

    slot -> potential, adaptive threshold, weight sum of a neuron
         -> threshold -> reset or inhibit -> leak -> add current -> clamp -> above threshold? -> best of the group
                |                                      |
                +-> rises if it won -> written         +-> written
"""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.spec import Bounds, NetworkSpec, Rounding, StdpSpec, signed_bits, unsigned_bits
from lifstream.hdl.arithmetic import leak, saturate, shift_rounding
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.lanes import Change, LaneGroup, SlotKind, SlotLayout, split_step, table

__all__ = ["CandidateLayout", "PlasticLanes", "PlasticLearnLayout", "PlasticSlotLayout", "adaptive_bits"]

_STAGES = 7
"""Registers between a neuron's state being read and its distance from the threshold being compared."""


def adaptive_bits(spec: NetworkSpec, layer: int) -> int:
    """Width of an adaptive threshold."""
    return unsigned_bits(spec.adaptive_threshold_max(layer))


def _sum_bits(spec: NetworkSpec, layer: int) -> int:
    """Width of the sum of a neuron's weights."""
    return unsigned_bits(spec.sizes[layer] * (spec.one - 1))


class CandidateLayout(data.StructLayout):
    """The neuron of a group, or of several, that is highest above its threshold, if any has reached it."""

    def __init__(self, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        super().__init__({
            "valid": 1,
            "above": spec.membrane_bits(layer),
            # In this order of significance: neurons ascend with fold, then lane, then group.
            "fold": bits_for_index(geometry.folds),
            "lane": bits_for_index(geometry.lanes_per_group),
            "group": bits_for_index(geometry.groups),
        })


class PlasticSlotLayout(SlotLayout):
    """A slot that also says who fired in the step before."""

    def __init__(self, spec: NetworkSpec, geometry: LayerGeometry) -> None:
        super().__init__(spec, geometry, {
            "won": 1,               # STEP, SETTLE: a neuron did
            "winner_fold": bits_for_index(geometry.folds),
            "winner_lane": bits_for_index(geometry.lanes_per_group),
            "winner_group": bits_for_index(geometry.groups),
            "begin": 1,             # STEP: the step's first fold
        })


class PlasticLearnLayout(data.StructLayout):
    """One clock's learning work for all groups of a layer."""

    def __init__(self, spec: NetworkSpec, geometry: LayerGeometry) -> None:
        assert spec.stdp is not None
        shape = signed(signed_bits(-2 * spec.stdp.presynaptic_target, spec.trace_max))
        super().__init__({
            # Accumulate the pair sums of `fold` over `unroll` steps; `fresh` starts from zero.
            "correlate": 1,
            "fresh": 1,
            "fold": bits_for_index(geometry.folds),
            "block": bits_for_index(geometry.blocks(spec.steps)),
            # Trace less target, and less twice the target; whether the presynaptic neuron fired.
            "traces": data.ArrayLayout(shape, geometry.unroll),
            "heavy_traces": data.ArrayLayout(shape, geometry.unroll),
            "spiked": geometry.unroll,
            "punished": 1,
            # Take the sums over for shifting; then aim: measure the room the loaded weights have left.
            "take": 1,
            "aim": 1,
            # Shift by one bit: everyone, or those whose deficit is above `excess`.
            "shift": 1,
            "everyone": 1,
            "excess": 5,
            "shift_fold": bits_for_index(geometry.folds),
            **({"random": 1} if spec.rounding is Rounding.STOCHASTIC else {}),
            "apply": 1,
        })


class PlasticLanes(LaneGroup):
    """A group of competing neurons.

    Latency beyond :class:`lifstream.hdl.lanes.LaneGroup`: ``K x folds + 9`` clocks from a step's first STEP slot to the
    group's candidate. Adders: 9 of the membrane's width; K of a weight sum; 2 x unroll x K of a trace's width
    (more with depression by postsynaptic traces). No multiplier.
    Memory: per neuron a membrane potential, an adaptive threshold, T bits of spike train; folded, also a weight sum.

    Parameters
    ----------
    spec, layer, geometry
        As for :class:`lifstream.hdl.lanes.LaneGroup`.
    index
        Number of the group in its layer.
    """

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry, index: int) -> None:
        self._index = index
        super().__init__(spec=spec, layer=layer, geometry=geometry)

    def _slot_layout(self) -> SlotLayout:
        return PlasticSlotLayout(self._spec, self._geometry)

    def _learn_layout(self) -> data.StructLayout:
        return PlasticLearnLayout(self._spec, self._geometry)

    def _own_members(self) -> dict[str, object]:
        spec, geometry = self._spec, self._geometry
        adaptive = adaptive_bits(spec, self._layer)
        address = bits_for_index(geometry.folds * geometry.lanes_per_group)
        return {
            # Adaptive thresholds by address, fold-major: write, and read with 2 clocks of latency.
            "adapt": In(data.StructLayout({"enable": 1, "address": address, "value": adaptive})),
            "adapted": Out(adaptive),
            "candidate": Out(CandidateLayout(spec, self._layer, geometry)),
            "candidate_ready": Out(1),  # pulse: it is the step's
        }

    @property
    def _stdp(self) -> StdpSpec:
        assert self._spec.stdp is not None
        return self._spec.stdp

    @property
    def _real(self) -> int:
        """Addresses of this group that are neurons; the others, at the end, are padding."""
        geometry = self._geometry
        addresses = range(geometry.folds * geometry.lanes_per_group)
        return sum(address * geometry.groups + self._index < geometry.n_out for address in addresses)

    def _rule(self, m: Module, leaf: Signal, arriving: Signal, row: Signal, current: Array, learn: Signal,
              loaded: list[Signal]) -> list[Change]:
        sums, heavy = self._weight_sums(m, leaf, arriving, loaded, learn.fold)
        self._membrane_unit(m, arriving, current, sums)
        trains = self._trains(m, arriving, learn)
        return self._pair_sums(m, learn, trains, heavy, loaded)

    def _weight_sums(self, m: Module, leaf: Signal, arriving: Signal, loaded: list[Signal],
                     learn_fold: Value) -> tuple[list[Value] | None, list[Value]]:
        """Sums of the weights, kept up as rows are written, and who is above the wanted sum.

        An update writes all rows anew, so who is heavy is remembered from before (SETTLE). Returns the sums
        of the fold that arrives, and who is heavy in the fold that learns.
        """
        spec, lanes, folds = self._spec, self._geometry.lanes_per_group, self._geometry.folds
        if not self._stdp.weight_sum:
            return None, []
        shape = unsigned(_sum_bits(spec, self._layer))
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
                     mark.addr.eq(arriving.fold), mark.en.eq(settling), marked.addr.eq(learn_fold),
                     mark.data.eq(Cat(get.data[lane] > self._stdp.weight_sum for lane in range(lanes)))]
        m.d.comb += [put.data[lane].eq(Mux(leaf.first, 0, add.data[lane]) + loaded[lane]) for lane in range(lanes)]
        return [get.data[lane] for lane in range(lanes)], [marked.data[lane] for lane in range(lanes)]

    def _membrane_unit(self, m: Module, arriving: Signal, current: Array, sums: list[Value] | None) -> None:
        """Membrane potentials and thresholds, one neuron per clock, and the best of the group."""
        spec, layer, geometry, stdp = self._spec, self._layer, self._geometry, self._stdp
        lanes, folds = geometry.lanes_per_group, geometry.folds
        addresses = folds * lanes
        starting = (arriving.kind == SlotKind.STEP) | (arriving.kind == SlotKind.SETTLE)
        busy = Signal()
        lane = Signal(bits_for_index(lanes))
        serving = Signal(self._slot_layout())
        with m.If(starting):
            m.d.sync += [busy.eq(1), lane.eq(0), serving.eq(arriving)]
        with m.Elif(lane == lanes - 1):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += lane.eq(lane + 1)
        served_sum: Value | int = 0
        if sums is not None and folds == 1:
            served_sum = Array(sums)[lane]
        elif sums is not None:  # the sums of the fold served, not of the one that arrives
            held = Array(Signal.like(total, name=f"held_sum_{index}", reset_less=True)
                         for index, total in enumerate(sums))
            with m.If(starting):
                m.d.sync += [copy.eq(total) for copy, total in zip(held, sums, strict=True)]
            served_sum = held[lane]

        low, high = spec.membrane_range(layer)
        membrane = signed(spec.membrane_bits(layer))
        adaptive = unsigned(adaptive_bits(spec, layer))
        lowest = stdp.threshold_base - stdp.weight_sum
        highest = spec.adaptive_threshold_max(layer) + spec.sizes[layer] * (spec.one - 1) + stdp.threshold_base
        threshold = signed(signed_bits(lowest, highest))
        wide = signed(max(threshold.width, membrane.width, signed_bits(0, stdp.inhibition)) + 1)
        summed = signed(max(wide.width, spec.current_bits(layer)) + 1)
        flags = data.StructLayout({
            "address": bits_for_index(addresses), "lane": bits_for_index(lanes), "fold": bits_for_index(folds),
            "settle": 1, "write": 1, "real": 1, "begin": 1, "last": 1, "winner": 1, "inhibited": 1, "rises": 1})
        valid = [Signal(name=f"valid_{stage}") for stage in range(_STAGES)]
        tags = [Signal(flags, name=f"tag_{stage}", reset_less=True) for stage in range(_STAGES)]
        for pipeline in (valid, tags):
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(pipeline)]

        m.submodules.potentials = potentials = memory.Memory(shape=membrane, depth=max(2, addresses), init=[])
        m.submodules.adaptives = adaptives = memory.Memory(shape=adaptive, depth=max(2, addresses), init=[])
        recall, store = potentials.read_port(domain="comb"), potentials.write_port()
        remind, adapt = adaptives.read_port(domain="comb"), adaptives.write_port()
        address = Signal(bits_for_index(addresses))
        settling = serving.kind == SlotKind.SETTLE
        # A sample's first step starts from nothing; at its end the last winner is still to be told (SETTLE).
        told = serving.won & (settling | ~serving.first)
        here = told & (serving.winner_group == self._index) & (serving.winner_fold == serving.fold) \
            & (serving.winner_lane == lane)
        m.d.comb += [
            address.eq(lane if folds == 1 else table(m, serving.fold, folds, lanes) + lane),
            recall.addr.eq(address),
            remind.addr.eq(Mux(busy, address, self.adapt.address)),
        ]
        final = (lane == lanes - 1) & (serving.fold == folds - 1)
        remembered, selected = Signal(membrane, reset_less=True), Signal(current[0].shape(), reset_less=True)
        known, weight_sum = Signal(adaptive, reset_less=True), Signal.like(Value.cast(served_sum), reset_less=True)
        m.d.sync += [
            valid[0].eq(busy),
            tags[0].address.eq(address), tags[0].lane.eq(lane), tags[0].fold.eq(serving.fold),
            tags[0].settle.eq(settling), tags[0].write.eq(serving.learn), tags[0].real.eq(address < self._real),
            tags[0].begin.eq(serving.begin & (lane == 0)), tags[0].last.eq(final & ~settling),
            tags[0].winner.eq(here), tags[0].inhibited.eq(told & ~here), tags[0].rises.eq(here & serving.learn),
            remembered.eq(Mux(serving.first & ~settling, 0, recall.data)),
            selected.eq(current[lane]),
            known.eq(remind.data),
            weight_sum.eq(served_sum),
            self.adapted.eq(remind.data),
        ]

        def carried(signal: Signal, stages: int) -> Signal:
            for stage in range(stages):
                following = Signal.like(signal, name=f"{signal.name}_{stage}")
                m.d.sync += following.eq(signal)
                signal = following
            return signal

        # 1: base, adaptive part and weight sum. 2: as it was when it fired, and as it is now.
        total = Signal(threshold, reset_less=True)
        m.d.sync += total.eq(known + weight_sum + (stdp.threshold_base - stdp.weight_sum))
        then, now = Signal(threshold, reset_less=True), Signal(threshold, reset_less=True)
        risen = Signal(threshold)
        m.d.comb += risen.eq(total + Mux(tags[1].rises, stdp.threshold_rise, 0))
        m.d.sync += [then.eq(Mux(total < 1, 1, total)), now.eq(Mux(risen < 1, 1, risen))]
        # 3: reset or inhibit. 4: leak. 5: add. 6: clamp.
        after, leaked = Signal(wide, reset_less=True), Signal(wide, reset_less=True)
        added, integrated = Signal(summed, reset_less=True), Signal(membrane, reset_less=True)
        lost = Signal(wide)
        m.d.comb += lost.eq(Mux(tags[2].winner, then, Mux(tags[2].inhibited, stdp.inhibition, 0)))
        m.d.sync += [
            after.eq(carried(remembered, 2) - lost),
            leaked.eq(leak(after, spec.leak_shift)),
            added.eq(leaked + carried(selected, 4)),
            integrated.eq(saturate(added, low, high)),
        ]
        # The adaptive part rises, and leaks when the sample is over.
        grown, decayed = Signal(adaptive, reset_less=True), Signal(adaptive, reset_less=True)
        m.d.sync += [
            grown.eq(carried(known, 1) + Mux(tags[1].rises, stdp.threshold_rise, 0)),
            decayed.eq(grown - Mux(tags[2].settle, grown >> stdp.threshold_leak_shift, 0)),
        ]
        m.d.comb += [
            store.addr.eq(tags[6].address), store.data.eq(integrated), store.en.eq(valid[6] & ~tags[6].settle),
            self.membrane.eq(integrated), self.slice_valid.eq(valid[6] & ~tags[6].settle),
            adapt.addr.eq(Mux(self.adapt.enable, self.adapt.address, tags[3].address)),
            adapt.data.eq(Mux(self.adapt.enable, self.adapt.value, decayed)),
            adapt.en.eq(self.adapt.enable | (valid[3] & tags[3].write)),
        ]
        # 7: the highest above its threshold, the first of equals.
        best = self.candidate
        above = Signal(wide)
        m.d.comb += above.eq(integrated - carried(now, 4))
        better = (above >= 0) & tags[6].real & (tags[6].begin | ~best.valid | (above > best.above))
        m.d.comb += best.group.eq(self._index)
        with m.If(valid[6] & ~tags[6].settle):
            with m.If(better):
                m.d.sync += [best.valid.eq(1), best.above.eq(above), best.lane.eq(tags[6].lane),
                             best.fold.eq(tags[6].fold)]
            with m.Elif(tags[6].begin):
                m.d.sync += best.valid.eq(0)
        m.d.sync += self.candidate_ready.eq(valid[6] & tags[6].last)

    def _trains(self, m: Module, arriving: Signal, learn: Signal) -> list[Value]:
        """Spike trains of the lanes: the step before is written with each STEP or SETTLE slot; `unroll` are read."""
        spec, geometry = self._spec, self._geometry
        lanes, folds, unroll = geometry.lanes_per_group, geometry.folds, geometry.unroll
        before = Signal(bits_for_index(spec.steps))
        m.d.comb += before.eq(Mux(arriving.kind == SlotKind.SETTLE, spec.steps, arriving.step) - 1)
        block, part = split_step(m, before, spec.steps, unroll)
        writing = ((arriving.kind == SlotKind.STEP) & ~arriving.first) | (arriving.kind == SlotKind.SETTLE)
        mine = arriving.won & (arriving.winner_group == self._index) & (arriving.winner_fold == arriving.fold)
        words = []
        for place in range(unroll):
            trains = memory.Memory(shape=lanes, depth=max(2, folds * geometry.blocks(spec.steps)), init=[])
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
        folds, blocks = self._geometry.folds, self._geometry.blocks(self._spec.steps)
        return block if folds == 1 else table(m, fold, folds, blocks) + block

    def _pair_sums(self, m: Module, learn: Signal, trains: list[Value], heavy: list[Value],
                   loaded: list[Signal]) -> list[Change]:
        """Sums over pairs of spikes, their serial shift by the rate and by the room left."""
        spec, geometry, stdp = self._spec, self._geometry, self._stdp
        lanes, unroll = geometry.lanes_per_group, geometry.unroll
        low, high = spec.correlation_range
        shape = signed(signed_bits(low, high))
        size_shape = unsigned(unsigned_bits(max(-low, high)))
        changes = []
        for lane in range(lanes):
            gain: Value | int = 0
            for place in range(unroll):
                trace = learn.traces[place]
                if heavy:
                    trace = Mux(heavy[lane], learn.heavy_traces[place], trace)
                gain = gain + Mux(trains[place][lane], trace << stdp.gain_shift, 0)
            if stdp.depression_shift is not None:
                gain = gain - self._depression(m, learn, lane, trains)
            total = Signal(shape, name=f"pair_sum_{lane}", reset_less=True)
            with m.If(learn.correlate):
                m.d.sync += total.eq(Mux(learn.fresh, 0, total) + gain)
            shifted = Signal(size_shape, name=f"shifted_{lane}", reset_less=True)
            carry = Signal(name=f"carry_{lane}", reset_less=True)
            negative = Signal(name=f"negative_{lane}", reset_less=True)
            deficit = Signal(range(spec.weight_fraction + 1), name=f"deficit_{lane}", reset_less=True)
            small = (learn.excess < deficit) if stdp.bounds is Bounds.SOFT else 0
            with m.If(learn.take):
                m.d.sync += [shifted.eq(Mux(total < 0, -total, total)), carry.eq(0),
                             negative.eq((total < 0) ^ learn.punished)]
            with m.Elif(learn.shift & (learn.everyone | small)):
                shift_rounding(m, value=shifted, carry=carry,
                               random=learn.random if spec.rounding is Rounding.STOCHASTIC else None)
            if stdp.bounds is Bounds.SOFT:
                with m.If(learn.aim):
                    m.d.sync += deficit.eq(self._deficit(m, lane, loaded[lane], negative))
            changes.append(Change(shifted, carry, negative, 1))
        return changes

    def _depression(self, m: Module, learn: Signal, lane: int, trains: list[Value]) -> Value:
        """Postsynaptic trace of the lane, rebuilt from its train, where the presynaptic neuron fired."""
        spec = self._spec
        state = Signal(range(spec.trace_max + 1), name=f"after_{lane}", reset_less=True)
        value: Value = Signal(range(spec.trace_max + 1), name=f"after_start_{lane}")
        m.d.comb += value.eq(Mux(learn.fresh, 0, state))
        total: Value | int = 0
        for place, train in enumerate(trains):
            following = Signal(range(spec.trace_max + 1), name=f"after_{lane}_{place}")
            m.d.comb += following.eq(leak(value, spec.leak_shift) + (train[lane] << spec.trace_fraction))
            total = total + Mux(learn.spiked[place], following, 0)
            value = following
        with m.If(learn.correlate):
            m.d.sync += state.eq(value)
        return Value.cast(total)

    def _deficit(self, m: Module, lane: int, weight: Signal, negative: Value) -> Value:
        """Leading zeros of the room left, of F bits: a weight's own on its way down, its complement's up."""
        fraction = self._spec.weight_fraction
        room = Signal(fraction, name=f"room_{lane}")
        count = Signal(range(fraction + 1), name=f"leading_{lane}")
        m.d.comb += [room.eq(Mux(negative, weight[:fraction], ~weight[:fraction])), count.eq(fraction)]
        for bit in range(fraction):
            with m.If(room[bit]):
                m.d.comb += count.eq(fraction - 1 - bit)
        return count

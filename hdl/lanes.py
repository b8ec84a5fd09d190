"""A group of synaptic lanes: weight memory, current accumulators, one shared membrane unit, learning.

This is the datapath of a neuron. Control comes as *slots* and *learning steps*, one of each per
clock, that travel a fixed pipeline; nothing in a group ever stalls::

    slot -> leaf register -> weight memory -> row register -> accumulate
                                ^                |                 | STEP: current <- accumulator
                                |                |                 v
                                |                |  select current, read membrane -> add -> clamp
                                |                |     -> fire, reset -> leak, write membrane
                                |                |              |            one neuron per clock
                                |                |              v
                                |                |      spike, eligibility history
                                |                |              |
                                |  BACK: x desire, sum -> weighted sum of the group's desires
                                |                |              |
                                |          HOLD: |              v
                                +--- WRITE --- loaded <- +/- shifted <- correlation <- trace

Nothing passes from group to group: a layer is as wide as one likes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.spec import (
    DESIRE_EXPONENT_MIN,
    Eligibility,
    Magnitude,
    NetworkSpec,
    Overflow,
    Phase,
    Rounding,
    signed_bits,
    unsigned_bits,
)
from lifstream.hdl.arithmetic import add_rounded, leak, saturate, shift_rounding
from lifstream.hdl.events import EventKind, bits_for_index, magnitude_bits
from lifstream.hdl.geometry import LayerGeometry

__all__ = ["Change", "DesireLanes", "LaneGroup", "LearnLayout", "SlotKind", "SlotLayout", "correlation_bits",
           "split_step", "table", "weighted_sum_bits"]

_MEMBRANE_STAGES = 4
"""Registers between a membrane potential being read and its successor being written."""

DEFICIT_MAX = -DESIRE_EXPONENT_MIN


def _depth(words: int) -> int:
    """At least two words: the address of a single word would have no bits."""
    return max(2, words)


def correlation_bits(spec: NetworkSpec) -> int:
    """Width of a correlation: the trace at its maximum on every step."""
    return unsigned_bits(spec.correlation_range[1])


def weighted_sum_bits(spec: NetworkSpec, terms: int) -> int:
    """Width of the sum of ``terms`` weights times magnitudes."""
    magnitude = DEFICIT_MAX if spec.magnitude is Magnitude.GRADED else spec.count_bits
    return spec.weight_bits + magnitude + (terms - 1).bit_length() + 1


class SlotKind(enum.Enum, shape=3):
    """What the groups of a layer do with a slot."""

    IDLE = 0
    """Nothing."""
    SPIKE = 1
    """Add the weight row to the accumulators of ``fold``."""
    STEP = 2
    """Hand the accumulators of ``fold`` to the membrane unit, and clear them."""
    CLEAR = 3
    """Clear the accumulators of ``fold``."""
    WRITE = 4
    """Write the loaded weights to the row."""
    HOLD = 5
    """Load the weights from the row."""
    BACK = 6
    """Sum the row's weights times the desires of ``fold``."""
    SETTLE = 7
    """Let the adaptive thresholds of ``fold`` rise and leak."""


class SlotLayout(data.StructLayout):
    """One clock's work for all groups of a layer."""

    def __init__(self, spec: NetworkSpec, geometry: LayerGeometry, own: dict[str, int] | None = None) -> None:
        super().__init__({
            "kind": SlotKind,
            "row": bits_for_index(geometry.rows),
            "fold": bits_for_index(geometry.folds),
            "first": 1,             # STEP: the sample's first step, the membrane starts at zero
            "learn": 1,             # STEP: a sample to learn from
            "masks": 1,             # STEP: which of the two sets of dropout masks is in force
            "step": bits_for_index(spec.steps),  # STEP: index of the step
            "marker": EventKind,    # STEP: marker that follows the fold's last neuron
            "last": 1,              # BACK: the row's last fold
            **(own or {}),
        })


class LearnLayout(data.StructLayout):
    """One clock's learning work for all groups of a layer: any of three things at once."""

    def __init__(self, spec: NetworkSpec, geometry: LayerGeometry) -> None:
        super().__init__({
            # Accumulate the correlations of `fold` over `unroll` steps; `fresh` starts from zero.
            "correlate": 1,
            "fresh": 1,
            "fold": bits_for_index(geometry.folds),
            "block": bits_for_index(geometry.blocks(spec.steps)),
            "traces": data.ArrayLayout(unsigned(unsigned_bits(spec.trace_max)), geometry.unroll),
            # Take the correlations over for shifting, with the desires of `shift_fold`.
            "take": 1,
            # Shift by one bit: everyone, or those whose deficit is above `excess`.
            "shift": 1,
            "everyone": 1,
            "excess": 4,
            "shift_fold": bits_for_index(geometry.folds),
            # The next bit of the row's random word, for stochastic rounding.
            **({"random": 1} if spec.rounding is Rounding.STOCHASTIC else {}),
            # Add to the loaded weights, rounded and saturated.
            "apply": 1,
        })


class Change(NamedTuple):
    """A lane's weight change: ``magnitude + carry``, its sign, and whether there is one."""

    magnitude: Signal
    carry: Signal
    negative: Value
    active: Value


class LaneGroup(wiring.Component):
    """``K`` lanes with their weights, for every fold, and what they share; a derived class adds a rule's part.

    Latency: 4 clocks from a slot to the accumulators. Throughput: one slot and one learning step per
    clock; a STEP slot must not follow another within :meth:`step_interval` clocks.
    Adders: K accumulators of the current's width, K of the weight's. Memory: ``rows x K x W`` bits of weights;
    folded, also ``folds x K`` currents.

    Parameters
    ----------
    spec
        The numeric contract.
    layer
        Index of the layer.
    geometry
        Its folding.
    """

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        self._spec, self._layer, self._geometry = spec, layer, geometry
        super().__init__({
            "slot": In(self._slot_layout()),
            "learn": In(self._learn_layout()),
            "load": In(data.StructLayout({"enable": 1, "weight": signed(spec.weight_bits)})),
            "unload": Out(signed(spec.weight_bits)),
            "slice_valid": Out(1),
            "membrane": Out(signed(spec.membrane_bits(layer))),
            **self._own_members(),
        })

    def _slot_layout(self) -> SlotLayout:
        return SlotLayout(self._spec, self._geometry)

    def _learn_layout(self) -> data.StructLayout:
        raise NotImplementedError

    def _own_members(self) -> dict[str, object]:
        raise NotImplementedError

    @staticmethod
    def step_interval(geometry: LayerGeometry) -> int:
        """Clocks between two STEP slots: every lane is served, and no membrane is read too early."""
        return max(geometry.lanes_per_group, -(-(_MEMBRANE_STAGES + 1) // geometry.folds))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, geometry = self._spec, self._geometry
        weight_shape = signed(spec.weight_bits)
        lanes = geometry.lanes_per_group

        # -- slot pipeline and weight memory -----------------------------------------------------
        m.submodules.weights = weights = memory.Memory(
            shape=data.ArrayLayout(weight_shape, lanes), depth=_depth(geometry.rows), init=[])
        write = weights.write_port()
        read = weights.read_port()
        # Without reset of their own: what the layer sends is reset, for longer than they take to pass it on.
        leaf, reading, arriving = (Signal(self._slot_layout(), name=name, reset_less=True)
                                   for name in ("leaf", "reading", "arriving"))
        m.d.sync += [leaf.eq(self.slot), reading.eq(leaf), arriving.eq(reading)]
        # What arrives, decoded a clock before: it goes to all lanes.
        self._adding, self._stepping, self._clearing, self._holding = (
            Signal(name=f"arriving_{name}", reset_less=True) for name in ("spike", "step", "clear", "hold"))
        m.d.sync += [
            self._adding.eq(reading.kind == SlotKind.SPIKE), self._stepping.eq(reading.kind == SlotKind.STEP),
            self._clearing.eq((reading.kind == SlotKind.STEP) | (reading.kind == SlotKind.CLEAR)),
            self._holding.eq(reading.kind == SlotKind.HOLD),
        ]
        loaded = [Signal(weight_shape, name=f"loaded_{lane}", reset_less=True) for lane in range(lanes)]
        m.d.comb += [
            read.addr.eq(leaf.row),
            write.addr.eq(leaf.row),
            write.en.eq(leaf.kind == SlotKind.WRITE),
            write.data.eq(Cat(loaded)),
            # One slot either reads or writes, so a row is never read while it is written.
            read.en.eq(leaf.kind != SlotKind.WRITE),
            self.unload.eq(loaded[0]),
        ]
        row = Signal(data.ArrayLayout(weight_shape, lanes), reset_less=True)
        m.d.sync += row.eq(read.data)

        current = self._accumulate(m, arriving, row)
        learn = Signal(self._learn_layout(), name="learn_leaf", reset_less=True)
        m.d.sync += learn.eq(self.learn)
        changes = self._rule(m, leaf, arriving, row, current, learn, loaded)

        # -- weights on their way in and out, and their update -----------------------------------
        low, high = spec.plastic_range
        applied = Signal()
        m.d.sync += applied.eq(learn.apply)
        totals = []
        for lane, (stage, change) in enumerate(zip(loaded, changes, strict=True)):
            added = add_rounded(weight=stage, magnitude=change.magnitude, carry=change.carry,
                                negative=change.negative)
            total = Signal(added.shape(), name=f"total_{lane}", reset_less=True)
            changing = Signal(name=f"changing_{lane}", reset_less=True)
            m.d.sync += [total.eq(added), changing.eq(change.active)]
            totals.append((stage, total, changing))
        with m.If(self.load.enable):
            m.d.sync += [stage.eq(source) for stage, source in
                         zip(loaded, [*loaded[1:], self.load.weight], strict=True)]
        with m.Elif(self._holding):
            m.d.sync += [stage.eq(row[lane]) for lane, stage in enumerate(loaded)]
        with m.Elif(applied):
            for stage, total, changing in totals:
                with m.If(changing):
                    m.d.sync += stage.eq(saturate(total, low, high))
        return m

    def _rule(self, m: Module, leaf: Signal, arriving: Signal, row: Signal, current: Array, learn: Signal,
              loaded: list[Signal]) -> list[Change]:
        """Membrane units and the sums of an update; returns the change of every lane's loaded weight."""
        raise NotImplementedError

    def _accumulate(self, m: Module, arriving: Signal, row: Signal) -> Array:
        """Synaptic currents: exact, so the order of events within a step has no effect."""
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        shape = signed(self._spec.current_bits(self._layer))
        adding, stepping, clearing = self._adding, self._stepping, self._clearing
        current = Array([Signal(shape, name=f"current_{lane}", reset_less=True) for lane in range(lanes)])
        if folds == 1:
            for lane in range(lanes):
                accumulator = Signal(shape, name=f"accumulator_{lane}", reset_less=True)
                with m.If(clearing):
                    m.d.sync += accumulator.eq(0)
                with m.Elif(adding):
                    m.d.sync += accumulator.eq(accumulator + row[lane])
                with m.If(stepping):
                    m.d.sync += current[lane].eq(accumulator)
        else:
            m.submodules.accumulators = accumulators = memory.Memory(
                shape=data.ArrayLayout(shape, lanes), depth=folds, init=[])
            put = accumulators.write_port()
            get = accumulators.read_port(domain="comb")
            m.d.comb += [get.addr.eq(arriving.fold), put.addr.eq(arriving.fold), put.en.eq(clearing | adding)]
            for lane in range(lanes):
                m.d.comb += put.data[lane].eq(Mux(clearing, 0, get.data[lane] + row[lane]))
                with m.If(stepping):
                    m.d.sync += current[lane].eq(get.data[lane])
        return current

class DesireLanes(LaneGroup):
    """A group that learns by desire backpropagation.

    Latency beyond :class:`LaneGroup`: 4 clocks from the currents to the first neuron's spike; 7 from a BACK slot to
    its sum. Adders: 3 of the membrane's width, K x unroll of the correlation's; where desires travel back, K of the
    weighted sum's. No multiplier with graded desires; with ternary ones, K of weight x spike count where they
    travel back. Memory: ``folds x K`` membrane potentials, ``folds x K x T`` bits of eligibility; folded, also
    ``folds x K`` desires. Hidden layers behind the first keep ``folds x K`` bits more: which neurons were
    eligible at all.
    """

    @property
    def _hidden(self) -> bool:
        return self._layer < self._spec.layers - 1

    def _learn_layout(self) -> LearnLayout:
        return LearnLayout(self._spec, self._geometry)

    def _own_members(self) -> dict[str, object]:
        spec, geometry = self._spec, self._geometry
        return {
            "desire": In(data.StructLayout({
                "enable": 1, "active": 1, "negative": 1, "magnitude": magnitude_bits(spec),
                "store": 1, "fold": bits_for_index(geometry.folds)})),
            "mask": In(data.StructLayout({
                "enable": 1, "kept": 1, "address": bits_for_index(2 * geometry.folds * geometry.lanes_per_group)})),
            "slice_marker": Out(EventKind),
            "spike": Out(1),
            "sum_valid": Out(1),
            "sum_last": Out(1),
            "sum": Out(signed(weighted_sum_bits(spec, geometry.lanes_per_group))),
        }

    def _rule(self, m: Module, leaf: Signal, arriving: Signal, row: Signal, current: Array, learn: Signal,
              loaded: list[Signal]) -> list[Change]:
        eligible, served, finished = self._membrane_unit(m, arriving, current)
        desires, shifted_desires = self._desires(m, arriving.fold, learn.shift_fold)
        change, heard = self._correlate(m, learn, shifted_desires, eligible, served, finished, arriving.fold)
        if self._layer > 0:
            self._back(m, arriving, row, desires, heard)
        return [Change(magnitude, carry, desire.negative, desire.active)
                for (magnitude, carry), desire in zip(change, shifted_desires, strict=True)]

    def _membrane_unit(self, m: Module, arriving: Signal, current: Array) -> tuple[Signal, data.View, Value]:
        """Membrane potentials, one neuron per clock.

        Returns the eligibility of the neuron just served, its tag (fold, step's place in the
        eligibility history), and whether it was the fold's last.
        """
        spec, layer, geometry = self._spec, self._layer, self._geometry
        lanes, folds, unroll = geometry.lanes_per_group, geometry.folds, geometry.unroll
        busy = Signal()
        lane = Signal(bits_for_index(lanes))
        serving = Signal(SlotLayout(spec, geometry), reset_less=True)
        with m.If(self._stepping):
            m.d.sync += [busy.eq(1), lane.eq(0), serving.eq(arriving)]
        with m.Elif(lane == lanes - 1):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += lane.eq(lane + 1)

        low, high = spec.membrane_range(layer)
        membrane_shape = signed(spec.membrane_bits(layer))
        current_shape = signed(spec.current_bits(layer))
        sum_shape = signed(max(membrane_shape.width, current_shape.width) + 1)
        tag = data.StructLayout({
            "address": bits_for_index(folds * lanes),
            "last": 1,
            "marker": EventKind,
            "masks": 1,
            "first": 1,
            "fold": bits_for_index(folds),
            "block": bits_for_index(folds * geometry.blocks(spec.steps)),
            "part": bits_for_index(unroll),
        })
        valid = [Signal(name=f"valid_{stage}") for stage in range(_MEMBRANE_STAGES)]
        tags = [Signal(tag, name=f"tag_{stage}", reset_less=True) for stage in range(_MEMBRANE_STAGES)]
        for pipeline in (valid, tags):
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(pipeline)]

        m.submodules.leaked = leaked = memory.Memory(shape=membrane_shape, depth=_depth(folds * lanes), init=[])
        recall = leaked.read_port(domain="comb")
        store = leaked.write_port()
        last = lane == lanes - 1
        m.d.comb += recall.addr.eq(lane if folds == 1 else table(m, serving.fold, folds, lanes) + lane)
        block, part = split_step(m, serving.step, spec.steps, unroll)
        m.d.sync += [
            valid[0].eq(busy),
            tags[0].address.eq(recall.addr),
            tags[0].last.eq(last),
            tags[0].marker.eq(Mux(last, serving.marker, EventKind.SPIKE)),
            tags[0].masks.eq(serving.masks),
            tags[0].first.eq(serving.first),
            tags[0].fold.eq(serving.fold),
            tags[0].block.eq(block if folds == 1 else
                             table(m, serving.fold, folds, geometry.blocks(spec.steps)) + block),
            tags[0].part.eq(part),
        ]

        selected = Signal(current_shape, reset_less=True)
        remembered = Signal(membrane_shape, reset_less=True)
        total = Signal(sum_shape, reset_less=True)
        integrated = Signal(membrane_shape, reset_less=True)
        m.d.sync += [
            selected.eq(current[lane]),
            remembered.eq(Mux(serving.first, 0, recall.data)),
            total.eq(remembered + selected),
        ]
        if spec.membrane_overflow is Overflow.SATURATE:
            m.d.sync += integrated.eq(saturate(total, low, high))
        else:
            m.d.sync += integrated.eq(total)

        # `learn` is constant while a sample is under way, so it need not travel with the tags.
        inference, training = (spec.threshold(layer, phase) for phase in Phase)
        threshold = Signal(range(inference + 1), reset_less=True)
        half = Signal(range(inference + 1), reset_less=True)
        m.d.sync += [threshold.eq(Mux(serving.learn, training, inference)),
                     half.eq(Mux(serving.learn, training >> 1, inference >> 1))]
        # A wide membrane may be too narrow to reach the threshold at all.
        above = Signal(signed(max(membrane_shape.width, signed_bits(0, inference)) + 1))
        m.d.comb += above.eq(integrated - threshold)
        fired = above >= 0
        if self._hidden and spec.dropout:
            m.submodules.masks = masks = memory.Memory(shape=1, depth=2 * folds * lanes, init=[])
            put = masks.write_port()
            get = masks.read_port(domain="comb")
            m.d.comb += [put.addr.eq(self.mask.address), put.data.eq(self.mask.kept), put.en.eq(self.mask.enable),
                         get.addr.eq(tags[2].address + Mux(tags[2].masks, folds * lanes, 0))]
            fired = fired & (get.data | ~serving.learn)
        after = Signal(membrane_shape, reset_less=True)
        eligible = Signal(reset_less=True)
        m.d.sync += [
            self.spike.eq(fired),
            self.membrane.eq(integrated),
            after.eq(Mux(fired, above, integrated)),
            eligible.eq(fired if spec.eligibility is Eligibility.SPIKE else integrated >= half),
        ]
        m.d.comb += [
            self.slice_valid.eq(valid[-1]),
            self.slice_marker.eq(tags[-1].marker),
            store.addr.eq(tags[-1].address),
            store.en.eq(valid[-1]),
            store.data.eq(leak(after, spec.leak_shift)),
        ]
        return eligible, tags[-1], valid[-1] & tags[-1].last

    def _desires(self, m: Module, fold: Value, shift_fold: Value) -> tuple[list[data.View], list[data.View]]:
        """Desires of the lanes of two folds: of the row that arrives, and of the one being shifted."""
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        layout = data.StructLayout({"active": 1, "negative": 1, "magnitude": magnitude_bits(self._spec)})
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
        views = []
        for address in (fold, shift_fold):
            get = desires.read_port(domain="comb")
            m.d.comb += get.addr.eq(address)
            views.append([get.data[lane] for lane in range(lanes)])
        return views[0], views[1]

    def _correlate(self, m: Module, learn: Signal, desires: list[data.View], eligible: Signal, served: data.View,
                   finished: Value, back_fold: Value) -> tuple[list[tuple[Signal, Signal]], Value]:
        """Eligibility history, correlations, and their serial shift.

        Returns magnitude and carry per lane, and which lanes of `back_fold` were eligible at any step.
        """
        spec, geometry = self._spec, self._geometry
        lanes, folds, unroll = geometry.lanes_per_group, geometry.folds, geometry.unroll
        always = spec.eligibility is Eligibility.MEMBRANE and not self._hidden
        words = []
        heard: Value = Const(-1, lanes)
        if not always:
            collected = Signal(lanes, reset_less=True)
            m.d.sync += collected.eq(Cat(collected[1:], eligible))
            for place in range(unroll):
                history = memory.Memory(shape=lanes, depth=_depth(folds * geometry.blocks(spec.steps)), init=[])
                m.submodules[f"eligibility_{place}"] = history
                put = history.write_port()
                get = history.read_port(domain="comb")
                m.d.comb += [
                    put.addr.eq(served.block),
                    put.data.eq(Cat(collected[1:], eligible)),
                    put.en.eq(finished & (served.part == place)),
                    get.addr.eq(learn.block if folds == 1 else
                                table(m, learn.fold, folds, geometry.blocks(spec.steps)) + learn.block),
                ]
                words.append(get.data)
            if self._layer > 0 and spec.eligibility is Eligibility.MEMBRANE:
                heard = self._heard(m, Cat(collected[1:], eligible), served, finished, back_fold)
        shape = unsigned(correlation_bits(spec))
        result = []
        for lane in range(lanes):
            gain = sum(Mux(1 if always else words[place][lane], learn.traces[place], 0) for place in range(unroll))
            correlation = Signal(shape, name=f"correlation_{lane}", reset_less=True)
            with m.If(learn.correlate):
                m.d.sync += correlation.eq(Mux(learn.fresh, 0, correlation) + gain)
            shifted = Signal(shape, name=f"shifted_{lane}", reset_less=True)
            carry = Signal(name=f"carry_{lane}", reset_less=True)
            with m.If(learn.take):
                m.d.sync += [shifted.eq(correlation), carry.eq(0)]
            small = learn.excess < desires[lane].magnitude if spec.magnitude is Magnitude.GRADED else 0
            with m.Elif(learn.shift & (learn.everyone | small)):
                shift_rounding(m, value=shifted, carry=carry,
                               random=learn.random if spec.rounding is Rounding.STOCHASTIC else None)
            result.append((shifted, carry))
        return result, heard

    def _heard(self, m: Module, eligible: Value, served: data.View, finished: Value, back_fold: Value) -> Value:
        """Lanes of ``back_fold`` that were eligible at any step: only their desires are passed back."""
        lanes, folds = self._geometry.lanes_per_group, self._geometry.folds
        if folds == 1:
            heard = Signal(lanes, reset_less=True)
            with m.If(finished):
                m.d.sync += heard.eq(eligible | Mux(served.first, 0, heard))
            return heard
        m.submodules.heard = table = memory.Memory(shape=lanes, depth=folds, init=[])
        put = table.write_port()
        before, get = table.read_port(domain="comb"), table.read_port(domain="comb")
        m.d.comb += [before.addr.eq(served.fold), put.addr.eq(served.fold), put.en.eq(finished),
                     put.data.eq(eligible | Mux(served.first, 0, before.data)), get.addr.eq(back_fold)]
        return get.data

    def _back(self, m: Module, arriving: Signal, row: Signal, desires: list[data.View], heard: Value) -> None:
        """Weighted sum of the group's desires: magnitude, then sign, then an adder tree."""
        spec = self._spec
        sum_shape = signed(weighted_sum_bits(spec, self._geometry.lanes_per_group))
        terms = []
        for lane, desire in enumerate(desires):
            weight = row[lane]
            if spec.magnitude is Magnitude.GRADED:
                # Shifting the widened weight right loses nothing: the deficit is at most 10.
                product = (weight << DEFICIT_MAX) >> desire.magnitude
            else:
                product = weight * desire.magnitude
            scaled = Signal(product.shape(), name=f"scaled_{lane}", reset_less=True)
            active, negative = (Signal(name=f"{name}_{lane}", reset_less=True) for name in ("wanted", "negative"))
            term = Signal(signed(sum_shape.width), name=f"term_{lane}", reset_less=True)
            m.d.sync += [scaled.eq(product), active.eq(desire.active & heard[lane]), negative.eq(desire.negative),
                         term.eq(Mux(active, Mux(negative, -scaled, scaled), 0))]
            terms.append(term)
        scaling, back = Signal(), Signal()
        last_scaling, last = Signal(), Signal()
        m.d.sync += [
            scaling.eq(arriving.kind == SlotKind.BACK), last_scaling.eq(arriving.last),
            back.eq(scaling), last.eq(last_scaling),
        ]
        # A single term needs no adder and no clock for it.
        added = m.d.sync if len(terms) > 1 else m.d.comb
        added += [self.sum_valid.eq(back), self.sum_last.eq(last), self.sum.eq(sum(terms))]


def table(m: Module, index: Value, count: int, factor: int) -> Signal:
    """``index * factor`` from a table of constants: no multiplication."""
    product = Signal(bits_for_index(count * factor))
    with m.Switch(index):
        for value in range(count):
            with m.Case(value):
                m.d.comb += product.eq(value * factor)
    return product


def split_step(m: Module, step: Value, steps: int, unroll: int) -> tuple[Signal, Signal]:
    """Block and place in the block of a step: ``step // unroll`` and ``step % unroll``, from a table."""
    block = Signal(bits_for_index(-(-steps // unroll)))
    part = Signal(bits_for_index(unroll))
    with m.Switch(step):
        for value in range(steps):
            with m.Case(value):
                m.d.comb += [block.eq(value // unroll), part.eq(value % unroll)]
    return block, part

"""A layer of leaky integrate-and-fire neurons that learns: spike events up, desires down."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from golden.spec import DESIRE_EXPONENT_MIN, Magnitude, NetworkSpec, Rounding
from hdl.arithmetic import leak, xorshift32
from hdl.dropout import DropoutMasks
from hdl.events import (
    DesireLayout,
    EventKind,
    EventSerializer,
    SliceLayout,
    SpikeLayout,
    bits_for_index,
    spike_stream,
)
from hdl.geometry import LayerGeometry
from hdl.history import SpikeHistory
from hdl.lanes import DEFICIT_MAX, LaneGroup, LearnLayout, SlotKind, SlotLayout, correlation_bits, weighted_sum_bits
from hdl.loader import WeightLoader
from hdl.queue import StreamQueue

__all__ = ["LayerPhase", "LifLayer"]

_FANOUT = 4
"""Groups served by one copy of a control register, so that no net spans all lanes."""

_BACK_QUEUE = 16
"""Desires on their way to the previous layer; at least the latency of a weighted sum."""


class LayerPhase(enum.Enum, shape=3):
    """What a layer is doing."""

    FORWARD = 0
    """Spike events go through; the only phase in which they do."""
    RECEIVE = 1
    """The sample is over; its desires are awaited and taken."""
    STORE = 2
    """A fold of desires is complete."""
    BACK = 3
    """The previous layer's desires are computed and sent."""
    SKIP = 4
    """The previous layer is told that it has none."""
    UPDATE = 5
    """The weights change."""


class LifLayer(wiring.Component):
    """``n_out`` neurons, folded onto the geometry's lanes.

    **Forward.** A spike event reads one weight row in every group and adds it to the synaptic
    currents, ``folds`` clocks each. A step's end hands the currents to the membrane units, which
    deliver ``groups`` neurons per clock; the next step's events are added meanwhile. Firing neurons
    leave as events. A LEARN event makes the sample one to learn from: presynaptic trains and
    eligibilities are recorded, dropout masks apply, and after the sample the layer awaits its desires.

    **Back.** The desires of the previous layer are sums over this layer's rows: each row is read
    once, multiplied by the desires' magnitudes (shifts), and added up.

    **Update.** For every presynaptic neuron that fired its trace is rebuilt from its train, the
    correlations with the eligible steps are accumulated in all lanes, shifted serially, rounded once,
    and the row is written once. Silent rows, and samples without a desire, cost nothing.

    Latency: about 20 clocks from a step's end to its first output spike. Throughput: one spike event
    per ``folds`` clocks; one step per ``max(lanes_per_group, 5 / folds) x folds`` clocks at the most.
    Back: ``n_in x folds`` clocks. Update: ``folds x max(T / unroll + 1, shifts + 3)`` clocks per row,
    with at most ``log2(T x trace) + 1`` shifts (31 with stochastic rounding). Back-pressure on ``spikes``
    stalls the layer before a slice could be lost. Weights may be loaded and read between samples.
    Adders and memory: those of its groups (:class:`hdl.lanes.LaneGroup`), a spike history
    (:class:`hdl.history.SpikeHistory`), ``unroll`` of the trace's width. No multiplier.

    Parameters
    ----------
    spec
        The numeric contract.
    layer
        Index of the layer, 0 next to the input.
    geometry
        Its folding.
    """

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        self.spec, self.layer, self.geometry = spec, layer, geometry
        desire = stream.Signature(DesireLayout(spec))
        # Room for two folds: one on its way out, one being served.
        self.slices = StreamQueue(
            shape=SliceLayout(geometry.groups, unsigned(bits_for_index(geometry.n_out))),
            depth=2 * geometry.lanes_per_group + 2)
        members = {
            "events": In(spike_stream(geometry.n_in)),
            "spikes": Out(spike_stream(geometry.n_out)),
            "desires": In(desire),
            "weights": In(stream.Signature(signed(spec.weight_bits))),
            "read": In(1),  # pulse: send all weights on `readback`
            "readback": Out(stream.Signature(signed(spec.weight_bits))),
            "rate": In(5),  # right shift from correlation to weight LSBs, for a desire of magnitude 1
            "phase": Out(LayerPhase),
            "working": Out(1),  # a sample is under way
            "idle": Out(1),     # neither that, nor are weights loaded or read
        }
        if layer > 0:
            members["back"] = Out(desire)
        if self.has_dropout or self.rounds_at_random:
            members["reseed"] = In(1)  # pulse: set the generators to the states below; only while idle
        if self.has_dropout:
            members["dropout_state"] = In(32)
        if self.rounds_at_random:
            members["rounding_state"] = In(32)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, spec = self.geometry, self.spec
        groups, lanes, folds = geometry.groups, geometry.lanes_per_group, geometry.folds

        m.submodules.loader = loader = WeightLoader(geometry=geometry, weight_bits=spec.weight_bits)
        connect(m, wiring.flipped(self.weights), loader.weights)
        connect(m, loader.readback, wiring.flipped(self.readback))
        m.d.comb += loader.read.eq(self.read)

        # -- control, registered, then copied, then registered again in each group ---------------
        lane_groups = [LaneGroup(spec=spec, layer=self.layer, geometry=geometry) for _ in range(groups)]
        slot = Signal(SlotLayout(spec, geometry))
        learn = Signal(LearnLayout(spec, geometry))
        load = lane_groups[0].load.shape()
        desire = Signal(lane_groups[0].desire.shape())
        desire_group = Signal(groups)   # which group takes the desire
        mask = Signal(lane_groups[0].mask.shape())
        mask_group = Signal(groups)
        weight = Signal(load)
        m.d.comb += weight.weight.eq(loader.load)
        for index, group in enumerate(lane_groups):
            m.submodules[f"group_{index}"] = group
        for first_group in range(0, groups, _FANOUT):
            number = first_group // _FANOUT
            copies = {}
            for name, source in (("slot", slot), ("learn", learn), ("load", weight), ("desire", desire),
                                 ("mask", mask)):
                copies[name] = Signal.like(source, name=f"{name}_{number}")
                m.d.sync += copies[name].eq(source)
            for index in range(first_group, min(first_group + _FANOUT, groups)):
                group = lane_groups[index]
                m.d.comb += [group.slot.eq(copies["slot"]), group.learn.eq(copies["learn"]),
                             group.load.eq(copies["load"]), group.desire.eq(copies["desire"]),
                             group.mask.eq(copies["mask"]), loader.unload[index].eq(group.unload)]
                for name, wanted in (("load", loader.enable), ("desire", desire_group), ("mask", mask_group)):
                    enable = Signal(name=f"{name}_enable_{index}")
                    m.d.sync += enable.eq(wanted[index])
                    m.d.comb += getattr(group, name).enable.eq(enable)

        # -- slices: one clock of all groups; room is reserved before a step is handed over -------
        tag = unsigned(bits_for_index(geometry.n_out))
        slice_layout = SliceLayout(groups, tag)
        depth = self.slices.depth
        m.submodules.slices = slices = self.slices
        room = Signal(range(depth + 1), init=depth)
        reserve = Signal()
        announce = Signal()  # pass a LEARN event on
        dropped = Signal()
        popped = Signal()
        m.d.sync += room.eq(room - Mux(reserve, lanes, 0) - announce + dropped + popped)

        base = Signal(range(geometry.lanes * folds + groups))
        slice_ = Signal(slice_layout)
        source = lane_groups[0]
        fired = Signal(groups)
        real = Signal(groups)
        m.d.comb += fired.eq(Cat(group.spike for group in lane_groups))
        for index in range(groups):
            m.d.comb += real[index].eq(base + index < geometry.n_out if geometry.lanes * folds > geometry.n_out else 1)
        m.d.comb += [
            slice_.mask.eq(fired & real),
            slice_.tag.eq(base),
            slice_.kind.eq(source.slice_marker),
            slices.source.payload.eq(slice_),
        ]
        with m.If(source.slice_valid):
            wanted = slice_.mask.any() | (slice_.kind != EventKind.SPIKE)
            m.d.comb += [slices.source.valid.eq(wanted), dropped.eq(~wanted)]
            m.d.sync += base.eq(Mux(base == geometry.lanes * folds - groups, 0, base + groups))
        with m.If(announce):
            m.d.comb += [slices.source.valid.eq(1), slice_.mask.eq(0), slice_.kind.eq(EventKind.LEARN)]

        m.submodules.serializer = serializer = EventSerializer(
            width=groups, tag=tag, neurons=geometry.n_out, locate=lambda tag, position: tag + position)
        connect(m, wiring.flipped(self.spikes), serializer.spikes)
        connect(m, slices.sink, serializer.slices)
        m.d.comb += popped.eq(slices.sink.valid & slices.sink.ready)

        # -- dropout masks and spike history -----------------------------------------------------
        learning = Signal()
        begin = Signal()  # a sample to learn from starts
        step = Signal(bits_for_index(spec.steps))
        asked = Signal(bits_for_index(geometry.n_out))
        kept: Value = Signal(init=1)
        masks_ready: Value = Signal(init=1)
        masks_current: Value = Signal()
        if self.has_dropout:
            m.submodules.masks = masks = DropoutMasks(
                neurons=geometry.n_out, dropout=spec.dropout, seed=spec.dropout_seeds[self.layer])
            place = Signal(bits_for_index(folds * lanes))
            mask_turn = Signal(groups, init=1)
            m.d.comb += [masks.begin.eq(begin), masks.ask.eq(asked),
                         masks.reseed.eq(self.reseed), masks.state.eq(self.dropout_state)]
            m.d.sync += [
                mask.kept.eq(masks.kept),
                mask.address.eq(place + Mux(masks.current, 0, folds * lanes)),
                mask_group.eq(Mux(masks.drawing, mask_turn, 0)),
            ]
            with m.If(masks.drawing):
                m.d.sync += mask_turn.eq(mask_turn.rotate_left(1))
                with m.If(mask_turn[-1]):
                    m.d.sync += place.eq(place + 1)
                with m.If(masks.neuron == geometry.n_out - 1):
                    m.d.sync += [mask_turn.eq(1), place.eq(0)]
            with m.If(self.reseed):
                m.d.sync += [mask_turn.eq(1), place.eq(0)]
            kept, masks_ready, masks_current = masks.answer, masks.ready, masks.current

        rounding = None
        if self.rounds_at_random:
            rounding = Signal(32, init=spec.rounding_seeds[self.layer])
            with m.If(begin):
                m.d.sync += rounding.eq(xorshift32(rounding))
            with m.If(self.reseed):
                m.d.sync += rounding.eq(self.rounding_state)

        m.submodules.history = history = SpikeHistory(neurons=geometry.n_in, steps=spec.steps)
        m.d.comb += [history.begin.eq(begin), history.step.eq(step)]

        # -- issue: one slot per clock -----------------------------------------------------------
        event = Signal(SpikeLayout(geometry.n_in))
        occupied = Signal()
        first = Signal(init=1)
        fold = Signal(bits_for_index(folds))
        fold_row = Signal(bits_for_index(geometry.rows))
        clearing = Signal(init=1)
        interval = LaneGroup.step_interval(geometry)
        pause = Signal(range(interval + 1))
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)

        phase = Signal(LayerPhase)
        m.d.comb += self.phase.eq(phase)
        issue = Signal()
        done = Signal()
        last_fold = fold == folds - 1
        back_slot = Signal()        # the BACK phase wants a slot
        back_row = Signal(bits_for_index(geometry.n_in))
        update_slot = Signal(SlotKind)  # the UPDATE phase wants a slot
        update_row = Signal(bits_for_index(geometry.rows))
        m.d.comb += loader.hold_off.eq(learning)
        m.d.sync += slot.eq(slot.shape().const({}))
        m.d.sync += [slot.fold.eq(fold), slot.masks.eq(masks_current), slot.learn.eq(learning), slot.step.eq(step)]
        with m.If(loader.request):
            m.d.comb += loader.grant.eq(1)
            m.d.sync += [slot.kind.eq(Mux(loader.writing, SlotKind.WRITE, SlotKind.HOLD)), slot.row.eq(loader.row)]
        with m.Elif(clearing):  # after reset, accumulators hold what the last run left
            m.d.comb += issue.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.CLEAR), clearing.eq(~last_fold)]
        if self.layer > 0:
            with m.Elif(back_slot):
                m.d.comb += issue.eq(1)
                m.d.sync += [slot.kind.eq(SlotKind.BACK), slot.row.eq(fold_row + back_row), slot.last.eq(last_fold)]
        with m.Elif(update_slot != SlotKind.IDLE):
            m.d.sync += [slot.kind.eq(update_slot), slot.row.eq(update_row)]
        with m.Elif(occupied & (phase == LayerPhase.FORWARD)):
            with m.Switch(event.kind):
                with m.Case(EventKind.SPIKE), m.If(~(learning & history.busy)):
                    m.d.comb += [issue.eq(1), history.spike.eq(learning & last_fold)]
                    m.d.sync += [slot.kind.eq(SlotKind.SPIKE), slot.row.eq(fold_row + event.neuron)]
                # Everything of the sample before has left first: `learning` changes for all at once.
                with m.Case(EventKind.LEARN), m.If((room == depth) & masks_ready & ~loader.active & ~history.busy):
                    m.d.comb += [announce.eq(1), begin.eq(1), done.eq(1)]
                    m.d.sync += learning.eq(1)
                with m.Default(), m.If((pause == 0) & (room >= lanes)):
                    m.d.comb += [issue.eq(1), reserve.eq(1)]
                    m.d.sync += [
                        slot.kind.eq(SlotKind.STEP),
                        slot.first.eq(first),
                        slot.marker.eq(Mux(last_fold, event.kind, EventKind.SPIKE)),
                        pause.eq(interval - 1),
                    ]
                    with m.If(last_fold):
                        m.d.sync += [first.eq(event.kind == EventKind.SAMPLE_END), step.eq(step + 1)]
                        with m.If(event.kind == EventKind.SAMPLE_END):
                            m.d.sync += step.eq(0)
                            with m.If(learning):
                                m.d.sync += phase.eq(LayerPhase.RECEIVE)
            with m.If(issue & last_fold):
                m.d.comb += done.eq(1)
        with m.If(issue):
            m.d.sync += [fold.eq(fold + 1), fold_row.eq(fold_row + geometry.n_in)]
            with m.If(last_fold):
                m.d.sync += [fold.eq(0), fold_row.eq(0)]
        m.d.comb += history.spiking.eq(event.neuron)

        m.d.comb += self.events.ready.eq(~occupied | done)
        with m.If(done):
            m.d.sync += occupied.eq(0)
        with m.If(self.events.valid & self.events.ready):
            m.d.sync += [occupied.eq(1), event.eq(self.events.payload)]
        m.d.comb += [self.working.eq(occupied | (room != depth) | learning),
                     self.idle.eq(~self.working & ~loader.active)]

        # -- learning ----------------------------------------------------------------------------
        wanted_any = Signal()
        deepest = Signal(4)         # largest deficit of the layer's desires
        received = Signal(range(geometry.lanes * folds + 1))
        turn = Signal(groups, init=1)
        desire_lane = Signal(bits_for_index(lanes))
        desire_fold = Signal(bits_for_index(folds))
        graded = spec.magnitude is Magnitude.GRADED
        magnitude = self._own_error(m, asked, begin) if self._passes_errors else self.desires.p.magnitude
        next_phase = Signal(LayerPhase)  # once the desires are known
        if self.layer > 0:
            m.d.comb += next_phase.eq(Mux(wanted_any, LayerPhase.BACK, LayerPhase.SKIP))
        else:
            m.d.comb += next_phase.eq(Mux(wanted_any, LayerPhase.UPDATE, LayerPhase.FORWARD))

        m.d.comb += asked.eq(received)
        m.d.sync += [desire_group.eq(0), desire.store.eq(0), desire.fold.eq(desire_fold)]
        m.d.sync += [desire.active.eq(0), desire.negative.eq(self.desires.p.negative),
                     desire.magnitude.eq(magnitude)]
        with m.If(phase == LayerPhase.RECEIVE):
            padding = received >= geometry.n_out
            m.d.comb += self.desires.ready.eq(~padding)
            with m.If(self.desires.valid & self.desires.ready & self.desires.p.skip):
                m.d.sync += phase.eq(LayerPhase.SKIP if self.layer > 0 else LayerPhase.FORWARD)
                m.d.sync += learning.eq(0) if self.layer == 0 else []
            with m.Elif(self.desires.valid | padding):
                active = self.desires.p.active & kept & ~padding
                m.d.sync += [desire_group.eq(turn), desire.active.eq(active), turn.eq(turn.rotate_left(1)),
                             received.eq(received + 1)]
                with m.If(active):
                    m.d.sync += wanted_any.eq(1)
                    if graded:
                        with m.If(self.desires.p.magnitude > deepest):
                            m.d.sync += deepest.eq(self.desires.p.magnitude)
                with m.If(turn[-1]):
                    m.d.sync += desire_lane.eq(desire_lane + 1)
                    with m.If(desire_lane == lanes - 1):
                        m.d.sync += [desire_lane.eq(0), phase.eq(LayerPhase.STORE)]
        with m.If(phase == LayerPhase.STORE):
            m.d.sync += [desire.store.eq(1), desire_fold.eq(desire_fold + 1), phase.eq(LayerPhase.RECEIVE)]
            with m.If(received >= geometry.n_out):
                m.d.sync += [received.eq(0), desire_fold.eq(0), phase.eq(next_phase)]
                if self.layer == 0:
                    m.d.sync += learning.eq(wanted_any)

        finish = Signal()  # the update is over
        with m.If(begin):
            m.d.sync += [wanted_any.eq(0), deepest.eq(0)]
        with m.If(finish):
            m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        if self.layer > 0:
            self._back(m, lane_groups, phase, last_fold, back_slot, back_row)
            with m.If((phase == LayerPhase.SKIP) & self.back.ready):
                m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        self._update(m, phase, learn, history, rounding, deepest, update_slot, update_row, finish)
        return m

    @property
    def has_dropout(self) -> bool:
        """Whether this layer draws dropout masks."""
        return self.layer < self.spec.layers - 1 and self.spec.dropout > 0

    @property
    def rounds_at_random(self) -> bool:
        """Whether weight updates are rounded by random words."""
        return self.spec.rounding is Rounding.STOCHASTIC

    @property
    def _passes_errors(self) -> bool:
        """Whether the exact spike-count errors of this hidden layer are needed by the one before."""
        return self.spec.magnitude is Magnitude.TERNARY and 0 < self.layer < self.spec.layers - 1

    def _own_error(self, m: Module, neuron: Signal, begin: Signal) -> Value:
        """Distance of ``neuron``'s spike count from what its desire wants: |D - n|, or n."""
        n_out, spec = self.geometry.n_out, self.spec
        m.submodules.counts = counts = memory.Memory(shape=spec.count_bits, depth=max(2, n_out), init=[])
        counted = Signal(n_out)  # neurons whose count belongs to the present sample
        put = counts.write_port()
        get = counts.read_port(domain="comb")
        ask = counts.read_port(domain="comb")
        spiking = self.spikes.p.neuron
        m.d.comb += [
            get.addr.eq(spiking), put.addr.eq(spiking), ask.addr.eq(neuron),
            put.en.eq(self.spikes.valid & self.spikes.ready & (self.spikes.p.kind == EventKind.SPIKE)),
            put.data.eq(Mux(counted.bit_select(spiking, 1), get.data, 0) + 1),
        ]
        with m.If(put.en):
            m.d.sync += counted.bit_select(spiking, 1).eq(1)
        with m.If(begin):
            m.d.sync += counted.eq(0)
        count = Mux(counted.bit_select(neuron, 1), ask.data, 0)
        missing = Signal(signed(spec.count_bits + 1))
        m.d.comb += missing.eq(spec.desired_count - count)
        return Mux(self.desires.p.negative, count, Mux(missing < 0, -missing, missing))

    def _back(self, m: Module, lane_groups: list[LaneGroup], phase: Signal, last_fold: Value,
              slot: Signal, row: Signal) -> None:
        """Desires of the previous layer: a weighted sum per row, compared and sent."""
        spec, geometry = self.spec, self.geometry
        sum_bits = weighted_sum_bits(spec, geometry.lanes * geometry.folds)
        # Adder tree over the groups, four at a time, each level registered.
        level = [group.sum for group in lane_groups]
        valid: Value = lane_groups[0].sum_valid
        last: Value = lane_groups[0].sum_last
        depth = 0
        while True:
            sums = []
            for index in range(0, len(level), 4):
                total = Signal(signed(sum_bits), name=f"sum_{depth}_{index // 4}", reset_less=True)
                m.d.sync += total.eq(sum(level[index:index + 4]))
                sums.append(total)
            later_valid = Signal(name=f"sum_valid_{depth}")
            later_last = Signal(name=f"sum_last_{depth}")
            m.d.sync += [later_valid.eq(valid), later_last.eq(last)]
            level, valid, last, depth = sums, later_valid, later_last, depth + 1
            if len(level) == 1:
                break
        partial = Signal(signed(sum_bits))
        folded = Signal(signed(sum_bits))
        complete = Signal()
        m.d.sync += complete.eq(valid & last)
        with m.If(valid):
            m.d.sync += [folded.eq(partial + level[0]), partial.eq(Mux(last, 0, partial + level[0]))]

        negative = Signal()
        size = Signal(sum_bits)
        sized = Signal()
        m.d.sync += [sized.eq(complete), negative.eq(folded < 0), size.eq(Mux(folded < 0, -folded, folded))]
        answer = Signal(DesireLayout(spec))
        compared = Signal()
        m.d.sync += [compared.eq(sized), answer.active.eq(size >= spec.hidden_threshold_raw()),
                     answer.negative.eq(negative)]
        if spec.magnitude is Magnitude.GRADED:
            # The sum's unit is 2**-(F + 10); a deficit of d means at least 2**(F + 10 - d).
            m.d.sync += answer.magnitude.eq(DEFICIT_MAX)
            for deficit in reversed(range(DEFICIT_MAX)):
                with m.If(size >> (spec.weight_fraction + DEFICIT_MAX - deficit) != 0):
                    m.d.sync += answer.magnitude.eq(deficit)

        # The previous layer, if ternary desires go further back, computes errors of its own.
        m.submodules.back_queue = queue = StreamQueue(shape=DesireLayout(spec), depth=_BACK_QUEUE)
        room = Signal(range(_BACK_QUEUE + 1), init=_BACK_QUEUE)
        taken = Signal()
        sent = Signal(bits_for_index(geometry.n_in + 1))
        rows_done = Signal()
        starting = Signal()  # the row's first fold reserves the room
        mid_row = Signal()
        m.d.comb += [
            queue.source.payload.eq(answer), queue.source.valid.eq(compared),
            taken.eq(queue.sink.valid & queue.sink.ready),
            slot.eq((phase == LayerPhase.BACK) & ~rows_done & (mid_row | (room != 0))),
            starting.eq(slot & ~mid_row),
        ]
        m.d.sync += room.eq(room - starting + taken)
        with m.If(slot):
            m.d.sync += mid_row.eq(~last_fold)
            with m.If(last_fold):
                m.d.sync += row.eq(row + 1)
                with m.If(row == geometry.n_in - 1):
                    m.d.sync += [row.eq(0), rows_done.eq(1)]
        with m.If(phase == LayerPhase.SKIP):
            m.d.comb += [self.back.valid.eq(1), self.back.p.skip.eq(1)]
        with m.Else():
            m.d.comb += [self.back.valid.eq(queue.sink.valid), self.back.payload.eq(queue.sink.payload),
                         queue.sink.ready.eq(self.back.ready)]
        with m.If(taken):
            m.d.sync += sent.eq(sent + 1)
            with m.If(sent == geometry.n_in - 1):
                m.d.sync += [sent.eq(0), rows_done.eq(0), phase.eq(LayerPhase.UPDATE)]

    def _update(self, m: Module, phase: Signal, learn: Signal, history: SpikeHistory, rounding: Signal | None,
                deepest: Signal, slot: Signal, slot_row: Signal, finish: Signal) -> None:
        """Row by row: fetch the train, correlate, shift, add, write; three rows are under way at a time."""
        spec, geometry = self.spec, self.geometry
        folds, unroll = geometry.folds, geometry.unroll
        blocks = geometry.blocks(spec.steps)
        updating = phase == LayerPhase.UPDATE
        m.d.sync += learn.eq(learn.shape().const({}))

        # Fetch: the train of the next neuron that fired.
        fetched = Signal()
        wait = Signal(2)
        index = Signal(bits_for_index(geometry.n_in + 1))
        neuron = Signal(bits_for_index(geometry.n_in))
        train = Signal(spec.steps)
        take_fetched = Signal()
        m.d.comb += history.index.eq(index)
        with m.If(updating & ~fetched & (index != history.count)):
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == 3):
                m.d.sync += [fetched.eq(1), neuron.eq(history.neuron), train.eq(history.train), index.eq(index + 1)]
        with m.If(take_fetched):
            m.d.sync += fetched.eq(0)

        # Correlate: rebuild the trace, `unroll` steps per clock, once per fold.
        correlating = Signal()
        complete = Signal()     # correlations wait to be taken
        block = Signal(bits_for_index(blocks))
        fold = Signal(bits_for_index(folds))
        fold_row = Signal(bits_for_index(geometry.rows))
        remaining = Signal(blocks * unroll)
        whole = Signal(spec.steps)
        row_neuron = Signal(bits_for_index(geometry.n_in))
        trace = Signal(range(spec.trace_max + 1))
        take = Signal()
        traces = []
        value: Value = trace
        for place in range(unroll):
            following = Signal(range(spec.trace_max + 1), name=f"trace_{place}")
            m.d.comb += following.eq(leak(value, spec.leak_shift) + (remaining[place] << spec.trace_fraction))
            traces.append(following)
            value = following
        m.d.comb += take_fetched.eq(fetched & ~correlating & ~complete)
        with m.If(take_fetched):
            m.d.sync += [correlating.eq(1), block.eq(0), fold.eq(0), fold_row.eq(0), trace.eq(0),
                         remaining.eq(train), whole.eq(train), row_neuron.eq(neuron)]
        with m.If(correlating):
            m.d.sync += [
                learn.correlate.eq(1), learn.fresh.eq(block == 0), learn.block.eq(block), learn.fold.eq(fold),
                trace.eq(value), remaining.eq(remaining >> unroll), block.eq(block + 1),
            ]
            for place in range(unroll):
                beyond = (blocks - 1) * unroll + place >= spec.steps
                m.d.sync += learn.traces[place].eq(
                    Mux(block == blocks - 1, 0, traces[place]) if beyond else traces[place])
            with m.If(block == blocks - 1):
                m.d.sync += [correlating.eq(0), complete.eq(1)]
        with m.If(take):
            m.d.sync += complete.eq(0)
            with m.If(fold != folds - 1):
                m.d.sync += [correlating.eq(1), block.eq(0), fold.eq(fold + 1), trace.eq(0),
                             fold_row.eq(fold_row + geometry.n_in), remaining.eq(whole)]

        # Shift, add, write. The row is read while the correlations are shifted.
        # Rounded half up, nothing is left after so many; a random word can carry from further away.
        shifts_max = correlation_bits(spec) + 1 if rounding is None else spec.update_shift(
            spec.rate_shift_range[1]) - DESIRE_EXPONENT_MIN
        shifting = Signal()
        adding = Signal()
        writing = Signal()
        count = Signal(range(shifts_max + 1))
        shift_fold = Signal(bits_for_index(folds))
        last_shift = Signal()
        m.d.comb += take.eq(complete & ~shifting & ~adding & ~writing)
        # The row needs two clocks more than a shift of none would leave it.
        m.d.comb += last_shift.eq((count == shifts_max - 1) | ((count + 1 >= self.rate + deepest) & (count >= 2)))
        m.d.sync += learn.shift_fold.eq(shift_fold)
        with m.If(take):
            m.d.comb += [slot.eq(SlotKind.HOLD), slot_row.eq(fold_row + row_neuron)]
            m.d.sync += [learn.take.eq(1), shifting.eq(1), count.eq(0), shift_fold.eq(fold),
                         learn.shift_fold.eq(fold)]
        if rounding is not None:
            word = Signal(32)
            with m.If(take):
                m.d.sync += word.eq(xorshift32(rounding ^ row_neuron))
            with m.If(shifting):
                m.d.sync += [learn.random.eq(word[0]), word.eq(word >> 1)]
        write_row = Signal.like(slot_row)
        with m.If(take):
            m.d.sync += write_row.eq(slot_row)
        with m.If(shifting):
            m.d.sync += [learn.shift.eq(1), learn.everyone.eq(count < self.rate),
                         learn.excess.eq(count - self.rate), count.eq(count + 1)]
            with m.If(last_shift):
                m.d.sync += [shifting.eq(0), adding.eq(1)]
        with m.If(adding):
            m.d.sync += [learn.apply.eq(1), adding.eq(0), writing.eq(1)]
        with m.If(writing):
            m.d.comb += [slot.eq(SlotKind.WRITE), slot_row.eq(write_row)]
            m.d.sync += writing.eq(0)

        busy = fetched | correlating | complete | shifting | adding | writing
        m.d.comb += finish.eq(updating & (index == history.count) & ~busy & (wait == 0))
        with m.If(finish):
            m.d.sync += index.eq(0)

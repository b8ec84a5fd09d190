"""A layer of leaky integrate-and-fire neurons: spike events in and out, and the frame every learning rule fills."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.spec import NetworkSpec, Rounding
from lifstream.hdl.arithmetic import leak, xorshift32
from lifstream.hdl.events import (
    DesireLayout,
    EventKind,
    EventSerializer,
    SliceLayout,
    SpikeLayout,
    bits_for_index,
    spike_stream,
)
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.history import SpikeHistory
from lifstream.hdl.lanes import LaneGroup, SlotKind
from lifstream.hdl.loader import WeightLoader
from lifstream.hdl.queue import StreamQueue

__all__ = ["LayerPhase", "LifLayer", "RowUpdate"]

_FANOUT = 4
"""Groups served by one copy of a control register, so that no net spans all lanes."""


class LayerPhase(enum.Enum, shape=3):
    """What a layer is doing."""

    FORWARD = 0
    """Spike events go through; the only phase in which they do."""
    RECEIVE = 1
    """The sample is over; what it teaches is awaited and taken."""
    STORE = 2
    """A fold of desires is complete."""
    BACK = 3
    """The previous layer's desires are computed and sent."""
    SKIP = 4
    """The previous layer is told that it has none."""
    UPDATE = 5
    """The weights change."""
    PASS = 6
    """What the sample teaches is passed on to the previous layer."""
    SETTLE = 7
    """Adaptive thresholds change."""


@dataclass(kw_only=True)
class LayerSignals:
    """A layer's signals that a rule's part reads or drives."""

    groups: list[LaneGroup]
    slot: Signal
    """Next slot for the groups."""
    learn: Signal
    """Next learning step for the groups."""
    phase: Signal
    learning: Signal
    """The sample under way is one to learn from."""
    begin: Signal
    """Pulse: such a sample starts."""
    step: Signal
    """Index of the step whose events are taken."""
    stepping: Signal
    """Pulse: a step is handed over, for the present fold."""
    marker: Value
    """Kind of the marker that ended the step."""
    fold: Signal
    fold_row: Signal
    """First row of ``fold``."""
    last_fold: Value
    pause: Signal
    """Clocks before another fold may be served."""
    issue: Signal
    """The slot belongs to the present fold, which is then over."""
    history: SpikeHistory
    rounding: Signal | None
    """Rounding state of the sample, for stochastic rounding."""
    update_slot: Signal
    """Kind of the slot an update wants."""
    update_row: Signal
    refreshing: Value
    """After reset: the weights are read and written once, by which what is kept of their sums comes right."""


@dataclass(frozen=True, kw_only=True)
class RowUpdate:
    """How a rule's update of a row differs from another's."""

    rate: Value
    """Right shift of every lane."""
    deepest: Value | int
    """The most by which a lane's shift exceeds that."""
    shifts_max: int
    """After so many shifts nothing is left."""
    lead: int
    """Clocks from taking the sums to the first shift."""


class LifLayer(wiring.Component):
    """``n_out`` neurons, folded onto the geometry's lanes; a derived class adds a learning rule.

    **Forward.** A spike event reads one weight row in every group and adds it to the synaptic
    currents, ``folds`` clocks each. A step's end hands the currents to the membrane units, which
    serve ``groups`` neurons per clock; the next step's events are added meanwhile. Firing neurons
    leave as events. A LEARN event makes the sample one to learn from: the histories the rule needs are
    recorded, and after the sample the layer awaits what it is to learn.

    **Update.** Row by row: fetch the presynaptic train, rebuild its trace, accumulate the rule's sums in all
    lanes, shift them serially, round once, add, write the row once.

    Latency: about 20 clocks from a step's end to its first output spike. Throughput: one spike event
    per ``folds`` clocks, and a clock more after a marker; one step per ``max(lanes_per_group, 5 / folds) x folds``
    clocks at the most. Update: ``folds x max(T / unroll + 2, shifts + 4)`` clocks per row. Back-pressure on
    ``spikes`` stalls the layer before a slice could be lost. Weights may be loaded and read between samples. Adders
    and memory: those of its groups (:class:`lifstream.hdl.lanes.LaneGroup`), a spike history
    (:class:`lifstream.hdl.history.SpikeHistory`), ``unroll`` of the trace's width. No multiplier.

    The seam: a rule supplies its groups (:meth:`_make_group`) and what else is sent to them (:meth:`_broadcasts`),
    how spikes leave (:meth:`_slices`), what a step waits for (:meth:`_may_step`), slots of its own
    (:meth:`_own_slots`), and the phases after a sample (:meth:`_after_sample`), which end in :meth:`_update`.

    Parameters
    ----------
    spec
        The numeric contract.
    layer
        Index of the layer, 0 next to the input.
    geometry
        Its folding.
    """

    every_row = False
    """Whether an update visits rows of silent neurons too."""

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        self.spec, self.layer, self.geometry = spec, layer, geometry
        self.slices = StreamQueue(shape=self._slice_layout(), depth=self._slice_depth())
        teaching = stream.Signature(DesireLayout(spec))
        members = {
            "events": In(spike_stream(geometry.n_in)),
            "spikes": Out(spike_stream(geometry.n_out)),
            "desires": In(teaching),
            "weights": In(stream.Signature(signed(spec.weight_bits))),
            "read": In(1),  # pulse: send all weights on `readback`
            "readback": Out(stream.Signature(signed(spec.weight_bits))),
            "rate": In(5),  # right shift from correlation to weight LSBs, for a desire of magnitude 1
            "phase": Out(LayerPhase),
            "working": Out(1),  # a sample is under way
            "idle": Out(1),     # neither that, nor are weights loaded or read
        }
        if layer > 0:
            members["back"] = Out(teaching)
        if self.has_dropout or self.rounds_at_random:
            members["reseed"] = In(1)  # pulse: set the generators to the states below; only while idle
        if self.has_dropout:
            members["dropout_state"] = In(32)
        if self.rounds_at_random:
            members["rounding_state"] = In(32)
        super().__init__(members | self._own_members())

    @property
    def has_dropout(self) -> bool:
        """Whether this layer draws dropout masks."""
        return self.layer < self.spec.layers - 1 and self.spec.dropout > 0

    @property
    def rounds_at_random(self) -> bool:
        """Whether weight updates are rounded by random words."""
        return self.spec.rounding is Rounding.STOCHASTIC

    @property
    def keeps_sums(self) -> bool:
        """Whether sums of the weights are kept up as rows are written."""
        return False

    # -- what a rule supplies ------------------------------------------------------------------------

    def _own_members(self) -> dict[str, object]:
        return {}

    def _slice_layout(self) -> SliceLayout:
        return SliceLayout(self.geometry.groups, unsigned(bits_for_index(self.geometry.n_out)))

    def _slice_depth(self) -> int:
        # Room for two folds: one on its way out, one being served.
        return 2 * self.geometry.lanes_per_group + 2

    def _make_group(self, index: int) -> LaneGroup:
        raise NotImplementedError

    def _broadcasts(self, m: Module, groups: list[LaneGroup]) -> dict[str, Signal | tuple[Signal, Signal]]:
        """Signals sent to all groups, by the port's name; with an enable per group where the port has one."""
        raise NotImplementedError

    def _masks(self, m: Module, at: LayerSignals) -> tuple[Value, Value]:
        """Which of two sets of dropout masks is in force, and whether the next is ready."""
        return Signal(), Signal(init=1)

    def _slices(self, m: Module, at: LayerSignals) -> tuple[Value | int, Value | int]:
        """Put what the groups deliver into the queue of slices.

        Returns the room a step reserves, and what of it is given back at a clock.
        """
        raise NotImplementedError

    def _announce(self, m: Module, announce: Value) -> None:
        """Queue a LEARN event; no slice is under way."""
        source = self.slices.source
        with m.If(announce):
            m.d.comb += [source.valid.eq(1), source.p.mask.eq(0), source.p.kind.eq(EventKind.LEARN)]

    def _may_step(self, at: LayerSignals) -> Value | None:
        """Whether a step may be handed over, beside the groups' own interval and room for its slices."""
        return None

    def _own_slots(self, m: Module, at: LayerSignals) -> None:
        """``m.Elif`` branches for slots that go before updates and spike events."""

    def _after_sample(self, m: Module, at: LayerSignals) -> None:
        """The phases from RECEIVE to UPDATE."""
        raise NotImplementedError

    # -- what all rules share ------------------------------------------------------------------------

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, spec = self.geometry, self.spec
        groups, folds = geometry.groups, geometry.folds

        m.submodules.loader = loader = WeightLoader(geometry=geometry, weight_bits=spec.weight_bits,
                                                    refresh=self.keeps_sums)
        connect(m, wiring.flipped(self.weights), loader.weights)
        connect(m, loader.readback, wiring.flipped(self.readback))
        m.d.comb += loader.read.eq(self.read)

        # -- control, registered, then copied, then registered again in each group ---------------
        lane_groups = [self._make_group(index) for index in range(groups)]
        slot = Signal(lane_groups[0].slot.shape())
        learn = Signal(lane_groups[0].learn.shape())
        weight = Signal(lane_groups[0].load.shape())
        m.d.comb += weight.weight.eq(loader.load)
        for index, group in enumerate(lane_groups):
            m.submodules[f"group_{index}"] = group
        sent = {"slot": slot, "learn": learn, "load": (weight, loader.enable), **self._broadcasts(m, lane_groups)}
        # A single group needs no copies.
        copied = m.d.sync if groups > 1 else m.d.comb
        for first_group in range(0, groups, _FANOUT):
            copies = {}
            for name, source in sent.items():
                signal = source[0] if isinstance(source, tuple) else source
                copies[name] = Signal.like(signal, name=f"{name}_{first_group // _FANOUT}")
                copied += copies[name].eq(signal)
            for index in range(first_group, min(first_group + _FANOUT, groups)):
                group = lane_groups[index]
                m.d.comb += [getattr(group, name).eq(copy) for name, copy in copies.items()]
                m.d.comb += loader.unload[index].eq(group.unload)
                for name, source in sent.items():
                    if isinstance(source, tuple):
                        enable = Signal(name=f"{name}_enable_{index}")
                        copied += enable.eq(source[1][index])
                        m.d.comb += getattr(group, name).enable.eq(enable)

        # -- sample, histories, random numbers -------------------------------------------------------
        learning = Signal()
        begin = Signal()  # a sample to learn from starts
        step = Signal(bits_for_index(spec.steps))
        m.submodules.history = history = SpikeHistory(neurons=geometry.n_in, steps=spec.steps, every=self.every_row)
        m.d.comb += [history.begin.eq(begin), history.step.eq(step)]
        rounding = None
        if self.rounds_at_random:
            rounding = Signal(32, init=spec.rounding_seeds[self.layer])
            with m.If(begin):
                m.d.sync += rounding.eq(xorshift32(rounding))
            with m.If(self.reseed):
                m.d.sync += rounding.eq(self.rounding_state)
        event = Signal(SpikeLayout(geometry.n_in))
        interval = LaneGroup.step_interval(geometry)
        pause = Signal(range(interval + 1))
        fold = Signal(bits_for_index(folds))
        at = LayerSignals(groups=lane_groups, slot=slot, learn=learn, phase=Signal(LayerPhase, name="phase_now"),
                   learning=learning, begin=begin, step=step, stepping=Signal(name="stepping"), marker=event.kind,
                   fold=fold, fold_row=Signal(bits_for_index(geometry.rows), name="fold_row"),
                   last_fold=fold == folds - 1 if folds > 1 else Const(1), pause=pause,
                   issue=Signal(name="issue"), history=history, rounding=rounding,
                   update_slot=Signal(SlotKind, name="update_slot"),
                   update_row=Signal(bits_for_index(geometry.rows), name="update_row"), refreshing=loader.refreshing)
        phase, last_fold, issue, fold_row = at.phase, at.last_fold, at.issue, at.fold_row

        # -- slices: room is reserved before a step is handed over -----------------------------------
        depth = self.slices.depth
        m.submodules.slices = slices = self.slices
        room = Signal(range(depth + 1), init=depth)
        announce = Signal()  # pass a LEARN event on
        popped = Signal()
        freed = Signal(2)    # room that came back a clock ago
        needed, returned = self._slices(m, at)
        m.d.sync += [freed.eq(returned + popped), room.eq(room - Mux(at.stepping, needed, 0) - announce + freed)]
        self._announce(m, announce)
        layout = self._slice_layout()
        m.submodules.serializer = serializer = EventSerializer(
            width=layout.width_of_mask, tag=layout.tag, neurons=geometry.n_out,
            locate=lambda tag, position: tag + position)
        connect(m, wiring.flipped(self.spikes), serializer.spikes)
        connect(m, slices.sink, serializer.slices)
        m.d.comb += popped.eq(slices.sink.valid & slices.sink.ready)

        # -- issue: one slot per clock -----------------------------------------------------------
        masks_current, masks_ready = self._masks(m, at)
        occupied = Signal()
        first = Signal(init=1)
        clearing = Signal(init=1)
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)

        m.d.comb += self.phase.eq(phase)
        done = Signal()
        # Whether events may go on is known a clock before: what it depends on changes with markers alone, and after
        # a marker the next event comes a clock later than it could. So the same neuron's spikes in two steps are
        # three clocks apart at least, which the history needs.
        flowing, may_learn, room_to_step = Signal(), Signal(), Signal()
        m.d.sync += [
            flowing.eq((phase == LayerPhase.FORWARD) & ~clearing & ~(learning & history.busy)),
            may_learn.eq((room == depth) & masks_ready & ~loader.active & ~history.busy),
        ]
        unhurried = m.d.sync if folds == 1 else m.d.comb  # folded, a marker's steps may follow each other at once
        unhurried += room_to_step.eq((pause == 0) & (room >= needed))
        may_step = room_to_step
        if (more := self._may_step(at)) is not None:
            may_step = may_step & more
        spiking = occupied & (event.kind == EventKind.SPIKE) & flowing
        m.d.comb += loader.hold_off.eq(learning)
        m.d.sync += slot.eq(slot.shape().const({}))
        m.d.sync += [slot.fold.eq(fold), slot.masks.eq(masks_current), slot.learn.eq(learning), slot.step.eq(step)]
        with m.If(spiking):
            m.d.comb += [issue.eq(1), history.spike.eq(learning & last_fold)]
            m.d.sync += [slot.kind.eq(SlotKind.SPIKE), slot.row.eq(fold_row + event.neuron)]
        with m.Elif(loader.request):
            m.d.comb += loader.grant.eq(1)
            m.d.sync += [slot.kind.eq(Mux(loader.writing, SlotKind.WRITE, SlotKind.HOLD)), slot.row.eq(loader.row)]
            if self.every_row:
                m.d.sync += [slot.fold.eq(loader.fold), slot.first.eq(loader.first)]
        with m.Elif(clearing):  # after reset, accumulators hold what the last run left
            m.d.comb += issue.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.CLEAR), clearing.eq(~last_fold)]
        self._own_slots(m, at)
        with m.Elif(at.update_slot != SlotKind.IDLE):
            m.d.sync += [slot.kind.eq(at.update_slot), slot.row.eq(at.update_row)]
            if self.every_row:
                m.d.sync += [slot.fold.eq(self.update_fold), slot.first.eq(self.update_first)]
        with m.Elif(occupied & (phase == LayerPhase.FORWARD)):
            with m.Switch(event.kind):
                with m.Case(EventKind.SPIKE):
                    pass
                # Everything of the sample before has left first: `learning` changes for all at once.
                with m.Case(EventKind.LEARN), m.If(may_learn):
                    m.d.comb += [announce.eq(1), begin.eq(1), done.eq(1)]
                    m.d.sync += learning.eq(1)
                with m.Default(), m.If(may_step):
                    m.d.comb += [issue.eq(1), at.stepping.eq(1)]
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
        if folds > 1:
            with m.If(issue):
                m.d.sync += [fold.eq(fold + 1), fold_row.eq(fold_row + geometry.n_in)]
                with m.If(last_fold):
                    m.d.sync += [fold.eq(0), fold_row.eq(0)]
        m.d.comb += history.spiking.eq(event.neuron)

        m.d.comb += self.events.ready.eq(~occupied | (spiking & last_fold))
        with m.If(done | (spiking & last_fold)):
            m.d.sync += occupied.eq(0)
        with m.If(self.events.valid & self.events.ready):
            m.d.sync += [occupied.eq(1), event.eq(self.events.payload)]
        m.d.comb += [self.working.eq(occupied | (room != depth) | learning),
                     self.idle.eq(~self.working & ~loader.active)]
        self._after_sample(m, at)
        return m

    def _update(self, m: Module, at: LayerSignals, how: RowUpdate, finish: Signal) -> None:
        """Row by row: fetch the train, correlate, shift, add, write; three rows are under way at a time."""
        spec, geometry, history, rounding = self.spec, self.geometry, at.history, at.rounding
        phase, learn, slot, slot_row = at.phase, at.learn, at.update_slot, at.update_row
        folds, unroll = geometry.folds, geometry.unroll
        blocks = geometry.blocks(spec.steps)
        updating = phase == LayerPhase.UPDATE
        m.d.sync += learn.eq(learn.shape().const({}))

        # Fetch: the train of the next neuron that fired.
        fetched = Signal()
        wait = Signal(range(history.latency + 1))
        index = Signal(bits_for_index(geometry.n_in + 1))
        take_fetched = Signal()
        m.d.comb += history.index.eq(index)
        with m.If(updating & ~fetched & (index != history.count)):
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == history.latency):
                m.d.sync += fetched.eq(1)
        with m.If(take_fetched):
            m.d.sync += [fetched.eq(0), wait.eq(0), index.eq(index + 1)]

        # Correlate: rebuild the trace, `unroll` steps per clock, once per fold.
        correlating = Signal()
        complete = Signal()     # correlations wait to be taken
        block = Signal(bits_for_index(blocks))
        fold = Signal(bits_for_index(folds))
        fold_row = Signal(bits_for_index(geometry.rows))
        remaining = Signal(blocks * unroll)
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
        # Decided a clock before: what it starts lies far apart.
        m.d.sync += take_fetched.eq(fetched & ~correlating & ~complete & ~take_fetched)
        with m.If(take_fetched):
            m.d.sync += [correlating.eq(1), block.eq(0), fold.eq(0), fold_row.eq(0), trace.eq(0),
                         remaining.eq(history.train), row_neuron.eq(history.neuron)]
        with m.If(correlating):
            m.d.sync += [
                learn.correlate.eq(1), learn.fresh.eq(block == 0), learn.block.eq(block), learn.fold.eq(fold),
                trace.eq(value), remaining.eq(remaining.rotate_right(unroll)), block.eq(block + 1),
            ]
            for place in range(unroll):
                beyond = (blocks - 1) * unroll + place >= spec.steps
                m.d.sync += self._send_trace(learn, place, traces[place], remaining[place],
                                             block == blocks - 1 if beyond else None)
            with m.If(block == blocks - 1):
                m.d.sync += [correlating.eq(0), complete.eq(1)]
        with m.If(take):
            m.d.sync += complete.eq(0)
            if folds > 1:
                with m.If(fold != folds - 1):
                    m.d.sync += [correlating.eq(1), block.eq(0), fold.eq(fold + 1), trace.eq(0),
                                 fold_row.eq(fold_row + geometry.n_in)]  # the train has come full circle

        # Shift, add, write. The row is read while the sums are shifted, or before.
        shifts_max = how.shifts_max
        shifting = Signal()
        adding = Signal()
        settling = Signal()  # the sum is saturated
        writing = Signal()
        aiming: Value = Signal(range(how.lead + 1)) if how.lead else Const(0, 1)
        count = Signal(range(shifts_max + 1))
        shift_fold = Signal(bits_for_index(folds))
        last_shift = Signal()
        m.d.comb += take.eq(complete & ~shifting & ~adding & ~settling & ~writing & (aiming == 0))
        # The row needs two clocks more than a shift of none would leave it.
        deepest = Signal(range(64))
        m.d.sync += deepest.eq(how.rate + how.deepest)
        m.d.comb += last_shift.eq((count == shifts_max - 1) | ((count + 1 >= deepest) & (count >= 2)))
        m.d.sync += learn.shift_fold.eq(shift_fold)
        with m.If(take):
            m.d.comb += [slot.eq(SlotKind.HOLD), slot_row.eq(fold_row + row_neuron)]
            m.d.sync += [learn.take.eq(1), count.eq(0), shift_fold.eq(fold), learn.shift_fold.eq(fold)]
            m.d.sync += aiming.eq(how.lead) if how.lead else shifting.eq(1)
        if how.lead:
            with m.Elif(aiming != 0):
                m.d.sync += [aiming.eq(aiming - 1), learn.aim.eq(aiming == 1), shifting.eq(aiming == 1)]
        if rounding is not None:
            word = Signal(32)
            with m.If(take):
                m.d.sync += word.eq(xorshift32(rounding ^ row_neuron))
            with m.If(shifting):
                m.d.sync += [learn.random.eq(word[0]), word.eq(word >> 1)]
        write_row = Signal.like(slot_row)
        with m.If(take):
            m.d.sync += write_row.eq(slot_row)
        if self.every_row:
            write_first = Signal()
            with m.If(take):
                m.d.sync += write_first.eq(row_neuron == 0)
            m.d.comb += [self.update_fold.eq(shift_fold), self.update_first.eq(write_first)]
        with m.If(shifting):
            m.d.sync += [learn.shift.eq(1), learn.everyone.eq(count < how.rate),
                         learn.excess.eq(count - how.rate), count.eq(count + 1)]
            with m.If(last_shift):
                m.d.sync += [shifting.eq(0), adding.eq(1)]
        with m.If(adding):
            m.d.sync += [learn.apply.eq(1), adding.eq(0), settling.eq(1)]
        with m.If(settling):
            m.d.sync += [settling.eq(0), writing.eq(1)]
        with m.If(writing):
            m.d.comb += [slot.eq(SlotKind.WRITE), slot_row.eq(write_row)]
            m.d.sync += writing.eq(0)

        busy = fetched | correlating | complete | shifting | adding | settling | writing | (aiming != 0)
        m.d.comb += finish.eq(updating & (index == history.count) & ~busy & (wait == 0))
        with m.If(finish):
            m.d.sync += index.eq(0)

    def _send_trace(self, learn: Signal, place: int, trace: Value, spiked: Value, beyond: Value | None) -> list[object]:
        """Send a step's trace to the groups; ``beyond`` says when the step is past the sample's last."""
        return [learn.traces[place].eq(trace if beyond is None else Mux(beyond, 0, trace))]

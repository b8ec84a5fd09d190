"""A layer that learns by desire backpropagation: desires come in from above and go on below."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import memory

from lifstream.golden.spec import DESIRE_EXPONENT_MIN, Magnitude
from lifstream.hdl.dropout import DropoutMasks
from lifstream.hdl.events import DesireLayout, EventKind, bits_for_index
from lifstream.hdl.lanes import DEFICIT_MAX, DesireLanes, LaneGroup, SlotKind, correlation_bits, weighted_sum_bits
from lifstream.hdl.layer import LayerPhase, LayerSignals, LifLayer, RowUpdate
from lifstream.hdl.queue import StreamQueue

__all__ = ["DesireLayer"]

_BACK_QUEUE = 16
"""Desires on their way to the previous layer; at least the latency of a weighted sum."""


class DesireLayer(LifLayer):
    """Neurons with dropout whose weights follow desires.

    **Back.** The desires of the previous layer are sums over this layer's rows: each row is read
    once, multiplied by the desires' magnitudes (shifts), and added up.

    **Update.** Only rows of presynaptic neurons that fired, and only lanes with a desire. Samples without a
    desire cost nothing.

    Throughput beyond :class:`lifstream.hdl.layer.LifLayer`: back ``n_in x folds`` clocks; update with at most
    ``log2(T x trace) + 1`` shifts per row (31 with stochastic rounding). Adders: a tree over the groups of the
    weighted sum's width. No multiplier.
    """

    def _make_group(self, index: int) -> LaneGroup:
        return DesireLanes(spec=self.spec, layer=self.layer, geometry=self.geometry)

    def _broadcasts(self, m: Module, groups: list[LaneGroup]) -> dict[str, Signal | tuple[Signal, Signal]]:
        count = len(groups)
        self._desire = Signal(groups[0].desire.shape(), name="desire")
        self._desire_group = Signal(count, name="desire_group")   # which group takes the desire
        self._mask = Signal(groups[0].mask.shape(), name="mask")
        self._mask_group = Signal(count, name="mask_group")
        return {"desire": (self._desire, self._desire_group), "mask": (self._mask, self._mask_group)}

    def _slices(self, m: Module, at: LayerSignals) -> tuple[Value | int, Value | int]:
        geometry, slices = self.geometry, self.slices.source
        groups, folds = geometry.groups, geometry.folds
        dropped = Signal()
        base = Signal(range(geometry.lanes * folds + groups))
        source = at.groups[0]
        fired = Signal(groups)
        m.d.comb += fired.eq(Cat(group.spike for group in at.groups))
        if geometry.lanes * folds > geometry.n_out:     # some are padding
            real = Cat(base + index < geometry.n_out for index in range(groups))
            fired, spiking = Signal(groups, name="fired_real"), fired
            m.d.comb += fired.eq(spiking & real)
        wanted = fired.any() | (source.slice_marker != EventKind.SPIKE)
        m.d.sync += [slices.valid.eq(source.slice_valid & wanted), dropped.eq(source.slice_valid & ~wanted),
                     slices.p.mask.eq(fired), slices.p.tag.eq(base), slices.p.kind.eq(source.slice_marker)]
        with m.If(source.slice_valid):
            m.d.sync += base.eq(Mux(base == geometry.lanes * folds - groups, 0, base + groups))
        return geometry.lanes_per_group, dropped

    def _announce(self, m: Module, announce: Value) -> None:
        slices = self.slices.source
        with m.If(announce):
            m.d.sync += [slices.valid.eq(1), slices.p.mask.eq(0), slices.p.kind.eq(EventKind.LEARN)]

    def _masks(self, m: Module, at: LayerSignals) -> tuple[Value, Value]:
        geometry, spec = self.geometry, self.spec
        lanes, folds = geometry.lanes_per_group, geometry.folds
        self._asked = Signal(bits_for_index(geometry.n_out), name="asked")
        self._kept: Value = Signal(init=1, name="kept")
        if not self.has_dropout:
            return super()._masks(m, at)
        m.submodules.masks = masks = DropoutMasks(
            neurons=geometry.n_out, dropout=spec.dropout, seed=spec.dropout_seeds[self.layer])
        place = Signal(bits_for_index(folds * lanes))
        mask_turn = Signal(geometry.groups, init=1)
        m.d.comb += [masks.begin.eq(at.begin), masks.ask.eq(self._asked),
                     masks.reseed.eq(self.reseed), masks.state.eq(self.dropout_state)]
        m.d.sync += [
            self._mask.kept.eq(masks.kept),
            self._mask.address.eq(place + Mux(masks.current, 0, folds * lanes)),
            self._mask_group.eq(Mux(masks.drawing, mask_turn, 0)),
        ]
        with m.If(masks.drawing):
            m.d.sync += mask_turn.eq(mask_turn.rotate_left(1))
            with m.If(mask_turn[-1]):
                m.d.sync += place.eq(place + 1)
            with m.If(masks.neuron == geometry.n_out - 1):
                m.d.sync += [mask_turn.eq(1), place.eq(0)]
        with m.If(self.reseed):
            m.d.sync += [mask_turn.eq(1), place.eq(0)]
        self._kept = masks.answer
        return masks.current, masks.ready

    def _own_slots(self, m: Module, at: LayerSignals) -> None:
        self._back_slot = Signal(name="back_slot")        # the BACK phase wants a slot
        self._back_row = Signal(bits_for_index(self.geometry.n_in), name="back_row")
        if self.layer > 0:
            with m.Elif(self._back_slot):
                m.d.comb += at.issue.eq(1)
                m.d.sync += [at.slot.kind.eq(SlotKind.BACK), at.slot.row.eq(at.fold_row + self._back_row),
                             at.slot.last.eq(at.last_fold)]

    def _after_sample(self, m: Module, at: LayerSignals) -> None:
        spec, geometry = self.spec, self.geometry
        groups, lanes, folds = geometry.groups, geometry.lanes_per_group, geometry.folds
        phase, learning, begin = at.phase, at.learning, at.begin
        asked, kept = self._asked, self._kept
        desire, desire_group = self._desire, self._desire_group
        wanted_any = Signal()
        deepest = Signal(4)         # largest deficit of the layer's desires
        received = Signal(range(geometry.lanes * folds + 1))
        turn = Signal(groups, init=1)
        desire_lane = Signal(bits_for_index(lanes))
        desire_fold = Signal(bits_for_index(folds))
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

        if spec.magnitude is Magnitude.GRADED:
            with m.If(desire.active & (desire.magnitude > deepest)):
                m.d.sync += deepest.eq(desire.magnitude)

        finish = Signal()  # the update is over
        begun = Signal()   # a clock later is early enough, and the way shorter
        m.d.sync += begun.eq(begin)
        with m.If(begun):
            m.d.sync += [wanted_any.eq(0), deepest.eq(0)]
        with m.If(finish):
            m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        if self.layer > 0:
            self._back(m, at)
            with m.If((phase == LayerPhase.SKIP) & self.back.ready):
                m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        # Rounded half up, nothing is left after so many shifts; a random word can carry from further away.
        shifts_max = correlation_bits(spec) + 1 if at.rounding is None else spec.update_shift(
            spec.rate_shift_range[1]) - DESIRE_EXPONENT_MIN
        self._update(m, at, RowUpdate(rate=self.rate, deepest=deepest, shifts_max=shifts_max, lead=0), finish)

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

    def _back(self, m: Module, at: LayerSignals) -> None:
        """Desires of the previous layer: a weighted sum per row, compared and sent."""
        spec, geometry, lane_groups = self.spec, self.geometry, at.groups
        phase, last_fold, slot, row = at.phase, at.last_fold, self._back_slot, self._back_row
        sum_bits = weighted_sum_bits(spec, geometry.lanes * geometry.folds)
        # Adder tree over the groups, four at a time, each level registered; none for a single group.
        level = [group.sum for group in lane_groups]
        valid: Value = lane_groups[0].sum_valid
        last: Value = lane_groups[0].sum_last
        depth = 0
        while len(level) > 1:
            sums = []
            for index in range(0, len(level), 4):
                total = Signal(signed(sum_bits), name=f"sum_{depth}_{index // 4}", reset_less=True)
                m.d.sync += total.eq(sum(level[index:index + 4]))
                sums.append(total)
            later_valid = Signal(name=f"sum_valid_{depth}")
            later_last = Signal(name=f"sum_last_{depth}")
            m.d.sync += [later_valid.eq(valid), later_last.eq(last)]
            level, valid, last, depth = sums, later_valid, later_last, depth + 1
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

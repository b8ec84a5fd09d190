"""What a layer does to learn by desire backpropagation: desires come in from above and go on below."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.rules import DESIRE_EXPONENT_MIN, Magnitude
from lifstream.hdl.events import DesireLayout, bits_for_index, magnitude_bits
from lifstream.hdl.layer.desire_lanes import DEFICIT_MAX, correlation_bits, desire_rule, weighted_sum_bits
from lifstream.hdl.layer.history import SpikeHistory
from lifstream.hdl.layer.part import Teaching
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind
from lifstream.hdl.queue import StreamQueue

__all__ = ["DesireTeaching"]

_BACK_QUEUE = 16
"""Desires on their way to the previous layer; at least the latency of a weighted sum."""


class DesireTeaching(Teaching):
    """Desires are taken and handed to the lanes; those of the previous layer are computed and sent.

    **Back.** The desires of the previous layer are sums over this layer's rows: each row is read
    once, multiplied by the desires' magnitudes (shifts), and added up.

    **Update.** Only rows of presynaptic neurons that fired, and only lanes with a desire. Samples without a
    desire cost nothing.

    Latency: 2 clocks from the last desire to the phase after. Throughput: a desire per clock, a clock more per fold;
    back ``n_before x folds`` clocks, or one per target and fold of the channels; update with at most
    ``log2(T x trace) + 1`` shifts per row (31 with stochastic rounding). Adders: a tree over the groups of the weighted
    sum's width. No multiplier. Memory: 16 desires, and 16 bits where spikes limit a desire; where synapses have
    structure, a bit per fold; of hidden layers with ternary desires a spike count per neuron.
    """

    tapped = frozenset({"desires"})
    phases = (LayerPhase.RECEIVE, LayerPhase.STORE, LayerPhase.BACK, LayerPhase.SKIP)
    rate_bits = 5

    @property
    def slot_kind(self) -> SlotKind | None:
        """Rows for the weighted sums, of all layers but the first."""
        return SlotKind.BACK if not self._at.first else None

    @property
    def deepest_bits(self) -> int:
        """A deficit's."""
        return 4

    @property
    def shifts_max(self) -> int:
        """Rounded half up, nothing is left after so many shifts; a random word can carry from further away."""
        at = self._at
        if at.rounds_at_random:
            return at.update_shift(at.network.rate_shift_range[1]) - DESIRE_EXPONENT_MIN
        return correlation_bits(at) + 1

    @property
    def _passes_errors(self) -> bool:
        """Whether the exact spike-count errors of this hidden layer are needed by the one before."""
        return desire_rule(self._at).magnitude is Magnitude.TERNARY and not self._at.first and not self._at.last

    @property
    def counts_to(self) -> int | None:
        """The rise limit is the previous layer's."""
        return None if self._at.first else desire_rule(self._at.network.at(self._at.index - 1)).rise_limit

    def _own_ports(self) -> dict[str, Any]:
        at, geometry, groups = self._at, self._geometry, self._geometry.groups
        neuron = bits_for_index(geometry.n_out)
        sums = signed(weighted_sum_bits(at, geometry.lanes_per_group))
        return {
            "asked": Out(neuron),       # is this neuron ...
            "kept": In(1),              # ... kept in the sample?
            "desire": Out(data.StructLayout({
                "enable": 1, "active": 1, "negative": 1, "magnitude": magnitude_bits(at.network),
                "store": 1, "fold": bits_for_index(geometry.folds)})),
            "desire_group": Out(groups),
            **self._walk_ports(),
            **({"sum": In(sums).array(groups),
                "sum_valid": In(1).array(groups), "sum_last": In(1).array(groups)} if not self._at.first else {}),
            **({"spike_leaves": In(1), "leaving": In(neuron)} if self._passes_errors else {}),
            **({"counting": Out(1), "counted": Out(bits_for_index(geometry.n_in)), "often": In(1)}
               if self.counts_to is not None else {}),
        }

    def _walk_ports(self) -> dict[str, Any]:
        """What it wants from the fetch to go back: a row per neuron, or a walk through its targets."""
        geometry, source = self._geometry, bits_for_index(self._geometry.n_in)
        if not geometry.walked:
            return {"own_row": Out(source)} if not self._at.first else {}
        back = {"back_asks": Out(1), "back_source": Out(source), "walk_ready": In(1), "walked": In(1),
                "walked_last": In(1)}
        return {"walked_fold": In(bits_for_index(geometry.folds)),
                "walked_wanted": Out(1),    # whether any neuron of that fold has a desire
                **(back if not self._at.first else {})}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        phase, learning = Signal(LayerPhase, name="phase_now"), Signal(name="learning_now")
        m.d.comb += [self.phase.eq(phase), self.learning.eq(learning), self.shift_rate.eq(self.rate)]
        with m.If(self.begin):
            m.d.sync += learning.eq(1)
        with m.If(self.over):
            m.d.sync += phase.eq(LayerPhase.RECEIVE)
        self._receive(m, phase, learning)
        with m.If(self.finish):
            m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        if not self._at.first:
            self._back(m, phase)
            with m.If((phase == LayerPhase.SKIP) & self.back.ready):
                m.d.sync += [phase.eq(LayerPhase.FORWARD), learning.eq(0)]
        return m

    def _receive(self, m: Module, phase: Signal, learning: Signal) -> None:
        """Take the desires, or the word that there are none, and hand them to the lanes."""
        at, geometry, first_layer = self._at, self._geometry, self._at.first
        lanes, desire = geometry.lanes_per_group, Signal.like(self.desire, name="desire_now")
        group = Signal(geometry.groups, name="group_now")
        m.d.comb += [self.desire.eq(desire), self.desire_group.eq(group)]
        wanted_any = Signal()
        deepest = Signal(4)         # largest deficit of the layer's desires
        received = Signal(range(geometry.lanes * geometry.folds + 1))
        column = Signal(range(geometry.padded_columns + 1)) if geometry.positions > 1 else received
        turn = Signal(geometry.groups, init=1)
        lane = Signal(bits_for_index(lanes))
        fold = Signal(bits_for_index(geometry.folds))
        magnitude = self._own_error(m) if self._passes_errors else self.desires.p.magnitude
        next_phase = Signal(LayerPhase)  # once the desires are known
        wanted, none = (LayerPhase.UPDATE, LayerPhase.FORWARD) if first_layer else (LayerPhase.BACK, LayerPhase.SKIP)
        m.d.comb += [next_phase.eq(Mux(wanted_any, wanted, none)), self.asked.eq(received), self.deepest.eq(deepest)]

        m.d.sync += [group.eq(0), desire.store.eq(0), desire.fold.eq(fold)]
        m.d.sync += [desire.active.eq(0), desire.negative.eq(self.desires.p.negative), desire.magnitude.eq(magnitude)]
        with m.If(phase == LayerPhase.RECEIVE):
            padding = column >= geometry.columns
            m.d.comb += self.desires.ready.eq(~padding)
            with m.If(self.desires.valid & self.desires.ready & self.desires.p.skip):
                m.d.sync += phase.eq(none)
                m.d.sync += learning.eq(0) if first_layer else []
            with m.Elif(self.desires.valid | padding):
                active = self.desires.p.active & self.kept & ~padding
                m.d.sync += [group.eq(turn), desire.active.eq(active), turn.eq(turn.rotate_left(1)),
                             received.eq(received + 1)]
                if geometry.positions > 1:
                    m.d.sync += [column.eq(column + 1), received.eq(received + ~padding)]
                with m.If(active):
                    m.d.sync += wanted_any.eq(1)
                with m.If(turn[-1]):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane == lanes - 1):
                        m.d.sync += [lane.eq(0), phase.eq(LayerPhase.STORE)]
        with m.If(phase == LayerPhase.STORE):
            m.d.sync += [desire.store.eq(1), fold.eq(fold + 1), phase.eq(LayerPhase.RECEIVE)]
            if geometry.positions > 1:
                with m.If(column == geometry.padded_columns):
                    m.d.sync += column.eq(0)
            with m.If(received >= geometry.n_out if geometry.positions == 1 else fold == geometry.folds - 1):
                m.d.sync += [received.eq(0), fold.eq(0), phase.eq(next_phase)]
                m.d.sync += learning.eq(wanted_any) if first_layer else []
        if desire_rule(at).magnitude is Magnitude.GRADED:
            with m.If(desire.active & (desire.magnitude > deepest)):
                m.d.sync += deepest.eq(desire.magnitude)
        if geometry.walked:
            self._mark(m, phase, desire, fold)
        begun = Signal()   # a clock later is early enough, and the way shorter
        m.d.sync += begun.eq(self.begin)
        with m.If(begun):
            m.d.sync += [wanted_any.eq(0), deepest.eq(0)]

    def _mark(self, m: Module, phase: Signal, desire: data.View, fold: Signal) -> None:
        """Note the folds with a desire, so that updates pass over the others: a bit per fold."""
        m.submodules.wanted = wanted = memory.Memory(shape=1, depth=max(2, self._geometry.folds), init=[])
        put, get = wanted.write_port(), wanted.read_port(domain="comb")
        any_before, found = Signal(), Signal()
        # The fold's last desire is handed to the lanes in the clock in which the fold is stored.
        m.d.comb += [found.eq(any_before | desire.active), put.addr.eq(fold), put.data.eq(found),
                     put.en.eq(phase == LayerPhase.STORE), get.addr.eq(self.walked_fold),
                     self.walked_wanted.eq(get.data)]
        m.d.sync += any_before.eq(Mux(phase == LayerPhase.STORE, 0, found))

    def _own_error(self, m: Module) -> Value:
        """Distance of the asked neuron's spike count from what its desire wants: |D - n|, or n."""
        n_out, at, neuron = self._geometry.n_out, self._at, self.asked
        m.submodules.counts = counts = memory.Memory(shape=at.network.count_bits, depth=max(2, n_out), init=[])
        counted = Signal(n_out)  # neurons whose count belongs to the present sample
        put = counts.write_port()
        get = counts.read_port(domain="comb")
        ask = counts.read_port(domain="comb")
        spiking = self.leaving
        m.d.comb += [
            get.addr.eq(spiking), put.addr.eq(spiking), ask.addr.eq(neuron),
            put.en.eq(self.spike_leaves),
            put.data.eq(Mux(counted.bit_select(spiking, 1), get.data, 0) + 1),
        ]
        with m.If(put.en):
            m.d.sync += counted.bit_select(spiking, 1).eq(1)
        with m.If(self.begin):
            m.d.sync += counted.eq(0)
        count = Mux(counted.bit_select(neuron, 1), ask.data, 0)
        missing = Signal(signed(at.network.count_bits + 1))
        m.d.comb += missing.eq(desire_rule(at).desired_count(at.steps) - count)
        return Mux(self.desires.p.negative, count, Mux(missing < 0, -missing, missing))

    def _back(self, m: Module, phase: Signal) -> None:
        """Desires of the previous layer: a weighted sum per row, compared and sent."""
        at = self._at
        complete, folded = self._weighted_sum(m)
        negative = Signal()
        size = Signal(len(folded))
        sized = Signal()
        m.d.sync += [sized.eq(complete), negative.eq(folded < 0), size.eq(Mux(folded < 0, -folded, folded))]
        # The thresholds are the previous layer's, in units of this one's weights.
        fall, rise = desire_rule(at.network.at(at.index - 1)).hidden_thresholds_raw(
            fraction=at.formats.weight_fraction, steps=at.steps)
        wanted = size >= rise if rise == fall else Mux(negative, size >= fall, size >= rise)
        answer = Signal(DesireLayout(at.network))
        compared = Signal()
        m.d.sync += [compared.eq(sized), answer.active.eq(wanted),
                     answer.negative.eq(negative)]
        if desire_rule(at).magnitude is Magnitude.GRADED:
            # The sum's unit is 2**-(F + 10); a deficit of d means at least 2**(F + 10 - d).
            m.d.sync += answer.magnitude.eq(DEFICIT_MAX)
            for deficit in reversed(range(DEFICIT_MAX)):
                with m.If(size >> (at.formats.weight_fraction + DEFICIT_MAX - deficit) != 0):
                    m.d.sync += answer.magnitude.eq(deficit)

        self._send(m, phase, answer, compared)

    def _weighted_sum(self, m: Module) -> tuple[Signal, Signal]:
        """Over all groups and folds of a row: whether it is complete, and the sum."""
        geometry = self._geometry
        sum_bits = weighted_sum_bits(self._at, geometry.lanes * geometry.folds)
        # Adder tree over the groups, four at a time, each level registered; none for a single group.
        level = list(self.sum)
        valid: Value = self.sum_valid[0]
        last: Value = self.sum_last[0]
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
        return complete, folded

    def _send(self, m: Module, phase: Signal, answer: Signal, compared: Signal) -> None:
        """Ask for a row as long as there is room for what comes of it, and send the answers."""
        geometry, slot = self._geometry, self.own_slot
        last_fold = self.walked_last if geometry.walked else self.last_fold
        asking = self.back_source if geometry.walked else self.own_row
        row = Signal.like(asking, name="row_now")
        m.d.comb += asking.eq(row)
        # The previous layer, if ternary desires go further back, computes errors of its own.
        m.submodules.back_queue = queue = StreamQueue(shape=DesireLayout(self._at.network), depth=_BACK_QUEUE)
        room = Signal(range(_BACK_QUEUE + 1), init=_BACK_QUEUE)
        taken = Signal()
        sent = Signal(bits_for_index(geometry.n_before + 1))
        rows_done = Signal()
        starting = Signal()  # the row's first fold reserves the room
        mid_row = Signal()
        there = self.walked if geometry.walked else ~rows_done
        m.d.comb += [
            queue.source.payload.eq(answer), queue.source.valid.eq(compared),
            taken.eq(queue.sink.valid & queue.sink.ready),
            slot.eq((phase == LayerPhase.BACK) & there & (mid_row | (room != 0))),
            starting.eq(slot & ~mid_row),
        ]
        m.d.sync += room.eq(room - starting + taken)
        with m.If(slot):
            m.d.sync += mid_row.eq(~last_fold)
            if not geometry.walked:
                with m.If(last_fold):
                    self._next_row(m, row, rows_done)
        if geometry.walked:
            m.d.comb += self.back_asks.eq((phase == LayerPhase.BACK) & ~rows_done)
            with m.If(self.back_asks & self.walk_ready):
                self._next_row(m, row, rows_done)
        allowed, often = self._limited(m, phase, starting, taken)
        with m.If(phase == LayerPhase.SKIP):
            m.d.comb += [self.back.valid.eq(1), self.back.p.skip.eq(1)]
        with m.Elif(allowed):
            m.d.comb += [self.back.valid.eq(queue.sink.valid), self.back.payload.eq(queue.sink.payload),
                         queue.sink.ready.eq(self.back.ready)]
            m.d.comb += self.back.p.active.eq(queue.sink.p.active & ~(often & ~queue.sink.p.negative))
        with m.If(taken):
            m.d.sync += sent.eq(sent + 1)
            with m.If(sent == geometry.n_before - 1):
                m.d.sync += [sent.eq(0), rows_done.eq(0), phase.eq(LayerPhase.UPDATE)]

    def _limited(self, m: Module, phase: Signal, starting: Signal, taken: Signal) -> tuple[Value, Value]:
        """Of the neuron whose answer is to be sent: whether it is known if it fired too often to be wanted to fire
        more, and if so. Its spikes are counted while its row is summed."""
        if self.counts_to is None:
            return Const(1), Const(0)
        delay = SpikeHistory.count_latency(ascending=self._geometry.walked)
        m.submodules.often_queue = queue = StreamQueue(shape=1, depth=_BACK_QUEUE)
        asked = Signal(delay)
        m.d.comb += [self.counting.eq(phase == LayerPhase.BACK), queue.source.valid.eq(asked[-1]),
                     queue.source.payload.eq(self.often), queue.sink.ready.eq(taken)]
        m.d.sync += asked.eq(Cat(starting, asked))
        with m.If(starting):
            m.d.sync += self.counted.eq(Mux(self.counted == self._geometry.n_before - 1, 0, self.counted + 1))
        return queue.sink.valid, queue.sink.payload

    def _next_row(self, m: Module, row: Signal, rows_done: Signal) -> None:
        m.d.sync += row.eq(row + 1)
        with m.If(row == self._geometry.n_before - 1):
            m.d.sync += [row.eq(0), rows_done.eq(1)]

"""The update of a layer's weights, row by row."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.arithmetic import leak, xorshift32
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.history import SpikeHistory
from lifstream.hdl.layer.part import Teaching
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import LearnLayout, SlotKind

__all__ = ["WeightUpdate"]

_POSITION_PLACE = 16
"""Where a position stands in what tells random words apart; a neuron's index is below."""


class WeightUpdate(wiring.Component):
    """Fetches a presynaptic train, rebuilds its trace, has all lanes accumulate the rule's sums and shift them
    serially, then add them to the row, rounded once, and write it once; three rows are under way at a time.

    Latency: ``T / unroll + 8`` clocks from the phase's start to the first shift, and the rule's ``lead``. Throughput:
    ``max(T / unroll + 2, shifts + 4)`` clocks per row and fold, and the ``lead``; in a layer of maps, for each target
    with a desire, a clock for each of the others, and 7 per neuron. Adders: ``unroll`` of the trace's
    width, two of a row's index, three counters. No multiplier, no memory.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    teaching
        What the learning rule does in the layer.
    learn
        Layout of what the groups are told.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry, teaching: Teaching,
                 learn: LearnLayout) -> None:
        self._at, self._geometry, self._teaching, self._learn = at, geometry, teaching, learn
        self._stochastic = at.rounds_at_random
        row, neuron = bits_for_index(geometry.rows), bits_for_index(geometry.n_in)
        super().__init__({
            "phase": In(LayerPhase),
            "finish": Out(1),           # pulse: the update is over
            "shift_rate": In(teaching.rate_bits),           # right shift of every lane ...
            "deepest": In(teaching.deepest_bits),     # ... and the most by which a lane's exceeds that
            **({
                "train_found": In(1),       # of the next neuron that fired
                "train_take": Out(1),
                "train_exhausted": In(1),   # no such neuron is left
            } if geometry.walked else {
                "train_index": Out(neuron),     # ask for this train ...
                "train_count": In(bits_for_index(geometry.n_in + 1)),   # ... out of so many
            }),
            "train_neuron": In(neuron),
            "train": In(at.steps),
            "learn": Out(learn),
            "update_slot": Out(SlotKind),               # the slot that it wants
            "update_row": Out(row),
            **({"update_fold": Out(bits_for_index(geometry.folds)), "update_first": Out(1)}
               if teaching.every_row else {}),
            **({"begin": In(1), "reseed": In(1), "rounding_state": In(32)} if self._stochastic else {}),
            **{name: In(learn[name].shape) for name in learn.held},
            **(self._walk_ports() if geometry.walked else {}),
        })

    def _walk_ports(self) -> dict[str, Any]:
        """Of a walk through a neuron's targets."""
        geometry = self._geometry
        return {
            "update_asks": Out(1),      # go through the targets ...
            "update_source": Out(bits_for_index(geometry.n_in)),    # ... of this neuron
            "update_takes": Out(1),     # the target is over
            "walked": In(1),            # there is one ...
            "walked_row": In(bits_for_index(geometry.rows)),
            "walked_fold": In(bits_for_index(geometry.folds)),
            "walked_position": In(bits_for_index(geometry.positions)),
            "walked_void": In(1),       # ... which is none
            "walked_last": In(1),
            "walked_wanted": In(1),     # ... with a desire
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        learn = Signal(self._learn, name="learn_now")
        take_fetched, take = Signal(), Signal()
        complete = Signal()     # sums wait to be taken
        m.d.comb += self.learn.eq(learn)
        m.d.sync += learn.eq(self._learn.const({}))
        fetched, waiting, left = self._fetch(m, take_fetched)
        summing, fold, row, neuron, word = self._correlate(m, learn, fetched, take_fetched, take, complete)
        changing = self._change(m, learn, take, complete, fold, row, neuron, word)
        busy = fetched | summing | complete | changing
        m.d.sync += self.finish.eq((self.phase == LayerPhase.UPDATE) & ~left & ~busy & ~waiting & ~self.finish)
        m.d.sync += [learn[name].eq(getattr(self, name)) for name in self._learn.held]
        return m

    def _fetch(self, m: Module, take: Signal) -> tuple[Value, Value, Value]:
        """The train of the next neuron that fired; returns whether it is there, awaited, and any is left."""
        if self._geometry.walked:
            m.d.comb += self.train_take.eq(take)
            found = (self.phase == LayerPhase.UPDATE) & self.train_found   # it may be there before
            return found, Const(0), ~self.train_exhausted
        latency = SpikeHistory.latency
        fetched = Signal()
        wait = Signal(range(latency + 1))
        index = Signal(bits_for_index(self._geometry.n_in + 1))
        left = index != self.train_count
        m.d.comb += self.train_index.eq(index)
        with m.If((self.phase == LayerPhase.UPDATE) & ~fetched & left):
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == latency):
                m.d.sync += fetched.eq(1)
        with m.If(take):
            m.d.sync += [fetched.eq(0), wait.eq(0), index.eq(index + 1)]
        with m.If(self.finish):
            m.d.sync += index.eq(0)
        return fetched, wait != 0, left

    def _correlate(self, m: Module, learn: Signal, fetched: Value, take_fetched: Signal, take: Signal,
                   complete: Signal) -> tuple[Value, Signal, Value, Signal, Value]:
        """Rebuild the trace, ``unroll`` steps per clock, once per fold.

        Returns whether that is under way, the fold, its row, the presynaptic neuron, and what tells its random words
        apart.
        """
        at, geometry = self._at, self._geometry
        folds, unroll, blocks, rule = geometry.folds, geometry.unroll, geometry.blocks(at.steps), at.rule
        correlating, summing = Signal(), Signal()
        block = Signal(bits_for_index(blocks))
        fold = Signal(bits_for_index(folds))
        fold_row = Signal(bits_for_index(geometry.rows))
        remaining = Signal(blocks * unroll)
        neuron = Signal(bits_for_index(geometry.n_in))
        trace = Signal(range(at.trace_max + 1))
        traces = []
        opening = Signal()      # in a layer of maps: the train's first block
        value: Value = Mux(opening, 0, trace) if geometry.walked else trace
        for place in range(unroll):
            following = Signal(range(at.trace_max + 1), name=f"trace_{place}")
            spiked = remaining[place] << rule.trace_fraction
            m.d.comb += following.eq(leak(value, rule.trace_leak_shift) + spiked)
            traces.append(following)
            value = following
        # Decided a clock before: what it starts lies far apart.
        walking = Signal(name="walking") if geometry.walked else None   # the neuron has targets left
        ready: Value = fetched & ~summing & ~complete & ~take_fetched
        m.d.sync += take_fetched.eq(ready if walking is None else ready & ~walking)
        with m.If(take_fetched):
            m.d.sync += [correlating.eq(walking is None), block.eq(0), fold.eq(0), fold_row.eq(0), trace.eq(0),
                         remaining.eq(self.train), neuron.eq(self.train_neuron)]
        with m.If(correlating):
            m.d.sync += [
                learn.correlate.eq(1), learn.fresh.eq(block == 0), learn.block.eq(block), learn.fold.eq(fold),
                trace.eq(value), remaining.eq(remaining.rotate_right(unroll)), block.eq(block + 1), opening.eq(0),
            ]
            for place in range(unroll):
                beyond = block == blocks - 1 if (blocks - 1) * unroll + place >= at.steps else None
                told = self._learn.encode(place, trace=traces[place], spiked=remaining[place], beyond=beyond)
                m.d.sync += [learn[name][index].eq(field) for (name, index), field in told.items()]
            with m.If(block == blocks - 1):
                m.d.sync += correlating.eq(0)
        # Sums are complete when the last step has been added: later where lanes have to look for a fold's.
        stages: list[Value] = [correlating & (block == blocks - 1)]
        for stage in range(geometry.fold_latency):
            stages.append(Signal(name=f"adding_{stage}"))
            m.d.sync += [stages[-1].eq(stages[-2]), learn.fold.eq(fold)]
        m.d.comb += summing.eq(correlating | Cat(stages[1:]).any())
        with m.If(stages[-1]):
            m.d.sync += complete.eq(1)
        with m.If(take):
            m.d.sync += complete.eq(0)
            if folds > 1 and not geometry.walked:
                with m.If(fold != folds - 1):
                    m.d.sync += [correlating.eq(1), block.eq(0), fold.eq(fold + 1), trace.eq(0),
                                 fold_row.eq(fold_row + geometry.n_in)]  # the train has come full circle
        if walking is None:
            return summing, fold, fold_row + neuron, neuron, neuron
        position = Signal(bits_for_index(geometry.positions))
        begin, target = self._walk(m, take_fetched, walking, ~summing & (~complete | take))
        with m.If(begin):  # the train has come full circle
            m.d.sync += [correlating.eq(1), opening.eq(1), block.eq(0), fold.eq(target.fold),
                         fold_row.eq(target.row), position.eq(target.position)]
        m.d.comb += self.update_source.eq(neuron)
        word = Cat(neuron, Const(0, _POSITION_PLACE - len(neuron)), position)
        return summing | walking, fold, fold_row, neuron, word

    def _walk(self, m: Module, start: Signal, walking: Signal, free: Value) -> tuple[Signal, data.View]:
        """Go through a neuron's targets, passing over those without a desire; returns whether one is begun with, and
        which.

        Whether there is a desire is looked up while a target moves on to be the next.
        """
        layout = data.StructLayout({"row": self.walked_row.shape(), "fold": self.walked_fold.shape(),
                                    "position": self.walked_position.shape(), "last": 1, "wanted": 1})
        asking, begin, there, passes = Signal(), Signal(), Signal(), Signal()
        following = Signal(layout, name="next_target")
        m.d.comb += [
            begin.eq(there & following.wanted & free), passes.eq(there & (free | ~following.wanted)),
            self.update_asks.eq(asking),
            # Not as soon as one is begun with, which is known late: the clock is lost once in a change.
            self.update_takes.eq(walking & self.walked & (~there | ~following.wanted)),
        ]
        m.d.sync += asking.eq(start)    # the walk is over, so it can be had at once
        with m.If(start):
            m.d.sync += walking.eq(1)
        with m.If(passes):
            m.d.sync += there.eq(0)
            with m.If(following.last):
                m.d.sync += walking.eq(0)
        with m.If(self.update_takes):
            m.d.sync += [
                there.eq(1), following.row.eq(self.walked_row), following.fold.eq(self.walked_fold),
                following.position.eq(self.walked_position), following.last.eq(self.walked_last),
                following.wanted.eq(self.walked_wanted & ~self.walked_void)]
        return begin, following

    def _change(self, m: Module, learn: Signal, take: Signal, complete: Signal, fold: Signal, row: Value,
                neuron: Signal, word: Value) -> Value:
        """Shift, add, write; returns whether any of that is under way.

        The row is read while the sums are shifted, or before.
        """
        shifts_max, lead = self._teaching.shifts_max, self._teaching.lead
        shifting, adding, writing = Signal(), Signal(), Signal()
        settling = Signal()  # the sum is saturated
        aiming = Signal(range(lead + 1)) if lead else None
        count = Signal(range(shifts_max + 1))
        shift_fold = Signal.like(fold)
        last_shift = Signal()
        busy = shifting | adding | settling | writing
        if aiming is not None:
            busy = busy | (aiming != 0)
        m.d.comb += take.eq(complete & ~busy)
        # The row needs two clocks more than a shift of none would leave it.
        deepest = Signal(range(64))
        m.d.sync += deepest.eq(self.shift_rate + self.deepest)
        m.d.comb += last_shift.eq((count == shifts_max - 1) | ((count + 1 >= deepest) & (count >= 2)))
        m.d.sync += learn.shift_fold.eq(shift_fold)
        with m.If(take):
            m.d.comb += [self.update_slot.eq(SlotKind.HOLD), self.update_row.eq(row)]
            m.d.sync += [learn.take.eq(1), count.eq(0), shift_fold.eq(fold), learn.shift_fold.eq(fold)]
            m.d.sync += shifting.eq(1) if aiming is None else aiming.eq(lead)
        if aiming is not None:
            with m.Elif(aiming != 0):
                m.d.sync += [aiming.eq(aiming - 1), learn.aim.eq(aiming == 1), shifting.eq(aiming == 1)]
        if self._stochastic:
            self._random_bits(m, learn, take, shifting, word)
        write_row = Signal.like(self.update_row)
        with m.If(take):
            m.d.sync += write_row.eq(self.update_row)
        if self._teaching.every_row:
            write_first = Signal()
            with m.If(take):
                m.d.sync += write_first.eq(neuron == 0)
            m.d.comb += [self.update_fold.eq(shift_fold), self.update_first.eq(write_first)]
        with m.If(shifting):
            m.d.sync += [learn.shift.eq(1), learn.everyone.eq(count < self.shift_rate),
                         learn.excess.eq(count - self.shift_rate), count.eq(count + 1)]
            with m.If(last_shift):
                m.d.sync += [shifting.eq(0), adding.eq(1)]
        with m.If(adding):
            m.d.sync += [learn.apply.eq(1), adding.eq(0), settling.eq(1)]
        with m.If(settling):
            m.d.sync += [settling.eq(0), writing.eq(1)]
        with m.If(writing):
            m.d.comb += [self.update_slot.eq(SlotKind.WRITE), self.update_row.eq(write_row)]
            m.d.sync += writing.eq(0)
        return busy

    def _random_bits(self, m: Module, learn: Signal, take: Signal, shifting: Signal, seed: Value) -> None:
        """A word per row and position, of which every shift takes a bit; the generator steps once per sample."""
        state = Signal(32, init=self._at.rounding_seed)
        with m.If(self.begin):
            m.d.sync += state.eq(xorshift32(state))
        with m.If(self.reseed):
            m.d.sync += state.eq(self.rounding_state)
        word = Signal(32)
        with m.If(take):
            m.d.sync += word.eq(xorshift32(state ^ seed))
        with m.If(shifting):
            m.d.sync += [learn.random.eq(word[0]), word.eq(word >> 1)]

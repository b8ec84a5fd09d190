"""A layer of competing neurons that learns by spike-timing-dependent plasticity."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from lifstream.golden.spec import Bounds, Rounding, StdpSpec, unsigned_bits
from lifstream.hdl.events import EventKind, SliceLayout, bits_for_index
from lifstream.hdl.lanes import LaneGroup, SlotKind, table
from lifstream.hdl.layer import LayerPhase, LayerSignals, LifLayer, RowUpdate
from lifstream.hdl.plastic_lanes import CandidateLayout, PlasticLanes, adaptive_bits

__all__ = ["PlasticLayer"]

_THRESHOLD_LATENCY = 4
"""Clocks from asking the groups for an adaptive threshold to its answer."""


class PlasticLayer(LifLayer):
    """Neurons of which at most one fires in a step.

    **Competition.** The groups' candidates meet in a tree of comparators, one level per clock; the winner
    leaves as an event and is told to the groups with the next step, which therefore waits for it.

    **Learning.** One item says whether the sample is rewarded or punished, and is passed on to the layer before.
    Adaptive thresholds rise and leak; then, if a neuron fired, all rows change.

    Latency: ``lanes per group x folds + log2(groups) + 16`` clocks from a step's end to its winner. Throughput
    beyond :class:`lifstream.hdl.layer.LifLayer`: a step per that many clocks at the most. Update: ``n_in x folds``
    times ``max(T / unroll + 2, shifts + 7)`` clocks, with at most ``log2(pair sum) + 1`` shifts (31 with stochastic
    rounding). Comparators: two per group, of the membrane's width. No multiplier.
    """

    every_row = True

    @property
    def _stdp(self) -> StdpSpec:
        assert self.spec.stdp is not None
        return self.spec.stdp

    @property
    def keeps_sums(self) -> bool:
        return self._stdp.weight_sum > 0

    def _own_members(self) -> dict[str, object]:
        thresholds = stream.Signature(unsigned(adaptive_bits(self.spec, self.layer)))
        return {
            "thresholds": In(thresholds),  # adaptive thresholds, in the order of the neurons; then from the start
            "read_thresholds": In(1),      # pulse: send all of them on `threshold_readback`
            "threshold_readback": Out(thresholds),
            "fired": Out(1),               # a neuron has, in the sample to learn from
        }

    def _slice_layout(self) -> SliceLayout:
        return SliceLayout(1, unsigned(bits_for_index(self.geometry.n_out)))

    def _slice_depth(self) -> int:
        return 4

    def _make_group(self, index: int) -> LaneGroup:
        return PlasticLanes(spec=self.spec, layer=self.layer, geometry=self.geometry, index=index)

    def _broadcasts(self, m: Module, groups: list[LaneGroup]) -> dict[str, Signal | tuple[Signal, Signal]]:
        self._lane_groups = groups
        self._adapt = Signal(groups[0].adapt.shape(), name="adapt")
        self._adapt_group = Signal(len(groups), name="adapt_group")
        self.update_fold = Signal(bits_for_index(self.geometry.folds), name="update_fold")
        self.update_first = Signal(name="update_first")
        return {"adapt": (self._adapt, self._adapt_group)}

    # -- competition -------------------------------------------------------------------------------

    def _slices(self, m: Module, at: LayerSignals) -> tuple[Value | int, Value | int]:
        geometry = self.geometry
        self._awaiting = Signal(name="awaiting")    # the step's winner is being found
        self._won = Signal(name="won")              # a neuron fired in the step before
        self._any_won = Signal(name="any_won")      # ... in the sample
        winner, ready = self._tournament(m, at.groups)
        layout = CandidateLayout(self.spec, self.layer, geometry)
        self._winner = Signal(layout, name="winner_now")
        marker = Signal(EventKind, name="step_marker")
        with m.If(at.stepping & at.last_fold):
            m.d.sync += [self._awaiting.eq(1), marker.eq(at.marker)]
        found = Signal()
        m.d.sync += found.eq(ready)
        with m.If(ready):
            m.d.sync += [self._winner.eq(winner), self._won.eq(winner.valid)]
        with m.If(found):
            m.d.sync += self._awaiting.eq(0)
            with m.If(self._won):
                m.d.sync += self._any_won.eq(1)
        with m.If(at.begin):
            m.d.sync += self._any_won.eq(0)
        m.d.comb += self.fired.eq(self._any_won)
        lanes, groups, folds = geometry.lanes_per_group, geometry.groups, geometry.folds
        neuron = self._winner.group + table(m, self._winner.lane, lanes, groups)
        if folds > 1:
            neuron = neuron + table(m, self._winner.fold, folds, geometry.lanes)
        source = self.slices.source
        m.d.comb += [source.valid.eq(found), source.p.mask.eq(self._won), source.p.tag.eq(neuron),
                     source.p.kind.eq(marker)]
        return at.last_fold, 0

    def _tournament(self, m: Module, groups: list[LaneGroup]) -> tuple[Signal, Value]:
        """The groups' best candidate, lowest neuron on ties, and when it is known: a level per clock."""
        level: list[Signal] = [group.candidate for group in groups]
        ready: Value = groups[0].candidate_ready
        depth = 0
        layout = CandidateLayout(self.spec, self.layer, self.geometry)
        while len(level) > 1:
            winners = []
            for index in range(0, len(level), 2):
                winner = Signal(layout, name=f"candidate_{depth}_{index // 2}", reset_less=True)
                first = level[index]
                m.d.sync += winner.eq(first)
                if index + 1 < len(level):
                    second = level[index + 1]
                    # Groups ascend from first to second, so equals in fold and lane leave the first in place.
                    sooner = (second.fold < first.fold) | ((second.fold == first.fold) & (second.lane < first.lane))
                    better = (second.above > first.above) | ((second.above == first.above) & sooner)
                    with m.If(second.valid & (~first.valid | better)):
                        m.d.sync += winner.eq(second)
                winners.append(winner)
            later = Signal(name=f"candidate_ready_{depth}")
            m.d.sync += later.eq(ready)
            level, ready, depth = winners, later, depth + 1
        return level[0], ready

    def _may_step(self, at: LayerSignals) -> Value | None:
        # Thresholds depend on the sums of the weights.
        return ~self._awaiting & ~at.refreshing

    # -- learning ----------------------------------------------------------------------------------

    def _own_slots(self, m: Module, at: LayerSignals) -> None:
        self._settle = Signal(name="settle")
        with m.Elif(self._settle):
            m.d.comb += at.issue.eq(1)
            m.d.sync += [at.slot.kind.eq(SlotKind.SETTLE),
                         at.pause.eq(LaneGroup.step_interval(self.geometry) - 1)]

    def _after_sample(self, m: Module, at: LayerSignals) -> None:
        spec, stdp, phase = self.spec, self._stdp, at.phase
        m.d.sync += [at.slot.won.eq(self._won), at.slot.winner_fold.eq(self._winner.fold),
                     at.slot.winner_lane.eq(self._winner.lane), at.slot.winner_group.eq(self._winner.group),
                     at.slot.begin.eq(at.fold == 0)]
        self._threshold_access(m)

        punished = Signal()
        with m.If(phase == LayerPhase.RECEIVE):
            m.d.comb += self.desires.ready.eq(~self._awaiting)
            with m.If(self.desires.valid & self.desires.ready):
                m.d.sync += [punished.eq(self.desires.p.negative),
                             phase.eq(LayerPhase.PASS if self.layer > 0 else LayerPhase.SETTLE)]
        if self.layer > 0:
            m.d.comb += self.back.payload.eq(Cat(Const(0, 1), Const(1, 1), punished))  # not to be skipped; active
            with m.If(phase == LayerPhase.PASS):
                m.d.comb += self.back.valid.eq(1)
                with m.If(self.back.ready):
                    m.d.sync += phase.eq(LayerPhase.SETTLE)
        m.d.comb += self._settle.eq((phase == LayerPhase.SETTLE) & (at.pause == 0))
        finish = Signal()  # the update is over
        with m.If(self._settle & at.last_fold):
            m.d.sync += [phase.eq(Mux(self._any_won, LayerPhase.UPDATE, LayerPhase.FORWARD)),
                         at.learning.eq(self._any_won)]
        with m.If(finish):
            m.d.sync += [phase.eq(LayerPhase.FORWARD), at.learning.eq(0)]

        rate = Signal(6)
        m.d.sync += rate.eq(self.rate + stdp.gain_shift + Mux(punished, stdp.punishment_shift, 0))
        soft = spec.weight_fraction if stdp.bounds is Bounds.SOFT else 0
        low, high = spec.correlation_range
        # Rounded half up, nothing is left after so many shifts; a random word can carry from further away.
        shifts_max = 31 if spec.rounding is Rounding.STOCHASTIC else unsigned_bits(max(-low, high)) + 1
        self._update(m, at, RowUpdate(rate=rate, deepest=soft, shifts_max=shifts_max, lead=3), finish)
        # After the update's own defaults: who is punished does not change while rows do.
        m.d.sync += at.learn.punished.eq(punished)

    def _send_trace(self, learn: Signal, place: int, trace: Value, spiked: Value, beyond: Value | None) -> list[object]:
        target = self._stdp.presynaptic_target
        # Past the last step postsynaptic trains hold anything.
        within = 1 if beyond is None else ~beyond
        return [learn.traces[place].eq(Mux(within, trace - target, 0)),
                learn.heavy_traces[place].eq(Mux(within, trace - 2 * target, 0)),
                learn.spiked[place].eq(spiked if beyond is None else spiked & ~beyond)]

    def _threshold_access(self, m: Module) -> None:
        """Adaptive thresholds on their way in and out, one at a time, in the order of the neurons."""
        geometry = self.geometry
        groups = geometry.groups
        neuron = Signal(range(geometry.n_out + 1))
        group = Signal(bits_for_index(groups))
        address = Signal(bits_for_index(geometry.folds * geometry.lanes_per_group))
        wait = Signal(range(_THRESHOLD_LATENCY + 1))
        following = Signal()
        m.d.sync += [self._adapt_group.eq(0), self._adapt.address.eq(address),
                     self._adapt.value.eq(self.thresholds.payload)]
        m.d.comb += self.threshold_readback.payload.eq(Array(lanes.adapted for lanes in self._lane_groups)[group])
        with m.If(following):
            m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1)]
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), address.eq(address + 1)]
            with m.If(neuron == geometry.n_out - 1):
                m.d.sync += [neuron.eq(0), group.eq(0), address.eq(0)]
        with m.FSM(name="threshold_state"):
            with m.State("LOAD"):
                m.d.comb += self.thresholds.ready.eq(1)
                with m.If(self.read_thresholds):
                    m.next = "ASK"
                with m.If(self.thresholds.valid):
                    m.d.comb += following.eq(1)
                    m.d.sync += self._adapt_group.eq(1 << group)
            with m.State("ASK"):
                m.d.sync += wait.eq(_THRESHOLD_LATENCY)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.threshold_readback.valid.eq(1)
                with m.If(self.threshold_readback.ready):
                    m.d.comb += following.eq(1)
                    m.next = "ASK"
                    with m.If(neuron == geometry.n_out - 1):
                        m.next = "LOAD"

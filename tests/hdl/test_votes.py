"""The vote readout, ``rtl(x) == golden(x)``: predictions, teaching, spike counts, votes, and reset at any moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lifstream.golden.contract.flat import NamedRule, changed
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.readout import Votes
from lifstream.golden.contract.rules import Modulation
from lifstream.golden.model.readouts import NO_PREDICTION, unique_maximum
from lifstream.golden.model.readouts import VoteReadout as GoldenReadout
from lifstream.hdl.events import EventKind
from lifstream.hdl.votes import VoteReadout
from tests.conftest import flat
from tests.golden.test_stdp import plastic
from tests.hdl.clocked import Clocked, run

SIZES = [(1, 1), (1, 3), (5, 1), (2, 2), (6, 4)]
"""Neurons and classes."""


def votes_of(spec: NetworkSpec) -> Votes:
    """The readout, which must be one by votes."""
    assert isinstance(spec.readout, Votes)
    return spec.readout


def short(sizes: tuple[int, ...], rule: NamedRule) -> NetworkSpec:
    """A contract of few steps."""
    return changed(plastic(sizes, rule=rule), steps=5, desire_margin=0)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the readout is sent of an image, and by the layers beside it."""

    spikes: NDArray[np.bool_]
    """(T, n)."""
    label: int | None
    """None: only classified."""
    fired: bool
    """Whether a neuron of any layer did."""

    def events(self) -> list[dict[str, Any]]:
        events = [] if self.label is None else [{"kind": EventKind.LEARN, "neuron": 0}]
        for step, fired in enumerate(self.spikes):
            events += [{"kind": EventKind.SPIKE, "neuron": int(neuron)} for neuron in np.flatnonzero(fired)]
            last = step == len(self.spikes) - 1
            events.append({"kind": EventKind.SAMPLE_END if last else EventKind.STEP_END, "neuron": 0})
        return events


def some_samples(spec: NetworkSpec, seed: int, count: int) -> list[Sample]:
    """Silent and saturated ones, and what lies between; some to learn from."""
    random = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        rate = (0.0, 1.0, 0.05, 0.3)[index % 4]
        spikes = random.random((spec.steps, spec.responding)) < rate
        label = int(random.integers(spec.classes)) if index % 3 else None
        # A layer before may have fired alone.
        samples.append(Sample(spikes=spikes, label=label, fired=bool(spikes.any() or random.random() < 0.5)))
    return samples


def some_votes(spec: NetworkSpec, seed: int) -> NDArray[np.int64]:
    """Few different votes, so that there are ties; of either sign, with both ends of the format."""
    random = np.random.default_rng(seed)
    return random.choice([-1, 0, 1, 2, *votes_of(spec).vote_range], (spec.responding, spec.classes),
                         p=[0.2, 0.3, 0.2, 0.2, 0.05, 0.05])


def expected(spec: NetworkSpec, votes: NDArray[np.int64], sample: Sample) -> list[tuple[str, Any]]:
    """What comes out for a sample, in order, by stream."""
    counts = sample.spikes.sum(axis=0, dtype=np.int64)
    prediction = int(unique_maximum(GoldenReadout().scores(counts, [votes])))
    out: list[tuple[str, Any]] = []
    if sample.label is not None:
        assert flat(spec).stdp is not None
        wrong = flat(spec).stdp.modulation is Modulation.REWARD and prediction != sample.label
        out.append(("desires", (not sample.fired, sample.fired, wrong)))
    learned = None if sample.label is None else sample.fired
    out.append(("result", (prediction, sample.label is not None, learned)))
    return out + [("answer", int(count)) for count in counts]


def decoded(stream: str, payload: Any) -> Any:
    if stream == "desires":
        return bool(payload.skip), bool(payload.active), bool(payload.negative)
    if stream == "result":
        return (payload.prediction if payload.unique else NO_PREDICTION, bool(payload.trained),
                bool(payload.learned) if payload.trained else None)
    return payload


def watch(clock: Clocked) -> list[tuple[str, Any]]:
    """Payloads as they leave, in order, by stream."""
    out: list[tuple[str, Any]] = []

    def look() -> None:
        out.extend((name, decoded(name, clock.get(getattr(clock.dut, name).payload)))
                   for name in ("desires", "result", "answer") if clock.transfers(name))

    clock.watchers.append(look)
    return out


async def load(clock: Clocked, votes: NDArray[np.int64]) -> None:
    first, *rest = votes.ravel().tolist()
    clock.send("weights", [first])
    await clock.until(lambda: not clock.pending("weights"))
    assert clock.get(clock.dut.idle) == (not rest), "idle with votes on their way in"
    clock.send("weights", rest)
    await clock.until(lambda: not clock.pending("weights"))
    assert clock.get(clock.dut.idle)


async def read(clock: Clocked) -> list[int]:
    clock.received["readback"].clear()
    clock.set(clock.dut.read, 1)
    await clock.tick()
    clock.set(clock.dut.read, 0)
    assert not clock.get(clock.dut.idle)
    await clock.until(lambda: clock.get(clock.dut.idle))
    return clock.received["readback"]


async def play(clock: Clocked, sample: Sample, out: list[tuple[str, Any]], results: int) -> None:
    """Send a sample and await so many items."""
    out.clear()
    clock.set(clock.dut.fired, sample.fired)
    clock.send("spikes", sample.events())
    clock.send("labels", [] if sample.label is None else [{"label": sample.label}])
    await clock.until(lambda: len(out) == results)
    clock.set(clock.dut.fired, 0)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("rule", [NamedRule.STDP, NamedRule.REWARD_STDP])
@pytest.mark.parametrize(("neurons", "classes"), SIZES)
def test_samples_are_counted_judged_and_taught(neurons: int, classes: int, rule: NamedRule, stall: float) -> None:
    spec = short((4, neurons, classes), rule)
    seen = set()

    async def bench(clock: Clocked) -> None:
        out = watch(clock)
        for seed in range(2):
            votes = some_votes(spec, seed)
            await load(clock, votes)
            for number, sample in enumerate(some_samples(spec, seed, 12)):
                wanted = expected(spec, votes, sample)
                await play(clock, sample, out, len(wanted))
                assert out == wanted, (seed, number)
                seen.update(payload[0] for stream, payload in wanted if stream == "result")
            await clock.tick(5)
            assert len(out) == len(wanted), "nothing more comes"
            for _ in range(2):
                assert await read(clock) == votes.ravel().tolist()

    run(VoteReadout(spec=spec), bench, stall=stall)
    assert seen == {0} if classes == 1 else len(seen) > 1 and NO_PREDICTION in seen


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_images_follow_each_other_at_once(stall: float) -> None:
    """Events wait while a sample is judged; labels may wait for their sample."""
    spec = short((4, 5, 3), NamedRule.REWARD_STDP)
    votes, samples = some_votes(spec, 9), some_samples(spec, 9, 12)
    samples = [Sample(spikes=sample.spikes, label=sample.label, fired=True) for sample in samples]
    wanted = [item for sample in samples for item in expected(spec, votes, sample)]

    async def bench(clock: Clocked) -> None:
        out = watch(clock)
        await load(clock, votes)
        clock.set(clock.dut.fired, 1)
        clock.send("labels", [{"label": sample.label} for sample in samples if sample.label is not None])
        clock.send("spikes", [event for sample in samples for event in sample.events()])
        await clock.until(lambda: len(out) == len(wanted))
        assert out == wanted

    run(VoteReadout(spec=spec), bench, stall=stall)


def test_largest_totals_fit() -> None:
    """Every neuron fires at every step, for votes at the ends of their format."""
    spec = plastic((4, 6, 3))
    sample = Sample(spikes=np.ones((spec.steps, 6), dtype=bool), label=None, fired=True)
    low, high = votes_of(spec).vote_range
    ends = np.array([[low, high, high - 1]] * 6)

    async def bench(clock: Clocked) -> None:
        out = watch(clock)
        for votes in (ends, ends[:, ::-1], ends[:, [1, 0, 0]]):
            await load(clock, votes)
            wanted = expected(spec, votes, sample)
            await play(clock, sample, out, len(wanted))
            assert out == wanted

    run(VoteReadout(spec=spec), bench)


@pytest.mark.parametrize(("rule", "clocks"), [(NamedRule.STDP, 1), (NamedRule.REWARD_STDP, 5)])
def test_reset_at_any_moment_of_a_sample_keeps_the_votes_and_nothing_else(rule: NamedRule, clocks: int) -> None:
    spec = short((4, 4, 3), rule)
    votes = some_votes(spec, 2)
    spikes = np.random.default_rng(1).random((spec.steps, 4)) < 0.4
    before = Sample(spikes=spikes, label=1, fired=True)
    after = [Sample(spikes=spikes[::-1] & (np.arange(4) != absent), label=label, fired=True)
             for absent, label in ((3, None), (0, 2))]
    length = len(before.events()) + spec.classes + spec.responding + 8

    async def bench(clock: Clocked) -> None:
        out = watch(clock)
        await load(clock, votes)
        for wait in range(1, length):
            clock.set(clock.dut.fired, 1)
            clock.send("spikes", before.events())
            clock.send("labels", [{"label": 1}])
            await clock.tick(wait)
            await clock.reset(clocks)
            for sample in after:
                wanted = expected(spec, votes, sample)
                await play(clock, sample, out, len(wanted))
                assert out == wanted, wait
        assert await read(clock) == votes.ravel().tolist()

    run(VoteReadout(spec=spec), bench)


def test_reset_while_votes_come_in_or_go_out() -> None:
    """The next start from the first."""
    spec = plastic((4, 3, 3))
    votes = some_votes(spec, 2)

    async def bench(clock: Clocked) -> None:
        for wait in range(1, 24):
            if wait % 2:
                clock.send("weights", (-1 - votes).ravel().tolist())
            else:
                clock.set(clock.dut.read, 1)
            await clock.tick()
            clock.set(clock.dut.read, 0)
            await clock.tick(wait)
            await clock.reset()
            assert clock.get(clock.dut.idle)
            await load(clock, votes)
            assert await read(clock) == votes.ravel().tolist(), wait

    run(VoteReadout(spec=spec), bench, stall=0.2)

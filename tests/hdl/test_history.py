"""The spike history, ``rtl(x) == recorded(x)``, across samples: also after 255 of them, where their numbers repeat."""

from __future__ import annotations

import random

import pytest

from lifstream.hdl.layer.history import SpikeHistory
from tests.hdl.clocked import Clocked, run

Sample = list[tuple[int, int]]
"""Spikes as (step, neuron), in order."""

SIZES = [(1, 1), (1, 20), (2, 3), (5, 20), (8, 7)]


def spikes_of(generator: random.Random, neurons: int, steps: int, rate: float) -> Sample:
    """A random sample; the order within a step carries no meaning."""
    return [(step, neuron) for step in range(steps) for neuron in generator.sample(range(neurons), neurons)
            if generator.random() < rate]


LISTS: list[dict[str, bool]] = [{}, {"every": True}, {"ascending": True}]


def recorded(sample: Sample, *, neurons: int, every: bool = False, ascending: bool = False) -> list[tuple[int, int]]:
    """What the history lists: (neuron, train) of those that fired, in the order of their first spikes or ascending,
    or of all."""
    trains: dict[int, int] = dict.fromkeys(range(neurons), 0) if every else {}
    for step, neuron in sample:
        trains[neuron] = trains.get(neuron, 0) | 1 << step
    return sorted(trains.items()) if ascending else list(trains.items())


async def record(clock: Clocked, sample: Sample, *, stop: int | None = None) -> None:
    """Begin a sample and record its spikes, one per clock where the contract allows it; ``stop`` breaks off."""
    dut = clock.dut
    await clock.until(lambda: not clock.get(dut.busy))
    clock.set(dut.begin, 1)
    await clock.tick()
    clock.set(dut.begin, 0)
    if not sample:
        return
    await clock.until(lambda: not clock.get(dut.busy))
    now = 0
    latest: dict[int, int] = {}     # clock of each neuron's last spike
    for step, neuron in sample[:stop]:
        pause = max(0, latest.get(neuron, -dut.again) + dut.again - now)
        await clock.tick(pause)
        clock.set(dut.spike, 1)
        clock.set(dut.spiking, neuron)
        clock.set(dut.step, step)
        await clock.tick()
        clock.set(dut.spike, 0)
        latest[neuron] = now + pause
        now += pause + 1
    if stop is None:
        await clock.tick(dut.again)


async def listed(clock: Clocked) -> list[tuple[int, int]]:
    dut = clock.dut
    found = []
    if "scan" in dut.signature.members:
        assert not clock.get(dut.exhausted)
        clock.set(dut.scan, 1)
        while True:
            await clock.until(lambda: clock.get(dut.found) or clock.get(dut.exhausted))
            if clock.get(dut.exhausted):
                break
            await clock.tick(clock.random.choice((0, 1, 5)))
            found.append((clock.get(dut.neuron), clock.get(dut.train)))
            clock.set(dut.take, 1)
            await clock.tick()
            clock.set(dut.take, 0)
        clock.set(dut.scan, 0)
        return found
    for index in range(clock.get(dut.count)):
        clock.set(dut.index, index)
        await clock.tick(dut.latency)
        found.append((clock.get(dut.neuron), clock.get(dut.train)))
    return found


@pytest.mark.parametrize("lists", LISTS, ids=str)
@pytest.mark.parametrize(("neurons", "steps"), SIZES)
def test_samples_are_recorded(neurons: int, steps: int, lists: dict[str, bool]) -> None:
    async def bench(clock: Clocked) -> None:
        for rate in (0.3, 0.0, 1.0, 0.1, 0.5):
            sample = spikes_of(clock.random, neurons, steps, rate)
            await record(clock, sample)
            await clock.until(lambda: not clock.get(clock.dut.busy))
            assert await listed(clock) == recorded(sample, neurons=neurons, **lists), rate

    run(SpikeHistory(neurons=neurons, steps=steps, **lists), bench)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 6])
def test_spikes_are_counted_up_to_a_limit(limit: int, ascending: bool) -> None:
    neurons, steps = 9, 6
    dut = SpikeHistory(neurons=neurons, steps=steps, ascending=ascending, limit=limit)
    delay = dut.count_latency(ascending=ascending)

    async def bench(clock: Clocked) -> None:
        for rate in (0.5, 0.0, 1.0, 0.3):
            sample = spikes_of(clock.random, neurons, steps, rate)
            await record(clock, sample)
            await clock.until(lambda: not clock.get(dut.busy))
            counts = {neuron: train.bit_count()
                      for neuron, train in recorded(sample, neurons=neurons, ascending=ascending)}
            asked = [clock.random.randrange(neurons) for _ in range(30)]
            clock.set(dut.counting, 1)
            told = []
            for neuron in [*asked, *(0 for _ in range(delay))]:     # one per clock
                clock.set(dut.counted, neuron)
                await clock.tick()
                told.append(clock.get(dut.often))
            clock.set(dut.counting, 0)
            assert told[delay - 1:-1] == [counts.get(neuron, 0) >= limit for neuron in asked], rate
            await clock.tick(delay)
            assert await listed(clock) == recorded(sample, neurons=neurons, ascending=ascending)

    run(dut, bench)


@pytest.mark.parametrize("lists", LISTS, ids=str)
def test_nothing_is_left_when_sample_numbers_repeat(lists: dict[str, bool]) -> None:
    """A neuron that fires in a sample, then for so long in none that the sample's number comes again."""
    early, steps, repeats = 12, 4, (256, 255)
    neurons = early * len(repeats)
    firing: dict[int, Sample] = {}
    for neuron in range(neurons):
        first, after = 1 + neuron // len(repeats), repeats[neuron % len(repeats)]
        firing.setdefault(first, []).append((1, neuron))
        firing.setdefault(first + after, []).append((2, neuron))

    async def bench(clock: Clocked) -> None:
        for number in range(1, early + max(repeats) + 1):
            sample = firing.get(number, [])
            await record(clock, sample)
            if sample:
                assert await listed(clock) == recorded(sample, neurons=neurons, **lists), number

    run(SpikeHistory(neurons=neurons, steps=steps, **lists), bench)


@pytest.mark.parametrize("lists", LISTS, ids=str)
@pytest.mark.parametrize("clocks", [1, 3])
def test_reset_in_the_middle_of_a_sample_and_of_clearing(lists: dict[str, bool], clocks: int) -> None:
    neurons, steps = 5, 6

    async def bench(clock: Clocked) -> None:
        for stop in range(12):
            await record(clock, spikes_of(clock.random, neurons, steps, 1.0), stop=stop)
            await clock.reset(clocks)
            if stop % 2:    # once more, while it is being cleared
                await clock.tick(stop // 2)
                await clock.reset(clocks)
            sample = spikes_of(clock.random, neurons, steps, 0.2)
            await record(clock, sample)
            await clock.until(lambda: not clock.get(clock.dut.busy))
            assert await listed(clock) == recorded(sample, neurons=neurons, **lists), stop

    run(SpikeHistory(neurons=neurons, steps=steps, **lists), bench)

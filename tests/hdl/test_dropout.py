"""Dropout masks, ``rtl(seed) == golden(seed)``, drawn ahead, anew, and after a reset at any moment."""

from __future__ import annotations

import pytest

from lifstream.golden.contract.flat import flat_network
from lifstream.golden.model.draws import DrawGenerator
from lifstream.hdl.layer.dropout import DropoutMasks
from tests.hdl.clocked import Clocked, run

SEED, OTHER = 0x1234_5678, 0xFFFF_FFFF


def masks_of(neurons: int, dropout: int, seed: int, samples: int) -> list[list[bool]]:
    """The golden model's masks of a layer, sample by sample."""
    generator = DrawGenerator(flat_network(sizes=(1, neurons, 1), dropout=dropout))
    generator.states = [seed]
    kept = [generator.draw().kept[0] for _ in range(samples)]
    return [mask.tolist() for mask in kept if mask is not None]


async def answers(clock: Clocked, neurons: int) -> list[bool]:
    found = []
    for neuron in range(neurons):
        clock.set(clock.dut.ask, neuron)
        found.append(bool(clock.get(clock.dut.answer)))
        await clock.tick()
    return found


async def begin(clock: Clocked) -> None:
    await clock.until(lambda: clock.get(clock.dut.ready))
    clock.set(clock.dut.begin, 1)
    await clock.tick()
    clock.set(clock.dut.begin, 0)


async def reseed(clock: Clocked, state: int) -> None:
    clock.set(clock.dut.reseed, 1)
    clock.set(clock.dut.state, state)
    await clock.tick()
    clock.set(clock.dut.reseed, 0)
    clock.set(clock.dut.state, 0)


def watch_draws(clock: Clocked) -> dict[tuple[int, int], bool]:
    """What is announced as drawn, by set and neuron, for as long as the bench runs."""
    sets: dict[tuple[int, int], bool] = {}
    dut = clock.dut

    def watch() -> None:
        if clock.get(dut.drawing):
            sets[1 - clock.get(dut.current), clock.get(dut.neuron)] = bool(clock.get(dut.kept))

    clock.watchers.append(watch)
    return sets


@pytest.mark.parametrize("dropout", [1, 64, 192])
@pytest.mark.parametrize("neurons", [1, 2, 7, 16])
def test_masks_of_successive_samples(neurons: int, dropout: int) -> None:
    expected = masks_of(neurons, dropout, SEED, 12)

    async def bench(clock: Clocked) -> None:
        drawn = watch_draws(clock)
        for number, mask in enumerate(expected):
            assert await clock.until(lambda: clock.get(clock.dut.ready)) <= neurons
            await begin(clock)
            # While the next is drawn, and after.
            await clock.tick(number % 3)
            assert await answers(clock, neurons) == mask, number
            await clock.until(lambda: clock.get(clock.dut.ready))
            assert await answers(clock, neurons) == mask, number
            current = clock.get(clock.dut.current)
            assert [drawn[current, neuron] for neuron in range(neurons)] == mask
            if number + 1 < len(expected):
                assert [drawn[1 - current, neuron] for neuron in range(neurons)] == expected[number + 1]

    run(DropoutMasks(neurons=neurons, dropout=dropout, seed=SEED), bench)
    kept = sum(map(sum, expected)) / (12 * neurons)
    assert neurons < 16 or abs(kept - (1 - dropout / 256)) < 0.15   # the cases are not all alike


@pytest.mark.parametrize("wait", range(9))
def test_the_next_set_is_drawn_anew_from_any_state(wait: int) -> None:
    """Whenever the new state comes: while a set is drawn, or when it is complete; the set in force stays."""
    neurons, dropout = 5, 128
    old, new = masks_of(neurons, dropout, SEED, 1), masks_of(neurons, dropout, OTHER, 3)

    async def bench(clock: Clocked) -> None:
        await begin(clock)
        await clock.tick(wait)
        await reseed(clock, OTHER)
        assert not clock.get(clock.dut.ready)
        assert await answers(clock, neurons) == old[0]
        for mask in new:
            await begin(clock)
            assert await answers(clock, neurons) == mask

    run(DropoutMasks(neurons=neurons, dropout=dropout, seed=SEED), bench)


@pytest.mark.parametrize("clocks", [1, 4])
def test_reset_at_any_moment_starts_over(clocks: int) -> None:
    neurons, dropout = 5, 100
    expected = masks_of(neurons, dropout, SEED, 4)

    async def bench(clock: Clocked) -> None:
        for wait in range(2 * neurons):
            await begin(clock)
            if wait % 2:
                await reseed(clock, OTHER)
            await clock.tick(wait)
            await clock.reset(clocks)
            for mask in expected:
                await begin(clock)
                assert await answers(clock, neurons) == mask, wait

    run(DropoutMasks(neurons=neurons, dropout=dropout, seed=SEED), bench)

"""Positions that a sample has reached, ``rtl(x) == a list``: order, first times, samples that reach nothing, reset."""

from __future__ import annotations

from typing import Any

import pytest

from lifstream.hdl.layer.reached import ReachedPositions
from tests.hdl.clocked import Clocked, run

POSITIONS = [1, 2, 5, 16, 49]
STEPS, SAMPLES = 4, 12


async def reach(clocked: Clocked, positions: list[int]) -> None:
    """Slots of these positions, with gaps and with others that only ask."""
    dut: Any = clocked.dut
    for position in positions:
        asks = clocked.random.random() < 0.2
        for port, value in ((dut.reach, not asks), (dut.ask, asks), (dut.reaching, position)):
            clocked.set(port, value)
        await clocked.tick()
        clocked.set(dut.reach, 0)
        clocked.set(dut.ask, 0)
        if asks:
            clocked.set(dut.reach, 1)
            await clocked.tick()
            clocked.set(dut.reach, 0)
        await clocked.tick(clocked.random.choice([0, 0, 1, 3]))


async def step(clocked: Clocked) -> list[tuple[int, bool]]:
    """End a step; returns the positions that are served, and whether for the first time."""
    dut: Any = clocked.dut
    clocked.set(dut.ending, 1)
    served = []
    for _ in range(200):
        await clocked.until(lambda: clocked.get(dut.settled), limit=10)
        served.append((clocked.get(dut.position), bool(clocked.get(dut.newly))))
        last = clocked.get(dut.last)
        clocked.set(dut.next, 1)
        await clocked.tick()
        clocked.set(dut.next, 0)
        await clocked.tick(clocked.random.choice([1, 2, 4]))
        if last:
            break
    clocked.set(dut.ending, 0)
    return served


async def known(clocked: Clocked, position: int) -> bool:
    """Whether a position has been reached."""
    dut: Any = clocked.dut
    clocked.set(dut.ask, 1)
    clocked.set(dut.reaching, position)
    await clocked.tick()
    clocked.set(dut.ask, 0)
    return bool(clocked.get(dut.known))


async def sample(clocked: Clocked, positions: int, most: int) -> None:
    """Play a sample beside a plain list."""
    dut: Any = clocked.dut
    expected: list[int] = []
    for _ in range(STEPS):
        reached = [clocked.random.randrange(positions) for _ in range(clocked.random.randrange(most + 1))]
        before = len(expected)
        for position in reached or ([] if expected else [0]):
            if position not in expected:
                expected.append(position)
        await reach(clocked, reached)
        assert await step(clocked) == [(position, place >= before) for place, position in enumerate(expected)]
    assert [await known(clocked, position) for position in range(positions)] == [
        position in expected for position in range(positions)]
    clocked.set(dut.forget, 1)
    await clocked.tick()
    clocked.set(dut.forget, 0)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("most", [0, 1, 12])
def test_positions_are_served_as_they_were_reached(positions: int, most: int) -> None:
    async def bench(clocked: Clocked) -> None:
        for _ in range(SAMPLES):
            await sample(clocked, positions, most)

    run(ReachedPositions(positions=positions), bench, seed=positions + most)


def test_reset_forgets_them() -> None:
    async def bench(clocked: Clocked) -> None:
        for clocks in range(6):
            await reach(clocked, [3, 1, 2][:clocks])
            await clocked.reset()
            await sample(clocked, 5, 4)

    run(ReachedPositions(positions=5), bench, seed=7)

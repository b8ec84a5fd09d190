"""Counters that share an adder lose nothing, wherever a clear falls."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from lifstream.hdl.host.counters import Counters

_CLOCKS = 400


@pytest.mark.parametrize("count", [4, 5, 8])
@pytest.mark.parametrize("busy", [0.1, 0.9, 1.0])
def test_every_event_is_counted(count: int, busy: float) -> None:
    dut = Counters(count=count, width=7)    # wraps within the test
    generator = random.Random(count * 10 + busy)
    expected = [0] * count
    seen = dict.fromkeys(range(count), 0)

    async def bench(context) -> None:       # type: ignore[no-untyped-def]
        earlier = 0
        for clock in range(_CLOCKS):
            events = sum((generator.random() < busy) << index for index in range(count))
            clear = generator.random() < 0.02
            context.set(dut.events, events)
            context.set(dut.clear, clear)
            turn = context.get(dut.turn)
            # What stands on `value` was collected up to two clocks before.
            if clock > count + 2 and not cleared_lately(clock):
                assert context.get(dut.value) == expected[turn] % 128, (clock, turn)
                seen[turn] += 1
            await context.tick()
            if clear:
                clears.append(clock)
            for index in range(count):
                expected[index] = 0 if clear else expected[index] + (earlier >> index & 1)
            earlier = events

    clears: list[int] = []

    def cleared_lately(clock: int) -> bool:
        return bool(clears) and clock - clears[-1] <= count + 2

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert min(seen.values()) > 10

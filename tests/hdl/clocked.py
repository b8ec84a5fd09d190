"""Runs a block clock by clock in Amaranth's own simulator: streams are played and collected, other ports set."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from amaranth.hdl import ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

__all__ = ["Clocked", "run"]


class Clocked:
    """A block under test, between two clock edges: set, get, then :meth:`tick`.

    Input streams play what :meth:`send` queued, output streams collect into ``received``; either side stalls with
    the probability ``stall``. An output that takes back what it offered, or changes it, is an error.

    Parameters
    ----------
    context
        Amaranth's.
    dut
        The block.
    reset
        Resets it.
    stall
        Probability that a stream stands still at a clock, per stream.
    seed
        Of the stalls, and of :attr:`random`, which a bench may use too.
    """

    def __init__(self, context: Any, dut: wiring.Component, reset: Signal, *, stall: float, seed: int) -> None:
        self.dut, self.random = dut, random.Random(seed)
        self._context, self._reset, self._stall = context, reset, stall
        streams = {name: member.flow for name, member in dut.signature.members.items()
                   if member.is_signature and isinstance(member.signature, stream.Signature)}
        self._queues: dict[str, deque[Any]] = {name: deque() for name, flow in streams.items() if flow is In}
        self.received: dict[str, list[Any]] = {name: [] for name, flow in streams.items() if flow is not In}
        self._offered: dict[str, Any] = {}      # by outputs, and not taken
        self.watchers: list[Callable[[], None]] = []
        """Called at every clock when all is settled, before the edge."""

    def set(self, port: Any, value: Any) -> None:
        """Drive an input."""
        self._context.set(port, value)

    def get(self, port: Any) -> Any:
        """What a port holds before the edge."""
        return self._context.get(port)

    def send(self, name: str, items: Iterable[Any]) -> None:
        """Queue payloads on an input stream."""
        self._queues[name].extend(items)

    def pending(self, name: str) -> int:
        """Payloads still in an input stream's queue."""
        return len(self._queues[name])

    async def tick(self, clocks: int = 1) -> None:
        """Pass clock edges."""
        for _ in range(clocks):
            for name, queue in self._queues.items():
                port = getattr(self.dut, name)
                if queue and not self.get(port.valid) and self.random.random() >= self._stall:
                    self.set(port.valid, 1)
                    self.set(port.payload, queue[0])
            for name in self.received:
                self.set(getattr(self.dut, name).ready, self.random.random() >= self._stall)
            for watch in self.watchers:
                watch()
            for name in self.received:
                self._collect(name)
            taken = [name for name in self._queues if self.transfers(name)]
            await self._context.tick()
            for name in taken:
                self._queues[name].popleft()
                self.set(getattr(self.dut, name).valid, 0)

    def transfers(self, name: str) -> bool:
        """Whether a stream's payload is taken at this clock."""
        port = getattr(self.dut, name)
        return bool(self.get(port.valid) and self.get(port.ready))

    def _collect(self, name: str) -> None:
        """Take an output's payload, or see to it that it stays."""
        port = getattr(self.dut, name)
        valid, payload = self.get(port.valid), self.get(port.payload)
        if name in self._offered:
            assert (valid, payload) == (1, self._offered.pop(name)), f"{name}: stream rule broken"
        if self.transfers(name):
            self.received[name].append(payload)
        elif valid:
            self._offered[name] = payload

    async def until(self, condition: Callable[[], Any], *, limit: int = 20_000) -> int:
        """Tick until a condition holds; returns the clocks that took."""
        for clock in range(limit):
            if condition():
                return clock
            await self.tick()
        raise AssertionError(f"nothing after {limit} clocks")

    async def reset(self, clocks: int = 1) -> None:
        """Reset the block; what was queued and not taken is forgotten."""
        self._offered.clear()
        for name, queue in self._queues.items():
            queue.clear()
            self.set(getattr(self.dut, name).valid, 0)
        for name in self.received:
            self.set(getattr(self.dut, name).ready, 0)
        self.set(self._reset, 1)
        for _ in range(clocks):
            await self._context.tick()
        self.set(self._reset, 0)


def run(dut: wiring.Component, bench: Callable[[Clocked], Awaitable[None]], *, stall: float = 0.0,
        seed: int = 1) -> None:
    """Run a bench on a block that starts as after power-up."""
    reset = Signal()
    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-8)

    async def play(context: Any) -> None:
        await bench(Clocked(context, dut, reset, stall=stall, seed=seed))

    simulator.add_testbench(play)
    simulator.run()

"""From one register to all groups of a layer."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FanOut"]

_GROUPS_PER_COPY = 4
"""Groups served by one copy of a control register, so that no net spans all lanes."""


class FanOut(wiring.Component):
    """Copies what is sent to all groups, a register for every few of them.

    Latency: 1 clock, none for a single group, which needs no copy. Throughput: one per clock. No adder, no memory.

    Parameters
    ----------
    shape
        Of what is sent.
    groups
        How many receive it.
    select
        Whether it is for some of them alone, whose ``enable`` is then set.
    """

    def __init__(self, *, shape: Any, groups: int, select: bool = False) -> None:
        self._groups, self._select = groups, select
        super().__init__({
            "source": In(shape),
            "copies": Out(shape).array(groups),
            **({"select": In(groups)} if select else {}),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        copied = m.d.sync if self._groups > 1 else m.d.comb
        for first in range(0, self._groups, _GROUPS_PER_COPY):
            copy = Signal.like(self.source, name=f"copy_{first // _GROUPS_PER_COPY}")
            copied += copy.eq(self.source)
            for index in range(first, min(first + _GROUPS_PER_COPY, self._groups)):
                m.d.comb += self.copies[index].eq(copy)
                if self._select:
                    enable = Signal(name=f"enable_{index}")
                    copied += enable.eq(self.select[index])
                    m.d.comb += self.copies[index].enable.eq(enable)
        return m

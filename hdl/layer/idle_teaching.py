"""What a layer does whose weights do not change: nothing but let spikes through."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import Out

from lifstream.hdl.layer.part import Teaching
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind

__all__ = ["IdleTeaching"]


class IdleTeaching(Teaching):
    """Neither is told what to learn nor tells. No logic, no memory."""

    phases = ()

    @property
    def slot_kind(self) -> SlotKind | None:
        """None."""
        return None

    @property
    def outer(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def _ports(self) -> dict[str, Any]:
        return {"phase": Out(LayerPhase), "learning": Out(1)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.phase.eq(LayerPhase.FORWARD), self.learning.eq(0)]
        return m

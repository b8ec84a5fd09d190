"""Weights that do not change on chip: of networks trained elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.readout import Potentials, Readout, SpikeCounts
from lifstream.golden.contract.rules.base import Rule

__all__ = ["Fixed"]


@dataclass(frozen=True, kw_only=True)
class Fixed(Rule, kind="fixed"):
    """No rule: the layer only infers. It needs no history, no update unit and no traces, and samples may be long."""

    learns: ClassVar[bool] = False
    readouts: ClassVar[tuple[type[Readout], ...]] = (SpikeCounts, Potentials)
    trace_fraction: ClassVar[int] = 0  # type: ignore[misc]
    trace_leak_shift: ClassVar[int] = 1  # type: ignore[misc]
    rounding: ClassVar[Rounding] = Rounding.HALF_UP  # type: ignore[misc]

    def update_shift(self, rate_shift: int, formats: Formats) -> int:
        return 0

    def rate_shift_range(self, formats: Formats) -> tuple[int, int]:
        """A rate of no effect."""
        return 0, 0

"""How the register table of a core behind AXI is written: its words and fields.

The table itself, :mod:`lifstream.golden.contract.register_table`, follows from ``lifstream_axi.rdl``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Access", "Field", "Register"]


class Access(enum.StrEnum):
    """What software may do with a field."""

    READ = "r"
    """Read it; writes change nothing."""
    SET = "woset"
    """Read it, and set it by writing ones; zeros change nothing, the hardware clears it."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Neighbouring bits of a register."""

    name: str
    low: int
    """Lowest bit."""
    width: int
    access: Access
    reset: int | None
    """Value after reset; None where that is not the map's to say."""
    constant: bool
    """Whether the hardware never changes it."""

    @property
    def mask(self) -> int:
        """The field's bits in its register."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """A word of 32 bits; bits of no field read as zero and ignore writes."""

    name: str
    """With that of the group it is in: ``images.low``."""
    address: int
    """Of its first byte."""
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """A field by its name, which there must be."""
        return next(field for field in self.fields if field.name == name)

    @property
    def reset(self) -> int:
        """Value after reset, fields without one as zero."""
        return sum((field.reset or 0) << field.low for field in self.fields)

"""What a layer is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Amaranth's own has no types
    from enum import Enum
else:
    from amaranth.lib.enum import Enum

__all__ = ["LayerPhase"]


class LayerPhase(Enum, shape=3):
    """What a layer is doing."""

    FORWARD = 0
    """Spike events go through; the only phase in which they do."""
    RECEIVE = 1
    """The sample is over; what it teaches is awaited and taken."""
    STORE = 2
    """A fold of desires is complete."""
    BACK = 3
    """The previous layer's desires are computed and sent."""
    SKIP = 4
    """The previous layer is told that it has none."""
    UPDATE = 5
    """The weights change."""
    PASS = 6
    """What the sample teaches is passed on to the previous layer."""
    SETTLE = 7
    """Adaptive thresholds change."""

"""What comes into a network, and as which spike trains."""

from __future__ import annotations

from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer

__all__ = ["Input", "Pixels"]


class Input(Declaration, family="input"):
    """Base of the kinds of input."""

    @property
    def neurons(self) -> int:
        """Presynaptic neurons of the first layer."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pixels(Input, kind="pixels"):
    """Intensities 0..255, each a deterministic spike train of that rate (design section 3).

    Parameters
    ----------
    count
        Pixels, 1..65,536.
    """

    count: int

    def __post_init__(self) -> None:
        require_integer("count", self.count, 1, 65_536)

    @property
    def neurons(self) -> int:
        return self.count

"""What comes into a network, and as which spike trains."""

from __future__ import annotations

from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.synapses import Map

__all__ = ["Events", "Input", "Pixels"]


class Input(Declaration, family="input"):
    """Base of the kinds of input."""

    @property
    def neurons(self) -> int:
        """Presynaptic neurons of the first layer."""
        raise NotImplementedError

    def sample_bytes(self, steps: int) -> int:
        """Bytes of a sample in a data set: of an array uint8 (count, bytes)."""
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

    def sample_bytes(self, steps: int) -> int:
        return self.count


@dataclass(frozen=True, kw_only=True)
class Events(Input, kind="events"):
    """Spikes as they come: which neuron, in which step, at most once in each.

    In a data set a sample is all of its spike trains, a bit for each step and neuron: ``numpy.packbits`` of bool
    (T, neurons), flat, lowest bit first. The host sends events (:class:`lifstream.golden.contract.protocol.Command`).

    Parameters
    ----------
    map
        The neurons: pixels of a sensor, a channel for each polarity; anything else is a map of one row.
    """

    map: Map

    @property
    def neurons(self) -> int:
        return self.map.neurons

    def sample_bytes(self, steps: int) -> int:
        return -(-steps * self.neurons // 8)

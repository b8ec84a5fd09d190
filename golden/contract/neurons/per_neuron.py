"""Parameters of which every neuron has its own: numbers in an array, as weights are; a contract says their bounds."""

from __future__ import annotations

from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import signed_bits, unsigned_bits
from lifstream.golden.contract.state import StateArray

__all__ = ["PerNeuron", "bounds_of", "require_parameter"]


@dataclass(frozen=True, kw_only=True)
class PerNeuron(Declaration):
    """In place of one number for a layer: an integer for each of its neurons, within these bounds.

    Parameters
    ----------
    low, high
        Smallest and largest (inclusive), within those of the parameter. The width of both is the hardware's.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            require_integer(name, getattr(self, name), -1 << 30, 1 << 30)
        if self.low > self.high:
            raise InputError(f"low: {self.low} is above high, {self.high}")

    def array(self, name: str, quantity: str, neurons: int) -> StateArray:
        """The numbers of so many neurons, as state that lasts; the lowest, where none are given."""
        bits = unsigned_bits(self.high) if self.low >= 0 else signed_bits(self.low, self.high)
        return StateArray(name=name, quantity=quantity, shape=(neurons,), bits=bits, low=self.low, high=self.high,
                          reset=self.low)


def bounds_of(value: int | PerNeuron) -> tuple[int, int]:
    """Smallest and largest that a neuron may have (inclusive)."""
    return (value.low, value.high) if isinstance(value, PerNeuron) else (value, value)


def require_parameter(name: str, value: object, low: int, high: int) -> None:
    """Raise InputError when neither an integer from ``low`` to ``high`` nor :class:`PerNeuron` within them."""
    if isinstance(value, PerNeuron):
        require_integer(f"{name}.low", value.low, low, high)
        require_integer(f"{name}.high", value.high, low, high)
    else:
        require_integer(name, value, low, high)

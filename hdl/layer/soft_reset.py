"""The leaky integrate-and-fire neuron with a soft reset, which learns by desire backpropagation."""

from __future__ import annotations

from amaranth.hdl import Value

from lifstream.golden.contract.neurons import Lif
from lifstream.hdl.arithmetic import leak
from lifstream.hdl.layer.elementwise import Elementwise, ElementwiseUnit

__all__ = ["SoftReset", "SoftResetUnit"]


class SoftReset(Elementwise):
    """The threshold is subtracted from a potential that has reached it."""

    def fire(self, potential: Value, threshold: Value) -> tuple[Value, Value]:
        """One subtraction does for both."""
        above = potential - threshold
        return above >= 0, above

    def decay(self, potential: Value) -> Value:
        """The leak."""
        assert isinstance(self.at.neuron, Lif)
        return leak(potential, self.at.neuron.leak_shift)


class SoftResetUnit(ElementwiseUnit):
    """Serves them: 2 adders of the membrane's width beside those that all neurons have."""

    neuron = SoftReset

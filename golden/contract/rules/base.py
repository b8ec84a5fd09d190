"""What every learning rule declares."""

from __future__ import annotations

from typing import ClassVar

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Rounding
from lifstream.golden.contract.neurons import Neuron, Population
from lifstream.golden.contract.neurons.lif import leaked
from lifstream.golden.contract.readout import Readout
from lifstream.golden.contract.synapses import Synapses

__all__ = ["SHIFT_MAX", "Rule"]

SHIFT_MAX = 31
"""Largest right shift of an update."""


class Rule(Declaration, family="rule"):
    """Base of the learning rules. Every rule rebuilds traces of presynaptic spikes, ``x = leak(x) + (s << X)``."""

    learns: ClassVar[bool] = True
    """Whether weights change at all."""
    teaches: ClassVar[Population] = Population.INDEPENDENT
    """The neurons that it can teach."""
    readouts: ClassVar[tuple[type[Readout], ...]] = (Readout,)
    """The readouts that can tell the last layer what to learn, or that go with weights that do not change."""
    synapses: ClassVar[type[Synapses]] = Synapses
    """The synapses that it can teach."""
    every_row: ClassVar[bool] = False
    """Whether weights of silent presynaptic neurons change too."""

    @property
    def labelled_afterwards(self) -> bool:
        """Whether neurons learn without labels, and get theirs from their responses to labelled images."""
        return False

    trace_fraction: int
    """``X``, fraction bits of the presynaptic trace, 0..8."""
    trace_leak_shift: int
    """Leak shift of the trace, 1..8."""
    rounding: Rounding
    rate_offset: int = 0
    """What is added to the rate shift in this layer, for rules with a field for it."""

    def _check_shared(self) -> None:
        require_integer("trace_fraction", self.trace_fraction, 0, 8)
        require_integer("trace_leak_shift", self.trace_leak_shift, 1, 8)
        if not isinstance(self.rounding, Rounding):
            raise InputError(f"rounding: {self.rounding!r} is not a Rounding")

    def check(self, *, synapses: Synapses, formats: Formats, neuron: Neuron, steps: int) -> None:
        """Raise InputError where the rule does not go with what else the layer is made of."""
        if not isinstance(synapses, self.synapses):
            raise InputError(f"rule: {self.kind} teaches {self.synapses.kind} synapses only, these are {synapses.kind}")
        if neuron.population is not self.teaches:
            raise InputError(f"rule: {self.kind} teaches {self.teaches.value} neurons, {neuron.kind} are "
                             f"{neuron.population.value}")

    def magnitude_max(self, steps: int) -> int:
        """Largest number that goes with the sign of what a layer is told."""
        return 0

    def check_network(self, rules: tuple[Rule, ...]) -> None:
        """Raise InputError where the rules of a network's layers, all of this kind, do not go together."""

    def weight_range(self, formats: Formats) -> tuple[int, int]:
        """Smallest and largest weight that learning writes (inclusive)."""
        return formats.weight_min, formats.weight_max

    def trace_max(self, steps: int) -> int:
        """Largest value of a trace: a spike at every step, in units of 2**-X."""
        trace = 0
        for _ in range(steps):
            trace = leaked(trace, self.trace_leak_shift) + (1 << self.trace_fraction)
        return trace

    def correlation_range(self, steps: int) -> tuple[int, int]:
        """Smallest and largest sum of an update before it is scaled (inclusive)."""
        raise NotImplementedError

    def extra_shift(self, formats: Formats) -> int:
        """The most by which an update is shifted further than the learning rate says."""
        raise NotImplementedError

    def update_shift(self, rate_shift: int, formats: Formats) -> int:
        """Right shift from a correlation to weight LSBs: ``X + rate_shift + rate_offset - F``."""
        return self.trace_fraction + rate_shift + self.rate_offset - formats.weight_fraction

    def rate_shift_range(self, formats: Formats) -> tuple[int, int]:
        """Smallest and largest rate shift that its update can make."""
        low = -self.update_shift(0, formats)
        return max(0, low), low + SHIFT_MAX - self.extra_shift(formats)

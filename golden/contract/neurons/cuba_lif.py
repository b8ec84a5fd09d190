"""Current-based integrate-and-fire neurons, as networks trained elsewhere have them: any leak, reset, rest."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Phase, signed_bits, unsigned_bits
from lifstream.golden.contract.neurons.base import Neuron
from lifstream.golden.contract.neurons.lif import Reset
from lifstream.golden.contract.neurons.per_neuron import PerNeuron, bounds_of, require_parameter
from lifstream.golden.contract.state import Lifetime, StateArray

__all__ = ["Comparison", "CubaLif", "Decay"]


class Comparison(enum.StrEnum):
    """When a neuron fires."""

    AT_LEAST = "at-least"
    """Its membrane potential has reached the threshold."""
    ABOVE = "above"
    """Its membrane potential is above the threshold."""
    NEVER = "never"
    """It does not: a leaky integrator, for the readout ``potentials``."""


@dataclass(frozen=True, kw_only=True)
class Decay(Declaration):
    """What is left of a value a step later: ``(numerator * value) >> shift``.

    Parameters
    ----------
    numerator
        ``a``, 0..2**shift, of all neurons or of each; at 2**shift nothing decays.
    shift
        ``n``, 0..16.
    """

    numerator: int | PerNeuron
    shift: int

    def __post_init__(self) -> None:
        require_integer("shift", self.shift, 0, 16)
        require_parameter("numerator", self.numerator, 0, 1 << self.shift)

    def __str__(self) -> str:
        return f"{'..'.join(map(str, dict.fromkeys(bounds_of(self.numerator))))} / 2**{self.shift}"

    def of(self, value: int) -> int:
        """What is left of a value, at most where neurons differ."""
        return (bounds_of(self.numerator)[1] * value) >> self.shift


_ALL = Decay(numerator=1, shift=0)

_QUANTITIES = {"thresholds": "threshold", "decays": "decay of the potential",
               "current_decays": "decay of the synaptic current", "reset_values": "reset value"}
"""What a number of each array of parameters is called."""


@dataclass(frozen=True, kw_only=True)
class CubaLif(Neuron, kind="cuba-lif"):
    """Decay, integrate, clamp, fire, reset, rest: the discrete forms of NIR's IF, LIF and CubaLIF, and where they never
    fire, of LI and CubaLI.

    A step, with the synaptic current ``i`` of its spikes (exact)::

        c = decay_c(c) + (i << guard_bits)     with a synaptic current of its own, otherwise c = i << guard_bits
        v = clamp(decay_v(v) + c)    or the reset value, while the neuron is refractory
        fired = v >= threshold      or v > threshold, or never
        v = v - threshold           or the reset value, if it fired

    Parameters
    ----------
    potential_decay
        Of the membrane potential; by default nothing decays (IF).
    current_decay
        Of the synaptic current; None: there is none, a spike acts in its own step alone.
    guard_bits
        Fraction bits, 0..16, that potentials and currents have beyond the weights'. Where weights are narrow, decays
        would round too much without.
    threshold
        Firing threshold, in LSBs of the potential, 1..2**30, of all neurons or of each.
    comparison
        Whether reaching the threshold is enough. A neuron that never fires has no use for threshold, reset and
        refractory period: they stay as they are by default, the threshold what one is.
    reset
        What a spike does to the membrane potential.
    reset_value
        Membrane potential after a spike, in its LSBs, -2**30..2**30, with ``Reset.VALUE`` and while refractory; of all
        neurons or of each. Below the threshold; among neurons that differ, one above its own fires in every step.
    refractory
        Steps after a spike in which the membrane potential stays at the reset value, 0..255.
    """

    potential_decay: Decay = _ALL
    current_decay: Decay | None = None
    guard_bits: int = 0
    threshold: int | PerNeuron
    comparison: Comparison = Comparison.AT_LEAST
    reset: Reset = Reset.SUBTRACT
    reset_value: int | PerNeuron = 0
    refractory: int = 0

    def __post_init__(self) -> None:
        require_integer("guard_bits", self.guard_bits, 0, 16)
        require_parameter("threshold", self.threshold, 1, 1 << 30)
        require_parameter("reset_value", self.reset_value, -1 << 30, 1 << 30)
        require_integer("refractory", self.refractory, 0, 255)
        for name, kind in (("potential_decay", Decay), ("comparison", Comparison), ("reset", Reset)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        if self.current_decay is not None and not isinstance(self.current_decay, Decay):
            raise InputError(f"current_decay: {self.current_decay!r} is not a Decay")
        if not self.fires and (self.reset is not Reset.SUBTRACT or self.reset_value or self.refractory):
            raise InputError(f"comparison: {self.comparison.value}, so no spike resets; leave reset, reset_value and "
                             "refractory as they are by default")
        if not self.fires and isinstance(self.threshold, PerNeuron):
            raise InputError(f"comparison: {self.comparison.value}, so thresholds per neuron are of no use; give one")
        if isinstance(self.reset_value, PerNeuron):
            if self.reset is not Reset.VALUE and not self.refractory:
                raise InputError("reset_value: per neuron, but no spike leads there; give reset value or refractory "
                                 "steps")
        elif self.fires and isinstance(self.threshold, int) and self.reset_value >= self.fires_from:
            raise InputError(f"reset_value: {self.reset_value} reaches the threshold, {self.threshold}; give a lower "
                             "one")

    def check(self, formats: Formats) -> None:
        if not formats.membrane_clamp:
            return
        end = formats.membrane_clamp * formats.one << self.guard_bits
        low, high = bounds_of(self.reset_value)
        if low < -end:
            raise InputError(f"reset_value: {low} is below the lowest membrane potential, {-end}")
        if high >= end and self.parameters:   # one number is below a threshold that is reached
            raise InputError(f"reset_value: {high} is above the highest membrane potential, {end - 1}")

    def decay(self, potential: int) -> int:
        return self.potential_decay.of(potential)

    @property
    def fires(self) -> bool:
        return self.comparison is not Comparison.NEVER

    @property
    def parameters(self) -> dict[str, PerNeuron]:
        """What each neuron has of its own, by the names of the arrays."""
        slow = self.current_decay
        own = {"thresholds": self.threshold, "decays": self.potential_decay.numerator,
               "current_decays": None if slow is None else slow.numerator, "reset_values": self.reset_value}
        return {name: value for name, value in own.items() if isinstance(value, PerNeuron)}

    @property
    def fires_from(self) -> int:
        """The lowest membrane potential at which a neuron fires."""
        return bounds_of(self.threshold)[0] + (self.comparison is Comparison.ABOVE)

    def threshold_in(self, phase: Phase) -> int:
        return bounds_of(self.threshold)[0]

    def current_range(self, *, current: tuple[int, int], steps: int) -> tuple[int, int]:
        """Smallest and largest synaptic current of ``steps`` steps, given that of a step's spikes (inclusive)."""
        current = current[0] << self.guard_bits, current[1] << self.guard_bits
        if self.current_decay is None:
            return current
        low = high = 0
        for _ in range(steps):
            low, high = (min(self.current_decay.of(low) + current[0], 0),
                         max(self.current_decay.of(high) + current[1], 0))
        return low, high

    def potential_range(self, *, current: tuple[int, int], steps: int) -> tuple[int, int]:
        added = self.current_range(current=current, steps=steps)
        least, most = bounds_of(self.reset_value)
        low, high = min(least, 0), max(most, 0)
        for _ in range(steps):
            low, high = min(self.decay(low) + added[0], low), max(self.decay(high) + added[1], high)
        return low, high

    def state(self, *, neurons: int, membrane: tuple[int, int], current: tuple[int, int],
              steps: int) -> tuple[StateArray, ...]:
        low, high = self.current_range(current=current, steps=steps)
        return (*super().state(neurons=neurons, membrane=membrane, current=current, steps=steps),
                StateArray(name="currents", quantity="synaptic current", shape=(neurons,), bits=signed_bits(low, high),
                           low=low, high=high, lifetime=Lifetime.SAMPLE),
                StateArray(name="rests", quantity="refractory step", shape=(neurons,),
                           bits=unsigned_bits(self.refractory), low=0, high=self.refractory, lifetime=Lifetime.SAMPLE),
                *(parameter.array(name, _QUANTITIES[name], neurons) for name, parameter in self.parameters.items()))

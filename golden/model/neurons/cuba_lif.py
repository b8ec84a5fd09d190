"""Current-based integrate-and-fire neurons: decay, integrate, clamp, fire, reset, rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.neurons import Comparison, CubaLif, Reset
from lifstream.golden.contract.neurons.per_neuron import bounds_of
from lifstream.golden.model.neurons.independent import IndependentNeurons, Potential
from lifstream.golden.model.operations import clamp, decay, scaled_up
from lifstream.golden.model.protocols import IntArray

__all__ = ["CUBA_LIF", "CubaLifParameters", "own", "parameters", "step"]


class CubaLifParameters(NamedTuple):
    """A layer's constants in a phase; of neurons that differ the lowest, which :func:`own` replaces."""

    numerator: int
    shift: int
    """Decay of the membrane potential: ``numerator / 2**shift``."""
    current_numerator: int
    current_shift: int
    """... and of the synaptic current; 0 without one."""
    guard_bits: int
    low: Potential
    """Smallest membrane potential."""
    high: Potential
    """Largest membrane potential."""
    fires_from: Potential
    subtracted: Potential
    """What a spike takes off the membrane potential, 0 if it leads to a value ..."""
    to_value: int
    """... in which case this is 1 ..."""
    value: Potential
    """... and that is this."""
    refractory: int


def parameters(at: PlacedLayer, phase: Phase) -> CubaLifParameters:
    """Of a layer of :class:`lifstream.golden.contract.neurons.CubaLif`."""
    neuron = at.neuron
    assert isinstance(neuron, CubaLif)
    low, high = at.membrane_range
    subtracts = neuron.reset is Reset.SUBTRACT
    kept = neuron.current_decay
    return CubaLifParameters(
        numerator=bounds_of(neuron.potential_decay.numerator)[0], shift=neuron.potential_decay.shift,
        current_numerator=bounds_of(kept.numerator)[0] if kept is not None else 0,
        current_shift=kept.shift if kept is not None else 0, guard_bits=neuron.guard_bits,
        low=Potential(low), high=Potential(high),
        fires_from=Potential(neuron.fires_from if neuron.fires else high + 1),
        subtracted=Potential(neuron.threshold_in(phase) if subtracts else 0),
        to_value=0 if subtracts else 1, value=Potential(bounds_of(neuron.reset_value)[0]),
        refractory=neuron.refractory)


def own(at: PlacedLayer, state: Mapping[str, NDArray[Any]]) -> dict[str, IntArray]:
    """Of a layer of :class:`lifstream.golden.contract.neurons.CubaLif`."""
    neuron = at.neuron
    assert isinstance(neuron, CubaLif)
    fields = {"decays": "numerator", "current_decays": "current_numerator", "reset_values": "value"}
    found = {field: state[name] for name, field in fields.items() if name in neuron.parameters}
    if "thresholds" in neuron.parameters:
        found["fires_from"] = state["thresholds"] + (neuron.comparison is Comparison.ABOVE)
        if neuron.reset is Reset.SUBTRACT:
            found["subtracted"] = state["thresholds"]
    return found


def step(constants: CubaLifParameters, state: tuple[Any, ...], current: Any, kept: Any
         ) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    """``state``: membrane potential, synaptic current, steps left to rest."""
    potential, synaptic, rest = state
    synaptic = decay(synaptic, constants.current_numerator, constants.current_shift)
    synaptic = synaptic + scaled_up(current, constants.guard_bits)
    resting = rest > 0
    potential = clamp(decay(potential, constants.numerator, constants.shift) + synaptic, constants.low, constants.high)
    potential = potential + resting * (constants.value - potential)
    fired = (potential >= constants.fires_from) & kept
    change = constants.to_value * (constants.value - potential) - constants.subtracted
    return potential, fired, (potential + fired * change, synaptic,
                              rest - resting * 1 + fired * constants.refractory)


CUBA_LIF = IndependentNeurons(parameters, step, own)

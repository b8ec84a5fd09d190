"""Real networks in integers: formats chosen from weights and from what calibration samples do, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats
from lifstream.golden.contract.input import Events, Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import CubaLif, Decay, PerNeuron, Reset
from lifstream.golden.contract.readout import Potentials, SpikeCounts
from lifstream.golden.contract.rules import Fixed
from lifstream.golden.model.network import Network
from lifstream.golden.model.protocols import ForwardRecord
from lifstream.golden.model.readouts import unique_maximum
from lifstream.golden.study.real_network import RealLayer, RealNetwork, RealParameter, RealRecord, responses, run

__all__ = ["LayerCost", "Quantised", "nearest_decay", "quantised"]

_DECAY_ERROR = 2.0**-13
_DECAY_SHIFT_MAX = 16
_CLAMP_MAX = 4_096
_FRACTION_MIN, _FRACTION_MAX = 4, 22
_POTENTIAL_FRACTION = 14
"""Fraction bits of potentials that decay, at least."""


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What a layer's integers cost."""

    name: str
    weights: int
    weight_bits: int
    weight_fraction: int
    membrane_bits: int
    potential_decay: str
    current_decay: str | None
    saturated: int
    """Weights that the format cannot hold."""
    largest_error: float
    """Largest rounding error of a weight that it can, in units of the threshold."""
    spikes: int
    """Of the real layer, on calibration samples ..."""
    changed: int
    """... and how many (neuron, step) differ in the integers."""
    potential_error: float | None
    """Of the layer whose potentials are read: the largest difference of what is read of a neuron, in the units of the
    graph's potentials (of a spiking layer's, of its threshold)."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A network in integers, and what each layer costs."""

    network: Network
    layers: tuple[LayerCost, ...]
    answers_changed: int
    """Calibration samples that the integers answer differently."""


def nearest_decay(value: float) -> Decay:
    """The decay ``a / 2**n`` with the fewest fraction bits that is within 2**-13 of a value in 0..1, or the nearest of
    16 bits."""
    numerators, shift = _decays(np.array([value]))
    return Decay(numerator=int(numerators[0]), shift=shift)


def _decays(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """The same for several values: numerators over one power of two, and its exponent."""
    within = _DECAY_ERROR * np.minimum(1, np.maximum(1 - values, 2.0**-6))
    for shift in range(_DECAY_SHIFT_MAX + 1):
        numerators = np.rint(values * (1 << shift)).astype(np.int64)
        if (np.abs(numerators / (1 << shift) - values) <= within).all():
            break
    return numerators, shift


class _Parameters:
    """Numbers of a layer's neurons on their way into its contract, and those of each that stay outside it."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[np.int64]] = {}

    def put(self, name: str, values: NDArray[np.int64], low: int, high: int) -> int | PerNeuron:
        """One number where all have it; otherwise bounds as wide as their bits, within those given."""
        least, most = int(values.min()), int(values.max())
        if least == most:
            return least
        self.arrays[name] = values
        power = 1 << max(most.bit_length(), (~least).bit_length() if least < 0 else 0)
        return PerNeuron(low=max(low, -power if least < 0 else low), high=min(high, power - 1))

    def decay(self, name: str, value: RealParameter) -> Decay:
        """The nearest decay, or decays."""
        numerators, shift = _decays(np.atleast_1d(value))
        return Decay(numerator=self.put(name, numerators, 0, 1 << shift), shift=shift)


def _fraction(weights: NDArray[np.float64], bits: int) -> int:
    """The fraction bits with the least squared error of weights, rounded and saturated."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def error(fraction: int) -> float:
        unit = 2.0**fraction
        return float(np.square(np.clip(np.rint(weights * unit), low, high) / unit - weights).sum())

    return min(range(_FRACTION_MAX, _FRACTION_MIN - 1, -1), key=error)


def _clamp(real: RealLayer, record: RealRecord) -> int:
    """Thresholds that hold twice what potentials reach, and what they are reset to, a power of two."""
    clamp, reached = 2, 2 * max(float(np.abs(record.membrane).max(initial=0)), float(np.abs(real.reset_value).max()))
    while (clamp < reached or clamp <= np.max(real.threshold)) and clamp < _CLAMP_MAX:
        clamp *= 2
    return clamp


def _layer(real: RealLayer, record: RealRecord, *, weight_bits: int
           ) -> tuple[Layer, NDArray[np.int32], dict[str, NDArray[np.int64]]]:
    """A layer's contract, integer weights, and what its neurons have of their own."""
    fraction = _fraction(real.weights, weight_bits)
    formats = Formats(weight_bits=weight_bits, weight_fraction=fraction, membrane_clamp=_clamp(real, record))
    decays = not np.isin(real.potential_decay, (0, 1)).all() or real.current_decay is not None
    guard = max(0, _POTENTIAL_FRACTION - fraction) if decays else 0
    one = formats.one << guard
    own, end = _Parameters(), formats.membrane_clamp * one
    thresholds, resets = (np.rint(np.atleast_1d(values) * one).astype(np.int64)
                          for values in (real.threshold, real.reset_value))
    neuron = CubaLif(
        potential_decay=own.decay("decays", real.potential_decay),
        current_decay=None if real.current_decay is None else own.decay("current_decays", real.current_decay),
        guard_bits=guard, threshold=own.put("thresholds", thresholds, 1, 1 << 30), comparison=real.comparison,
        reset=real.reset,
        reset_value=0 if real.reset is Reset.SUBTRACT else own.put("reset_values", resets, -end, end - 1))
    weights = np.clip(np.rint(real.weights * formats.one), formats.weight_min, formats.weight_max).astype(np.int32)
    return Layer(synapses=real.synapses, neuron=neuron, rule=Fixed(), formats=formats), weights, own.arrays


def quantised(real: RealNetwork, spikes: NDArray[np.bool_], *, weight_bits: int = 16,
              images: bool = False) -> Quantised:
    """A real network in integers.

    Weights have the fraction bits with which their error is least, decays as few as come close, membrane potentials
    room for twice what the calibration samples reach.

    Parameters
    ----------
    real
        The network.
    spikes
        bool (count, T, inputs): calibration samples, at least 1.
    weight_bits
        2..24, of every layer.
    images
        Whether the network takes images, which are encoded on chip, instead of events: its input is a map of one
        channel, or neurons in the order of the pixels.

    Raises
    ------
    InputError
        The network cannot be declared; the message names the layer.
    """
    with np.errstate(all="ignore"):     # potentials may run to where no clamp holds them
        return _quantised(real, spikes, weight_bits, images)


def _quantised(real: RealNetwork, spikes: NDArray[np.bool_], weight_bits: int, images: bool) -> Quantised:
    records = run(real.layers, spikes)
    layers, weights, own = [], [], dict[str, list[NDArray[np.int64]]]()
    for each, record in zip(real.layers, records, strict=True):
        try:
            layer, matrix, arrays = _layer(each, record, weight_bits=weight_bits)
        except InputError as error:
            raise InputError(f"node {each.name}: {error}") from None
        layers.append(layer)
        weights.append(matrix)
        for name, array in arrays.items():
            own.setdefault(name, []).append(array)
    source = Pixels(count=real.map.neurons) if images else Events(map=real.map)
    readout = SpikeCounts() if real.statistic is None else Potentials(statistic=real.statistic)
    spec = NetworkSpec(input=source, layers=tuple(layers), readout=readout, steps=spikes.shape[1])
    network = Network(spec=spec, weights=weights, **own)
    found = network.forward(spikes)
    wanted = responses(records[-1], real.statistic)
    return Quantised(network=network, layers=tuple(_costs(real, records, found, network)),
                     answers_changed=int((unique_maximum(wanted) != found.prediction).sum()))


def _shown(decay: Decay, numerators: NDArray[np.int64] | None) -> str:
    """A decay, or the least and the most of those that neurons have of their own."""
    if numerators is None:
        return str(decay)
    return f"{numerators.min()}..{numerators.max()} / 2**{decay.shift}"


def _costs(real: RealNetwork, records: Sequence[RealRecord], found: ForwardRecord, network: Network
           ) -> list[LayerCost]:
    costs = []
    for each, record, at, matrix, integer in zip(real.layers, records, network.spec.placed, network.weights,
                                                 found.layers, strict=True):
        formats, neuron = at.formats, at.neuron
        assert isinstance(neuron, CubaLif)
        own = network.layer_state(at.index)
        exact = each.weights * formats.one
        held = (exact >= formats.weight_min - 0.5) & (exact <= formats.weight_max + 0.5)
        error = np.abs(matrix - exact)[held]
        difference = None
        if at.last and real.statistic is not None:
            one = formats.one << neuron.guard_bits
            difference = float(np.abs(responses(record, real.statistic) - found.responses / one).max())
        costs.append(LayerCost(
            name=each.name, weights=matrix.size, weight_bits=formats.weight_bits,
            weight_fraction=formats.weight_fraction, membrane_bits=at.membrane_bits,
            potential_decay=_shown(neuron.potential_decay, own.get("decays")),
            current_decay=None if neuron.current_decay is None else _shown(neuron.current_decay,
                                                                           own.get("current_decays")),
            saturated=int((~held).sum()), largest_error=float(error.max(initial=0)) / formats.one,
            spikes=int(record.spikes.sum()), changed=int((record.spikes != integer.spikes).sum()),
            potential_error=difference))
    return costs


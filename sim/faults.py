"""Planted faults: one wrong bit each, to show that the comparison sees it."""

from __future__ import annotations

import enum
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.network import Network
from lifstream.golden.spec import InputError
from lifstream.sim.scoreboard import Captured

__all__ = ["Fault", "forget_inhibition", "plant_captured", "plant_pixel", "plant_threshold", "plant_update",
           "plant_weight"]


class Fault(enum.StrEnum):
    """Where one bit is turned over."""

    WEIGHT = "weight"
    """A weight on its way into the design."""
    PIXEL = "pixel"
    """A pixel on its way into the design."""
    INPUT_SPIKE = "input-spike"
    """A captured spike of the encoder."""
    SPIKE = "spike"
    """A captured spike of a layer."""
    MEMBRANE = "membrane"
    """A captured membrane potential."""
    COUNT = "count"
    """A captured spike count."""
    PREDICTION = "prediction"
    """A captured prediction."""
    DESIRE = "desire"
    """A captured desire's sign, in training."""
    UPDATE = "update"
    """A weight read back after training."""
    THRESHOLD = "threshold"
    """An adaptive threshold read back after training, by one LSB; plasticity only."""
    INHIBITION = "inhibition"
    """Not a bit but a rule: the golden model forgets to inhibit; plasticity only."""
    LABEL = "label"
    """A response from which neurons are labelled; plasticity only."""


_ATTEMPTS = 2_000
_VISIBLE_WITHIN = 5


def _differs(network: Network, other: Network, images: NDArray[np.uint8], changed: NDArray[np.uint8]) -> bool:
    ours, theirs = network.forward(images), other.forward(changed)
    return bool((ours.input_spikes != theirs.input_spikes).any()) or any(
        (a.membrane != b.membrane).any() for a, b in zip(ours.layers, theirs.layers, strict=True))


def plant_weight(network: Network, images: NDArray[np.uint8], seed: int) -> list[NDArray[np.int32]]:
    """The network's weights with one random bit turned over, one that the first images make visible.

    Weights of silent inputs, and changes that clamping hides, are passed over: such a fault exists
    in no computed value, so no comparison of computed values could show it.

    Raises
    ------
    InputError
        No visible fault was found, for instance because all images are blank.
    """
    random = np.random.default_rng(seed)
    spec = network.spec
    shown = images[:_VISIBLE_WITHIN]
    for _ in range(_ATTEMPTS):
        weights = [matrix.copy() for matrix in network.weights]
        layer = int(random.integers(spec.lif_layers))
        row, column = (int(random.integers(size)) for size in weights[layer].shape)
        bit = int(random.integers(spec.weight_bits))
        if spec.stdp is not None:  # a weight of such a layer is never negative
            bit %= spec.weight_fraction
        raw = (int(weights[layer][row, column]) ^ (1 << bit)) & ((1 << spec.weight_bits) - 1)
        weights[layer][row, column] = raw - ((raw >> (spec.weight_bits - 1)) << spec.weight_bits)
        if _differs(network, Network(spec=spec, weights=weights, thresholds=network.thresholds or None), shown, shown):
            return weights
    raise InputError("plant fault: no weight shows in these images; play others, or more")


def plant_pixel(network: Network, images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """The images with one random bit of the first turned over, one that changes its spike trains."""
    random = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS):
        changed = images.copy()
        changed[0, random.integers(images.shape[1])] ^= np.uint8(1 << random.integers(8))
        if _differs(network, network, images[:1], changed[:1]):
            return changed
    raise InputError("plant fault: no pixel of the first image shows; play others")


def plant_captured(captured: Captured, fault: Fault, seed: int) -> Captured:
    """The captured batch with one random bit of one element turned over."""
    random = np.random.default_rng(seed)

    def turned(values: NDArray[np.int64]) -> NDArray[np.int64]:
        values = values.copy()
        index = tuple(int(random.integers(size)) for size in values.shape)
        values[index] ^= 1
        return values

    def turned_in_one(layers: tuple[NDArray[np.int64], ...]) -> tuple[NDArray[np.int64], ...]:
        chosen = int(random.integers(len(layers)))
        return tuple(turned(values) if layer == chosen else values for layer, values in enumerate(layers))

    match fault:
        case Fault.INPUT_SPIKE:
            return replace(captured, input_spikes=turned(captured.input_spikes))
        case Fault.SPIKE:
            return replace(captured, spikes=turned_in_one(captured.spikes))
        case Fault.MEMBRANE:
            return replace(captured, membranes=turned_in_one(captured.membranes))
        case Fault.COUNT:
            return replace(captured, counts=turned(captured.counts))
        case Fault.PREDICTION:
            return replace(captured, predictions=turned(captured.predictions))
        case Fault.DESIRE:
            layer = len(captured.desires) - 1
            desire = captured.desires[layer]
            return replace(captured, desires=(*captured.desires[:layer], desire._replace(sign=turned(desire.sign))))
        case _:
            return captured


def plant_threshold(thresholds: list[NDArray[np.int64]], seed: int) -> list[NDArray[np.int64]]:
    """Adaptive thresholds read back, one of them off by one LSB."""
    random = np.random.default_rng(seed)
    thresholds = [array.copy() for array in thresholds]
    chosen = thresholds[int(random.integers(len(thresholds)))]
    chosen[int(random.integers(len(chosen)))] ^= 1
    return thresholds


def forget_inhibition(network: Network) -> Network:
    """The same network under a contract without lateral inhibition, which the design does not know of.

    Raises
    ------
    InputError
        The network has none.
    """
    spec = network.spec
    if spec.stdp is None or not spec.stdp.inhibition:
        raise InputError("plant fault: this network has no lateral inhibition to lose")
    return Network(spec=replace(spec, stdp=replace(spec.stdp, inhibition=0)), weights=network.weights,
                   thresholds=network.thresholds)


def plant_update(weights: list[NDArray[np.int32]], seed: int) -> list[NDArray[np.int32]]:
    """Weights read back, with one random bit of one of them turned over."""
    random = np.random.default_rng(seed)
    weights = [matrix.copy() for matrix in weights]
    chosen = weights[int(random.integers(len(weights)))]
    chosen[tuple(int(random.integers(size)) for size in chosen.shape)] ^= np.int32(1)
    return weights

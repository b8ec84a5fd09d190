"""Planted faults: one wrong bit each, to show that the comparison sees it."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.model.network import Network
from lifstream.sim.scoreboard import Captured

__all__ = ["READ_BACK", "Fault", "forget_inhibition", "plant_captured", "plant_loaded", "plant_pixel", "plant_state",
           "require_plantable"]


class Fault(enum.StrEnum):
    """Where one bit is turned over."""

    WEIGHT = "weight"
    """A weight on its way into the design."""
    PARAMETER = "parameter"
    """A neuron's own threshold, decay or reset value on its way into the design; where neurons have any."""
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
    """A threshold read back after training, by one LSB; where there are adaptive ones, or each neuron has its own."""
    INHIBITION = "inhibition"
    """Not a bit but a rule: the golden model forgets to inhibit; plasticity only."""
    LABEL = "label"
    """A response from which neurons are labelled; plasticity only."""


_ATTEMPTS = 2_000
_VISIBLE_WITHIN = 5


def _differs(network: Network, other: Network, images: NDArray[np.uint8], changed: NDArray[np.uint8]) -> bool:
    ours, theirs = network.classify(images), other.classify(changed)
    return bool((ours.input_spikes != theirs.input_spikes).any()) or any(
        (a.membrane != b.membrane).any() for a, b in zip(ours.layers, theirs.layers, strict=True))


def require_plantable(fault: Fault, spec: NetworkSpec, *, learns: bool, labels: bool) -> None:
    """See that there is something that a fault could falsify.

    Parameters
    ----------
    fault
        What is to be planted.
    spec
        The network's contract.
    learns, labels
        Whether any image is learnt from, and any used to label neurons.

    Raises
    ------
    InputError
        There is not.
    """
    def lacks(what: str) -> InputError:
        return InputError(f"plant fault: {fault}: {what}")

    competing = any(getattr(layer.neuron, "inhibition", 0) for layer in spec.layers)
    if fault in (Fault.UPDATE, Fault.DESIRE, Fault.THRESHOLD) and not learns:
        raise lacks("nothing is learnt in this run; learn from images too (--train)")
    if fault is Fault.DESIRE and not isinstance(spec.layers[0].rule, DesireBackpropagation):
        raise lacks(f"the rule {spec.layers[0].rule.kind} has no desires")
    if fault is Fault.THRESHOLD and "thresholds" not in spec.learnt_state:
        raise lacks("this network has no adaptive thresholds, nor any of each neuron")
    if fault is Fault.PARAMETER and len(spec.learnt_state) == 1:
        raise lacks("the neurons of this network have no parameters of their own")
    if fault is Fault.LABEL and not labels:
        raise lacks("no neurons are labelled in this run; unsupervised networks label theirs after learning (--train)")
    if fault is Fault.INHIBITION and not competing:
        raise lacks("this network has no lateral inhibition to lose")


def plant_loaded(network: Network, fault: Fault, images: NDArray[np.uint8], seed: int) -> dict[str, list[NDArray[Any]]]:
    """What the network has learnt with one random bit of a weight, or of a neuron's own parameter, turned over: one
    that the first images make visible.

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
    names = ["weights"] if fault is Fault.WEIGHT else [name for name in network.state if name != "weights"]
    for _ in range(_ATTEMPTS):
        name = names[int(random.integers(len(names)))] if len(names) > 1 else names[0]
        arrays = [array.copy() for array in network.state[name]]
        layers = [layer for layer in spec.state_owners[name] if layer is not None]
        chosen = int(random.integers(len(layers)))
        place = tuple(int(random.integers(size)) for size in arrays[chosen].shape)
        declared = spec.learnt_state[name][chosen]
        bit = int(random.integers(declared.bits))
        if declared.low >= 0:  # such a number is never negative
            bit %= declared.high.bit_length()
        raw = (int(arrays[chosen][place]) ^ (1 << bit)) & ((1 << declared.bits) - 1)
        value = raw - ((raw >> (declared.bits - 1)) << declared.bits) if declared.low < 0 else raw
        if not declared.low <= value <= declared.high:
            continue
        arrays[chosen][place] = value
        changed = {**network.state, name: arrays}
        if _differs(network, Network(spec=spec, **changed), shown, shown):
            return changed
    raise InputError(f"plant fault: no {fault} shows in these images; play others, or more")


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
            return replace(captured, responses=turned(captured.responses))
        case Fault.PREDICTION:
            return replace(captured, predictions=turned(captured.predictions))
        case Fault.DESIRE:
            layer = len(captured.desires) - 1
            desire = captured.desires[layer]
            return replace(captured, desires=(*captured.desires[:layer], desire._replace(sign=turned(desire.sign))))
        case _:
            return captured


READ_BACK = {Fault.UPDATE: "weights", Fault.THRESHOLD: "thresholds"}
"""Faults in what is read back, and the declared arrays that they are planted in."""


def plant_state(arrays: list[NDArray[Any]], seed: int) -> list[NDArray[Any]]:
    """Learnt arrays read back, with the lowest bit of one element turned over."""
    random = np.random.default_rng(seed)
    arrays = [array.copy() for array in arrays]
    chosen = arrays[int(random.integers(len(arrays)))]
    chosen[tuple(int(random.integers(size)) for size in chosen.shape)] ^= 1
    return arrays


def forget_inhibition(network: Network) -> Network:
    """The same network under a contract without lateral inhibition, which the design does not know of."""
    spec = network.spec
    layers = tuple(replace(layer, neuron=replace(cast(Any, layer.neuron), inhibition=0)) for layer in spec.layers)
    return Network(spec=replace(spec, layers=layers), **network.state)

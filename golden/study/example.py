"""One sample through a network as packets and their right answers: what a first bench plays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import STATE_ACCESS, Exchange, Status, response_bytes, sample_command
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import encode_state, packet, sample_packets
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.own_data import RANDOM, load_data

__all__ = ["example_exchanges", "example_image", "example_sample"]

_MNIST_SIDE, _MNIST_DIGIT = 28, 20  # an MNIST digit fills this much of its image


def example_image(pixels: int) -> tuple[NDArray[np.uint8], int]:
    """An image of ``pixels`` intensities, uint8 (pixels,), and its label.

    It is the first test image of the UCI digits, which need no download; for another size than theirs, enlarged into
    the middle of the largest square as a digit of MNIST is.
    """
    digits = load_dataset("digits")
    image, label = digits.test.images[0], int(digits.test.labels[0])
    if pixels == image.size:
        return image, label
    side = math.isqrt(pixels)
    drawn = max(1, side * _MNIST_DIGIT // _MNIST_SIDE)
    rows, columns = np.arange(drawn) * digits.height // drawn, np.arange(drawn) * digits.width // drawn
    square = np.zeros((side, side), dtype=np.uint8)
    start = (side - drawn) // 2
    square[start:start + drawn, start:start + drawn] = image.reshape(digits.height, -1)[np.ix_(rows, columns)]
    return np.concatenate([square.ravel(), np.zeros(pixels - side * side, dtype=np.uint8)]), label


def _bytes(words: Sequence[int] | NDArray[np.integer]) -> bytes:
    """Bytes of a packet without the mark of its end."""
    return (np.asarray(words) & 0xFF).astype(np.uint8).tobytes()


def example_sample(spec: NetworkSpec) -> tuple[NDArray[np.uint8], int, str]:
    """A sample for a network, uint8 (bytes,), its label, and what it is: :func:`example_image`, or random spikes."""
    if isinstance(spec.input, Events):
        test = load_data(RANDOM, like=spec).test
        return test.images[0], int(test.labels[0]), "Sample: random spikes."
    image, label = example_image(spec.inputs)
    return image, label, f"Image: a handwritten {label}."


def example_exchanges(network: Network, sample: NDArray[np.uint8]) -> list[Exchange]:
    """Load all that a network has learnt, then classify a sample, uint8 (bytes,)."""
    spec = network.spec
    loads = [(STATE_ACCESS[name].load, encode_state(spec, name, arrays)) for name, arrays in network.state.items()]
    exchanges = [Exchange(_bytes(packet(command, payload)), bytes([command, Status.OK])) for command, payload in loads]
    record = network.classify(sample)
    tie = int(record.prediction) < 0
    reply = [sample_command(spec, learn=False), Status.TIE if tie else Status.OK,
             0xFF if tie else int(record.prediction)]
    responses = b"".join(number.to_bytes(response_bytes(spec), "little", signed=spec.response_range[0] < 0)
                         for number in record.responses.tolist())
    return [*exchanges, Exchange(_bytes(sample_packets(spec, sample[None], None)), bytes(reply) + responses)]

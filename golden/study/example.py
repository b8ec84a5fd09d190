"""One image through a network as packets and their right answers: what a first bench plays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.protocol import STATE_ACCESS, Command, Exchange, Status
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import encode_state, packet
from lifstream.golden.study.datasets import load_dataset

__all__ = ["example_exchanges", "example_image"]

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


def example_exchanges(network: Network, image: NDArray[np.uint8]) -> list[Exchange]:
    """Load all that a network has learnt, then classify an image, uint8 (inputs,)."""
    spec = network.spec
    loads = [(STATE_ACCESS[name].load, encode_state(spec, name, arrays)) for name, arrays in network.state.items()]
    exchanges = [Exchange(_bytes(packet(command, payload)), bytes([command, Status.OK])) for command, payload in loads]
    record = network.classify(image)
    tie = int(record.prediction) < 0
    reply = [Command.INFER, Status.TIE if tie else Status.OK, 0xFF if tie else int(record.prediction),
             *record.counts.tolist()]
    return [*exchanges, Exchange(_bytes(packet(Command.INFER, image)), bytes(reply))]

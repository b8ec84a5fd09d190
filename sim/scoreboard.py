"""Compares what the design did with what the golden model says, and names the first divergence.

Equality is exact: ``==`` on integers, no tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.network import ForwardRecord

__all__ = ["Captured", "CapturedDesire", "Divergence", "first_divergence", "first_label_divergence",
           "first_threshold_divergence", "first_weight_divergence"]

INPUT_LAYER = -1
"""Layer number of the encoder's spikes."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first place where the design and the golden model differ."""

    image: int
    step: int | None
    """Time step, None for what belongs to a whole sample."""
    layer: int | None
    """LIF layer, -1 for the encoder, None for the readout."""
    quantity: str
    neuron: int | None
    expected: int
    got: int
    row: int | None = None
    """Presynaptic neuron, for weights."""
    column: int | None = None
    """Postsynaptic neuron, for weights."""

    def __str__(self) -> str:
        where = [f"image {self.image}"]
        if self.step is not None:
            where.append(f"step {self.step}")
        if self.layer is not None:
            where.append("encoder" if self.layer == INPUT_LAYER else f"layer {self.layer}")
        if self.neuron is not None:
            where.append(f"neuron {self.neuron}")
        if self.row is not None:
            where += [f"row {self.row}", f"column {self.column}"]
        return f"{', '.join(where)}: {self.quantity} expected {self.expected}, got {self.got}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What the design did over a batch of images."""

    input_spikes: NDArray[np.int64]
    """(images, T, inputs), 0 or 1."""
    spikes: tuple[NDArray[np.int64], ...]
    """Per layer (images, T, n), 0 or 1."""
    membranes: tuple[NDArray[np.int64], ...]
    """Per layer (images, T, n): after integration, before the reset."""
    counts: NDArray[np.int64]
    """(images, neurons of the last layer)."""
    predictions: NDArray[np.int64]
    """(images,), -1 for a tie."""
    desires: tuple[CapturedDesire, ...] = ()
    """Per layer; empty when nothing is learnt."""


class CapturedDesire(NamedTuple):
    """Desires of a layer over a batch of images; zero where there is none. Every array is (images, n)."""

    sign: NDArray[np.int64]
    exponent: NDArray[np.int64]
    error: NDArray[np.int64]


def _first(expected: NDArray[Any], got: NDArray[Any]) -> tuple[int, ...] | None:
    """Index of the first unequal element in C order, or None."""
    different = expected != got
    if not different.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(different.argmax()), different.shape))


def _stages(golden: ForwardRecord, captured: Captured) -> Iterator[tuple[int, str, NDArray[Any], NDArray[Any]]]:
    yield INPUT_LAYER, "spike", golden.input_spikes, captured.input_spikes
    for layer, record in enumerate(golden.layers):
        yield layer, "membrane potential", record.membrane, captured.membranes[layer]
        yield layer, "spike", record.spikes, captured.spikes[layer]


def first_weight_divergence(expected: Sequence[NDArray[np.int32]], got: Sequence[NDArray[np.int32]], *,
                            image: int) -> Divergence | None:
    """The first unequal weight after ``image``: by layer, then row, then column."""
    for layer, (wanted, found) in enumerate(zip(expected, got, strict=True)):
        if (index := _first(wanted, found)) is not None:
            return Divergence(image=image, step=None, layer=layer, quantity="weight", neuron=None,
                              expected=int(wanted[index]), got=int(found[index]), row=index[0], column=index[1])
    return None


def first_threshold_divergence(expected: Sequence[NDArray[np.int64]], got: Sequence[NDArray[np.int64]], *,
                               image: int) -> Divergence | None:
    """The first unequal adaptive threshold after ``image``: by layer, then neuron."""
    for layer, (wanted, found) in enumerate(zip(expected, got, strict=True)):
        if (index := _first(wanted, found)) is not None:
            return Divergence(image=image, step=None, layer=layer, quantity="adaptive threshold", neuron=index[0],
                              expected=int(wanted[index]), got=int(found[index]))
    return None


def first_label_divergence(expected: NDArray[np.int32], got: NDArray[np.int32], *, image: int) -> Divergence | None:
    """The first neuron whose votes, (n, classes), differ after labelling: with it, its label does."""
    if (index := _first(expected, got)) is None:
        return None
    return Divergence(image=image, step=None, layer=None, quantity=f"vote for class {index[1]}", neuron=index[0],
                      expected=int(expected[index]), got=int(got[index]))


def first_divergence(golden: ForwardRecord, captured: Captured, *, first_image: int = 0,
                     desires: Sequence[CapturedDesire] = ()) -> Divergence | None:
    """The earliest divergence of a batch: by image, then step, then along the data path and back.

    Parameters
    ----------
    golden, captured
        Records of the same images, batched along the first axis.
    first_image
        Number of the batch's first image.
    desires
        The golden model's desires of each layer; errors are compared for the output layer, the only
        one whose desires carry them.
    """
    found: list[tuple[tuple[int, int, int], Divergence]] = []
    for order, (layer, quantity, expected, got) in enumerate(_stages(golden, captured)):
        if (index := _first(expected, got)) is not None:
            image, step, neuron = index
            found.append(((image, step, order), Divergence(
                image=first_image + image, step=step, layer=layer, quantity=quantity, neuron=neuron,
                expected=int(expected[index]), got=int(got[index]))))
    last_step = golden.input_spikes.shape[-2]
    if (index := _first(golden.counts, captured.counts)) is not None:
        found.append(((index[0], last_step, 0), Divergence(
            image=first_image + index[0], step=None, layer=None, quantity="spike count", neuron=index[1],
            expected=int(golden.counts[index]), got=int(captured.counts[index]))))
    if (index := _first(golden.prediction, captured.predictions)) is not None:
        found.append(((index[0], last_step, 1), Divergence(
            image=first_image + index[0], step=None, layer=None, quantity="prediction", neuron=None,
            expected=int(golden.prediction[index]), got=int(captured.predictions[index]))))
    for back, (layer, wanted) in enumerate(reversed(list(enumerate(desires)))):
        names = CapturedDesire._fields if back == 0 else CapturedDesire._fields[:2]
        for name in names:
            expected, got = getattr(wanted, name), getattr(captured.desires[layer], name)
            if (index := _first(expected, got)) is not None:
                found.append(((index[0], last_step, 2 + back), Divergence(
                    image=first_image + index[0], step=None, layer=layer, quantity=f"desire {name}", neuron=index[1],
                    expected=int(expected[index]), got=int(got[index]))))
    return min(found, key=lambda entry: entry[0])[1] if found else None

"""Compares what the design did with what the golden model says, and names the first mismatches.

Equality is exact: ``==`` on integers, no tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.model.protocols import ForwardRecord

__all__ = ["MISMATCHES_MAX", "Captured", "CapturedDesire", "Divergence", "label_mismatches", "mismatches",
           "state_mismatches"]

MISMATCHES_MAX = 10
"""No comparison names more."""

INPUT_LAYER = -1
"""Layer number of the encoder's spikes."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """A place where the design and the golden model differ."""

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
    """For weights: row of the weight matrix, a presynaptic neuron or a tap."""
    column: int | None = None
    """For weights: postsynaptic neuron, or channel of a map."""
    position: int | None = None
    """Of the neuron, in a map: ``y * width + x``. Of a weight of a map: where the golden model last changed it."""
    channel: int | None = None
    """Of the neuron, or the weight's, in a map."""
    tap: tuple[int, int, int] | None = None
    """For weights of a map: down and right in the kernel, presynaptic channel."""
    row_is: str = "tap"
    """What a row of a map's weights is called: without weight sharing it is no tap, but one of a position."""
    changed_in: int | None = None
    """For weights of a map: the image in which the golden model last changed it, since weights were last equal."""
    clock: int | None = None
    """Clock in which the design shows what it ``got``, counted from the simulation's start; for a spike, that of the
    marker which ends its step. None for what is read back after a sample."""
    first_clock: int | None = None
    """For a spike, the first clock in which one of its step can come; otherwise ``clock``."""
    time_ns: int | None = None
    """When ``clock`` begins in the waveform."""
    path: str | None = None
    """The signal in the waveform, or the word of memory and its bits. None for a vote, which the host computes."""

    @property
    def read_back(self) -> bool:
        """Whether it is seen after so many images, and not where it came about."""
        return self.quantity in ("weight", "adaptive threshold")

    def __str__(self) -> str:
        where = [f"image {self.image}"]
        if self.step is not None:
            where.append(f"step {self.step}")
        if self.layer is not None:
            where.append("encoder" if self.layer == INPUT_LAYER else f"layer {self.layer}")
        if self.neuron is not None:
            where.append(f"neuron {self.neuron}" if self.position is None else
                         f"neuron {self.neuron} (position {self.position}, channel {self.channel})")
        if self.tap is not None:
            where += [f"{self.row_is} {self.row} (y {self.tap[0]}, x {self.tap[1]}, input channel {self.tap[2]})",
                      f"channel {self.channel}"]
            if self.changed_in is not None:
                where.append(f"last changed at position {self.position} in image {self.changed_in}")
        elif self.row is not None:
            where += [f"row {self.row}", f"column {self.column}"]
        seen = []
        if self.clock is not None:
            clocks = f"clock {self.clock}" if self.first_clock in (None, self.clock) else \
                f"clocks {self.first_clock} to {self.clock}"
            seen.append(clocks if self.time_ns is None else f"{clocks} at {self.time_ns} ns")
        if self.path is not None:
            seen.append(self.path)
        message = f"{', '.join(where)}: {self.quantity} expected {self.expected}, got {self.got}"
        return f"{message} ({', '.join(seen)})" if seen else message

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
    responses: NDArray[np.int64]
    """(images, neurons of the last layer): what the answers say of them."""
    predictions: NDArray[np.int64]
    """(images,), -1 for a tie."""
    desires: tuple[CapturedDesire, ...] = ()
    """Per layer; empty when nothing is learnt."""


class CapturedDesire(NamedTuple):
    """Desires of a layer over a batch of images; zero where there is none. Every array is (images, n)."""

    sign: NDArray[np.int64]
    exponent: NDArray[np.int64]
    error: NDArray[np.int64]


def _unequal(expected: NDArray[Any], got: NDArray[Any]) -> list[tuple[int, ...]]:
    """Indices of the first unequal elements in C order."""
    different = expected != got
    if not different.any():
        return []
    return [tuple(int(i) for i in np.unravel_index(place, different.shape))
            for place in np.flatnonzero(different)[:MISMATCHES_MAX]]


def _stages(golden: ForwardRecord, captured: Captured) -> Iterator[tuple[int, str, NDArray[Any], NDArray[Any]]]:
    yield INPUT_LAYER, "spike", golden.input_spikes, captured.input_spikes
    for layer, record in enumerate(golden.layers):
        yield layer, "membrane potential", record.membrane, captured.membranes[layer]
        yield layer, "spike", record.spikes, captured.spikes[layer]


def state_mismatches(expected: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]], *, quantity: str,
                     image: int, layers: Sequence[int] | None = None) -> list[Divergence]:
    """The first unequal elements of learnt arrays after ``image``: by layer, then row and column, or neuron.

    ``layers`` says whose arrays they are; None: the first layers'.
    """
    found = []
    for layer, wanted, read in zip(layers or range(len(expected)), expected, got, strict=True):
        for index in _unequal(wanted, read):
            row, column = index if len(index) == 2 else (None, None)
            found.append(Divergence(image=image, step=None, layer=layer, quantity=quantity,
                                    neuron=index[0] if row is None else None, expected=int(wanted[index]),
                                    got=int(read[index]), row=row, column=column))
    return found[:MISMATCHES_MAX]


def label_mismatches(expected: NDArray[np.int32], got: NDArray[np.int32], *, image: int) -> list[Divergence]:
    """The first votes, (n, classes), that differ after labelling: with a neuron's votes, its label does."""
    return [Divergence(image=image, step=None, layer=None, quantity=f"vote for class {index[1]}", neuron=index[0],
                       expected=int(expected[index]), got=int(got[index])) for index in _unequal(expected, got)]


def mismatches(golden: ForwardRecord, captured: Captured, *, first_image: int = 0,
               desires: Sequence[CapturedDesire] = (), response_is: str = "spike count") -> list[Divergence]:
    """The first mismatches of a batch: by image, then step, then along the data path and back, then by neuron.

    Parameters
    ----------
    golden, captured
        Records of the same images, batched along the first axis.
    first_image
        Number of the batch's first image.
    desires
        The golden model's desires of each layer; errors are compared for the output layer, the only
        one whose desires carry them.
    response_is
        What an answer says of a neuron of the last layer.
    """
    found: list[tuple[tuple[int, int, int], Divergence]] = []
    for order, (layer, quantity, expected, got) in enumerate(_stages(golden, captured)):
        for index in _unequal(expected, got):
            image, step, neuron = index
            found.append(((image, step, order), Divergence(
                image=first_image + image, step=step, layer=layer, quantity=quantity, neuron=neuron,
                expected=int(expected[index]), got=int(got[index]))))
    last_step = golden.input_spikes.shape[-2]
    for index in _unequal(golden.responses, captured.responses):
        found.append(((index[0], last_step, 0), Divergence(
            image=first_image + index[0], step=None, layer=None, quantity=response_is, neuron=index[1],
            expected=int(golden.responses[index]), got=int(captured.responses[index]))))
    for index in _unequal(golden.prediction, captured.predictions):
        found.append(((index[0], last_step, 1), Divergence(
            image=first_image + index[0], step=None, layer=None, quantity="prediction", neuron=None,
            expected=int(golden.prediction[index]), got=int(captured.predictions[index]))))
    for back, (layer, wanted) in enumerate(reversed(list(enumerate(desires)))):
        names = CapturedDesire._fields if back == 0 else CapturedDesire._fields[:2]
        for name in names:
            expected, got = getattr(wanted, name), getattr(captured.desires[layer], name)
            for index in _unequal(expected, got):
                found.append(((index[0], last_step, 2 + back), Divergence(
                    image=first_image + index[0], step=None, layer=layer, quantity=f"desire {name}", neuron=index[1],
                    expected=int(expected[index]), got=int(got[index]))))
    # Each array's elements are in order already, and sorting keeps equals as they are.
    return [divergence for _, divergence in sorted(found, key=lambda entry: entry[0])[:MISMATCHES_MAX]]

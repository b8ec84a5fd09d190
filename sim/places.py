"""Where in the design, and so in a waveform, a compared value stands: paths of signals and words of memories."""

from __future__ import annotations

from typing import Any

from lifstream.sim.harness import DUT

__all__ = ["REPLIES", "array_path", "membrane_path", "payload_path", "slice_of", "weight_path"]

REPLIES = "harness.replies_payload"
"""The bytes that the design answers."""


def payload_path(path: str) -> str:
    """The payload of a stream inside the design."""
    return f"{DUT}.{path}__payload"


def membrane_path(membrane: dict[str, Any], neuron: int) -> str:
    """The membrane potential of a neuron, by its layer's entry in the description."""
    _, column = _position_and_column(membrane, neuron)
    return f"{DUT}.{membrane['signals'][column % len(membrane['signals'])]}"


def slice_of(membrane: dict[str, Any], neuron: int) -> tuple[int, int]:
    """Position, and which of its slices in a step, of a neuron's membrane potential."""
    position, column = _position_and_column(membrane, neuron)
    return position, column // len(membrane["signals"])


def _position_and_column(membrane: dict[str, Any], neuron: int) -> tuple[int, int]:
    """Layers that are no maps have one position."""
    return divmod(neuron, membrane["columns"]) if "columns" in membrane else (0, neuron)


def weight_path(description: dict[str, Any], layer: int, row: int, column: int) -> str:
    """The word of memory that holds a weight, or a vote behind the last layer, and its bits."""
    memory = _memory(description, "weight", layer)
    fold, lane, group = _position(memory, column)
    low = lane * memory["width"]
    return f"{DUT}.{memory['signals'][group]}[{fold * memory['fold_words'] + row}][{low + memory['width'] - 1}:{low}]"


def array_path(description: dict[str, Any], quantity: str, layer: int, neuron: int) -> str | None:
    """The word of memory that holds a neuron's own number of this kind, None where that is no memory's."""
    if all(memory["quantity"] != quantity for memory in description["memories"]):
        return None
    memory = _memory(description, quantity, layer)
    position, column = _position_and_column(memory, neuron)
    fold, lane, group = _position(memory, column)
    fold += position * memory.get("row_folds", 1)
    return f"{DUT}.{memory['signals'][group]}[{fold * memory['lanes_per_group'] + lane}]"


def _memory(description: dict[str, Any], quantity: str, layer: int) -> dict[str, Any]:
    found: dict[str, Any] = next(memory for memory in description["memories"]
                                 if memory["quantity"] == quantity and memory["layer"] == layer)
    return found


def _position(memory: dict[str, Any], neuron: int) -> tuple[int, int, int]:
    """Fold, lane and group of a neuron: neighbours stand in neighbouring groups."""
    groups = len(memory["signals"])
    fold, place = divmod(neuron, groups * memory["lanes_per_group"])
    return fold, *divmod(place, groups)

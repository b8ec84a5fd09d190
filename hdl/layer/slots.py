"""What the lanes of a layer are told, clock by clock: slots, which read or write a row or end a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import EventKind, bits_for_index
from lifstream.hdl.geometry import LayerGeometry

if TYPE_CHECKING:  # Amaranth's own has no types
    from enum import Enum
else:
    from amaranth.lib.enum import Enum

__all__ = ["KEEP_APART", "LearnLayout", "SlotKind", "SlotLayout", "by_fold", "table"]

KEEP_APART = {"lifstream_keep": 1}
"""Attribute of registers of which every group has its own copy: synthesis would merge them into one that drives all
lanes. In RTLIL only; place and route on boards looks for it."""


class SlotKind(Enum, shape=3):
    """What the groups of a layer do with a slot."""

    IDLE = 0
    """Nothing."""
    SPIKE = 1
    """Add the weight row to the accumulators of ``fold``."""
    STEP = 2
    """Hand the accumulators of ``fold`` to the membrane unit, and clear them."""
    CLEAR = 3
    """Clear the accumulators of ``fold``."""
    WRITE = 4
    """Write the loaded weights to the row."""
    HOLD = 5
    """Load the weights from the row."""
    BACK = 6
    """Sum the row's weights times the desires of ``fold``."""
    SETTLE = 7
    """Let the adaptive thresholds of ``fold`` rise and leak."""


class SlotLayout(data.StructLayout):
    """One clock's work for all groups of a layer; a kind of neuron adds fields of its own."""

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry, own: dict[str, Any]) -> None:
        super().__init__({
            "kind": SlotKind,
            "row": bits_for_index(geometry.rows),
            "fold": bits_for_index(geometry.folds),
            "first": 1,             # STEP: the sample's first step, the membrane starts at zero
            "learn": 1,             # STEP: a sample to learn from
            "masks": 1,             # STEP: which of the two sets of dropout masks is in force
            "step": bits_for_index(at.steps),  # STEP: index of the step
            "marker": EventKind,    # STEP: marker that follows the fold's last neuron
            "last": 1,              # BACK: the row's last fold
            # BACK: the neuron reaches nothing, so this stands for no row. STEP: the position. Both: whether the sample
            # has reached the position.
            **({"void": 1, "reached": 1, "position": bits_for_index(geometry.positions)} if geometry.walked else {}),
            **own,
        })


class LearnLayout(data.StructLayout):
    """One clock's learning work for all groups of a layer: any of three things at once.

    A learning rule derives its own: what its lanes are told of a presynaptic neuron's step (:meth:`encode`), and how
    far their shifts may differ.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        The layer's folding.
    excess_bits
        Width of the most by which a lane shifts further than all lanes.
    own
        Fields of the rule.
    """

    held: tuple[str, ...] = ()
    """Fields that do not change during an update."""

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry, *, excess_bits: int, own: dict[str, Any]) -> None:
        super().__init__({
            # Accumulate the sums of `fold` over `unroll` steps; `fresh` starts from zero.
            "correlate": 1,
            "fresh": 1,
            "fold": bits_for_index(geometry.folds),
            "block": bits_for_index(geometry.blocks(at.steps)),
            # Take the sums over for shifting, with what belongs to `shift_fold`.
            "take": 1,
            # Shift by one bit: everyone, or those whose deficit is above `excess`.
            "shift": 1,
            "everyone": 1,
            "excess": excess_bits,
            "shift_fold": bits_for_index(geometry.folds),
            # The next bit of the row's random word, for stochastic rounding.
            **({"random": 1} if at.rounds_at_random else {}),
            # Add to the loaded weights, rounded and saturated.
            "apply": 1,
            **own,
        })

    def encode(self, place: int, *, trace: Value, spiked: Value, beyond: Value | None) -> dict[tuple[str, int], Value]:
        """Fields, and places in them, that tell a step's trace; ``beyond``: the step is past the sample's last."""
        raise NotImplementedError


def table(m: Module, index: Value, count: int, factor: int) -> Signal:
    """``index * factor`` from a table of constants: no multiplication."""
    product = Signal(bits_for_index(count * factor))
    with m.Switch(index):
        for value in range(count):
            with m.Case(value):
                m.d.comb += product.eq(value * factor)
    return product


def by_fold(m: Module, geometry: LayerGeometry, fold: Value, factor: int) -> Signal:
    """``fold * factor``: from a table; where folds are as many as positions, by adding what is shifted."""
    if not geometry.walked:
        return table(m, fold, geometry.folds, factor)
    product = Signal(bits_for_index(geometry.folds * factor))
    shifted = [fold << bit for bit in range(factor.bit_length()) if factor >> bit & 1]
    m.d.comb += product.eq(sum(shifted[1:], shifted[0]))
    return product

"""What a network costs: weight memory, block RAMs, synaptic operations."""

from __future__ import annotations

from collections.abc import Sequence

from lifstream.golden.spec import NetworkSpec

__all__ = ["ecp5_block_rams", "synaptic_operations", "weight_memory_bits"]

_ECP5_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits of a Lattice ECP5 block RAM with one write and one read port (Lattice FPGA-TN-02204)."""


def weight_memory_bits(spec: NetworkSpec) -> int:
    """Bits of all weights."""
    return spec.parameters * spec.weight_bits


def ecp5_block_rams(spec: NetworkSpec) -> int:
    """18-kbit block RAMs of an ECP5 that hold all weights, a row of each layer readable per clock.

    An ECP5-85F has 208.
    """
    total = 0
    for rows, neurons in zip(spec.sizes, spec.sizes[1:], strict=False):
        width = neurons * spec.weight_bits
        total += min(-(-rows // words) * -(-width // bits) for words, bits in _ECP5_SHAPES)
    return total


def synaptic_operations(spec: NetworkSpec, spikes: Sequence[float]) -> float:
    """Additions of a weight to a synaptic current per image.

    Parameters
    ----------
    spikes
        Spikes per image of the input and of each layer.
    """
    return sum(count * neurons for count, neurons in zip(spikes, spec.sizes[1:], strict=False))

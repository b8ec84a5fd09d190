"""What a network costs: weight memory, block RAMs, synaptic operations."""

from __future__ import annotations

from collections.abc import Sequence

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.synapses import connections

__all__ = ["ecp5_block_rams", "synaptic_operations", "weight_memory_bits"]

_ECP5_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits of a Lattice ECP5 block RAM with one write and one read port (Lattice FPGA-TN-02204)."""


def weight_memory_bits(spec: NetworkSpec) -> int:
    """Bits of all weights."""
    return sum(array.size * array.bits for array in spec.learnt_state["weights"])


def ecp5_block_rams(spec: NetworkSpec) -> int:
    """18-kbit block RAMs of an ECP5 that hold all weights, a row of each layer readable per clock.

    An ECP5-85F has 208.
    """
    total = 0
    for array in spec.learnt_state["weights"]:
        rows, neurons = array.shape
        width = neurons * array.bits
        total += min(-(-rows // words) * -(-width // bits) for words, bits in _ECP5_SHAPES)
    return total


def synaptic_operations(spec: NetworkSpec, spikes: Sequence[float]) -> float:
    """Additions of a weight to a synaptic current per image.

    Parameters
    ----------
    spikes
        Spikes per image of what stands before each weight matrix: the input, then the layers. Where presynaptic
        neurons reach unlike many others, as at the edges of a map, all are taken to spike alike.
    """
    reached = [len(connections(layer.synapses).row) * layer.synapses.weight_shape[1] / layer.n_in
               for layer in spec.layers]
    reached += [array.shape[1] for array in spec.learnt_state["weights"][len(spec.layers):]]
    return sum(count * fan_out for count, fan_out in zip(spikes, reached, strict=False))

"""The leaky integrate-and-fire layer as named phases: leak, integrate, fire.

All values are whole numbers of weight LSBs (2**-F); all arithmetic is exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerRecord", "fire", "integrate", "leak", "run_layer", "synaptic_current"]

IntArray = NDArray[np.int64]


class LayerRecord(NamedTuple):
    """What one layer did over a sample; every array is (..., T, n_out)."""

    spikes: NDArray[np.bool_]
    """The neuron fired."""
    membrane: IntArray
    """Membrane potential after integration and clamping, before the reset."""
    threshold: Any
    """Firing threshold that was in force, in weight LSBs: an integer; of competing neurons int64 (..., n), at the
    sample's end."""


def synaptic_current(spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
    """Exact synaptic current ``I_i[t] = sum_j w_ij * s_j[t]``.

    The sum is taken in float64 because BLAS is fast there; it is exact, since the spec bounds every
    partial sum far below 2**53. Inputs that never spike are left out.

    Parameters
    ----------
    spikes
        bool (..., T, n_in).
    weights
        int32 (n_in, n_out), weight LSBs.

    Returns
    -------
    int64 (..., T, n_out).
    """
    active = np.flatnonzero(spikes.reshape(-1, spikes.shape[-1]).any(axis=0))
    current = spikes[..., active].astype(np.float64) @ weights[active].astype(np.float64)
    return current.astype(np.int64)


def leak(value: IntArray, leak_shift: int) -> IntArray:
    """Decay by 2**-k: ``((2**k - 1) * value) >> k``, rounding towards minus infinity."""
    return (((1 << leak_shift) - 1) * value) >> leak_shift


def integrate(leaked: IntArray, current: IntArray, bounds: tuple[int, int]) -> IntArray:
    """Add the synaptic current to the leaked membrane potential and clamp to ``bounds``."""
    membrane = leaked + current
    np.maximum(membrane, bounds[0], out=membrane)
    np.minimum(membrane, bounds[1], out=membrane)
    return membrane


def fire(
    membrane: IntArray, threshold: int, kept: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], IntArray]:
    """Spikes of kept neurons at or above ``threshold``, and the membrane after the soft reset."""
    spikes = membrane >= threshold
    if kept is not None:
        spikes &= kept
    return spikes, membrane - threshold * spikes


def run_layer(
    current: IntArray,
    *,
    threshold: int,
    leak_shift: int,
    bounds: tuple[int, int],
    kept: NDArray[np.bool_] | None = None,
) -> LayerRecord:
    """Run a layer over the ``T`` steps of a sample, from a membrane potential of zero.

    Parameters
    ----------
    current
        int64 (..., T, n_out), synaptic currents.
    threshold
        Firing threshold, weight LSBs.
    leak_shift
        ``k`` of :func:`leak`.
    bounds
        Smallest and largest membrane potential (inclusive).
    kept
        bool (n_out,): False for neurons dropped in this sample; None keeps all.
    """
    spikes = np.empty(current.shape, dtype=bool)
    membrane = np.empty(current.shape, dtype=np.int64)
    state = np.zeros_like(current[..., 0, :])
    for step in range(current.shape[-2]):
        potential = integrate(leak(state, leak_shift), current[..., step, :], bounds)
        membrane[..., step, :] = potential
        spikes[..., step, :], state = fire(potential, threshold, kept)
    return LayerRecord(spikes=spikes, membrane=membrane, threshold=threshold)

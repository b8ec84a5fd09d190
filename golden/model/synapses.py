"""Synaptic currents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.model.protocols import IntArray

__all__ = ["DenseSynapses", "synaptic_current"]


def synaptic_current(spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
    """Exact synaptic current ``I_i[t] = sum_j w_ij * s_j[t]``.

    The sum is taken in float64 because BLAS is fast there; it is exact, since the contract bounds every
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


class DenseSynapses:
    """All to all."""

    def current(self, at: PlacedLayer, spikes: NDArray[np.bool_], weights: NDArray[np.int32]) -> IntArray:
        return synaptic_current(spikes, weights)

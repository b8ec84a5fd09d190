"""Traces of spikes: what a neuron's past spikes are still worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.lif import leak
from lifstream.golden.spec import NetworkSpec

__all__ = ["trace"]


def trace(spec: NetworkSpec, spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Traces ``x = leak(x) + (s << X)``: bool (T, n) to int64 (T, n)."""
    traces = np.empty(spikes.shape, dtype=np.int64)
    state = np.zeros(spikes.shape[1], dtype=np.int64)
    for step, fired in enumerate(spikes):
        state = leak(state, spec.leak_shift) + (fired.astype(np.int64) << spec.trace_fraction)
        traces[step] = state
    return traces

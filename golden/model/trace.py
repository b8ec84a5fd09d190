"""Traces of spikes: what a neuron's past spikes are still worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.rules import Rule
from lifstream.golden.model.operations import leak

__all__ = ["trace"]


def trace(rule: Rule, spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Traces ``x = leak(x) + (s << X)`` as a rule keeps them: bool (T, n) to int64 (T, n)."""
    traces = np.empty(spikes.shape, dtype=np.int64)
    state = np.zeros(spikes.shape[1], dtype=np.int64)
    for step, fired in enumerate(spikes):
        state = leak(state, rule.trace_leak_shift) + (fired.astype(np.int64) << rule.trace_fraction)
        traces[step] = state
    return traces

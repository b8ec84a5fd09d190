"""Weights that do not change, for the compiled kernels."""

# The kernels are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.twin.compiling import jit
from lifstream.golden.twin.kernels import LEARN

__all__ = ["FixedConstants", "integer_constants", "real_constants"]


class FixedConstants(NamedTuple):
    """A layer's rule as the kernels read it."""

    steps: int
    """``T``: a tuple needs something in it."""


def integer_constants(at: PlacedLayer, value: type[np.generic]) -> FixedConstants:  # noqa: ARG001
    """A layer's rule in integers ..."""
    return FixedConstants(steps=at.steps)


def real_constants(at: PlacedLayer) -> FixedConstants:
    """... and in real numbers."""
    return FixedConstants(steps=at.steps)


@jit
def learn(rules, synapses, sample, image, label, prediction, state, masks, rounding, rate_shift, inputs, scratch):  # noqa: ARG001
    """Nothing."""
    return False, 0


LEARN[FixedConstants] = learn

"""The float model: a network of the same contract in real numbers, for comparison only.

Weights are float32 and neither rounded nor limited; the threshold is 1. Structure, encoding, desires
and dropout masks are those of the contract, and so are all its switches, so that a difference in
accuracy is the number format's. It runs on the compiled kernels, see :class:`lifstream.golden.twin.engine.Runner`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.rules.desire import normal_weights

__all__ = ["FloatNetwork"]


class FloatNetwork:
    """Real weights in units of the threshold, float32 (n_in, n_out) per layer; copied.

    Parameters
    ----------
    spec
        The contract whose structure and switches are used.
    weights
        One matrix per layer.
    """

    def __init__(self, *, spec: NetworkSpec, weights: Sequence[NDArray[np.floating]]) -> None:
        self.spec = spec
        self.weights: list[NDArray[np.float32]] = [np.array(matrix, dtype=np.float32) for matrix in weights]

    @classmethod
    def initial(cls, *, spec: NetworkSpec, seed: int) -> FloatNetwork:
        """The random weights that :meth:`lifstream.golden.model.network.Network.initial` rounds."""
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 0])))
        return cls(spec=spec, weights=[normal_weights(at, random) for at in spec.placed])

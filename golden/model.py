"""Model files: weights stamped with the digest of the contract they were trained under."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifstream.golden.archive import FORMAT, INTEGERS, Arrays, read_archive, require_field, shown, write_archive
from lifstream.golden.files import is_there
from lifstream.golden.network import Network
from lifstream.golden.presets import TrainingPlan
from lifstream.golden.spec import InputError, NetworkSpec

__all__ = ["Model", "find_model", "load_model", "network_arrays", "network_from", "network_to", "read_archive",
           "released_models", "save_model", "weights_from", "weights_to", "write_archive"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network and where it came from.

    Raises
    ------
    InputError
        A name has other characters than letters, digits and ``" _.,+-"``, or more than 100.
    """

    network: Network
    preset: str
    """Name of the preset it was made from."""
    dataset: str
    """Name of the data set it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Command, seed, plan and metrics, as plain JSON values."""

    def __post_init__(self) -> None:
        # They go into Verilog, figures and messages.
        for name, value in (("preset", self.preset), ("data set", self.dataset)):
            if not re.fullmatch(r"[\w .,+-]{1,100}", value, re.ASCII):
                raise InputError(f"{name}: {shown(ascii(value))} is no name, which has letters, digits and ' _.,+-'")


def _shapes(spec: NetworkSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's arrays."""
    weights = {f"{prefix}weights_{layer}": spec.sizes[layer:layer + 2] for layer in range(spec.layers)}
    adaptive = {f"{prefix}thresholds_{layer}": spec.sizes[layer + 1:layer + 2]
                for layer in range(spec.lif_layers if spec.stdp else 0)}
    return weights | adaptive


def network_arrays(spec: NetworkSpec, *, prefix: str = "") -> set[str]:
    """Names of a network's arrays: what :func:`network_to` makes."""
    return set(_shapes(spec, prefix))


def weights_from(arrays: Arrays, spec: NetworkSpec, *, prefix: str = "", kinds: str = INTEGERS) -> list[np.ndarray]:
    """The weight matrices among ``arrays``; raises InputError when one is missing, of another shape or kind."""
    return [arrays.read(f"{prefix}weights_{layer}", shape=spec.sizes[layer:layer + 2], kinds=kinds)
            for layer in range(spec.layers)]


def weights_to(spec: NetworkSpec, weights: Sequence[np.ndarray], *, prefix: str = "") -> dict[str, np.ndarray]:
    """Weight matrices as named arrays; integers in the narrowest standard type."""
    narrow = np.int16 if spec.weight_bits <= 16 else np.int32
    return {f"{prefix}weights_{layer}": matrix.astype(narrow) if np.issubdtype(matrix.dtype, np.integer) else matrix
            for layer, matrix in enumerate(weights)}


def network_from(arrays: Arrays, spec: NetworkSpec, path: Path, *, prefix: str = "") -> Network:
    """The network among the arrays of the archive ``path``: weights and, with stdp, adaptive thresholds.

    Raises
    ------
    InputError
        An array is missing, of another shape, not of integers, or outside the contract's range.
    """
    thresholds = [arrays.read(name, shape=shape, kinds=INTEGERS)
                  for name, shape in _shapes(spec, prefix).items() if name.startswith(f"{prefix}thresholds_")]
    weights = weights_from(arrays, spec, prefix=prefix)
    try:
        return Network(spec=spec, weights=weights, thresholds=thresholds or None)
    except InputError as error:
        raise InputError(f"{path}: {error}; write it anew with 'lifstream train'") from None


def network_to(network: Network, *, prefix: str = "") -> dict[str, np.ndarray]:
    """A network's state as named arrays: what :func:`network_from` reads."""
    return weights_to(network.spec, network.weights, prefix=prefix) | {
        f"{prefix}thresholds_{layer}": array.astype(np.int32) for layer, array in enumerate(network.thresholds)}


def save_model(path: Path, model: Model) -> None:
    """Write a model file (``.npz``); raises InputError when ``path`` cannot be written."""
    header = {
        "format": FORMAT,
        "kind": "model",
        "spec": model.network.spec.to_json(),
        "spec_digest": model.network.spec.digest(),
        "digest": model.network.digest(),
        "preset": model.preset,
        "dataset": model.dataset,
        "training": model.training,
    }
    write_archive(path, header, network_to(model.network))


def load_model(path: Path, *, expected: NetworkSpec | None = None) -> Model:
    """Read a model file and check its stamps.

    Parameters
    ----------
    expected
        The contract the caller needs; None takes whatever the file holds.

    Raises
    ------
    InputError
        The file is corrupt, its digests do not fit its content, its contract is not ``expected``, or its training
        plan is none.
    """
    header, arrays = read_archive(path)
    if header.get("kind") != "model":
        raise InputError(f"{path}: holds a {shown(header.get('kind'))}, not a model; "
                         "checkpoints are for 'lifstream train --resume'")
    preset, dataset = (require_field(header, name, str, path) for name in ("preset", "dataset"))
    training = require_field(header, "training", dict, path)
    require_field({"epochs": [], **training}, "epochs", list, path)
    try:
        spec = NetworkSpec.from_json(header.get("spec"))
        if "plan" in training:
            TrainingPlan.from_json(training["plan"])
    except InputError as error:
        raise InputError(f"{path}: {shown(error)}") from None
    if spec.digest() != header.get("spec_digest"):
        raise InputError(f"{path}: the contract's digest is {spec.digest()} but the file is stamped "
                         f"{shown(header.get('spec_digest'))}; write it anew with 'lifstream train'")
    if expected is not None and spec != expected:
        raise InputError(f"{path}: its contract {spec.digest()} ({_shape(spec)}) is not the one asked for, "
                         f"{expected.digest()} ({_shape(expected)}); use the preset it was trained with: "
                         f"{shown(preset)}")
    arrays.require_only(network_arrays(spec))
    network = network_from(arrays, spec, path)
    if network.digest() != header.get("digest"):
        raise InputError(f"{path}: the weights' digest is {network.digest()} but the file is stamped "
                         f"{shown(header.get('digest'))}; write it anew with 'lifstream train'")
    try:
        return Model(network=network, preset=preset, dataset=dataset, training=training)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


_RELEASED = Path(__file__).with_name("models")


def released_models() -> list[str]:
    """Names of the trained models that come with the package, see ``docs/models.md``."""
    return sorted(path.stem for path in _RELEASED.glob("*.npz"))


def find_model(name: str) -> Path:
    """The model file called ``name``: a path, or the name of a released model.

    Raises
    ------
    InputError
        Neither such a file nor such a released model.
    """
    path = Path(name)
    if is_there(path):
        return path
    if name in released_models():
        return _RELEASED / f"{name}.npz"
    raise InputError(f"{name}: no such file and no released model of that name "
                     f"(released: {', '.join(released_models())})")


def _shape(spec: NetworkSpec) -> str:
    return "-".join(map(str, spec.sizes))

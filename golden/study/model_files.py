"""Model files: weights stamped with the digest of the contract they were trained under."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import is_there
from lifstream.golden.model.network import Network
from lifstream.golden.study.archive import FORMAT, INTEGERS, Arrays, read_archive, require_field, shown, write_archive
from lifstream.golden.study.presets import PRESETS, TrainingPlan, default_plan
from lifstream.golden.study.words import in_words

__all__ = ["Model", "find_model", "load_model", "network_arrays", "network_from", "network_to", "read_archive",
           "released_models", "save_model", "state_from", "state_to", "write_archive"]


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
    """Name of the preset it was made from, or short name of a network in words."""
    dataset: str
    """Name of the data set it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Command, seed, plan and metrics, as plain JSON values."""

    def __post_init__(self) -> None:
        # They go into Verilog, figures and messages.
        for name, value in (("preset", self.preset), ("data set", self.dataset)):
            if not re.fullmatch(r"[\w .,+-]{1,100}", value, re.ASCII):
                raise InputError(f"{name}: {shown(ascii(value))} is no name, which has letters, digits and ' _.,+-'")

    @property
    def plan(self) -> TrainingPlan:
        """How it was trained, and is trained further: the file's, its preset's, or that of networks in words."""
        if "plan" in self.training:
            return TrainingPlan.from_json(self.training["plan"])
        preset = PRESETS.get(self.preset)
        return default_plan(self.dataset) if preset is None else preset.training


def network_arrays(spec: NetworkSpec, *, prefix: str = "") -> set[str]:
    """Names of a network's arrays: what :func:`network_to` makes."""
    return {f"{prefix}{name}_{index}" for name, arrays in spec.learnt_state.items() for index in range(len(arrays))}


def state_from(arrays: Arrays, spec: NetworkSpec, name: str, *, prefix: str = "",
               kinds: str = INTEGERS) -> list[np.ndarray]:
    """The learnt arrays of one name among ``arrays``; raises InputError when one is missing, of another shape or
    kind."""
    return [arrays.read(f"{prefix}{name}_{index}", shape=array.shape, kinds=kinds)
            for index, array in enumerate(spec.learnt_state[name])]


def state_to(spec: NetworkSpec, name: str, arrays: Sequence[np.ndarray], *, prefix: str = "") -> dict[str, np.ndarray]:
    """Learnt arrays as named ones of a file; integers narrow where the format is."""
    stored = {}
    for index, (array, declared) in enumerate(zip(arrays, spec.learnt_state[name], strict=True)):
        narrow = np.int16 if array.ndim > 1 and declared.bits <= 16 else np.int32
        stored[f"{prefix}{name}_{index}"] = array.astype(narrow) if np.issubdtype(array.dtype, np.integer) else array
    return stored


def network_from(arrays: Arrays, spec: NetworkSpec, path: Path, *, prefix: str = "") -> Network:
    """The network among the arrays of the archive ``path``.

    Raises
    ------
    InputError
        An array is missing, of another shape, not of integers, or outside the contract's range.
    """
    state: dict[str, Any] = {name: state_from(arrays, spec, name, prefix=prefix) for name in spec.learnt_state}
    try:
        return Network(spec=spec, **state)
    except InputError as error:
        raise InputError(f"{path}: {error}; write it anew with 'lifstream train'") from None


def network_to(network: Network, *, prefix: str = "") -> dict[str, np.ndarray]:
    """A network's state as named arrays: what :func:`network_from` reads."""
    return {key: stored for name, arrays in network.state.items()
            for key, stored in state_to(network.spec, name, arrays, prefix=prefix).items()}


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
        raise InputError(f"{path}: its contract {spec.digest()} ({spec.summary}) is not the one asked for, "
                         f"{expected.digest()} ({expected.summary}); use {_named_by(preset, dataset, spec)}")
    arrays.require_only(network_arrays(spec))
    network = network_from(arrays, spec, path)
    if network.digest() != header.get("digest"):
        raise InputError(f"{path}: the weights' digest is {network.digest()} but the file is stamped "
                         f"{shown(header.get('digest'))}; write it anew with 'lifstream train'")
    try:
        return Model(network=network, preset=preset, dataset=dataset, training=training)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _named_by(preset: str, dataset: str, spec: NetworkSpec) -> str:
    """How the network of a model file was named when it was trained."""
    words = in_words(spec)
    if preset in PRESETS or words is None:
        return f"the preset it was trained with: {shown(preset)}"
    return f"the words it was trained with: --layers '{words}' --dataset {shown(dataset)}"


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

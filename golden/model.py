"""Model files: weights stamped with the digest of the contract they were trained under."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.files import replace_file
from golden.network import Network
from golden.spec import InputError, NetworkSpec

__all__ = ["Model", "load_model", "read_archive", "save_model", "weights_from", "weights_to", "write_archive"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network and where it came from."""

    network: Network
    preset: str
    """Name of the preset it was made from."""
    dataset: str
    """Name of the data set it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Command, seed, plan and metrics, as plain JSON values."""


def write_archive(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a NumPy ``.npz`` archive with a JSON ``header``, whole or not at all."""
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    with replace_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, header=text, **arrays)


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write_archive` wrote.

    Raises
    ------
    InputError
        The file is missing, corrupt, or of another kind.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, EOFError, AttributeError, TypeError,
            zipfile.BadZipFile, zlib.error, NotImplementedError):
        raise InputError(f"{path}: not a lifstream file, or corrupt; write it anew "
                         "with 'lifstream train'") from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise InputError(f"{path}: file format is not {_FORMAT}; write it anew with 'lifstream train'")
    return header, arrays


def weights_from(arrays: dict[str, np.ndarray], spec: NetworkSpec, path: Path) -> list[np.ndarray]:
    """The weight matrices among ``arrays``; raises InputError when one is missing or not integer."""
    weights = [arrays.get(f"weights_{layer}") for layer in range(spec.layers)]
    for layer, matrix in enumerate(weights):
        if matrix is None or matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.integer):
            raise InputError(f"{path}: weights of layer {layer} are missing or malformed; "
                             "write it anew with 'lifstream train'")
    return [matrix for matrix in weights if matrix is not None]


def weights_to(network: Network) -> dict[str, np.ndarray]:
    """Named arrays of a network's weights, in the narrowest standard type."""
    kind = np.int16 if network.spec.weight_bits <= 16 else np.int32
    return {f"weights_{layer}": matrix.astype(kind) for layer, matrix in enumerate(network.weights)}


def save_model(path: Path, model: Model) -> None:
    """Write a model file (``.npz``); raises InputError when ``path`` cannot be written."""
    header = {
        "format": _FORMAT,
        "kind": "model",
        "spec": model.network.spec.to_json(),
        "spec_digest": model.network.spec.digest(),
        "digest": model.network.digest(),
        "preset": model.preset,
        "dataset": model.dataset,
        "training": model.training,
    }
    write_archive(path, header, weights_to(model.network))


def load_model(path: Path, *, expected: NetworkSpec | None = None) -> Model:
    """Read a model file and check its stamps.

    Parameters
    ----------
    expected
        The contract the caller needs; None takes whatever the file holds.

    Raises
    ------
    InputError
        The file is corrupt, its digests do not fit its content, or its contract is not ``expected``.
    """
    header, arrays = read_archive(path)
    if header.get("kind") != "model":
        raise InputError(f"{path}: holds a {header.get('kind')}, not a model; "
                         "checkpoints are for 'lifstream train --resume'")
    spec = NetworkSpec.from_json(header.get("spec"))
    if spec.digest() != header.get("spec_digest"):
        raise InputError(f"{path}: the contract's digest is {spec.digest()} but the file is stamped "
                         f"{header.get('spec_digest')}; write it anew with 'lifstream train'")
    if expected is not None and spec != expected:
        raise InputError(f"{path}: its contract {spec.digest()} ({_shape(spec)}) is not the one asked for, "
                         f"{expected.digest()} ({_shape(expected)}); use the preset it was trained with: "
                         f"{header.get('preset')}")
    network = Network(spec=spec, weights=weights_from(arrays, spec, path))
    if network.digest() != header.get("digest"):
        raise InputError(f"{path}: the weights' digest is {network.digest()} but the file is stamped "
                         f"{header.get('digest')}; write it anew with 'lifstream train'")
    return Model(network=network, preset=str(header.get("preset")), dataset=str(header.get("dataset")),
                 training=header.get("training") or {})


def _shape(spec: NetworkSpec) -> str:
    return "-".join(map(str, spec.sizes))

"""Model files: weights stamped with the digest of the contract they were trained under."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifstream.golden.files import replace_file
from lifstream.golden.network import Network
from lifstream.golden.spec import InputError, NetworkSpec

__all__ = ["Model", "find_model", "load_model", "network_from", "network_to", "read_archive", "released_models",
           "save_model", "weights_from", "weights_to", "write_archive"]

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


def weights_from(arrays: dict[str, np.ndarray], spec: NetworkSpec, path: Path, *,
                 prefix: str = "", kind: type[np.generic] = np.integer) -> list[np.ndarray]:
    """The weight matrices among ``arrays``; raises InputError when one is missing or not of ``kind``."""
    weights = [arrays.get(f"{prefix}weights_{layer}") for layer in range(spec.layers)]
    for layer, matrix in enumerate(weights):
        if matrix is None or matrix.ndim != 2 or not np.issubdtype(matrix.dtype, kind):
            raise InputError(f"{path}: weights of layer {layer} are missing or malformed; "
                             "write it anew with 'lifstream train'")
    return [matrix for matrix in weights if matrix is not None]


def weights_to(spec: NetworkSpec, weights: Sequence[np.ndarray], *, prefix: str = "") -> dict[str, np.ndarray]:
    """Weight matrices as named arrays; integers in the narrowest standard type."""
    narrow = np.int16 if spec.weight_bits <= 16 else np.int32
    return {f"{prefix}weights_{layer}": matrix.astype(narrow) if np.issubdtype(matrix.dtype, np.integer) else matrix
            for layer, matrix in enumerate(weights)}


def network_from(arrays: dict[str, np.ndarray], spec: NetworkSpec, path: Path, *, prefix: str = "") -> Network:
    """The network among ``arrays``: weights and, with stdp, adaptive thresholds; raises InputError when malformed."""
    thresholds = [arrays.get(f"{prefix}thresholds_{layer}") for layer in range(spec.lif_layers if spec.stdp else 0)]
    if any(array is None or not np.issubdtype(array.dtype, np.integer) for array in thresholds):
        raise InputError(f"{path}: adaptive thresholds are missing or malformed; write it anew with 'lifstream train'")
    return Network(spec=spec, weights=weights_from(arrays, spec, path, prefix=prefix),
                   thresholds=[array for array in thresholds if array is not None] or None)


def network_to(network: Network, *, prefix: str = "") -> dict[str, np.ndarray]:
    """A network's state as named arrays: what :func:`network_from` reads."""
    return weights_to(network.spec, network.weights, prefix=prefix) | {
        f"{prefix}thresholds_{layer}": array.astype(np.int32) for layer, array in enumerate(network.thresholds)}


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
    network = network_from(arrays, spec, path)
    if network.digest() != header.get("digest"):
        raise InputError(f"{path}: the weights' digest is {network.digest()} but the file is stamped "
                         f"{header.get('digest')}; write it anew with 'lifstream train'")
    return Model(network=network, preset=str(header.get("preset")), dataset=str(header.get("dataset")),
                 training=header.get("training") or {})


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
    if path.exists():
        return path
    if name in released_models():
        return _RELEASED / f"{name}.npz"
    raise InputError(f"{name}: no such file and no released model of that name "
                     f"(released: {', '.join(released_models())})")


def _shape(spec: NetworkSpec) -> str:
    return "-".join(map(str, spec.sizes))

"""A user's own images and contracts: read, named, and refused in one line where they are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.study.own_data import data_name, data_shape, load_data
from lifstream.golden.study.presets import PRESETS, default_plan, preset_from_json, preset_in_words
from tests.conftest import write_idx


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Thirty training and six test images of 4 x 5 pixels, three classes."""
    random = np.random.default_rng(1)
    made = {}
    for part, count in (("train", 30), ("test", 6)):
        made[f"{part}_images"] = random.integers(0, 256, (count, 4, 5)).astype(np.uint8)
        made[f"{part}_labels"] = np.arange(count) % 3
    return {name: array for name, array in (made | changes).items() if array is not None}


def archive(folder: Path, **changes: Any) -> str:
    path = folder / "my images.npz"
    np.savez(path, **arrays(**changes))
    return str(path)


def test_an_archive(tmp_path: Path) -> None:
    place = archive(tmp_path)
    dataset = load_data(place)
    assert (dataset.name, dataset.height, dataset.width, dataset.classes) == ("my images", 4, 5, 3)
    assert dataset.train.images.tolist() == arrays()["train_images"].reshape(30, 20).tolist()
    assert dataset.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data_shape(place)._asdict() == {"height": 4, "width": 5, "classes": 3, "channels": 1, "steps": None}
    assert default_plan(place).validation == 3
    preset = preset_in_words("conv 2 3x3, dense 3", dataset=place)
    assert (preset.spec.inputs, preset.dataset, preset.training) == (20, place, default_plan(place))


def test_an_archive_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    first = load_data(archive(tmp_path))
    assert load_data(archive(tmp_path, train_images=np.zeros((30, 4, 5), np.uint8))).train.digest != first.train.digest


def test_vectors_of_pixels(tmp_path: Path) -> None:
    flat = {f"{part}_images": arrays()[f"{part}_images"].reshape(-1, 20).astype(np.int64) for part in ("train", "test")}
    dataset = load_data(archive(tmp_path, **flat))
    assert (dataset.height, dataset.width, dataset.train.images.dtype) == (1, 20, np.uint8)


def test_a_folder_of_idx_files(tmp_path: Path) -> None:
    made = arrays()
    for prefix, part in (("train", "train"), ("t10k", "test")):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", made[f"{part}_images"])
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", made[f"{part}_labels"])
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.with_suffix(".gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    dataset = load_data(str(tmp_path))
    assert (dataset.name, dataset.classes) == (data_name(str(tmp_path)), 3)
    assert dataset.test.images.tolist() == made["test_images"].reshape(6, 20).tolist()
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"holds no train-labels-idx1-ubyte\(\.gz\); put the four IDX files there"):
        load_data(str(tmp_path))


@pytest.mark.parametrize(("changes", "message"), [
    ({"test_labels": None}, "test_labels is missing; write train_images"),
    ({"train_images": np.zeros((30, 4, 5))}, r"train_images has the shape \(30, 4, 5\) and holds float64"),
    ({"train_images": np.zeros((30, 4, 5, 3), np.uint8)}, r"expected integers, \(count, height, width\) or \(count, p"),
    ({"train_images": np.full((30, 4, 5), 256)}, "train_images holds 256, must be 0..255"),
    ({"train_labels": np.full(30, -1)}, "train_labels holds -1, must be 0..255"),
    ({"test_labels": np.zeros(5, int)}, "6 test images but 5 labels"),
    ({"test_images": np.zeros((6, 5, 4), np.uint8)}, "training images are 4x5, test images 5x4"),
    ({"test_images": np.zeros((0, 4, 5), np.uint8)}, r"test_images has the shape \(0, 4, 5\)"),
])
def test_archives_that_lack_something(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(archive(tmp_path, **changes))


def test_hostile_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"x\.npz: no archive as numpy\.savez writes them, or damaged"):
        load_data(str(path))
    np.savez(path, train_images=np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"x\.npz"):
        load_data(str(path))
    with pytest.raises(InputError, match=r"is unknown, neither a file FILE\.npz nor a folder of IDX files, nor random"):
        load_data("nowhere")


def test_random_images_are_of_the_network_s_shape_and_the_same_each_time() -> None:
    spec = PRESETS["conv-digits"].spec
    dataset, again = load_data("random", like=spec), load_data("random", like=spec)
    assert (dataset.height, dataset.width) == (8, 8)
    assert dataset.train.digest == again.train.digest != dataset.test.digest
    assert dataset.classes == 10
    assert load_data("random", like=flat_network(sizes=(7, 3))).width == 7
    with pytest.raises(InputError, match="data set random: has the shape of a network"):
        load_data("random")


@pytest.mark.parametrize(("place", "name"), [
    ("mnist", "mnist"), ("random", "random"), ("a/b/my.npz", "my"), ("a/Bilder", "Bilder"), ("a/b;c.npz", "b-c"),
    ("x" * 120 + ".npz", "x" * 100)])
def test_names_for_model_files(place: str, name: str) -> None:
    assert data_name(place) == name


def test_a_contract_in_json(tmp_path: Path) -> None:
    spec, path = PRESETS["conv-digits"].spec, tmp_path / "net.json"
    for content in (spec.to_json(), {"spec": spec.to_json(), "spec_digest": spec.digest(), "format": 2}):
        path.write_text(json.dumps(content))
        preset = preset_from_json(path)
        assert (preset.name, preset.dataset, preset.spec) == ("net", "random", spec)
    assert preset_from_json(path, dataset="digits").training == default_plan("digits")


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is no JSON"), ("[1]", "expected a JSON object, got list"), ("[" * 100_000, "is no JSON"),
    ('{"format": 2, "input": {"kind": "sound"}}', "kind")])
def test_what_is_no_contract(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"net.json: .*{message}"):
        preset_from_json(path)

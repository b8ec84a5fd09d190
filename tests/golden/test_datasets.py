"""Data sets: reading IDX files, and one clear line for every way they can be wrong."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.study import datasets
from lifstream.golden.study.datasets import load_dataset, read_idx
from tests.conftest import write_idx


def test_digits_need_no_files() -> None:
    digits = load_dataset("digits")
    assert (digits.height, digits.width, len(digits.train), len(digits.test)) == (8, 8, 1437, 360)
    assert digits.train.images.max() == 255
    assert set(digits.test.labels.tolist()) == set(range(10))
    assert digits.train.digest == "8b4925d3ea1e20e7477f7168e0f8ce4ff5e9fb66e32b2f85f585a81cffcd5cc3"
    assert digits.test.digest == "925d04f034e94b7c2a0fce91cdc324b8a0aed1e04e84d70cf57763f161ee3da8"


def test_idx_plain_and_compressed(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    plain = write_idx(tmp_path / "plain", array)
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert (read_idx(plain) == array).all()
    assert (read_idx(packed) == array).all()


def damaged(tmp_path: Path, change: str) -> Path:
    path = write_idx(tmp_path / "file", np.zeros((2, 3, 4)))
    content = path.read_bytes()
    match change:
        case "truncated":
            content = content[:-1]
        case "header cut":
            content = content[:9]
        case "too long":
            content += b"\0"
        case "wrong magic":
            content = b"\x00\x00\x0d" + content[3:]
        case "empty":
            content = b""
        case "corrupt gzip":
            content = gzip.compress(content)[:-9]
        case "bad gzip":
            content = b"\x1f\x8b" + bytes(20)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("change", "message"), [
    ("truncated", "truncated"), ("header cut", "truncated"), ("too long", "too long"),
    ("wrong magic", "magic number 00000d03"), ("empty", "magic number"), ("corrupt gzip", "cannot be read"),
    ("bad gzip", "cannot be read")])
def test_damaged_idx(tmp_path: Path, change: str, message: str) -> None:
    path = damaged(tmp_path, change)
    with pytest.raises(InputError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_dir(data_dir: Path) -> None:
    dataset = load_dataset("mnist", data_dir=data_dir)
    assert dataset.train.images.shape == (40, 784)
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_count_mismatch(data_dir: Path) -> None:
    write_idx(data_dir / "t10k-labels-idx1-ubyte", np.zeros(11))
    with pytest.raises(InputError, match=r"12 images but .* 11 labels"):
        load_dataset("mnist", data_dir=data_dir)


def test_labels_out_of_range(data_dir: Path) -> None:
    write_idx(data_dir / "t10k-labels-idx1-ubyte", np.full(12, 11))
    with pytest.raises(InputError, match=r"label 11, must be 0\.\.9"):
        load_dataset("mnist", data_dir=data_dir)


def test_wrong_dimensions(data_dir: Path) -> None:
    write_idx(data_dir / "t10k-labels-idx1-ubyte", np.zeros((12, 1)))
    with pytest.raises(InputError, match="labels need 1"):
        load_dataset("mnist", data_dir=data_dir)


def test_missing_files_in_a_named_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check --data-dir"):
        load_dataset("mnist", data_dir=tmp_path)


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="digits, mnist, fashion-mnist"):
        load_dataset("cifar")


def test_environment_variable(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_dir / "mnist").mkdir()
    for path in data_dir.glob("*ubyte"):
        path.rename(data_dir / "mnist" / path.name)
    monkeypatch.setenv("LIFSTREAM_DATA", str(data_dir))
    assert len(load_dataset("mnist").test) == 12


@pytest.fixture
def mirror(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no other data folder, and a mirror that serves ``data_dir`` as .gz files."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "_candidate_folders", lambda name: iter([cache / name]))
    monkeypatch.setattr(datasets, "_cache", lambda name: cache / name)
    sha256 = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data_dir.glob("*ubyte")}
    monkeypatch.setitem(datasets._SOURCES, "mnist", datasets._Source(
        mirrors=("first://", "second://"), sha256=sha256))

    def retrieve(*, url: str, fname: str, path: Path, **_: object) -> str:
        if url.startswith("first://"):
            raise OSError("refused")
        path.mkdir(parents=True, exist_ok=True)
        source = data_dir / url.removeprefix("second://").removesuffix(".gz")
        (path / fname).write_bytes(gzip.compress(source.read_bytes()))
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    return cache


def test_download_falls_back_to_the_next_mirror_and_is_cached(mirror: Path) -> None:
    assert len(load_dataset("mnist").test) == 12
    assert len(list((mirror / "mnist").iterdir())) == 4
    assert not list((mirror / "mnist").glob("*.part"))


def test_download_with_wrong_content_is_not_kept(mirror: Path, data_dir: Path) -> None:
    content = bytearray((data_dir / "t10k-images-idx3-ubyte").read_bytes())
    content[100] ^= 1
    (data_dir / "t10k-images-idx3-ubyte").write_bytes(bytes(content))
    with pytest.raises(InputError, match="wrong SHA-256"):
        load_dataset("mnist")
    assert not list((mirror / "mnist").glob("t10k-images*"))


def test_validation_split_is_disjoint_and_seeded() -> None:
    digits = load_dataset("digits")
    train, held = digits.split_validation(100, 3)
    again = digits.split_validation(100, 3)[1]
    assert (len(train), len(held)) == (1337, 100)
    assert (held.images == again.images).all()
    assert not (held.images == digits.split_validation(100, 4)[1].images).all()
    with pytest.raises(InputError, match=r"0\.\.1436"):
        digits.split_validation(1437, 3)

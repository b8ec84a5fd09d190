"""Files made to do harm: each ends in one line of error, and in no more memory than the file deserves."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, flat_network, with_rule
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import is_there, largest_content, make_folder, require_place, write_text
from lifstream.golden.study.archive import read_archive, shown, write_archive
from lifstream.golden.study.datasets import Dataset, load_dataset, read_idx
from lifstream.golden.study.experiments import Experiment, Measurement, Store, run_experiments
from lifstream.golden.study.model_files import Model, find_model, load_model, save_model
from lifstream.golden.study.presets import PRESETS, TrainingPlan
from lifstream.golden.study.training import Trainer
from tests.conftest import random_network, write_idx
from tests.golden.test_layers import SPECS as UNLIKE_SPECS

SPEC = flat_network(sizes=(6, 4, 3))
LONG = "n" * 300
MEGABYTE = 1 << 20


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """NumPy's and Python's memory grows by less than ``limit`` bytes in the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def refused(path: Path, naming: str | None = None, load: Callable[[Path], object] = load_model) -> None:
    """One line that names the file."""
    with pytest.raises(InputError, match=naming) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


def opened(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of an archive, all read: the file may be written over."""
    header, arrays = read_archive(path)
    return header, dict(arrays)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    save_model(path, Model(network=random_network(SPEC, 1), preset="test", dataset="digits", training={
        "seed": 1, "plan": {"epochs": 1, "rate_shift": 11, "rate_shift_end": 11}}))
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(text: str) -> bytes:
    """The first bytes of an array, whatever they claim."""
    content = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content


def rezip(path: Path, *, method: int = zipfile.ZIP_DEFLATED, **members: bytes | None) -> None:
    """Write the archive again with members replaced, added, or (None) left out."""
    with zipfile.ZipFile(path) as archive:
        content: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    content |= {f"{name}.npy": value for name, value in members.items()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


# -- archives ------------------------------------------------------------------------------------

@pytest.mark.parametrize("content", [
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': (4194304, 4194304), }"),  # 32 TiB
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': (-6, -4), }"),
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': (True, 4), }"),
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': [6, 4], }"),
    npy_header("{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (6, 4), }") + bytes(48),
    npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (6, 4), }") + bytes(192),
    npy_header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (6, 4), }") + bytes(192),
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': (6L, 4L), }") + bytes(48),
    npy_header("{'descr': 'a2', 'fortran_order': False, 'shape': (6, 4), }") + bytes(48),
    npy_header("{'descr': '<i2', 'fortran_order': False, 'shape': (" + "6, " * 200 + "), }"),
    npy_header("(" * 9_000), npy_header("[" * 150 + "]" * 150), npy_header("{"), npy_header("1e999"),
    b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(100), b"\x93NUMPY", b"",
], ids=range(17))
def test_arrays_that_numpy_would_not_write(model_file: Path, content: bytes) -> None:
    rezip(model_file, weights_0=content)
    with memory_below(4 * MEGABYTE):
        refused(model_file, "not a lifstream file, or corrupt")


@pytest.mark.parametrize(("array", "naming"), [
    (np.zeros((6, 5), np.int16), "shape"), (np.zeros(24, np.int16), "shape"), (np.zeros((6, 4)), "integers"),
    (np.zeros((6, 4), bool), "integers"), (np.zeros((6, 4), "U3"), "corrupt"),
    (np.full((6, 4), 40_000), "16-bit range"),
    (np.full((6, 4), 2**64 - 1, np.uint64), "16-bit range"), (np.zeros((0, 4), np.int16), "shape"),
    (np.zeros((6, 4), np.complex128), "corrupt"), (np.zeros((6, 4), np.longdouble), "corrupt"),
    (np.zeros((6, 4), np.int16), "weights' digest")])
def test_arrays_of_another_network(model_file: Path, array: np.ndarray, naming: str) -> None:
    rezip(model_file, weights_0=npy(array))
    refused(model_file, naming)


def test_members_missing_unknown_and_twice(model_file: Path) -> None:
    whole = model_file.read_bytes()
    rezip(model_file, weights_1=None)
    refused(model_file, "weights_1 is missing")
    model_file.write_bytes(whole)
    rezip(model_file, weights_2=npy(np.zeros((3, 3), np.int16)))
    refused(model_file, "unknown array 'weights_2'")
    model_file.write_bytes(whole)
    rezip(model_file, header=None)
    refused(model_file, "corrupt")
    model_file.write_bytes(whole)
    with zipfile.ZipFile(model_file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("weights_0.npy", npy(np.zeros((6, 4), np.int16)))
    refused(model_file, "corrupt")
    model_file.write_bytes(whole)
    rezip(model_file, **{f"w{number}": npy(np.zeros(1)) for number in range(100)})
    refused(model_file, "corrupt")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(model_file: Path, method: int) -> None:
    rezip(model_file, method=method)
    refused(model_file, "corrupt")
    rezip(model_file, method=zipfile.ZIP_STORED)
    assert load_model(model_file).network.digest() == random_network(SPEC, 1).digest()


def test_encrypted(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1  # the flags in the directory
    model_file.write_bytes(bytes(content))
    refused(model_file, "corrupt")


def bomb(path: Path, name: str, size: int) -> None:
    """Put zeros into the archive that unpack to ``size`` bytes; they are packed once and repeated."""
    packer, crc, block = zlib.compressobj(9, zlib.DEFLATED, -15), 0, bytes(MEGABYTE)
    start = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}")
    rezip(path, **{name: start})
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    packed = packer.compress(start)
    crc = zlib.crc32(start)
    for _ in range(size // MEGABYTE):
        packed += packer.compress(block)
        crc = zlib.crc32(block, crc)
    packed += packer.flush()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, value in content.items():
            if entry != f"{name}.npy":
                archive.writestr(entry, value)
        info = zipfile.ZipInfo(f"{name}.npy")
        info.compress_type, info.CRC = zipfile.ZIP_DEFLATED, crc
        info.compress_size, info.file_size, info.header_offset = len(packed), len(start) + size, archive.fp.tell()
        archive.fp.write(info.FileHeader(False))
        archive.fp.write(packed)
        archive.start_dir = archive.fp.tell()
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info


@pytest.mark.parametrize(("name", "size", "naming"), [
    ("weights_0", 300 * MEGABYTE, "claim to unpack"), ("weights_0", 20 * MEGABYTE, "shape"),
    ("header", 20 * MEGABYTE, "corrupt"), ("weights_7", 20 * MEGABYTE, "unknown array")])
def test_bombs(model_file: Path, name: str, size: int, naming: str) -> None:
    bomb(model_file, name, size)
    assert model_file.stat().st_size < size / 500
    with memory_below(4 * MEGABYTE):
        refused(model_file, naming)


def test_a_directory_that_claims_gigabytes(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    end = content.rfind(b"PK\x05\x06")
    size, offset = 3 << 30, 4096
    content[end + 12:end + 20] = struct.pack("<II", size, offset)
    with model_file.open("wb") as stream:
        stream.write(content[:offset])
        stream.truncate(offset + size)  # sparse
        stream.seek(0, os.SEEK_END)
        stream.write(content[end:])
    with memory_below(8 * MEGABYTE):
        refused(model_file, "corrupt")


def test_a_spec_of_absurd_size_takes_no_memory(model_file: Path) -> None:
    header, arrays = opened(model_file)
    header["spec"]["sizes"] = [65_536] * 7 + [256]
    header["spec_digest"] = NetworkSpec.from_json(header["spec"]).digest()
    write_archive(model_file, header, arrays)
    with memory_below(4 * MEGABYTE):
        refused(model_file, r"expected \(65536, 65536\)")
    write_archive(model_file, header, {f"weights_{layer}": np.zeros((4, 4), np.int16) for layer in range(7)})
    with memory_below(4 * MEGABYTE):
        refused(model_file, r"expected \(65536, 65536\)")


def test_monotonous_weights_are_no_bomb(tmp_path: Path) -> None:
    spec = flat_network(sizes=(8_000, 250))
    model = Model(network=random_network(spec, 1, scale=0.0), preset="test", dataset="digits")
    save_model(tmp_path / "zeros.npz", model)
    assert (tmp_path / "zeros.npz").stat().st_size < spec.parameters * 2 / 500
    assert load_model(tmp_path / "zeros.npz").network.digest() == model.network.digest()
    assert largest_content(10) == 1 << 28
    assert largest_content(1 << 30) == 1 << 36


def test_every_truncation(model_file: Path) -> None:
    content = model_file.read_bytes()
    for length in range(0, len(content), 7):
        model_file.write_bytes(content[:length])
        refused(model_file, "not a lifstream file, or corrupt")


def test_every_flipped_bit_is_noticed_or_harmless(model_file: Path) -> None:
    """A bit that nobody looks at (a date, say) may differ; the network may not."""
    content, expected = model_file.read_bytes(), load_model(model_file).network.digest()
    noticed = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        model_file.write_bytes(bytes(changed))
        try:
            assert load_model(model_file).network.digest() == expected
        except InputError:
            noticed += 1
    assert noticed > len(content) / 2


# -- headers -------------------------------------------------------------------------------------

def with_header(path: Path, text: str | bytes) -> None:
    rezip(path, header=npy(np.frombuffer(text if isinstance(text, bytes) else text.encode(), dtype=np.uint8)))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "[]", "1", "null", '"text"', "{}", "NaN",
                                  '{"format": ' + "9" * 5_000 + "}", b"\xff\xfe\xfd", b"\x00" * 9],
                         ids=range(13))
def test_headers_that_are_none(model_file: Path, text: str | bytes) -> None:
    with_header(model_file, text)
    refused(model_file, "not a lifstream file|file format")


JUNK = [None, True, 0, -1, 1e400, float("nan"), "", "text\nwith lines", [], [[]], {}, {"a": 1}, [1, 2, 3],
        "x" * 100_000, 10**300, "\ud800"]


@pytest.mark.parametrize("field", ["kind", "spec", "spec_digest", "digest", "preset", "dataset", "training"])
def test_header_fields_of_wrong_types(model_file: Path, field: str) -> None:
    header, arrays = opened(model_file)
    for value in [*JUNK, ...]:
        changed = {name: entry for name, entry in header.items() if name != field}
        if value is not ...:
            changed[field] = value
        write_archive(model_file, changed, arrays)
        if field == "training" and value in ({}, {"a": 1}):  # nothing need be known
            load_model(model_file)
        else:
            refused(model_file)


def places(data: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in plain JSON values something stands."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in inside:
        yield (*above, name)
        yield from places(value, (*above, name))


@pytest.mark.parametrize("name", ["unlike", "competing"])
def test_nested_fields_of_wrong_types(name: str) -> None:
    """A contract whose layers differ is refused in one line, or is one."""
    plain = json.loads(json.dumps(UNLIKE_SPECS[name].to_json()))
    further = [{"kind": "lif"}, {"kind": []}, [[1, 2]], [["a"]], [["a", 1]], [["a", 1, 2]], [None], 1 << 70]
    for *above, last in places(plain):
        for value in [*JUNK[::3], *further]:
            changed = copy.deepcopy(plain)
            container: Any = changed
            for step in above:
                container = container[step]
            container[last] = value
            with contextlib.suppress(InputError):
                spec = NetworkSpec.from_json(changed)
                assert NetworkSpec.from_json(spec.to_json()) == spec
                assert len(spec.digest()) == 16


@pytest.mark.parametrize("rule", [NamedRule.GRADED, NamedRule.STDP])
def test_spec_fields_of_wrong_types(tmp_path: Path, rule: NamedRule) -> None:
    spec = with_rule(SPEC, rule)
    path = tmp_path / "model.npz"
    save_model(path, Model(network=random_network(spec, 1, scale=0.0), preset="test", dataset="digits"))
    header, arrays = opened(path)
    places = [(header["spec"], name) for name in header["spec"]]
    places += [(header["spec"]["stdp"], name) for name in header["spec"].get("stdp") or {}]
    for container, name in places:
        before = container[name]
        for value in JUNK:
            if value == before:
                continue
            container[name] = value
            write_archive(path, header, arrays)
            refused(path)
        container[name] = before
    header["spec"]["unknown\nfield"] = 1
    write_archive(path, header, arrays)
    refused(path, "unknown field")


@pytest.mark.parametrize("plan", [
    None, [], "plan", {}, {"epochs": 1}, {"unknown": 3}, {"epochs": "3", "rate_shift": 11, "rate_shift_end": 11},
    {"epochs": 3, "rate_shift": 11.5, "rate_shift_end": 12}, {"epochs": True, "rate_shift": 11, "rate_shift_end": 11},
    {"epochs": 1, "rate_shift": 11, "rate_shift_end": 11, "unknown": 1},
    {"epochs": 10**9, "rate_shift": 11, "rate_shift_end": 11}])
def test_training_plans_that_are_none(model_file: Path, plan: Any) -> None:
    header, arrays = opened(model_file)
    header["training"]["plan"] = plan
    write_archive(model_file, header, arrays)
    refused(model_file)


def test_plans_survive_the_journey() -> None:
    plan = TrainingPlan(epochs=3, rate_shift=11, rate_shift_end=12, patience=2)
    assert TrainingPlan.from_json(json.loads(json.dumps(plan.__dict__))) == plan
    with pytest.raises(InputError, match="plan: field 'epochs' is missing"):
        TrainingPlan.from_json({"rate_shift": 1, "rate_shift_end": 1})


def test_names_that_could_not_be_written_out() -> None:
    for preset in ("", "a\nb", "a*/b", "$a$", "é", "n" * 101):
        with pytest.raises(InputError, match=r"preset: .* is no name"):
            Model(network=random_network(SPEC, 1), preset=preset, dataset="digits")
    assert shown("a\nb" + "c" * 500) == "a b" + "c" * 197 + "..."


# -- checkpoints ---------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def digits() -> Dataset:
    dataset = load_dataset("digits")
    return replace(dataset, train=dataset.train[:120], test=dataset.test[:20])


def trainer(dataset: Dataset, checkpoint: Path, *, name: str = "digits", epochs: int = 2) -> Trainer:
    chosen = PRESETS[name]
    return Trainer(preset=replace(chosen, training=replace(chosen.training, epochs=epochs, validation=20, patience=1)),
                   dataset=dataset, seed=3, checkpoint=checkpoint)


@pytest.fixture(scope="module", params=["digits", "digits-stdp"])
def checkpoint(request: pytest.FixtureRequest, digits: Dataset, tmp_path_factory: pytest.TempPathFactory,
               ) -> tuple[str, bytes]:
    path = tmp_path_factory.mktemp("run") / "run.checkpoint"
    trainer(digits, path, name=request.param).run()
    return request.param, path.read_bytes()


@pytest.mark.parametrize("field", ["kind", "run", "state", "random_states"])
def test_checkpoint_fields_of_wrong_types(checkpoint: tuple[str, bytes], digits: Dataset, tmp_path: Path, field: str,
                                          ) -> None:
    name, content = checkpoint
    path = tmp_path / "run.checkpoint"
    path.write_bytes(content)
    header, arrays = opened(path)
    before = header[field]
    for value in [*JUNK, [0], [1 << 32], [1.5], ["1"]]:
        if value == before:  # no generators, no states
            continue
        header[field] = value
        write_archive(path, header, arrays)
        refused(path, load=lambda path: trainer(digits, path, name=name).resume())


def test_checkpoint_states_that_no_run_has(checkpoint: tuple[str, bytes], digits: Dataset, tmp_path: Path) -> None:
    name, content = checkpoint
    path = tmp_path / "run.checkpoint"
    path.write_bytes(content)

    def resume(path: Path) -> bool:
        return trainer(digits, path, name=name).resume()

    assert resume(path)
    header, arrays = opened(path)
    state = header["state"]
    for container, field in [(state, field) for field in state] + [(state["metrics"][0], field)
                                                                   for field in state["metrics"][0]]:
        before = container[field]
        for value in JUNK:
            number = container is not state and isinstance(value, float)  # a measurement may be anything
            if value == before or number or (type(value) is int and field not in ("epoch", "metrics", "spikes")) or (
                    "spikes" in field and value in ([], [1, 2, 3])):
                continue
            container[field] = value
            write_archive(path, header, arrays)
            refused(path, load=resume)
        container[field] = before


def test_a_checkpoint_refused_leaves_the_trainer_as_it_was(checkpoint: tuple[str, bytes], digits: Dataset,
                                                           tmp_path: Path) -> None:
    name, content = checkpoint
    path = tmp_path / "run.checkpoint"
    path.write_bytes(content)
    rezip(path, best_weights_1=None)
    fresh, refusing = (trainer(digits, tmp_path / other, name=name) for other in ("none", "run.checkpoint"))
    refused(path, "best_weights_1 is missing", load=lambda _: refusing.resume())
    assert refusing.run().digest() == fresh.run().digest()  # type: ignore[union-attr]


def test_float_weights_that_are_not_finite(digits: Dataset, tmp_path: Path) -> None:
    from lifstream.golden.twin.engine import Arithmetic

    def real() -> Trainer:
        return Trainer(preset=PRESETS["digits"], dataset=digits, seed=3, arithmetic=Arithmetic.FLOAT,
                       checkpoint=tmp_path / "run.checkpoint")
    first = replace(digits, train=load_dataset("digits").train)
    digits = first
    real().save_checkpoint()
    assert real().resume()
    for value in (np.nan, np.inf):
        rezip(tmp_path / "run.checkpoint", weights_0=npy(np.full((64, 32), value, np.float32)))
        refused(tmp_path / "run.checkpoint", "not finite", load=lambda _: real().resume())
    rezip(tmp_path / "run.checkpoint", weights_0=npy(np.zeros((64, 32), np.int16)))
    refused(tmp_path / "run.checkpoint", "real numbers", load=lambda _: real().resume())


def test_a_checkpoint_belongs_to_its_images(digits: Dataset, tmp_path: Path) -> None:
    """As of MNIST and Fashion-MNIST: the same number of images of the same size."""
    path = tmp_path / "run.checkpoint"
    trainer(digits, path).save_checkpoint()
    images = digits.train.images.copy()
    images[5, 20] ^= 1
    other = replace(digits, train=replace(digits.train, images=images))
    refused(path, "belongs to another run", load=lambda path: trainer(other, path).resume())
    labels = digits.train.labels.copy()
    labels[5] ^= 1
    other = replace(digits, train=replace(digits.train, labels=labels))
    refused(path, "belongs to another run", load=lambda path: trainer(other, path).resume())
    assert trainer(digits, path).resume()


def test_a_store_takes_up_no_foreign_checkpoint(tmp_path: Path) -> None:
    """A store's own checkpoint that does not fit counts as none, as a damaged result does."""
    chosen = replace(PRESETS["digits"], training=replace(PRESETS["digits"].training, epochs=1))
    experiment = Experiment(preset=chosen, seed=1)
    for content in (b"", b"PK\x03\x04", b"garbage"):
        store = Store(tmp_path / str(len(content)))
        store.checkpoint(experiment).write_bytes(content)
        [(_, result)] = run_experiments([experiment], store=store)
        assert isinstance(result, Measurement)


def test_stored_results_that_are_none(tmp_path: Path) -> None:
    store, experiment = Store(tmp_path), Experiment(preset=PRESETS["digits"], seed=1)
    good = {"validation_accuracy": 0.5, "test_accuracy": None, "epochs": 1, "update_rate": 0.5,
            "updates_per_image": 1.0, "spikes_per_image": [1.0], "digest": ""}
    place = tmp_path / f"{experiment.key()}.json"
    place.write_text(json.dumps(good))
    assert store.get(experiment) is not None
    for content in ("[" * 100_000, " " * 100_000 + json.dumps(good), json.dumps([good]), "null",
                    *(json.dumps({**good, name: {}}) for name in good)):
        place.write_text(content)
        assert store.get(experiment) is None


# -- data sets -----------------------------------------------------------------------------------

def test_idx_bombs(tmp_path: Path) -> None:
    content = b"\0\0\x08\x03" + struct.pack(">III", 60_000, 28, 28)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 10) + bytes(50 * MEGABYTE)))
    with memory_below(4 * MEGABYTE):
        refused(path, "too long", load=read_idx)
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12))
    with memory_below(4 * MEGABYTE):
        refused(path, "more than a file of its size", load=read_idx)
    path.write_bytes(gzip.compress(content + bytes(1_000)))
    with memory_below(4 * MEGABYTE):
        refused(path, "truncated", load=read_idx)


def test_idx_of_many_dimensions_or_no_images(data_dir: Path) -> None:
    path = data_dir / "t10k-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\xff" + bytes(4 * 255))
    refused(path, "255 dimensions", load=read_idx)
    for shape in ((0, 28, 28), (12, 0, 28)):
        write_idx(path, np.zeros(shape))
        with pytest.raises(InputError, match=r"holds no images|12 images|0 images"):
            load_dataset("mnist", data_dir=data_dir)
    write_idx(path, np.zeros((0, 28, 28)))
    write_idx(data_dir / "t10k-labels-idx1-ubyte", np.zeros(0))
    with pytest.raises(InputError, match="holds no images"):
        load_dataset("mnist", data_dir=data_dir)


# -- names ---------------------------------------------------------------------------------------

def test_names_of_300_characters(tmp_path: Path, digits: Dataset) -> None:
    long = tmp_path / LONG
    for use in (is_there, require_place, make_folder, load_model, lambda path: find_model(str(path)),
                lambda path: load_dataset("mnist", data_dir=path), lambda path: write_text(path, ""),
                lambda path: trainer(digits, path).resume(), Store):
        with pytest.raises(InputError, match="File name too long"):
            use(long)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_what_stands_beside(tmp_path: Path) -> None:
    name = "n" * 245
    require_place(tmp_path / name)
    with pytest.raises(InputError, match="File name too long"):
        require_place(tmp_path / name, beside=".metrics.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="cannot be looked at"):
        is_there(tmp_path / "a")
    assert not is_there(tmp_path / "c")

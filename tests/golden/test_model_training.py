"""Model files and the training loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.datasets import Dataset, load_dataset
from golden.desire import learn
from golden.files import write_text
from golden.model import Model, load_model, read_archive, save_model, write_archive
from golden.network import Network, accuracy
from golden.presets import PRESETS, Preset
from golden.spec import InputError, NetworkSpec, Rule
from golden.training import Trainer, evaluate
from tests.conftest import random_images, random_network

SPEC = NetworkSpec(sizes=(6, 4, 3))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    save_model(path, Model(network=random_network(SPEC, 1), preset="test", dataset="digits", training={"seed": 1}))
    return path


def test_round_trip(model_file: Path) -> None:
    model = load_model(model_file, expected=SPEC)
    assert model.network.digest() == random_network(SPEC, 1).digest()
    assert (model.preset, model.dataset, model.training) == ("test", "digits", {"seed": 1})


def test_equal_models_make_equal_files(model_file: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again.npz", load_model(model_file))
    assert (tmp_path / "again.npz").read_bytes() == model_file.read_bytes()


def test_another_contract_is_refused(model_file: Path) -> None:
    with pytest.raises(InputError, match=r"6-4-3.*is not the one asked for"):
        load_model(model_file, expected=replace(SPEC, steps=10))


def test_missing_and_garbage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "none.npz")
    for content in (b"", b"garbage", b"PK\x03\x04rubbish"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match="not a lifstream file"):
            load_model(tmp_path / "bad.npz")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path)


def test_truncated(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-30])
    with pytest.raises(InputError, match="corrupt"):
        load_model(model_file)


@pytest.mark.parametrize(("change", "message"), [
    ("weight", "weights' digest"), ("spec", "contract's digest"), ("shape", "shape"), ("missing", "missing"),
    ("kind", "not a model"), ("format", "file format")])
def test_changed_content_is_noticed(model_file: Path, change: str, message: str) -> None:
    header, arrays = read_archive(model_file)
    match change:
        case "weight":
            arrays["weights_0"][2, 1] ^= 1
        case "spec":
            header["spec"]["steps"] = 19
        case "shape":
            arrays["weights_0"] = arrays["weights_0"].T
        case "missing":
            del arrays["weights_1"]
        case "kind":
            header["kind"] = "checkpoint"
        case "format":
            header["format"] = 99
    write_archive(model_file, header, arrays)
    with pytest.raises(InputError, match=message) as caught:
        load_model(model_file)
    assert str(model_file) in str(caught.value) or change == "shape"


def test_weights_out_of_range() -> None:
    with pytest.raises(InputError, match="16-bit range"):
        Network(spec=NetworkSpec(sizes=(1, 1)), weights=[np.array([[40000]])])


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(InputError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path / "no" / "such" / "file", "text")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    dataset = load_dataset("digits")
    return replace(dataset, train=dataset.train[:300], test=dataset.test[:60])


def preset(epochs: int, *, dropout: int = 32) -> Preset:
    chosen = PRESETS["digits"]
    return replace(chosen, spec=replace(chosen.spec, dropout=dropout),
                   training=replace(chosen.training, epochs=epochs, validation=50))


def test_training_learns_and_is_deterministic(digits: Dataset) -> None:
    runs = [Trainer(preset=preset(2), dataset=digits, seed=4).run() for _ in range(2)]
    assert runs[0].digest() == runs[1].digest()
    trained, predictions = evaluate(runs[0], digits.test)
    assert accuracy(predictions, digits.test.labels) == trained
    untrained, _ = evaluate(Network.initial(spec=preset(2).spec, seed=4), digits.test)
    assert trained > untrained + 0.3


def test_seed_changes_the_run(digits: Dataset) -> None:
    assert len({Trainer(preset=preset(1), dataset=digits, seed=seed).run().digest() for seed in (1, 2)}) == 2


@pytest.mark.parametrize("stop_at", [1, 100, 249, 250, 251, 400])
def test_resumed_run_ends_with_the_same_weights(digits: Dataset, tmp_path: Path, stop_at: int,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golden.training._CHECKPOINT_EVERY", 30)
    whole = Trainer(preset=preset(2), dataset=digits, seed=7).run()
    calls = 0

    def interrupted(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt
        return learn(*arguments, **options)  # type: ignore[arg-type]

    checkpoint = tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr("golden.training.learn", interrupted)
        first = Trainer(preset=preset(2), dataset=digits, seed=7, checkpoint=checkpoint)
        with pytest.raises(KeyboardInterrupt):
            first.run()
    second = Trainer(preset=preset(2), dataset=digits, seed=7, checkpoint=checkpoint)
    assert second.resume() == (stop_at >= 30)
    assert second.run().digest() == whole.digest()
    assert [entry.epoch for entry in second.metrics] == [1, 2]


def test_checkpoint_of_another_run(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    Trainer(preset=preset(1), dataset=digits, seed=7, checkpoint=path).save_checkpoint()
    with pytest.raises(InputError, match="another run"):
        Trainer(preset=preset(1), dataset=digits, seed=8, checkpoint=path).resume()
    with pytest.raises(InputError, match="holds a checkpoint"):
        load_model(path)


def test_mismatched_data(digits: Dataset, data_dir: Path) -> None:
    with pytest.raises(InputError, match="784 pixels, but digits takes 64"):
        Trainer(preset=preset(1), dataset=load_dataset("mnist", data_dir=data_dir), seed=1)
    narrow = replace(preset(1), spec=replace(preset(1).spec, sizes=(64, 32, 5)))
    with pytest.raises(InputError, match="has 5 classes"):
        Trainer(preset=narrow, dataset=digits, seed=1)
    with pytest.raises(InputError, match="seed: -1"):
        Trainer(preset=preset(1), dataset=digits, seed=-1)
    with pytest.raises(InputError, match="rate shift"):
        Trainer(preset=replace(preset(1), training=replace(preset(1).training, rate_shift=3)), dataset=digits, seed=1)


def test_batches_do_not_matter() -> None:
    network = random_network(SPEC, 2, scale=2.0)
    images = random_images(23, 6, 1)
    whole = np.concatenate(list(network.predict(images)))
    assert (np.concatenate(list(network.predict(images, batch=7))) == whole).all()


def test_presets_with_rule() -> None:
    paper = PRESETS["mnist-128"].with_rule(Rule.PAPER)
    assert paper.spec.rule is Rule.PAPER
    assert paper.with_rule(Rule.PAPER) is paper
    assert json.dumps(paper.spec.to_json())

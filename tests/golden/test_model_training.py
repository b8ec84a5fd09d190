"""Model files and the training loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import NamedRule, changed, flat_network, named_rule
from lifstream.golden.files import write_text
from lifstream.golden.model.network import Network, accuracy
from lifstream.golden.study.datasets import Dataset, load_dataset
from lifstream.golden.study.epochs import EpochStream, image_shifts, shift_images
from lifstream.golden.study.model_files import (
    Model,
    find_model,
    load_model,
    read_archive,
    released_models,
    save_model,
    write_archive,
)
from lifstream.golden.study.presets import PRESETS, Preset, TrainingPlan
from lifstream.golden.study.training import Trainer, evaluate
from lifstream.golden.twin.engine import Arithmetic, Engine, Runner
from tests.conftest import random_images, random_network

SPEC = flat_network(sizes=(6, 4, 3))


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
        load_model(model_file, expected=changed(SPEC, steps=10))


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
    header, found = read_archive(model_file)
    arrays = dict(found)
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
    assert str(model_file) in str(caught.value)


def test_weights_out_of_range() -> None:
    with pytest.raises(InputError, match="16-bit range"):
        Network(spec=flat_network(sizes=(1, 1)), weights=[np.array([[40000]])])


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


def preset(epochs: int, *, dropout: int = 32, name: str = "digits") -> Preset:
    chosen = PRESETS[name]
    return replace(chosen, spec=changed(chosen.spec, dropout=dropout),
                   training=replace(chosen.training, epochs=epochs, validation=50))


def test_training_learns_and_is_deterministic(digits: Dataset) -> None:
    runs = [Trainer(preset=preset(2), dataset=digits, seed=4).run() for _ in range(2)]
    assert runs[0].digest() == runs[1].digest()
    assert isinstance(runs[0], Network)
    trained, outcome = evaluate(runs[0], digits.test)
    assert accuracy(outcome.predictions, digits.test.labels) == trained
    assert accuracy(np.concatenate(list(runs[0].predict(digits.test.images))), digits.test.labels) == trained
    untrained, _ = evaluate(Network.initial(spec=preset(2).spec, seed=4), digits.test)
    assert trained > untrained + 0.3


def test_seed_changes_the_run(digits: Dataset) -> None:
    assert len({weights_of(preset(1), digits, seed=seed) for seed in (1, 2)}) == 2


def weights_of(chosen: Preset, dataset: Dataset, *, seed: int = 7, engine: Engine = Engine.NUMBA) -> str:
    network = Trainer(preset=chosen, dataset=dataset, seed=seed, engine=engine).run()
    assert isinstance(network, Network)
    return network.digest()


def varied(chosen: Preset, **plan: int) -> Preset:
    return replace(chosen, training=replace(chosen.training, **plan))


def test_engines_train_the_same_network(digits: Dataset) -> None:
    chosen = varied(preset(2), shift=1)
    assert weights_of(chosen, digits) == weights_of(chosen, digits, engine=Engine.NUMPY)


@pytest.mark.parametrize(("name", "arithmetic"), [
    ("digits", Arithmetic.INTEGER), ("digits", Arithmetic.FLOAT), ("digits-stdp", Arithmetic.INTEGER)])
@pytest.mark.parametrize("stop_at", [0, 1, 8, 9, 14, 20])
def test_resumed_run_ends_with_the_same_weights(digits: Dataset, tmp_path: Path, stop_at: int, name: str,
                                                arithmetic: Arithmetic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifstream.golden.study.training._CHECKPOINT_EVERY", 30)
    chosen = varied(preset(3, name=name, dropout=32 if name == "digits" else 0), shift=1, patience=2)

    def trainer() -> Trainer:
        return Trainer(preset=chosen, dataset=digits, seed=7, arithmetic=arithmetic,
                       checkpoint=tmp_path / "run.checkpoint")

    whole = Trainer(preset=chosen, dataset=digits, seed=7, arithmetic=arithmetic)
    whole.run()
    calls, original = -1, Runner.learn  # the first call only compiles

    def interrupted(runner: Runner, *arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt
        return original(runner, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer().run()
    second = trainer()
    assert second.resume() == (stop_at >= 1)
    second.run()
    for got, expected in zip(second.network.weights, whole.network.weights, strict=True):
        assert (got == expected).all()
    if isinstance(whole.network, Network):
        assert second.network.digest() == whole.network.digest()
    assert second.metrics == whole.metrics


def test_early_stopping_takes_the_best_epoch(digits: Dataset) -> None:
    # With hardly any learning the accuracy stands still, and the first epoch stays the best.
    chosen = varied(preset(30), patience=2, rate_shift=20, rate_shift_end=20)
    trainer = Trainer(preset=chosen, dataset=digits, seed=3)
    trainer.run()
    best = trainer.best_epoch
    assert best is not None
    assert len(trainer.metrics) == best + 2 < 30
    again = Trainer(preset=varied(chosen, patience=0, epochs=best), dataset=digits, seed=3)
    again.run()
    for got, expected in zip(trainer.network.weights, again.network.weights, strict=True):
        assert (got == expected).all()
    with pytest.raises(InputError, match=r"patience.*--validation"):
        TrainingPlan(epochs=1, rate_shift=12, rate_shift_end=12, validation=0, patience=1)


def test_without_validation_all_images_are_learnt_from(digits: Dataset) -> None:
    trainer = Trainer(preset=varied(preset(1), validation=0), dataset=digits, seed=3)
    trainer.run()
    assert len(trainer.training) == len(digits.train)
    assert trainer.metrics[0].validation_accuracy is None
    assert trainer.best_epoch is None


def test_metrics_are_those_of_the_outcomes(digits: Dataset) -> None:
    seen: list[int] = []
    trainer = Trainer(preset=preset(1), dataset=digits, seed=3)
    trainer.run(on_epoch=lambda entry, _: seen.append(entry.epoch))
    entry = trainer.metrics[0]
    assert seen == [1]
    stream = EpochStream(dataset=digits, training=trainer.training, seed=3, epoch=0, shift=0)[:]
    outcome = Runner(network=Network.initial(spec=trainer.preset.spec, seed=3)).learn(
        stream.images, stream.labels, rate_shift=entry.rate_shift)
    assert entry.training_accuracy == accuracy(outcome.predictions, stream.labels)
    assert entry.update_rate == outcome.learned.mean()
    assert entry.updates_per_image == outcome.updates.mean()
    assert entry.spikes_per_image == outcome.spikes.mean(axis=0).tolist()


def test_shifted_images() -> None:
    image = np.arange(12, dtype=np.uint8)[None] + 1  # 3 x 4
    moved = shift_images(np.repeat(image, 3, axis=0), np.array([[0, 0], [1, -1], [-2, 3]]), height=3, width=4)
    assert (moved[0] == image[0]).all()
    assert moved[1].reshape(3, 4).tolist() == [[0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0]]
    assert moved[2].reshape(3, 4).tolist() == [[0, 0, 0, 9], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert shift_images(image[:0], np.empty((0, 2), dtype=np.int64), height=3, width=4).shape == (0, 12)


def test_mirrored_images(digits: Dataset) -> None:
    def stream(**choices: Any) -> EpochStream:
        usual: dict[str, Any] = {"seed": 4, "epoch": 0, "shift": 0}
        return EpochStream(dataset=digits, training=digits.train, **(usual | choices))

    plain, mirrored = stream()[:], stream(mirror=True)
    turned = (plain.images != mirrored[:].images).any(axis=1)
    frames = plain.images.reshape(-1, digits.height, digits.width)
    assert (mirrored[:].images[turned] == frames[turned][:, :, ::-1].reshape(turned.sum(), -1)).all()
    assert 0.45 < turned.mean() < 0.55
    assert (plain.labels == mirrored[:].labels).all()
    assert (mirrored[:].images[5:9] == mirrored[5:9].images).all()
    assert (stream(mirror=True, epoch=1)[:].images != mirrored[:].images).any()
    shifted = stream(mirror=True, shift=1)[:]
    assert (shifted.images != mirrored[:].images).any()


def test_shifts_are_seeded_and_use_the_whole_range(digits: Dataset) -> None:
    shifts = image_shifts(4, 0, 500, 2)
    assert sorted(set(shifts.ravel().tolist())) == [-2, -1, 0, 1, 2]
    assert (shifts == image_shifts(4, 0, 500, 2)).all()
    assert (shifts != image_shifts(4, 1, 500, 2)).any()
    plain, shifted = (EpochStream(dataset=digits, training=digits.train, seed=4, epoch=0, shift=shift)
                      for shift in (0, 1))
    assert len(shifted) == len(digits.train)
    assert (plain[5:9].labels == shifted[5:9].labels).all()
    assert (shifted[:][slice(5, 9)].images == shifted[5:9].images).all()
    assert (plain[:].images != shifted[:].images).any()


def test_released_models_are_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file and no released model.*digits"):
        find_model(str(tmp_path / "digits2"))
    assert find_model("digits").suffix == ".npz"
    assert {"digits", "mnist-256"} <= set(released_models())


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
    narrow = replace(preset(1), spec=changed(preset(1).spec, sizes=(64, 32, 5)))
    with pytest.raises(InputError, match="tells 5 apart"):
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
    paper = PRESETS["mnist-128"].with_rule(NamedRule.PAPER)
    assert named_rule(paper.spec) is NamedRule.PAPER
    assert paper.with_rule(NamedRule.PAPER) is paper
    assert paper.with_rule(NamedRule.GRADED) == PRESETS["mnist-128"]
    assert json.dumps(paper.spec.to_json())


def test_rate_schedule() -> None:
    plan = TrainingPlan(epochs=7, rate_shift=11, rate_shift_end=13)
    assert [plan.rate_shift_at(epoch) for epoch in range(9)] == [11, 11, 11, 12, 12, 13, 13, 13, 13]
    assert [replace(plan, epochs=1).rate_shift_at(epoch) for epoch in range(2)] == [11, 11]
    assert [replace(plan, rate_shift_end=11).rate_shift_at(epoch) for epoch in (0, 6)] == [11, 11]
    with pytest.raises(InputError, match=r"rate_shift_end: 10 .* 11\.\."):
        replace(plan, rate_shift_end=10)

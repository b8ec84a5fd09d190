"""The commands of one golden model: train, eval."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lifstream.console import Output
from lifstream.extras import Extra, installed, missing_line, require
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import require_place, write_text
from lifstream.golden.model.network import Network
from lifstream.golden.model.readouts import neuron_labels
from lifstream.golden.study.datasets import Dataset, Split
from lifstream.golden.study.figures import maps_figure, receptive_field_figure, save_figure, training_figure
from lifstream.golden.study.model_files import save_model
from lifstream.golden.study.own_data import load_data
from lifstream.golden.study.presets import Preset
from lifstream.golden.study.training import EpochMetrics, Trainer
from lifstream.golden.study.words import in_words
from lifstream.golden.twin.engine import Engine
from lifstream.library import evaluate, load
from lifstream.options import (
    DataOption,
    EpochsOption,
    JsonOption,
    ModelArgument,
    NetworkOptions,
    RuleOption,
    SeedOption,
    WeightBitsOption,
    described,
    option_groups,
    percent,
    require_file_place,
)

__all__ = ["draw_fields", "draw_maps", "evaluate_model", "may_draw", "train", "train_network"]

_DRAW_EVERY = 10_000
_RATE_IMAGES = 500
Picture = Callable[[Trainer, Path], None]
EngineOption = Annotated[Engine | None, typer.Option(
    "--engine", help="What computes; the results are the same. Default: numba, or numpy where that is not installed.")]


@option_groups
def train(
    network: NetworkOptions,
    epochs: EpochsOption = None,
    seed: SeedOption = 1,
    out: Annotated[Path | None, typer.Option(
        "--out", help="Model file to write; default: PRESET.npz, of a network in words such as conv16-dense10.npz."
        )] = None,
    rule: RuleOption = None,
    weight_bits: WeightBitsOption = None,
    rounding: Annotated[Rounding | None, typer.Option("--rounding", help="Rounding of weight updates.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Time steps per image.")] = None,
    hidden: Annotated[int | None, typer.Option("--hidden", help="Neurons of the first hidden layer.")] = None,
    rate_shift: Annotated[int | None, typer.Option(
        "--rate-shift", help="Learning rate 2**-shift in the first epoch; default: the preset's.")] = None,
    rate_shift_end: Annotated[int | None, typer.Option(
        "--rate-shift-end", help="Learning rate 2**-shift in the last epochs; in between it halves at equal "
                                 "distances.")] = None,
    validation: Annotated[int | None, typer.Option(
        "--validation", help="Training images held out to choose by; 0 learns from all.")] = None,
    shift: Annotated[int | None, typer.Option(
        "--shift", help="Augmentation: shift each presentation by up to this many pixels.")] = None,
    mirror: Annotated[bool | None, typer.Option(
        "--mirror/--no-mirror", help="Augmentation: mirror half of the presentations, left for right.")] = None,
    patience: Annotated[int | None, typer.Option(
        "--patience", help="Stop after this many epochs without a better validation accuracy, and take the weights "
                           "of the best one; 0 runs all epochs.")] = None,
    engine: EngineOption = None,
    data_dir: DataOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT.checkpoint if there is one.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network in the golden model, one image at a time, exactly as the hardware learns.

    Beside the model OUT.npz are written OUT.metrics.jsonl (a line of JSON per epoch), OUT.png (the curves) and, redrawn
    every 10,000 images and at the end, OUT.fields.png of competing neurons (receptive fields) and OUT.maps.png of
    convolutions and local connections (kernels, and the feature maps of the first validation image over time). The test
    set is used once, at the end; whatever is chosen, choose it by the validation images. A checkpoint (OUT.checkpoint)
    is written every 2,000 images and removed when the model is complete.
    """
    output = Output(as_json=as_json)
    named = network.chosen()
    if named is None:
        raise InputError("train: name a --preset, or give --layers with a --dataset, or a --spec")
    varied = named.varied(rule=rule, weight_bits=weight_bits, rounding=rounding, steps=steps, hidden=hidden)
    chosen = varied.planned(epochs=epochs, rate_shift=rate_shift, rate_shift_end=rate_shift_end,
                            validation=validation, shift=shift, mirror=mirror, patience=patience)
    out = out or Path(f"{chosen.name}.npz")
    require_place(out, beside=".metrics.jsonl")
    checkpoint = out.with_name(out.name + ".checkpoint")
    output.begin(f"load {chosen.dataset}")
    dataset = load_data(chosen.dataset, data_dir=data_dir, like=chosen.spec)
    dataset.require_fit(chosen.spec)
    drawn = may_draw(output)
    pictures = pictures_beside(out, chosen.spec) if drawn else {}
    trainer, seconds = train_network(chosen, dataset, seed, output, engine=engine, checkpoint=checkpoint,
                                     resume=resume, metrics_file=out.with_suffix(".metrics.jsonl"),
                                     pictures=pictures)
    with output.progress() as bar:
        model = trainer.tested(bar)
    save_model(out, model)
    written = [out.with_suffix(".metrics.jsonl"), *pictures]
    if drawn:
        written.insert(1, out.with_suffix(".png"))
        save_figure(training_figure(trainer.metrics, title=f"{chosen.name}, seed {seed}"), written[1])
    checkpoint.unlink(missing_ok=True)
    found, digest = model.training, model.network.digest()
    held_out = f"validation accuracy {percent(found['validation_accuracy'])}, " \
        if found["validation_accuracy"] is not None else ""
    output.say(f"epoch {found['epoch']}: {held_out}test accuracy {percent(found['test_accuracy'])} "
               f"({len(dataset.test)} images)")
    output.say(f"wrote {out} (digest {digest}, {seconds:.0f} s of training), " + ", ".join(map(str, written)))
    output.result({"preset": chosen.name, "layers": in_words(chosen.spec), "seed": seed,
                   **{name: found[name] for name in ("epochs", "epoch", "validation_accuracy", "test_accuracy")},
                   "images": len(dataset.test), "digest": digest, "spec_digest": chosen.spec.digest(),
                   "engine": trainer.engine, "seconds": round(seconds, 2), "out": str(out)})


def may_draw(output: Output) -> bool:
    """Whether pictures can be drawn; says so when not."""
    if not (there := installed(Extra.FIGURES)):
        output.say(f"no pictures are drawn: {missing_line('matplotlib')}")
    return there


def train_network(preset: Preset, dataset: Dataset, seed: int, output: Output, *, engine: Engine | None = None,
                  checkpoint: Path | None = None, resume: bool = False, metrics_file: Path | None = None,
                  pictures: dict[Path, Picture] | None = None) -> tuple[Trainer, float]:
    """Train with progress on the terminal; returns the trainer and the seconds it took.

    ``metrics_file`` gets a line of JSON per epoch; lines of epochs before a resumption are kept. ``pictures`` are drawn
    every 10,000 images and at the end.
    """
    trainer = Trainer(preset=preset, dataset=dataset, seed=seed, engine=engine, checkpoint=checkpoint)
    lines: list[str] = []
    resumed = resume and trainer.resume()
    output.say(described(preset.name, preset.dataset, preset.spec))
    say_engine(output, engine)
    if resumed:
        output.say(f"resumed from {checkpoint} after {len(trainer.metrics)} epochs")
        lines = [json.dumps(asdict(entry)) for entry in trainer.metrics]

    def on_epoch(entry: EpochMetrics, rate: float) -> None:
        validation = f"  validation {percent(entry.validation_accuracy)}" \
            if entry.validation_accuracy is not None else ""
        output.say(f"epoch {entry.epoch:3d}  rate shift {entry.rate_shift}"
                   f"  training {percent(entry.training_accuracy)}{validation}"
                   f"  samples that learnt {percent(entry.update_rate)}  {rate:.0f} images/s")
        lines.append(json.dumps({**asdict(entry), "images_per_second": round(rate, 1)}))
        if metrics_file is not None:
            write_text(metrics_file, "\n".join(lines) + "\n")

    drawn = 0

    def draw(distance: int) -> None:
        """Draw if so many images have been learnt from since."""
        nonlocal drawn
        if pictures and trainer.images_seen - drawn >= distance:
            drawn = trainer.images_seen
            for path, picture in pictures.items():
                picture(trainer, path)

    started = time.perf_counter()
    output.keeps(lambda: _kept(trainer))
    with output.progress() as bar:
        trainer.run(bar, on_epoch, lambda: draw(_DRAW_EVERY))
        draw(1)
    return trainer, time.perf_counter() - started


def say_engine(output: Output, asked: Engine | None) -> None:
    """Say when a slow engine computes that nobody has asked for."""
    if asked is None and not installed(Extra.TWIN):
        output.say(f"the NumPy engine computes, ten to thirty times slower; {missing_line('numba')}")


def _kept(trainer: Trainer) -> str:
    """What an interrupted training leaves."""
    if trainer.kept is None:
        return "nothing was kept; the same command starts anew"
    return (f"{trainer.checkpoint} keeps what was learnt from {trainer.kept:,} images; continue with the same command "
            "and --resume")


def pictures_beside(out: Path, spec: NetworkSpec) -> dict[Path, Picture]:
    """What is drawn of a network while it is trained: files beside the model's, and who draws them."""
    wanted: list[tuple[bool, str, Picture]] = [(has_fields(spec), ".fields.png", draw_fields),
                                               (has_maps(spec), ".maps.png", draw_maps)]
    return {out.with_suffix(ending): picture for there, ending, picture in wanted if there}


def has_fields(spec: NetworkSpec) -> bool:
    """Whether the first layer's weights are never negative: they are receptive fields, worth a picture each."""
    return spec.at(0).weight_range[0] == 0


def has_maps(spec: NetworkSpec) -> bool:
    """Whether there are patches: feature maps before or behind them, and kernels."""
    return any(layer.synapses.patch is not None for layer in spec.layers)


def draw_fields(trainer: Trainer, path: Path) -> None:
    """Draw the receptive fields as they are; firing rates are those of 500 training images."""
    network, dataset = trainer.network, trainer.dataset
    assert isinstance(network, Network)
    images = trainer.training.images[:_RATE_IMAGES]
    rates = network.classify(images).layers[0].spikes.sum(axis=(0, 1)) / len(images)
    save_figure(receptive_field_figure(network, rates, height=dataset.height, width=dataset.width,
                                       title=f"{trainer.preset.name} after {trainer.images_seen:,} images"), path)


def draw_maps(trainer: Trainer, path: Path) -> None:
    """Draw kernels, and the feature maps of the first validation image; without any, of the first training image."""
    network, dataset = trainer.network, trainer.dataset
    assert isinstance(network, Network)
    split, name = (trainer.validation, "validation") if len(trainer.validation) else (trainer.training, "training")
    _draw_image(network, dataset, split, 0, path,
                title=f"{trainer.preset.name} after {trainer.images_seen:,} images; first {name} image")


def _draw_image(network: Network, dataset: Dataset, split: Split, index: int, path: Path, *, title: str) -> None:
    """Draw kernels, and the feature maps of an image of a split."""
    save_figure(maps_figure(network, int(split.labels[index]), network.classify(split.images[index]),
                            height=dataset.height, width=dataset.width, title=title), path)


@option_groups
def evaluate_model(
    model: ModelArgument,
    network: NetworkOptions,
    *,
    figure: Annotated[Path | None, typer.Option(
        "--figure", help="Draw a test image's feature maps and spike counts over time, and kernels, here (PNG).")
    ] = None,
    image: Annotated[int, typer.Option("--image", help="With --figure: number of the test image, from 0.")] = 0,
    engine: EngineOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy of a model on the test set. With --preset or --layers, the model must be of that network's contract."""
    output = Output(as_json=as_json)
    if figure is not None:
        require(Extra.FIGURES)
        require_file_place(figure)
    loaded = load(model, like=network.chosen())
    source = network.dataset or loaded.dataset
    output.begin(f"load {source}")
    dataset = load_data(source, data_dir=data_dir, like=loaded.network.spec)
    dataset.require_fit(loaded.network.spec)
    if not 0 <= image < len(dataset.test):
        raise InputError(f"--image: {image} is out of bounds, must be 0..{len(dataset.test) - 1}")
    say_engine(output, engine)
    with output.progress() as bar:
        found = evaluate(loaded, dataset, engine=engine, report=bar)
    output.say(f"test accuracy {percent(found.accuracy)} ({found.images} images of {dataset.name}, "
               f"{percent(found.ties)} ties counted as wrong, {found.images_per_second:.0f} images/s)")
    labels: dict[str, Any] = {}
    if loaded.network.readout_state:
        named = neuron_labels(loaded.network.readout_state[0])
        labels = {"neurons_per_class": np.bincount(named[named >= 0], minlength=loaded.network.spec.classes).tolist(),
                  "unlabelled_neurons": int((named < 0).sum())}
        output.say(f"neurons by label: {', '.join(map(str, labels['neurons_per_class']))}; "
                   f"{labels['unlabelled_neurons']} without")
    output.say(f"per image: {', '.join(f'{count:.0f}' for count in found.spikes_per_image)} spikes (input, then each "
               f"layer), {found.operations_per_image:,.0f} synaptic operations; digest {loaded.network.digest()}")
    if figure is not None:
        _draw_image(loaded.network, dataset, dataset.test, image, figure,
                    title=f"{Path(model).stem}; test image {image} of {dataset.name}")
        output.say(f"wrote {figure}")
    output.result({"test_accuracy": found.accuracy, "images": found.images, "digest": loaded.network.digest(),
                   "spec_digest": loaded.network.spec.digest(), "preset": loaded.preset, "dataset": dataset.name,
                   "ties": found.ties, **labels, "figure": None if figure is None else str(figure),
                   "spikes_per_image": found.spikes_per_image, "operations_per_image": found.operations_per_image,
                   "engine": found.engine, "images_per_second": round(found.images_per_second, 1)})

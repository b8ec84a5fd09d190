"""The training loop: seeded order, validation split, checkpoints that resume to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.datasets import Dataset, Split
from golden.desire import learn
from golden.dropout import DropoutGenerator
from golden.model import read_archive, weights_from, weights_to, write_archive
from golden.network import Network, accuracy
from golden.presets import Preset
from golden.spec import InputError

__all__ = ["EpochMetrics", "Progress", "Trainer", "evaluate", "image_order"]

_CHECKPOINT_EVERY = 2_000
_REPORT_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a long computation stands."""

    task: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """What one epoch measured. Accuracies and rates are fractions, 0..1."""

    epoch: int
    rate_shift: int
    training_accuracy: float
    """Of predictions made while learning, dropout active."""
    validation_accuracy: float
    update_rate: float
    """Fraction of training samples with an output desire."""


def evaluate(network: Network, split: Split, *, task: str = "evaluate",
             report: Callable[[Progress], None] | None = None) -> tuple[float, np.ndarray]:
    """Accuracy (fraction) on ``split`` and the predictions, int64 (count,)."""
    parts: list[np.ndarray] = []
    done = 0
    for part in network.predict(split.images):
        parts.append(part)
        done += len(part)
        if report is not None:
            report(Progress(task=task, done=done, total=len(split)))
    predictions = np.concatenate(parts)
    return accuracy(predictions, split.labels), predictions


def image_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order in which an epoch (from 0) visits ``count`` training images, int64 (count,)."""
    sequence = np.random.SeedSequence([seed, 2, epoch])
    return np.random.RandomState(np.random.MT19937(sequence)).permutation(count)


@dataclass
class _State:
    """Everything a resumed run needs."""

    epoch: int = 0
    position: int = 0
    correct: int = 0
    updates: int = 0
    metrics: list[EpochMetrics] = field(default_factory=list)


class Trainer:
    """Trains one network, one image at a time, in an order fixed by the seed.

    Parameters
    ----------
    preset
        Contract and plan.
    dataset
        Must have the network's number of pixels and at most its number of classes.
    seed
        Fixes initial weights, validation split and image order; at least 0.
    checkpoint
        File written every 2,000 images and after every epoch; None for none.

    Raises
    ------
    InputError
        Data set and network do not fit.
    """

    def __init__(self, *, preset: Preset, dataset: Dataset, seed: int, checkpoint: Path | None = None) -> None:
        if seed < 0:
            raise InputError(f"seed: {seed} is out of bounds, must be at least 0")
        spec = preset.spec
        pixels = dataset.height * dataset.width
        if pixels != spec.inputs:
            raise InputError(f"data set {dataset.name}: {pixels} pixels, but {preset.name} takes {spec.inputs}")
        if int(dataset.train.labels.max()) >= spec.classes:
            raise InputError(f"data set {dataset.name}: label {dataset.train.labels.max()}, "
                             f"but {preset.name} has {spec.classes} classes")
        for epoch in range(preset.training.epochs):
            spec.update_shift(preset.training.rate_shift_at(epoch))
        self.preset, self.seed, self.checkpoint = preset, seed, checkpoint
        self.training, self.validation = dataset.split_validation(preset.training.validation, seed)
        self.network = Network.initial(spec=spec, seed=seed)
        self._dropout = DropoutGenerator(spec)
        self._state = _State()

    @property
    def metrics(self) -> list[EpochMetrics]:
        """Metrics of the epochs finished so far."""
        return list(self._state.metrics)

    def resume(self) -> bool:
        """Continue from the checkpoint file if there is one; True when it was taken up.

        Raises
        ------
        InputError
            The checkpoint is corrupt or belongs to another run.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return False
        header, arrays = read_archive(self.checkpoint)
        if header.get("kind") != "checkpoint" or header.get("run") != self._run():
            raise InputError(f"{self.checkpoint}: belongs to another run (preset, seed, data or plan differ); "
                             "delete it or drop --resume")
        self.network = Network(spec=self.preset.spec,
                               weights=weights_from(arrays, self.preset.spec, self.checkpoint))
        self._dropout.states = [int(state) for state in header["dropout_states"]]
        state = header["state"]
        self._state = _State(**{**state, "metrics": [EpochMetrics(**entry) for entry in state["metrics"]]})
        return True

    def _run(self) -> dict[str, Any]:
        """What identifies a run; the number of epochs may change between stop and resume."""
        plan = asdict(self.preset.training)
        del plan["epochs"]
        return {"spec": self.preset.spec.digest(), "seed": self.seed, "plan": plan,
                "images": len(self.training)}

    def save_checkpoint(self) -> None:
        """Write the checkpoint file, if one was named."""
        if self.checkpoint is None:
            return
        header = {"format": 1, "kind": "checkpoint", "run": self._run(), "state": asdict(self._state),
                  "dropout_states": self._dropout.states}
        write_archive(self.checkpoint, header, weights_to(self.network))

    def run(self, report: Callable[[Progress], None] | None = None) -> Network:
        """Train to the end of the plan and return the network.

        Checkpoints are written between images only, so one is always a state the run went through:
        an interrupt loses at most the last 2,000 images, and a resumed run ends with the very
        weights of an uninterrupted one.
        """
        while self._state.epoch < self.preset.training.epochs:
            self._run_epoch(report)
        return self.network

    def _run_epoch(self, report: Callable[[Progress], None] | None) -> None:
        state, plan, total = self._state, self.preset.training, len(self.training)
        rate_shift = plan.rate_shift_at(state.epoch)
        task = f"epoch {state.epoch + 1}/{plan.epochs}"
        order = image_order(self.seed, state.epoch, total)
        while state.position < total:
            index = order[state.position]
            label = int(self.training.labels[index])
            record = learn(self.network, self.training.images[index], label,
                           rate_shift=rate_shift, kept=self._dropout.masks())
            state.correct += int(record.forward.prediction == label)
            state.updates += bool(record.desires)
            state.position += 1
            if report is not None and (state.position % _REPORT_EVERY == 0 or state.position == total):
                report(Progress(task=task, done=state.position, total=total,
                                note=f"training accuracy {state.correct / state.position:.2%}"))
            if state.position % _CHECKPOINT_EVERY == 0:
                self.save_checkpoint()
        validation, _ = evaluate(self.network, self.validation, task=f"{task} validation", report=report)
        state.metrics.append(EpochMetrics(
            epoch=state.epoch + 1, rate_shift=rate_shift, training_accuracy=state.correct / total,
            validation_accuracy=validation, update_rate=state.updates / total))
        self._state = _State(epoch=state.epoch + 1, metrics=state.metrics)
        self.save_checkpoint()

"""The training loop: seeded order, validation split, early stopping, checkpoints that resume to the same weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import named_rule
from lifstream.golden.files import is_there
from lifstream.golden.model.learning import require_learning
from lifstream.golden.model.network import Network, accuracy
from lifstream.golden.model.readouts import assign_votes
from lifstream.golden.study.archive import FORMAT, REALS, Arrays, require_field, require_integer, require_integers
from lifstream.golden.study.datasets import Dataset, Split
from lifstream.golden.study.epochs import EpochStream
from lifstream.golden.study.model_files import (
    Model,
    network_arrays,
    network_from,
    network_to,
    read_archive,
    state_from,
    state_to,
    write_archive,
)
from lifstream.golden.study.presets import Preset
from lifstream.golden.twin.engine import Arithmetic, Engine, Outcome, Runner
from lifstream.golden.twin.float_model import FloatNetwork

__all__ = ["EpochMetrics", "Progress", "Trainer", "evaluate", "label_neurons", "labelling_images", "usual_engine"]

_CHECKPOINT_EVERY = 2_000
_BATCH = 100
_LABELLING = 10_000


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a long computation stands."""

    task: str
    done: int
    total: int | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """What one epoch measured. Accuracies and rates are fractions, 0..1."""

    epoch: int
    rate_shift: int
    training_accuracy: float
    """Of predictions made while learning, dropout active; of no meaning before neurons are labelled, after the first
    epoch of an unsupervised network."""
    validation_accuracy: float | None
    """None when no images were held out."""
    update_rate: float
    """Fraction of training samples with something to learn: an output desire, or with stdp a spike."""
    updates_per_image: float
    """Weights visited by updates, mean over all training samples."""
    spikes_per_image: list[float]
    """Spikes of the input and of each layer, mean over all training samples."""


def usual_engine() -> Engine:
    """The engine that computes where none is asked for: compiled kernels where numba is installed."""
    return Engine.NUMBA if find_spec("numba") else Engine.NUMPY


def evaluate(network: Network | FloatNetwork, split: Split, *, engine: Engine | None = None, task: str = "evaluate",
             report: Callable[[Progress], None] | None = None) -> tuple[float, Outcome]:
    """Accuracy (fraction) on ``split``, and what the images did; without ``engine`` by :func:`usual_engine`."""
    runner = Runner(network=network, engine=engine or usual_engine())
    parts: list[Outcome] = []
    if report is not None:
        report(Progress(task=task, done=0, total=len(split)))
    for start in range(0, len(split), _BATCH):
        parts.append(runner.infer(split.images[start:start + _BATCH]))
        if report is not None:
            report(Progress(task=task, done=min(len(split), start + _BATCH), total=len(split)))
    outcome = Outcome.joined(parts)
    return accuracy(outcome.predictions, split.labels), outcome


def label_neurons(network: Network, split: Split, *, engine: Engine | None = None, task: str = "label neurons",
                  report: Callable[[Progress], None] | None = None) -> None:
    """Set a network's votes, in place, from its responses to labelled images; see ``assign_votes``."""
    _, outcome = evaluate(network, split, engine=engine, task=task, report=report)
    network.readout_state[0][:] = assign_votes(network.spec, outcome.responses, split.labels)


def labelling_images(network: Network | FloatNetwork, training: Split) -> Split | None:
    """The first 10,000 training images, by which neurons are labelled after learning; None if they have classes."""
    return training[:_LABELLING] if network.spec.layers[-1].rule.labelled_afterwards else None


@dataclass
class _State:
    """Everything a resumed run needs beside the weights."""

    epoch: int = 0
    position: int = 0
    correct: int = 0
    learned: int = 0
    updates: int = 0
    spikes: list[int] = field(default_factory=list)
    metrics: list[EpochMetrics] = field(default_factory=list)


def _restored_metrics(values: object, layers: int, path: Path) -> EpochMetrics:
    """The metrics of an epoch in a checkpoint."""
    kinds: dict[str, tuple[type, ...]] = {entry.name: (int, float) for entry in fields(EpochMetrics)}
    kinds |= {"epoch": (int,), "rate_shift": (int,), "spikes_per_image": (list,),
              "validation_accuracy": (int, float, type(None))}
    if not isinstance(values, dict) or set(values) != set(kinds) or not all(
            isinstance(values[name], kind) and not isinstance(values[name], bool) for name, kind in kinds.items()) \
            or [type(count) in (int, float) for count in values["spikes_per_image"]] != [True] * layers:
        raise InputError(f"{path}: the metrics of an epoch are malformed; the file is corrupt")
    return EpochMetrics(**values)


class Trainer:
    """Trains one network, one image at a time, in an order fixed by the seed.

    Parameters
    ----------
    preset
        Contract and plan.
    dataset
        Must have the network's number of pixels and at most its number of classes.
    seed
        Fixes initial weights, validation split, image order and shifts; at least 0.
    engine
        What computes, by default :func:`usual_engine`; the weights do not depend on it.
    arithmetic
        The contract's integers, or real numbers for comparison.
    checkpoint
        File written every 2,000 images and after every epoch; None for none.

    Raises
    ------
    InputError
        Data set and network do not fit, or early stopping has no validation images.
    """

    def __init__(self, *, preset: Preset, dataset: Dataset, seed: int, engine: Engine | None = None,
                 arithmetic: Arithmetic = Arithmetic.INTEGER, checkpoint: Path | None = None) -> None:
        if seed < 0:
            raise InputError(f"seed: {seed} is out of bounds, must be at least 0")
        spec, plan = preset.spec, preset.training
        require_learning(spec)
        dataset.require_fit(spec, who=preset.name)
        if dataset.steps is not None and (plan.shift or plan.mirror):
            raise InputError(f"data set {dataset.name}: holds events, which cannot be shifted or mirrored")
        preset.require_rates()
        self.preset, self.seed, self.dataset, self.checkpoint = preset, seed, dataset, checkpoint
        self.training, self.validation = dataset.split_validation(plan.validation, seed)
        self.engine = engine = engine or usual_engine()
        self._kind: type[Network] | type[FloatNetwork] = \
            FloatNetwork if arithmetic is Arithmetic.FLOAT else Network
        self._runner = Runner(network=self._kind.initial(spec=spec, seed=seed), engine=engine)
        self._best: Network | FloatNetwork | None = None
        self._state = _State()
        self.kept: int | None = None
        """Images learnt from up to the checkpoint that this run has written or taken up; None without one."""

    @property
    def network(self) -> Network | FloatNetwork:
        """The network: with early stopping and once stopped, that of the best epoch; otherwise the latest."""
        if self.preset.training.patience and self._best is not None and self._finished():
            return self._best
        return self._runner.network

    @property
    def metrics(self) -> list[EpochMetrics]:
        """Metrics of the epochs finished so far."""
        return list(self._state.metrics)

    @property
    def best_epoch(self) -> int | None:
        """Number (from 1) of the first epoch with the largest validation accuracy; None without validation."""
        entries = [entry for entry in self._state.metrics if entry.validation_accuracy is not None]
        return max(entries, key=lambda entry: (entry.validation_accuracy, -entry.epoch)).epoch if entries else None

    @property
    def chosen(self) -> EpochMetrics:
        """Metrics of the epoch whose weights :attr:`network` holds once the run has ended."""
        best = self.best_epoch if self.preset.training.patience else None
        return self._state.metrics[best - 1 if best else -1]

    def _finished(self) -> bool:
        patience, done = self.preset.training.patience, self._state.epoch
        best = self.best_epoch
        return done >= self.preset.training.epochs or bool(patience and best and done - best >= patience)

    def resume(self) -> bool:
        """Continue from the checkpoint file if there is one; True when it was taken up.

        Raises
        ------
        InputError
            The checkpoint is corrupt or belongs to another run.
        """
        if self.checkpoint is None or not is_there(self.checkpoint):
            return False
        header, arrays = read_archive(self.checkpoint)
        if header.get("kind") != "checkpoint" or header.get("run") != self._run():
            raise InputError(f"{self.checkpoint}: belongs to another run (preset, seed, data or plan differ); "
                             "delete it or drop --resume")
        state = self._restored_state(require_field(header, "state", dict, self.checkpoint))
        seeds = self._runner.draws.states
        random_states = require_integers(header, "random_states", 1, 0xFFFF_FFFF, self.checkpoint, counts=[len(seeds)])
        spec = self.preset.spec
        arrays.require_only(network_arrays(spec) | network_arrays(spec, prefix="best_"))
        network = self._restored(arrays)
        best = self._restored(arrays, prefix="best_") if self.preset.training.patience and state.epoch else None
        self._runner, self._best = Runner(engine=self.engine, network=network), best
        self._runner.draws.states = random_states
        self._state, self.kept = state, state.epoch * len(self.training) + state.position
        return True

    def _restored_state(self, values: dict[str, Any]) -> _State:
        """The state in a checkpoint, which must be one that a run can have."""
        path, images, most = self.checkpoint, len(self.training), 1 << 62
        assert path is not None
        numbers = {name: require_integer(values, name, 0, high, path)
                   for name, high in (("epoch", self.preset.training.epochs), ("position", images - 1),
                                      ("correct", images), ("learned", images), ("updates", most))}
        layers = len(self.preset.spec.layers) + 1
        spikes = require_integers(values, "spikes", 0, most, path, counts=[0, layers])
        metrics = [_restored_metrics(entry, layers, path) for entry in require_field(values, "metrics", list, path)]
        if [entry.epoch for entry in metrics] != list(range(1, numbers["epoch"] + 1)) or any(
                (entry.validation_accuracy is None) == bool(len(self.validation)) for entry in metrics):
            raise InputError(f"{path}: its metrics are not those of {numbers['epoch']} epochs; the file is corrupt")
        return _State(**numbers, spikes=spikes, metrics=metrics)

    def _restored(self, arrays: Arrays, *, prefix: str = "") -> Network | FloatNetwork:
        assert self.checkpoint is not None
        if self._kind is Network:
            return network_from(arrays, self.preset.spec, self.checkpoint, prefix=prefix)
        return FloatNetwork(spec=self.preset.spec, weights=state_from(
            arrays, self.preset.spec, "weights", prefix=prefix, kinds=REALS))

    def _stored(self, network: Network | FloatNetwork, *, prefix: str = "") -> dict[str, NDArray[Any]]:
        if isinstance(network, Network):
            return network_to(network, prefix=prefix)
        return state_to(self.preset.spec, "weights", network.weights, prefix=prefix)

    def _run(self) -> dict[str, Any]:
        """What identifies a run."""
        return {"spec": self.preset.spec.digest(), "seed": self.seed, "plan": asdict(self.preset.training),
                "arithmetic": "integer" if self._kind is Network else "float",
                "size": [self.dataset.height, self.dataset.width], "images": self.dataset.train.digest}

    def save_checkpoint(self) -> None:
        """Write the checkpoint file, if one was named."""
        if self.checkpoint is None:
            return
        header = {"format": FORMAT, "kind": "checkpoint", "run": self._run(), "state": asdict(self._state),
                  "random_states": self._runner.draws.states}
        arrays = self._stored(self._runner.network)
        if self._best is not None:
            arrays |= self._stored(self._best, prefix="best_")
        write_archive(self.checkpoint, header, arrays)
        self.kept = self.images_seen

    @property
    def images_seen(self) -> int:
        """Images learnt from so far."""
        return self._state.epoch * len(self.training) + self._state.position

    def run(self, report: Callable[[Progress], None] | None = None,
            on_epoch: Callable[[EpochMetrics, float], None] | None = None,
            on_checkpoint: Callable[[], None] | None = None) -> Network | FloatNetwork:
        """Train to the end of the plan, or until it stops early, and return the network.

        Checkpoints are written between images only, so one is always a state the run went through:
        an interrupt loses at most the last 2,000 images, and a resumed run ends with the very
        weights of an uninterrupted one.

        Parameters
        ----------
        report
            Called often.
        on_epoch
            Called after each epoch with its metrics and the rate of learning in images/s.
        on_checkpoint
            Called after every 2,000 images and after every epoch.
        """
        if report is not None:
            report(Progress(task="compile", done=0, total=1))
        self._runner.prepare(learning=True)
        while not self._finished():
            rate = self._run_epoch(report, on_checkpoint)
            if on_checkpoint is not None:
                on_checkpoint()
            if on_epoch is not None:
                on_epoch(self._state.metrics[-1], rate)
        return self.network

    def tested(self, report: Callable[[Progress], None] | None = None) -> Model:
        """The network with its accuracy on the test images, as a model; ask once, when the run has ended.

        Raises
        ------
        InputError
            The network is one of real numbers, or no epoch has ended.
        """
        network, spec = self.network, self.preset.spec
        if not isinstance(network, Network) or not self._state.metrics:
            raise InputError("training: a model is made of integers, and of at least one epoch")
        test_accuracy, _ = evaluate(network, self.dataset.test, engine=self.engine, task="test", report=report)
        return Model(network=network, preset=self.preset.name, dataset=self.dataset.name, training={
            "seed": self.seed, "plan": asdict(self.preset.training), "rule": named_rule(spec),
            "epochs": [asdict(entry) for entry in self.metrics], "epoch": self.chosen.epoch,
            "validation_accuracy": self.chosen.validation_accuracy, "test_accuracy": test_accuracy})

    def _run_epoch(self, report: Callable[[Progress], None] | None,
                   on_checkpoint: Callable[[], None] | None) -> float:
        state, plan, total = self._state, self.preset.training, len(self.training)
        rate_shift = plan.rate_shift_at(state.epoch)
        task = f"epoch {state.epoch + 1}/{plan.epochs}"
        stream = EpochStream(dataset=self.dataset, training=self.training, seed=self.seed, epoch=state.epoch,
                             shift=plan.shift, mirror=plan.mirror)
        if report is not None:
            report(Progress(task=task, done=state.position, total=total))
        started, first = time.perf_counter(), state.position
        state.spikes = state.spikes or [0] * (len(self.preset.spec.layers) + 1)
        while state.position < total:
            # A batch never reaches over the place of a checkpoint.
            due = state.position + _CHECKPOINT_EVERY - state.position % _CHECKPOINT_EVERY
            part = stream[state.position:min(state.position + _BATCH, due)]
            outcome = self._runner.learn(part.images, part.labels, rate_shift=rate_shift)
            state.correct += int((outcome.predictions == part.labels).sum())
            state.learned += int(outcome.learned.sum())
            state.updates += int(outcome.updates.sum())
            state.spikes = (outcome.spikes.sum(axis=0) + state.spikes).tolist()
            state.position += len(part)
            if report is not None:
                rate = (state.position - first) / max(1e-9, time.perf_counter() - started)
                # Unlabelled neurons are right about nothing.
                known = labelling_images(self._runner.network, self.training) is None or state.epoch > 0
                note = f"training accuracy {state.correct / state.position:.2%}, " if known else ""
                report(Progress(task=task, done=state.position, total=total, note=f"{note}{rate:,.0f} images/s"))
            if state.position % _CHECKPOINT_EVERY == 0:
                self.save_checkpoint()
                if on_checkpoint is not None and state.position < total:
                    on_checkpoint()
        rate = (total - first) / max(1e-9, time.perf_counter() - started)
        self._finish_epoch(rate_shift, task, report)
        return rate

    def _finish_epoch(self, rate_shift: int, task: str, report: Callable[[Progress], None] | None) -> None:
        state, total = self._state, len(self.training)
        validation = None
        network = self._runner.network
        if isinstance(network, Network) and (labelled := labelling_images(network, self.training)) is not None:
            label_neurons(network, labelled, engine=self.engine, task=f"{task} labels", report=report)
        if len(self.validation):
            validation, _ = evaluate(self._runner.network, self.validation, engine=self.engine,
                                     task=f"{task} validation", report=report)
        state.metrics.append(EpochMetrics(
            epoch=state.epoch + 1, rate_shift=rate_shift, training_accuracy=state.correct / total,
            validation_accuracy=validation, update_rate=state.learned / total,
            updates_per_image=state.updates / total, spikes_per_image=[count / total for count in state.spikes]))
        self._state = _State(epoch=state.epoch + 1, metrics=state.metrics)
        if self.preset.training.patience and self.best_epoch == self._state.epoch:
            self._best = copy.deepcopy(self._runner.network)
        self.save_checkpoint()

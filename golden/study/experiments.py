"""Experiments: training runs that are described, cached, run in parallel and resumed.

An experiment is named by what decides its result (contract, plan, data set, seed, arithmetic), so a
result found in the store is the result, and a comparison or a sweep that was interrupted goes on where
it stood. A run that fails is reported and does not disturb the others.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from lifstream.golden.contract.errors import InputError
from lifstream.golden.files import make_folder, parse_json, read_up_to, write_text
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Dataset, load_dataset
from lifstream.golden.study.presets import Preset
from lifstream.golden.study.training import Progress, Trainer, evaluate
from lifstream.golden.twin.engine import Arithmetic

__all__ = ["Experiment", "Failure", "Measurement", "Store", "run_experiments"]

_LARGEST_RESULT = 1 << 16
"""Bytes read of a result's file, which takes some hundred."""

_FORMAT = 1  # raise when the meaning of a stored result changes


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run."""

    preset: Preset
    seed: int
    arithmetic: Arithmetic = Arithmetic.INTEGER
    test: bool = False
    """Measure on the test set too, once, after training; otherwise only on the validation images."""

    def key(self) -> str:
        """24 hexadecimal digits that name the result."""
        decisive = {"format": _FORMAT, "spec": self.preset.spec.to_json(), "plan": asdict(self.preset.training),
                    "dataset": self.preset.dataset, "seed": self.seed, "arithmetic": self.arithmetic,
                    "test": self.test}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What an experiment found; accuracies and rates are fractions, 0..1."""

    validation_accuracy: float | None
    test_accuracy: float | None
    epochs: int
    update_rate: float
    """Of the last epoch: fraction of training samples with an output desire."""
    updates_per_image: float
    """Of the last epoch: weights visited, mean over all training samples."""
    spikes_per_image: list[float]
    """Input and each layer, in inference, on the test or else the validation images."""
    digest: str
    """Of the weights; empty for real numbers."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an experiment has no result."""

    message: str


def _measurement(values: object) -> Measurement:
    """A stored result; raises ValueError when it is malformed."""
    number, unknown = (int, float), (int, float, type(None))
    kinds: dict[str, tuple[type, ...]] = {
        "validation_accuracy": unknown, "test_accuracy": unknown, "epochs": (int,), "update_rate": number,
        "updates_per_image": number, "spikes_per_image": (list,), "digest": (str,)}
    if not isinstance(values, dict) or set(values) != set(kinds) or not all(
            isinstance(values[name], kind) for name, kind in kinds.items()) or not all(
            isinstance(count, number) for count in values["spikes_per_image"]):
        raise ValueError
    return Measurement(**values)


class Store:
    """Results of experiments, a JSON file each.

    Parameters
    ----------
    folder
        Where they are kept; None takes the user's cache.

    Raises
    ------
    InputError
        The folder cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = make_folder(folder or Path(platformdirs.user_cache_dir("lifstream")) / "experiments")

    def get(self, experiment: Experiment) -> Measurement | None:
        """The stored result, or None; a damaged file counts as none."""
        try:
            with self._path(experiment).open("rb") as stream:
                return _measurement(parse_json(read_up_to(stream, _LARGEST_RESULT)))
        except (OSError, ValueError):
            return None

    def put(self, experiment: Experiment, measurement: Measurement) -> None:
        """Store a result."""
        write_text(self._path(experiment), json.dumps(asdict(measurement), indent=1))

    def checkpoint(self, experiment: Experiment) -> Path:
        """Where the run keeps its checkpoint until it is finished."""
        return self.folder / f"{experiment.key()}.checkpoint"

    def _path(self, experiment: Experiment) -> Path:
        return self.folder / f"{experiment.key()}.json"


@cache
def _dataset(name: str, data_dir: Path | None) -> Dataset:
    return load_dataset(name, data_dir=data_dir)


def _perform(experiment: Experiment, folder: Path, data_dir: Path | None,
             report: Callable[[Progress], None] | None = None) -> Measurement | Failure:
    """Train, measure and store; runs in a worker process, so it returns failures instead of raising."""
    try:
        store = Store(folder)
        if (known := store.get(experiment)) is not None:
            return known
        dataset = _dataset(experiment.preset.dataset, data_dir)
        checkpoint = store.checkpoint(experiment)
        trainer = Trainer(preset=experiment.preset, dataset=dataset, seed=experiment.seed,
                          arithmetic=experiment.arithmetic, checkpoint=checkpoint)
        with suppress(InputError):  # a damaged checkpoint, or one of other images, counts as none
            trainer.resume()
        network = trainer.run(report)
        split = dataset.test if experiment.test else trainer.validation
        fraction, outcome = evaluate(network, split, report=report) if len(split) else (None, None)
        last = trainer.chosen
        measurement = Measurement(
            validation_accuracy=last.validation_accuracy, test_accuracy=fraction if experiment.test else None,
            epochs=last.epoch, update_rate=last.update_rate, updates_per_image=last.updates_per_image,
            spikes_per_image=outcome.spikes.mean(axis=0).tolist() if outcome is not None else last.spikes_per_image,
            digest=network.digest() if isinstance(network, Network) else "")
        store.put(experiment, measurement)
        checkpoint.unlink(missing_ok=True)
        return measurement
    except InputError as error:
        return Failure(message=str(error))
    except Exception as error:  # whatever it was, the other experiments go on
        return Failure(message=f"{type(error).__name__}: {error}")


def _leave_on_interrupt() -> None:
    """In a worker: an interrupt ends it silently; its checkpoint is on disk."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _futures_of(scheduler: str) -> tuple[Callable[..., Any], Callable[[Sequence[Any]], Iterator[Any]]]:
    """Submit and as-completed functions of a Dask cluster."""
    try:
        from dask import distributed
    except ImportError:
        raise InputError("--scheduler: dask.distributed is not installed; install lifstream with its extra 'dask'") \
            from None
    try:
        client = distributed.Client(scheduler, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"--scheduler: no Dask scheduler answers at {scheduler} ({error}); check the address") \
            from None
    return (lambda *arguments: client.submit(*arguments, pure=False)), distributed.as_completed


def run_experiments(
    experiments: Sequence[Experiment], *, store: Store, workers: int = 1, scheduler: str | None = None,
    data_dir: Path | None = None, report: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Experiment, Measurement | Failure]]:
    """Run what the store does not hold yet; yields experiments as they end, stored ones first.

    Parameters
    ----------
    workers
        Processes on this machine; 1 runs here, with detailed progress.
    scheduler
        Address of a Dask scheduler; its workers need this package, the data and the store's folder.

    Raises
    ------
    InputError
        No scheduler answers, or dask is missing.
    """
    waiting = []
    for experiment in experiments:
        known = store.get(experiment)
        if known is None:
            waiting.append(experiment)
        else:
            yield experiment, known
    if scheduler is not None and waiting:
        submit, completed = _futures_of(scheduler)
        yield from _collect(waiting, submit, completed, store.folder, data_dir, report)
    elif workers == 1 or len(waiting) <= 1:
        for experiment in waiting:
            yield experiment, _perform(experiment, store.folder, data_dir, report)
    else:
        # Spawned, not forked: the parent may hold threads of numerical libraries.
        with ProcessPoolExecutor(min(workers, len(waiting)), initializer=_leave_on_interrupt,
                                 mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                yield from _collect(waiting, pool.submit, as_completed, store.folder, data_dir, report)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise


def _collect(waiting: Sequence[Experiment], submit: Callable[..., Any],
             completed: Callable[[Sequence[Any]], Iterator[Any]], folder: Path, data_dir: Path | None,
             report: Callable[[Progress], None] | None) -> Iterator[tuple[Experiment, Measurement | Failure]]:
    futures: dict[Future[Measurement | Failure], Experiment] = {
        submit(_perform, experiment, folder, data_dir): experiment for experiment in waiting}
    if report is not None:
        report(Progress(task="experiments", done=0, total=len(futures)))
    for done, future in enumerate(completed(list(futures)), start=1):
        try:
            result = future.result()
        except BrokenProcessPool:
            result = Failure(message="its process died; run the command again to continue")
        if report is not None:
            report(Progress(task="experiments", done=done, total=len(futures)))
        yield futures[future], result

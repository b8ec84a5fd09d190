"""Recordings of event sensors, as the tonic package reads them, in time steps.

N-MNIST (G. Orchard et al., 2015): folders ``Train`` and ``Test``, in each a folder per digit, a file per sample: 5
bytes an event (column, row, polarity and 23 bits of microseconds); row 240 marks that the clock ran over, by 2**13.
DVS128 Gesture (A. Amir et al., 2017), as tonic unpacks it: ``ibmGestureTrain`` and ``ibmGestureTest``, in each a folder
per person and light, ``LABEL.npy`` with rows of column, row, polarity, milliseconds. Spiking Heidelberg Digits (B.
Cramer et al., 2022): ``shd_train.h5`` and ``shd_test.h5``, times in seconds and units of each sample.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.synapses import Map
from lifstream.golden.model.encoder import packed
from lifstream.golden.study.datasets import Dataset, Split

__all__ = ["Recording", "RecordingFormat", "load_recordings"]

_OVERFLOW_ROW, _OVERFLOW = 240, 1 << 13


class RecordingFormat(enum.StrEnum):
    """Whose files they are."""

    N_MNIST = "n-mnist"
    DVS_GESTURE = "dvs-gesture"
    SHD = "shd"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A sample's events, an array each, (events,): seconds from its start, and the neuron of a map, channel last."""

    times: NDArray[np.float64]
    neurons: NDArray[np.int64]
    label: int


def _of_map(of: Map, x: NDArray[np.integer], y: NDArray[np.integer], channel: NDArray[np.integer], path: Path
            ) -> NDArray[np.int64]:
    for name, values, end in (("column", x, of.width), ("row", y, of.height), ("polarity", channel, of.channels)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < end:
            raise InputError(f"{path}: an event's {name} is {int(values.max())}, must be 0..{end - 1}; is it a "
                             "recording of this format?")
    neurons: NDArray[np.int64] = (y.astype(np.int64) * of.width + x) * of.channels + channel
    return neurons


def _n_mnist(folder: Path, part: str, of: Map) -> Iterator[Recording]:
    root = folder / {"train": "Train", "test": "Test"}[part]
    for path in _files(root, "*/*.bin", folder):
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        if len(content) % 5 or not path.parent.name.isdigit():
            raise InputError(f"{path}: is no N-MNIST recording, in the folder of its digit, of 5 bytes an event")
        x, y, high, middle, low = content.reshape(-1, 5).T.astype(np.int64)
        late = np.cumsum(y == _OVERFLOW_ROW) * _OVERFLOW
        times = ((high & 127) << 16 | middle << 8 | low) + late
        event = y != _OVERFLOW_ROW
        yield Recording(times=times[event] * 1e-6, label=int(path.parent.name),
                        neurons=_of_map(of, x[event], y[event], (high >> 7)[event], path))


def _dvs_gesture(folder: Path, part: str, of: Map) -> Iterator[Recording]:
    root = folder / {"train": "ibmGestureTrain", "test": "ibmGestureTest"}[part]
    for path in _files(root, "*/*.npy", folder):
        try:
            rows = np.load(path, allow_pickle=False)
        except (ValueError, EOFError):
            raise InputError(f"{path}: is no array of events") from None
        if rows.ndim != 2 or rows.shape[1] != 4 or not path.stem.isdigit():
            raise InputError(f"{path}: is no DVS Gesture recording, LABEL.npy with rows of column, row, polarity, time")
        x, y, polarity = rows[:, :3].astype(np.int64).T
        times = rows[:, 3].astype(np.float64) * 1e-3
        yield Recording(times=times - times.min(initial=times[0] if len(times) else 0.0), label=int(path.stem),
                        neurons=_of_map(of, x, y, polarity, path))


def _shd(folder: Path, part: str, of: Map) -> Iterator[Recording]:
    try:
        import h5py
    except ImportError:
        raise InputError("h5py: the Python package is missing; install it with: pip install 'lifstream[nir]'") from None
    path = folder / f"shd_{part}.h5"
    try:
        with h5py.File(path, "r") as file:
            times, units, labels = file["spikes/times"][:], file["spikes/units"][:], file["labels"][:]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; put shd_train.h5 and shd_test.h5 there") from None
    except (OSError, KeyError, ValueError):
        raise InputError(f"{path}: is no recording of spoken digits, with spikes/times, spikes/units and labels"
                         ) from None
    for when, unit, label in zip(times, units, labels, strict=True):
        neurons = np.asarray(unit, dtype=np.int64)
        yield Recording(times=np.asarray(when, dtype=np.float64), label=int(label),
                        neurons=_of_map(of, neurons * 0, neurons * 0, neurons, path))


def _files(root: Path, pattern: str, folder: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{folder}: has no folder {root.name}; name the one that holds it")
    if not (found := sorted(root.glob(pattern))):
        raise InputError(f"{root}: holds no {pattern}")
    return found


@dataclass(frozen=True, kw_only=True)
class _Format:
    of: Map
    seconds: float
    """How much of a recording is taken unless said."""
    read: Callable[[Path, str, Map], Iterator[Recording]]


_FORMATS = {
    RecordingFormat.N_MNIST: _Format(of=Map(height=34, width=34, channels=2), seconds=0.3, read=_n_mnist),
    RecordingFormat.DVS_GESTURE: _Format(of=Map(height=128, width=128, channels=2), seconds=1.5, read=_dvs_gesture),
    RecordingFormat.SHD: _Format(of=Map(height=1, width=1, channels=700), seconds=1.0, read=_shd),
}


def load_recordings(folder: Path, form: RecordingFormat, *, steps: int, seconds: float | None = None, scale: int = 1,
                    report: Callable[[str, int], Any] | None = None) -> Dataset:
    """Recordings as a data set of spike trains.

    A neuron spikes in a step if any of its events falls into it; what comes after the last step is left out.

    Parameters
    ----------
    folder
        Where the files are.
    form
        Whose.
    steps
        ``T``, 1 or more.
    seconds
        The time that they span, above 0; None: what recordings of this format last.
    scale
        Pixels, down and right, that become one.
    report
        Is told the part and how many samples have been read.

    Raises
    ------
    InputError
        A file is missing or damaged, or ``scale`` does not divide the sensor.
    """
    known = _FORMATS[form]
    of, span = known.of, known.seconds if seconds is None else seconds
    if scale < 1 or (scale > 1 and (of.height % scale or of.width % scale)):
        raise InputError(f"--scale: {scale} does not divide the {of.height}x{of.width} pixels")
    small = Map(height=of.height // scale, width=of.width // scale, channels=of.channels)
    parts: list[Split] = []
    for part in ("train", "test"):
        samples, labels = [], []
        for recording in known.read(folder, part, of):
            step = np.floor(recording.times * steps / span).astype(np.int64)
            inside = (step >= 0) & (step < steps)
            position, channel = np.divmod(recording.neurons[inside], of.channels)
            y, x = np.divmod(position, of.width)
            spikes = np.zeros((steps, small.neurons), dtype=bool)
            spikes[step[inside], (y // scale * small.width + x // scale) * of.channels + channel] = True
            samples.append(packed(spikes))
            labels.append(recording.label)
            if report is not None:
                report(part, len(samples))
        parts.append(Split(images=np.array(samples), labels=np.array(labels, dtype=np.uint8)))
    train, test = parts
    return Dataset(name=form.value, **small.to_json(), steps=steps, train=train, test=test)

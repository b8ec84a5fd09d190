"""Recordings of event sensors: files as their owners write them, read event by event, or refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.model.encoder import unpacked
from lifstream.golden.study.datasets import Dataset
from lifstream.golden.study.own_data import load_data, save_spikes
from lifstream.golden.study.recordings import RecordingFormat, load_recordings

h5py = pytest.importorskip("h5py")


def atis(*events: tuple[int, int, int, int]) -> bytes:
    """N-MNIST's bytes of (column, row, polarity, microseconds)."""
    return b"".join(bytes([x, y, polarity << 7 | time >> 16, time >> 8 & 255, time & 255])
                    for x, y, polarity, time in events)


@pytest.fixture
def n_mnist(tmp_path: Path) -> Path:
    for part, digit, name, events in (
            ("Train", 3, "00001", ((33, 0, 1, 0), (2, 5, 0, 149_999), (2, 5, 0, 150_000), (2, 5, 1, 151_000))),
            ("Train", 7, "00002", ((1, 1, 1, 4_000), (0, 240, 0, 0), (1, 1, 1, 3_000), (4, 2, 0, 295_000))),
            ("Test", 0, "00001", ())):
        path = tmp_path / part / str(digit) / f"{name}.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(atis(*events))
    return tmp_path


def spikes(dataset: Dataset, part: str = "train") -> np.ndarray:
    """(count, T, height, width, channels)."""
    assert dataset.steps is not None
    split, shape = getattr(dataset, part), (dataset.height, dataset.width, dataset.channels)
    trains = unpacked(split.images, steps=dataset.steps, neurons=math.prod(shape))
    return trains.reshape(len(split), dataset.steps, *shape)


def places(trains: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(map(int, place)) for place in np.argwhere(trains)]


def test_n_mnist(n_mnist: Path) -> None:
    dataset = load_recordings(n_mnist, RecordingFormat.N_MNIST, steps=2)
    assert (dataset.name, dataset.height, dataset.width, dataset.channels, dataset.steps) == ("n-mnist", 34, 34, 2, 2)
    assert dataset.train.labels.tolist() == [3, 7]
    first, second = spikes(dataset)
    assert places(first) == [(0, 0, 33, 1), (0, 5, 2, 0), (1, 5, 2, 0), (1, 5, 2, 1)]
    # The clock ran over: 295 ms is 303 ms, after the end; 3 ms is 11 ms.
    assert places(second) == [(0, 1, 1, 1)]
    assert not spikes(dataset, "test").any()
    longer = load_recordings(n_mnist, RecordingFormat.N_MNIST, steps=100, seconds=0.4)
    assert [place[0] for place in places(spikes(longer)[1])] == [1, 2, 75]
    small = load_recordings(n_mnist, RecordingFormat.N_MNIST, steps=1, scale=17)
    assert places(spikes(small)[0]) == [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1)]


def test_dvs_gesture(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        folder = tmp_path / f"ibmGesture{part}" / "user01_led"
        folder.mkdir(parents=True)
        np.save(folder / "4.npy", np.array([[127, 3, 1, 500.0], [0, 0, 0, 1_250.0], [5, 6, 0, 2_100.0]]))
    dataset = load_recordings(tmp_path, RecordingFormat.DVS_GESTURE, steps=3)
    assert dataset.test.labels.tolist() == [4]
    assert places(spikes(dataset)[0]) == [(0, 3, 127, 1), (1, 0, 0, 0)]     # from the first event on; 1.6 s is too late


def test_spoken_digits(tmp_path: Path) -> None:
    for part in ("train", "test"):
        with h5py.File(tmp_path / f"shd_{part}.h5", "w") as file:
            ragged = h5py.vlen_dtype(np.float16), h5py.vlen_dtype(np.int16)
            times = file.create_dataset("spikes/times", (2,), dtype=ragged[0])
            units = file.create_dataset("spikes/units", (2,), dtype=ragged[1])
            times[0], units[0] = np.array([0.0, 0.5, 1.25], np.float16), np.array([0, 699, 3], np.int16)
            times[1], units[1] = np.array([0.25], np.float16), np.array([42], np.int16)
            file["labels"] = np.array([19, 2])
    dataset = load_recordings(tmp_path, RecordingFormat.SHD, steps=4)
    assert (dataset.height, dataset.width, dataset.channels, dataset.classes) == (1, 1, 700, 20)
    assert [places(each[:, 0, 0]) for each in spikes(dataset)] == [[(0, 0), (2, 699)], [(1, 42)]]


def test_archives_of_packed_spikes(n_mnist: Path) -> None:
    dataset = load_recordings(n_mnist, RecordingFormat.N_MNIST, steps=3)
    save_spikes(n_mnist / "d.npz", dataset)
    again = load_data(str(n_mnist / "d.npz"))
    assert (again.height, again.width, again.channels, again.steps) == (34, 34, 2, 3)
    assert (again.train.digest, again.test.digest) == (dataset.train.digest, dataset.test.digest)
    arrays = dict(np.load(n_mnist / "d.npz"))
    for changes, message in (({"packed_shape": [3, 34, 34, 0]}, "packed_shape: channels: 0 is out of bounds"),
                             ({"packed_shape": [4, 34, 34, 2]}, "train_packed has the shape"),
                             ({"train_labels": np.array([3, -1])}, "train_labels holds a label that is not in"),
                             ({"train_labels": np.zeros((2, 2), int)}, "train_labels is missing, or no list")):
        np.savez(n_mnist / "bad.npz", **(arrays | changes))
        with pytest.raises(InputError, match=message):
            load_data(str(n_mnist / "bad.npz"))


def test_what_is_no_recording(n_mnist: Path) -> None:
    def refuses(form: RecordingFormat, message: str, **choices: int) -> None:
        with pytest.raises(InputError, match=message):
            load_recordings(n_mnist, form, steps=2, **choices)

    refuses(RecordingFormat.N_MNIST, r"--scale: 3 does not divide the 34x34 pixels", scale=3)
    refuses(RecordingFormat.DVS_GESTURE, "has no folder ibmGestureTrain; name the one that holds it")
    refuses(RecordingFormat.SHD, r"shd_train\.h5: no such file")
    (n_mnist / "shd_train.h5").write_bytes(b"none")
    refuses(RecordingFormat.SHD, r"shd_train\.h5: is no recording of spoken digits")
    (n_mnist / "ibmGestureTrain" / "x").mkdir(parents=True)
    refuses(RecordingFormat.DVS_GESTURE, "ibmGestureTrain: holds no")
    (n_mnist / "ibmGestureTrain" / "x" / "1.npy").write_bytes(b"none")
    refuses(RecordingFormat.DVS_GESTURE, r"1\.npy: is no array of events")
    (n_mnist / "Train" / "3" / "00009.bin").write_bytes(atis((34, 0, 0, 0)))
    refuses(RecordingFormat.N_MNIST, r"00009\.bin: an event's column is 34, must be 0\.\.33")
    (n_mnist / "Train" / "3" / "00009.bin").write_bytes(b"1234")
    refuses(RecordingFormat.N_MNIST, r"00009\.bin: is no N-MNIST recording")

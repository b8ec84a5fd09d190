"""A user's own samples: an archive of NumPy arrays, or a folder of IDX files; and random ones for any network.

A data set is named by its place wherever one of :data:`lifstream.golden.study.datasets.DATASETS` may be named. Model
files keep the name that :func:`data_name` gives it; to use the images again, say their place again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import STEPS_MAX, NetworkSpec
from lifstream.golden.contract.readout import CLASSES_MAX
from lifstream.golden.contract.synapses import Conv, Local, Map, SumPool
from lifstream.golden.files import is_there, replace_file
from lifstream.golden.model.encoder import packed
from lifstream.golden.study.archive import INTEGERS, Arrays, read_arrays
from lifstream.golden.study.datasets import (
    DATASETS,
    Dataset,
    ImageShape,
    Split,
    idx_files,
    idx_split,
    load_dataset,
    together,
)

__all__ = ["RANDOM", "data_name", "data_shape", "load_data", "plain_name", "save_spikes"]

RANDOM = "random"
"""Names seeded random samples of the network's own shape, with random labels."""

_RANDOM_SAMPLES, _RANDOM_FEWEST = 1_000, 100
_RANDOM_BYTES = 1 << 29
"""No more memory is taken for random spikes, unless so few samples need it."""
_MEND = "write train_images, train_labels, test_images and test_labels, or spikes for images, with numpy.savez"
_PACKED = "packed_shape"
"""Array that says of packed spike trains what they are: steps, height, width, channels."""
_SHAPES = {"images": "(count, height, width) or (count, pixels)",
           "spikes": "(count, steps, neurons) or (count, steps, channels, height, width)", "labels": "(count,)"}


class _Shape(NamedTuple):
    """Of a part's samples."""

    height: int
    width: int
    channels: int = 1
    steps: int | None = None


def data_name(place: str) -> str:
    """A data set's name for model files: its own, or of a place that of the file or folder without its ending."""
    if place in DATASETS or place == RANDOM:
        return place
    path = Path(place)
    return plain_name(path.stem if path.suffix == ".npz" else path.resolve().name)


def plain_name(name: str) -> str:
    """The name with nothing but what names in model files may have."""
    return re.sub(r"[^\w .,+-]", "-", name, flags=re.ASCII)[:100] or "data"


def load_data(place: str, *, data_dir: Path | None = None, like: NetworkSpec | None = None) -> Dataset:
    """Load a data set by its name or place.

    Parameters
    ----------
    place
        A name of :data:`lifstream.golden.study.datasets.DATASETS`; an archive ``FILE.npz`` with the arrays
        ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or ``spikes`` instead of ``images``; a
        folder with the four IDX files of MNIST's names; or :data:`RANDOM`. Images are uint8 (count, height, width) or
        (count, pixels), spikes 0 or 1, (count, steps, neurons) or (count, steps, channels, height, width), labels
        integers (count,), 0..255.
    data_dir
        See :func:`lifstream.golden.study.datasets.load_dataset`.
    like
        The network that :data:`RANDOM` makes images for.

    Raises
    ------
    InputError
        No such name or place, a file that is damaged or lacks something, or random images for no network.
    """
    if place in DATASETS:
        return load_dataset(place, data_dir=data_dir)
    if place == RANDOM:
        if like is None:
            raise InputError(f"data set {RANDOM}: has the shape of a network; name a preset, a model or a contract")
        return _random(like)
    path = Path(place)
    if not is_there(path):
        raise InputError(f"data set {place!r} is unknown, neither a file FILE.npz nor a folder of IDX files, nor "
                         f"{RANDOM}, nor one of: {', '.join(DATASETS)}")
    status = path.stat()
    return _loaded(path, status.st_mtime_ns, status.st_size)


def data_shape(place: str, *, data_dir: Path | None = None) -> ImageShape:
    """The shape of a data set's images; raises as :func:`load_data`."""
    if place in DATASETS:
        return DATASETS[place]
    found = load_data(place, data_dir=data_dir)
    return ImageShape(height=found.height, width=found.width, classes=found.classes, channels=found.channels,
                      steps=found.steps)


@lru_cache(maxsize=1)
def _loaded(path: Path, changed: int, size: int) -> Dataset:  # noqa: ARG001 (a file that has changed is read anew)
    if path.is_dir():
        found = {part: idx_split(*idx_files(path, part)) for part in ("train", "test")}
        parts = {part: (split, _Shape(*size)) for part, (split, size) in found.items()}
    else:
        try:
            arrays = read_arrays(path)
        except InputError:
            raise InputError(f"{path}: no archive as numpy.savez writes them, or damaged; {_MEND}") from None
        parts = {part: _archived(path, arrays, part) for part in ("train", "test")}
    (train, shape), (test, other) = parts["train"], parts["test"]
    if shape != other:
        together(data_name(str(path)), train=(train, shape[:2]), test=(test, other[:2]))    # says what differs in size
        raise InputError(f"{path}: training samples and test samples are of other kinds, channels or steps; they do "
                         "not belong together")
    return Dataset(name=data_name(str(path)), **shape._asdict(), train=train, test=test)


def _archived(path: Path, arrays: Arrays, part: str) -> tuple[Split, _Shape]:
    """The samples of one part of an archive, and their shape."""
    if arrays.declared(_PACKED) is not None:
        return _packed(path, arrays, part)
    kinds = {"images": (2, 3), "spikes": (3, 5)}
    kind = "spikes" if any(arrays.declared(f"{each}_spikes") is not None for each in ("train", "test")) else "images"
    found: dict[str, NDArray[np.integer]] = {}
    for each, dimensions, highest in ((kind, kinds[kind], 1 if kind == "spikes" else CLASSES_MAX - 1),
                                      ("labels", (1,), CLASSES_MAX - 1)):
        name = f"{part}_{each}"
        declared = arrays.declared(name)
        if declared is None:
            raise InputError(f"{path}: {name} is missing; {_MEND}")
        shape, numbers = declared
        if len(shape) not in dimensions or 0 in shape or numbers.kind not in INTEGERS + "b":
            raise InputError(f"{path}: {name} has the shape {shape} and holds {numbers}, expected integers, "
                             f"{_SHAPES[each]}")
        found[each] = arrays.read(name, shape=shape, kinds=INTEGERS + "b")
        low, high = int(found[each].min()), int(found[each].max())
        if low < 0 or high > highest:
            raise InputError(f"{path}: {name} holds {low if low < 0 else high}, must be 0..{highest}")
    samples, labels = found[kind], found["labels"]
    if len(samples) != len(labels):
        raise InputError(f"{path}: {len(samples)} {part} {kind} but {len(labels)} labels; they do not belong together")
    if kind == "spikes":
        return _spike_trains(samples.astype(bool), labels.astype(np.uint8))
    height, width = samples.shape[1:] if samples.ndim == 3 else (1, samples.shape[1])
    return Split(images=samples.reshape(len(samples), -1).astype(np.uint8), labels=labels.astype(np.uint8)), _Shape(
        int(height), int(width))


def _packed(path: Path, arrays: Arrays, part: str) -> tuple[Split, _Shape]:
    """What :func:`save_spikes` wrote."""
    steps, height, width, channels = arrays.read(_PACKED, shape=(4,), kinds=INTEGERS).tolist()
    try:
        size = Events(map=Map(height=height, width=width, channels=channels)).sample_bytes(steps)
    except InputError as error:
        raise InputError(f"{path}: {_PACKED}: {error}") from None
    declared = arrays.declared(f"{part}_labels")
    if declared is None or len(declared[0]) != 1 or 0 in declared[0] or not 1 <= steps <= STEPS_MAX:
        raise InputError(f"{path}: {part}_labels is missing, or no list of labels, or {_PACKED} none of samples")
    count = declared[0][0]
    labels = arrays.read(f"{part}_labels", shape=(count,), kinds=INTEGERS)
    if not 0 <= int(labels.min()) <= int(labels.max()) < CLASSES_MAX:
        raise InputError(f"{path}: {part}_labels holds a label that is not in 0..{CLASSES_MAX - 1}")
    return Split(images=arrays.read(f"{part}_packed", shape=(count, size), kinds="u"),
                 labels=labels.astype(np.uint8)), _Shape(height, width, channels, steps)


def save_spikes(path: Path, dataset: Dataset) -> None:
    """Write a data set of spike trains where :func:`load_data` reads it, an eighth as large as ``spikes`` would be."""
    arrays: dict[str, NDArray[Any]] = {_PACKED: np.array(
        [dataset.steps, dataset.height, dataset.width, dataset.channels])}
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        arrays |= {f"{part}_packed": split.images, f"{part}_labels": split.labels}
    with replace_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _spike_trains(spikes: NDArray[np.bool_], labels: NDArray[np.uint8]) -> tuple[Split, _Shape]:
    """Spike trains, (count, T, neurons) or (count, T, channels, height, width), as a data set keeps them."""
    count, steps = spikes.shape[:2]
    if spikes.ndim == 3:
        shape = _Shape(1, 1, spikes.shape[2], steps)
    else:
        shape = _Shape(spikes.shape[3], spikes.shape[4], spikes.shape[2], steps)
        spikes = np.moveaxis(spikes, 2, -1)     # ours are numbered channel last
    return Split(images=packed(spikes.reshape(count, steps, -1)), labels=labels), shape


def _random(like: NetworkSpec) -> Dataset:
    """Samples for a network; the same for every one of a shape."""
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([1, like.inputs])))
    count = max(_RANDOM_FEWEST, min(_RANDOM_SAMPLES, _RANDOM_BYTES // (8 * like.sample_bytes)))
    make = _random_spikes if isinstance(like.input, Events) else _random_images
    train, test = (Split(images=make(like, count, random),
                         labels=random.randint(0, like.classes, count).astype(np.uint8)) for _ in range(2))
    if isinstance(like.input, Events):
        of = like.input.map
        return Dataset(name=RANDOM, height=of.height, width=of.width, channels=of.channels, steps=like.steps,
                       train=train, test=test)
    first = like.layers[0].synapses
    height = first.inputs.height if isinstance(first, Conv | Local | SumPool) else 1
    return Dataset(name=RANDOM, height=height, width=like.inputs // height, train=train, test=test)


def _random_images(like: NetworkSpec, count: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Images of which a third of the pixels are silent and some saturated."""
    images = random.randint(0, 256, (count, like.inputs))
    images[random.random_sample(images.shape) < 0.3] = 0
    images[random.random_sample(images.shape) < 0.1] = 255
    return images.astype(np.uint8)


def _random_spikes(like: NetworkSpec, count: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Spike trains of which a third of the neurons are silent, the others of any rate up to one in five steps."""
    samples = np.empty((count, like.sample_bytes), dtype=np.uint8)
    for index in range(count):
        rates = random.random_sample(like.inputs) * 0.2
        rates[random.random_sample(like.inputs) < 0.3] = 0
        samples[index] = packed(random.random_sample((like.steps, like.inputs)) < rates)
    return samples

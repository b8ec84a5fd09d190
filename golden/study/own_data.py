"""A user's own images: an archive of NumPy arrays, or a folder of IDX files; and random ones for any network.

A data set is named by its place wherever one of :data:`lifstream.golden.study.datasets.DATASETS` may be named. Model
files keep the name that :func:`data_name` gives it; to use the images again, say their place again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.readout import CLASSES_MAX
from lifstream.golden.contract.synapses import Conv, Local, SumPool
from lifstream.golden.files import is_there
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

__all__ = ["RANDOM", "data_name", "data_shape", "load_data", "plain_name"]

RANDOM = "random"
"""Names seeded random images of the network's own shape, with random labels."""

_RANDOM_IMAGES = 1_000
_MEND = "write train_images, train_labels, test_images and test_labels with numpy.savez"


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
        ``train_images``, ``train_labels``, ``test_images``, ``test_labels``; a folder with the four IDX files of
        MNIST's names; or :data:`RANDOM`. Images are uint8 (count, height, width) or (count, pixels), labels integers
        (count,), 0..255.
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
    return ImageShape(height=found.height, width=found.width, classes=found.classes)


@lru_cache(maxsize=1)
def _loaded(path: Path, changed: int, size: int) -> Dataset:  # noqa: ARG001 (a file that has changed is read anew)
    if path.is_dir():
        parts = {part: idx_split(*idx_files(path, part)) for part in ("train", "test")}
    else:
        try:
            arrays = read_arrays(path)
        except InputError:
            raise InputError(f"{path}: no archive as numpy.savez writes them, or damaged; {_MEND}") from None
        parts = {part: _archived(path, arrays, part) for part in ("train", "test")}
    return together(data_name(str(path)), **parts)


def _archived(path: Path, arrays: Arrays, part: str) -> tuple[Split, tuple[int, int]]:
    """The images of one part of an archive, and their height and width."""
    found: dict[str, NDArray[np.integer]] = {}
    for kind, dimensions in (("images", (2, 3)), ("labels", (1,))):
        name = f"{part}_{kind}"
        declared = arrays.declared(name)
        if declared is None:
            raise InputError(f"{path}: {name} is missing; {_MEND}")
        shape, numbers = declared
        if len(shape) not in dimensions or 0 in shape or numbers.kind not in INTEGERS:
            raise InputError(f"{path}: {name} has the shape {shape} and holds {numbers}, expected integers, "
                             + ("(count, height, width) or (count, pixels)" if kind == "images" else "(count,)"))
        found[kind] = arrays.read(name, shape=shape, kinds=INTEGERS)
        low, high = int(found[kind].min()), int(found[kind].max())
        highest = CLASSES_MAX - 1   # a pixel is a byte, too
        if low < 0 or high > highest:
            raise InputError(f"{path}: {name} holds {low if low < 0 else high}, must be 0..{highest}")
    images, labels = found["images"], found["labels"]
    if len(images) != len(labels):
        raise InputError(f"{path}: {len(images)} {part} images but {len(labels)} labels; they do not belong together")
    height, width = images.shape[1:] if images.ndim == 3 else (1, images.shape[1])
    return Split(images=images.reshape(len(images), -1).astype(np.uint8), labels=labels.astype(np.uint8)), (
        int(height), int(width))


def _random(like: NetworkSpec) -> Dataset:
    """Images of which a third of the pixels are silent and some saturated; the same for every network of a shape."""
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([1, like.inputs])))
    splits = []
    for _ in range(2):
        images = random.randint(0, 256, (_RANDOM_IMAGES, like.inputs))
        images[random.random_sample(images.shape) < 0.3] = 0
        images[random.random_sample(images.shape) < 0.1] = 255
        splits.append(Split(images=images.astype(np.uint8),
                            labels=random.randint(0, like.classes, _RANDOM_IMAGES).astype(np.uint8)))
    first = like.layers[0].synapses
    height = first.inputs.height if isinstance(first, Conv | Local | SumPool) else 1
    return Dataset(name=RANDOM, height=height, width=like.inputs // height, train=splits[0], test=splits[1])

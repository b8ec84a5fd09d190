"""Data sets: MNIST and Fashion-MNIST from IDX files; the UCI digits, which lie beside this module.

IDX files are looked for in the folder given, in ``$LIFSTREAM_DATA``, in ``../shared/data`` and in
the user's cache; what is found nowhere is downloaded into the cache, and accepted only if the
SHA-256 of the *decompressed* content is the known one (mirrors compress differently).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import is_there, largest_content, read_up_to
from lifstream.golden.study.event_camera import STEPS, seen_by_events, sensor

__all__ = ["DATASETS", "Dataset", "ImageShape", "Split", "idx_files", "idx_split", "images_at_hand", "load_dataset",
           "read_idx", "together"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels."""

    images: NDArray[np.uint8]
    """uint8 (count, pixels): intensities 0..255, row by row."""
    labels: NDArray[np.uint8]
    """uint8 (count,): class indices."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits that identify images and labels."""
        state = hashlib.sha256(repr(self.images.shape).encode())
        state.update(np.ascontiguousarray(self.images).data)
        state.update(np.ascontiguousarray(self.labels).data)
        return state.hexdigest()

    def __getitem__(self, index: slice | NDArray[np.integer]) -> Split:
        return Split(images=self.images[index], labels=self.labels[index])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A named data set; images are ``height x width``, of one channel.

    With ``steps`` samples are spike trains of so many time steps instead, of a map of ``channels``, packed
    (:class:`lifstream.golden.contract.input.Events`).
    """

    name: str
    height: int
    width: int
    train: Split
    test: Split
    channels: int = 1
    steps: int | None = None

    @property
    def classes(self) -> int:
        """One more than the highest label."""
        return 1 + max(int(self.train.labels.max()), int(self.test.labels.max()))

    def require_fit(self, spec: NetworkSpec, *, who: str = "the model") -> None:
        """Raise InputError when the samples are not those that a network takes, or of more classes."""
        events = isinstance(spec.input, Events)
        if events != (self.steps is not None):
            holds, takes = ("images", "events") if events else ("events", "images")
            raise InputError(f"data set {self.name}: holds {holds}, but {who} takes {takes}")
        pixels = self.height * self.width * self.channels
        if pixels != spec.inputs:
            raise InputError(f"data set {self.name}: {pixels} {'neurons' if events else 'pixels'}, but {who} takes "
                             f"{spec.inputs}")
        of = spec.input.map if isinstance(spec.input, Events) else None
        shape = (self.height, self.width, self.channels)
        if of is not None and shape not in ((of.height, of.width, of.channels), (1, 1, pixels)):
            raise InputError(f"data set {self.name}: a map of {shape[0]}x{shape[1]}x{shape[2]}, but {who} takes {of}")
        if events and self.steps != spec.steps:
            raise InputError(f"data set {self.name}: {self.steps} time steps, but {who} takes {spec.steps}")
        if self.classes > spec.classes:
            raise InputError(f"data set {self.name}: {self.classes} classes, but {who} tells {spec.classes} apart")

    def split_validation(self, count: int, seed: int) -> tuple[Split, Split]:
        """Hold out ``count`` random training images, 0 for none: (training, validation).

        Raises
        ------
        InputError
            ``count`` leaves nothing to train on.
        """
        if not 0 <= count < len(self.train):
            raise InputError(f"validation: {count} images of {len(self.train)}, "
                             f"must be 0..{len(self.train) - 1}")
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 1])))
        order = random.permutation(len(self.train))
        cut = len(order) - count
        return self.train[order[:cut]], self.train[order[cut:]]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where an IDX data set comes from: mirrors, and SHA-256 of each decompressed file."""

    mirrors: tuple[str, ...]
    sha256: dict[str, str]


_STEMS = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
          "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
"""Names of the files of images and labels, by part."""
_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS = (stem for stems in _STEMS.values() for stem in stems)

_SOURCES = {
    "mnist": _Source(
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/",
                 "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        sha256={
            _TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            _TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            _TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            _TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        }),
    "fashion-mnist": _Source(
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                 "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
        sha256={
            _TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            _TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            _TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            _TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        }),
}


class ImageShape(NamedTuple):
    """What is known of a data set without its files."""

    height: int
    width: int
    classes: int
    channels: int = 1
    steps: int | None = None
    """Of spike trains; None: images."""


_IMAGES = {"digits": ImageShape(height=8, width=8, classes=10),
           **dict.fromkeys(_SOURCES, ImageShape(height=28, width=28, classes=10))}

_SEEN = {"events-digits": "digits", "events-mnist": "mnist"}
"""Data sets of events, and the images that a camera looks at for them (:mod:`lifstream.golden.study.event_camera`)."""


def _seen_shape(image: ImageShape) -> ImageShape:
    return ImageShape(**sensor(image.height, image.width).to_json(), classes=image.classes, steps=STEPS)


DATASETS = {**_IMAGES, **{name: _seen_shape(_IMAGES[images]) for name, images in _SEEN.items()}}
"""Names :func:`load_dataset` knows, and the shapes of their samples."""


_MOST_DIMENSIONS = 3


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip-compressed or not.

    Returns
    -------
    uint8 array of the shape the file declares.

    Raises
    ------
    InputError
        The file is unreadable, corrupt, truncated, too long, or not IDX; the message names it.
    """
    content = _content(path)
    shape = _promised(content, path)
    expected = 4 + 4 * len(shape) + math.prod(shape)
    if len(content) != expected:
        state = f"truncated, {len(content)} bytes" if len(content) < expected else "too long, more bytes"
        raise InputError(f"{path}: {state} where the header promises {expected}; replace the file")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _promised(content: bytearray, path: Path) -> tuple[int, ...]:
    """The shape that an IDX file's header declares; raises as :func:`read_idx`."""
    if len(content) < 4 or content[0] != 0 or content[1] != 0 or content[2] != 8 or content[3] == 0:
        raise InputError(f"{path}: magic number {content[:4].hex()} is not that of an IDX file of bytes "
                         "(000008nn); replace the file")
    dimensions = content[3]
    if dimensions > _MOST_DIMENSIONS:
        raise InputError(f"{path}: {dimensions} dimensions, images have 3 and labels 1; replace the file")
    if len(content) < 4 + 4 * dimensions:
        raise InputError(f"{path}: truncated, {len(content)} bytes are no header; replace the file")
    return tuple(int(size) for size in np.frombuffer(content, dtype=">u4", offset=4, count=dimensions))


def _content(path: Path) -> bytearray:
    """A file's bytes, decompressed if need be: as many as its header promises, and one more if there is one.

    A header that promises more than such a file can be believed to hold is refused; other errors as in
    :func:`read_idx`.
    """
    try:
        with path.open("rb") as packed:
            compressed = packed.read(2) == b"\x1f\x8b"
            packed.seek(0)
            with gzip.open(packed) if compressed else packed as stream:
                content = read_up_to(stream, 4 + 4 * _MOST_DIMENSIONS)
                shape = _promised(content, path)
                promised, most = 4 + 4 * len(shape) + math.prod(shape), largest_content(path.stat().st_size)
                if promised > most:
                    raise InputError(f"{path}: promises {promised:,} bytes, more than a file of its size can be "
                                     "believed to hold; replace the file")
                content += read_up_to(stream, promised + 1 - len(content))
                return content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); replace the file") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into the memory of this machine; replace the file") from None


def _find(folder: Path, stem: str) -> Path | None:
    for name in (f"{stem}.gz", stem):
        if is_there(folder / name) and (folder / name).is_file():
            return folder / name
    return None


def _candidate_folders(name: str) -> Iterator[Path]:
    if environment := os.environ.get("LIFSTREAM_DATA"):
        yield Path(environment) / name
    yield Path("..", "shared", "data", name)
    yield _cache(name)


def _cache(name: str) -> Path:
    return Path(platformdirs.user_cache_dir("lifstream")) / "data" / name


def _download(name: str, stem: str) -> Path:
    """Fetch one file into the cache; an unverified file is never left there."""
    import pooch  # imported late: it costs 0.2 s that only a first run has to pay

    source, folder = _SOURCES[name], _cache(name)
    pooch.get_logger().setLevel("ERROR")
    reasons = []
    for mirror in source.mirrors:
        url, partial = f"{mirror}{stem}.gz", f"{stem}.gz.part"
        try:
            path = Path(pooch.retrieve(url=url, known_hash=None, fname=partial, path=folder))
            digest = hashlib.sha256(_content(path)).hexdigest()
        except Exception as error:  # pooch passes on whatever its transport raised
            reasons.append(f"{url}: {type(error).__name__}")
            continue
        finally:
            verified = folder / partial
        if digest == source.sha256[stem]:
            return verified.rename(folder / f"{stem}.gz")
        verified.unlink()
        reasons.append(f"{url}: wrong SHA-256")
    raise InputError(f"{stem} of {name} was found in no data folder and could not be downloaded "
                     f"({'; '.join(reasons)}); put the IDX files into FOLDER/{name} and pass --data-dir FOLDER")


def _locate(name: str, stem: str, data_dir: Path | None) -> Path:
    if data_dir is not None:
        folders = [data_dir / name, data_dir]
        for folder in folders:
            if path := _find(folder, stem):
                return path
        raise InputError(f"{data_dir}: holds no {stem}(.gz), neither directly nor in {name}/; "
                         "check --data-dir")
    for folder in _candidate_folders(name):
        if path := _find(folder, stem):
            return path
    return _download(name, stem)


def idx_files(folder: Path, part: str) -> tuple[Path, Path]:
    """The files of images and labels of a folder's part, ``train`` or ``test``; raises InputError without them."""
    found = []
    for stem in _STEMS[part]:
        path = _find(folder, stem)
        if path is None:
            raise InputError(f"{folder}: holds no {stem}(.gz); put the four IDX files there, named as MNIST's")
        found.append(path)
    return found[0], found[1]


def idx_split(images_path: Path, labels_path: Path) -> tuple[Split, tuple[int, int]]:
    """Images and labels of two IDX files, and the images' height and width.

    Raises
    ------
    InputError
        A file is corrupt, or the two do not belong together.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3:
        raise InputError(f"{images_path}: {images.ndim} dimensions, images need 3; replace the file")
    if labels.ndim != 1:
        raise InputError(f"{labels_path}: {labels.ndim} dimensions, labels need 1; replace the file")
    if len(images) != len(labels):
        raise InputError(f"{images_path} holds {len(images)} images but {labels_path} {len(labels)} labels; "
                         "the two files do not belong together")
    if not images.size:
        raise InputError(f"{images_path}: holds no images; replace the file")
    count, height, width = images.shape
    return Split(images=images.reshape(count, height * width), labels=labels), (height, width)


def together(name: str, *, train: tuple[Split, tuple[int, int]], test: tuple[Split, tuple[int, int]]) -> Dataset:
    """Both parts of a data set, each with its images' height and width; raises InputError where these differ."""
    (height, width), (test_height, test_width) = train[1], test[1]
    if train[1] != test[1]:
        raise InputError(f"{name}: training images are {height}x{width}, test images "
                         f"{test_height}x{test_width}; the files do not belong together")
    return Dataset(name=name, height=height, width=width, train=train[0], test=test[0])


def images_at_hand(name: str, *, data_dir: Path | None = None) -> Split | None:
    """The test images of a data set by name if they are on this machine, None if they would have to be downloaded.

    Raises
    ------
    InputError
        A file is corrupt.
    """
    if name == "digits":
        return _load_digits().test
    if name not in _SOURCES:
        return None
    folders = list(_candidate_folders(name)) if data_dir is None else [data_dir / name, data_dir]
    for folder in folders:
        images, labels = (_find(folder, stem) for stem in _STEMS["test"])
        if images is not None and labels is not None:
            return idx_split(images, labels)[0]
    return None


_DIGITS = Path(__file__).with_name("digits.npz")


def _load_digits() -> Dataset:
    """UCI digits: 1,797 images of 8 x 8 pixels of 17 grey levels; a fixed random fifth is the test split.

    The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning
    Repository, CC BY 4.0, doi 10.24432/C50P49).
    """
    with np.load(_DIGITS, allow_pickle=False) as file:
        images = (file["images"].reshape(-1, 64).astype(np.int64) * 255 // 16).astype(np.uint8)
        labels = file["labels"]
    order = np.random.RandomState(np.random.MT19937(0)).permutation(len(labels))
    whole = Split(images=images[order], labels=labels[order])
    return Dataset(name="digits", height=8, width=8, train=whole[:-360], test=whole[-360:])


def _seen(name: str, images: Dataset) -> Dataset:
    """What an event camera sends of images."""
    def of(split: Split) -> Split:
        return Split(images=seen_by_events(split.images, height=images.height, width=images.width), labels=split.labels)

    return Dataset(name=name, **sensor(images.height, images.width).to_json(), steps=STEPS, train=of(images.train),
                   test=of(images.test))


def load_dataset(name: str, *, data_dir: Path | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name
        One of :data:`DATASETS`.
    data_dir
        Folder that holds the IDX files, directly or in a sub-folder of the data set's name. When
        given, no other place is searched and nothing is downloaded.

    Raises
    ------
    InputError
        Unknown name, missing or corrupt files, or a download that failed.
    """
    if name in _SEEN:
        return _seen(name, load_dataset(_SEEN[name], data_dir=data_dir))
    if name == "digits":
        return _load_digits()
    if name not in _SOURCES:
        raise InputError(f"data set {name!r} is unknown, choose one of: {', '.join(DATASETS)}")
    parts = {}
    for part, (images_stem, labels_stem) in _STEMS.items():
        labels_path = _locate(name, labels_stem, data_dir)
        split, _ = parts[part] = idx_split(_locate(name, images_stem, data_dir), labels_path)
        if split.labels.max() >= DATASETS[name].classes:
            raise InputError(f"{labels_path}: label {split.labels.max()}, must be 0..{DATASETS[name].classes - 1}; "
                             "replace the file")
    return together(name, **parts)

"""NumPy archives with a JSON header, as models and checkpoints are kept in; read without trusting them."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.files import largest_content, parse_json, read_up_to, replace_file

__all__ = ["FORMAT", "INTEGERS", "REALS", "Arrays", "read_archive", "require_field", "require_integer",
           "require_integers", "shown", "write_archive"]

FORMAT = 1
"""Of the archives; raise it when their meaning changes."""

INTEGERS, REALS = "iu", "f"
"""NumPy's letters for kinds of numbers."""

_MEND = "write it anew with 'lifstream train'"

_MOST_MEMBERS = 64
"""Two networks of seven layers have half as many arrays."""

_MOST_AT_ONCE = 1 << 21
"""Largest piece of a file that is read at once: more than the directory of so few members takes."""

# Version 1.0 of the format, as NumPy writes arrays of plain numbers: no objects, which run code, and no records.
_NPY = re.compile(rb"\x93NUMPY\x01\x00(..)\{'descr': '([<>|][iuf][1248]|\|b1)', 'fortran_order': (True|False), "
                  rb"'shape': \(([\d, ]{0,60})\), \} *\n", re.DOTALL)
_LONGEST_NPY = 256

_DAMAGED = (ValueError, KeyError, EOFError, AttributeError, TypeError, OverflowError, RuntimeError,
            struct.error, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive raises; RuntimeError covers encryption and methods that zipfile does not know."""


_Field = TypeVar("_Field")


def shown(value: object) -> str:
    """A value from a file as part of a message: one line, and not a long one."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def require_field(values: Mapping[str, Any], name: str, kind: type[_Field], path: Path) -> _Field:
    """A field of a header, which must be of this type; raises InputError when it is not there or is not."""
    value = values.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path}: field {name!r} of its header is missing or malformed; the file is corrupt")
    return value


def require_integers(values: Mapping[str, Any], name: str, low: int, high: int, path: Path, *,
                     counts: Container[int]) -> list[int]:
    """A list of integers in a header, each within ``low..high``, with one of these ``counts``; raises likewise."""
    entries = require_field(values, name, list, path)
    if len(entries) not in counts or not all(type(entry) is int and low <= entry <= high for entry in entries):
        raise InputError(f"{path}: field {name!r} of its header is not what it must be; the file is corrupt")
    return entries


def require_integer(values: Mapping[str, Any], name: str, low: int, high: int, path: Path) -> int:
    """An integer in a header, within ``low..high``; raises likewise."""
    return require_integers({name: [values.get(name)]}, name, low, high, path, counts=[1])[0]


def write_archive(path: Path, header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a NumPy ``.npz`` archive with a JSON ``header``, whole or not at all."""
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    with replace_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, header=text, **arrays)


class _Bounded(io.BufferedReader):
    """A file of which nobody reads much at once: a directory that claims gigabytes is not taken into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(_MOST_AT_ONCE + 1 if size is None or size < 0 else min(size, _MOST_AT_ONCE + 1))
        if len(content) > _MOST_AT_ONCE:
            raise zipfile.BadZipFile
        return content


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it in the block becomes one InputError."""
    try:
        with _Bounded(io.FileIO(path)) as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into the memory of this machine") from None
    except _DAMAGED:
        raise InputError(f"{path}: not a lifstream file, or corrupt; {_MEND}") from None


@dataclass(frozen=True, kw_only=True)
class _Member:
    """An array in an archive: how to find and to read it."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    start: int
    """Bytes before the numbers."""

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, archive: zipfile.ZipFile) -> NDArray[Any]:
        """The numbers; to the end, where the checksum is compared."""
        with archive.open(self.info) as stream:
            read_up_to(stream, self.start)
            content = read_up_to(stream, self.size + 1)
        if len(content) != self.size:
            raise EOFError
        return np.frombuffer(content, dtype=self.dtype).reshape(self.shape, order=self.order)  # type: ignore[call-overload,no-any-return]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    """Look at an array's header only; raises one of ``_DAMAGED`` when it is not one that NumPy writes for us."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or not info.filename.endswith(".npy"):
        raise ValueError
    with archive.open(info) as stream:
        found = _NPY.match(read_up_to(stream, _LONGEST_NPY))
    if found is None or found.end() != 10 + int.from_bytes(found[1], "little"):
        raise ValueError
    member = _Member(info=info, shape=tuple(map(int, re.findall(rb"\d+", found[4]))),
                     dtype=np.dtype(found[2].decode()), order="F" if found[3] == b"True" else "C", start=found.end())
    if member.start + member.size != info.file_size:
        raise ValueError
    return member


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an archive by name. Each is read when it is asked for.

    Parameters
    ----------
    path
        The archive.
    members
        What is in it.
    """

    def __init__(self, path: Path, members: dict[str, _Member]) -> None:
        self._path, self._members = path, members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._members[name]
        with _opened(self._path) as archive:
            return member.read(archive)

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        """An array's shape and kind of numbers, None where there is none of that name."""
        member = self._members.get(name)
        return None if member is None else (member.shape, member.dtype)

    def read(self, name: str, *, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
        """An array that must have this shape and this kind of numbers; they are looked at before it is read.

        Raises
        ------
        InputError
            It is missing, of another shape or kind, or holds numbers that are none.
        """
        member = self._members.get(name)
        if member is None:
            raise InputError(f"{self._path}: {name} is missing; {_MEND}")
        if member.shape != shape or member.dtype.kind not in kinds:
            raise InputError(f"{self._path}: {name} has the shape {member.shape} and holds {member.dtype}, expected "
                             f"{shape} and {'integers' if kinds == INTEGERS else 'real numbers'}; {_MEND}")
        array = self[name]
        if not np.isfinite(array).all():
            raise InputError(f"{self._path}: {name} holds numbers that are not finite; {_MEND}")
        return array

    def require_only(self, names: set[str]) -> None:
        """Raise InputError when there is an array that is not among ``names``."""
        if unknown := sorted(set(self) - names):
            raise InputError(f"{self._path}: unknown array {unknown[0][:40]!r}; {_MEND}")


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, _Member]:
    """The arrays of an archive, which together are no larger than can be believed."""
    infos, size = archive.infolist(), path.stat().st_size
    total = sum(info.file_size for info in infos)
    if total > largest_content(size):
        raise InputError(f"{path}: its {size:,} bytes claim to unpack to {total:,}, which no network's weights do; "
                         f"{_MEND}")
    if not len(set(archive.namelist())) == len(infos) <= _MOST_MEMBERS:
        raise zipfile.BadZipFile
    return {info.filename.removesuffix(".npy"): _member(archive, info) for info in infos}


def read_arrays(path: Path) -> Arrays:
    """The arrays of any archive that ``numpy.savez`` wrote; raises InputError as :func:`read_archive`."""
    with _opened(path) as archive:
        return Arrays(path, _members(path, archive))


def read_archive(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Read the header of what :func:`write_archive` wrote, and look at its arrays.

    What the archive takes of the memory is bounded before anything is unpacked: the arrays by
    :func:`lifstream.golden.files.largest_content`, the header by 8 MiB or 16 times the file's size, and each array by
    the shape that its reader expects.

    Raises
    ------
    InputError
        The file is missing, corrupt, of another kind, or unpacks to more than a file of its size can be believed to
        hold.
    """
    with _opened(path) as archive:
        size, members = path.stat().st_size, _members(path, archive)
        first = members.pop("header")
        if first.dtype != np.uint8 or first.size > largest_content(size, ratio=16, always=1 << 23):
            raise ValueError
        header = parse_json(first.read(archive).tobytes())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: file format is not {FORMAT}; {_MEND}")
    return header, Arrays(path, members)

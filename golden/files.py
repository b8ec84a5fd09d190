"""Writing files whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lifstream.golden.spec import InputError

__all__ = ["digest_of_files", "make_folder", "replace_file", "write_text"]


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; raises as :func:`replace_file`."""
    with replace_file(path) as stream:
        stream.write(text.encode())


def digest_of_files(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits of the files' contents: names what is made from these sources in a cache."""
    state = hashlib.sha256()
    for path in paths:
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()[:16]


def make_folder(path: Path) -> Path:
    """Create ``path`` with its parents and see that it can be written.

    Raises
    ------
    InputError
        It cannot be created, is a file, or may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"{path}: the output folder cannot be written ({error.strerror}); "
                         "choose another") from None
    return path

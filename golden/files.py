"""Files: written whole or not at all, and read with bounded memory whatever they hold."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lifstream.golden.contract.errors import InputError

__all__ = ["digest_of_files", "is_there", "largest_content", "make_folder", "parse_json", "read_up_to", "replace_file",
           "require_place", "write_text"]

_CHUNK = 1 << 20


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


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises
    ------
    InputError
        The name is too long, a folder on the way may not be entered, or links lead round in a circle.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be looked at ({error.strerror}); choose another") from None
    return True


def largest_content(size: int, *, ratio: int = 64, always: int = 1 << 28) -> int:
    """Bytes that a compressed file of ``size`` bytes is believed to hold: ``ratio`` times as many, or ``always``.

    Images and weights compress by less than ten; what claims far more is an attack on the memory. Small files may
    be as monotonous as they like.
    """
    return max(always, ratio * size)


def read_up_to(stream: IO[bytes] | io.BufferedIOBase, count: int) -> bytearray:
    """At most ``count`` bytes of a stream; memory grows only with what really comes."""
    content = bytearray()
    while len(content) < count and (chunk := stream.read(min(_CHUNK, count - len(content)))):
        content += chunk
    return content


def parse_json(text: str | bytes | bytearray) -> Any:
    """Parse JSON from a file; raises ValueError when it is malformed, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def require_place(path: Path, *, beside: str = "") -> None:
    """See to it before hours of work that a file can be written; its folder is made.

    Parameters
    ----------
    path
        The file.
    beside
        The longest ending of the files that will stand beside it, named after it.

    Raises
    ------
    InputError
        It is a folder or a device, its name is too long, or its folder cannot be written.
    """
    if is_there(path) and path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if is_there(path) and not path.is_file():
        raise InputError(f"{path}: is no regular file, and would be replaced by one; name another")
    make_folder(path.parent)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}{beside}."):  # as replace_file names it
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


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

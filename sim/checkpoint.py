"""What a checkpoint of a co-simulation must hold; looked at before a simulator is started with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import COUNTERS
from lifstream.golden.study.archive import read_archive, require_field, require_integer, require_integers
from lifstream.golden.study.model_files import network_arrays, network_from

__all__ = ["POINT", "require_checkpoint"]

POINT = "point.npz"
"""File, where a bench runs, from which a divergence can be replayed: less than a checkpoint, resumed like one."""

_COUNTED = {"images", "count", "correct", "learning", "clocks", *COUNTERS}
"""What is known of each batch, at least."""

_MOST = 1 << 62


def require_checkpoint(path: Path, *, run: str, spec: NetworkSpec, played: Sequence[int]) -> int:
    """See that a checkpoint is one of this very run, and whole; returns how many images it has played.

    Parameters
    ----------
    path
        The checkpoint.
    run
        Name of the run: what it starts with, and what is played.
    spec
        The contract.
    played
        Images of each segment of the run.

    Raises
    ------
    InputError
        It belongs to another run, or is corrupt.
    """
    header, arrays = read_archive(path)
    if header.get("kind") != "cosim checkpoint" or header.get("run") != run:
        raise InputError(f"{path}: belongs to another run; delete it or drop --resume")
    arrays.require_only(network_arrays(spec))
    network_from(arrays, spec, path)
    require_integers(header, "random_states", 1, 0xFFFF_FFFF, path, counts=[len(spec.random_seeds)])
    state = require_field(header, "state", dict, path)
    segment = require_integer(state, "segment_index", 0, len(played) - 1, path)
    start = require_integer(state, "start", 0, played[segment], path)
    require_integer(state, "right", 0, start, path)
    require_integer(state, "cycles", 0, _MOST, path)
    done = require_integer(state, "played", sum(played[:segment]) + start, sum(played[:segment]) + start, path)
    require_integers(state, "predictions", -1, spec.classes - 1, path, counts=[done])
    segments = require_field(state, "segments", list, path)
    history = require_field(state, "history", list, path)
    if len(segments) != segment or not all(
            isinstance(entry, dict) and isinstance(entry.get("split"), str) and type(entry.get("learning")) is bool
            and type(entry.get("images")) is int and isinstance(entry.get("accuracy"), int | float)
            for entry in segments):
        raise InputError(f"{path}: field 'segments' of its header is not what it must be; the file is corrupt")
    if not history or not all(
            isinstance(entry, dict) and set(entry) >= _COUNTED
            and all(isinstance(value, int) and 0 <= value <= _MOST for value in entry.values()) for entry in history):
        raise InputError(f"{path}: field 'history' of its header is not what it must be; the file is corrupt")
    return done

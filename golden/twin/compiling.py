"""The compiler, and the model's operations as compiled code knows them.

Functions are compiled for the numbers they are called with: integers, equal bit for bit to the model, whose very
operations and steps are what is compiled; and real numbers, the float model that the integers are compared with. What
differs between the two, decay and the scaling of an update, is chosen by type.

Compiled code is kept in the user's cache folder, under a hash of the sources it was made from, because
numba notices a change of one file only, not of the functions it takes from others.
"""

# The functions are typed by numba from their arguments; annotations would say less than the docstrings do.
# mypy: disallow-untyped-defs=false, disallow-incomplete-defs=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import platformdirs
from numba import types
from numba.extending import overload

from lifstream.golden.contract.errors import InputError
from lifstream.golden.files import digest_of_files, make_folder
from lifstream.golden.model import operations

__all__ = ["jit", "of_neuron", "rounding_word", "scaled"]


def _compiler() -> Callable[[Callable[..., Any]], Any]:
    """numba's decorator, with a cache folder of its own for each state of the sources that are compiled."""
    twin = Path(__file__).parent  # compiled are its own functions and the model's, which is all it may import
    sources = digest_of_files(sorted(path for room in (twin, twin.with_name("model")) for path in room.rglob("*.py")))
    try:
        folder = make_folder(Path(platformdirs.user_cache_dir("lifstream")) / "kernels" / sources)
    except InputError:  # without a place for a cache, compile anew in each process
        return numba.njit(nogil=True)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return numba.njit(cache=True, nogil=True)


jit = _compiler()

_leak, _decay = numba.njit(operations.leak), numba.njit(operations.decay)
_scaled_up = numba.njit(operations.scaled_up)
_half_up, _random = numba.njit(operations.round_shift), numba.njit(operations.round_shift_random)
_xorshift32 = numba.njit(operations.xorshift32)


@overload(operations.leak)
def _compiled_leak(value, leak_shift):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, leak_shift: _leak(value, leak_shift)
    return lambda value, leak_shift: value * (1 - 2.0**-leak_shift)


@overload(operations.decay)
def _compiled_decay(value, numerator, shift):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, numerator, shift: _decay(value, numerator, shift)
    return lambda value, numerator, shift: value * (numerator * 2.0**-shift)


@overload(operations.scaled_up)
def _compiled_scaled_up(value, bits):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, bits: _scaled_up(value, bits)
    return lambda value, bits: value  # noqa: ARG005 (real numbers have no LSB)


@overload(operations.clamp)
def _compiled_clamp(value, low, high):  # noqa: ARG001
    return lambda value, low, high: min(max(value, low), high)


@overload(operations.at_least)
def _compiled_at_least(value, low):  # noqa: ARG001
    return lambda value, low: max(value, low)


def of_neuron(value, neuron):  # noqa: ARG001
    """A neuron's own value out of an array, or the one that all have."""
    return value


@overload(of_neuron)
def _compiled_of_neuron(value, neuron):  # noqa: ARG001
    if isinstance(value, types.Array):
        return lambda value, neuron: value[neuron]
    return lambda value, neuron: value  # noqa: ARG005


def scaled(value, shift, word):
    """``value * 2**-shift`` for a weight change, rounded half up or, with a word of at least 0, at random."""
    return _integer_scaled(value, shift, word)


@jit
def _integer_scaled(value, shift, word):
    return _half_up(value, shift) if word < 0 else _random(value, shift, word)


@overload(scaled)
def _compiled_scaled(value, shift, word):  # noqa: ARG001
    if isinstance(value, types.Integer):
        return lambda value, shift, word: _integer_scaled(value, shift, word)
    return lambda value, shift, word: value * 2.0**-shift  # noqa: ARG005


@jit
def rounding_word(state, presynaptic, position):
    """:func:`lifstream.golden.model.draws.rounding_words` for one pair, in 64 bits; no word at all (-1) is -1."""
    if state < 0:
        return np.int64(-1)
    return _xorshift32(np.int64(state) ^ np.int64(presynaptic) ^ (np.int64(position) << 16))

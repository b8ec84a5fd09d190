"""Reads a value change dump: what every signal of a simulation was, clock by clock."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLOCK_PS = 10_000

_PART = re.compile(r"\[(\d+):(\d+)\]$")


class Waveform:
    """A VCD file of a two-state simulation, its time unit a picosecond."""

    def __init__(self, path: Path) -> None:
        header, changes = path.read_text().split("$enddefinitions $end", 1)
        assert "$timescale 1ps $end" in header
        self._codes: dict[str, str] = {}
        self.widths: dict[str, int] = {}
        """Bits of every signal, by its path."""
        scopes: list[str] = []
        for line in header.splitlines():
            words = line.split()
            if words[:1] == ["$scope"]:
                scopes.append(words[2])
            elif words[:1] == ["$upscope"]:
                scopes.pop()
            elif words[:1] == ["$var"]:
                self._codes[".".join([*scopes, words[4]])] = words[3]
                self.widths[".".join([*scopes, words[4]])] = int(words[2])
        self._changes: dict[str, tuple[list[int], list[int]]] = {code: ([], []) for code in self._codes.values()}
        self._end = 0
        self.begin: int | None = None
        """When the first value was recorded, picoseconds."""
        for line in changes.splitlines():
            if line.startswith("#"):
                self._end = int(line[1:])
                self.begin = self._end if self.begin is None else self.begin
            elif line[:1] in ("b", "0", "1"):
                value, code = line[1:].split() if line.startswith("b") else (line[:1], line[1:])
                times, values = self._changes[code]
                times.append(self._end)
                values.append(int(value, 2))

    def at(self, path: str, clock: float) -> int:
        """Value of a signal, a word of memory, or some of its bits, so many clocks after the simulation's start."""
        part = _PART.search(path)
        times, values = self._changes[self._codes[path if part is None else path[:part.start()]]]
        value = values[int(np.searchsorted(times, clock * CLOCK_PS, side="right")) - 1]
        if part is None:
            return value
        high, low = int(part[1]), int(part[2])
        return (value >> low) & ((1 << (high - low + 1)) - 1)

    def each_clock(self, path: str) -> NDArray[np.int64]:
        """The signal at the end of every clock, where the next edge finds it: int64 (clocks,)."""
        times, values = self._changes[self._codes[path]]
        ends = np.arange(1, self._end // CLOCK_PS + 1) * CLOCK_PS - 1
        return np.array(values, dtype=np.int64)[np.searchsorted(times, ends, side="right") - 1]

    @property
    def clocks(self) -> int:
        """Whole clocks that were recorded."""
        return self._end // CLOCK_PS

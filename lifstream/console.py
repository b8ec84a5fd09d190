"""What the commands share: progress on stderr, results on stdout, one-line errors, what an interrupt leaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from lifstream.golden.study.training import Progress as Report

__all__ = ["Heartbeat", "Output", "ReportBar", "error_line", "interrupted", "working"]

_SILENCE_SECONDS = 4.0
"""Longest silence of a command: with what a busy machine adds, a line comes at least every five seconds."""

_stderr = Console(stderr=True, highlight=False)


def _plain(text: str) -> str:
    """Text on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def error_line(message: str) -> None:
    """Print one line of error, whole whatever the terminal's width."""
    _stderr.print(f"lifstream: {_plain(message)}", style="bold red", soft_wrap=True, markup=False)


@dataclass
class _Work:
    """The command of this process."""

    doing: str = "starting"
    """What is under way."""
    kept: Callable[[], str] = lambda: "nothing was kept; the same command starts anew"
    """What an interrupt leaves, and how to go on."""
    bars: int = 0
    """Progress bars that a terminal shows; they say it themselves."""


_work = _Work()


class Heartbeat:
    """Says what is under way when nothing has been said for a while, so that long work is never silent.

    Compilers and synthesis report nothing for minutes, so a thread of its own looks at the clock.

    Parameters
    ----------
    say
        Prints a line.
    doing
        Tells what is under way; an empty text needs no line.
    silence
        Seconds without a line after which one is due.
    clock
        Tells the time in seconds.
    """

    def __init__(self, *, say: Callable[[str], None], doing: Callable[[], str], silence: float = _SILENCE_SECONDS,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._doing, self._silence, self._clock = say, doing, silence, clock
        self._started = self._last = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def heard(self) -> None:
        """A line has been printed by somebody else."""
        self._last = self._clock()

    def beat(self) -> float:
        """Print a line if one is due; returns the seconds until one may be."""
        now = self._clock()
        if now - self._last >= self._silence:
            self._last = now
            if text := _plain(self._doing()):
                minutes, seconds = divmod(int(now - self._started), 60)
                self._say(f"[{minutes}:{seconds:02d}] {text}")
        return max(0.0, self._last + self._silence - now)

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            while not self._ended.wait(self.beat()):
                pass

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=1)


_heartbeat: Heartbeat | None = None


@contextmanager
def working() -> Iterator[None]:
    """Run a command: while it says nothing for long, its :class:`Heartbeat` does, on stderr."""
    global _heartbeat, _work
    _work = _Work()
    with Heartbeat(say=lambda line: _stderr.print(line, soft_wrap=True, markup=False),
                   doing=lambda: "" if _work.bars else _work.doing, silence=_SILENCE_SECONDS) as _heartbeat:
        try:
            yield
        finally:
            _heartbeat = None


def interrupted() -> None:
    """Say that the command was interrupted, and what it leaves."""
    error_line(f"interrupted; {_work.kept()}")


def _described(report: Report) -> str:
    """A report as a line."""
    counted = f" {report.done:,} of {report.total:,}" if report.total is not None and report.total > 1 else ""
    return f"{report.task}{counted}{f', {report.note}' if report.note else ''}"


class ReportBar:
    """Shows :class:`lifstream.golden.study.training.Progress` reports as a bar, one task after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, report: Report) -> None:
        _work.doing = _described(report)
        if report.task not in self._tasks:
            for task in self._tasks.values():
                self._progress.update(task, visible=False)
            self._tasks[report.task] = self._progress.add_task(report.task, total=report.total, note="")
        self._progress.update(self._tasks[report.task], completed=report.done, note=report.note)


class Output:
    """Where a command's results go: lines for people, or one JSON object for machines.

    Parameters
    ----------
    as_json
        Print the object given to :meth:`result`, and nothing else, on stdout.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """A line for people."""
        if not self._json:
            self._console.print(line, markup=False)
            if _heartbeat is not None:
                _heartbeat.heard()

    def table(self, table: Table) -> None:
        """A table for people, as wide as it needs to be."""
        if not self._json:
            Console(highlight=False, width=max(self._console.width, 200)).print(table)

    def result(self, values: dict[str, Any]) -> None:
        """The object for machines."""
        if self._json:
            print(json.dumps(values))

    @staticmethod
    def begin(task: str) -> None:
        """Name what is under way from now on, where nothing reports its progress."""
        _work.doing = task

    @staticmethod
    def keeps(what: Callable[[], str]) -> None:
        """Tell what an interrupt from now on leaves, and how to go on; asked for when there is one."""
        _work.kept = what

    @contextmanager
    def progress(self) -> Iterator[ReportBar]:
        """A progress bar on stderr; where that is no terminal, the command's :class:`Heartbeat` prints plain lines."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False))  # tools write brackets
        shown = _stderr.is_terminal
        _work.bars += shown
        try:
            with Progress(*columns, console=_stderr, transient=True, disable=not shown) as progress:
                yield ReportBar(progress)
        finally:
            _work.bars -= shown

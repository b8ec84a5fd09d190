"""What the commands share: progress on stderr, results on stdout, one-line errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from lifstream.golden.training import Progress as Report

__all__ = ["Output", "ReportBar", "error_line"]

_stderr = Console(stderr=True, highlight=False)


def error_line(message: str) -> None:
    """Print one line of error, whole whatever the terminal's width."""
    _stderr.print(f"lifstream: {message}", style="bold red", soft_wrap=True, markup=False)


class ReportBar:
    """Shows :class:`lifstream.golden.training.Progress` reports as a bar, one task after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, report: Report) -> None:
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

    def table(self, table: Table) -> None:
        """A table for people, as wide as it needs to be."""
        if not self._json:
            Console(highlight=False, width=max(self._console.width, 200)).print(table)

    def result(self, values: dict[str, Any]) -> None:
        """The object for machines."""
        if self._json:
            print(json.dumps(values))

    @contextmanager
    def progress(self) -> Iterator[ReportBar]:
        """A progress bar on stderr; nothing is drawn when stderr is not a terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, console=_stderr, transient=True, disable=not _stderr.is_terminal) as progress:
            yield ReportBar(progress)

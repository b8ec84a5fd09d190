"""Long work is never silent, and an interrupt says what it leaves."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from lifstream import console
from lifstream.cli import main
from lifstream.console import Heartbeat, Output, working
from lifstream.golden.study.training import Progress


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_due_after_a_silence() -> None:
    clock, lines, doing = Clock(), [], "compile"
    heartbeat = Heartbeat(say=lines.append, doing=lambda: doing, silence=4, clock=clock)
    assert heartbeat.beat() == 4
    clock.now += 3
    assert heartbeat.beat() == 1
    assert lines == []
    clock.now += 1
    assert heartbeat.beat() == 4
    assert lines == ["[0:04] compile"]
    clock.now += 3
    heartbeat.heard()
    clock.now += 3
    assert heartbeat.beat() == 1
    doing = "place and route, Info:\troute\x1b[0m"
    clock.now += 61
    heartbeat.beat()
    assert lines[1:] == ["[1:11] place and route, Info: route [0m"]
    doing = ""
    clock.now += 5
    assert heartbeat.beat() == 4
    assert len(lines) == 2


def test_nothing_is_silent_for_longer_than_five_seconds() -> None:
    assert console._SILENCE_SECONDS < 5


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to stderr, which is no terminal; a line is due at once."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "_stderr", Console(file=stream, force_terminal=False, width=200))
    monkeypatch.setattr(console, "_SILENCE_SECONDS", 0.001)
    return stream


def wait_for(text: str, stream: io.StringIO) -> None:
    """Until the heartbeat has said it; the test's own limit ends what never comes."""
    pause = threading.Event()
    while text not in stream.getvalue():
        pause.wait(0.001)


def test_reports_and_phases_are_said_in_plain_lines(printed: io.StringIO) -> None:
    output = Output(as_json=True)
    with working():
        wait_for("] starting\n", printed)
        output.begin("generate Verilog")
        wait_for("] generate Verilog\n", printed)
        with output.progress() as bar:
            bar(Progress(task="epoch 1/2", done=1_200, total=55_000, note="800 images/s"))
            wait_for("] epoch 1/2 1,200 of 55,000, 800 images/s\n", printed)
            bar(Progress(task="build with verilator", done=0, total=1))
            wait_for("] build with verilator\n", printed)
            bar(Progress(task="place and route", done=3, total=None, note="[/x] Info"))
            wait_for("] place and route, [/x] Info\n", printed)
        wait_for("] place and route, [/x] Info\n", printed)
    assert "\x1b" not in printed.getvalue()
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_terminal_has_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, said = io.StringIO(), []
    terminal = Console(file=stream, force_terminal=True, width=200)
    monkeypatch.setattr(console, "_stderr", terminal)
    with working():
        heartbeat = Heartbeat(say=said.append, doing=console._heartbeat._doing, silence=0)  # type: ignore[union-attr]
        with Output(as_json=False).progress() as bar:
            bar(Progress(task="epoch", done=1, total=3, note="[/x] brackets"))
            heartbeat.beat()
            assert said == []
        heartbeat.beat()
        assert len(said) == 1
    assert "[/x] brackets" in stream.getvalue()


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lifstream", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_json_stays_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: io.StringIO,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, "train", "--preset", "digits", "--epochs", "1", "--out", "d.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["preset"] == "digits"
    assert printed.getvalue().count("\n") > 1
    assert all(line.startswith("[0:") for line in printed.getvalue().splitlines())


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No heartbeat, however slow the machine."""
    monkeypatch.setattr(console, "_SILENCE_SECONDS", 1e3)


def interrupt(after: int) -> Callable[..., None]:
    """Stands for a report; raises as Ctrl-C does, the ``after``-th time it is called."""
    calls = 0

    def called(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
    return called


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("arguments", "after", "naming"), [
    (("train", "--preset", "digits", "--epochs", "3", "--out", "d.npz"), 3,
     "nothing was kept; the same command starts anew"),
    (("train", "--preset", "digits", "--epochs", "3", "--out", "d.npz"), 24,
     "d.npz.checkpoint keeps what was learnt from 1,287 images; continue with the same command and --resume"),
    (("compare", "--epochs", "1", "--seeds", "2", "--store", "runs"), 30,
     "1 of 18 runs are finished and kept in runs; the same command continues"),
    (("sweep", "--epochs", "1", "--seeds", "3", "--store", "runs"), 30,
     "1 of 3 runs are finished and kept in runs; the same command continues"),
    (("eval", "digits"), 1, "nothing was kept; the same command starts anew"),
    (("compare", "--quick"), 2, "nothing was kept"), (("demo", "--epochs", "2"), 3, "nothing was kept")])
def test_an_interrupt_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], after: int,
                                        naming: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console.ReportBar, "__call__", interrupt(after))
    assert command(monkeypatch, *arguments) == 130
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("lifstream: interrupted")
    assert naming in line


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("arguments", "place", "naming"), [
    (("build", "--board", "icebreaker", "--preset", "digits", "--out", "made"), "lifstream.boards.flow.build",
     "made keeps the steps that were finished; the same command goes on"),
    (("board", "--simulated", "digits", "train"), "lifstream.board._connected",
     "nothing was kept of 0 images that were learnt from; the same command starts anew")])
def test_an_interrupt_of_hardware_says_what_is_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
        place: str, naming: str) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, stop)
    assert command(monkeypatch, *arguments) == 130
    [line] = capsys.readouterr().err.strip().splitlines()
    assert naming in line


@pytest.mark.usefixtures("quiet")
def test_what_was_said_to_be_kept_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("train", "--preset", "digits", "--epochs", "2", "--out", "d.npz")
    with monkeypatch.context() as patch:
        patch.setattr(console.ReportBar, "__call__", interrupt(24))
        assert command(patch, *arguments) == 130
    assert command(monkeypatch, *arguments, "--resume") == 0
    assert "resumed from d.npz.checkpoint after 1 epochs" in capsys.readouterr().out


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("error", "status", "naming"), [
    (OSError(28, "No space left on device", "m.npz"), 2, "m.npz: No space left on device"),
    (OSError("odd"), 2, "input or output: odd"), (MemoryError(), 2, "memory")])
def test_errors_of_the_machine_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                            error: BaseException, status: int, naming: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error
    monkeypatch.setattr("lifstream.accuracy.evaluate", fail)
    assert command(monkeypatch, "eval", "digits") == status
    [line] = capsys.readouterr().err.splitlines()
    assert naming in line

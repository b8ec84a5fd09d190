"""Options that commands share."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from lifstream.board import BoardOptions
from lifstream.cli import app, main
from lifstream.options import option_groups

click_error = typer.BadParameter.__mro__[1]
called: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A group with a required option."""

    folder: Annotated[Path, typer.Option("--folder", help="Where.")]
    depth: Annotated[int, typer.Option("--depth", min=1, help="How far down.")] = 2


@option_groups
def search(
    pattern: Annotated[str, typer.Argument(help="What.")],
    place: Place,
    *,
    loud: Annotated[bool, typer.Option("--loud", help="How.")] = False,
) -> None:
    """Look for something."""
    called.update(pattern=pattern, place=place, loud=loud)


def run(command: Any, *arguments: str) -> Any:
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    application.command()(command)
    return typer.main.get_command(application)(list(arguments), standalone_mode=False)


def test_a_group_stands_for_its_fields() -> None:
    run(search, "x", "--depth", "5", "--folder", "here")
    assert called == {"pattern": "x", "place": Place(folder=Path("here"), depth=5), "loud": False}
    run(search, "x", "--folder", "here", "--loud")
    assert called == {"pattern": "x", "place": Place(folder=Path("here"), depth=2), "loud": True}


def test_python_takes_the_fields_too() -> None:
    search(pattern="y", folder=Path("there"), loud=True)
    assert called == {"pattern": "y", "place": Place(folder=Path("there")), "loud": True}


def test_options_keep_their_order_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(inspect.signature(search).parameters) == ["pattern", "folder", "depth", "loud"]
    run(search, "--help")
    text = capsys.readouterr().out
    assert "Look for something." in text
    parts = ("What.", "--folder", "Where.", "--depth", "How far down.", "--loud", "How.")
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    with pytest.raises(click_error, match="folder"):
        run(search, "x")
    with pytest.raises(typer.BadParameter, match=r"greater than or equal to 1|x>=1"):
        run(search, "x", "--folder", "here", "--depth", "0")


def test_a_name_is_given_once() -> None:
    def twice(place: Place, depth: int = 1) -> None:
        """Both have a depth."""

    with pytest.raises(ValueError, match="depth"):
        option_groups(twice)


def test_options_behind_the_command_come_first() -> None:
    before = BoardOptions(port="/dev/a", lanes="4", preset="digits")
    assert BoardOptions(lanes="8").after(before) == BoardOptions(port="/dev/a", lanes="8", preset="digits")
    assert BoardOptions().after(before) == before


def walk(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {} if not path else {path: command}
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        found |= walk(command.get_command(None, name), (*path, name))
    return found


def test_no_command_is_overlooked() -> None:
    assert {("train",), ("cosim",), ("board",), ("board", "infer")} <= set(walk(typer.main.get_command(app)))


@pytest.mark.parametrize("path", walk(typer.main.get_command(app)), ids=" ".join)
def test_every_option_explains_itself(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    command = walk(typer.main.get_command(app))[path]
    names = [option.opts[0] for option in command.params if option.opts[0].startswith("-")]
    assert len(names) == len(set(names))
    assert all(option.help for option in command.params)
    monkeypatch.setattr(sys, "argv", ["lifstream", *path, "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    places = [text.index(f"  {name}") for name in names]
    assert places == sorted(places)

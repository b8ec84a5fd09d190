"""The pages: every block of code runs, or is checked as an annotation in front of it says; lines are short.

A comment in front of a block says what is not to run here, and nothing else is left out:

``<!-- parsed -->``
    too long, or for hardware: each ``lifstream`` command must be one that the command line takes; Python must compile,
    and find what it imports.
``<!-- regress -->``
    runs in the long tests.
``<!-- run by tests/test_x.py -->``
    runs there, as part of something.

Blocks of ``bash`` and ``python`` run, each page's in a folder of its own and in order, Python's with the names of the
blocks before; ``console`` shows what a command prints, ``$`` in front; others are only read.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import lifstream
from lifstream.cli import app
from lifstream.golden.contract.input import Input
from lifstream.golden.contract.neurons import Neuron
from lifstream.golden.contract.readout import Readout
from lifstream.golden.contract.rules import Rule
from lifstream.golden.contract.synapses import Synapses

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN, SHOWN = {"bash", "python"}, {"c", "console", "text", "json", "verilog", "yaml"}
WIDTH = 120
FENCE = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n+)?^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<code>.*?)^ *```$",
                   flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    note: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in RUN and not self.note.startswith(("parsed", "run by"))


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(page=page, line=text.count("\n", 0, found.start("indent")) + 1, language=found["language"],
                  note=found["note"] or "", code=found["code"]) for found in FENCE.finditer(text)]


ALL = [block for page in PAGES for block in blocks(page)]


# -- blocks that are checked only --------------------------------------------------------------------------------------


def commands(block: Block) -> list[list[str]]:
    """The ``lifstream`` commands of a block, as words."""
    text = block.code.replace("\\\n", " ")
    lines = text.splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found: list[list[str]] = []
    for line in lines:
        for part in re.split(r"&&|;|\|", line) if "--layers" not in line else [line]:
            words = shlex.split(part, comments=True)
            if words and Path(words[0]).name == "lifstream":
                found.append(words[1:])
    return found


def parse(words: list[str]) -> None:
    """Hand words to the command line's own parser; raises what it raises."""
    command: Any = typer.main.get_command(app)
    name = "lifstream"
    while True:
        context = command.make_context(name, list(words))
        if not hasattr(command, "resolve_command"):
            return
        with context:
            name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


def defect(block: Block) -> str | None:
    """What is wrong with a block that is not run."""
    if block.language != "python":
        for words in commands(block):
            try:
                parse(words)
            except Exception as error:   # whatever click's copy calls it
                return f"lifstream {shlex.join(words)}: {error}"
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        unknown = set(re.findall(r"^make (\S+)", block.code, flags=re.MULTILINE)) - targets
        return f"the Makefile has no {unknown}" if unknown else None
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lifstream"):
            try:
                module = importlib.import_module(node.module or "")
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("lifstream"):
                    return str(error)
                continue    # of an extra that is not installed
            for alias in node.names:
                if not hasattr(module, alias.name):
                    return f"{node.module} has no {alias.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lifstream" \
                and not hasattr(importlib.import_module("lifstream"), node.attr):
            return f"lifstream has no {node.attr}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_is_possible(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, f"{block}: say what language it is"
        if block.note.startswith("run by "):
            assert (ROOT / block.note.removeprefix("run by ")).read_text().find(page.name) >= 0, str(block)
        else:
            assert defect(block) is None, f"{block}: {defect(block)}"
        if block.note and not block.note.startswith("run by"):
            assert block.note in ("parsed", "regress"), f"{block}: {block.note}"


def mentioned(text: str) -> list[str]:
    """The commands within lines of prose or tables."""
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(code.split()) for code in re.findall(r"`(lifstream [^`]+)`", outside)]


def defect_of_mention(text: str) -> str | None:
    """What is wrong with a command in a line; it may stop short of an option's value, or of arguments."""
    words = shlex.split(text)[1:]
    if words[0] == "COMMAND":
        return None
    try:
        parse(words)
    except Exception as error:
        if type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
            return f"{text}: {error}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_lines_are_possible(page: Path) -> None:
    assert [found for text in mentioned(page.read_text()) if (found := defect_of_mention(text))] == []


def test_impossible_commands_in_lines_are_found() -> None:
    page = ("a `lifstream eval\ndigits --epoch 3`, `lifstream nosuch`, `lifstream train --rule`\n"
            "```bash\n`lifstream x`\n```")
    found = mentioned(page)
    assert found == ["lifstream eval digits --epoch 3", "lifstream nosuch", "lifstream train --rule"]
    assert [defect_of_mention(text) is None for text in found] == [False, False, True]


@pytest.mark.parametrize(("language", "code", "naming"), [
    ("bash", "lifstream train --preset digits --epoch 3", "--epoch"), ("bash", "lifstream nosuch", "nosuch"),
    ("bash", "lifstream board --simulated digits infer --nosuch", "--nosuch"),
    ("console", "$ lifstream cosim digits --images x\nany", "--images"),
    ("bash", "make nosuch", "nosuch"),
    ("python", "from lifstream.library import nosuch", "nosuch"),
    ("python", "import lifstream\nlifstream.no()", "no")])
def test_the_check_can_fail(language: str, code: str, naming: str) -> None:
    found = defect(Block(page=ROOT, line=1, language=language, note="parsed", code=code))
    assert found is not None
    assert naming in found


def test_no_block_is_overlooked() -> None:
    for page in PAGES:
        fences = sum(line.lstrip().startswith("```") for line in page.read_text().splitlines())
        assert fences == 2 * len(blocks(page)), page


# -- blocks that run ---------------------------------------------------------------------------------------------------


def pages_that_run(*, regress: bool) -> list[Any]:
    """Each page's blocks that run; in the long tests all of a page that has long ones."""
    found = []
    for page in PAGES:
        chosen = [block for block in blocks(page) if block.runs]
        if regress and all(block.note != "regress" for block in chosen):
            continue
        chosen = [block for block in chosen if regress or block.note != "regress"]
        if chosen:
            found.append(pytest.param(chosen, id=str(page.relative_to(ROOT))))
    return found


def run(chosen: list[Block], folder: Path) -> None:
    """Run blocks in order."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    python = ""
    for block in chosen:
        if block.language == "python":
            python += f"\n# {block}\n{block.code}"
            command = [sys.executable, "-W", "error", "-c", python]
        else:
            command = ["bash", "-euo", "pipefail", "-c", block.code]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stdout[-1000:]}{done.stderr[-3000:]}"


@pytest.mark.parametrize("chosen", pages_that_run(regress=False))
def test_blocks_run(chosen: list[Block], tmp_path: Path) -> None:
    run(chosen, tmp_path)


@pytest.mark.regress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chosen", pages_that_run(regress=True))
def test_long_blocks_run(chosen: list[Block], tmp_path: Path) -> None:
    run(chosen, tmp_path)


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    good = Block(page=ROOT / "docs" / "x.md", line=3, language="python", note="", code="a = 1\n")
    for language, code in (("python", "assert a == 2\n"), ("bash", "false | true\n")):
        bad = Block(page=ROOT / "docs" / "x.md", line=9, language=language, note="", code=code)
        with pytest.raises(AssertionError, match=r"^docs/x.md:9: "):
            run([good, bad], tmp_path)


def test_the_reference_has_every_name() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("api.md", "declarations.md"))
    described = set(re.findall(r"^::: [\w.]*\.(\w+)$", text, flags=re.MULTILINE))
    assert set(lifstream.__all__) - described == {"DATASETS", "PRESETS", "__version__"}


def kinds(family: type) -> set[str]:
    """Names of the kinds of a part of the contract."""
    found = {each.__name__ for each in family.__subclasses__() if each.__module__.startswith("lifstream.")}
    return found.union(*(kinds(each) for each in family.__subclasses__()))


@pytest.mark.parametrize("family", [Input, Synapses, Neuron, Rule, Readout])
def test_the_contract_s_page_has_every_kind(family: type) -> None:
    page = (ROOT / "docs" / "declarations.md").read_text()
    named = {name for name in kinds(family) if not name.startswith("_")}
    assert named
    assert {name for name in named if f".{name}\n" not in page} == set()


# -- the text ----------------------------------------------------------------------------------------------------------


def prose(text: str) -> list[tuple[int, str]]:
    """Lines that are neither code nor rows of tables, numbered."""
    lines, inside = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.startswith("|"):
            lines.append((number, line))
    return lines


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    assert [(number, len(line)) for number, line in prose(page.read_text()) if len(line) > WIDTH] == []


def test_long_lines_are_found() -> None:
    long = "x" * (WIDTH + 1)
    assert prose(f"a\n```text\n{long}\n```\n| {long} |\n{long}") == [(1, "a"), (6, long)]

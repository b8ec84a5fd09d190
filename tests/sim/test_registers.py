"""The register map: the simulated core has the fields, resets and accesses that its SystemRDL says, and so has all
that is made from that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lifstream.boards.c_driver import FOLDER
from lifstream.golden.contract import register_table
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.protocol import COUNTER_BYTES, COUNTERS
from lifstream.golden.contract.register_table import REGISTERS
from lifstream.golden.contract.registers import Access
from lifstream.hdl import rdl
from lifstream.hdl.emit import emit_axi
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.rdl import SOURCE, compile_rdl, header, markdown, registers_of, table, write_model
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import build, run_bench
from tests.sim.blocks import once
from tests.sim.test_axi import SPEC

ROOT = Path(__file__).parent.parent.parent
AGAIN = "write it again: python -m lifstream.hdl.rdl"


def test_what_is_kept_follows_from_the_source() -> None:
    """Table, C header and documentation are those of the SystemRDL."""
    root = compile_rdl()
    assert registers_of(root) == REGISTERS, AGAIN
    assert Path(register_table.__file__).read_text() == table(REGISTERS), AGAIN
    assert (FOLDER / "lifstream_axi.h").read_text() == header(root), AGAIN
    assert markdown(root) in (ROOT / "docs" / "axi.md").read_text(), AGAIN


@pytest.mark.parametrize(("before", "after"), [
    ("counter learned @0x48", "counter learned @0x80"), ("idle[8:8]", "idle[9:9]"),
    ("version[15:0] = 1", "version[15:0] = 2"),
    ("sw = r; hw = w; } idle", "sw = rw; onwrite = woset; hw = w; } idle")])
def test_a_change_of_the_source_is_noticed(tmp_path: Path, before: str, after: str) -> None:
    text = SOURCE.read_text()
    assert before in text
    changed = tmp_path / "lifstream_axi.rdl"
    changed.write_text(text.replace(before, after))
    assert registers_of(compile_rdl(changed)) != REGISTERS


def test_what_the_hardware_cannot_do_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "lifstream_axi.rdl"
    changed.write_text(SOURCE.read_text().replace("onwrite = woset", "onwrite = woclr"))
    with pytest.raises(InputError, match=r"control\.reset: the hardware has no fields of this access"):
        registers_of(compile_rdl(changed))
    changed.write_text("addrmap {")
    with pytest.raises(InputError, match=r"lifstream_axi\.rdl: "):
        compile_rdl(changed)
    capfd.readouterr()  # where the compiler says what is wrong


def test_without_peakrdl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdl, "_EXPORTERS", ("no_such_package",))
    with pytest.raises(InputError, match=re.escape("pip install 'lifstream[registers]'")):
        compile_rdl()


def test_counters_are_the_protocols() -> None:
    """All of them, in its order, eight bytes apart, as wide as they are."""
    words = [register for register in REGISTERS if "." in register.name]
    assert [word.name for word in words] == [f"{name}.{half}" for name in COUNTERS for half in ("low", "high")]
    assert [word.address - words[0].address for word in words] == list(range(0, 8 * len(COUNTERS), 4))
    for low, high in zip(words[::2], words[1::2], strict=True):
        assert low.field("value").width + high.field("value").width == 8 * COUNTER_BYTES


@pytest.mark.simulation
def test_resets_and_accesses(tmp_path: Path) -> None:
    """Every field through the model that PeakRDL makes: its reset, that writes of what is read only change nothing,
    that ones set and zeros leave, and that there is nothing else."""
    emission = once(emit_axi, spec=SPEC, geometry=Geometry(lanes=3), width=4)
    built = build(verilog=emission.verilog, harness=write_pin_harness(emission.description),
                  description=emission.description)
    write_model(compile_rdl(), tmp_path / "model")
    by_name = {f"{register.name}.{field.name}": field for register in REGISTERS for field in register.fields}
    writable = {register.address for register in REGISTERS
                if any(field.access is Access.SET for field in register.fields)}
    control = next(register for register in REGISTERS if register.name == "control")
    reset, clear, idle = (control.field(name).mask for name in ("reset", "clear_counters", "idle"))
    found = run_bench(built, module="lifstream.sim.tb_registers", folder=tmp_path / "run", configuration={
        "model": str(tmp_path / "model"), "writable": sorted(writable), "written": [0, idle, reset, clear]})
    digest = bytes.fromhex(SPEC.digest())
    known = {"digest_low.value": int.from_bytes(digest[:4], "little"),
             "digest_high.value": int.from_bytes(digest[4:], "little")}
    counting = "idle_cycles.low.value"      # its reset value is gone before it can be read
    for name, field in by_name.items():
        value = known.get(name, field.reset)
        if value is not None and name != counting:
            assert found["reset"][name] == value, name
        assert name == counting or found["after"][name] == found["before"][name], name
    assert found["after"][counting] - found["before"][counting] < 2_000
    masks = {register.address: sum(field.mask for field in register.fields) for register in REGISTERS}
    for index, word in enumerate(found["whole"]):
        assert word & ~masks.get(4 * index, 0) == 0
    assert found["control 0"] == found["control 0, later"] == idle
    assert found[f"control {idle}"] == found[f"control {idle}, later"] == idle
    assert found[f"control {reset}"] & reset
    assert found[f"control {reset}, later"] == idle
    assert found[f"control {clear}, later"] == idle

"""A LiteX SoC without a processor that reads digits: its Wishbone bus is led out, and a host speaks to the CSRs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.gen import LiteXModule
from litex.soc.integration.export import get_csr_csv
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import wishbone
from migen import ClockDomain

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.study.presets import preset_by_name
from lifstream.hdl.geometry import Geometry
from lifstream.litex import LifstreamPeripheral

PINS = [
    ("clk", 0, Pins(1)),
    ("rst", 0, Pins(1)),
    ("interrupt", 0, Pins(1)),
    ("host", 0, *(Subsignal(name, Pins(width)) for name, width in (
        ("adr", 30), ("dat_w", 32), ("dat_r", 32), ("sel", 4), ("cyc", 1), ("stb", 1), ("ack", 1), ("we", 1),
        ("cti", 3), ("bte", 2), ("err", 1)))),
]


class Clock(LiteXModule):
    """The domain ``sys`` from pins."""

    def __init__(self, platform: Any) -> None:
        self.cd_sys = ClockDomain()
        self.comb += [self.cd_sys.clk.eq(platform.request("clk")), self.cd_sys.rst.eq(platform.request("rst"))]


class DigitsSoC(SoCMini):
    """The peripheral, and a Wishbone master on pins.

    On a board, ``self.add_uartbone()``, ``add_etherbone`` or a processor takes the master's place.
    """

    def __init__(self, platform: Any, *, spec: NetworkSpec, folder: Path) -> None:
        super().__init__(platform, clk_freq=int(50e6))
        self.crg = Clock(platform)
        self.lifstream = LifstreamPeripheral(platform, spec=spec, geometry=Geometry(lanes=8), folder=folder)
        host = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.comb += host.connect_to_pads(platform.request("host"), mode="slave")
        self.bus.add_master("host", master=host)
        self.comb += platform.request("interrupt").eq(self.lifstream.ev.irq)


def write(folder: Path, *, spec: NetworkSpec) -> list[Path]:
    """Write the SoC's Verilog, the core's, and the table of registers ``csr.csv``; returns the Verilog files."""
    folder.mkdir(parents=True, exist_ok=True)
    platform = GenericPlatform("none", PINS, name="digits_soc")
    soc = DigitsSoC(platform, spec=spec, folder=folder)
    soc.finalize()
    platform.get_verilog(soc, name="digits_soc").write(str(folder / "digits_soc.v"))
    (folder / "csr.csv").write_text(get_csr_csv(soc.csr_regions, soc.constants, soc.mem_regions))
    return [folder / "digits_soc.v", *(Path(source[0]) for source in platform.sources)]


if __name__ == "__main__":
    print(*write(Path(sys.argv[1] if len(sys.argv) > 1 else "build/litex"), spec=preset_by_name("digits").spec))

"""Boards with their clocks and pins: which there are, what a board's network looks like by default, and its top."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from lifstream.boards.top import BoardTop
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import BAUD
from lifstream.hdl.geometry import LANES_PER_GROUP_MAX, Geometry

__all__ = ["TARGETS", "BoardDesign", "Family", "Pll", "Target", "pll_for", "target_by_name", "uart_divisor"]

_UART_TOLERANCE = 0.02
"""Deviation of the bit rate that a byte's ten bits stand, with as much again on the other side."""

_PATIENCE_SECONDS = 0.2
"""Time after which the board repeats a frame."""


class Family(enum.Enum):
    """FPGA families."""

    ECP5 = "ecp5"
    ICE40 = "ice40"
    GOWIN = "gowin"
    XILINX = "xilinx"


@dataclass(frozen=True, kw_only=True)
class Pll:
    """Dividers of a phase-locked loop: ``source x multiply / divide_in`` (``/ divide_out`` where the loop is closed
    before the output's divider) is what it puts out.

    Parameters
    ----------
    divide_in, multiply, divide_out
        The dividers as ratios, each at least 1.
    source_hz, output_hz
        Frequencies in Hz.
    """

    divide_in: int
    multiply: int
    divide_out: int
    source_hz: float
    output_hz: float


@dataclass(frozen=True, kw_only=True)
class _Loop:
    """Bounds of a family's loop, in Hz.

    ``inner``: the loop is closed at the output, whose frequency is then ``source x multiply / divide_in``.
    """

    divide_in: range
    multiply: range
    divide_out: tuple[int, ...]
    detector: tuple[float, float]
    oscillator: tuple[float, float]
    output: tuple[float, float]
    inner: bool


_LOOPS = {
    # Lattice FPGA-DS-02012 (ECP5), FPGA-DS-02008 (iCE40 UltraPlus); Gowin DS117 (GW1NR-9C); AMD DS181 (Artix-7, -1).
    Family.ECP5: _Loop(divide_in=range(1, 17), multiply=range(1, 81), divide_out=tuple(range(1, 129)),
                       detector=(10e6, 400e6), oscillator=(400e6, 800e6), output=(3.125e6, 400e6), inner=True),
    Family.ICE40: _Loop(divide_in=range(1, 17), multiply=range(1, 129), divide_out=(2, 4, 8, 16, 32, 64),
                        detector=(10e6, 133e6), oscillator=(533e6, 1066e6), output=(16e6, 275e6), inner=False),
    Family.GOWIN: _Loop(divide_in=range(1, 10), multiply=range(1, 65),
                        divide_out=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
                        detector=(3e6, 400e6), oscillator=(400e6, 1200e6), output=(3.125e6, 600e6), inner=True),
    Family.XILINX: _Loop(divide_in=range(1, 11), multiply=range(2, 65), divide_out=tuple(range(1, 129)),
                         detector=(19e6, 450e6), oscillator=(800e6, 1600e6), output=(6.25e6, 800e6), inner=False),
}


def _candidates(family: Family, source: float) -> Iterator[Pll]:
    loop = _LOOPS[family]
    for divide_in in loop.divide_in:
        if not loop.detector[0] <= source / divide_in <= loop.detector[1]:
            continue
        for multiply in loop.multiply:
            for divide_out in loop.divide_out:
                closed = source / divide_in * multiply
                oscillator = closed * divide_out if loop.inner else closed
                output = oscillator / divide_out
                if (loop.oscillator[0] <= oscillator <= loop.oscillator[1]
                        and loop.output[0] <= output <= loop.output[1]):
                    yield Pll(divide_in=divide_in, multiply=multiply, divide_out=divide_out, source_hz=source,
                              output_hz=output)


def pll_for(family: Family, *, source_hz: float, wanted_hz: float) -> Pll:
    """The dividers that come nearest to a frequency, the smallest input divider among equals.

    Raises
    ------
    InputError
        None comes within 1 %.
    """
    best = min(_candidates(family, source_hz), default=None,
               key=lambda pll: (round(abs(pll.output_hz - wanted_hz)), pll.divide_in, pll.divide_out))
    if best is None or abs(best.output_hz - wanted_hz) > 0.01 * wanted_hz:
        near = "" if best is None else f"; the nearest is {best.output_hz / 1e6:.3f} MHz"
        raise InputError(f"--clock: the board's PLL cannot make {wanted_hz / 1e6:g} MHz from "
                         f"{source_hz / 1e6:g} MHz{near}")
    return best


def uart_divisor(*, clock_hz: float, baud: int) -> int:
    """Clocks per bit of the serial line.

    Raises
    ------
    InputError
        The clock is too slow, or no whole number of clocks comes near enough.
    """
    divisor = round(clock_hz / baud)
    if divisor < 4 or abs(clock_hz / baud - divisor) > _UART_TOLERANCE * divisor:
        fit = [rate for rate in (3_000_000, 2_000_000, 1_500_000, 1_000_000, 500_000, 115_200)
               if clock_hz / rate >= 4 and abs(clock_hz / rate - round(clock_hz / rate)) <= 0.01 * clock_hz / rate]
        raise InputError(f"--baud: {baud} does not divide {clock_hz / 1e6:g} MHz into at least 4 whole clocks; "
                         f"possible are {', '.join(map(str, fit))}")
    return divisor


def _platform(module: str, name: str) -> Any:
    """A board's description, from the optional package that has them."""
    try:
        return getattr(importlib.import_module(f"amaranth_boards.{module}"), name)()
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("amaranth_boards"):
            raise
        raise InputError("--board: the descriptions of boards are not installed; install them with: "
                         "pip install 'lifstream[boards]'") from None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A board.

    Parameters
    ----------
    name, title
        As the command line, and people, call it.
    family
        Family of its FPGA.
    platform
        Makes its description.
    clock_mhz, map_clock_mhz
        Core clock unless another is asked for, and of networks with layers of maps, whose block RAMs are many and far
        apart; None: the same.
    lanes
        Lanes unless others are asked for; None for as many as the widest layer has neurons.
    map_lanes, map_neurons_per_unit
        Lanes of a layer of maps, at most (as many as go through its channels no slower), and how many share a membrane
        unit: what belongs to their folds is in block RAM, a group's lanes side by side in a word.
    pixels_per_clock, unroll
        The rest of its geometry.
    baud
        Bits per second of its serial line.
    loader
        Its name for openFPGALoader.
    """

    name: str
    title: str
    family: Family
    platform: Callable[[], Any]
    clock_mhz: float
    map_clock_mhz: float | None = None
    lanes: int | None = None
    map_lanes: int = 16
    map_neurons_per_unit: int = 4
    pixels_per_clock: int = 4
    unroll: int = 2
    baud: int = BAUD
    loader: str = ""

    def pll(self, clock_mhz: float) -> Pll:
        """The dividers that make a core clock of the board's oscillator; raises as :func:`pll_for`."""
        return pll_for(self.family, source_hz=self.platform().default_clk_frequency, wanted_hz=clock_mhz * 1e6)

    def usual_clock_mhz(self, spec: NetworkSpec) -> float:
        """The board's usual core clock for a network."""
        return self.clock_mhz if self.map_clock_mhz is None or _is_dense(spec) else self.map_clock_mhz

    def geometry(self, spec: NetworkSpec) -> Geometry:
        """The board's usual geometry for a network."""
        lanes = spec.widest if self.lanes is None else self.lanes
        if _is_dense(spec):
            return Geometry(lanes=lanes, pixels_per_clock=self.pixels_per_clock, unroll=self.unroll)
        maps = [layer.synapses.positions > 1 for layer in spec.layers]
        channels = [layer.synapses.weight_shape[1] for layer in spec.layers]
        return Geometry(lanes=tuple(_as_quick(min(lanes, self.map_lanes), count) if each else lanes
                                    for each, count in zip(maps, channels, strict=True)),
                        neurons_per_unit=tuple(self.map_neurons_per_unit if each else LANES_PER_GROUP_MAX
                                               for each in maps),
                        pixels_per_clock=self.pixels_per_clock, unroll=self.unroll)


def _is_dense(spec: NetworkSpec) -> bool:
    return all(layer.synapses.all_to_all for layer in spec.layers)


def _as_quick(lanes: int, channels: int) -> int:
    """The fewest lanes that go through the channels in as many clocks."""
    folds = -(-channels // lanes)
    return -(-channels // folds)


TARGETS = {target.name: target for target in (
    Target(name="ulx3s-85f", title="ULX3S (Lattice ECP5-85F)", family=Family.ECP5, clock_mhz=87.5, map_clock_mhz=75,
           loader="ulx3s",
           platform=partial(_platform, "ulx3s", "ULX3S_85F_Platform")),
    Target(name="icebreaker", title="iCEBreaker (Lattice iCE40 UP5K)", family=Family.ICE40, clock_mhz=18, lanes=1,
           pixels_per_clock=1, unroll=1, loader="ice40_generic",
           platform=partial(_platform, "icebreaker", "ICEBreakerPlatform")),
    Target(name="tang-nano-9k", title="Tang Nano 9K (Gowin GW1NR-9C)", family=Family.GOWIN, clock_mhz=27, lanes=2,
           pixels_per_clock=2, unroll=1, loader="tangnano9k",
           platform=partial(_platform, "tang_nano_9k", "TangNano9kPlatform")),
    Target(name="arty-a7", title="Arty A7-35T (AMD Artix-7)", family=Family.XILINX, clock_mhz=100, loader="arty_a7_35t",
           platform=partial(_platform, "arty_a7", "ArtyA7_35Platform")),
)}
"""All boards by name."""


def target_by_name(name: str) -> Target:
    """The board called ``name``.

    Raises
    ------
    InputError
        No such board; the message lists them.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise InputError(f"board {name!r} is unknown, choose one of: {', '.join(TARGETS)}") from None


class BoardDesign(Elaboratable):
    """A board's top on its pins, at a clock from its PLL; in reset until that has locked.

    Parameters
    ----------
    target
        The board.
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling.
    pll
        The core clock.
    baud
        Bits per second of the serial line.
    """

    def __init__(self, *, target: Target, spec: NetworkSpec, geometry: Geometry, pll: Pll, baud: int) -> None:
        self._target, self._pll = target, pll
        self._top = BoardTop(spec=spec, geometry=geometry,
                             divisor=uart_divisor(clock_hz=pll.output_hz, baud=baud),
                             patience=round(_PATIENCE_SECONDS * pll.output_hz))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        pin = platform.request(platform.default_clk, dir="-")
        m.domains.sync = ClockDomain()
        locked = Signal()
        m.submodules.pll = self._clock(m, pin, ClockSignal("sync"), locked)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        uart = platform.request("uart", 0, dir={"rx": "-", "tx": "-"})
        m.submodules.receive_pin = receive = io.Buffer("i", uart.rx)
        m.submodules.transmit_pin = transmit = io.Buffer("o", uart.tx)
        m.submodules.board = self._top
        m.d.comb += [self._top.rx.eq(receive.i), transmit.o.eq(self._top.tx)]
        return m

    def _clock(self, m: Module, pin: Any, clock: Any, locked: Signal) -> Instance:
        """The family's PLL."""
        pll = self._pll
        if self._target.family is Family.ICE40:   # its input is the pin itself
            detector = pll.source_hz / pll.divide_in
            return Instance(
                "SB_PLL40_PAD", p_FEEDBACK_PATH="SIMPLE", p_DIVR=pll.divide_in - 1, p_DIVF=pll.multiply - 1,
                p_DIVQ=pll.divide_out.bit_length() - 1,
                p_FILTER_RANGE=next(setting for bound, setting in (
                    (17e6, 1), (26e6, 2), (44e6, 3), (66e6, 4), (101e6, 5), (1e9, 6)) if detector < bound),
                i_PACKAGEPIN=pin.io, i_RESETB=1, i_BYPASS=0, o_PLLOUTGLOBAL=clock, o_LOCK=locked)
        m.submodules.clock_pin = buffer = io.Buffer("i", pin)
        if self._target.family is Family.ECP5:
            return Instance(
                "EHXPLLL", p_CLKI_DIV=pll.divide_in, p_CLKFB_DIV=pll.multiply, p_CLKOP_DIV=pll.divide_out,
                p_CLKOP_ENABLE="ENABLED", p_CLKOP_CPHASE=pll.divide_out - 1, p_FEEDBK_PATH="CLKOP",
                i_CLKI=buffer.i, i_CLKFB=clock, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0,
                i_PHASESTEP=0, i_PHASELOADREG=0, i_PLLWAKESYNC=0, i_ENCLKOP=0, o_CLKOP=clock, o_LOCK=locked)
        if self._target.family is Family.GOWIN:
            return Instance(
                "rPLL", p_DEVICE="GW1NR-9C", p_FCLKIN=f"{pll.source_hz / 1e6:g}", p_IDIV_SEL=pll.divide_in - 1,
                p_FBDIV_SEL=pll.multiply - 1, p_ODIV_SEL=pll.divide_out, p_DYN_IDIV_SEL="false",
                p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false", p_DYN_DA_EN="false", p_DYN_SDIV_SEL=2,
                p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_CLKFB_SEL="internal",
                i_CLKIN=buffer.i, i_CLKFB=0, i_RESET=0, i_RESET_P=0, i_FBDSEL=0, i_IDSEL=0, i_ODSEL=0, i_PSDA=0,
                i_DUTYDA=0, i_FDLY=0, o_CLKOUT=clock, o_LOCK=locked)
        feedback, made = Signal(), Signal()
        m.submodules.clock_buffer = Instance("BUFG", i_I=made, o_O=clock)
        return Instance(
            "PLLE2_BASE", p_CLKIN1_PERIOD=1e9 / pll.source_hz, p_DIVCLK_DIVIDE=pll.divide_in,
            p_CLKFBOUT_MULT=pll.multiply, p_CLKOUT0_DIVIDE=pll.divide_out, i_CLKIN1=buffer.i, i_CLKFBIN=feedback,
            o_CLKFBOUT=feedback, i_RST=0, i_PWRDWN=0, o_CLKOUT0=made, o_LOCKED=locked)

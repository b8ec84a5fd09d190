"""A component of one's own around lifstream's core, in Amaranth: a ROM feeds it, and LEDs show its answer.

``python examples/amaranth/digit_leds.py`` simulates it with a released model.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command, Status
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.example import example_exchanges
from lifstream.golden.study.model_files import find_model, load_model
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core


class DigitLeds(wiring.Component):
    """Sends packets once, after power-up, and shows the last prediction that comes back.

    Parameters
    ----------
    spec
        The network's contract.
    packets
        What to send: commands, the last of them an INFER.
    """

    def __init__(self, *, spec: NetworkSpec, packets: list[bytes]) -> None:
        self._spec = spec
        self._words = [{"data": byte, "last": place == len(packet) - 1}
                       for packet in packets for place, byte in enumerate(packet)]
        super().__init__({"digit": Out(4), "known": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = Core(spec=self._spec, geometry=Geometry(lanes=4))
        m.submodules.rom = rom = Memory(shape=data.StructLayout({"data": 8, "last": 1}), depth=len(self._words),
                                        init=self._words)
        port = rom.read_port()
        place = Signal(range(len(self._words) + 1))
        m.d.comb += [port.addr.eq(place), port.en.eq(~core.commands.valid | core.commands.ready),
                     core.commands.p.data.eq(port.data.data), core.commands.p.last.eq(port.data.last)]
        with m.If(port.en):
            m.d.sync += core.commands.valid.eq(place != len(self._words))
            with m.If(place != len(self._words)):
                m.d.sync += place.eq(place + 1)

        m.d.comb += core.replies.ready.eq(1)
        command, status = Signal(8), Signal(8)
        index = Signal(2)   # of the reply's byte; 3 stands for all further ones
        byte = core.replies.p
        with m.If(core.replies.valid):
            m.d.sync += index.eq(index + (index != 3))
            with m.If(byte.last):
                m.d.sync += index.eq(0)
            with m.Switch(index):
                with m.Case(0):
                    m.d.sync += command.eq(byte.data)
                with m.Case(1):
                    m.d.sync += status.eq(byte.data)
                with m.Case(2), m.If((command == Command.INFER) & (status == Status.OK)):
                    m.d.sync += [self.digit.eq(byte.data), self.known.eq(1)]
        return m


def simulate(spec: NetworkSpec, packets: list[bytes], *, clocks: int) -> int | None:
    """What the LEDs show once there is an answer; None if there is none within so many clocks."""
    leds = DigitLeds(spec=spec, packets=packets)
    shown = None

    async def bench(ctx: Any) -> None:
        nonlocal shown
        for _ in range(clocks):
            await ctx.tick()
            if ctx.get(leds.known):
                shown = ctx.get(leds.digit)
                return

    simulator = Simulator(leds)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digits", help="model file, or a released model, of 64 pixels")
    parser.add_argument("--image", type=int, default=0, help="number of the test image")
    given = parser.parse_args()
    network = load_model(find_model(given.model)).network
    image = load_dataset("digits").test.images[given.image]
    shown = simulate(network.spec, [each.command for each in example_exchanges(network, image)], clocks=50_000)
    print(f"the LEDs show {shown}, the golden model says {int(network.classify(image).prediction)}")
    sys.exit(0 if shown == int(network.classify(image).prediction) else 1)

"""What is on a board: the core behind a UART."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.protocol import PAYLOAD_MAX
from lifstream.golden.spec import NetworkSpec
from lifstream.hdl.core import Core
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.link import Link, UartReceiver, UartTransmitter

__all__ = ["BoardTop"]


class BoardTop(wiring.Component):
    """A core that a host reaches over two wires, 8N1, by the frames of ``docs/link.md``.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, window and unrolling.
    divisor
        Clocks per bit of the line, at least 4.
    patience
        Clocks after which the board repeats a frame that was not acknowledged.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry, divisor: int, patience: int) -> None:
        self._spec, self._geometry, self._divisor, self._patience = spec, geometry, divisor, patience
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(divisor=self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self._divisor)
        m.submodules.link = link = Link(payload=PAYLOAD_MAX, patience=self._patience)
        # The core's reset is a register of its own: it goes to very many places.
        m.domains.core = of_core = ClockDomain(local=True)
        m.d.comb += of_core.clk.eq(ClockSignal())
        reset = Signal(init=1)
        m.d.sync += reset.eq(link.reset_core)
        m.d.comb += of_core.rst.eq(reset)
        core = Core(spec=self._spec, geometry=self._geometry)
        m.submodules.core = DomainRenamer("core")(core)
        m.d.comb += [receiver.pin.eq(self.rx), self.tx.eq(transmitter.pin)]
        connect(m, receiver.bytes, link.received)
        connect(m, link.sent, transmitter.bytes)
        connect(m, link.commands, core.commands)
        connect(m, core.replies, link.replies)
        return m

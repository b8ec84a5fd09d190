"""What is on a board: the core behind a UART."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import PAYLOAD_MAX
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core
from lifstream.hdl.host.link import Link, UartReceiver, UartTransmitter

__all__ = ["BoardTop", "LinkedCore"]


class LinkedCore(wiring.Component):
    """A core that is spoken to in the frames of ``docs/link.md``, on two streams of bytes.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling.
    patience
        Clocks after which a frame that was not acknowledged is repeated.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry, patience: int) -> None:
        self._spec, self._geometry, self._patience = spec, geometry, patience
        super().__init__({"received": In(stream.Signature(8)), "sent": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link = link = Link(payload=PAYLOAD_MAX, patience=self._patience)
        core = Core(spec=self._spec, geometry=self._geometry)
        m.submodules.core = ResetInserter(link.reset_core)(core)
        connect(m, wiring.flipped(self.received), link.received)
        connect(m, link.sent, wiring.flipped(self.sent))
        connect(m, link.commands, core.commands)
        connect(m, core.replies, link.replies)
        return m


class BoardTop(wiring.Component):
    """A core that a host reaches over two wires, 8N1, by the frames of ``docs/link.md``.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling.
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
        m.submodules.linked = linked = LinkedCore(spec=self._spec, geometry=self._geometry, patience=self._patience)
        m.d.comb += [receiver.pin.eq(self.rx), self.tx.eq(transmitter.pin)]
        connect(m, receiver.bytes, linked.received)
        connect(m, linked.sent, transmitter.bytes)
        return m

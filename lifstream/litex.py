"""The core in a LiteX SoC: as two streams of bytes, or behind registers.

Needs LiteX (``pip install "lifstream[litex]"``). What drives the registers from a host is
:mod:`lifstream.boards.csr_host`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from litex.soc.interconnect.csr import CSRField, CSRStatus, CSRStorage
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockSignal, If, Instance, ResetInserter, ResetSignal, Signal

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.hdl.emit import emit_network

if TYPE_CHECKING:
    from lifstream.hdl.geometry import Geometry

__all__ = ["LifstreamCore", "LifstreamPeripheral"]

_BYTES = [("data", 8)]
_DEPTHS = range(2, 1 << 15)


class LifstreamCore(LiteXModule):
    """A core's Verilog as a LiteX module, in the domain ``sys``.

    ``sink`` takes commands and ``source`` gives replies, bytes of packets (``docs/protocol.md``), ``last`` set on a
    packet's last; ``first`` is ignored, and zero. ``reset`` resets the core beside the domain's own reset.

    Parameters
    ----------
    platform
        The LiteX platform; the Verilog is added to its sources.
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling.
    name
        Name of the Verilog's module and of its files. Two cores in a design need two names.
    folder
        Where the Verilog is written.

    Raises
    ------
    InputError
        The name is none that Verilog takes, or the folder cannot be written.
    """

    def __init__(self, platform: Any, *, spec: NetworkSpec, geometry: Geometry, name: str = "lifstream_core",
                 folder: Path | str = Path("build/lifstream")) -> None:
        self.sink, self.source = stream.Endpoint(_BYTES), stream.Endpoint(_BYTES)
        self.reset = Signal()
        emission = emit_network(spec=spec, geometry=geometry, name=name)
        emission.write(Path(folder))
        platform.add_source(str(Path(folder).resolve() / f"{name}.v"))
        self.specials += Instance(
            name,
            i_clk=ClockSignal(), i_rst=ResetSignal() | self.reset,
            i_commands_data=self.sink.data, i_commands_last=self.sink.last,
            i_commands_valid=self.sink.valid, o_commands_ready=self.sink.ready,
            o_replies_data=self.source.data, o_replies_last=self.source.last,
            o_replies_valid=self.source.valid, i_replies_ready=self.source.ready)


class LifstreamPeripheral(LiteXModule):
    """A core behind registers, with a queue either way and an interrupt.

    ===========  ==========================================================================================
    command      write a byte of a command (``data``), ``last`` with a packet's last; one too many is lost
    reply        read the next byte of a reply and take it: ``data``, ``last``, and ``valid`` when there was one
    status       ``room``: bytes that may be written to ``command`` now; ``waiting``: bytes of replies
    control      write 1 to ``reset``: the core is reset (its weights are kept) and both queues are emptied
    ev           event ``reply``: bytes of replies are waiting
    ===========  ==========================================================================================

    Reading takes what is read, so the CSR bus must be wide enough for a register: ``csr_data_width=32``, LiteX's
    default.

    Parameters
    ----------
    platform, spec, geometry, name, folder
        As for :class:`LifstreamCore`.
    depth
        Bytes that each queue holds, 2 to 32,767.

    Raises
    ------
    InputError
        As :class:`LifstreamCore`; or ``depth`` is out of bounds.
    """

    def __init__(self, platform: Any, *, spec: NetworkSpec, geometry: Geometry, name: str = "lifstream_core",
                 folder: Path | str = Path("build/lifstream"), depth: int = 64) -> None:
        if depth not in _DEPTHS:
            raise InputError(f"depth: {depth} is out of bounds, must be {_DEPTHS.start}..{_DEPTHS.stop - 1}")
        self.core = LifstreamCore(platform, spec=spec, geometry=geometry, name=name, folder=folder)
        self.commands = ResetInserter()(stream.SyncFIFO(_BYTES, depth))
        self.replies = ResetInserter()(stream.SyncFIFO(_BYTES, depth))
        self.command = CSRStorage(description="A byte of a command.", fields=[
            CSRField("data", size=8, description="The byte."),
            CSRField("last", size=1, description="It is the packet's last.")])
        self.reply = CSRStatus(description="The next byte of a reply; reading takes it.", fields=[
            CSRField("data", size=8, description="The byte."),
            CSRField("last", size=1, description="It is the packet's last."),
            CSRField("valid", size=1, description="There was a byte.")])
        self.status = CSRStatus(description="How full the queues are.", fields=[
            CSRField("room", size=16, description="Bytes that may be written to command now."),
            CSRField("waiting", size=16, description="Bytes of replies that wait.")])
        self.control = CSRStorage(description="Control.", fields=[
            CSRField("reset", size=1, pulse=True, description="Reset the core and empty the queues.")])
        self.ev = EventManager()
        self.ev.reply = EventSourceLevel(description="Bytes of replies are waiting.")
        self.ev.finalize()
        reset = self.control.fields.reset
        self.comb += [
            self.core.reset.eq(reset), self.commands.reset.eq(reset), self.replies.reset.eq(reset),
            self.commands.sink.valid.eq(self.command.re),
            self.commands.sink.data.eq(self.command.fields.data), self.commands.sink.last.eq(self.command.fields.last),
            self.commands.source.connect(self.core.sink),
            self.core.source.connect(self.replies.sink),
            self.reply.fields.valid.eq(self.replies.source.valid),
            # Zero where there is none: an empty queue holds anything.
            If(self.replies.source.valid,
                self.reply.fields.data.eq(self.replies.source.data),
                self.reply.fields.last.eq(self.replies.source.last)),
            self.replies.source.ready.eq(self.reply.we),
            self.status.fields.room.eq(depth - self.commands.level),
            self.status.fields.waiting.eq(self.replies.level),
            self.ev.reply.trigger.eq(self.replies.source.valid),
        ]

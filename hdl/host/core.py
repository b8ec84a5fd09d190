"""The core: a network behind one stream of bytes in and one out."""

from __future__ import annotations

import enum

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import COUNTER_BYTES, COUNTERS
from lifstream.hdl.events import label_layout
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.commands import LABELS, CommandReader
from lifstream.hdl.host.counters import Counters
from lifstream.hdl.host.packets import ByteStream
from lifstream.hdl.host.replies import ReplySender
from lifstream.hdl.network import Network, least_rate_offset
from lifstream.hdl.queue import StreamQueue

__all__ = ["Core", "CorePorts"]


class CorePorts(enum.Enum):
    """What a core shows beside its streams of bytes."""

    STREAMS = "streams"
    """Nothing."""
    STATUS = "status"
    """Counters, whether it is idle, and an input that clears the counters: for a register file beside it."""


_RESET_CLOCKS = 8
"""Clocks that a reset lasts inside, at least: registers on the way to the lanes have no reset of their own, and pass on
for so long what they held."""


class Core(wiring.Component):
    """Obeys the commands of :mod:`lifstream.golden.contract.protocol`; whatever comes, it answers and goes on.

    An image's packet is taken while the image before is computed. Replies keep the order of the
    commands: everything but an image waits until all images before have been answered, and commands
    that touch the weights also until the network is idle.

    Reset may come at any moment and last for a clock or more; inside it lasts for ten clocks more, in which nothing
    is taken or given. Its memories need not hold anything then, nor at power-up: what is not loaded by a command is
    cleared or computed anew (:class:`lifstream.hdl.layer.history.SpikeHistory`,
    :class:`lifstream.hdl.votes.VoteReadout`, :class:`lifstream.hdl.layer.loader.WeightLoader`), and images wait for it.

    Latency: an image's reply follows its result by 1 clock; others by 2 clocks once they may go.
    Throughput: one byte per clock either way, but for 8 clocks before each counter. Memory: 4 labels, the counters.
    No multiplier.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, window and unrolling.
    ports
        What it shows beside its streams.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry, ports: CorePorts = CorePorts.STREAMS) -> None:
        self.spec, self.geometry, self._ports = spec, geometry, ports
        self.network = Network(spec=spec, geometry=geometry)
        super().__init__({
            "commands": In(ByteStream),
            "replies": Out(ByteStream),
            **({
                "counters": Out(8 * COUNTER_BYTES).array(len(COUNTERS)),
                "clear_counters": In(1),    # pulse; only while idle
                "idle": Out(1),
            } if ports is CorePorts.STATUS else {}),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        closed = self._stretch_reset(m)
        network, in_core = self.network, DomainRenamer("core")
        m.submodules.network = in_core(network)
        reader = CommandReader(spec=spec, items={kind.name: network.items(kind) for kind in network.state})
        m.submodules.reader = in_core(reader)
        m.submodules.sender = in_core(sender := ReplySender(spec=spec))
        if spec.learns:
            labels = StreamQueue(shape=label_layout(spec), depth=LABELS)
            m.submodules.labels = in_core(labels)
            connect(m, reader.labels, labels.source)
            connect(m, labels.sink, network.labels)
        connect(m, getattr(reader, network.samples), getattr(network, network.samples))
        connect(m, network.result, sender.result)
        if network.readout.answer_follows:
            connect(m, network.answer, sender.told)
        for kind in network.state:
            connect(m, getattr(reader, kind.name), getattr(network, kind.name))
            m.d.comb += getattr(network, kind.read).eq(getattr(reader, kind.read))
            connect(m, getattr(network, kind.readback), getattr(sender, kind.readback))
        m.d.core += network.rate.eq(reader.rate_shift - least_rate_offset(spec))
        m.d.comb += [
            reader.commands.payload.eq(self.commands.payload), reader.commands.valid.eq(self.commands.valid & ~closed),
            self.commands.ready.eq(reader.commands.ready & ~closed),
            self.replies.payload.eq(sender.replies.payload), self.replies.valid.eq(sender.replies.valid & ~closed),
            sender.replies.ready.eq(self.replies.ready & ~closed),
            sender.command.eq(reader.command), sender.status.eq(reader.status), sender.answer.eq(reader.answer),
            reader.answered.eq(sender.answered), reader.image_answered.eq(sender.image_answered),
            sender.drop.eq(reader.drop),
            sender.rate_shift.eq(reader.rate_shift), reader.network_idle.eq(network.idle),
            network.reseed.eq(reader.reseed),
            *(state.eq(told) for state, told in zip(network.random_states, reader.random_states, strict=True)),
        ]
        m.submodules.counters = in_core(counters := Counters(count=len(COUNTERS), width=8 * COUNTER_BYTES))
        m.d.comb += [counters.events.eq(self._counted(reader.image_taken)), counters.clear.eq(reader.clear),
                     sender.counter_turn.eq(counters.turn), sender.counter_value.eq(counters.value)]
        if self._ports is CorePorts.STATUS:
            m.d.comb += [counters.clear.eq(reader.clear | self.clear_counters), self.idle.eq(reader.idle & ~closed)]
            for index in range(len(COUNTERS)):
                with m.If(counters.turn == index):
                    m.d.core += self.counters[index].eq(counters.value)
        return m

    def _counted(self, image_taken: Value) -> Value:
        """What is counted: images, and clocks by what the network is doing, the later phase first."""
        network = self.network
        answered = network.result.valid & network.result.ready & network.result.p.trained
        events: dict[str, Value] = {
            "images": image_taken,
            "learned": answered & network.result.p.learned,
            "skipped": answered & ~network.result.p.learned,
        }
        earlier: Value = Const(0, 1)
        for name, signal in (("update_cycles", network.updating), ("desire_cycles", network.desiring),
                             ("forward_cycles", network.forward), ("load_cycles", network.loading)):
            events[name] = signal & ~earlier
            earlier = earlier | signal
        events["idle_cycles"] = ~earlier
        return Cat(events[name] for name in COUNTERS)

    def _stretch_reset(self, m: Module) -> Signal:
        """Make the domain of all that is inside, with a reset that lasts long enough; returns whether it is closed."""
        left = Signal(range(_RESET_CLOCKS + 1), init=_RESET_CLOCKS)
        # A register of its own: it goes to very many places.
        resetting = Signal(init=1)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        # What keeps the streams shut stands near them; a clock longer, or synthesis would find the two equal.
        closed = Signal(init=1)
        m.d.sync += [resetting.eq(left != 0), closed.eq((left != 0) | resetting)]
        m.domains.core = ClockDomain(local=True)
        m.d.comb += [ClockSignal("core").eq(ClockSignal()), ResetSignal("core").eq(resetting)]
        return closed

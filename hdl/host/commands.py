"""The commands a core obeys, packet by packet."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import EVENT_BYTES, Command, Status, command_bytes, commands_of, sample_command
from lifstream.hdl.encoder import PixelLayout
from lifstream.hdl.event_input import EventLayout
from lifstream.hdl.events import bits_for_index, label_layout
from lifstream.hdl.host.packets import ByteStream, by_command
from lifstream.hdl.registry import state_kinds

__all__ = ["LABELS", "CommandReader"]

LABELS = 4
"""Labels on their way: more images are never under way."""


@dataclass(frozen=True, kw_only=True)
class _Packet:
    """The packet under way, for the states that read it."""

    take: Value
    """A byte is taken."""
    ends: Value
    """It is the packet's last."""
    position: Signal
    """Bytes of the payload taken; behind an item of state, whether the packet is over."""
    over: Signal
    """Where samples are events: all of it has been taken."""


class CommandReader(wiring.Component):
    """Reads packets and does what they say; asks for a reply, and waits until it has been sent.

    Images go on to the network while others are computed. All other commands wait for the replies of the images before
    them, and those that touch the network's state also until it is idle.

    Latency: none for pixels, 1 clock for an item of state, 1 or 2 for what other commands do once they may. Throughput:
    a byte per clock; an item of state costs a clock more. Adders: four counters. No multiplier, no memory.

    Parameters
    ----------
    spec
        The numeric contract.
    items
        How many items of each kind of state there are, by its name.
    """

    def __init__(self, *, spec: NetworkSpec, items: dict[str, int]) -> None:
        self._spec, self._items, self._state = spec, items, state_kinds(spec)
        self._takes_events = isinstance(spec.input, Events)
        members = {
            "commands": In(ByteStream),
            **({"events": Out(stream.Signature(EventLayout(neurons=spec.inputs, steps=spec.steps)))}
               if self._takes_events else {"pixels": Out(stream.Signature(PixelLayout()))}),
            **({"labels": Out(stream.Signature(label_layout(spec)))} if spec.learns else {}),
            "random_states": Out(32).array(len(spec.random_seeds)),
            "reseed": Out(1),           # pulse
            "rate_shift": Out(8, init=min(spec.rate_shift_range[0] + 2, spec.rate_shift_range[1])),
            "clear": Out(1),            # pulse: start counting anew
            "command": Out(8),          # the one under way
            "status": Out(8),           # ... and how it has gone
            "answer": Out(1),           # a reply other than an image's is wanted ...
            "answered": In(1),          # ... and has been sent
            "image_taken": Out(1),
            "image_answered": In(1),
            "network_idle": In(1),
            "drop": Out(1),             # the next image's result is not to be sent
            "idle": Out(1),             # all images have been answered and nothing is under way
        }
        for kind in self._state:
            members |= {kind.name: Out(stream.Signature(kind.shape)), kind.read: Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outstanding = Signal(4)     # images taken and not answered
        m.d.sync += outstanding.eq(outstanding + self.image_taken - self.image_answered)
        quiet = outstanding == 0
        # A clock late, but no command follows an image so fast.
        still = Signal()
        m.d.sync += still.eq(quiet & self.network_idle)
        m.d.comb += self.idle.eq(quiet & still)
        m.d.sync += [self.reseed.eq(0), self.clear.eq(0)]

        longest = max(command_bytes(self._spec, name) for name in commands_of(self._spec))
        packet = _Packet(take=self.commands.valid & self.commands.ready, ends=self.commands.p.last,
                         position=Signal(range(longest + 1), name="position"), over=Signal(name="packet_over"))
        with m.FSM(name="command_state"):
            self._first_byte(m, packet)
            if self._takes_events:
                self._events(m, packet, outstanding)
            else:
                self._image(m, packet, outstanding)
            self._items_of_state(m, packet)
            if self._spec.learns:
                self._rate(m, packet)
            self._seed(m, packet)
            with m.State("CLEAR"), m.If(self.idle):
                m.d.sync += self.clear.eq(1)
                m.next = "ANSWER"
            with m.State("READ"), m.If(self.idle):
                m.d.comb += [getattr(self, kind.read).eq(self.command == kind.read_command) for kind in self._state]
                m.next = "ANSWER"
            with m.State("SETTLE"):  # STATUS: the counters are those of whole images
                with m.If(self.idle):
                    m.next = "ANSWER"
            with m.State("DRAIN"):
                m.d.comb += self.commands.ready.eq(1)
                with m.If(packet.take & packet.ends):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.eq(quiet)
                with m.If(self.answered):
                    m.next = "COMMAND"
        return m

    def _first_byte(self, m: Module, packet: _Packet) -> None:
        """Which command it is, and whether it should end here."""
        spec = self._spec
        # Where a command goes on after its first byte, with a payload and without.
        payload_states = {Command.INFER: "IMAGE", Command.TRAIN: "LABEL", Command.TRAIN_EVENTS: "LABEL",
                          Command.SET_RATE_SHIFT: "RATE",
                          Command.SEED_RANDOM: "SEED", **{kind.load_command: "ITEMS" for kind in self._state}}
        bare_states = {Command.CLEAR_COUNTERS: "CLEAR", Command.STATUS: "SETTLE", Command.SEED_RANDOM: "SETTLE",
                       **{kind.read_command: "READ" for kind in self._state}}
        with m.State("COMMAND"):
            m.d.comb += self.commands.ready.eq(1)
            m.d.sync += packet.position.eq(0)
            with m.If(packet.take):
                m.d.sync += self.command.eq(self.commands.p.data)
                with m.Switch(self.commands.p.data):
                    for name in commands_of(spec):
                        with m.Case(name):
                            expected = command_bytes(spec, name)
                            m.d.sync += self.status.eq(Status.OK)
                            if name is Command.INFER_EVENTS:    # of any length
                                m.d.sync += packet.over.eq(packet.ends)
                                m.next = "ROOM"
                                continue
                            with m.If(packet.ends == (expected == 0)):
                                m.next = payload_states[name] if expected else bare_states[name]
                            with m.Else():
                                m.d.sync += self.status.eq(Status.BAD_LENGTH)
                                m.next = "ANSWER" if expected else "DRAIN"
                    with m.Default():
                        m.d.sync += self.status.eq(Status.UNKNOWN_COMMAND)
                        m.next = "DRAIN"
                        with m.If(packet.ends):
                            m.next = "ANSWER"

    def _image(self, m: Module, packet: _Packet, outstanding: Signal) -> None:
        spec, pixel, take, ends = self._spec, self.pixels.p, packet.take, packet.ends
        label = Signal(8)
        room = self._room(m, outstanding)
        if spec.learns:
            m.d.comb += self.labels.p.label.eq(label)
            self._label(m, packet, label)
        m.d.comb += [pixel.intensity.eq(self.commands.p.data), pixel.learn.eq(self.command == Command.TRAIN)]
        with m.State("IMAGE"):
            final = packet.position == spec.inputs - 1
            # The last pixel is passed on only if the packet ends with it.
            bad = ends ^ final
            m.d.comb += [
                pixel.abort.eq(bad),
                self.pixels.valid.eq(self.commands.valid & room),
                self.commands.ready.eq(self.pixels.ready & room),
            ]
            with m.If(take):
                m.d.sync += packet.position.eq(packet.position + 1)
                with m.If(bad):
                    m.d.sync += self.status.eq(Status.BAD_LENGTH)
                    m.next = "DRAIN"
                    with m.If(ends):
                        m.next = "ANSWER"
                with m.Elif(final):
                    m.d.comb += self.image_taken.eq(1)
                    m.d.comb += self.labels.valid.eq(self.command == Command.TRAIN) if spec.learns else []
                    m.next = "COMMAND"

    def _label(self, m: Module, packet: _Packet, label: Signal) -> None:
        """The label in front of a sample to learn from."""
        take, ends, spec = packet.take, packet.ends, self._spec
        with m.State("LABEL"):
            m.d.comb += self.commands.ready.eq(1)
            with m.If(take):
                m.d.sync += [label.eq(self.commands.p.data), packet.over.eq(ends)]
                m.next = "ROOM" if self._takes_events else "IMAGE"
                if not self._takes_events:
                    with m.If(ends):
                        m.d.sync += self.status.eq(Status.BAD_LENGTH)
                        m.next = "ANSWER"
                with m.If((self.commands.p.data >= spec.classes) & (Const(self._takes_events) | ~ends)):
                    m.d.sync += self.status.eq(Status.BAD_VALUE)
                    m.next = "DRAIN"
                    with m.If(ends):
                        m.next = "ANSWER"

    def _room(self, m: Module, outstanding: Signal) -> Signal:
        """Whether one sample more may be under way, a clock late: they follow each other more slowly."""
        room = Signal(name="room")
        may_take: Value = outstanding < LABELS
        if self._spec.learns:
            may_take = may_take & (self.labels.ready | (self.command == sample_command(self._spec, learn=False)))
        m.d.sync += room.eq(may_take)
        return room

    def _events(self, m: Module, packet: _Packet, outstanding: Signal) -> None:
        """A sample of events: four bytes each, checked and handed on, then the sample's end."""
        spec, take, ends = self._spec, packet.take, packet.ends
        label, number, place = Signal(8), Signal(8 * EVENT_BYTES), Signal(range(EVENT_BYTES))
        following = Signal(8 * EVENT_BYTES + 1)     # the least that an event may be, its step above its neuron
        room = self._room(m, outstanding)
        step, neuron = number[:16], number[16:]
        event = Cat(neuron, step)
        learns = self.command == Command.TRAIN_EVENTS
        good = (event >= following) & (step < spec.steps) & (neuron < spec.inputs)
        m.d.comb += [self.events.p.step.eq(step), self.events.p.neuron.eq(neuron), self.events.p.learn.eq(learns)]
        if spec.learns:
            m.d.comb += [self.labels.p.label.eq(label), self.labels.p.void.eq(self.status != Status.OK)]
            self._label(m, packet, label)
        with m.State("ROOM"):
            m.d.sync += [place.eq(0), following.eq(0)]
            with m.If(room):
                m.next = "EVENTS"
                with m.If(packet.over):
                    m.next = "SAMPLE_END"
        with m.State("EVENTS"):
            m.d.comb += self.commands.ready.eq(1)
            with m.If(take):
                m.d.sync += [number.eq(Cat(number[8:], self.commands.p.data)), place.eq(place + 1),
                             packet.over.eq(ends)]
                with m.If(place == EVENT_BYTES - 1):
                    m.next = "EVENT"
                with m.Elif(ends):
                    m.d.sync += self.status.eq(Status.BAD_LENGTH)
                    m.next = "SAMPLE_END"
        with m.State("EVENT"):
            m.d.comb += self.events.valid.eq(good)
            with m.If(~good):
                m.d.sync += self.status.eq(Status.BAD_VALUE)
                m.next = "SAMPLE_END"
            with m.Elif(self.events.ready):
                m.d.sync += following.eq(event + 1)
                m.next = "EVENTS"
                with m.If(packet.over):
                    m.next = "SAMPLE_END"
        with m.State("SAMPLE_END"):
            m.d.comb += [self.events.valid.eq(1), self.events.p.end.eq(1)]
            with m.If(self.events.ready):
                m.d.comb += self.image_taken.eq(1)
                m.d.comb += self.labels.valid.eq(learns) if spec.learns else []
                m.next = "COMMAND"
                with m.If(self.status != Status.OK):
                    m.next = "REST"
        with m.State("REST"):   # what else the packet holds
            m.d.comb += self.commands.ready.eq(~packet.over)
            with m.If(packet.over | (take & ends)):
                m.next = "VOID"
        with m.State("VOID"):   # the sample's own result is not sent
            m.d.comb += self.drop.eq(outstanding == 1)
            with m.If(outstanding == 0):
                m.next = "ANSWER"

    def _items_of_state(self, m: Module, packet: _Packet) -> None:
        """Loading one kind of state: its items are put together and handed to the network one by one."""
        state, position, take, ends = self._state, packet.position, packet.take, packet.ends
        wide = max(kind.item_bytes for kind in state)
        number = Signal(8 * wide)                       # the item that is coming in ...
        item_byte = Signal(bits_for_index(wide))        # ... its bytes ...
        left = Signal(range(max(self._items.values()) + 1))     # ... and how many items there are

        def of_kind(values: list[ValueLike]) -> ValueLike:
            return by_command(self.command, [(kind.load_command, value)
                                             for kind, value in zip(state, values, strict=True)])

        streams = [getattr(self, kind.name) for kind in state]
        for kind, items in zip(state, streams, strict=True):
            # Bytes come in at the top; an item of fewer than all bytes ends up there.
            m.d.comb += items.payload.eq(number[8 * (wide - kind.item_bytes):][:kind.shape.width])
        taken = of_kind([items.ready for items in streams])
        last_byte = of_kind([kind.item_bytes - 1 for kind in state])
        with m.State("ITEMS"):
            m.d.sync += [left.eq(of_kind([self._items[kind.name] for kind in state])), item_byte.eq(0)]
            with m.If(self.idle):
                m.next = "ITEM"
        with m.State("ITEM"):
            m.d.comb += self.commands.ready.eq(1)
            with m.If(take):
                m.d.sync += [number.eq(Cat(number[8:], self.commands.p.data)), item_byte.eq(item_byte + 1)]
                with m.If(item_byte == last_byte):
                    m.d.sync += item_byte.eq(0)
                    m.next = "ITEM_WRITE"
                with m.If(ends ^ ((left == 1) & (item_byte == last_byte))):
                    m.d.sync += self.status.eq(Status.BAD_LENGTH)
                with m.If(ends):
                    m.next = "ITEM_WRITE"
                # From here on, `position` says whether the packet is over.
                m.d.sync += position.eq(ends)
        with m.State("ITEM_WRITE"):
            for index, items in enumerate(streams):
                m.d.comb += items.valid.eq(of_kind([int(index == other) for other in range(len(state))]))
            with m.If(taken):
                m.d.sync += left.eq(left - 1)
                m.next = "ITEM"
                with m.If(position != 0):  # cut short: the rest is zero
                    m.d.sync += number.eq(0)
                    m.next = "ITEM_WRITE"
                with m.If(left == 1):
                    m.next = "DRAIN"
                    with m.If(position != 0):
                        m.next = "ANSWER"

    def _rate(self, m: Module, packet: _Packet) -> None:
        low, high = self._spec.rate_shift_range
        shift = self.commands.p.data
        with m.State("RATE"):
            m.d.comb += self.commands.ready.eq(self.idle)
            with m.If(packet.take):
                with m.If(~packet.ends):
                    m.d.sync += self.status.eq(Status.BAD_LENGTH)
                    m.next = "DRAIN"
                with m.Else():
                    m.next = "ANSWER"
                    with m.If((shift > high) | (shift < low if low else 0)):
                        m.d.sync += self.status.eq(Status.BAD_VALUE)
                    with m.Else():
                        m.d.sync += self.rate_shift.eq(shift)

    def _seed(self, m: Module, packet: _Packet) -> None:
        spec, position, ends = self._spec, packet.position, packet.ends
        states = Signal(max(8, 32 * len(spec.random_seeds)))
        m.d.comb += [state.eq(states[32 * index:32 * index + 32]) for index, state in enumerate(self.random_states)]
        with m.State("SEED"):
            final = position == command_bytes(spec, Command.SEED_RANDOM) - 1
            m.d.comb += self.commands.ready.eq(1)
            with m.If(packet.take):
                m.d.sync += [position.eq(position + 1), states.eq(Cat(states[8:], self.commands.p.data))]
                with m.If(ends & final):
                    m.next = "RESEED"
                with m.Elif(ends | final):
                    m.d.sync += self.status.eq(Status.BAD_LENGTH)
                    m.next = "DRAIN"
                    with m.If(ends):
                        m.next = "ANSWER"
        with m.State("RESEED"):
            with m.If(self.idle):
                m.d.sync += self.reseed.eq(1)
                m.next = "ANSWER"

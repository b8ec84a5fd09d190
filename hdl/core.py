"""The core: a network behind one stream of bytes in and one out."""

from __future__ import annotations

import enum

from amaranth.hdl import (
    Array,
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
    unsigned,
)
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from lifstream.golden.protocol import (
    COUNTER_BYTES,
    COUNTERS,
    THRESHOLD_BYTES,
    Command,
    Status,
    command_bytes,
    commands_of,
    reply_bytes,
    weight_bytes,
)
from lifstream.golden.spec import NetworkSpec
from lifstream.hdl.counters import Counters
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.network import Network
from lifstream.hdl.queue import StreamQueue

__all__ = ["ByteLayout", "Core", "CorePorts"]

class CorePorts(enum.Enum):
    """What a core shows beside its streams of bytes."""

    STREAMS = "streams"
    """Nothing."""
    STATUS = "status"
    """Counters, whether it is idle, and an input that clears the counters: for a register file beside it."""


_LABELS = 4
"""Labels on their way: more images are never under way."""

_RESET_CLOCKS = 8
"""Clocks that a reset lasts inside, at least: registers on the way to the lanes have no reset of their own, and pass on
for so long what they held."""


class ByteLayout(data.StructLayout):
    """A byte of a packet; ``last`` is set on the packet's last."""

    def __init__(self) -> None:
        super().__init__({"data": 8, "last": 1})


ByteStream = stream.Signature(ByteLayout())


class Core(wiring.Component):
    """Obeys the commands of :mod:`lifstream.golden.protocol`; whatever comes, it answers and goes on.

    An image's packet is taken while the image before is computed. Replies keep the order of the
    commands: everything but an image waits until all images before have been answered, and commands
    that touch the weights also until the network is idle.

    Reset may come at any moment and last for a clock or more; inside it lasts for ten clocks more, in which nothing
    is taken or given. Its memories need not hold anything then, nor at power-up: what is not loaded by a command is
    cleared or computed anew (:class:`lifstream.hdl.history.SpikeHistory`, :class:`lifstream.hdl.votes.VoteReadout`,
    :class:`lifstream.hdl.loader.WeightLoader`), and images wait for it.

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
            "commands": In(stream.Signature(ByteLayout())),
            "replies": Out(stream.Signature(ByteLayout())),
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
        labels = StreamQueue(shape=unsigned(bits_for_index(spec.classes)), depth=_LABELS)
        m.submodules.labels = in_core(labels)
        connect(m, labels.sink, network.labels)

        low, high = spec.rate_shift_range
        rate_shift = Signal(8, init=min(low + 2, high))
        m.d.core += network.rate.eq(rate_shift - (spec.weight_fraction - spec.trace_fraction))

        outstanding = Signal(4)     # images taken and not answered
        image_taken = Signal()
        image_answered = Signal()
        m.d.core += outstanding.eq(outstanding + image_taken - image_answered)
        quiet = outstanding == 0
        # A clock late, but no command follows an image so fast.
        still = Signal()
        m.d.core += still.eq(quiet & network.idle)
        idle = quiet & still

        # -- counters ------------------------------------------------------------------------------
        counters = Counters(count=len(COUNTERS), width=8 * COUNTER_BYTES)
        m.submodules.counters = in_core(counters)
        clear = Signal()
        active = {
            "update_cycles": network.updating,
            "desire_cycles": network.desiring,
            "forward_cycles": network.forward,
            "load_cycles": network.loading,
        }
        events: dict[str, Value] = {
            "images": image_taken,
            "learned": network.result.valid & network.result.ready & network.result.p.trained
            & network.result.p.learned,
            "skipped": network.result.valid & network.result.ready & network.result.p.trained
            & ~network.result.p.learned,
        }
        earlier: Value = Const(0, 1)
        for name, signal in active.items():
            events[name] = signal & ~earlier
            earlier = earlier | signal
        events["idle_cycles"] = ~earlier
        m.d.comb += [counters.events.eq(Cat(events[name] for name in COUNTERS)), counters.clear.eq(clear)]
        if self._ports is CorePorts.STATUS:
            m.d.comb += [counters.clear.eq(clear | self.clear_counters), self.idle.eq(idle & ~closed)]
            for index in range(len(COUNTERS)):
                with m.If(counters.turn == index):
                    m.d.core += self.counters[index].eq(counters.value)

        # -- commands ------------------------------------------------------------------------------
        m.d.core += [network.reseed.eq(0), clear.eq(0)]     # pulses
        incoming = ByteStream.create()
        m.d.comb += [incoming.payload.eq(self.commands.payload), incoming.valid.eq(self.commands.valid & ~closed),
                     self.commands.ready.eq(incoming.ready & ~closed)]
        command = Signal(8)
        status = Signal(8)
        answer = Signal()           # a reply other than an image's is wanted ...
        answered = Signal()         # ... and has been sent
        plastic = spec.stdp is not None
        known = commands_of(spec)
        longest = max(command_bytes(spec, name) for name in known)
        position = Signal(range(longest + 1))
        label = Signal(8)
        # LOAD_WEIGHTS and LOAD_THRESHOLDS: the item that is coming in, its bytes, and how many items there are.
        wide = max(weight_bytes(spec), THRESHOLD_BYTES if plastic else 0)
        number = Signal(8 * wide)
        weight_byte = Signal(bits_for_index(wide))
        neurons = sum(spec.sizes[1:1 + spec.lif_layers])
        weights_left = Signal(range(max(spec.parameters, neurons) + 1))
        for_thresholds = (command == Command.LOAD_THRESHOLDS) if plastic else Const(0, 1)
        last_byte = Mux(for_thresholds, THRESHOLD_BYTES - 1, weight_bytes(spec) - 1) if plastic \
            else weight_bytes(spec) - 1
        states = Signal(max(8, 32 * len(spec.random_seeds)))
        m.d.comb += [state.eq(states[32 * index:32 * index + 32])
                     for index, state in enumerate(network.random_states)]
        pixel = network.pixels.p
        take = incoming.valid & incoming.ready
        ends = incoming.p.last
        m.d.comb += [pixel.intensity.eq(incoming.p.data), pixel.learn.eq(command == Command.TRAIN)]
        # Bytes come in at the top; an item of fewer than all bytes ends up there.
        m.d.comb += network.weights.payload.eq(number[8 * (wide - weight_bytes(spec)):][:spec.weight_bits])
        taken = network.weights.ready
        if plastic:
            m.d.comb += network.thresholds.payload.eq(number)
            taken = Mux(for_thresholds, network.thresholds.ready, network.weights.ready)

        # A clock late: images follow each other more slowly.
        room = Signal()
        m.d.core += room.eq((outstanding < _LABELS) & (labels.source.ready | (command == Command.INFER)))

        # Where a command goes on after its first byte, with a payload and without.
        payload_states = {Command.INFER: "IMAGE", Command.TRAIN: "LABEL", Command.LOAD_WEIGHTS: "WEIGHTS",
                          Command.SET_RATE_SHIFT: "RATE", Command.SEED_RANDOM: "SEED",
                          Command.LOAD_THRESHOLDS: "WEIGHTS"}
        bare_states = {Command.READ_WEIGHTS: "READ", Command.READ_THRESHOLDS: "READ", Command.CLEAR_COUNTERS: "CLEAR",
                       Command.STATUS: "SETTLE", Command.SEED_RANDOM: "SETTLE"}

        def reply(value: Status) -> list[object]:
            """Answer once the packet is over."""
            return [status.eq(value)]

        with m.FSM(name="command_state", domain="core"):
            with m.State("COMMAND"):
                m.d.comb += incoming.ready.eq(1)
                m.d.core += position.eq(0)
                with m.If(take):
                    m.d.core += command.eq(incoming.p.data)
                    with m.Switch(incoming.p.data):
                        for name in known:
                            with m.Case(name):
                                expected = command_bytes(spec, name)
                                m.d.core += reply(Status.OK)
                                with m.If(ends == (expected == 0)):
                                    m.next = payload_states[name] if expected else bare_states[name]
                                with m.Else():
                                    m.d.core += reply(Status.BAD_LENGTH)
                                    m.next = "ANSWER" if expected else "DRAIN"
                        with m.Default():
                            m.d.core += reply(Status.UNKNOWN_COMMAND)
                            m.next = "DRAIN"
                            with m.If(ends):
                                m.next = "ANSWER"

            with m.State("LABEL"):
                m.d.comb += incoming.ready.eq(1)
                with m.If(take):
                    m.d.core += label.eq(incoming.p.data)
                    m.next = "IMAGE"
                    with m.If(ends):
                        m.d.core += reply(Status.BAD_LENGTH)
                        m.next = "ANSWER"
                    with m.Elif(incoming.p.data >= spec.classes):
                        m.d.core += reply(Status.BAD_VALUE)
                        m.next = "DRAIN"
            with m.State("IMAGE"):
                final = position == spec.inputs - 1
                # The last pixel is passed on only if the packet ends with it.
                bad = incoming.p.last ^ final
                m.d.comb += [
                    pixel.abort.eq(bad),
                    network.pixels.valid.eq(incoming.valid & room),
                    incoming.ready.eq(network.pixels.ready & room),
                ]
                with m.If(take):
                    m.d.core += position.eq(position + 1)
                    with m.If(bad):
                        m.d.core += reply(Status.BAD_LENGTH)
                        m.next = "DRAIN"
                        with m.If(ends):
                            m.next = "ANSWER"
                    with m.Elif(final):
                        m.d.comb += [image_taken.eq(1), labels.source.payload.eq(label),
                                     labels.source.valid.eq(command == Command.TRAIN)]
                        m.next = "COMMAND"

            with m.State("WEIGHTS"):
                m.d.core += [weights_left.eq(Mux(for_thresholds, neurons, spec.parameters)), weight_byte.eq(0)]
                with m.If(idle):
                    m.next = "WEIGHT"
            with m.State("WEIGHT"):
                m.d.comb += incoming.ready.eq(1)
                with m.If(take):
                    m.d.core += [number.eq(Cat(number[8:], incoming.p.data)), weight_byte.eq(weight_byte + 1)]
                    with m.If(weight_byte == last_byte):
                        m.d.core += weight_byte.eq(0)
                        m.next = "WEIGHT_WRITE"
                    with m.If(ends ^ ((weights_left == 1) & (weight_byte == last_byte))):
                        m.d.core += reply(Status.BAD_LENGTH)
                    with m.If(ends):
                        m.next = "WEIGHT_WRITE"
                    # From here on, `position` says whether the packet is over.
                    m.d.core += position.eq(ends)
            with m.State("WEIGHT_WRITE"):
                m.d.comb += network.weights.valid.eq(~for_thresholds)
                if plastic:
                    m.d.comb += network.thresholds.valid.eq(for_thresholds)
                with m.If(taken):
                    m.d.core += [weights_left.eq(weights_left - 1)]
                    m.next = "WEIGHT"
                    with m.If(position != 0):  # cut short: the rest is zero
                        m.d.core += number.eq(0)
                        m.next = "WEIGHT_WRITE"
                    with m.If(weights_left == 1):
                        m.next = "DRAIN"
                        with m.If(position != 0):
                            m.next = "ANSWER"

            with m.State("RATE"):
                m.d.comb += incoming.ready.eq(idle)
                with m.If(take):
                    with m.If(~ends):
                        m.d.core += reply(Status.BAD_LENGTH)
                        m.next = "DRAIN"
                    with m.Else():
                        m.next = "ANSWER"
                        with m.If((incoming.p.data > high) | (incoming.p.data < low if low else 0)):
                            m.d.core += reply(Status.BAD_VALUE)
                        with m.Else():
                            m.d.core += rate_shift.eq(incoming.p.data)
            with m.State("SEED"):
                final = position == command_bytes(spec, Command.SEED_RANDOM) - 1
                m.d.comb += incoming.ready.eq(1)
                with m.If(take):
                    m.d.core += [position.eq(position + 1), states.eq(Cat(states[8:], incoming.p.data))]
                    with m.If(ends & final):
                        m.next = "RESEED"
                    with m.Elif(ends | final):
                        m.d.core += reply(Status.BAD_LENGTH)
                        m.next = "DRAIN"
                        with m.If(ends):
                            m.next = "ANSWER"
            with m.State("RESEED"):
                with m.If(idle):
                    m.d.core += network.reseed.eq(1)
                    m.next = "ANSWER"
            with m.State("CLEAR"), m.If(idle):
                m.d.core += clear.eq(1)
                m.next = "ANSWER"
            with m.State("READ"), m.If(idle):
                m.d.comb += network.read.eq(command == Command.READ_WEIGHTS)
                if plastic:
                    m.d.comb += network.read_thresholds.eq(command == Command.READ_THRESHOLDS)
                m.next = "ANSWER"
            with m.State("SETTLE"):  # STATUS: the counters are those of whole images
                with m.If(idle):
                    m.next = "ANSWER"
            with m.State("DRAIN"):
                m.d.comb += incoming.ready.eq(1)
                with m.If(take & ends):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += answer.eq(quiet)
                with m.If(answered):
                    m.next = "COMMAND"

        self._replies(m, closed=closed, command=command, status=status, answer=answer, answered=answered,
                      image_answered=image_answered, rate_shift=rate_shift, counters=counters)
        return m

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

    def _replies(self, m: Module, *, closed: Signal, command: Signal, status: Signal, answer: Signal,
                 answered: Signal, image_answered: Signal, rate_shift: Signal, counters: Counters) -> None:
        """Send a reply a byte at a time."""
        spec, network = self.spec, self.network
        outgoing = ByteStream.create()
        m.d.comb += [self.replies.payload.eq(outgoing.payload), self.replies.valid.eq(outgoing.valid & ~closed),
                     outgoing.ready.eq(self.replies.ready & ~closed)]
        result = network.result.p
        plastic = spec.stdp is not None
        longest = max(reply_bytes(spec, name) for name in commands_of(spec))
        position = Signal(range(max(longest, 2) + 1))
        digest = Const(int.from_bytes(bytes.fromhex(spec.digest()), "little"), 64)
        fixed = [*(digest[8 * byte:8 * byte + 8] for byte in range(8)), rate_shift]     # how a STATUS begins
        report = Signal(8 * COUNTER_BYTES)          # a counter on its way out ...
        left = Signal(range(COUNTER_BYTES + 1))     # ... and its bytes to come
        counter = Signal(range(len(COUNTERS) + 1))  # the next to be sent
        wide = max(weight_bytes(spec), THRESHOLD_BYTES if plastic else 0)
        weight_byte = Signal(bits_for_index(wide))
        sent = outgoing.valid & outgoing.ready
        weight_word = Signal(8 * wide)
        m.d.comb += weight_word.eq(network.readback.payload.as_signed())
        readback_valid, last_byte = network.readback.valid, weight_bytes(spec) - 1
        if plastic:
            for_thresholds = command == Command.READ_THRESHOLDS
            last_byte = Mux(for_thresholds, THRESHOLD_BYTES - 1, last_byte)
            readback_valid = Mux(for_thresholds, network.threshold_readback.valid, readback_valid)
            with m.If(for_thresholds):
                m.d.comb += weight_word.eq(network.threshold_readback.payload)

        with m.FSM(name="reply_state", domain="core"):
            with m.State("IDLE"):
                m.d.core += position.eq(0)
                with m.If(network.result.valid):
                    m.next = "IMAGE_COMMAND"
                with m.Elif(answer):
                    m.d.core += counter.eq(0)
                    m.next = "COMMAND"
            with m.State("IMAGE_COMMAND"):
                m.d.comb += [outgoing.valid.eq(1),
                             outgoing.p.data.eq(Mux(result.trained, Command.TRAIN, Command.INFER))]
                with m.If(sent):
                    m.next = "IMAGE_STATUS"
            with m.State("IMAGE_STATUS"):
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(Mux(result.unique, Status.OK, Status.TIE))]
                with m.If(sent):
                    m.next = "IMAGE_PREDICTION"
            with m.State("IMAGE_PREDICTION"):
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(Mux(result.unique, result.prediction, 0xFF))]
                with m.If(sent):
                    if plastic:  # counts follow the result
                        m.d.comb += network.result.ready.eq(1)
                    m.next = "IMAGE_COUNTS"
            with m.State("IMAGE_COUNTS"):
                final = position == spec.responding - 1
                if plastic:
                    m.d.comb += [outgoing.valid.eq(network.counts.valid), outgoing.p.data.eq(network.counts.payload),
                                 network.counts.ready.eq(outgoing.ready)]
                else:
                    m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(
                        Array(result.counts[index] for index in range(spec.classes))[position])]
                m.d.comb += outgoing.p.last.eq(final)
                with m.If(sent):
                    m.d.core += position.eq(position + 1)
                    with m.If(final):
                        m.d.comb += [network.result.ready.eq(not plastic), image_answered.eq(1)]
                        m.next = "IDLE"
            with m.State("COMMAND"):
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(command)]
                with m.If(sent):
                    m.next = "STATUS"
            with m.State("STATUS"):
                reads = (command == Command.READ_WEIGHTS) | ((command == Command.READ_THRESHOLDS) if plastic else 0)
                has_payload = (status == Status.OK) & ((command == Command.STATUS) | reads)
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(status), outgoing.p.last.eq(~has_payload)]
                with m.If(sent):
                    with m.If(~has_payload):
                        m.d.comb += answered.eq(1)
                        m.next = "IDLE"
                    with m.Elif(command == Command.STATUS):
                        m.next = "IDENTITY"
                    with m.Else():
                        m.next = "WEIGHTS"
            with m.State("IDENTITY"):
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(Array(fixed)[position])]
                with m.If(sent):
                    m.d.core += position.eq(position + 1)
                    with m.If(position == len(fixed) - 1):
                        m.next = "COUNTER"
            with m.State("REPORT"):
                final = (left == 1) & (counter == len(COUNTERS))
                m.d.comb += [outgoing.valid.eq(1), outgoing.p.data.eq(report[:8]), outgoing.p.last.eq(final)]
                with m.If(sent):
                    m.d.core += [left.eq(left - 1), report.eq(report >> 8)]
                    with m.If(final):
                        m.d.comb += answered.eq(1)
                        m.next = "IDLE"
                    with m.Elif(left == 1):
                        m.next = "COUNTER"
            with m.State("COUNTER"):
                with m.If(counters.turn == counter):
                    m.d.core += [report.eq(counters.value), left.eq(COUNTER_BYTES), counter.eq(counter + 1)]
                    m.next = "REPORT"
            with m.State("WEIGHTS"):
                final = position == reply_bytes(spec, Command.READ_WEIGHTS) - 1
                if plastic:
                    final = position == Mux(for_thresholds, reply_bytes(spec, Command.READ_THRESHOLDS),
                                            reply_bytes(spec, Command.READ_WEIGHTS)) - 1
                full = weight_byte == last_byte
                m.d.comb += [
                    outgoing.valid.eq(readback_valid),
                    outgoing.p.data.eq(Array(weight_word[8 * byte:8 * byte + 8] for byte in range(wide))[weight_byte]),
                    outgoing.p.last.eq(final),
                    network.readback.ready.eq(outgoing.ready & full),
                ]
                if plastic:
                    m.d.comb += network.threshold_readback.ready.eq(outgoing.ready & full)
                with m.If(sent):
                    m.d.core += [position.eq(position + 1), weight_byte.eq(Mux(full, 0, weight_byte + 1))]
                    with m.If(final):
                        m.d.comb += answered.eq(1)
                        m.next = "IDLE"

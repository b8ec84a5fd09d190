"""The replies of a core, packet by packet."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Shape, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import (
    COUNTER_BYTES,
    COUNTERS,
    Command,
    Status,
    commands_of,
    reply_bytes,
    response_bytes,
    sample_command,
)
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.host.packets import ByteStream, by_command
from lifstream.hdl.layer.potentials import response_shape
from lifstream.hdl.readout import ResultLayout
from lifstream.hdl.registry import readout_class, state_kinds

__all__ = ["ReplySender"]


class ReplySender(wiring.Component):
    """Sends replies a byte at a time: an image's when its result is there, any other when it is asked for.

    Latency: an image's reply follows its result by 1 clock; others by 2 clocks once they may go. Throughput: a byte
    per clock, but for 8 clocks before each counter. Adders: four counters. No multiplier, no memory.

    Parameters
    ----------
    spec
        The numeric contract.
    """

    def __init__(self, *, spec: NetworkSpec) -> None:
        self._spec, self._state = spec, state_kinds(spec)
        self._answer_follows = readout_class(spec).answer_follows
        result = ResultLayout(classes=spec.classes, count_bits=None if self._answer_follows else spec.count_bits)
        members = {
            "replies": Out(ByteStream),
            "result": In(stream.Signature(result)),
            "command": In(8),           # what is answered ...
            "status": In(8),            # ... and how it has gone
            "answer": In(1),            # a reply other than an image's is wanted ...
            "answered": Out(1),         # ... and has been sent
            "image_answered": Out(1),
            "drop": In(1),              # the next result is not to be sent
            "rate_shift": In(8),
            "counter_turn": In(range(len(COUNTERS))),   # the counter whose ...
            "counter_value": In(8 * COUNTER_BYTES),     # ... value this is
        }
        if self._answer_follows:
            members["told"] = In(stream.Signature(response_shape(spec)))    # of the last layer's neurons
        for kind in self._state:
            members[kind.readback] = In(stream.Signature(kind.shape))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        longest = max(reply_bytes(self._spec, name) for name in commands_of(self._spec))
        position = Signal(range(max(longest, 2) + 1))   # bytes sent of a payload
        counter = Signal(range(len(COUNTERS) + 1))      # the next to be sent
        sent = self.replies.valid & self.replies.ready
        with m.FSM(name="reply_state"):
            with m.State("IDLE"):
                m.d.sync += position.eq(0)
                with m.If(self.result.valid & self.drop):
                    m.d.comb += [self.result.ready.eq(1), self.image_answered.eq(1)]
                with m.Elif(self.result.valid):
                    m.next = "IMAGE_COMMAND"
                with m.Elif(self.answer):
                    m.d.sync += counter.eq(0)
                    m.next = "COMMAND"
            self._image(m, sent, position)
            self._head(m, sent)
            self._report(m, sent, position, counter)
            self._items_of_state(m, sent, position)
        return m

    def _send(self, m: Module, byte: Value) -> None:
        m.d.comb += [self.replies.valid.eq(1), self.replies.p.data.eq(byte)]

    def _image(self, m: Module, sent: Value, position: Signal) -> None:
        spec, result, replies = self._spec, self.result.p, self.replies
        with m.State("IMAGE_COMMAND"):
            self._send(m, Mux(result.trained, *(sample_command(spec, learn=learn) for learn in (True, False))))
            with m.If(sent):
                m.next = "IMAGE_STATUS"
        with m.State("IMAGE_STATUS"):
            self._send(m, Mux(result.unique, Status.OK, Status.TIE))
            with m.If(sent):
                m.next = "IMAGE_PREDICTION"
        with m.State("IMAGE_PREDICTION"):
            self._send(m, Mux(result.unique, result.prediction, 0xFF))
            with m.If(sent):
                if self._answer_follows:
                    m.d.comb += self.result.ready.eq(1)
                m.next = "IMAGE_NEURONS"
        width = response_bytes(spec)
        told_byte = Signal(bits_for_index(width))
        with m.State("IMAGE_NEURONS"):
            final = position == width * spec.responding - 1
            if self._answer_follows:
                word = Signal(Shape(8 * width, signed=self.told.payload.shape().signed), name="told_word")
                full = told_byte == width - 1
                m.d.comb += [word.eq(self.told.payload), replies.valid.eq(self.told.valid),
                             replies.p.data.eq(Array(word[8 * byte:8 * byte + 8] for byte in range(width))[told_byte]),
                             self.told.ready.eq(replies.ready & full)]
                with m.If(sent):
                    m.d.sync += told_byte.eq(Mux(full, 0, told_byte + 1))
            else:
                self._send(m, Array(result.counts[index][8 * byte:8 * byte + 8]
                                    for index in range(spec.classes) for byte in range(width))[position])
            m.d.comb += replies.p.last.eq(final)
            with m.If(sent):
                m.d.sync += position.eq(position + 1)
                with m.If(final):
                    m.d.comb += [self.result.ready.eq(not self._answer_follows), self.image_answered.eq(1)]
                    m.next = "IDLE"

    def _head(self, m: Module, sent: Value) -> None:
        """Command and status, with which many replies end."""
        with m.State("COMMAND"):
            self._send(m, self.command)
            with m.If(sent):
                m.next = "STATUS"
        with m.State("STATUS"):
            has_payload = self.command == Command.STATUS
            for kind in self._state:
                has_payload = has_payload | (self.command == kind.read_command)
            has_payload = has_payload & (self.status == Status.OK)
            self._send(m, self.status)
            m.d.comb += self.replies.p.last.eq(~has_payload)
            with m.If(sent):
                with m.If(~has_payload):
                    m.d.comb += self.answered.eq(1)
                    m.next = "IDLE"
                with m.Elif(self.command == Command.STATUS):
                    m.next = "IDENTITY"
                with m.Else():
                    m.next = "ITEMS"

    def _report(self, m: Module, sent: Value, position: Signal, counter: Signal) -> None:
        """STATUS: which contract this is, then the counters, each as it is when its turn comes."""
        digest = Const(int.from_bytes(bytes.fromhex(self._spec.digest()), "little"), 64)
        fixed = [*(digest[8 * byte:8 * byte + 8] for byte in range(8)), self.rate_shift]
        report = Signal(8 * COUNTER_BYTES)          # a counter on its way out ...
        left = Signal(range(COUNTER_BYTES + 1))     # ... and its bytes to come
        with m.State("IDENTITY"):
            self._send(m, Array(fixed)[position])
            with m.If(sent):
                m.d.sync += position.eq(position + 1)
                with m.If(position == len(fixed) - 1):
                    m.next = "COUNTER"
        with m.State("REPORT"):
            final = (left == 1) & (counter == len(COUNTERS))
            self._send(m, report[:8])
            m.d.comb += self.replies.p.last.eq(final)
            with m.If(sent):
                m.d.sync += [left.eq(left - 1), report.eq(report >> 8)]
                with m.If(final):
                    m.d.comb += self.answered.eq(1)
                    m.next = "IDLE"
                with m.Elif(left == 1):
                    m.next = "COUNTER"
        with m.State("COUNTER"):
            with m.If(self.counter_turn == counter):
                m.d.sync += [report.eq(self.counter_value), left.eq(COUNTER_BYTES), counter.eq(counter + 1)]
                m.next = "REPORT"

    def _items_of_state(self, m: Module, sent: Value, position: Signal) -> None:
        """One kind of state, item by item."""
        spec, state, replies = self._spec, self._state, self.replies
        wide = max(kind.item_bytes for kind in state)
        item_byte = Signal(bits_for_index(wide))
        word = Signal(8 * wide)
        streams = [getattr(self, kind.readback) for kind in state]

        def of_kind(values: list[ValueLike]) -> ValueLike:
            return by_command(self.command, [(kind.read_command, value)
                                             for kind, value in zip(state, values, strict=True)])

        m.d.comb += word.eq(of_kind([items.payload for items in streams]))
        valid = of_kind([items.valid for items in streams])
        last_byte = of_kind([kind.item_bytes - 1 for kind in state])
        last = of_kind([reply_bytes(spec, kind.read_command) - 1 for kind in state])
        with m.State("ITEMS"):
            final, full = position == last, item_byte == last_byte
            m.d.comb += [
                replies.valid.eq(valid),
                replies.p.data.eq(Array(word[8 * byte:8 * byte + 8] for byte in range(wide))[item_byte]),
                replies.p.last.eq(final),
                *(items.ready.eq(replies.ready & full) for items in streams),
            ]
            with m.If(sent):
                m.d.sync += [position.eq(position + 1), item_byte.eq(Mux(full, 0, item_byte + 1))]
                with m.If(final):
                    m.d.comb += self.answered.eq(1)
                    m.next = "IDLE"

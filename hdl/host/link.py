"""The serial link: packets of bytes in numbered, checked, acknowledged frames over a UART (``docs/link.md``).

Stop and wait in both directions: one data frame is under way either way, its sender repeats it until it is
acknowledged, and its receiver passes it on once. Nothing reaches the core before its checksum has been seen.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import crc, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.protocol import (
    CRC_BYTES,
    END,
    ESCAPE,
    ESCAPED_END,
    ESCAPED_ESCAPE,
    KIND_SHIFT,
    LAST,
    SEQUENCE_MASK,
    FrameKind,
)
from lifstream.hdl.host.packets import ByteLayout, ByteStream

__all__ = ["FrameReceiver", "FrameTransmitter", "Link", "UartReceiver", "UartTransmitter"]


class UartReceiver(wiring.Component):
    """Eight data bits, no parity, one stop bit; sampled in the middle of a bit.

    A start bit that is gone in its middle, and a byte without a stop bit, are dropped. Latency: half a bit after
    the last data bit's. Throughput: the line's; a byte not taken when the next is complete is lost.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 4.
    """

    def __init__(self, *, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"pin": In(1, init=1), "bytes": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, line = Signal(init=1), Signal(init=1)    # the pin is asynchronous
        m.d.sync += [first.eq(self.pin), line.eq(first)]
        clocks = Signal(range(self._divisor + 1))
        bit = Signal(range(10))
        shift = Signal(8)
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += self.bytes.valid.eq(0)
        with m.FSM(name="receiver_state"):
            with m.State("IDLE"):
                m.d.sync += [clocks.eq(self._divisor // 2 - 1), bit.eq(0)]
                with m.If(~line):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += clocks.eq(clocks - 1)
                with m.If(clocks == 0):
                    m.d.sync += [clocks.eq(self._divisor - 1), bit.eq(bit + 1)]
                    with m.If((bit == 0) & line):
                        m.next = "IDLE"
                    with m.Elif((bit != 0) & (bit != 9)):
                        m.d.sync += shift.eq((line << 7) | (shift >> 1))
                    with m.Elif(bit == 9):
                        m.next = "IDLE"
                        with m.If(line):
                            m.d.sync += [self.bytes.payload.eq(shift), self.bytes.valid.eq(1)]
                        with m.Else():
                            m.next = "BREAK"
            with m.State("BREAK"):  # the line must rest before another byte can start
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Eight data bits, no parity, one stop bit. Throughput: a byte per ten bits.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 4.
    """

    def __init__(self, *, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"bytes": In(stream.Signature(8)), "pin": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clocks = Signal(range(self._divisor))
        left = Signal(range(11))
        shift = Signal(10, init=0x3FF)
        m.d.comb += [self.bytes.ready.eq(left == 0), self.pin.eq(shift[0])]
        with m.If(left != 0):
            m.d.sync += clocks.eq(clocks - 1)
            with m.If(clocks == 0):
                m.d.sync += [clocks.eq(self._divisor - 1), shift.eq((shift >> 1) | 0x200), left.eq(left - 1)]
        with m.Elif(self.bytes.valid):
            m.d.sync += [shift.eq((self.bytes.payload << 1) | 0x200), left.eq(10), clocks.eq(self._divisor - 1)]
        return m


class FrameCheck(wiring.Component):
    """A frame's checksum, a bit per clock: the line is slower still.

    Latency: 8 clocks from a byte to ``crc`` and ``matches``. Throughput: a byte per 9 clocks, while not ``busy``.
    One CRC unit of 32 bits. No adder wider than a counter.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1),     # pulse: the frame's first byte has yet to come
            "valid": In(1), "data": In(8), "busy": Out(1),
            "crc": Out(32),
            "matches": Out(1),  # the bytes so far end with their own checksum
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = unit = crc.catalog.CRC32_ISO_HDLC(data_width=1).create()
        shift, left = Signal(8), Signal(range(9))
        m.d.comb += [self.busy.eq(left != 0), self.crc.eq(unit.crc), self.matches.eq(unit.match_detected),
                     unit.start.eq(self.start), unit.valid.eq(self.busy), unit.data.eq(shift[0])]
        with m.If(self.busy):
            m.d.sync += [shift.eq(shift >> 1), left.eq(left - 1)]
        with m.Elif(self.valid):
            m.d.sync += [shift.eq(self.data), left.eq(8)]
        return m


class FrameReceiver(wiring.Component):
    """Finds frames in a stream of bytes, checks them, and keeps one data frame's payload until it is read.

    ``good`` pulses for every frame whose checksum is right; its header's fields stand on ``kind``, ``sequence``
    and ``last``. A data frame that starts while ``hold`` is set, or is longer than ``payload`` bytes, is not good.
    Takes a byte per 9 clocks. One CRC unit; memory: ``payload + 4`` bytes.

    Parameters
    ----------
    payload
        Largest payload of a frame, bytes.
    """

    def __init__(self, *, payload: int) -> None:
        self._payload = payload
        super().__init__({
            "bytes": In(stream.Signature(8)),
            "hold": In(1),
            "good": Out(1), "kind": Out(2), "sequence": Out(4), "last": Out(1),
            "length": Out(range(payload + 1)),
            "address": In(range(payload + CRC_BYTES)),  # payload byte to read; its value follows after a clock
            "data": Out(8),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self._payload + CRC_BYTES
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=depth, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.submodules.check = check = FrameCheck()
        header = Signal(8)
        count = Signal(range(depth + 3))    # bytes of the frame so far, header and checksum included
        escaped, bad, held = Signal(), Signal(init=1), Signal()
        byte = self.bytes.payload
        came = self.bytes.valid & self.bytes.ready
        ends = came & (byte == END)
        decoded = Signal(8)
        m.d.comb += [
            self.bytes.ready.eq(~check.busy),
            decoded.eq(Mux(escaped, Mux(byte == ESCAPED_END, END, ESCAPE), byte)),
            check.data.eq(decoded), check.start.eq(ends),
            read.addr.eq(self.address), self.data.eq(read.data),
            write.addr.eq(count - 1), write.data.eq(decoded),
            self.kind.eq(header >> KIND_SHIFT), self.sequence.eq(header & SEQUENCE_MASK),
            self.last.eq((header & LAST) != 0), self.length.eq(count - 1 - CRC_BYTES),
            self.good.eq(ends & ~bad & ~escaped & (count > CRC_BYTES) & check.matches
                         & ~(held & (self.kind == FrameKind.DATA))),
        ]
        with m.If(ends):
            # What has just been found good is not overwritten by whatever follows it.
            m.d.sync += [count.eq(0), escaped.eq(0), bad.eq(0),
                         held.eq(self.hold | (self.good & (self.kind == FrameKind.DATA)))]
        with m.Elif(came & ~escaped & (byte == ESCAPE)):
            m.d.sync += escaped.eq(1)
        with m.Elif(came):
            m.d.sync += escaped.eq(0)
            m.d.comb += [check.valid.eq(1), write.en.eq(~held & (count != 0) & (count <= depth))]
            with m.If(escaped & (byte != ESCAPED_END) & (byte != ESCAPED_ESCAPE)):
                m.d.sync += bad.eq(1)
            with m.If(count == 0):
                m.d.sync += header.eq(decoded)
            with m.If(count == depth + 1):
                m.d.sync += bad.eq(1)   # too long; what follows is another frame's business
            with m.Else():
                m.d.sync += count.eq(count + 1)
        return m


class FrameTransmitter(wiring.Component):
    """Sends one frame at a time: delimiter, header, payload, checksum, delimiter.

    ``start`` takes ``header`` and ``length`` while ``busy`` is clear. The payload is asked for byte by byte on
    ``address`` and answered on ``data`` a clock later. A byte per 9 clocks at the most, less escapes. One
    CRC unit.

    Parameters
    ----------
    payload
        Largest payload of a frame, bytes.
    """

    def __init__(self, *, payload: int) -> None:
        self._payload = payload
        super().__init__({
            "start": In(1), "header": In(8), "length": In(range(payload + 1)), "busy": Out(1),
            "address": Out(range(payload + CRC_BYTES)), "data": In(8),
            "bytes": Out(stream.Signature(8)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = FrameCheck()
        header, left = Signal(8), Signal(range(self._payload + 1))
        place = Signal(range(CRC_BYTES))
        byte = Signal(8)            # what is to be sent, before escaping
        sending, summed = Signal(), Signal()
        second = Signal()           # the escape has gone out
        special = (byte == END) | (byte == ESCAPE)
        sent = self.bytes.valid & self.bytes.ready
        taken = Signal()            # the byte has gone out whole
        out = self.bytes
        fetched = Signal(8)         # the payload's, a clock later still
        m.d.sync += fetched.eq(self.data)
        m.d.comb += [check.start.eq(self.start & ~self.busy), check.data.eq(byte), check.valid.eq(summed & taken)]
        with m.If(sending):
            m.d.comb += [out.valid.eq(~check.busy), taken.eq(sent & (second | ~special)), out.payload.eq(
                Mux(second, Mux(byte == END, ESCAPED_END, ESCAPED_ESCAPE), Mux(special, ESCAPE, byte)))]
            with m.If(sent):
                m.d.sync += second.eq(special & ~second)
        with m.FSM(name="transmitter_state") as machine:
            m.d.comb += self.busy.eq(~machine.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [header.eq(self.header), left.eq(self.length), self.address.eq(0), place.eq(0)]
                with m.If(self.start):
                    m.next = "OPEN"
            with m.State("OPEN"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                with m.If(sent):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [byte.eq(header), sending.eq(1), summed.eq(1)]
                with m.If(taken):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):    # the memory's answer to `address` is there
                m.d.comb += [byte.eq(fetched), sending.eq(left != 0), summed.eq(1)]
                with m.If(left == 0):
                    m.next = "CHECK"
                with m.If(taken):
                    m.d.sync += [self.address.eq(self.address + 1), left.eq(left - 1)]
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "PAYLOAD"
            with m.State("CHECK"):
                m.d.comb += [byte.eq(Array(check.crc.word_select(index, 8) for index in range(CRC_BYTES))[place]),
                             sending.eq(1)]
                with m.If(taken):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == CRC_BYTES - 1):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                with m.If(sent):
                    m.next = "IDLE"
        return m


class Link(wiring.Component):
    """Carries the core's packets over a stream of bytes that may lose, change or invent some.

    After reset nothing is passed on until a RESET frame has come; it resets the core (whose weights stay) and both
    sequence numbers, and is answered by a RESET of the same number. A data frame is passed to the core as soon as the
    core takes it, and acknowledged when it has taken all of it: that is the flow control. The core's replies go out in
    frames of up to ``payload`` bytes; each is repeated every ``patience`` clocks until it is acknowledged.

    Latency: a frame's length. Two CRC units; memory: two frames. No multiplier.

    Parameters
    ----------
    payload
        Largest payload of a frame, bytes.
    patience
        Clocks after which an unacknowledged frame is sent again.
    """

    def __init__(self, *, payload: int, patience: int) -> None:
        self._payload, self._patience = payload, patience
        super().__init__({
            "received": In(stream.Signature(8)), "sent": Out(stream.Signature(8)),
            "commands": Out(ByteStream), "replies": In(ByteStream),
            "reset_core": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver(payload=self._payload)
        m.submodules.transmitter = transmitter = FrameTransmitter(payload=self._payload)
        wiring.connect(m, wiring.flipped(self.received), receiver.bytes)
        wiring.connect(m, transmitter.bytes, wiring.flipped(self.sent))

        synchronised = Signal()
        expected = Signal(4)                # sequence number of the next data frame
        acknowledge, acknowledged = Signal(), Signal(4)  # an acknowledgement is to be sent, and its number
        confirm, confirmed = Signal(), Signal(4)    # so is the answer to RESET
        m.d.sync += self.reset_core.eq(0)   # a clock is enough: the core stretches it

        # -- from the host: a data frame waits in the receiver's buffer while the core takes it -------
        passing = Signal()
        position, length = Signal(range(self._payload + 1)), Signal(range(self._payload + 1))
        packet_ends, ending = Signal(), Signal()
        fetching, fetched = Signal(), Signal()  # the memory is read, then its answer taken over
        byte = Signal(8)
        number = Signal(4)
        m.d.comb += [
            receiver.hold.eq(passing), receiver.address.eq(position),
            self.commands.valid.eq(passing & fetched), self.commands.p.data.eq(byte), self.commands.p.last.eq(ending),
        ]
        m.d.sync += [fetching.eq(passing), fetched.eq(fetching & passing), byte.eq(receiver.data),
                     ending.eq(packet_ends & (position == length - 1))]
        with m.If(self.commands.valid & self.commands.ready):
            m.d.sync += [position.eq(position + 1), fetching.eq(0), fetched.eq(0)]
        with m.If(passing & (position == length)):
            m.d.sync += [passing.eq(0), acknowledge.eq(1), acknowledged.eq(number)]

        # -- to the host: replies are collected, then sent until acknowledged --------------------------
        m.submodules.outgoing = outgoing = memory.Memory(shape=8, depth=self._payload, init=[])
        put, get = outgoing.write_port(), outgoing.read_port()
        filled = Signal(range(self._payload + 1))
        taken, taken_byte = Signal(), Signal(ByteLayout())  # on its way to the memory
        whole, final = Signal(), Signal()   # the frame is complete; it ends a packet
        due = Signal()                      # ... and is to be sent (again)
        sequence = Signal(4)
        clocks = Signal(range(self._patience + 1))
        m.d.sync += [taken.eq(self.replies.valid & self.replies.ready), taken_byte.eq(self.replies.payload)]
        m.d.comb += [put.addr.eq(filled), put.data.eq(taken_byte.data), put.en.eq(taken),
                     self.replies.ready.eq(synchronised & ~whole & ~taken & ~self.reset_core),
                     get.addr.eq(transmitter.address), transmitter.data.eq(get.data)]
        with m.If(put.en):
            m.d.sync += filled.eq(filled + 1)
            with m.If(taken_byte.last | (filled == self._payload - 1)):
                m.d.sync += [whole.eq(1), due.eq(1), final.eq(taken_byte.last)]
        with m.If(whole & ~due & ~transmitter.busy):
            m.d.sync += clocks.eq(clocks + 1)
            with m.If(clocks == self._patience):
                m.d.sync += due.eq(1)
        m.d.comb += transmitter.start.eq(~transmitter.busy & (confirm | acknowledge | due))
        with m.If(transmitter.start):
            with m.If(confirm):
                m.d.comb += transmitter.header.eq((FrameKind.RESET << KIND_SHIFT) | confirmed)
                m.d.sync += confirm.eq(0)
            with m.Elif(acknowledge):
                m.d.comb += transmitter.header.eq((FrameKind.ACKNOWLEDGE << KIND_SHIFT) | acknowledged)
                m.d.sync += acknowledge.eq(0)
            with m.Else():
                m.d.comb += [transmitter.length.eq(filled), transmitter.header.eq(
                    (FrameKind.DATA << KIND_SHIFT) | Mux(final, LAST, 0) | sequence)]
                m.d.sync += [due.eq(0), clocks.eq(0)]

        # -- what frames do ----------------------------------------------------------------------------
        with m.If(receiver.good):
            with m.Switch(receiver.kind):
                with m.Case(FrameKind.DATA), m.If(synchronised):
                    with m.If(receiver.sequence == expected):
                        m.d.sync += [passing.eq(1), position.eq(0), length.eq(receiver.length),
                                     fetching.eq(0), fetched.eq(0), packet_ends.eq(receiver.last),
                                     number.eq(expected), expected.eq(expected + 1)]
                    with m.Elif(receiver.sequence == (expected - 1)[:4]):  # the acknowledgement was lost
                        m.d.sync += [acknowledge.eq(1), acknowledged.eq(receiver.sequence)]
                with m.Case(FrameKind.ACKNOWLEDGE), m.If(synchronised & whole & (receiver.sequence == sequence)):
                    m.d.sync += [whole.eq(0), due.eq(0), filled.eq(0), sequence.eq(sequence + 1)]
                with m.Case(FrameKind.RESET):
                    m.d.sync += [synchronised.eq(1), self.reset_core.eq(1), expected.eq(0), sequence.eq(0),
                                 passing.eq(0), whole.eq(0), due.eq(0), filled.eq(0), taken.eq(0), acknowledge.eq(0),
                                 confirm.eq(1), confirmed.eq(receiver.sequence)]
        return m


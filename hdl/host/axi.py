"""The core behind AXI: packets on two AXI4-Streams, control and counters on an AXI4-Lite port.

Port names are those that block-design tools infer interfaces from (``s_axis_tdata``, ``s_axi_awaddr``, ``aclk``,
``aresetn``; AMBA AXI4-Stream and AXI4-Lite, ARM IHI 0051 and IHI 0022).
"""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal, ValueLike, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow, In, Member, Out, connect

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import COUNTER_BYTES, COUNTERS
from lifstream.golden.contract.register_table import REGISTERS
from lifstream.golden.contract.registers import Access
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core, CorePorts
from lifstream.hdl.host.packets import ByteStream

__all__ = ["AXI_VERSION", "AXI_WIDTHS", "AxiCore", "Narrow", "Widen", "register_map"]

AXI_WIDTHS = (1, 2, 4, 8)
"""Bytes a stream word may have."""

_ADDRESS_BITS = 8
_RESET_CLOCKS = 8
"""Clocks that the control register's reset lasts, so that it can be read; the core itself stretches a single one."""

_COUNTER_LOW = ".low"
"""Ending of the name of a counter's low word, which holds its high word still."""


def register_map() -> dict[str, int]:
    """Byte address of every register by name; of a counter, of its low word, whose high word follows it."""
    return {register.name.removesuffix(_COUNTER_LOW): register.address for register in REGISTERS
            if not register.name.endswith(".high")}


AXI_VERSION = REGISTERS[0].reset
"""Content of the first register: "LF" and the version of the register map."""


class Narrow(wiring.Component):
    """AXI4-Stream words to bytes: the bytes that ``keep`` names, lowest first; null bytes are dropped.

    Latency: 1 clock. Throughput: one byte per clock. No adder, no multiplier; memory: one word. A packet whose
    last word keeps no byte ends with the byte before, which is therefore held until the next word is seen.

    Parameters
    ----------
    width
        Bytes of a word, 1 to 8.
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        super().__init__({
            "tdata": In(8 * width), "tkeep": In(width), "tlast": In(1), "tvalid": In(1), "tready": Out(1),
            "bytes": Out(ByteStream),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, keep, last, occupied = Signal(8 * self._width), Signal(self._width), Signal(), Signal()
        held, holding = Signal(8), Signal()     # a byte that may turn out to be the packet's last
        lowest = keep & -keep
        remaining = Signal(self._width)
        byte = Signal(8)
        m.d.comb += remaining.eq(keep & ~lowest)
        for index in range(self._width):
            with m.If(lowest[index]):
                m.d.comb += byte.eq(word.word_select(index, 8))
        ends_empty = occupied & last & (keep == 0)
        out = self.bytes
        m.d.comb += out.p.data.eq(held)
        with m.If(holding):
            # What is held goes out when a byte follows it, or as the last when nothing does.
            m.d.comb += [out.valid.eq(occupied & ((keep != 0) | last)), out.p.last.eq(ends_empty)]
        moved = Signal()
        m.d.comb += moved.eq(occupied & (keep != 0) & (~holding | out.ready))
        with m.If(out.valid & out.ready):
            m.d.sync += holding.eq(0)
        with m.If(moved):
            m.d.sync += [held.eq(byte), holding.eq(1), keep.eq(remaining)]
        # A word is done when all its bytes have moved on; a packet's last stays, empty, until its end is told.
        done = Signal()
        m.d.comb += done.eq(occupied & Mux(last, (keep == 0) & (~holding | out.ready),
                                           (keep == 0) | (moved & (remaining == 0))))
        m.d.comb += self.tready.eq(~occupied | done)
        with m.If(done):
            m.d.sync += occupied.eq(0)
        with m.If(self.tvalid & self.tready):
            m.d.sync += [occupied.eq(1), word.eq(self.tdata), keep.eq(self.tkeep), last.eq(self.tlast)]
        return m


class Widen(wiring.Component):
    """Bytes to AXI4-Stream words: full words, but for a packet's last, whose ``tkeep`` says how many bytes it has.

    Latency: 1 clock from a word's last byte. Throughput: one byte per clock. One counter; memory: one word.

    Parameters
    ----------
    width
        Bytes of a word, 1 to 8.
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        super().__init__({
            "bytes": In(ByteStream),
            "tdata": Out(8 * width), "tkeep": Out(width), "tlast": Out(1), "tvalid": Out(1), "tready": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Signal(bits_for_index(self._width))
        taken = self.bytes.valid & self.bytes.ready
        m.d.comb += self.bytes.ready.eq(~self.tvalid | self.tready)
        with m.If(self.tvalid & self.tready):
            m.d.sync += [self.tvalid.eq(0), self.tkeep.eq(0), self.tdata.eq(0)]
        with m.If(taken):
            for index in range(self._width):
                with m.If(place == index):
                    m.d.sync += [self.tdata.word_select(index, 8).eq(self.bytes.p.data), self.tkeep[index].eq(1)]
            m.d.sync += [place.eq(place + 1), self.tlast.eq(self.bytes.p.last)]
            with m.If(self.bytes.p.last | (place == self._width - 1)):
                m.d.sync += [place.eq(0), self.tvalid.eq(1)]
        return m


class AxiCore(wiring.Component):
    """A core with AXI ports, one clock ``aclk`` and an active-low reset ``aresetn``, synchronous to it.

    ``s_axis_*`` takes commands and ``m_axis_*`` gives replies, a packet each (``docs/protocol.md``), ``tlast`` on its
    last word; ``s_axi_*`` is the register port: addresses, fields, access and constants are those of
    :data:`lifstream.golden.contract.register_table.REGISTERS`. Writes of an unknown register are answered OKAY and
    change nothing; unknown registers read as zero. Byte strobes are honoured for whole registers only: a write
    without strobe 0 changes nothing.

    Latency beyond the core's: 2 clocks for a command's byte, 1 for a reply's word; a register access takes 3
    clocks. Throughput: one byte per clock. Adders: a counter of 4 bits. No multiplier, no memory.

    Parameters
    ----------
    spec
        The numeric contract.
    geometry
        Lanes, pixels per clock and unrolling.
    width
        Bytes of a stream word, one of :data:`AXI_WIDTHS`.
    """

    def __init__(self, *, spec: NetworkSpec, geometry: Geometry, width: int = 4) -> None:
        self.spec, self.geometry, self._width = spec, geometry, width
        self.core = Core(spec=spec, geometry=geometry, ports=CorePorts.STATUS)
        super().__init__({
            "aclk": In(1), "aresetn": In(1),
            **_stream_ports("s_axis", width, In), **_stream_ports("m_axis", width, Out),
            "s_axi_awaddr": In(_ADDRESS_BITS), "s_axi_awprot": In(3), "s_axi_awvalid": In(1), "s_axi_awready": Out(1),
            "s_axi_wdata": In(32), "s_axi_wstrb": In(4), "s_axi_wvalid": In(1), "s_axi_wready": Out(1),
            "s_axi_bresp": Out(2), "s_axi_bvalid": Out(1), "s_axi_bready": In(1),
            "s_axi_araddr": In(_ADDRESS_BITS), "s_axi_arprot": In(3), "s_axi_arvalid": In(1), "s_axi_arready": Out(1),
            "s_axi_rdata": Out(32), "s_axi_rresp": Out(2), "s_axi_rvalid": Out(1), "s_axi_rready": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.axi = ClockDomain(local=True)     # registers: the bus's reset alone
        m.domains.sync = ClockDomain(local=True)    # the core: also reset by command
        resetting = Signal(4)
        m.d.comb += [ClockSignal("axi").eq(self.aclk), ResetSignal("axi").eq(~self.aresetn),
                     ClockSignal("sync").eq(self.aclk), ResetSignal("sync").eq(~self.aresetn | (resetting != 0))]
        m.submodules.core = core = self.core
        m.submodules.narrow = narrow = Narrow(width=self._width)
        m.submodules.widen = widen = Widen(width=self._width)
        connect(m, narrow.bytes, core.commands)
        connect(m, core.replies, widen.bytes)
        m.d.comb += [
            narrow.tdata.eq(self.s_axis_tdata), narrow.tkeep.eq(self.s_axis_tkeep), narrow.tlast.eq(self.s_axis_tlast),
            # A core in reset takes and gives nothing.
            narrow.tvalid.eq(self.s_axis_tvalid & (resetting == 0)),
            self.s_axis_tready.eq(narrow.tready & (resetting == 0)),
            self.m_axis_tdata.eq(widen.tdata), self.m_axis_tkeep.eq(widen.tkeep), self.m_axis_tlast.eq(widen.tlast),
            self.m_axis_tvalid.eq(widen.tvalid & (resetting == 0)), widen.tready.eq(self.m_axis_tready),
        ]
        self._registers(m, resetting)
        return m

    def _registers(self, m: Module, resetting: Signal) -> None:
        core = self.core
        clearing = Signal()
        with m.If(resetting != 0):
            m.d.axi += resetting.eq(resetting - 1)
        m.d.comb += core.clear_counters.eq(clearing & core.idle)
        with m.If(core.clear_counters | (resetting != 0)):
            m.d.axi += clearing.eq(0)

        high = Signal(8 * COUNTER_BYTES - 32)   # of the counter whose low word was read last
        digest = bytes.fromhex(self.spec.digest())
        values: dict[str, ValueLike] = {
            "control.reset": resetting != 0, "control.clear_counters": clearing, "control.idle": core.idle,
            "digest_low.value": int.from_bytes(digest[:4], "little"),
            "digest_high.value": int.from_bytes(digest[4:], "little"),
            **{f"{name}.low.value": core.counters[index][:32] for index, name in enumerate(COUNTERS)},
            **{f"{name}.high.value": high for name in COUNTERS}}
        set_by_software = {"control.reset": Signal(), "control.clear_counters": Signal()}
        self._writes(m, set_by_software)
        with m.If(set_by_software["control.reset"]):
            m.d.axi += resetting.eq(_RESET_CLOCKS)
        with m.Elif(set_by_software["control.clear_counters"]):
            m.d.axi += clearing.eq(1)
        self._reads(m, values, high)

    def _writes(self, m: Module, fields: dict[str, Signal]) -> None:
        """A write: address and data in either order, then the answer. ``fields`` are high for a clock when set."""
        address, data, strobe = Signal(_ADDRESS_BITS), Signal(32), Signal()
        have_address, have_data = Signal(), Signal()
        m.d.comb += [self.s_axi_awready.eq(~have_address), self.s_axi_wready.eq(~have_data)]
        with m.If(self.s_axi_awvalid & self.s_axi_awready):
            m.d.axi += [have_address.eq(1), address.eq(self.s_axi_awaddr)]
        with m.If(self.s_axi_wvalid & self.s_axi_wready):
            m.d.axi += [have_data.eq(1), data.eq(self.s_axi_wdata), strobe.eq(self.s_axi_wstrb[0])]
        with m.If(have_address & have_data & ~self.s_axi_bvalid):
            m.d.axi += self.s_axi_bvalid.eq(1)
            for register in REGISTERS:
                for field in register.fields:
                    if field.access is Access.SET:
                        assert field.width == 1
                        assert field.low < 8    # of the byte whose strobe is heeded
                        m.d.comb += fields[f"{register.name}.{field.name}"].eq(
                            (address[2:] == register.address >> 2) & strobe & data[field.low])
        with m.If(self.s_axi_bvalid & self.s_axi_bready):
            m.d.axi += [self.s_axi_bvalid.eq(0), have_address.eq(0), have_data.eq(0)]

    def _reads(self, m: Module, values: dict[str, ValueLike], high: Signal) -> None:
        """A read. A counter's low word holds its ``high`` word still, so that the two belong together."""
        m.d.comb += self.s_axi_arready.eq(~self.s_axi_rvalid)
        with m.If(self.s_axi_rvalid & self.s_axi_rready):
            m.d.axi += self.s_axi_rvalid.eq(0)
        with m.If(self.s_axi_arvalid & self.s_axi_arready):
            m.d.axi += [self.s_axi_rvalid.eq(1), self.s_axi_rdata.eq(0)]
            with m.Switch(self.s_axi_araddr[2:]):
                for register in REGISTERS:
                    with m.Case(register.address >> 2):
                        m.d.axi += [
                            self.s_axi_rdata[field.low:field.low + field.width].eq(
                                field.reset if field.constant else values[f"{register.name}.{field.name}"])
                            for field in register.fields]
                        if register.name.endswith(_COUNTER_LOW):
                            counter = COUNTERS.index(register.name.removesuffix(_COUNTER_LOW))
                            m.d.axi += high.eq(self.core.counters[counter][32:])


def _stream_ports(name: str, width: int, flow: Flow) -> dict[str, Member]:
    back = Out if flow is In else In
    return {f"{name}_tdata": flow(unsigned(8 * width)), f"{name}_tkeep": flow(unsigned(width)),
            f"{name}_tlast": flow(1), f"{name}_tvalid": flow(1), f"{name}_tready": back(1)}

"""Weights on their way into a layer, and back out."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry

__all__ = ["WeightLoader"]

_SLOT_LATENCY = 6
"""Clocks from a HOLD slot being granted to the groups holding its row; a WRITE is done sooner."""

_SHIFT_LATENCY = 3
"""Clocks from a shift being asked for to the groups having shifted."""


class WeightLoader(wiring.Component):
    """Moves a layer's weights a row at a time between a stream and the groups' load registers.

    Loading takes weights in the order of the matrix, row by row; after the last it starts over. Padding lanes are
    filled with zeros, which costs no input. A pulse on ``read`` sends the whole matrix, in the same order, on
    ``readback``. With ``refresh`` every row is first, after reset, read and written as it is: whoever adds up what is
    written then has it all.

    Latency: a row and fold takes ``lanes + 10`` clocks to load, ``2 x lanes + 4 x lanes per group + 10``
    to read, 18 to refresh. Throughput: within a row one weight per clock in, one per two clocks out. Two
    adders of a row's index. No multiplier.

    Parameters
    ----------
    geometry
        The layer's folding.
    weight_bits
        Width of a weight.
    refresh
        Write all rows anew after reset.
    """

    def __init__(self, *, geometry: LayerGeometry, weight_bits: int, refresh: bool = False) -> None:
        self._geometry, self._refresh = geometry, refresh
        super().__init__({
            "weights": In(stream.Signature(signed(weight_bits))),
            "read": In(1),
            "readback": Out(stream.Signature(signed(weight_bits))),
            "hold_off": In(1),      # the layer learns: leave the load registers alone
            "active": Out(1),       # a row is under way
            "refreshing": Out(1),   # so are all of them, after reset
            "load": Out(signed(weight_bits)),
            "enable": Out(geometry.groups),
            "unload": In(signed(weight_bits)).array(geometry.groups),
            "request": Out(1),      # a slot is wanted
            "writing": Out(1),      # ... WRITE; otherwise HOLD
            "row": Out(unsigned(bits_for_index(geometry.rows))),
            "fold": Out(unsigned(bits_for_index(geometry.row_folds))),  # the row's fold ...
            "first": Out(1),        # ... and whether it is the matrix's first
            "grant": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self._geometry
        presynaptic = Signal(bits_for_index(geometry.matrix_rows))
        neuron = Signal(range(geometry.padded_columns + 1))
        lane = Signal(bits_for_index(geometry.lanes_per_group))
        group = Signal(bits_for_index(geometry.groups))
        turn = Signal(geometry.groups, init=1)  # the group, a bit each
        settle = Signal(range(_SLOT_LATENCY + 1))   # runs on in every state: no enable to decode
        settled = Signal()
        reading = Signal()
        refreshing = Signal(init=self._refresh)
        returning = Signal()    # the row of a refresh has been read and is to be written
        m.d.comb += self.refreshing.eq(refreshing)
        m.d.comb += self.first.eq(presynaptic == 0)
        padding = neuron >= geometry.columns
        last_fold = self.fold == geometry.row_folds - 1
        last_group = group == geometry.groups - 1
        last_lane = lane == geometry.lanes_per_group - 1
        shift = Signal()
        rotate = Signal()
        step = Signal()  # the next neuron
        word = Signal(self.weights.payload.shape())
        if geometry.groups > 1:
            m.d.sync += word.eq(Array(self.unload)[group])
        else:
            m.d.comb += word.eq(self.unload[0])
        m.d.sync += [
            self.enable.eq(Mux(rotate, (1 << geometry.groups) - 1, Mux(shift, turn, 0))),
            self.load.eq(Mux(padding, 0, self.weights.payload)),
        ]
        with m.If(step):
            m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1), turn.eq(turn.rotate_left(1))]
            with m.If(last_group):
                m.d.sync += [group.eq(0), lane.eq(lane + 1)]
                with m.If(last_lane):
                    m.d.sync += lane.eq(0)
        m.d.comb += [
            self.readback.payload.eq(word),
            self.active.eq(reading | refreshing | (neuron != 0)),
            self.writing.eq(Mux(refreshing, returning, ~reading)),
        ]
        with m.If(self.read):
            m.d.sync += reading.eq(1)
        m.d.sync += settle.eq(settle - 1)
        m.d.comb += settled.eq(settle == 0)

        with m.FSM(name="loader_state"):
            with m.State("LOAD"):
                with m.If(self.hold_off):
                    pass
                with m.Elif(reading | refreshing):
                    m.next = "REQUEST"
                with m.Else():
                    m.d.comb += [
                        self.weights.ready.eq(~padding),
                        shift.eq(self.weights.valid | padding),
                        step.eq(shift),
                    ]
                    with m.If(shift & last_group & last_lane):
                        m.next = "SETTLE"
            with m.State("SETTLE"):  # the last weight is still on its way to the groups
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.request.eq(1)
                m.d.sync += settle.eq(_SLOT_LATENCY)
                with m.If(self.grant):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(settled):
                    with m.If(refreshing):
                        m.d.sync += returning.eq(~returning)
                        m.next = "ADVANCE"
                        with m.If(~returning):
                            m.next = "REQUEST"
                    with m.Elif(reading):
                        m.next = "PICK"
                    with m.Else():
                        m.next = "ADVANCE"
            with m.State("PICK"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.readback.valid.eq(~padding)
                m.d.comb += step.eq(padding | self.readback.ready)
                m.d.sync += settle.eq(_SHIFT_LATENCY)
                with m.If(step):
                    m.next = "PICK"
                    with m.If(last_group):
                        m.d.comb += rotate.eq(1)
                        m.next = "ADVANCE"
                        with m.If(~last_lane):
                            m.next = "ROTATE"
            with m.State("ROTATE"), m.If(settled):
                m.next = "PICK"
            with m.State("ADVANCE"):
                m.next = "LOAD"
                with m.If(last_fold):
                    m.d.sync += [neuron.eq(0), presynaptic.eq(presynaptic + 1), self.row.eq(presynaptic + 1),
                                 self.fold.eq(0)]
                    with m.If(presynaptic == geometry.matrix_rows - 1):
                        m.d.sync += [presynaptic.eq(0), self.row.eq(0), reading.eq(0),
                                         refreshing.eq(0)]
                with m.Else():
                    m.d.sync += [self.row.eq(self.row + geometry.matrix_rows), self.fold.eq(self.fold + 1)]
        return m

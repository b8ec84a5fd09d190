"""A layer of leaky integrate-and-fire neurons: spike events in, spike events out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from golden.spec import NetworkSpec
from hdl.events import EventKind, EventSerializer, SliceLayout, SpikeLayout, bits_for_index, spike_stream
from hdl.geometry import LayerGeometry
from hdl.lanes import LaneGroup, SlotKind, SlotLayout

__all__ = ["LifLayer", "WeightLoader"]

_FANOUT = 4
"""Groups served by one copy of the slot register, so that no net spans all lanes."""

_SLOT_LATENCY = 4
"""Clocks from a WRITE slot being issued to the weights having been written."""


class WeightLoader(wiring.Component):
    """Takes a layer's weights in row order and asks for a WRITE slot per row and fold.

    Latency: ``lanes + 6`` clocks per row and fold. Throughput: about one weight per clock.
    Padding lanes are filled with zeros, which costs no input.

    The order on ``weights`` is that of the matrix: for each presynaptic neuron, every postsynaptic
    neuron; after the last it starts over.
    """

    def __init__(self, *, geometry: LayerGeometry, weight_bits: int) -> None:
        self._geometry = geometry
        super().__init__({
            "weights": In(stream.Signature(signed(weight_bits))),
            "load": Out(signed(weight_bits)),
            "enable": Out(geometry.groups),
            "request": Out(1),
            "row": Out(unsigned(bits_for_index(geometry.rows))),
            "grant": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry = self._geometry
        presynaptic = Signal(bits_for_index(geometry.n_in))
        neuron = Signal(range(geometry.lanes * geometry.folds + 1))
        lane = Signal(bits_for_index(geometry.lanes_per_group))
        group = Signal(bits_for_index(geometry.groups))
        settle = Signal(range(_SLOT_LATENCY + 1))
        padding = neuron >= geometry.n_out
        shift = Signal()

        m.d.sync += [
            self.enable.eq(Mux(shift, 1 << group, 0)),
            self.load.eq(Mux(padding, 0, self.weights.payload)),
        ]
        with m.FSM(name="loader_state"):
            with m.State("SHIFT"):
                m.d.comb += [
                    self.weights.ready.eq(~padding),
                    shift.eq(self.weights.valid | padding),
                ]
                with m.If(shift):
                    m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1)]
                    with m.If(group == geometry.groups - 1):
                        m.d.sync += [group.eq(0), lane.eq(lane + 1)]
                        with m.If(lane == geometry.lanes_per_group - 1):
                            m.d.sync += lane.eq(0)
                            m.next = "SETTLE"
            with m.State("SETTLE"):  # `load` and `enable` are registered here and in the groups
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.request.eq(1)
                with m.If(self.grant):
                    m.d.sync += settle.eq(_SLOT_LATENCY)
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.sync += settle.eq(settle - 1)
                with m.If(settle == 0):
                    with m.If(padding | (neuron == geometry.n_out)):
                        m.d.sync += [neuron.eq(0), presynaptic.eq(presynaptic + 1),
                                     self.row.eq(presynaptic + 1)]
                        with m.If(presynaptic == geometry.n_in - 1):
                            m.d.sync += [presynaptic.eq(0), self.row.eq(0)]
                    with m.Else():
                        m.d.sync += self.row.eq(self.row + geometry.n_in)
                    m.next = "SHIFT"
        return m


class LifLayer(wiring.Component):
    """``n_out`` neurons, folded onto the geometry's lanes.

    A spike event reads one weight row in every group and adds it to the synaptic currents, ``folds``
    clocks each. A step's end hands the currents to the membrane units, which deliver ``groups``
    neurons per clock; the next step's events are added meanwhile. Firing neurons leave as events.

    Latency: about 20 clocks from a step's end to its first output spike. Throughput: one spike event
    per ``folds`` clocks; one step per ``max(lanes_per_group, 5 / folds) x folds`` clocks at the most.
    Back-pressure on ``spikes`` stalls the layer before a slice could be lost. Loading weights takes
    a slot per row and may happen at any time, though a sample under way then sees both.
    Adders and memory: those of its groups (:class:`hdl.lanes.LaneGroup`). No multiplier.

    Parameters
    ----------
    spec
        The numeric contract.
    layer
        Index of the layer, 0 next to the input.
    geometry
        Its folding.
    """

    def __init__(self, *, spec: NetworkSpec, layer: int, geometry: LayerGeometry) -> None:
        self.spec, self.layer, self.geometry = spec, layer, geometry
        super().__init__({
            "events": In(spike_stream(geometry.n_in)),
            "weights": In(stream.Signature(signed(spec.weight_bits))),
            "spikes": Out(spike_stream(geometry.n_out)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, spec = self.geometry, self.spec
        groups, lanes, folds = geometry.groups, geometry.lanes_per_group, geometry.folds

        m.submodules.loader = loader = WeightLoader(geometry=geometry, weight_bits=spec.weight_bits)
        connect(m, wiring.flipped(self.weights), loader.weights)

        lane_groups = []
        for index in range(groups):
            group = LaneGroup(spec=spec, layer=self.layer, geometry=geometry)
            m.submodules[f"group_{index}"] = group
            lane_groups.append(group)

        # -- slots: registered, then copied, then registered again in each group -----------------
        slot = Signal(SlotLayout(geometry))
        for first_group in range(0, groups, _FANOUT):
            copy = Signal(SlotLayout(geometry), name=f"slot_{first_group // _FANOUT}")
            load = Signal(signed(spec.weight_bits), name=f"load_{first_group // _FANOUT}")
            m.d.sync += [copy.eq(slot), load.eq(loader.load)]
            for index in range(first_group, min(first_group + _FANOUT, groups)):
                enable = Signal(name=f"enable_{index}")
                m.d.sync += enable.eq(loader.enable[index])
                m.d.comb += [lane_groups[index].slot.eq(copy),
                             lane_groups[index].load.weight.eq(load),
                             lane_groups[index].load.enable.eq(enable)]

        # -- slices: one clock of all groups; room is reserved before a step is handed over -------
        slice_layout = SliceLayout(groups, unsigned(bits_for_index(geometry.n_out)))
        depth = 2 * lanes + 2
        m.submodules.slices = slices = fifo.SyncFIFO(width=slice_layout.size, depth=depth)
        room = Signal(range(depth + 1), init=depth)
        reserve = Signal()
        dropped = Signal()
        popped = Signal()
        m.d.sync += room.eq(room - Mux(reserve, lanes, 0) + dropped + popped)

        base = Signal(range(geometry.lanes * folds + groups))
        slice_ = Signal(slice_layout)
        source = lane_groups[0]
        fired = Signal(groups)
        m.d.comb += fired.eq(Cat(group.spike for group in lane_groups))
        padded = geometry.lanes * folds - geometry.n_out
        real = Signal(groups, init=-1)
        if padded:
            for index in range(groups):
                m.d.comb += real[index].eq(base + index < geometry.n_out)
        else:
            m.d.comb += real.eq(-1)
        m.d.comb += [
            slice_.mask.eq(fired & real),
            slice_.tag.eq(base),
            slice_.kind.eq(source.slice_marker),
            slices.w_data.eq(slice_),
        ]
        with m.If(source.slice_valid):
            wanted = slice_.mask.any() | (slice_.kind != EventKind.SPIKE)
            m.d.comb += [slices.w_en.eq(wanted), dropped.eq(~wanted)]
            m.d.sync += base.eq(Mux(base == geometry.lanes * folds - groups, 0, base + groups))

        m.submodules.serializer = serializer = EventSerializer(
            width=groups, tag=unsigned(bits_for_index(geometry.n_out)), neurons=geometry.n_out,
            locate=lambda tag, position: tag + position)
        connect(m, wiring.flipped(self.spikes), serializer.spikes)
        m.d.comb += [
            serializer.slices.valid.eq(slices.r_rdy),
            serializer.slices.payload.eq(slice_layout(slices.r_data)),
            slices.r_en.eq(serializer.slices.ready),
            popped.eq(slices.r_rdy & serializer.slices.ready),
        ]

        # -- issue: one slot per clock --------------------------------------------------------
        event = Signal(SpikeLayout(geometry.n_in))
        occupied = Signal()
        first = Signal(init=1)
        fold = Signal(bits_for_index(folds))
        fold_row = Signal(bits_for_index(geometry.rows))
        clearing = Signal(init=1)
        interval = LaneGroup.step_interval(geometry)
        pause = Signal(range(interval + 1))
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)

        issue = Signal()
        done = Signal()
        last_fold = fold == folds - 1
        m.d.sync += slot.eq(slot.shape().const({}))
        m.d.sync += slot.fold.eq(fold)
        with m.If(loader.request):
            m.d.comb += loader.grant.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.WRITE), slot.row.eq(loader.row)]
        with m.Elif(clearing):  # after reset, accumulators hold what the last run left
            m.d.comb += issue.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.CLEAR), clearing.eq(~last_fold)]
        with m.Elif(occupied & (event.kind == EventKind.SPIKE)):
            m.d.comb += issue.eq(1)
            m.d.sync += [slot.kind.eq(SlotKind.SPIKE), slot.row.eq(fold_row + event.neuron)]
        with m.Elif(occupied & (pause == 0) & (room >= lanes)):
            m.d.comb += [issue.eq(1), reserve.eq(1)]
            m.d.sync += [
                slot.kind.eq(SlotKind.STEP),
                slot.first.eq(first),
                slot.marker.eq(Mux(last_fold, event.kind, EventKind.SPIKE)),
                pause.eq(interval - 1),
            ]
            with m.If(last_fold):
                m.d.sync += first.eq(event.kind == EventKind.SAMPLE_END)
        with m.If(issue):
            m.d.sync += [fold.eq(fold + 1), fold_row.eq(fold_row + geometry.n_in)]
            with m.If(last_fold):
                m.d.sync += [fold.eq(0), fold_row.eq(0)]
        m.d.comb += done.eq(issue & last_fold & ~clearing)

        m.d.comb += self.events.ready.eq(~occupied | done)
        with m.If(done):
            m.d.sync += occupied.eq(0)
        with m.If(self.events.valid & self.events.ready):
            m.d.sync += [occupied.eq(1), event.eq(self.events.payload)]
        return m

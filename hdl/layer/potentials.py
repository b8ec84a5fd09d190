"""Membrane potentials on their way to the readout: a number for each neuron of the last layer, sample by sample."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.readout import Potentials, Statistic
from lifstream.hdl.events import EventKind, bits_for_index
from lifstream.hdl.layer.output import SliceCollector

__all__ = ["PotentialCollector", "response_shape"]


def response_shape(spec: NetworkSpec) -> Shape:
    """Shape of what an answer says of a neuron of the last layer."""
    return (signed if spec.response_range[0] < 0 else unsigned)(spec.response_bits)


class PotentialCollector(SliceCollector):
    """Collects slices as for any layer; beside them the largest, the summed or the last potential of each neuron.

    After a sample's last slice they leave in the order of the neurons. Until the last has left no other step is handed
    over, so that none is overwritten.

    Latency: 2 clocks from the sample's last slice to the first number. Throughput: a number per clock. Adders: of the
    maximum or the mean one per group, of the response's width. No multiplier. Memory: a response per neuron.
    """

    @property
    def outer(self) -> tuple[str, ...]:
        """The readout takes them."""
        return (*super().outer, "responses")

    def _own_ports(self) -> dict[str, Any]:
        at, groups = self._at, self._geometry.groups
        return {**super()._own_ports(),
                "membrane": In(signed(at.membrane_bits)).array(groups),     # of the slice that is valid
                "stepping": In(1), "last_fold": In(1), "event_kind": In(EventKind),
                "responses": Out(stream.Signature(response_shape(at.network)))}

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        geometry, response = self._geometry, response_shape(self._at.network)
        slices = geometry.folds * geometry.lanes_per_group
        held = Signal()     # a sample's last step is under way, or its numbers have not left
        m.d.comb += self.may_step.eq(~held)
        with m.If(self.stepping & self.last_fold & (self.event_kind == EventKind.SAMPLE_END)):
            m.d.sync += held.eq(1)

        # A clock for the slice to arrive, one to take it into account.
        now, marker = Signal(data.ArrayLayout(signed(self._at.membrane_bits), geometry.groups)), Signal(EventKind)
        arrived, address, first = Signal(), Signal(bits_for_index(slices)), Signal(init=1)
        m.d.sync += [arrived.eq(self.slice_valid[0]), marker.eq(self.slice_marker[0]),
                     *(now[group].eq(self.membrane[group]) for group in range(geometry.groups))]
        m.submodules.potentials = kept = memory.Memory(shape=data.ArrayLayout(response, geometry.groups),
                                                       depth=max(2, slices), init=[])
        recall, store = kept.read_port(domain="comb"), kept.write_port()
        m.d.comb += [store.addr.eq(address), store.en.eq(arrived),
                     *(store.data[group].eq(self._taken(recall.data[group], now[group], first))
                       for group in range(geometry.groups))]
        with m.If(arrived):
            m.d.sync += address.eq(Mux(address == slices - 1, 0, address + 1))
            with m.If(marker != EventKind.SPIKE):
                m.d.sync += first.eq(marker == EventKind.SAMPLE_END)

        neuron, group, place = (Signal(bits_for_index(count), name=name) for name, count in (
            ("neuron", geometry.n_out), ("group", geometry.groups), ("place", slices)))
        m.d.comb += [recall.addr.eq(address), self.responses.payload.eq(
            Array(recall.data[index] for index in range(geometry.groups))[group])]
        with m.FSM(name="response_state"):
            with m.State("COLLECT"), m.If(arrived & (marker == EventKind.SAMPLE_END)):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.responses.valid.eq(1), recall.addr.eq(place)]
                with m.If(self.responses.ready):
                    m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1)]
                    with m.If(group == geometry.groups - 1):
                        m.d.sync += [group.eq(0), place.eq(place + 1)]
                    with m.If(neuron == geometry.n_out - 1):
                        m.d.sync += [neuron.eq(0), group.eq(0), place.eq(0), held.eq(0)]
                        m.next = "COLLECT"
        return m

    def _taken(self, kept: Value, potential: Value, first: Value) -> Value:
        """What a neuron's number is, given what it was and the potential of a step."""
        readout = self._at.network.readout
        assert isinstance(readout, Potentials)
        match readout.statistic:
            case Statistic.MAXIMUM:
                return Mux(first | (potential > kept), potential, kept)
            case Statistic.MEAN:
                return potential + Mux(first, 0, kept)
            case Statistic.LAST:
                return potential

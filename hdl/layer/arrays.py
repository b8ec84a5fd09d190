"""Numbers that each neuron of a layer has of its own, beside weights: which, and their way in and out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.golden.contract.state import Lifetime, StateArray
from lifstream.hdl.events import bits_for_index
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.part import LayerPart

__all__ = ["ArrayAccess", "EntryLayout", "array_shape", "entry_ports", "neuron_arrays"]

_LATENCY = 5
"""Clocks from asking the groups for a number to its answer."""


def neuron_arrays(at: PlacedLayer) -> tuple[StateArray, ...]:
    """The learnt arrays with a number per neuron, in the order of the contract."""
    return tuple(array for array in at.state if array.lifetime is Lifetime.LEARNT and len(array.shape) == 1)


def array_shape(array: StateArray) -> Shape:
    """Of one of its numbers."""
    return signed(array.bits) if array.low < 0 else unsigned(array.bits)


def _number_bits(at: PlacedLayer) -> int:
    """Width of the widest number."""
    return max(array.bits for array in neuron_arrays(at))


class EntryLayout(data.StructLayout):
    """What a group is told of its neurons' own numbers; it has a memory for each array, by address, fold-major.

    ``asks``: the number at the address is wanted, and told a clock later, or two where memories are block RAM. Nothing
    is served meanwhile.
    """

    def __init__(self, at: PlacedLayer, geometry: LayerGeometry) -> None:
        super().__init__({
            "enable": 1,        # write the number ...
            "asks": 1,          # ... or read it
            "array": bits_for_index(len(neuron_arrays(at))),
            "address": bits_for_index(geometry.folds * geometry.lanes_per_group),
            "number": _number_bits(at),
        })


def entry_ports(at: PlacedLayer, geometry: LayerGeometry) -> dict[str, Any]:
    """Ports of a group by which its neurons' own numbers are loaded and read."""
    return {"entry": In(EntryLayout(at, geometry)), "entry_read": Out(_number_bits(at))}


class ArrayAccess(LayerPart):
    """Numbers of each neuron on their way in and out, an array at a time, one by one in the order of the neurons.

    Latency: 8 clocks from a pulse to the first. Throughput: one per clock in, one per 8 clocks out. Adders: three
    counters, whatever the number of arrays. No multiplier, no memory.
    """

    @property
    def _arrays(self) -> tuple[StateArray, ...]:
        return neuron_arrays(self._at)

    @property
    def outer(self) -> tuple[str, ...]:
        """They are state that the host loads and reads."""
        return tuple(port for array in self._arrays
                     for port in (array.name, f"read_{array.name}", f"{array.name}_readback"))

    @property
    def state_items(self) -> dict[str, int]:
        """One of each per neuron."""
        return {array.name: self._geometry.n_out for array in self._arrays}

    @property
    def memories(self) -> list[dict[str, Any]]:
        """A number stands in word ``fold * lanes_per_group + lane``."""
        geometry = self._geometry
        return [{"quantity": array.quantity, "lanes_per_group": geometry.lanes_per_group,
                 "signals": [f"group_{group}.membrane_unit.neuron.{array.name}" for group in range(geometry.groups)],
                 **({"columns": geometry.columns, "row_folds": geometry.row_folds} if geometry.walked else {})}
                for array in self._arrays]

    def _ports(self) -> dict[str, Any]:
        geometry, ports = self._geometry, dict[str, Any]()
        for array in self._arrays:
            items = stream.Signature(array_shape(array))
            ports |= {
                array.name: In(items),              # then from the start
                f"read_{array.name}": In(1),        # pulse: send all of them ...
                f"{array.name}_readback": Out(items),   # ... here
            }
        return {
            **ports,
            "entry": Out(EntryLayout(self._at, geometry)),
            "entry_group": Out(geometry.groups),
            "entry_read": In(_number_bits(self._at)).array(geometry.groups),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        geometry, arrays, groups = self._geometry, self._arrays, self._geometry.groups
        entry, select = Signal.like(self.entry, name="entry_now"), Signal(groups)
        m.d.comb += [self.entry.eq(entry), self.entry_group.eq(select)]
        column, neuron = Signal(range(geometry.columns + 1)), Signal(range(geometry.n_out + 1))
        group = Signal(bits_for_index(groups))
        address = Signal(bits_for_index(geometry.folds * geometry.lanes_per_group))
        asked = Signal(bits_for_index(len(arrays)))     # the array that is read
        wait = Signal(range(_LATENCY + 1))
        following, reading = Signal(), Signal()
        last = neuron == geometry.n_out - 1
        sources = [getattr(self, array.name) for array in arrays]
        readbacks = [getattr(self, f"{array.name}_readback") for array in arrays]
        coming, number = Signal.like(asked, name="coming"), Signal(_number_bits(self._at))
        for index, source in reversed(list(enumerate(sources))):
            with m.If(source.valid):    # never two of them
                m.d.comb += [coming.eq(index), number.eq(source.payload)]
        m.d.sync += [select.eq(0), entry.asks.eq(reading), entry.address.eq(address), entry.number.eq(number),
                     entry.array.eq(Mux(reading, asked, coming))]
        with m.If(following):
            m.d.sync += [neuron.eq(neuron + 1), group.eq(group + 1), column.eq(column + 1)]
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), address.eq(address + 1)]
            with m.If(column == geometry.columns - 1):  # the next position begins with a fold of its own
                beyond = geometry.row_folds * geometry.lanes_per_group - (geometry.columns - 1) // groups
                m.d.sync += [column.eq(0), group.eq(0), address.eq(address + beyond)]
            with m.If(last):
                m.d.sync += [neuron.eq(0), column.eq(0), group.eq(0), address.eq(0)]
        m.d.comb += [back.payload.eq(Array(self.entry_read)[group]) for back in readbacks]
        with m.FSM(name="array_state"):
            with m.State("LOAD"):
                m.d.comb += [source.ready.eq(1) for source in sources]
                for index, array in enumerate(arrays):
                    with m.If(getattr(self, f"read_{array.name}")):
                        m.d.sync += asked.eq(index)
                        m.next = "ASK"
                arrived: Value = sources[0].valid
                for source in sources[1:]:
                    arrived = arrived | source.valid
                with m.If(arrived):
                    m.d.comb += following.eq(1)
                    m.d.sync += select.eq(1 << group)
            with m.State("ASK"):
                m.d.comb += reading.eq(1)
                m.d.sync += wait.eq(_LATENCY)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += reading.eq(1)
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += reading.eq(1)
                for index, back in enumerate(readbacks):
                    with m.If(asked == index):
                        m.d.comb += back.valid.eq(1)
                        with m.If(back.ready):
                            m.d.comb += following.eq(1)
                            m.next = "ASK"
                            with m.If(last):
                                m.next = "LOAD"
        return m

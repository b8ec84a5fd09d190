"""The registry of the hardware: the component for each kind that a contract can declare.

The key is the declaration's class, so nothing else asks which kind of neuron, rule or readout a network has. A new kind
is a file in each room and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from amaranth.hdl import Shape, signed, unsigned

from lifstream.golden.contract.declaration import Declaration
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.neurons import CompetingLif, CubaLif, Lif
from lifstream.golden.contract.protocol import STATE_ACCESS, Command, item_bytes
from lifstream.golden.contract.readout import Potentials, SpikeCounts, Votes
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed, PairStdp
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Local, SumPool
from lifstream.hdl.encoder import Encoder
from lifstream.hdl.event_input import EventInput
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.layer.competing import CompetingUnit
from lifstream.hdl.layer.competition import Competition
from lifstream.hdl.layer.cuba_lif import CubaLifUnit
from lifstream.hdl.layer.desire_lanes import DesireLanes
from lifstream.hdl.layer.desire_teaching import DesireTeaching
from lifstream.hdl.layer.fetch import EventFetch
from lifstream.hdl.layer.idle_teaching import IdleTeaching
from lifstream.hdl.layer.layer import LifLayer, NeuronKind, RuleKind
from lifstream.hdl.layer.output import SliceCollector
from lifstream.hdl.layer.potentials import PotentialCollector
from lifstream.hdl.layer.soft_reset import SoftResetUnit
from lifstream.hdl.layer.stdp_lanes import StdpLanes
from lifstream.hdl.layer.stdp_teaching import StdpTeaching
from lifstream.hdl.layer.targets import TargetFetch
from lifstream.hdl.potentials import PotentialReadout
from lifstream.hdl.readout import Readout
from lifstream.hdl.votes import VoteReadout

__all__ = ["PARTS", "StateKind", "make_input", "make_layer", "readout_class", "state_kinds"]


@dataclass(frozen=True, kw_only=True)
class StateKind:
    """A kind of number that a network holds and a host may load and read.

    Layers and readouts that hold some say how many (``state_items``), and have the three ports named here, as the
    whole network does.
    """

    name: str
    """Stream on which they come in, item by item; after the last it starts over."""
    read: str
    """A pulse there sends all of them ..."""
    readback: str
    """... on this stream, in the same order."""
    load_command: Command
    read_command: Command
    shape: Shape
    """Of an item, as it passes between host and network."""
    item_bytes: int
    """Bytes of an item in a packet."""


def _state_kind(spec: NetworkSpec, name: str) -> StateKind:
    """The arrays that the contract declares under a name."""
    access = STATE_ACCESS[name]
    read, readback = ("read", "readback") if name == "weights" else (f"read_{name}", f"{name}_readback")
    arrays, size = spec.learnt_state[name], item_bytes(spec, name)
    shape = signed(max(array.bits for array in arrays)) if access.signed else unsigned(8 * size)
    return StateKind(name=name, read=read, readback=readback, load_command=access.load, read_command=access.read,
                     shape=shape, item_bytes=size)


PARTS: dict[type[Declaration], Any] = {
    Dense: EventFetch,
    Conv: TargetFetch,
    Local: TargetFetch,
    SumPool: TargetFetch,
    Lif: NeuronKind(unit=SoftResetUnit, emission=SliceCollector),
    CubaLif: NeuronKind(unit=CubaLifUnit, emission=SliceCollector),
    CompetingLif: NeuronKind(unit=CompetingUnit, emission=Competition),
    DesireBackpropagation: RuleKind(lanes=DesireLanes, teaching=DesireTeaching),
    PairStdp: RuleKind(lanes=StdpLanes, teaching=StdpTeaching),
    Fixed: RuleKind(lanes=None, teaching=IdleTeaching),
    SpikeCounts: Readout,
    Potentials: PotentialReadout,
    Votes: VoteReadout,
}


def make_layer(*, spec: NetworkSpec, geometry: Geometry, layer: int) -> LifLayer:
    """A layer of the network."""
    at = spec.at(layer)
    synapses = at.synapses.synapses if isinstance(at.synapses, Augmented) else at.synapses
    neuron: NeuronKind = PARTS[type(at.neuron)]
    if at.last and isinstance(spec.readout, Potentials):
        neuron = replace(neuron, emission=PotentialCollector)
    return LifLayer(at=at, geometry=geometry.layer(spec, layer), neuron=neuron, rule=PARTS[type(at.rule)],
                    fetch=PARTS[type(synapses)])


def make_input(*, spec: NetworkSpec, geometry: Geometry) -> Encoder | EventInput:
    """What makes spike events of what the host sends."""
    if isinstance(spec.input, Events):
        return EventInput(neurons=spec.inputs, steps=spec.steps)
    return Encoder(pixels=spec.inputs, steps=spec.steps, pixels_per_clock=geometry.pixels_per_clock)


def readout_class(spec: NetworkSpec) -> type[Readout | PotentialReadout | VoteReadout]:
    """The component behind the last layer."""
    component: type[Readout | PotentialReadout | VoteReadout] = PARTS[type(spec.readout)]
    return component


def state_kinds(spec: NetworkSpec) -> tuple[StateKind, ...]:
    """What a host may load into the network and read from it; weights first."""
    return tuple(_state_kind(spec, name) for name in spec.learnt_state)

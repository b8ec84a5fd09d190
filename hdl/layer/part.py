"""Parts of a layer, beside its groups of lanes, that a kind of neuron or a learning rule brings along."""

from __future__ import annotations

from typing import Any, ClassVar

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lifstream.golden.contract.network import PlacedLayer
from lifstream.hdl.events import DesireLayout, SliceLayout
from lifstream.hdl.geometry import LayerGeometry
from lifstream.hdl.layer.join import with_bits
from lifstream.hdl.layer.phases import LayerPhase
from lifstream.hdl.layer.slots import SlotKind

__all__ = ["Emission", "LayerPart", "Teaching"]


class LayerPart(wiring.Component):
    """A part that is joined with the others, the groups and the layer by the names of its ports.

    What it sends to the groups goes through copies: an output with the name of a group's input, which goes to those
    groups alone that another output, of that name and ``_group``, selects. What they send comes as an array.

    Parameters
    ----------
    at
        The layer at its place in the network.
    geometry
        Its folding.
    """

    def __init__(self, *, at: PlacedLayer, geometry: LayerGeometry) -> None:
        self._at, self._geometry = at, geometry
        super().__init__(with_bits(self._ports()))

    @property
    def outer(self) -> tuple[str, ...]:
        """Those of its ports that become the layer's."""
        return ()

    @property
    def state_items(self) -> dict[str, int]:
        """Items of each kind of state (:class:`lifstream.hdl.registry.StateKind`) it loads and reads."""
        return {}

    @property
    def memories(self) -> list[dict[str, Any]]:
        """Memories of what has been learnt, as the emitted description lists them: one signal per group."""
        return []

    def _ports(self) -> dict[str, Any]:
        raise NotImplementedError


class Emission(LayerPart):
    """Makes slices of what the groups' neurons say, who cannot be asked to wait.

    So room for a step's slices is reserved before the step is handed over; what of it turns out not to be needed is
    given back.
    """

    @property
    def slice_layout(self) -> SliceLayout:
        """What a slice holds; its tag is the neuron of its first bit."""
        raise NotImplementedError

    @property
    def slice_depth(self) -> int:
        """How many slices are kept until they can leave."""
        raise NotImplementedError

    def _ports(self) -> dict[str, Any]:
        return {
            "slices": Out(stream.Signature(self.slice_layout)),
            "announce": In(1),          # a LEARN event is to go out; no slice is under way
            "needed": Out(range(self.slice_depth + 1)),     # slices of a step and fold ...
            "returned": Out(1),         # ... one of which is not needed after all
            "may_step": Out(1),         # a step may be handed over
            **self._own_ports(),
        }

    def _own_ports(self) -> dict[str, Any]:
        raise NotImplementedError


class Teaching(LayerPart):
    """What a learning rule does after a sample to learn from: takes what it teaches, passes on what the layer before
    needs, and has the weights updated. The phases from RECEIVE on are its own."""

    tapped: ClassVar[frozenset[str]] = frozenset()
    """Streams of the layer that benches tap, beside those of spikes."""
    phases: ClassVar[tuple[LayerPhase, ...]]
    """Phases between the sample and the update."""
    every_row: ClassVar[bool] = False
    """Whether an update visits rows of silent neurons too."""
    lead: ClassVar[int] = 0
    """Clocks from taking the sums to the first shift."""
    rate_bits: ClassVar[int]
    """Width of ``shift_rate``."""

    @property
    def slot_kind(self) -> SlotKind | None:
        """The kind of slot it asks for, if any."""
        raise NotImplementedError

    @property
    def deepest_bits(self) -> int:
        """Width of ``deepest``."""
        raise NotImplementedError

    @property
    def shifts_max(self) -> int:
        """After so many shifts nothing is left."""
        raise NotImplementedError

    @property
    def counts_to(self) -> int | None:
        """Before the update it asks of presynaptic neurons whether they spiked so often; None: it does not."""
        return None

    @property
    def keeps_sums(self) -> bool:
        """Whether sums of the weights are kept up as rows are written."""
        return False

    @property
    def outer(self) -> tuple[str, ...]:
        """What the layer is told, and what it tells the one before."""
        return ("desires", "back") if not self._at.first else ("desires",)

    def _ports(self) -> dict[str, Any]:
        teaching = stream.Signature(DesireLayout(self._at.network))
        return {
            "desires": In(teaching),
            **({"back": Out(teaching)} if not self._at.first else {}),
            "begin": In(1),             # pulse: a sample to learn from starts ...
            "over": In(1),              # pulse: ... and is over
            "finish": In(1),            # pulse: so is the update
            "last_fold": In(1),         # of a slot
            "rate": In(5),              # right shift from a sum to weight LSBs, for a desire of magnitude 1
            "phase": Out(LayerPhase),
            "learning": Out(1),         # the sample under way is one to learn from
            "shift_rate": Out(self.rate_bits),                  # right shift of every lane ...
            "deepest": Out(self.deepest_bits),      # ... and the most by which a lane's exceeds that
            **({"own_slot": Out(1)} if self.slot_kind is not None else {}),     # a slot is wanted
            **self._own_ports(),
        }

    def _own_ports(self) -> dict[str, Any]:
        raise NotImplementedError

"""A network's numeric contract, layer by layer: every format, bound and constant, declared once.

A :class:`NetworkSpec` fixes what the network computes, bit by bit. It holds raw integers only; real numbers appear in
docstrings, never in fields. The golden model, the hardware and the test benches all read their widths from here, and
:meth:`NetworkSpec.digest` is stamped into every model file and every ``top.v.json``, so that two artefacts of different
contracts can never be compared by mistake.

How the hardware is folded is *not* part of the contract: results may not depend on it.

Notation: ``F`` weight fraction bits, ``W`` weight width, ``T`` time steps per sample, ``one = 2**F`` a real value of 1,
``k`` leak shift, ``X`` trace fraction bits. All shifts are arithmetic (they round towards minus infinity).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lifstream.golden.contract.declaration import Declaration, require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Overflow, Rounding, signed_bits, unsigned_bits
from lifstream.golden.contract.input import Events, Input
from lifstream.golden.contract.neurons import Neuron
from lifstream.golden.contract.readout import CLASSES_MAX, Potentials, Readout, Votes
from lifstream.golden.contract.rules import Rule
from lifstream.golden.contract.state import Lifetime, StateArray
from lifstream.golden.contract.synapses import Synapses

__all__ = ["FORMAT", "LEARNT_STEPS_MAX", "STEPS_MAX", "Layer", "NetworkSpec", "PlacedLayer", "digest_of_json"]

FORMAT = 2
"""Number of the JSON format of a contract that :mod:`lifstream.golden.contract.flat` cannot express."""

LEARNT_STEPS_MAX, STEPS_MAX = 64, 4_096
"""Most time steps of a sample to learn from, whose spike trains are kept, and of any other."""

_LAYERS_MAX = 8
_MASK32 = 0xFFFF_FFFF
_ROUNDING_SEEDS = 8  # generators are numbered: dropout of the layers first, then rounding


@dataclass(frozen=True, kw_only=True)
class Layer(Declaration):
    """A layer: synapses that lead to neurons, and the rule by which the synapses learn.

    Parameters
    ----------
    synapses
        Which presynaptic neuron reaches which postsynaptic ones through which weight.
    neuron
        What the postsynaptic neurons do with their current.
    rule
        How the weights change.
    formats
        Of weights and membrane potentials.
    """

    synapses: Synapses
    neuron: Neuron
    rule: Rule
    formats: Formats = field(default_factory=Formats)

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        return self.synapses.n_in

    @property
    def n_out(self) -> int:
        """Postsynaptic neurons."""
        return self.synapses.n_out

    @property
    def current_range(self) -> tuple[int, int]:
        """Smallest and largest exact synaptic current: no sum of weights can exceed it (inclusive)."""
        return self.synapses.fan_in * self.formats.weight_min, self.synapses.fan_in * self.formats.weight_max

    @property
    def current_bits(self) -> int:
        """Width of the synaptic current."""
        return signed_bits(*self.current_range)


@dataclass(frozen=True)
class PlacedLayer:
    """A layer at its place in a network, with everything that follows from the two."""

    network: NetworkSpec
    index: int

    @property
    def layer(self) -> Layer:
        """Its declaration."""
        return self.network.layers[self.index]

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        return self.layer.n_in

    @property
    def n_out(self) -> int:
        """Postsynaptic neurons."""
        return self.layer.n_out

    @property
    def synapses(self) -> Synapses:
        """Of its declaration."""
        return self.layer.synapses

    @property
    def neuron(self) -> Neuron:
        """Of its declaration."""
        return self.layer.neuron

    @property
    def rule(self) -> Rule:
        """Of its declaration."""
        return self.layer.rule

    @property
    def formats(self) -> Formats:
        """Of its declaration."""
        return self.layer.formats

    @property
    def steps(self) -> int:
        """``T``."""
        return self.network.steps

    @property
    def first(self) -> bool:
        """Whether the input is before it."""
        return self.index == 0

    @property
    def last(self) -> bool:
        """Whether the readout is behind it."""
        return self.index == len(self.network.layers) - 1

    @property
    def successor(self) -> PlacedLayer:
        """The layer behind it, which must not be the readout."""
        return self.network.at(self.index + 1)

    @property
    def current_bits(self) -> int:
        """Width of the exact synaptic current."""
        return self.layer.current_bits

    @cached_property
    def membrane_range(self) -> tuple[int, int]:
        """Smallest and largest membrane potential after integration (inclusive)."""
        formats = self.formats
        if formats.membrane_overflow is Overflow.SATURATE:
            end = formats.membrane_clamp * formats.one << self.neuron.guard_bits
            return -end, end - 1
        return self.neuron.potential_range(current=self.layer.current_range, steps=self.steps)

    @property
    def membrane_bits(self) -> int:
        """Width of the membrane potential."""
        return signed_bits(*self.membrane_range)

    @cached_property
    def state(self) -> tuple[StateArray, ...]:
        """The arrays that the layer keeps: weights, then what its neurons declare."""
        low, high = self.rule.weight_range(self.formats)
        weights = StateArray(name="weights", quantity="weight", shape=self.synapses.weight_shape,
                             bits=self.formats.weight_bits, low=low, high=high)
        return weights, *self.neuron.state(neurons=self.n_out, membrane=self.membrane_range,
                                            current=self.layer.current_range, steps=self.steps)

    def state_array(self, name: str) -> StateArray:
        """The array called ``name``, which the layer must have."""
        return next(array for array in self.state if array.name == name)

    @cached_property
    def trace_max(self) -> int:
        """Largest value of a presynaptic trace, in units of 2**-X."""
        return self.rule.trace_max(self.steps)

    @property
    def correlation_range(self) -> tuple[int, int]:
        """Smallest and largest sum of an update before it is scaled (inclusive)."""
        return self.rule.correlation_range(self.steps)

    @property
    def weight_range(self) -> tuple[int, int]:
        """Smallest and largest weight that learning writes (inclusive)."""
        return self.rule.weight_range(self.formats)

    def update_shift(self, rate_shift: int) -> int:
        """Right shift from a correlation to weight LSBs: ``X + rate_shift + rate_offset - F``.

        The step is ``C / 2**X * 2**-(rate_shift + rate_offset)``.

        Raises
        ------
        InputError
            The update unit of some layer cannot make this rate.
        """
        low, high = self.network.rate_shift_range
        require_integer("rate shift", rate_shift, low, high)
        return self.rule.update_shift(rate_shift, self.formats)

    @property
    def rounds_at_random(self) -> bool:
        """Whether weight updates are rounded by random words."""
        return self.rule.rounding is Rounding.STOCHASTIC

    @property
    def dropout_seed(self) -> int | None:
        """State after reset of its dropout generator, None without dropout."""
        return self.network.generator_seed(self.index) if self.neuron.dropout else None

    @property
    def rounding_seed(self) -> int | None:
        """State after reset of its rounding generator, None without stochastic rounding."""
        return self.network.generator_seed(_ROUNDING_SEEDS + self.index) if self.rounds_at_random else None


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Declaration):
    """One network's numeric contract.

    Parameters
    ----------
    input
        What comes in.
    layers
        From the input to the readout, 1 to 8.
    readout
        How the last layer's spikes become an answer.
    steps
        ``T``, time steps per sample, 1..64; of a network that does not learn, 1..4096.
    seed
        Seed of the generators of dropout and of stochastic rounding, 32 bits.
    carried
        Names and values of an old file's fields that its rule does not use: part of its digest, of no other effect.

    Raises
    ------
    InputError
        A field out of bounds, or parts that do not go together; the message names field, value and bound.
    """

    input: Input
    layers: tuple[Layer, ...]
    readout: Readout
    steps: int = 20
    seed: int = 0x5EED_CAFE
    carried: tuple[tuple[str, int | str], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= _LAYERS_MAX:
            raise InputError(f"layers: {len(self.layers)} of them, must be 1..{_LAYERS_MAX}")
        require_integer("steps", self.steps, 1, LEARNT_STEPS_MAX if self.learns else STEPS_MAX)
        require_integer("seed", self.seed, 0, _MASK32)
        for index, entry in enumerate(self.carried):
            if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise InputError(f"carried[{index}]: {entry!r} is no name with its value")
        presynaptic = self.input.neurons
        for index, layer in enumerate(self.layers):
            where = f"layers[{index}]"
            if layer.synapses.n_before != presynaptic:
                raise InputError(f"{where}.synapses: take {layer.synapses.n_before} inputs, {presynaptic} are before "
                                 "them")
            presynaptic = layer.n_out
            try:
                layer.neuron.check(layer.formats)
                layer.rule.check(synapses=layer.synapses, formats=layer.formats, neuron=layer.neuron, steps=self.steps)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            if type(layer.rule) is not type(self.layers[0].rule):
                raise InputError(f"{where}.rule: {layer.rule.kind}, the layers before learn by "
                                 f"{self.layers[0].rule.kind}; give all layers one rule")
            # The golden model sums currents in float64, exact below 2**53 only.
            if (bits := self.at(index).membrane_bits) > 48:
                raise InputError(f"{where}.synapses: {layer.synapses.fan_in} inputs need a membrane of {bits} bits, "
                                 "at most 48 are supported")
        if self.layers[-1].neuron.dropout:
            raise InputError(f"layers[{len(self.layers) - 1}].neuron.dropout: the last layer has no dropout, give 0")
        self._check_readout()
        require_integer("readout: classes", self.classes, 1, CLASSES_MAX)
        self.layers[0].rule.check_network(tuple(layer.rule for layer in self.layers))
        low, high = self.rate_shift_range
        if low > high:
            raise InputError("layers: no learning rate is within what the updates of all of them can make; bring their "
                             "weight_fraction and trace_fraction closer together")

    def _check_readout(self) -> None:
        """Raise InputError where the readout does not go with the other parts."""
        readout, rule, last = self.readout, self.layers[0].rule, self.layers[-1]
        if not isinstance(readout, rule.readouts):
            kinds = " or ".join(each.kind for each in rule.readouts)
            raise InputError(f"readout: {readout.kind}, but with the rule {rule.kind} the last layer is "
                             f"{'taught' if rule.learns else 'read'} by {kinds}")
        if isinstance(self.input, Events) and isinstance(readout, Votes):
            raise InputError(f"input: {self.input.kind} go with no readout {readout.kind}; give pixels")
        by_potential = isinstance(readout, Potentials)
        for index, layer in enumerate(self.layers):
            if not layer.neuron.fires and not (by_potential and index == len(self.layers) - 1):
                raise InputError(f"layers[{index}].neuron: never fires, so nothing is behind it; have the last layer "
                                 "alone of such neurons, and the readout potentials")
        if by_potential and not last.synapses.all_to_all:
            raise InputError(f"readout: potentials, of {last.synapses.kind} synapses; give the last layer dense ones")

    @property
    def learns(self) -> bool:
        """Whether its weights change on chip."""
        return self.layers[0].rule.learns

    # -- shape ---------------------------------------------------------------------------------

    @cached_property
    def placed(self) -> tuple[PlacedLayer, ...]:
        """All layers at their places."""
        return tuple(PlacedLayer(self, index) for index in range(len(self.layers)))

    def at(self, index: int) -> PlacedLayer:
        """Layer ``index`` at its place."""
        return self.placed[index]

    @property
    def inputs(self) -> int:
        """Presynaptic neurons of the first layer: pixels, or whatever sends events."""
        return self.input.neurons

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample in a data set."""
        return self.input.sample_bytes(self.steps)

    @property
    def responding(self) -> int:
        """Neurons of the last layer, whose spike counts or potentials are the network's answer to a sample."""
        return self.layers[-1].n_out

    @cached_property
    def response_range(self) -> tuple[int, int]:
        """Smallest and largest number that an answer says of such a neuron (inclusive)."""
        return self.readout.response_range(membrane=self.placed[-1].membrane_range, steps=self.steps)

    @property
    def response_bits(self) -> int:
        """Width of such a number."""
        low, high = self.response_range
        return signed_bits(low, high) if low < 0 else unsigned_bits(high)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.readout.classes(self.responding)

    @property
    def neurons(self) -> int:
        """Neurons of all layers."""
        return sum(layer.n_out for layer in self.layers)

    @property
    def widest(self) -> int:
        """Neurons of the layer that has most."""
        return max(layer.n_out for layer in self.layers)

    @property
    def summary(self) -> str:
        """Neurons from the input to the classes, for people: ``784-128-10``."""
        widths = [self.inputs, *(layer.n_out for layer in self.layers)]
        if self.classes != self.responding or self.readout.state(self.responding):
            widths.append(self.classes)
        return "-".join(map(str, widths))

    @property
    def weight_widths(self) -> str:
        """Widths of the layers' weights in bits, for people and file names: ``16``, or ``8-16`` where they differ."""
        return "-".join(str(bits) for bits in dict.fromkeys(layer.formats.weight_bits for layer in self.layers))

    @property
    def count_bits(self) -> int:
        """Width of a spike count over a sample, 0..T."""
        return unsigned_bits(self.steps)

    # -- state ---------------------------------------------------------------------------------

    @cached_property
    def state_owners(self) -> dict[str, tuple[int | None, ...]]:
        """Layers that the arrays of :attr:`learnt_state` belong to, None for the readout."""
        found: dict[str, list[int | None]] = {name: [] for name in self.learnt_state}
        for at in self.placed:
            for array in at.state:
                if array.lifetime is Lifetime.LEARNT:
                    found[array.name].append(at.index)
        for array in self.readout.state(self.responding):
            found[array.name].append(None)
        return {name: tuple(owners) for name, owners in found.items()}

    @cached_property
    def learnt_state(self) -> dict[str, tuple[StateArray, ...]]:
        """Arrays that last from sample to sample, by name: of each layer that has one, then of the readout."""
        found: dict[str, list[StateArray]] = {}
        owners = [*(placed.state for placed in self.placed), self.readout.state(self.responding)]
        for array in (array for owner in owners for array in owner if array.lifetime is Lifetime.LEARNT):
            found.setdefault(array.name, []).append(array)
        return {name: tuple(arrays) for name, arrays in found.items()}

    @property
    def parameters(self) -> int:
        """Number of weights in the network, votes included."""
        return sum(array.size for array in self.learnt_state["weights"])

    # -- learning ------------------------------------------------------------------------------

    @cached_property
    def rate_shift_range(self) -> tuple[int, int]:
        """Smallest and largest rate shift that the updates of all layers can make."""
        ranges = [layer.rule.rate_shift_range(layer.formats) for layer in self.layers]
        return max(low for low, _ in ranges), min(high for _, high in ranges)

    @cached_property
    def random_seeds(self) -> tuple[int, ...]:
        """States after reset of all generators in use: of dropout, then of rounding, each from the first layer on."""
        seeds = [*(placed.dropout_seed for placed in self.placed), *(placed.rounding_seed for placed in self.placed)]
        return tuple(seed for seed in seeds if seed is not None)

    def generator_seed(self, number: int) -> int:
        """A non-zero 32-bit xorshift state, derived from :attr:`seed`."""
        golden_ratio = 0x9E37_79B9
        return (self.seed ^ (golden_ratio * (number + 1)) & _MASK32) or 1

    # -- exchange ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values: in the old format what it can express, so that old digests stay."""
        from lifstream.golden.contract.flat import flattened  # it builds networks

        flat = flattened(self)
        return flat.to_json() if flat is not None else {"format": FORMAT, **super().to_json()}

    @classmethod
    def from_json(cls, data: object, where: str = "spec") -> NetworkSpec:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        InputError
            A field is unknown, missing, or out of bounds.
        """
        from lifstream.golden.contract.flat import FlatNetwork

        if not isinstance(data, dict):
            raise InputError(f"{where}: expected a JSON object, got {type(data).__name__}")
        if "format" not in data:
            return FlatNetwork.from_json(data).network()
        if data["format"] != FORMAT:
            raise InputError(f"{where}.format: {data['format']!r} is unknown; was it made by a newer version?")
        try:
            return super().from_json({name: value for name, value in data.items() if name != "format"}, where)
        except RecursionError:
            raise InputError(f"{where}: synapses are nested too deeply") from None

    def digest(self) -> str:
        """16 hexadecimal digits that identify the contract (SHA-256 of the canonical JSON)."""
        return digest_of_json(self.to_json())


def digest_of_json(data: dict[str, Any]) -> str:
    """16 hexadecimal digits of plain JSON values, whatever the order of their names."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]

"""Networks of dense layers that are all alike: a short way to say them, and the format of old files.

A :class:`FlatNetwork` is one list of sizes and one value of everything else; :meth:`FlatNetwork.network` spells it out,
layer by layer. Contracts that it can express keep its JSON and therefore their digest.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

from lifstream.golden.contract.declaration import require_integer
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Formats, Overflow, Rounding
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import CompetingLif, Lif, Reset
from lifstream.golden.contract.neurons.lif import threshold_behind
from lifstream.golden.contract.readout import SpikeCounts, Votes
from lifstream.golden.contract.rules import (
    Bounds,
    DesireBackpropagation,
    Eligibility,
    Magnitude,
    Modulation,
    PairStdp,
)
from lifstream.golden.contract.rules.desire import HIDDEN_THRESHOLD_FRACTION
from lifstream.golden.contract.synapses import Dense

__all__ = ["FlatNetwork", "FlatStdp", "NamedRule", "changed", "flat_network", "flattened", "named_rule", "with_rule"]


class NamedRule(enum.StrEnum):
    """The named learning rules: two forms of desire backpropagation, two of spike-timing-dependent plasticity."""

    PAPER = "paper"
    GRADED = "graded"
    STDP = "stdp"
    REWARD_STDP = "rstdp"


_STDP_RULES = {NamedRule.STDP: Modulation.NONE, NamedRule.REWARD_STDP: Modulation.REWARD}


_RULE_FIELDS: dict[NamedRule, dict[str, Any]] = {
    NamedRule.PAPER: {
        "eligibility": Eligibility.SPIKE,
        "magnitude": Magnitude.TERNARY,
        "output_threshold": 5,
        "hidden_threshold": round(0.05 * 2**HIDDEN_THRESHOLD_FRACTION),
    },
    NamedRule.GRADED: {
        "eligibility": Eligibility.MEMBRANE,
        "magnitude": Magnitude.GRADED,
        "output_threshold": 1,
        "hidden_threshold": round(0.01 * 2**HIDDEN_THRESHOLD_FRACTION),
    },
}

_DESIRE_FIELDS = ("eligibility", "magnitude", "desire_margin", "output_threshold", "hidden_threshold")


@dataclass(frozen=True, kw_only=True)
class FlatStdp:
    """Competing neurons and their plasticity: the fields of :class:`CompetingLif` and :class:`PairStdp` together."""

    modulation: Modulation = Modulation.NONE
    bounds: Bounds = Bounds.SOFT
    presynaptic_target: int = 21
    depression_shift: int | None = None
    threshold_base: int
    threshold_rise: int
    threshold_leak_shift: int = 16
    inhibition: int
    weight_sum: int = 0
    punishment_shift: int = 0

    def __post_init__(self) -> None:
        for part in (CompetingLif, PairStdp):
            try:
                part(**_fields_of(part, self))
            except InputError as error:
                raise InputError(f"stdp.{error}") from None

    @classmethod
    def scaled(cls, *, modulation: Modulation, inputs: int, neurons: int, one: int) -> FlatStdp:
        """Constants found for 784 inputs, 100 to 400 neurons and 50,000 images, scaled to another network.

        Currents grow with the inputs; a neuron of many wins rarely, so its threshold rises more. (With fewer images
        it should rise more still: the presets say so themselves.)
        """
        full = inputs * one
        rewarded = modulation is Modulation.REWARD
        return cls(modulation=modulation, presynaptic_target=15 if rewarded else 21, threshold_base=max(1, full // 78),
                   threshold_rise=max(1, full * neurons // 7_840_000),
                   inhibition=full // 8 if rewarded else full * 3 // 40,
                   weight_sum=0 if rewarded else full * 23 // 160, punishment_shift=1 if rewarded else 0)


def _fields_of(part: Any, values: object) -> dict[str, Any]:
    """The fields of a dataclass among the attributes of an object."""
    return {entry.name: getattr(values, entry.name) for entry in fields(part) if hasattr(values, entry.name)}


@dataclass(frozen=True, kw_only=True)
class FlatNetwork:
    """Dense layers, one after the other, of one format, neuron and rule.

    Parameters
    ----------
    sizes
        Neurons per layer, inputs first; 2 to 8 entries, each 1..65,536.
    steps, weight_bits, weight_fraction, membrane_overflow, membrane_clamp
        As in :class:`NetworkSpec` and :class:`Formats`. The firing threshold is ``one``.
    leak_shift
        Of membrane potentials and of traces.
    trace_fraction, desire_margin, output_threshold, hidden_threshold, eligibility, magnitude, rounding
        As in :class:`DesireBackpropagation`. :func:`with_rule` sets a named form.
    dropout
        Probability that a hidden neuron is dropped in training, in 1/256, 0..192. The scale 1 / (1 - p) of what is
        left is folded into the thresholds of the layer behind: ``one * (256 - dropout) >> 8``.
    dropout_seed
        Seed of all generators.
    reset
        As in :class:`Lif`.
    stdp
        Competing neurons with spike-timing-dependent plasticity instead of desire backpropagation, or None. The
        last matrix then holds votes. Fields of the desire rule are not used.

    Raises
    ------
    InputError
        A field out of bounds; the message names field, value and bound.
    """

    sizes: tuple[int, ...]
    steps: int = 20
    weight_bits: int = 16
    weight_fraction: int = 14
    leak_shift: int = 2
    membrane_overflow: Overflow = Overflow.SATURATE
    membrane_clamp: int = 2
    trace_fraction: int = 4
    desire_margin: int = 4
    output_threshold: int = 1
    hidden_threshold: int = 655
    eligibility: Eligibility = Eligibility.MEMBRANE
    magnitude: Magnitude = Magnitude.GRADED
    dropout: int = 0
    dropout_seed: int = 0x5EED_CAFE
    rounding: Rounding = Rounding.HALF_UP
    reset: Reset = Reset.SUBTRACT
    stdp: FlatStdp | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.sizes) <= 8:
            raise InputError(f"sizes: {len(self.sizes)} entries, must be 2..8")
        for position, size in enumerate(self.sizes):
            require_integer(f"sizes[{position}]", size, 1, 65_536)
        require_integer("steps", self.steps, 1, 64)
        require_integer("desire_margin", self.desire_margin, 0, self.steps - 1)
        require_integer("output_threshold", self.output_threshold, 1, self.steps)
        require_integer("dropout", self.dropout, 0, 192)
        require_integer("dropout_seed", self.dropout_seed, 0, 0xFFFF_FFFF)
        self._formats()
        DesireBackpropagation(**self._rule_fields(DesireBackpropagation))
        Lif(threshold=self._one, leak_shift=self.leak_shift, reset=self.reset)
        if self.stdp is not None:
            self._check_stdp(self.stdp)
        try:
            self.network()
        except InputError as error:  # it speaks of layers, which are sizes here
            in_sizes = re.sub(r"^layers\[(\d+)\]\.synapses", r"sizes[\1]", str(error))
            raise InputError(re.sub(r"^layers\[\d+\]: ", "", in_sizes)) from None

    def _check_stdp(self, stdp: FlatStdp) -> None:
        if len(self.sizes) < 3:
            raise InputError(f"sizes: {len(self.sizes)} entries; with stdp the last layer counts votes, so at least 3")
        if self.membrane_overflow is not Overflow.SATURATE:
            raise InputError("membrane_overflow: wide is not supported with stdp, give saturate")
        if self.dropout:
            raise InputError(f"dropout: {self.dropout} is out of bounds, must be 0 with stdp")

    @property
    def _one(self) -> int:
        return 1 << self.weight_fraction

    def _formats(self) -> Formats:
        return Formats(**_fields_of(Formats, self))

    def _rule_fields(self, rule: Any) -> dict[str, Any]:
        return _fields_of(rule, self) | {"trace_leak_shift": self.leak_shift}

    # -- variations ----------------------------------------------------------------------------

    def with_weight_bits(self, bits: int) -> FlatNetwork:
        """Weights of ``bits`` bits that reach as far as before: from -2 to 2, with stdp from 0 to 1.

        Of stdp, what counts in weight LSBs follows.
        """
        if self.stdp is None:
            return replace(self, weight_bits=bits, weight_fraction=bits - 2)
        narrow = replace(self, weight_bits=bits, weight_fraction=bits - 1)  # a width out of bounds ends here
        stdp, one, before = self.stdp, narrow._one, self._one
        return replace(narrow, stdp=replace(
            stdp, inhibition=stdp.inhibition * one // before, weight_sum=stdp.weight_sum * one // before,
            threshold_base=max(1, stdp.threshold_base * one // before),
            threshold_rise=max(1, stdp.threshold_rise * one // before)))

    def with_hidden(self, neurons: int) -> FlatNetwork:
        """Another number of neurons in the first layer, which must not be the last."""
        stdp = self.stdp
        if stdp is not None:  # a neuron of many wins rarely
            stdp = replace(stdp, threshold_rise=max(1, stdp.threshold_rise * neurons // self.sizes[1]))
        return replace(self, sizes=(self.sizes[0], neurons, *self.sizes[2:]), stdp=stdp)

    def with_steps(self, steps: int) -> FlatNetwork:
        """Another number of steps; the desire margin stays a fifth of them.

        At least one step: before the first input spikes have added up, nothing can fire.
        """
        return replace(self, steps=steps, desire_margin=min(max(1, steps // 5), max(0, steps - 1)))

    def network(self) -> NetworkSpec:
        """The contract, layer by layer."""
        return _network(self)

    # -- exchange ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values; ``stdp`` only where it is used."""
        return {name: _plain(value) for name, value in asdict(self).items() if name != "stdp" or value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FlatNetwork:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        InputError
            A field is unknown, missing, or out of bounds.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise InputError(f"spec: unknown field {unknown[0]!r}; was it made by a newer version?")
        values = dict(data)
        if not isinstance(values.get("sizes"), (list, tuple)):
            raise InputError("spec: field 'sizes' must be a list of integers")
        values["sizes"] = tuple(values["sizes"])
        _restore_enums(values, _ENUM_FIELDS)
        if values.get("stdp") is not None:
            values["stdp"] = _restore_stdp(values["stdp"])
        return cls(**values)


@lru_cache(maxsize=256)
def _network(flat: FlatNetwork) -> NetworkSpec:
    pairs = list(zip(flat.sizes, flat.sizes[1:], strict=False))
    formats, stdp = flat._formats(), flat.stdp
    carried: dict[str, Any] = {}
    layers = []
    if stdp is None:
        rule = DesireBackpropagation(**flat._rule_fields(DesireBackpropagation))
        hidden = len(pairs) - 1
        if not hidden:
            carried = {"dropout": flat.dropout}
        for index, (n_in, n_out) in enumerate(pairs):
            neuron = Lif(leak_shift=flat.leak_shift, threshold=flat._one, reset=flat.reset,
                         training_threshold=threshold_behind(flat.dropout if index else 0, threshold=flat._one),
                         dropout=flat.dropout if index < hidden else 0)
            layers.append(Layer(synapses=Dense(inputs=n_in, outputs=n_out), neuron=neuron, rule=rule, formats=formats))
        readout: SpikeCounts | Votes = SpikeCounts()
    else:
        carried = {name: getattr(flat, name) for name in _DESIRE_FIELDS}
        competing = CompetingLif(**{**_fields_of(CompetingLif, stdp), "leak_shift": flat.leak_shift})
        plasticity = PairStdp(**{**flat._rule_fields(PairStdp), **_fields_of(PairStdp, stdp)})
        layers = [Layer(synapses=Dense(inputs=n_in, outputs=n_out), neuron=competing, rule=plasticity, formats=formats)
                  for n_in, n_out in pairs[:-1]]
        readout = Votes(count=flat.sizes[-1], vote_bits=flat.weight_bits)
    defaults = {field.name: field.default for field in fields(FlatNetwork)}
    return NetworkSpec(input=Pixels(count=flat.sizes[0]), layers=tuple(layers), readout=readout, steps=flat.steps,
                       seed=flat.dropout_seed, carried=tuple((name, value) for name, value in carried.items()
                                                             if value != defaults[name]))


def flat_network(*, sizes: tuple[int, ...], **choices: Any) -> NetworkSpec:
    """The contract of a :class:`FlatNetwork`: ``flat_network(sizes=(784, 128, 10), weight_bits=12)``."""
    return FlatNetwork(sizes=sizes, **choices).network()


@lru_cache(maxsize=256)
def flattened(spec: NetworkSpec) -> FlatNetwork | None:
    """The flat network that ``spec`` spells out, or None when there is none."""
    first = spec.layers[0]
    values: dict[str, Any] = {
        "sizes": (spec.inputs, *(layer.n_out for layer in spec.layers)), "steps": spec.steps,
        "dropout_seed": spec.seed, **_fields_of(Formats, first.formats), **dict(spec.carried)}
    rule, kinds = first.rule, (type(first.neuron), type(first.rule), type(spec.readout))
    values |= {"leak_shift": rule.trace_leak_shift, "trace_fraction": rule.trace_fraction, "rounding": rule.rounding}
    if kinds not in _FORMS or not {name for name, _ in spec.carried} <= {field.name for field in fields(FlatNetwork)}:
        return None
    try:
        flat = FlatNetwork(**_FORMS[kinds](spec, values))
    except InputError:
        return None
    return flat if flat.network() == spec else None


def _desire_fields(spec: NetworkSpec, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a flat network that learns by desires; those that all have are given."""
    first = spec.layers[0]
    return {"dropout": first.neuron.dropout, **values, **{name: getattr(first.rule, name) for name in _DESIRE_FIELDS}}


def _stdp_fields(spec: NetworkSpec, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a flat network of competing neurons."""
    first = spec.layers[0]
    parts = _fields_of(CompetingLif, first.neuron) | _fields_of(PairStdp, first.rule)
    stdp = FlatStdp(**{field.name: parts[field.name] for field in fields(FlatStdp)})
    return {**values, "sizes": (*values["sizes"], spec.classes), "stdp": stdp}


_FORMS: dict[tuple[type, ...], Callable[[NetworkSpec, dict[str, Any]], dict[str, Any]]] = {
    (Lif, DesireBackpropagation, SpikeCounts): _desire_fields,
    (CompetingLif, PairStdp, Votes): _stdp_fields,
}


def _require_flat(spec: NetworkSpec, what: str) -> FlatNetwork:
    flat = flattened(spec)
    if flat is None:
        raise InputError(f"{what}: its layers are not all dense and alike, so this cannot be changed in one word; "
                         "change its layers")
    return flat


def changed(spec: NetworkSpec, **choices: Any) -> NetworkSpec:
    """The contract with fields of its :class:`FlatNetwork` changed.

    Raises
    ------
    InputError
        It is not flat, or a field is out of bounds.
    """
    return replace(_require_flat(spec, f"network {spec.summary}"), **choices).network()


def named_rule(spec: NetworkSpec) -> NamedRule | None:
    """The named rule that the fields of a contract make up, or None for a mixture."""
    flat = flattened(spec)
    if flat is None:
        return None
    if flat.stdp is not None:
        return next(rule for rule, modulation in _STDP_RULES.items() if modulation is flat.stdp.modulation)
    for rule, values in _RULE_FIELDS.items():
        if all(getattr(flat, name) == value for name, value in values.items()):
            return rule
    return None


def with_rule(spec: NetworkSpec, rule: NamedRule) -> NetworkSpec:
    """The same network under a named rule.

    The forms of desire backpropagation set four fields. Spike-timing-dependent plasticity takes the constants of
    :meth:`FlatStdp.scaled`, weights of 13 bits from 0 to 1, and a wide range of membrane potentials.
    """
    flat = _require_flat(spec, "rule")
    if rule not in _STDP_RULES:
        return replace(flat, stdp=None, **_RULE_FIELDS[rule]).network()
    bits = 13
    stdp = FlatStdp.scaled(modulation=_STDP_RULES[rule], inputs=flat.sizes[0], neurons=flat.sizes[-2],
                           one=1 << (bits - 1))
    return replace(flat, stdp=stdp, weight_bits=bits, weight_fraction=bits - 1, dropout=0,
                   membrane_overflow=Overflow.SATURATE, membrane_clamp=256).network()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, enum.Enum) else value


def _restore_enums(values: dict[str, Any], kinds: dict[str, type[enum.StrEnum]]) -> None:
    for name, kind in kinds.items():
        if name in values:
            try:
                values[name] = kind(values[name])
            except ValueError:
                allowed = ", ".join(kind)
                raise InputError(f"spec: {name} is {values[name]!r}, must be one of {allowed}") from None


def _restore_stdp(data: object) -> FlatStdp:
    if not isinstance(data, dict):
        raise InputError(f"spec: stdp must be a JSON object, got {type(data).__name__}")
    if unknown := sorted(set(data) - {field.name for field in fields(FlatStdp)}):
        raise InputError(f"spec: unknown field stdp.{unknown[0]}; was it made by a newer version?")
    for name in ("threshold_base", "threshold_rise", "inhibition"):
        if name not in data:
            raise InputError(f"spec: field stdp.{name} is missing")
    values = dict(data)
    _restore_enums(values, {"modulation": Modulation, "bounds": Bounds})
    return FlatStdp(**values)


_ENUM_FIELDS: dict[str, type[enum.StrEnum]] = {
    "membrane_overflow": Overflow,
    "eligibility": Eligibility,
    "magnitude": Magnitude,
    "rounding": Rounding,
    "reset": Reset,
}

"""The numeric contract: every format, bound and constant of the network, declared once.

A :class:`NetworkSpec` fixes what the network computes, bit by bit. It holds raw integers only; real
numbers appear in docstrings, never in fields. The golden model, the hardware and the test benches
all read their widths from here, and :meth:`NetworkSpec.digest` is stamped into every model file and
every ``top.v.json``, so that two artefacts of different contracts can never be compared by mistake.

How the hardware is folded is *not* part of the contract: results may not depend on it.

Notation: ``F`` weight fraction bits, ``W`` weight width, ``T`` time steps per sample,
``one = 2**F`` the firing threshold (a real value of 1), ``k`` leak shift, ``X`` trace fraction bits.

The rules are desire backpropagation (D. Gerlinghoff, T. Luo, R. S. M. Goh, W.-F. Wong, "Desire
Backpropagation", arXiv 2211.05412) and, when :attr:`NetworkSpec.stdp` is given, spike-timing-dependent
plasticity (:class:`StdpSpec`).
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

__all__ = [
    "DESIRE_EXPONENT_MIN",
    "PIXEL_MAX",
    "Bounds",
    "Eligibility",
    "InputError",
    "Magnitude",
    "Modulation",
    "NetworkSpec",
    "Overflow",
    "Phase",
    "Reset",
    "Rounding",
    "Rule",
    "StdpSpec",
    "signed_bits",
    "unsigned_bits",
]

PIXEL_MAX = 255
"""Largest pixel intensity; a pixel of this value spikes at every step."""

DESIRE_EXPONENT_MIN = -10
"""Smallest exponent of a graded desire: magnitudes are powers of two from 2**-10 to 1."""

_HIDDEN_THRESHOLD_FRACTION = 16
_DROPOUT_SCALE = 256
_MASK32 = 0xFFFF_FFFF


class InputError(ValueError):
    """Something the user supplied is wrong; the message is one line that names it and the mend."""


class Eligibility(enum.StrEnum):
    """When a neuron's synapses take part in a weight update."""

    SPIKE = "spike"
    """At steps where the neuron fired (the paper's rule)."""
    MEMBRANE = "membrane"
    """At steps where the membrane reached half the threshold; always, for the output layer."""


class Magnitude(enum.StrEnum):
    """How large a desire is."""

    TERNARY = "ternary"
    """-1, 0 or 1 in the update; the exact spike-count error when passed back (the paper's rule)."""
    GRADED = "graded"
    """The largest power of two not above the error, in both places: shifts, no multiplication."""


class Overflow(enum.StrEnum):
    """What happens at the end of a number's range."""

    SATURATE = "saturate"
    """Clamp to the nearest representable value."""
    WIDE = "wide"
    """The format is wide enough that the end is never reached."""


class Rounding(enum.StrEnum):
    """How a weight update is rounded to weight LSBs."""

    HALF_UP = "half-up"
    """``(v + (1 << (r - 1))) >> r``, once per weight write."""
    STOCHASTIC = "stochastic"
    """``(v + (word & (2**r - 1))) >> r`` with a random word: right on average, however small ``v`` is."""


class Reset(enum.StrEnum):
    """What a spike does to the membrane potential."""

    SUBTRACT = "subtract"
    """The threshold is subtracted (soft reset)."""


class Phase(enum.StrEnum):
    """Whether a sample is only classified, or learnt from (dropout is active)."""

    INFERENCE = "inference"
    TRAINING = "training"


class Modulation(enum.StrEnum):
    """What decides the sign of spike-timing-dependent plasticity."""

    NONE = "none"
    """Nothing: unsupervised learning; neurons are labelled afterwards (Diehl & Cook 2015)."""
    REWARD = "reward"
    """One bit for all neurons: a wrong prediction turns potentiation into depression and the other way
    round (Mozafari et al. 2018)."""


class Bounds(enum.StrEnum):
    """How weights stay between 0 and one."""

    SATURATE = "saturate"
    """They are clamped."""
    SOFT = "soft"
    """A change is first halved for every factor of two by which the room left is smaller than one."""


class Rule(enum.StrEnum):
    """The named learning rules: two forms of desire backpropagation, two of spike-timing-dependent plasticity."""

    PAPER = "paper"
    GRADED = "graded"
    STDP = "stdp"
    REWARD_STDP = "rstdp"


_STDP_RULES = {Rule.STDP: Modulation.NONE, Rule.REWARD_STDP: Modulation.REWARD}


_RULE_FIELDS: dict[Rule, dict[str, Any]] = {
    Rule.PAPER: {
        "eligibility": Eligibility.SPIKE,
        "magnitude": Magnitude.TERNARY,
        "output_threshold": 5,
        "hidden_threshold": round(0.05 * 2**_HIDDEN_THRESHOLD_FRACTION),
    },
    Rule.GRADED: {
        "eligibility": Eligibility.MEMBRANE,
        "magnitude": Magnitude.GRADED,
        "output_threshold": 1,
        "hidden_threshold": round(0.01 * 2**_HIDDEN_THRESHOLD_FRACTION),
    },
}


def unsigned_bits(maximum: int) -> int:
    """Bits of the narrowest unsigned format (at least one) that holds ``0..maximum``."""
    return max(1, maximum.bit_length())


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's-complement format that holds ``low..high``."""
    return 1 + max(low if low >= 0 else ~low, high if high >= 0 else ~high, 0).bit_length()


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name}: {value!r} is not an integer")
    if not low <= value <= high:
        raise InputError(f"{name}: {value} is out of bounds, must be {low}..{high}")


@dataclass(frozen=True, kw_only=True)
class StdpSpec:
    """Pair-based spike-timing-dependent plasticity among competing neurons, deferred to the sample's end.

    With presynaptic traces x and postsynaptic traces y, one change per weight and sample::

        dw_ij = A+ * sum_t s_i[t] * (x_j[t] - x_target) - A- * sum_t s_j[t] * y_i[t]

    rounded once; ``A+`` is 2**-rate_shift. In a step only the neuron highest above its threshold fires.

    Parameters
    ----------
    modulation
        Unsupervised, or by a reward.
    bounds
        How weights stay within 0..one.
    presynaptic_target
        ``x_target`` in units of 2**-X, 0..512; doubled for a neuron whose weights sum to more than ``weight_sum``.
    depression_shift
        ``A- = A+ * 2**-depression_shift``, 0..4; None leaves the second term out.
    threshold_base
        Firing threshold without the adaptive part, weight LSBs, 1..2**30.
    threshold_rise
        What each spike of a training sample adds to the neuron's adaptive threshold, weight LSBs, 0..2**24.
    threshold_leak_shift
        ``a -= a >> threshold_leak_shift`` at the end of each training sample, 1..31.
    inhibition
        Subtracted, after a step in which a neuron fired, from the membrane potential of all others; weight
        LSBs, 0..2**30.
    weight_sum
        Where a neuron's weights should sum to: its threshold is higher by what they are above it, and its
        ``x_target`` doubled. Weight LSBs, 1..2**30, or 0 for neither.
    punishment_shift
        Changes after a wrong prediction are smaller by 2**-punishment_shift, 0..4.
    """

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
        for name, kind in (("modulation", Modulation), ("bounds", Bounds)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"stdp.{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        for name, low, high in (("presynaptic_target", 0, 512), ("threshold_base", 1, 1 << 30),
                                ("threshold_rise", 0, 1 << 24), ("threshold_leak_shift", 1, 31),
                                ("inhibition", 0, 1 << 30), ("weight_sum", 0, 1 << 30),
                                ("punishment_shift", 0, 4)):
            _check(f"stdp.{name}", getattr(self, name), low, high)
        if self.depression_shift is not None:
            _check("stdp.depression_shift", self.depression_shift, 0, 4)

    @classmethod
    def scaled(cls, *, modulation: Modulation, inputs: int, neurons: int, one: int) -> StdpSpec:
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

    @property
    def gain_shift(self) -> int:
        """Fraction bits a correlation needs for the depression's weaker rate."""
        return self.depression_shift or 0


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """One network's numeric contract.

    All shifts are arithmetic (they round towards minus infinity).

    Parameters
    ----------
    sizes
        Neurons per layer, inputs first; 2 to 8 entries, each 1..65,536.
    steps
        ``T``, time steps per sample, 1..64.
    weight_bits
        ``W``, width of a two's-complement weight, 2..24; writes saturate.
    weight_fraction
        ``F``, fraction bits of a weight and of the membrane potential, 4..22.
    leak_shift
        ``k``, 1..8: ``leak(v) = ((2**k - 1) * v) >> k``.
    membrane_overflow, membrane_clamp
        With ``SATURATE`` the membrane potential is clamped to ``-c * one .. c * one - 1`` with
        ``c = membrane_clamp``, 2..4,096; with ``WIDE`` no clamp is ever reached and ``c`` must be 0.
    trace_fraction
        ``X``, fraction bits of the presynaptic trace, 0..8.
    desire_margin
        The label neuron is wanted to spike ``D = T - desire_margin`` times; 0..T-1.
    output_threshold
        Smallest spike-count error (counts) that gives an output neuron a desire, 1..T.
    hidden_threshold
        Smallest absolute weighted sum, in units of 2**-16, that gives a hidden neuron a desire.
    eligibility, magnitude
        The form of the rule; see the enums. :meth:`with_rule` sets a named form.
    dropout
        Probability that a hidden neuron is dropped in training, in 1/256, 0..192.
    dropout_seed
        Seed of the generators of dropout and of stochastic rounding, 32 bits.
    rounding
        How a weight update is rounded; see the enum.
    reset
        Named so that a reader of the JSON need not guess.
    stdp
        Spike-timing-dependent plasticity instead of desire backpropagation, or None. The last matrix then
        holds votes: each spike of a neuron adds its row to the classes' totals; it does not learn on chip.
        Fields of the desire rule are not used.

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
    stdp: StdpSpec | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.sizes) <= 8:
            raise InputError(f"sizes: {len(self.sizes)} entries, must be 2..8")
        for position, size in enumerate(self.sizes):
            _check(f"sizes[{position}]", size, 1, 65_536)
        _check("steps", self.steps, 1, 64)
        _check("weight_bits", self.weight_bits, 2, 24)
        _check("weight_fraction", self.weight_fraction, 4, 22)
        _check("leak_shift", self.leak_shift, 1, 8)
        if self.membrane_overflow is Overflow.SATURATE:
            _check("membrane_clamp", self.membrane_clamp, 2, 4_096)
        else:
            _check("membrane_clamp", self.membrane_clamp, 0, 0)
        _check("trace_fraction", self.trace_fraction, 0, 8)
        _check("desire_margin", self.desire_margin, 0, self.steps - 1)
        _check("output_threshold", self.output_threshold, 1, self.steps)
        _check("hidden_threshold", self.hidden_threshold, 1, 1 << 24)
        _check("dropout", self.dropout, 0, 192)
        _check("dropout_seed", self.dropout_seed, 0, _MASK32)
        for name, kind in _ENUM_FIELDS.items():
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        for layer in range(self.layers):
            # The golden model sums currents in float64, exact below 2**53 only.
            if self.membrane_bits(layer) > 48:
                raise InputError(f"sizes[{layer}]: {self.sizes[layer]} inputs need a membrane of "
                                 f"{self.membrane_bits(layer)} bits, at most 48 are supported")
        if self.stdp is not None:
            self._check_stdp(self.stdp)

    def _check_stdp(self, stdp: StdpSpec) -> None:
        if self.layers < 2:
            raise InputError(f"sizes: {len(self.sizes)} entries; with stdp the last layer counts votes, so at least 3")
        if self.weight_fraction >= self.weight_bits:
            raise InputError(f"weight_fraction: {self.weight_fraction} is out of bounds, with stdp weights reach one, "
                             f"so at most {self.weight_bits - 1}")
        if self.membrane_overflow is not Overflow.SATURATE:
            raise InputError("membrane_overflow: wide is not supported with stdp, give saturate")
        if self.dropout:
            raise InputError(f"dropout: {self.dropout} is out of bounds, must be 0 with stdp")
        if self._extra_shift > 31:
            raise InputError(f"weight_fraction: {self.weight_fraction} needs shifts of {self._extra_shift} bits "
                             "with stdp, at most 31 are supported")

    # -- shape ---------------------------------------------------------------------------------

    @property
    def layers(self) -> int:
        """Number of weight matrices."""
        return len(self.sizes) - 1

    @property
    def lif_layers(self) -> int:
        """Number of LIF layers: one per matrix, but the votes of a network with stdp."""
        return self.layers - (self.stdp is not None)

    @property
    def responding(self) -> int:
        """Neurons of the last LIF layer, whose spike counts are the network's answer to an image."""
        return self.sizes[self.lif_layers]

    @property
    def inputs(self) -> int:
        """Number of input pixels."""
        return self.sizes[0]

    @property
    def classes(self) -> int:
        """Number of classes: the output neurons, or what the votes are for."""
        return self.sizes[-1]

    @property
    def parameters(self) -> int:
        """Number of weights in the network."""
        return sum(n_in * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False))

    # -- formats -------------------------------------------------------------------------------

    @property
    def one(self) -> int:
        """The real value 1 in weight LSBs: the firing threshold in inference."""
        return 1 << self.weight_fraction

    @property
    def weight_min(self) -> int:
        """Most negative weight, in LSBs."""
        return -(1 << (self.weight_bits - 1))

    @property
    def weight_max(self) -> int:
        """Largest weight, in LSBs."""
        return (1 << (self.weight_bits - 1)) - 1

    def current_bits(self, layer: int) -> int:
        """Width of the exact synaptic current of ``layer``: no sum of weights can overflow it."""
        return signed_bits(self.sizes[layer] * self.weight_min, self.sizes[layer] * self.weight_max)

    def leak(self, value: int) -> int:
        """``((2**k - 1) * value) >> k``: the decay of membrane potential and trace in a step."""
        return (((1 << self.leak_shift) - 1) * value) >> self.leak_shift

    def membrane_range(self, layer: int) -> tuple[int, int]:
        """Smallest and largest membrane potential of ``layer`` after integration (inclusive)."""
        if self.membrane_overflow is Overflow.SATURATE:
            return -self.membrane_clamp * self.one, self.membrane_clamp * self.one - 1
        low = high = 0
        for _ in range(self.steps):
            low = self.leak(low) + self.sizes[layer] * self.weight_min
            high = self.leak(high) + self.sizes[layer] * self.weight_max
        return low, high

    def membrane_bits(self, layer: int) -> int:
        """Width of the membrane potential of ``layer``."""
        return signed_bits(*self.membrane_range(layer))

    def threshold(self, layer: int, phase: Phase) -> int:
        """Firing threshold of ``layer`` in weight LSBs.

        In training the scale 1 / (1 - p) of the dropped layer before it is folded into the
        threshold, ``one * (256 - dropout) >> 8``, so that no spike has to be scaled.
        """
        if phase is Phase.INFERENCE or layer == 0:
            return self.one
        return (self.one * (_DROPOUT_SCALE - self.dropout)) // _DROPOUT_SCALE

    @cached_property
    def trace_max(self) -> int:
        """Largest value of a presynaptic trace: a spike at every step, in units of 2**-X."""
        trace = 0
        for _ in range(self.steps):
            trace = self.leak(trace) + (1 << self.trace_fraction)
        return trace

    @property
    def count_bits(self) -> int:
        """Width of a spike count over a sample, 0..T."""
        return unsigned_bits(self.steps)

    # -- learning ------------------------------------------------------------------------------

    @property
    def desired_count(self) -> int:
        """``D``: spikes wanted of the label neuron, ``T - desire_margin``."""
        return self.steps - self.desire_margin

    @property
    def hidden_threshold_real(self) -> float:
        """The hidden threshold as a real number."""
        return self.hidden_threshold / (1 << _HIDDEN_THRESHOLD_FRACTION)

    def hidden_threshold_raw(self) -> int:
        """The hidden threshold in the units of the weighted sum it is compared with.

        Graded: weight LSBs times 2**-10 (exponents carry 10 fraction bits). Ternary: weight LSBs
        times spike counts, that is, the real sum times ``D``. Rounded up: ``sum >= real`` is the
        same statement.
        """
        if self.magnitude is Magnitude.GRADED:
            scaled = self.hidden_threshold << (self.weight_fraction - DESIRE_EXPONENT_MIN)
        else:
            scaled = (self.hidden_threshold * self.desired_count) << self.weight_fraction
        return -(-scaled >> _HIDDEN_THRESHOLD_FRACTION)

    def update_shift(self, rate_shift: int) -> int:
        """Right shift from a correlation to weight LSBs, for a desire of magnitude 1.

        ``X + rate_shift - F`` (design of the update: the step is C / 2**X * 2**-rate_shift).

        Raises
        ------
        InputError
            The shift would be negative or above 31.
        """
        shift = self.trace_fraction + rate_shift - self.weight_fraction
        low, high = self.rate_shift_range
        if not low <= rate_shift <= high:
            raise InputError(f"rate shift: {rate_shift} is out of bounds, must be {low}..{high}")
        return shift

    @property
    def rate_shift_range(self) -> tuple[int, int]:
        """Smallest and largest rate shift the update unit supports."""
        low = self.weight_fraction - self.trace_fraction
        return max(0, low), low + 31 - self._extra_shift

    @property
    def _extra_shift(self) -> int:
        """The most by which an update is shifted further than by :meth:`update_shift`."""
        if self.stdp is None:
            return -DESIRE_EXPONENT_MIN
        soft = self.weight_fraction if self.stdp.bounds is Bounds.SOFT else 0
        return soft + self.stdp.gain_shift + self.stdp.punishment_shift

    @property
    def plastic_range(self) -> tuple[int, int]:
        """Smallest and largest weight that learning writes (inclusive)."""
        return (self.weight_min, self.weight_max) if self.stdp is None else (0, self.one - 1)

    @property
    def correlation_range(self) -> tuple[int, int]:
        """Smallest and largest sum of an update before it is scaled, in units of 2**-(X + gain_shift)."""
        largest = self.steps * self.trace_max
        if self.stdp is None:
            return 0, largest
        target = self.stdp.presynaptic_target * (2 if self.stdp.weight_sum else 1)
        depression = 0 if self.stdp.depression_shift is None else largest
        return -(self.steps * target << self.stdp.gain_shift) - depression, largest << self.stdp.gain_shift

    def adaptive_threshold_max(self, layer: int) -> int:
        """Largest adaptive threshold of ``layer``: a neuron that high above the membrane's range fires no more."""
        assert self.stdp is not None
        return self.membrane_range(layer)[1] + self.stdp.weight_sum + self.stdp.threshold_rise

    @property
    def random_seeds(self) -> tuple[int, ...]:
        """Seeds of all generators in use: :attr:`dropout_seeds` if there is dropout, then :attr:`rounding_seeds`."""
        return (self.dropout_seeds if self.dropout else ()) + self.rounding_seeds

    @property
    def dropout_seeds(self) -> tuple[int, ...]:
        """One non-zero 32-bit xorshift state per hidden layer, derived from ``dropout_seed``."""
        return tuple(self._seed(number) for number in range(self.layers - 1))

    @property
    def rounding_seeds(self) -> tuple[int, ...]:
        """One non-zero 32-bit xorshift state per LIF layer; empty without stochastic rounding."""
        if self.rounding is not Rounding.STOCHASTIC:
            return ()
        return tuple(self._seed(number) for number in range(8, 8 + self.lif_layers))

    def _seed(self, number: int) -> int:
        golden_ratio = 0x9E37_79B9
        return (self.dropout_seed ^ (golden_ratio * (number + 1)) & _MASK32) or 1

    @property
    def rule(self) -> Rule | None:
        """The named rule these fields make up, or None for a mixture."""
        if self.stdp is not None:
            return next(rule for rule, modulation in _STDP_RULES.items() if modulation is self.stdp.modulation)
        for rule, values in _RULE_FIELDS.items():
            if all(getattr(self, name) == value for name, value in values.items()):
                return rule
        return None

    def with_rule(self, rule: Rule) -> NetworkSpec:
        """The same network under a named rule.

        The forms of desire backpropagation set four fields. Spike-timing-dependent plasticity takes the constants
        of :meth:`StdpSpec.scaled`, weights of 13 bits from 0 to 1, and a wide range of membrane potentials.
        """
        if rule not in _STDP_RULES:
            return replace(self, stdp=None, **_RULE_FIELDS[rule])
        bits = 13
        stdp = StdpSpec.scaled(modulation=_STDP_RULES[rule], inputs=self.sizes[0], neurons=self.sizes[-2],
                               one=1 << (bits - 1))
        return replace(self, stdp=stdp, weight_bits=bits, weight_fraction=bits - 1, dropout=0,
                       membrane_overflow=Overflow.SATURATE, membrane_clamp=256)

    # -- exchange ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values; ``stdp`` only where it is used."""
        return {name: _plain(value) for name, value in asdict(self).items() if name != "stdp" or value is not None}

    @classmethod
    def from_json(cls, data: object) -> NetworkSpec:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        InputError
            A field is unknown, missing, or out of bounds.
        """
        if not isinstance(data, dict):
            raise InputError(f"spec: expected a JSON object, got {type(data).__name__}")
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

    def digest(self) -> str:
        """16 hexadecimal digits that identify the contract (SHA-256 of the canonical JSON)."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


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


def _restore_stdp(data: object) -> StdpSpec:
    if not isinstance(data, dict):
        raise InputError(f"spec: stdp must be a JSON object, got {type(data).__name__}")
    if unknown := sorted(set(data) - {field.name for field in fields(StdpSpec)}):
        raise InputError(f"spec: unknown field stdp.{unknown[0]}; was it made by a newer version?")
    for name in ("threshold_base", "threshold_rise", "inhibition"):
        if name not in data:
            raise InputError(f"spec: field stdp.{name} is missing")
    values = dict(data)
    _restore_enums(values, {"modulation": Modulation, "bounds": Bounds})
    return StdpSpec(**values)


_ENUM_FIELDS: dict[str, type[enum.StrEnum]] = {
    "membrane_overflow": Overflow,
    "eligibility": Eligibility,
    "magnitude": Magnitude,
    "rounding": Rounding,
    "reset": Reset,
}

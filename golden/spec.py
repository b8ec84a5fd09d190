"""The numeric contract: every format, bound and constant of the network, declared once.

A :class:`NetworkSpec` fixes what the network computes, bit by bit. It holds raw integers only; real
numbers appear in docstrings, never in fields. The golden model, the hardware and the test benches
all read their widths from here, and :meth:`NetworkSpec.digest` is stamped into every model file and
every ``top.v.json``, so that two artefacts of different contracts can never be compared by mistake.

How the hardware is folded is *not* part of the contract: results may not depend on it.

Notation: ``F`` weight fraction bits, ``W`` weight width, ``T`` time steps per sample,
``one = 2**F`` the firing threshold (a real value of 1), ``k`` leak shift, ``X`` trace fraction bits.

The rule is desire backpropagation: D. Gerlinghoff, T. Luo, R. S. M. Goh, W.-F. Wong, "Desire
Backpropagation", arXiv 2211.05412.
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
    "Eligibility",
    "InputError",
    "Magnitude",
    "NetworkSpec",
    "Overflow",
    "Phase",
    "Reset",
    "Rounding",
    "Rule",
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


class Rule(enum.StrEnum):
    """The two named forms of desire backpropagation; each sets four fields of the contract."""

    PAPER = "paper"
    GRADED = "graded"


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
        ``c = membrane_clamp``, 2..64; with ``WIDE`` no clamp is ever reached and ``c`` must be 0.
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

    def __post_init__(self) -> None:
        if not 2 <= len(self.sizes) <= 8:
            raise InputError(f"sizes: {len(self.sizes)} entries, must be 2..8")
        for position, size in enumerate(self.sizes):
            self._check(f"sizes[{position}]", size, 1, 65_536)
        self._check("steps", self.steps, 1, 64)
        self._check("weight_bits", self.weight_bits, 2, 24)
        self._check("weight_fraction", self.weight_fraction, 4, 22)
        self._check("leak_shift", self.leak_shift, 1, 8)
        if self.membrane_overflow is Overflow.SATURATE:
            self._check("membrane_clamp", self.membrane_clamp, 2, 64)
        else:
            self._check("membrane_clamp", self.membrane_clamp, 0, 0)
        self._check("trace_fraction", self.trace_fraction, 0, 8)
        self._check("desire_margin", self.desire_margin, 0, self.steps - 1)
        self._check("output_threshold", self.output_threshold, 1, self.steps)
        self._check("hidden_threshold", self.hidden_threshold, 1, 1 << 24)
        self._check("dropout", self.dropout, 0, 192)
        self._check("dropout_seed", self.dropout_seed, 0, _MASK32)
        for name, kind in _ENUM_FIELDS.items():
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: {getattr(self, name)!r} is not a {kind.__name__}")
        for layer in range(self.layers):
            # The golden model sums currents in float64, exact below 2**53 only.
            if self.membrane_bits(layer) > 48:
                raise InputError(f"sizes[{layer}]: {self.sizes[layer]} inputs need a membrane of "
                                 f"{self.membrane_bits(layer)} bits, at most 48 are supported")

    @staticmethod
    def _check(name: str, value: object, low: int, high: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name}: {value!r} is not an integer")
        if not low <= value <= high:
            raise InputError(f"{name}: {value} is out of bounds, must be {low}..{high}")

    # -- shape ---------------------------------------------------------------------------------

    @property
    def layers(self) -> int:
        """Number of LIF layers (the input is not one)."""
        return len(self.sizes) - 1

    @property
    def inputs(self) -> int:
        """Number of input pixels."""
        return self.sizes[0]

    @property
    def classes(self) -> int:
        """Number of output neurons."""
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
        return max(0, low), low + 31 + DESIRE_EXPONENT_MIN

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
        """One non-zero 32-bit xorshift state per layer; empty without stochastic rounding."""
        if self.rounding is not Rounding.STOCHASTIC:
            return ()
        return tuple(self._seed(number) for number in range(8, 8 + self.layers))

    def _seed(self, number: int) -> int:
        golden_ratio = 0x9E37_79B9
        return (self.dropout_seed ^ (golden_ratio * (number + 1)) & _MASK32) or 1

    @property
    def rule(self) -> Rule | None:
        """The named form these fields make up, or None for a mixture."""
        for rule, values in _RULE_FIELDS.items():
            if all(getattr(self, name) == value for name, value in values.items()):
                return rule
        return None

    def with_rule(self, rule: Rule) -> NetworkSpec:
        """The same network with the four fields of a named rule set."""
        return replace(self, **_RULE_FIELDS[rule])

    # -- exchange ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else
                value.value if isinstance(value, enum.Enum) else value
                for name, value in asdict(self).items()}

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
        for name, kind in _ENUM_FIELDS.items():
            if name in values:
                try:
                    values[name] = kind(values[name])
                except ValueError:
                    allowed = ", ".join(kind)
                    raise InputError(f"spec: {name} is {values[name]!r}, "
                                     f"must be one of {allowed}") from None
        return cls(**values)

    def digest(self) -> str:
        """16 hexadecimal digits that identify the contract (SHA-256 of the canonical JSON)."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


_ENUM_FIELDS: dict[str, type[enum.StrEnum]] = {
    "membrane_overflow": Overflow,
    "eligibility": Eligibility,
    "magnitude": Magnitude,
    "rounding": Rounding,
    "reset": Reset,
}

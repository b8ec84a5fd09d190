"""The numeric contract."""

from __future__ import annotations

import copy
import enum
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from lifstream.golden.presets import PRESETS, preset_by_name
from lifstream.golden.spec import (
    Bounds,
    Eligibility,
    InputError,
    Magnitude,
    Modulation,
    NetworkSpec,
    Overflow,
    Phase,
    Rounding,
    Rule,
    StdpSpec,
    signed_bits,
    unsigned_bits,
)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    spec = PRESETS[name].spec
    again = NetworkSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest() == spec.digest()


def test_digest_is_pinned() -> None:
    # A change here orphans every model file in the world: it must be deliberate.
    assert NetworkSpec(sizes=(4, 3, 2)).digest() == "564d7a4f9ef3c0fe"


DIGESTED = NetworkSpec(sizes=(4, 3, 2)).with_rule(Rule.STDP)


class OtherReset(enum.StrEnum):
    """A reset that the contract does not have yet."""

    ZERO = "zero"


ALTERNATIVES: dict[type, dict[str, Any]] = {
    NetworkSpec: {
        "sizes": (4, 3, 3), "steps": 19, "weight_bits": 14, "weight_fraction": 11, "leak_shift": 3,
        "membrane_overflow": Overflow.WIDE, "membrane_clamp": 3, "trace_fraction": 3, "desire_margin": 3,
        "output_threshold": 2, "hidden_threshold": 7, "eligibility": Eligibility.SPIKE,
        "magnitude": Magnitude.TERNARY, "dropout": 1, "dropout_seed": 1, "rounding": Rounding.STOCHASTIC,
        "reset": OtherReset.ZERO, "stdp": None},
    StdpSpec: {
        "modulation": Modulation.REWARD, "bounds": Bounds.SATURATE, "presynaptic_target": 3, "depression_shift": 0,
        "threshold_base": 7, "threshold_rise": 7, "threshold_leak_shift": 3, "inhibition": 7, "weight_sum": 7,
        "punishment_shift": 1},
}
"""Another value for each field; a field without one fails the test below."""


def planted(spec: Any, field: str, value: Any) -> Any:
    """The spec with one field changed and nothing checked, so that each can change alone."""
    changed = copy.copy(spec)
    object.__setattr__(changed, field, value)
    return changed


def specs_of_one_other_field() -> dict[str, NetworkSpec]:
    specs = {entry.name: planted(DIGESTED, entry.name, ALTERNATIVES[NetworkSpec][entry.name])
             for entry in fields(NetworkSpec)}
    return specs | {
        f"stdp.{entry.name}":
            planted(DIGESTED, "stdp", planted(DIGESTED.stdp, entry.name, ALTERNATIVES[StdpSpec][entry.name]))
        for entry in fields(StdpSpec)}


def test_digest_depends_on_every_field() -> None:
    for kind, values in ALTERNATIVES.items():
        assert {entry.name for entry in fields(kind)} == set(values), "give every field another value"
    assert DIGESTED.stdp is not None
    for spec, values in ((DIGESTED, ALTERNATIVES[NetworkSpec]), (DIGESTED.stdp, ALTERNATIVES[StdpSpec])):
        assert [name for name, value in values.items() if getattr(spec, name) == value] == []
    named: dict[str, str] = {DIGESTED.digest(): "as it was"}
    for field, spec in specs_of_one_other_field().items():
        digest = spec.digest()
        assert digest not in named, f"{field} gives the digest of {named[digest]!r}"
        named[digest] = field


@pytest.mark.parametrize("field", specs_of_one_other_field())
def test_a_field_that_the_digest_forgets_is_caught(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = NetworkSpec.to_json

    def forgetful(spec: NetworkSpec) -> dict[str, Any]:
        data = whole(spec)
        place, _, name = field.rpartition(".")
        (data.get(place, {}) if place else data).pop(name, None)
        return data

    monkeypatch.setattr(NetworkSpec, "to_json", forgetful)
    with pytest.raises(AssertionError, match=f"^{field} gives the digest of 'as it was'"):
        test_digest_depends_on_every_field()


@pytest.mark.parametrize(("field", "value", "bound"), [
    ("sizes", (4,), "2..8"), ("sizes", (4, 0), "1..65536"), ("steps", 0, "1..64"), ("steps", True, "integer"),
    ("steps", 2.5, "integer"), ("weight_bits", 1, "2..24"), ("weight_fraction", 23, "4..22"),
    ("leak_shift", 0, "1..8"), ("membrane_clamp", 1, "2..4096"), ("trace_fraction", -1, "0..8"),
    ("desire_margin", 20, "0..19"), ("output_threshold", 0, "1..20"), ("hidden_threshold", 0, "1.."),
    ("dropout", 193, "0..192"), ("dropout_seed", -1, "0..4294967295"), ("eligibility", "spike", "Eligibility"),
])
def test_bad_field_is_named_with_value_and_bound(field: str, value: object, bound: str) -> None:
    with pytest.raises(InputError, match=field) as caught:
        NetworkSpec(**{"sizes": (4, 3, 2), field: value})
    assert bound in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "message"), [
    ([], "JSON object"), ({"sizes": [4, 2], "colour": 1}, "colour"), ({"steps": 3}, "sizes"),
    ({"sizes": [4, 2], "magnitude": "huge"}, "ternary, graded"),
])
def test_bad_json(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkSpec.from_json(data)


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 0, 1), (-1, 0, 1), (-1, 1, 2), (-2, 1, 2), (-3, 1, 3),
                                                    (-4, 3, 3), (0, 4, 4), (-32768, 32767, 16)])
def test_signed_bits(low: int, high: int, bits: int) -> None:
    assert signed_bits(low, high) == bits


def test_unsigned_bits() -> None:
    assert [unsigned_bits(value) for value in (0, 1, 2, 3, 4, 255, 256)] == [1, 1, 2, 2, 3, 8, 9]


def test_derived_formats_of_mnist_128() -> None:
    spec = PRESETS["mnist-128"].spec
    assert spec.current_bits(0) == 26  # 784 weights of 16 bits
    assert spec.membrane_range(0) == (-32768, 32767)
    assert spec.membrane_bits(0) == 16
    assert spec.trace_max < 1 << (spec.trace_fraction + spec.leak_shift)
    assert spec.desired_count == 16
    assert spec.parameters == 784 * 128 + 128 * 10


def test_wide_membrane_bounds_hold_the_worst_case() -> None:
    spec = NetworkSpec(sizes=(3, 2), steps=5, membrane_overflow=Overflow.WIDE, membrane_clamp=0)
    low = 0
    for _ in range(5):
        low = ((3 * low) >> 2) + 3 * spec.weight_min
    assert spec.membrane_range(0)[0] == low


def test_training_threshold_folds_the_dropout_scale() -> None:
    spec = NetworkSpec(sizes=(4, 3, 2), dropout=64)
    assert spec.threshold(0, Phase.TRAINING) == spec.one
    assert spec.threshold(1, Phase.TRAINING) == spec.one * 3 // 4
    assert spec.threshold(1, Phase.INFERENCE) == spec.one


def test_hidden_threshold_in_raw_units() -> None:
    graded = NetworkSpec(sizes=(4, 3, 2)).with_rule(Rule.GRADED)
    assert graded.hidden_threshold_raw() == -(-655 * 2**24 // 2**16)
    paper = graded.with_rule(Rule.PAPER)
    assert paper.hidden_threshold_raw() == -(-3277 * 16 * 2**14 // 2**16)


def test_rules_are_recognised() -> None:
    spec = NetworkSpec(sizes=(4, 2))
    assert spec.with_rule(Rule.PAPER).rule is Rule.PAPER
    assert spec.with_rule(Rule.GRADED).rule is Rule.GRADED
    assert replace(spec, output_threshold=3).rule is None


def test_rate_shift_bounds() -> None:
    spec = NetworkSpec(sizes=(4, 2))
    assert spec.update_shift(10) == 0
    for bad in (9, 32):
        with pytest.raises(InputError, match=r"10\.\.31"):
            spec.update_shift(bad)


def test_dropout_seeds_differ_and_are_never_zero() -> None:
    seeds = NetworkSpec(sizes=(4, 3, 3, 3, 2), dropout_seed=0x9E3779B9).dropout_seeds
    assert len(set(seeds)) == 3
    assert 0 not in seeds


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(InputError, match="mnist-128"):
        preset_by_name("mnist")

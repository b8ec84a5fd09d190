"""The numeric contract."""

from __future__ import annotations

import copy
import enum
import json
from dataclasses import fields
from typing import Any

import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import (
    FlatNetwork,
    FlatStdp,
    NamedRule,
    changed,
    flat_network,
    named_rule,
    with_rule,
)
from lifstream.golden.contract.formats import Overflow, Phase, Rounding, signed_bits, unsigned_bits
from lifstream.golden.contract.network import NetworkSpec, digest_of_json
from lifstream.golden.contract.rules import Bounds, DesireBackpropagation, Eligibility, Magnitude, Modulation
from lifstream.golden.study.presets import PRESETS, preset_by_name
from tests.conftest import flat


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    spec = PRESETS[name].spec
    again = NetworkSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest() == spec.digest()


def test_digest_is_pinned() -> None:
    # A change here orphans every model file in the world: it must be deliberate.
    assert flat_network(sizes=(4, 3, 2)).digest() == "564d7a4f9ef3c0fe"


DIGESTED = flat(with_rule(flat_network(sizes=(4, 3, 2)), NamedRule.STDP))


class OtherReset(enum.StrEnum):
    """A reset that the contract does not have yet."""

    ZERO = "zero"


ALTERNATIVES: dict[type, dict[str, Any]] = {
    FlatNetwork: {
        "sizes": (4, 3, 3), "steps": 19, "weight_bits": 14, "weight_fraction": 11, "leak_shift": 3,
        "membrane_overflow": Overflow.WIDE, "membrane_clamp": 3, "trace_fraction": 3, "desire_margin": 3,
        "output_threshold": 2, "hidden_threshold": 7, "eligibility": Eligibility.SPIKE,
        "magnitude": Magnitude.TERNARY, "dropout": 1, "dropout_seed": 1, "rounding": Rounding.STOCHASTIC,
        "reset": OtherReset.ZERO, "stdp": None},
    FlatStdp: {
        "modulation": Modulation.REWARD, "bounds": Bounds.SATURATE, "presynaptic_target": 3, "depression_shift": 0,
        "threshold_base": 7, "threshold_rise": 7, "threshold_leak_shift": 3, "inhibition": 7, "weight_sum": 7,
        "punishment_shift": 1},
}
"""Another value for each field; a field without one fails the test below."""


def planted(spec: Any, field: str, value: Any) -> Any:
    """The spec with one field changed and nothing checked, so that each can change alone."""
    other = copy.copy(spec)
    object.__setattr__(other, field, value)
    return other


def specs_of_one_other_field() -> dict[str, FlatNetwork]:
    specs = {entry.name: planted(DIGESTED, entry.name, ALTERNATIVES[FlatNetwork][entry.name])
             for entry in fields(FlatNetwork)}
    return specs | {
        f"stdp.{entry.name}":
            planted(DIGESTED, "stdp", planted(DIGESTED.stdp, entry.name, ALTERNATIVES[FlatStdp][entry.name]))
        for entry in fields(FlatStdp)}


def test_digest_depends_on_every_field() -> None:
    for kind, values in ALTERNATIVES.items():
        assert {entry.name for entry in fields(kind)} == set(values), "give every field another value"
    assert DIGESTED.stdp is not None
    for spec, values in ((DIGESTED, ALTERNATIVES[FlatNetwork]), (DIGESTED.stdp, ALTERNATIVES[FlatStdp])):
        assert [name for name, value in values.items() if getattr(spec, name) == value] == []
    named: dict[str, str] = {digest_of_json(DIGESTED.to_json()): "as it was"}
    for field, spec in specs_of_one_other_field().items():
        digest = digest_of_json(spec.to_json())
        assert digest not in named, f"{field} gives the digest of {named[digest]!r}"
        named[digest] = field


@pytest.mark.parametrize("field", specs_of_one_other_field())
def test_a_field_that_the_digest_forgets_is_caught(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FlatNetwork.to_json

    def forgetful(spec: FlatNetwork) -> dict[str, Any]:
        data = whole(spec)
        place, _, name = field.rpartition(".")
        (data.get(place, {}) if place else data).pop(name, None)
        return data

    monkeypatch.setattr(FlatNetwork, "to_json", forgetful)
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
        flat_network(**{"sizes": (4, 3, 2), field: value})
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
    assert spec.at(0).current_bits == 26  # 784 weights of 16 bits
    assert spec.at(0).membrane_range == (-32768, 32767)
    assert spec.at(0).membrane_bits == 16
    assert spec.at(0).trace_max < 1 << (flat(spec).trace_fraction + flat(spec).leak_shift)
    assert spec.count_bits == 5
    rule = spec.layers[0].rule
    assert isinstance(rule, DesireBackpropagation)
    assert rule.desired_count(spec.steps) == 16
    assert spec.parameters == 784 * 128 + 128 * 10


def test_wide_membrane_bounds_hold_the_worst_case() -> None:
    spec = flat_network(sizes=(3, 2), steps=5, membrane_overflow=Overflow.WIDE, membrane_clamp=0)
    low = 0
    for _ in range(5):
        low = ((3 * low) >> 2) + 3 * spec.layers[0].formats.weight_min
    assert spec.at(0).membrane_range[0] == low


def test_training_threshold_folds_the_dropout_scale() -> None:
    spec = flat_network(sizes=(4, 3, 2), dropout=64)
    assert spec.layers[0].neuron.threshold_in(Phase.TRAINING) == spec.layers[0].formats.one
    assert spec.layers[1].neuron.threshold_in(Phase.TRAINING) == spec.layers[0].formats.one * 3 // 4
    assert spec.layers[1].neuron.threshold_in(Phase.INFERENCE) == spec.layers[0].formats.one


def test_hidden_threshold_in_raw_units() -> None:
    def raw(spec: NetworkSpec) -> int:
        rule = spec.layers[0].rule
        assert isinstance(rule, DesireBackpropagation)
        fall, rise = rule.hidden_thresholds_raw(fraction=spec.layers[1].formats.weight_fraction, steps=spec.steps)
        assert fall == rise
        return fall

    graded = with_rule(flat_network(sizes=(4, 3, 2)), NamedRule.GRADED)
    assert raw(graded) == -(-655 * 2**24 // 2**16)
    paper = with_rule(graded, NamedRule.PAPER)
    assert raw(paper) == -(-3277 * 16 * 2**14 // 2**16)
    for magnitude, unit in ((Magnitude.GRADED, 2**24), (Magnitude.TERNARY, 16 * 2**14)):
        rule = DesireBackpropagation(magnitude=magnitude, hidden_threshold=300, rise_threshold=331)
        assert rule.hidden_thresholds_raw(fraction=14, steps=20) == (-(-300 * unit // 2**16), -(-331 * unit // 2**16))
        assert DesireBackpropagation.from_json(rule.to_json(), "rule") == rule
    assert not {"rise_threshold", "rise_limit"} & set(DesireBackpropagation().to_json())
    assert DesireBackpropagation.from_json(DesireBackpropagation(rise_limit=4).to_json(), "rule").rise_limit == 4
    for value in (0, 2**24 + 1, 1.5, True):
        with pytest.raises(InputError, match="rise_threshold"):
            DesireBackpropagation(rise_threshold=value)  # type: ignore[arg-type]


def test_rules_are_recognised() -> None:
    spec = flat_network(sizes=(4, 2))
    assert named_rule(with_rule(spec, NamedRule.PAPER)) is NamedRule.PAPER
    assert named_rule(with_rule(spec, NamedRule.GRADED)) is NamedRule.GRADED
    assert named_rule(changed(spec, output_threshold=3)) is None


def test_rate_shift_bounds() -> None:
    spec = flat_network(sizes=(4, 2))
    assert spec.at(0).update_shift(10) == 0
    for bad in (9, 32):
        with pytest.raises(InputError, match=r"10\.\.31"):
            spec.at(0).update_shift(bad)


def test_dropout_seeds_differ_and_are_never_zero() -> None:
    seeds = flat_network(sizes=(4, 3, 3, 3, 2), dropout=1, dropout_seed=0x9E3779B9).random_seeds
    assert len(set(seeds)) == 3
    assert 0 not in seeds


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(InputError, match="mnist-128"):
        preset_by_name("mnist")


def test_an_answer_is_a_byte() -> None:
    assert flat_network(sizes=(4, 256)).classes == 256
    with pytest.raises(InputError, match=r"^readout: classes: 257 is out of bounds, must be 1..256"):
        flat_network(sizes=(4, 257))

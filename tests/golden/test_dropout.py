"""Dropout masks against the generator written out."""

from __future__ import annotations

import numpy as np
import pytest

from golden.dropout import DropoutGenerator
from golden.spec import NetworkSpec


def xorshift(state: int) -> int:
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


@pytest.mark.parametrize("dropout", [1, 32, 192])
def test_masks_equal_the_generator_step_by_step(dropout: int) -> None:
    spec = NetworkSpec(sizes=(4, 37, 5, 2), dropout=dropout)
    generator = DropoutGenerator(spec)
    states = list(spec.dropout_seeds)
    for _ in range(20):
        masks = generator.masks()
        for layer, size in enumerate((37, 5)):
            expected = []
            for _ in range(size):
                states[layer] = xorshift(states[layer])
                expected.append(states[layer] >> 24 >= dropout)
            mask = masks[layer]
            assert mask is not None
            assert mask.tolist() == expected
    assert generator.states == states


def test_pinned_first_draw() -> None:
    assert xorshift(1) == 270369  # Marsaglia's triple 13, 17, 5 from state 1


def test_no_dropout_draws_nothing() -> None:
    spec = NetworkSpec(sizes=(4, 3, 2))
    generator = DropoutGenerator(spec)
    assert generator.masks() == [None]
    assert generator.states == list(spec.dropout_seeds)


def test_rate_is_about_right() -> None:
    generator = DropoutGenerator(NetworkSpec(sizes=(4, 1000, 2), dropout=64))
    kept = np.mean([np.asarray(generator.masks()[0]).mean() for _ in range(50)])
    assert 0.74 < kept < 0.76

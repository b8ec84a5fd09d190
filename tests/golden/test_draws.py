"""Random draws against the generator written out."""

from __future__ import annotations

import numpy as np
import pytest

from lifstream.golden.contract.flat import changed, flat_network
from lifstream.golden.contract.formats import Rounding
from lifstream.golden.model.draws import DrawGenerator, rounding_words
from lifstream.golden.model.operations import round_shift_random


def xorshift(state: int) -> int:
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


@pytest.mark.parametrize("dropout", [1, 32, 192])
def test_masks_equal_the_generator_step_by_step(dropout: int) -> None:
    spec = flat_network(sizes=(4, 37, 5, 2), dropout=dropout)
    generator = DrawGenerator(spec)
    states = list(spec.random_seeds)
    for _ in range(20):
        masks = generator.draw().kept
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
    spec = flat_network(sizes=(4, 3, 2))
    generator = DrawGenerator(spec)
    assert generator.draw().kept == [None, None]
    assert generator.states == []


def test_rate_is_about_right() -> None:
    generator = DrawGenerator(flat_network(sizes=(4, 1000, 2), dropout=64))
    kept = np.mean([np.asarray(generator.draw().kept[0]).mean() for _ in range(50)])
    assert 0.74 < kept < 0.76


def test_rounding_draws_once_per_layer_and_sample() -> None:
    spec = flat_network(sizes=(4, 3, 2), dropout=64, rounding=Rounding.STOCHASTIC)
    generator, rounding_seeds = DrawGenerator(spec), [at.rounding_seed or 0 for at in spec.placed]
    assert generator.states == [spec.at(0).dropout_seed, *rounding_seeds]
    assert len(set(generator.states)) == 3
    states = list(rounding_seeds)
    for _ in range(3):
        states = [xorshift(state) for state in states]
        draws = generator.draw()
        assert draws.rounding == states
        assert generator.states[1:] == states
    alone = DrawGenerator(changed(spec, dropout=0))
    assert alone.draw() == ([None, None], [xorshift(state) for state in rounding_seeds])
    assert DrawGenerator(changed(spec, rounding=Rounding.HALF_UP)).draw().rounding is None


def test_rounding_words() -> None:
    rows = np.array([0, 1, 5, 65_535])
    assert rounding_words(0x8000_0001, rows).tolist() == [xorshift(0x8000_0001 ^ row) for row in rows.tolist()]


def test_rounding_is_right_on_average() -> None:
    value, shift = np.int64(5), np.int64(4)
    total, count = 0, 4_000
    state = 0x1234_5678
    for _ in range(count):
        state = xorshift(state)
        words = rounding_words(state, np.arange(8))
        total += int(round_shift_random(value, shift, words).sum())
    # 5/16 of 32,000 binary draws: ten standard deviations.
    assert abs(total - 8 * count * 5 / 16) < 10 * (8 * count * 5 / 16 * 11 / 16) ** 0.5
    assert round_shift_random(np.int64(7), np.int64(0), np.int64(0xFFFF_FFFF)) == 7

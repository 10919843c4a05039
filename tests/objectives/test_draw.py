from collections import Counter
from itertools import combinations, permutations
from math import exp

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.objectives.draw import (
    LONGEST_ORDER,
    bits,
    choose,
    packed,
    poisson,
    shuffled,
    shuffled_groups,
    tokens,
    uniform,
)
from tests.objectives.made import assert_share, quick_jit

DRAWS = 4000
choose_rows = quick_jit(jax.vmap(choose, in_axes=(0, None, None)))
shuffled_rows = quick_jit(jax.vmap(shuffled, in_axes=(0, None)))


def random_bits(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 1 << 32, shape, np.uint32))


def test_bits_come_in_the_sizes_asked_for_and_none_twice():
    parts = bits(jax.random.key(0), 3, 1, 5)
    assert [part.shape for part in parts] == [(3,), (1,), (5,)]
    assert len(set(np.concatenate(parts).tolist())) == 9


def test_uniform_numbers_stay_below_one():
    assert uniform(jnp.array([0, 0xFFFFFFFF], jnp.uint32)).tolist() == [0.0, 1 - 2**-24]


@given(able=st.lists(st.booleans(), min_size=9, max_size=9), share=st.floats(0, 1), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_exactly_the_count_is_chosen_and_only_of_the_able(able, share, seed):
    count = round(share * sum(able))
    chosen = np.asarray(choose_rows(random_bits(7, 9, seed=seed), jnp.array(able), count))
    assert (chosen.sum(axis=1) == count).all()
    assert not (chosen & ~np.array(able)).any()


@pytest.mark.parametrize("value", [0, 0xFFFFFFFF])
def test_equal_bits_do_not_change_the_count(value):
    for length in (7, 8):
        equal = jnp.full((1, length), value, jnp.uint32)
        for count in range(length + 1):
            assert choose_rows(equal, jnp.ones(length, bool), count).sum() == count


def test_every_set_of_places_is_as_likely():
    able = jnp.array([True, True, False, True, True, True])
    chosen = np.asarray(choose_rows(random_bits(DRAWS, 6), able, 2))
    counts = Counter(tuple(np.flatnonzero(row)) for row in chosen)
    sets = list(combinations([0, 1, 3, 4, 5], 2))
    assert set(counts) == set(sets)
    for one in sets:
        assert_share(counts[one] / DRAWS, 1 / len(sets), DRAWS)


def test_every_order_is_as_likely_and_what_is_not_able_comes_last():
    orders = np.asarray(shuffled_rows(random_bits(DRAWS, 4), jnp.array([True, False, True, True])))
    counts = Counter(tuple(row[:3]) for row in orders)
    assert set(counts) == set(permutations([0, 2, 3]))
    for one in counts.values():
        assert_share(one / DRAWS, 1 / 6, DRAWS)
    assert (orders[:, 3] >= 4).all()


def test_groups_move_as_wholes_in_every_order():
    groups = jnp.array([0, 0, 1, 2, 2, 2])
    rows = quick_jit(jax.vmap(shuffled_groups, in_axes=(0, None)))(random_bits(DRAWS, 6), groups)
    counts = Counter(tuple(row) for row in np.asarray(rows))
    assert set(counts) == {(*a, *b, *c) for a, b, c in permutations([(0, 1), (2,), (3, 4, 5)])}
    for one in counts.values():
        assert_share(one / DRAWS, 1 / 6, DRAWS)


def test_too_many_places_to_permute_in_groups_are_refused():
    with pytest.raises(ValueError, match=r"objective.text: 65536 tokens to permute.*shorten it"):
        shuffled_groups(jnp.zeros(LONGEST_ORDER + 1, jnp.uint32), jnp.zeros(LONGEST_ORDER + 1, jnp.int32))


def test_packing_moves_what_is_kept_to_the_front():
    values, kept = jnp.array([5, 6, 7, 8]), jnp.array([False, True, False, True])
    assert packed(values, kept, 3, 0).tolist() == [6, 8, 0]
    assert packed(values, kept, 1, 0).tolist() == [6]


@pytest.mark.parametrize("mean", [0.5, 3.0, 40.0])
def test_poisson_numbers_have_their_mean_variance_and_share_of_zeros(mean):
    numbers = np.asarray(quick_jit(poisson, static_argnums=1)(random_bits(100_000), mean))
    # Standard errors: sqrt(mean / n) of the mean; of the variance about mean * sqrt((2 + 1 / mean) / n).
    assert numbers.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 1e5))
    assert numbers.var() == pytest.approx(mean, abs=5 * mean * np.sqrt((2 + 1 / mean) / 1e5))
    assert_share((numbers == 0).mean(), exp(-mean), 1e5)


@pytest.mark.parametrize("vocab", [1, 7])
def test_tokens_are_drawn_as_the_softmax_says(vocab):
    logits = np.random.default_rng(vocab).normal(size=vocab).astype(np.float32) * 2
    share = np.exp(logits) / np.exp(logits).sum()
    drawn = np.asarray(quick_jit(tokens)(random_bits(40_000), jnp.broadcast_to(logits, (20_000, vocab))))
    for token in range(vocab):
        assert_share((drawn == token).mean(), share[token], 20_000)


def test_a_token_of_no_probability_is_never_drawn():
    logits = jnp.array([-jnp.inf, 0.0, -jnp.inf, 1.0, -jnp.inf])
    extremes = jnp.array([0, 0, 0xFFFFFFFF, 0xFFFFFFFF], jnp.uint32)
    drawn_from = jnp.append(extremes, random_bits(40_000))
    drawn = quick_jit(tokens)(drawn_from, jnp.broadcast_to(logits, (20_002, 5)))
    assert set(np.asarray(drawn).tolist()) == {1, 3}

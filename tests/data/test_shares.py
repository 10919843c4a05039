from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.shares import LONGEST, pattern, shares

some_shares = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any).map(tuple)


def off(found):
    """Places of each part before each place, less its share of them, times the period: (M + 1, K) whole numbers."""
    period = sum(found.shares)
    return found.before * period - np.arange(period + 1)[:, None] * np.array(found.shares)


@settings(deadline=None)
@given(some_shares)
def test_every_beginning_holds_each_part_within_tijdemans_bound(given_shares):
    held = sum(share > 0 for share in given_shares)
    # 1 - 1 / (2K - 2) of a place, in whole numbers
    bound = (2 * held - 3) * sum(given_shares) if held > 1 else 0
    assert (np.abs(off(pattern(given_shares))) * max(1, 2 * held - 2)).max() <= bound


@settings(deadline=None)
@given(some_shares)
def test_every_window_is_within_less_than_two_and_of_two_parts_within_one(given_shares):
    found, held, period = pattern(given_shares), sum(share > 0 for share in given_shares), sum(given_shares)
    here = off(found)
    # A window is two beginnings apart; one over the end of a period is one inside it, seen from the other side.
    widest = (here.max(axis=0) - here.min(axis=0)).max()
    assert widest * (held - 1) <= (2 * held - 3) * period if held > 1 else widest == 0


@settings(deadline=None)
@given(some_shares, st.integers(0, 10**12), st.integers(0, 200))
def test_places_far_away_agree_with_counts_in_closed_form(given_shares, start, length):
    found = pattern(given_shares)
    part, rank = found.of(np.arange(start, start + length))
    expected = found.counts(start + length) - found.counts(start)
    assert np.array_equal(np.bincount(part, minlength=len(given_shares)), expected)
    for k in set(part.tolist()):
        first = found.counts(start)[k]
        assert rank[part == k].tolist() == list(range(first, first + expected[k]))


def test_equal_shares_take_turns_and_two_parts_are_spread():
    assert pattern((1, 1, 1)).part.tolist() == [0, 1, 2]
    assert pattern((3, 1)).part.tolist() in ([0, 0, 1, 0], [0, 1, 0, 0])
    assert pattern((0, 1)).part.tolist() == [1]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((0.3, 0.7), (3, 7)),
        ((1 / 3, 2 / 3), (1, 2)),
        ((0.1 + 0.2, 0.7), (3, 7)),  # 0.30000000000000004
        ((1e300, 1e300), (1, 1)),
        ((0.0, 5.0), (0, 1)),
        ((0.33, 0.33, 0.34), (33, 33, 34)),
    ],
)
def test_weights_become_the_smallest_whole_numbers(weights, expected):
    assert shares(weights) == expected


def test_temperature_brings_shares_together():
    assert shares((16.0, 1.0), 4.0) == (2, 1)
    assert shares((4.0, 1.0), 0.5) == (16, 1)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6).map(tuple))
def test_shares_are_within_a_place_of_the_longest_period(weights):
    found, total = shares(weights), sum(map(Fraction, weights))
    for share, weight in zip(found, weights, strict=True):
        # A share's own float is off by at most 1e-15.
        assert abs(Fraction(share, sum(found)) - Fraction(weight) / total) < Fraction(1, LONGEST) + Fraction(1, 10**15)
    assert sum(found) <= LONGEST


def test_a_share_that_rounds_to_nothing_is_refused():
    with pytest.raises(ValueError, match="the share of number 2, 1e-06, rounds to none of 65536; make it larger"):
        shares((1.0, 1e-6))

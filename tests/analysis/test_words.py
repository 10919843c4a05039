import math

import numpy as np
import pytest

from analysis.words import Estimate, bracket, compact, counts, flops, interval, number, percent, plural, short


@pytest.mark.parametrize(
    ("value", "text"), [(77.4, "77"), (28412.0, "28,400"), (1.66e6, "1.66M"), (4.02e11, "402B"), (3e16, "3e+16")]
)
def test_counts_are_short(value, text):
    assert short(value) == text


def test_axis_labels_are_compact():
    assert [compact(x) for x in (0.5, 20, 5e3, 1.2e6, 3e9)] == ["0.5", "20", "5k", "1.2M", "3B"]


def test_one_is_no_plural():
    assert [plural(n, "run") for n in (0, 1, 2, 5000)] == ["0 runs", "1 run", "2 runs", "5,000 runs"]


def test_small_shares_keep_a_digit_more():
    assert [percent(x) for x in (0.029, 0.0052)] == ["2.9%", "0.52%"]
    assert flops(3.2e11) == "3.20e11"


def test_an_interval_stands_in_brackets():
    assert interval(Estimate(value=1.0, low=0.5, high=2.0), ".1f") == "1.0 [0.5, 2.0]"


def test_an_interval_over_many_decades_is_said_and_not_printed():
    assert bracket(2e-56, 2e4) == "not determined (over 60 decades)"
    assert bracket(1.0, math.inf) == "not determined"
    assert counts(Estimate(value=1e5, low=1e-3, high=1e9)) == "not determined"
    assert Estimate(value=1.0, low=0.0, high=2.0).factor == math.inf


def test_powers_of_ten_are_short_and_the_endless_has_its_sign():
    assert [number(x) for x in (8.9473e7, 1.5e-12, 3.25, np.inf)] == ["8.947e7", "1.5e-12", "3.25", "∞"]
    assert bracket(1.0, math.inf) == "not determined" and bracket(0.0, math.inf) == "[0, ∞]"


def test_without_an_interval_the_value_stands_alone():
    alone = Estimate(value=28412.0, low=math.nan, high=math.nan)
    assert counts(alone) == "28,400" and interval(alone, ".0f") == "28412" and bracket(math.nan, 1.0) == ""

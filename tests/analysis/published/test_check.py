"""A check compares one number and says what came of it, neither hiding nor forcing."""

import math

import pytest

from analysis.published.check import DOCUMENTED, MET, MISSED, at_most, compare


def one(target, ours, tolerance, **rest):
    (check,) = compare("set", "fit", {"x": target}, {"x": ours}, absolute={"x": tolerance}, **rest)
    return check


def test_a_difference_within_the_tolerance_is_met_on_either_side():
    assert [one(1.0, ours, 0.1).verdict for ours in (0.9, 1.0, 1.1)] == [MET] * 3
    assert [one(1.0, ours, 0.1).verdict for ours in (0.89, 1.11)] == [MISSED] * 2


def test_a_documented_failure_is_shown_as_such_only_while_it_fails():
    assert one(1.0, 2.0, 0.1, documented=True, reason="known").verdict == DOCUMENTED
    assert one(1.0, 1.0, 0.1, documented=True, reason="known").verdict == MET


def test_a_reason_found_by_us_does_not_excuse_a_miss():
    assert one(1.0, 2.0, 0.1, reason="no optimum").verdict == MISSED


def test_a_value_that_is_no_number_is_missed():
    assert one(1.0, math.nan, 0.1).verdict == MISSED
    assert at_most("set", "fit", "x", 1.0, -math.inf).verdict == MISSED


def test_an_objective_below_the_published_one_is_met_however_far():
    assert at_most("set", "fit", "objective", 1.0, 0.2).verdict == MET
    assert at_most("set", "fit", "objective", 1.0, 1.0).verdict == MET
    assert at_most("set", "fit", "objective", 1.0, 1.0 + 2e-6, slack=1e-6).verdict == MISSED


def test_a_relative_tolerance_is_a_share_of_the_size_of_the_target():
    (check,) = compare("set", "fit", {"x": -200.0}, {"x": -201.0}, relative={"x": 0.01})
    assert check.tolerance == pytest.approx(2.0, rel=1e-12)  # a product of two floats
    assert check.verdict == MET


def test_a_difference_is_told_in_published_errors_where_there_are_some():
    assert one(1.0, 1.5, 1.0, errors={"x": 0.25}).in_errors == pytest.approx(2.0, rel=1e-12)
    assert one(1.0, 1.5, 1.0).in_errors is None


def test_a_check_names_its_quantity_and_its_fit():
    assert one(1.0, 1.0, 0.1).what == "x, fit"

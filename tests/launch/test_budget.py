"""Budgets: the tighter limit counts, and no run is begun that would not fit."""

import pytest

from launch.budget import Budget, budget_of
from launch.queue import Task

HOUR = 3600.0


def task(run, seconds):
    return Task(run_id="a" * 16, run=run, seconds=seconds)


def test_the_tighter_of_two_limits_counts():
    both = {"max_hours": 4.0, "max_cost": 6.0}
    assert budget_of(**both, dollars_per_hour=2.0, devices=1).device_hours == 3.0
    assert budget_of(**both, dollars_per_hour=1.0, devices=1).dollars == 4.0
    assert budget_of(max_hours=None, max_cost=None, dollars_per_hour=1.0, devices=1) is None


def test_what_is_spent_and_what_is_under_way_is_counted(run):
    budget = Budget(device_hours=3, dollars_per_hour=1.0, seconds_spent=HOUR)
    assert budget.fits(task(run, HOUR), [task(run, HOUR)])
    assert not budget.fits(task(run, HOUR), [task(run, 1.01 * HOUR)])
    assert not Budget(device_hours=3, dollars_per_hour=1.0, devices=4).fits(task(run, HOUR), [])


@pytest.mark.parametrize("limit", [{"max_hours": 0.0}, {"max_cost": -1.0}, {"max_hours": float("nan")}])
def test_a_limit_that_is_none_is_refused(limit):
    given = {"max_hours": None, "max_cost": None} | limit
    with pytest.raises(ValueError, match=r"--max-(hours|cost) (0\.0|-1\.0|nan): give a positive number"):
        budget_of(**given, dollars_per_hour=1.0, devices=1)


def test_dollars_of_what_costs_none_are_refused():
    with pytest.raises(ValueError, match="this machine's devices are free; give --max-hours"):
        budget_of(max_hours=None, max_cost=1.0, dollars_per_hour=0.0, devices=1)

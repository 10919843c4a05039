import pytest
from made_arms import BUDGETS, budgets, crossing, sizes

from analysis.comparison import compare_arms
from analysis.leaders import lowest, reign
from analysis.report.comparison_text import RANK_HEAD, ranking_lines, ranking_rows
from analysis.tables.table import column


@pytest.fixture(scope="module")
def found():
    return compare_arms(*crossing(), draws=50)


def test_the_best_arm_turns_where_the_laws_cross(found):
    assert [item.budget for item in found.rankings] == list(BUDGETS)
    assert [item.best for item in found.rankings] == ["fast", "fast", "slow", "slow"]
    assert reign(found.rankings) == [("fast", *BUDGETS[:2]), ("slow", *BUDGETS[2:])]


def test_the_lead_is_what_the_second_arms_loss_is_higher(found):
    first = found.rankings[0]
    assert first.losses == (("fast", pytest.approx(3 * 0.2**-0.05)), ("slow", pytest.approx(3 * 0.2**-0.15)))
    assert first.lead == pytest.approx(0.2**-0.10 - 1)


def test_seeds_of_a_cell_are_averaged_so_that_more_of_them_are_not_more_chances(found):
    loss = 3 * 6**-0.05
    assert lowest(found.arms[0])[BUDGETS[3]] == pytest.approx((loss + 1.5 * loss) / 2)


def test_of_several_sizes_at_a_budget_the_best_counts():
    found = compare_arms(*budgets(), draws=50)
    arm = found.arms[0]
    at = column(arm.table, "budget") == BUDGETS[0]
    assert lowest(arm)[BUDGETS[0]] == column(arm.table, "loss")[at].min()
    assert not found.rankings  # its two arms learn by other objectives, whose losses do not compare


def test_runs_without_planned_budgets_are_not_ranked():
    assert not compare_arms(*sizes(), draws=50).rankings


def test_each_budget_is_told_with_the_arms_in_their_order(found):
    told = dict(zip(RANK_HEAD, ranking_rows(found)[0], strict=True))
    assert told["budget (FLOPs)"] == "1.00e10" and told["best"] == "fast" and told["then"].startswith("slow 3.8")
    assert ranking_lines(found)[0] == "at 1.00e10 FLOPs: fast 3.2514 (17.5% ahead), slow 3.8192"

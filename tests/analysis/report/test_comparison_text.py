import json

import pytest
from made_arms import budgets, sizes

from analysis.comparison import compare_arms
from analysis.report.comparison_text import ARM_HEAD, arm_rows, comparison_json, position_rows, summarise_comparison


@pytest.fixture(scope="module")
def found():
    return compare_arms(*sizes(), draws=50)


def test_the_summary_names_arms_exponents_the_test_and_the_price(found):
    lines = summarise_comparison(found).splitlines()
    assert lines[0] == "2 arms, 13 runs"
    assert any(line.startswith("  LSTM         loss ~ N^-0.09") for line in lines)
    assert any(
        line.startswith("exponent of loss against parameters (next token), 2 arms: test of equality: p = ")
        for line in lines
    )
    assert any(line.startswith("LSTM: for a loss of 3.3") and "parameters of transformer" in line for line in lines)


def test_an_arm_is_told_by_its_ranges_and_its_lowest_loss(found):
    told = dict(zip(ARM_HEAD, arm_rows(found)[0], strict=True))
    assert told["arm"] == "transformer" and told["runs"] == "6" and told["parameters"] == "10k to 100k"
    assert told["tokens"] == "1M" and told["active"] == "all" and told["loss"].startswith("3.0")


def test_a_run_that_took_no_training_is_told_last_with_no_flops(found):
    told = dict(zip(ARM_HEAD, arm_rows(found)[-1], strict=True))
    assert told["arm"] == "5-gram" and told["C (FLOPs)"] == "0" and told["loss"] == "3.9000"


def test_places_are_told_of_the_largest_run_of_each_arm(found):
    head, rows = position_rows(found)
    assert head == ["arm, up to place", "1", "2", "4", "8"]
    largest = 1.5 * 12 * 1e5**-0.12
    assert rows[0] == ["transformer", f"{largest:.3f}", *rows[0][2:]] and rows[-1][0] == "5-gram"


def test_every_number_can_be_written_as_json(found):
    for comparison in (found, compare_arms(*budgets(), draws=20)):
        told = comparison_json(comparison)
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        assert len(told["arms"]) == 2

import numpy as np
import pytest
from made_arms import BUDGETS, GROWTH, LAWS, Runs, budgets, sizes

from analysis.compared_arm import common_axis, compared, line_through
from analysis.comparison import compare_arms
from analysis.tables.table import canonical


def series(points, **more):
    """Runs of (params, tokens, loss)."""
    return canonical(
        [{"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss, **more} for n, d, loss in points], "series"
    )


def test_a_line_recovers_the_power_law_it_was_made_from():
    a, b = LAWS["LSTM"]
    table = series([(n, 1e6, a * n**b) for n in np.geomspace(1e4, 1e5, 5)])
    line = line_through(table, "params", draws=20, seed=0)
    assert line.coefficient == pytest.approx(a, rel=1e-6) and line.exponent.value == pytest.approx(b, rel=1e-6)


def test_three_sizes_are_too_few_for_a_line():
    with pytest.raises(ValueError, match="3 distinct values of parameters; a line needs 4"):
        line_through(series([(n, 1e6, 3.0) for n in (1e4, 1e4, 2e4, 4e4)]), "params", draws=20, seed=0)


def test_a_cloud_of_sizes_and_lengths_has_no_line():
    cloud = series([(n, d, 3.0) for n in (1e4, 1e5) for d in (1e6, 3e6, 1e7)])
    with pytest.raises(ValueError, match=r"too few sizes at any one budget.*train 4 sizes"):
        line_through(cloud, "flops", draws=20, seed=0)


def test_runs_on_as_many_tokens_are_compared_by_size_and_others_by_compute():
    assert common_axis(series([(1e4, 1e6, 3.0), (2e4, 1.01e6, 2.9)])) == "params"
    assert common_axis(series([(1e4, 1e6, 3.0), (2e4, 2e6, 2.9)])) == "flops"
    assert common_axis(series([(1e4, 1e6, 3.0), (1e4, 1e6, 2.9)])) == "flops"  # nothing differs in size


def test_with_several_sizes_at_a_budget_the_line_goes_through_the_minima():
    table, manifest = budgets()
    decoder, encoder = compare_arms(table, manifest, draws=20).arms
    for arm in (decoder, encoder):
        assert arm.points.shape == (2, len(BUDGETS))
        # Noise of 0.05% a run moves a minimum by a few per cent, and the exponent over 1.5 decades by less.
        assert arm.isoflop.params.exponent.value == pytest.approx(GROWTH[arm.arm], abs=0.02)
        assert arm.line.exponent.value == pytest.approx(-0.06, abs=0.002)


def test_minima_at_the_edge_leave_an_arm_without_a_line_and_say_why():
    runs = Runs()
    for flops in (1e10, 1e11):
        for size in (1e4, 2e4, 4e4, 8e4):
            runs.add("falling", params=size, tokens=flops / 6 / size, flops=flops, loss=4 * size**-0.1, budget=flops)
    found = compare_arms(*runs.study(), draws=20)
    assert found.arms[0].line is None
    said = [item.reason for item in found.not_done if item.part == "falling: line through the minima"]
    assert said == ["0 of 2 budgets have a usable minimum; a line needs 2"]


def test_an_arm_keeps_all_its_runs_but_its_line_only_the_best_rates():
    table, manifest = sizes()
    not_done = []
    part = compare_arms(table, manifest, draws=20).arms[0].table
    again = compared(part, "params", not_done, draws=20, seed=0)
    assert again.table.num_rows == again.best.num_rows == 6 and not not_done

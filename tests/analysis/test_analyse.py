import numpy as np
import pyarrow.compute as pc
import pytest

from analysis.analyse import analyse


def test_a_whole_study_is_analysed(analysed, synthetic):
    assert analysed.not_done == ()
    for name, (low, high) in analysed.surface.boot.conf_int().items():
        assert low < synthetic.truth[name] < high, name
    assert len(analysed.isoflop.usable) == 4
    assert analysed.forecast.flops == pytest.approx(10 * 3.2e11)


def test_the_same_table_and_seed_give_the_same_result(synthetic):
    one, other = (analyse(synthetic.study(), draws=20, seed=4) for _ in range(2))
    assert one.forecast == other.forecast


def test_a_part_that_fails_is_named_and_hides_no_other(synthetic):
    one_budget = synthetic.study().slice(0, 5)
    found = analyse(one_budget, draws=50)
    assert found.surface is None and found.forecast is None
    assert found.isoflop.minima[0].params > 0
    assert [item.part for item in found.not_done] == ["surface fit", "isoFLOP power law", "forecast"]
    assert "5 usable runs for 5 parameters" in found.not_done[0].reason


def test_no_usable_run_is_no_crash(synthetic):
    table = synthetic.study()
    status = pc.replace_substring(table["status"], "finished", "failed")
    failed = table.set_column(table.column_names.index("status"), "status", status)
    found = analyse(failed, draws=50)
    assert found.table.num_rows == 0 and found.selection.reasons() == {"failed": table.num_rows}


def test_a_narrow_range_of_compute_is_warned_about(analysed):
    assert any("1.5 decades" in warning.text for warning in analysed.warnings)


def test_the_frontier_lies_below_every_run_but_for_noise(analysed):
    front = analysed.surface.frontier
    table = analysed.table
    lowest = np.interp(np.log(table["flops"].to_numpy()), np.log(front.flops), front.loss)
    assert np.all(table["loss"].to_numpy() > lowest * 0.97)  # noise is 0.5%; six of them
    assert np.all(front.loss_band[0] <= front.loss_band[1])

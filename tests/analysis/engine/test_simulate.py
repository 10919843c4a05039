import numpy as np
import pytest

from analysis import laws
from analysis.engine.simulate import refit, simulate

LAW = laws.power_law("y", "x")
TRUTH = {"a": 2.0, "b": 0.5}
COLUMNS = {"x": np.geomspace(1, 1e3, 40)}


def test_simulated_targets_scatter_about_the_law_as_they_are_told():
    targets = simulate(LAW, COLUMNS, TRUTH, 0.1, 500)
    logs = np.log(targets / (2 * COLUMNS["x"] ** 0.5))
    assert logs.std() == pytest.approx(0.1, rel=0.03) and abs(logs.mean()) < 0.003  # 20,000 draws: 0.5% and 0.0007


def test_the_same_seed_gives_the_same_targets():
    assert np.array_equal(simulate(LAW, COLUMNS, TRUTH, 0.1, 3, seed=1), simulate(LAW, COLUMNS, TRUTH, 0.1, 3, seed=1))


def test_refits_find_the_truth_with_the_textbook_error():
    theta, errors = refit(LAW, COLUMNS, simulate(LAW, COLUMNS, TRUTH, 0.1, 400), TRUTH)
    logs = np.log(COLUMNS["x"])
    expected = 0.1 / np.sqrt(((logs - logs.mean()) ** 2).sum())
    assert theta[:, 1].mean() == pytest.approx(0.5, abs=4 * expected / 20)  # the mean of 400
    assert theta[:, 1].std() == pytest.approx(expected, rel=0.15)  # 400 draws: 3.5%
    assert np.median(errors[:, 1]) == pytest.approx(expected, rel=0.05)

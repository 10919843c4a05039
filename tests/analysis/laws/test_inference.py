"""Repeated samples and reward models: known values, limits, recovery."""

import numpy as np
import pytest
from designs import factorial
from recovery import at

from analysis.laws.inference import best_of_n_kl, coverage, reward_best_of_n, reward_rl, train_to_test
from analysis.laws.pretraining import chinchilla

EXACT = 1e-12  # relative: double precision through a few powers
SURFACE = dict(E=0.5, A=80.0, alpha=0.3, B=300.0, beta=0.3)
CASES = {
    "coverage": (coverage, dict(a=-2.0, b=-0.35), {"samples": np.geomspace(1, 1e4, 40)}, 5e-3),
    "train_to_test": (
        train_to_test, dict(**SURFACE, G=1.0, gamma=0.5),
        factorial(params=np.geomspace(1e7, 1e10, 4), tokens=np.geomspace(1e9, 1e12, 4), samples=[1, 10, 1e2, 1e4]),
    ),
    "best_of_n": (reward_best_of_n, dict(alpha=0.9, beta=0.12), {"kl": np.linspace(0, 12, 30)}, 0.03),
    "rl": (reward_rl, dict(alpha=0.9, beta=0.25), {"kl": np.linspace(0.1, 100, 30)}, 0.03),
}  # fmt: skip


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_coverage_begins_at_the_share_of_one_sample_and_ends_at_all_problems():
    found = at(coverage, {"samples": np.array([1, 100, 1e30])}, a=-2.0, b=-0.3)
    np.testing.assert_allclose(found[:2], np.exp([-2.0, -2 * 100**-0.3]), rtol=EXACT)
    assert found[2] == pytest.approx(1, abs=1e-8)  # 2 * 1e30^-0.3 = 2e-9


def test_train_to_test_with_one_number_of_samples_is_chinchilla():
    columns = factorial(params=[1e8, 1e9], tokens=[1e10, 1e11])
    found = at(train_to_test, {**columns, "samples": np.full(4, 16.0)}, **SURFACE, G=1.2, gamma=0.5)
    np.testing.assert_allclose(found, at(chinchilla, columns, **{**SURFACE, "E": 0.5 + 1.2 / 4}), rtol=EXACT)


def test_gold_reward_is_zero_at_the_initial_policy_and_largest_where_the_law_says():
    assert at(reward_best_of_n, {"kl": 0.0}, alpha=0.9, beta=0.12) == 0
    distance = np.linspace(0.01, 20, 20_001)
    best = {"best": 0.9 / (2 * 0.12), "rl": np.exp(0.9 / 0.25 - 1)}
    found = at(reward_best_of_n, {"kl": distance**2}, alpha=0.9, beta=0.12)
    np.testing.assert_allclose(found, distance * (0.9 - 0.12 * distance), rtol=1e-9, atol=1e-12)  # differences near 0
    assert distance[found.argmax()] == pytest.approx(best["best"], abs=1e-3)  # the spacing of the grid
    found = at(reward_rl, {"kl": distance**2}, alpha=0.9, beta=0.25)
    np.testing.assert_allclose(found, distance * (0.9 - 0.25 * np.log(distance)), rtol=1e-9)
    assert distance[found.argmax()] == pytest.approx(best["rl"], abs=1e-3)


def test_the_divergence_of_best_of_n_is_that_of_the_largest_of_n_uniform_numbers():
    # The largest of n has the density n u^(n - 1); the mean of its logarithm, by the midpoint rule.
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (2, 5, 50):
        density = n * u ** (n - 1)
        expected = np.mean(density * np.log(np.maximum(density, 1e-300)))
        assert best_of_n_kl(n) == pytest.approx(expected, rel=1e-5)
    assert best_of_n_kl(1) == 0


def test_less_than_one_sample_is_refused():
    with pytest.raises(ValueError, match="0 samples; n must be at least 1"):
        best_of_n_kl([4, 0])

"""The best mixture by a law that is known: its coefficients, its lowest point, and how sure both are."""

import numpy as np
import pytest
from made_mixtures import BEST, LAW, LEAST, PARTS, columns, noisy, spread

from analysis.mixing import best_intervals, best_mixture, fit_mixing, law_losses, lowest, same_mixture
from analysis.rows import FitError


@pytest.fixture(scope="module")
def exact():
    return fit_mixing(columns(spread(), noisy(spread(), 0.0)), PARTS, draws=20)


def every_mixture(least=5, most=(100, 100, 100)):
    """(m, 3) all hundredths within limits."""
    found = [(a, b, 100 - a - b) for a in range(least, 101) for b in range(least, 101 - a - least)]
    return np.array([points for points in found if all(p <= high for p, high in zip(points, most, strict=True))]) / 100


def test_the_coefficients_of_runs_without_noise_are_found(exact):
    np.testing.assert_allclose(exact.values_KP, LAW, rtol=1e-5)
    assert exact.left_out_error().max() < 1e-5
    assert exact.spread().min() > 0.03


def test_the_best_mixture_is_the_lowest_of_all_hundredths(exact):
    every = every_mixture()
    lowest_of_all = every[law_losses(LAW, every).mean(1).argmin()]
    assert tuple(lowest_of_all) == pytest.approx(BEST)
    assert best_mixture(exact, LEAST) == pytest.approx(BEST)


@pytest.mark.parametrize("most", [(0.3, 1.0, 1.0), (0.2, 1.0, 0.5), (0.35, 0.4, 0.25)])
def test_limits_are_kept_and_the_best_within_them_is_found(exact, most):
    every = every_mixture(most=tuple(round(100 * share) for share in most))
    found = best_mixture(exact, LEAST, most)
    assert all(LEAST <= share <= limit for share, limit in zip(found, most, strict=True))
    assert found == pytest.approx(every[law_losses(LAW, every).mean(1).argmin()])


def test_what_the_losses_count_moves_the_best_mixture(exact):
    towards = fit_mixing(columns(spread(), noisy(spread(), 0.0)), PARTS, (1.0, 0.0, 0.0), draws=2)
    assert best_mixture(towards) == (1.0, 0.0, 0.0)
    assert towards.mean(np.array([[1.0, 2.0, 3.0]])) == 1.0


def test_limits_without_any_mixture_are_said_in_hundredths(exact):
    with pytest.raises(ValueError, match=r"no mixture has shares within .* web 5 to 20, code 5 to 30, books 5 to 40"):
        best_mixture(exact, LEAST, (0.2, 0.3, 0.4))
    with pytest.raises(ValueError, match="no mixture has shares within"):
        best_mixture(exact, 0.4)


def test_the_lowest_point_of_many_parts_meets_its_conditions():
    rng = np.random.default_rng(0)
    parts = 7
    slopes = rng.normal(0, 1, (parts, parts))
    np.fill_diagonal(slopes, -3)
    slopes -= slopes[:, -1:]
    values = np.c_[np.ones(parts), np.ones(parts), slopes[:, :-1]]
    low, high = np.full(parts, 0.02), np.full(parts, 0.6)
    found = lowest(values, np.full(parts, 1 / parts), low, high)
    assert found.sum() == pytest.approx(1) and (found >= low).all() and (found <= high).all()
    # At the lowest point of a convex function all parts that are free have one slope, those at their least a higher.
    slope = np.exp(slopes @ found) @ slopes / parts
    free = (found > low + 1e-6) & (found < high - 1e-6)
    np.testing.assert_allclose(slope[free], slope[free].mean(), atol=1e-4)
    assert (slope[found <= low + 1e-6] >= slope[free].mean() - 1e-4).all()


def test_noise_of_half_a_percent_leaves_coefficients_and_best_mixture_near_the_truth():
    found = fit_mixing(columns(spread(), noisy(spread(), 0.005)), PARTS, draws=100)
    # Mixtures left out are missed by the noise and a little more; its mean over three parts by less.
    assert (found.left_out_error() < 0.01).all()
    assert np.abs(np.array(best_mixture(found, LEAST)) - BEST).max() <= 0.1
    within = [
        low <= truth <= high
        for ends, law in zip(found.conf_int(), LAW, strict=True)
        for (low, high), truth in zip(ends.values(), law, strict=True)
    ]  # fmt: skip
    assert sum(within) >= 10  # of 12 that each hold with 95%: 9 or fewer have odds of 1 in 50
    ends = best_intervals(found, LEAST)
    assert (ends[:, 0] <= BEST).all() and (ends[:, 1] >= BEST).all()
    low, high = found.mean_interval(np.array(BEST))
    assert low[0] < law_losses(LAW, np.array([BEST])).mean() < high[0]


@pytest.mark.slow  # it fits 40 tables
def test_intervals_hold_the_truth_as_often_as_they_say():
    held, best = [], []
    exact_best = lowest(LAW, np.full(3, 1 / 3), np.full(3, LEAST), np.ones(3))
    for seed in range(40):
        found = fit_mixing(columns(spread(), noisy(spread(), 0.006, seed)), PARTS, draws=100, seed=seed)
        ends = np.array([list(part.values()) for part in found.conf_int()])
        held.append((ends[..., 0] <= LAW) & (ends[..., 1] >= LAW))
        low, high = best_intervals(found, LEAST).T
        best.append((low - 1e-6 <= exact_best) & (exact_best <= high + 1e-6))
    # Of 40 intervals that hold with 95%, 31 or fewer do once in 6,000 times; with 90%, once in 60.
    assert np.array(held).sum(0).min() >= 32
    assert np.array(best).sum(0).min() >= 32
    assert 0.90 < np.mean(held) < 0.99


def test_runs_on_one_mixture_are_left_out_together():
    shares = spread(repeats=2)
    losses = noisy(shares, 0.0)
    losses[[3, -1, -2]] *= 1.05  # all that were trained on equal shares
    found = fit_mixing(columns(shares, losses), PARTS, draws=2)
    off = found.measured_nK / found.left_out_nK - 1
    # Had one of them stayed, the law would have gone halfway to it.
    np.testing.assert_allclose(off[[3, -1, -2]], 0.05, atol=1e-3)
    assert same_mixture(shares).sum() == 15 + 9


def test_too_few_mixtures_are_refused():
    shares = spread(points=4, repeats=0)
    with pytest.raises(FitError, match="4 usable runs for 4 parameters"):
        fit_mixing(columns(shares, noisy(shares, 0.0)), PARTS)

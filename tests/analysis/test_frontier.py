from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from analysis.frontier import Kappa, constant, exponent, measure_kappa, optimum
from analysis.law import amount, floor, law, power
from analysis.law import exponent as power_of
from analysis.laws.constrained import data_constrained
from analysis.laws.inference import train_to_test
from analysis.laws.pretraining import chinchilla, kaplan_offset, kaplan_size, kernel, overtraining

SIX = constant(6.0)
# Two knots with the same value: constant, but searched for.
SIX_SEARCHED = Kappa(log_params=np.array([15.0, 20.0]), values=np.array([6.0, 6.0]))
FALLING = Kappa(log_params=np.array([15.0, 17.0, 19.0, 21.0]), values=np.array([12.0, 9.0, 7.0, 6.3]))
HOFFMANN_DATA = dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
EDGE = 1e-6  # what the docstring promises for N, relative


def spread(count, seed=0):
    """Laws about the published one, as a bootstrap draws them."""
    near = np.random.default_rng(seed).standard_normal((count, 5)) * [0.02, 0.3, 0.02, 0.3, 0.02]
    return chinchilla.theta(HOFFMANN_DATA) + near


def test_tokens_per_parameter_of_the_published_laws_at_chinchillas_budget():
    published = {
        18.4: HOFFMANN_DATA,
        59.1: dict(E=1.6934, A=406.4, alpha=0.3392, B=410.7, beta=0.2849),
        92.6: dict(E=1.6934, A=406.4, alpha=0.34, B=410.7, beta=0.28),
    }
    for ratio, values in published.items():
        best = optimum(chinchilla, chinchilla.theta(values), np.array([5.76e23]), SIX)
        # Rounding two digits of an exponent moves the policy by half; printed to three digits.
        assert best.tokens[0, 0] / best.params[0, 0] == pytest.approx(ratio, abs=0.06)


def test_the_search_finds_the_closed_form():
    budgets = np.geomspace(1e18, 1e24, 13)
    exact = optimum(chinchilla, spread(40), budgets, SIX)
    found = optimum(chinchilla, spread(40), budgets, SIX_SEARCHED)
    np.testing.assert_allclose(found.params, exact.params, rtol=EDGE)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-12)  # flat to second order


def test_the_kernels_exponent_does_not_move_the_optimum():
    budgets = np.geomspace(1e18, 1e24, 13)
    bent = np.concatenate([spread(10), np.full((10, 1), 0.6)], axis=1)
    for kappa in (SIX, SIX_SEARCHED, FALLING):
        plain, other = optimum(chinchilla, spread(10), budgets, kappa), optimum(kernel, bent, budgets, kappa)
        np.testing.assert_allclose(other.params, plain.params, rtol=2 * EDGE)  # two searches


def by_root(values, kappa, flops):
    """N where the slope of the loss along the budget is zero, with the slope of kappa from differences."""

    def slope(x):
        log_kappa = np.log(kappa(x + np.array([-1e-5, 0, 1e-5])))
        tokens = flops / np.exp(log_kappa[1] + x)
        turn = 1 + (log_kappa[2] - log_kappa[0]) / 2e-5  # -d ln D / d ln N
        size = values["alpha"] * values["A"] * np.exp(-values["alpha"] * x)
        return size - turn * values["beta"] * values["B"] * tokens ** -values["beta"]

    return np.exp(brentq(slope, np.log(1e5), np.log(1e14), xtol=1e-13))


def test_a_falling_kappa_moves_the_optimum_where_the_root_of_the_slope_is():
    budgets = np.geomspace(1e17, 1e25, 9)  # below, between and above the sizes of kappa
    best = optimum(chinchilla, chinchilla.theta(HOFFMANN_DATA), budgets, FALLING)
    expected = [by_root(HOFFMANN_DATA, FALLING, flops) for flops in budgets]
    np.testing.assert_allclose(best.params[0], expected, rtol=3e-6)  # the root's kappa has differences of 1e-5


def test_without_constant_kappa_the_search_finds_the_minimum(synthetic):
    kappa = measure_kappa(synthetic.study())
    budgets = np.geomspace(5e9, 3e12, 7)
    best = optimum(chinchilla, synthetic.theta[None], budgets, kappa)
    for i, flops in enumerate(budgets):

        def loss(log_params, flops=flops):
            x = np.array([log_params])
            tokens = flops / (kappa(x)[0] * np.exp(log_params))
            return synthetic.law(np.exp(log_params), tokens)

        found = minimize_scalar(loss, bounds=(7, 13), method="bounded", options={"xatol": 1e-8})
        assert best.loss[0, i] == pytest.approx(found.fun, rel=1e-12)
        # scipy compares values of the loss: it stops where they differ by rounding, 1e-8 ** 0.5 from the minimum.
        assert np.log(best.params[0, i]) == pytest.approx(found.x, abs=1e-4)


def test_the_optimum_spends_the_whole_budget(synthetic):
    kappa = measure_kappa(synthetic.study())
    best = optimum(chinchilla, synthetic.theta[None], synthetic.budgets, kappa)
    spent = kappa(np.log(best.params)) * best.params * best.tokens
    np.testing.assert_allclose(spent[0], synthetic.budgets, rtol=1e-9)  # exact but for rounding


def test_kappa_is_measured_from_the_runs_and_smooth_at_its_ends(synthetic):
    kappa = measure_kappa(synthetic.study())
    inside = np.log(synthetic.sizes)
    np.testing.assert_allclose(kappa(inside), synthetic.kappa(synthetic.sizes), rtol=1e-9)  # interpolates
    for end in (inside[0], inside[-1]):
        left, middle, right = kappa(end + np.array([-1e-4, 0, 1e-4]))
        assert middle - left == pytest.approx(right - middle, rel=0.01)  # no kink
    assert 6 < kappa(np.array([30.0]))[0] < 6.6
    assert "kappa from" in kappa.describe()


def test_kappa_is_constant_where_it_is(synthetic):
    kappa = measure_kappa(synthetic.study(constant_kappa=True))
    assert kappa.values == pytest.approx([6.0])
    assert kappa.describe() == "C = 6 N D"


def test_kappa_is_measured_from_a_dict_of_columns():
    sizes = np.array([1e6, 2e6])
    assert measure_kappa({"params": sizes, "tokens": sizes, "flops": 7 * sizes**2}).values == pytest.approx([7.0])


def test_the_exponent_is_the_slope_of_the_optimum(synthetic):
    best = optimum(chinchilla, synthetic.theta[None], np.array([1e12, 1e14]), SIX)
    slope = np.diff(np.log(best.params[0])) / np.log(100)
    assert slope[0] == pytest.approx(exponent(chinchilla, synthetic.theta[None], (1e12, 1e14))[0], rel=1e-9)


def test_other_laws_have_the_exponent_of_their_own_closed_form():
    gadre = overtraining.theta(dict(E=1.84, a=212, b=367, eta=0.136))
    assert exponent(overtraining, gadre, (1e18, 1e22)) == pytest.approx([0.5], abs=EDGE)
    offset = dict(E=1.534, N_c=7.788e7, D_c=1.063e9, alpha_N=0.4181, alpha_D=0.4549)
    expected = 1 / (1 + 0.4181 / 0.4549)  # of (N_c / N)^(alpha_N / alpha_D) + D_c / D
    assert exponent(kaplan_offset, kaplan_offset.theta(offset), (1e18, 1e22)) == pytest.approx([expected], abs=EDGE)


def test_a_law_with_further_columns_takes_the_values_held():
    values = dict(HOFFMANN_DATA, R_D=15.39)
    theta = data_constrained(chinchilla).theta(values)
    free = optimum(chinchilla, chinchilla.theta(HOFFMANN_DATA), np.array([1e22]), SIX)
    capped = data_constrained(chinchilla)
    same = optimum(capped, theta, np.array([1e22]), SIX, {"tokens_unique": 1e15})
    np.testing.assert_allclose(same.params, free.params, rtol=EDGE)  # each token is seen once
    less = optimum(capped, theta, np.array([1e22]), SIX, {"tokens_unique": 1e10})
    assert less.loss[0, 0] > free.loss[0, 0]
    one, many = (optimum(train_to_test, _sampled(), np.array([1e22]), SIX, {"samples": k}) for k in (1, 100))
    assert one.params == pytest.approx(many.params, rel=2 * EDGE)  # samples are a term of their own
    with pytest.raises(ValueError, match="needs the column tokens_unique"):
        optimum(capped, theta, np.array([1e22]), SIX)


def _sampled():
    return train_to_test.theta(dict(HOFFMANN_DATA, G=0.5, gamma=0.3))


def test_a_law_of_compute_and_ratio_has_an_optimum_too():
    @law(columns=("flops", "ratio"), parameters=dict(E=floor(), A=amount(), alpha=power_of(), best=amount()))
    def bowl(p, x):
        """L = E + (A / C^alpha) (1 + ln(M / M*)^2)"""
        return p.E + p.A * power(x.flops, -p.alpha) * (1 + jnp.log(x.ratio / p.best) ** 2)

    best = optimum(bowl, bowl.theta(dict(E=1.5, A=100, alpha=0.1, best=35.0)), np.array([1e18, 1e21]), FALLING)
    np.testing.assert_allclose(best.tokens / best.params, 35.0, rtol=2 * EDGE)
    assert bowl.function(SimpleNamespace(E=1, A=1, alpha=0, best=1), SimpleNamespace(flops=1.0, ratio=1.0)) == 2


def test_an_optimum_on_the_edge_of_the_search_is_infinite_or_zero():
    @law(columns=("params", "tokens"), parameters=dict(alpha=power_of(), beta=power_of()), linear=())
    def monotone(p, x):
        """L = N^-alpha + D^-beta, each exponent of either sign"""
        return power(x.params, -p.alpha) + power(x.tokens, -p.beta)

    best = optimum(monotone, np.array([[0.2, -0.2], [-0.2, 0.2]]), np.array([1e20]), SIX)
    assert best.params[:, 0].tolist() == [np.inf, 0.0]
    assert best.tokens[:, 0].tolist() == [0.0, np.inf]
    assert np.isfinite(best.loss).all()
    assert np.isnan(exponent(monotone, np.array([[0.2, -0.2]]), (1e18, 1e20))).all()


def test_a_dip_counts_before_a_fall_at_the_edge():
    @law(columns=("params", "tokens"), parameters=dict(E=floor(), A=amount(), alpha=power_of(), far=amount()))
    def falling(p, x):
        """L = (E + A / N^alpha + A / D^alpha) / (1 + N / far)^2"""
        return (p.E + p.A * (power(x.params, -p.alpha) + power(x.tokens, -p.alpha))) / (1 + x.params / p.far) ** 2

    best = optimum(falling, falling.theta(dict(E=1.7, A=300, alpha=0.3, far=1e14)), np.array([6e18]), SIX)
    assert best.params[0, 0] == pytest.approx(1e9, rel=1e-3)  # the far fall moves it by 1e-4
    assert 1.7 < best.loss[0, 0] < 3  # at the edge it would be 0.3


def test_a_law_of_one_thing_alone_has_no_best_split():
    with pytest.raises(ValueError, match="no split of a budget is best"):
        optimum(kaplan_size, np.array([[30.0, 0.07]]), np.array([1e20]), SIX)


def test_a_thousand_laws_at_once_give_what_each_gives_alone():
    budgets = np.geomspace(1e18, 1e24, 60)
    together = optimum(chinchilla, spread(1000), budgets, FALLING)
    assert together.params.shape == (1000, 60)
    for i in (0, 999):
        alone = optimum(chinchilla, spread(1000)[i : i + 1], budgets, FALLING)
        np.testing.assert_allclose(together.params[i], alone.params[0], rtol=1e-6)  # of the search

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis.cheapest import Arm, cheapest
from analysis.decisions import capped, estimate, fixed_size, multiplier, serve
from analysis.frontier import Kappa, constant, optimum
from analysis.laws.constrained import data_constrained
from analysis.laws.curves import power_law
from analysis.laws.pretraining import chinchilla, kaplan_offset

VALUES = dict(E=1.69, A=406.4, alpha=0.336, B=410.7, beta=0.283)  # as in Sardana et al.
SIX = constant(6.0)
FALLING = Kappa(log_params=np.array([15.0, 17.0, 19.0, 21.0]), values=np.array([12.0, 9.0, 7.0, 6.3]))
EXACT = 1e-6  # what the docstrings promise for N, relative


def spread(count=40, **changes):
    """The law, then draws about it."""
    theta = chinchilla.theta(VALUES | changes)
    draws = theta + np.random.default_rng(0).standard_normal((count, 5)) * [0.01, 0.1, 0.005, 0.1, 0.005]
    return np.vstack([theta, draws])


@pytest.fixture(scope="module")
def arm():
    return Arm(law=chinchilla, theta=spread(), kappa=SIX)


def inside(value):
    return value.low < value.value < value.high


def test_without_use_the_cheapest_model_is_chinchillas(arm):
    best = optimum(chinchilla, arm.theta[:1], np.array([1e22]), SIX)
    served = serve(arm, flops=1e22, inference_tokens=0)
    assert served.params.value == pytest.approx(best.params[0, 0], rel=EXACT)
    assert served.tokens.value == pytest.approx(best.tokens[0, 0], rel=EXACT)
    assert served.flops.value == pytest.approx(1e22, rel=1e-8)  # flat to second order
    assert served.saving.value == pytest.approx(0, abs=1e-9)
    few = serve(arm, flops=1e22, inference_tokens=1e6)
    assert few.params.value == pytest.approx(best.params[0, 0], rel=1e-4)


def test_the_more_a_model_is_used_the_smaller_it_is(arm):
    found = [serve(arm, loss=2.1, inference_tokens=used) for used in (1e11, 1e12, 1e13)]
    sizes, savings = [each.params.value for each in found], [each.saving.value for each in found]
    assert sizes == sorted(sizes, reverse=True) and savings == sorted(savings)
    assert found[-1].saving.value > 0.1
    assert all(inside(each.params) and inside(each.saving) for each in found)
    assert "parameters that are cheapest to train" in found[0].describe()


@pytest.mark.parametrize("kappa", [SIX, FALLING])
def test_the_served_model_is_the_minimum_that_a_constrained_search_finds(kappa):
    e, a, alpha, b, beta = VALUES.values()
    used, loss = 3e11, 2.3

    def cost(x):
        tokens = (b / (loss - e - a * np.exp(-alpha * x))) ** (1 / beta)
        return np.log(kappa(np.array([x]))[0] * (tokens + used / 3)) + x

    served = serve(Arm(law=chinchilla, theta=spread(0), kappa=kappa), loss=loss, inference_tokens=used)
    found = minimize(lambda x: cost(x[0]), [np.log(served.params.value) + 0.3], method="Nelder-Mead", tol=1e-10)
    # Nelder-Mead compares values of the cost, whose rounding hides 1e-7 of ln N.
    assert np.log(served.params.value) == pytest.approx(found.x[0], abs=3e-6)
    assert np.log(served.flops.value) == pytest.approx(found.fun, abs=1e-9)


def test_a_loss_below_the_floor_is_never_reached(arm):
    served = serve(arm, loss=1.0, inference_tokens=1e12)
    assert np.isinf(served.flops.value) and np.isnan(served.params.value)
    assert np.isnan(cheapest(arm, np.full(len(arm.theta), 1.0)).params).all()


def test_questions_that_cannot_be_are_refused(arm):
    with pytest.raises(ValueError, match="give one of them"):
        serve(arm, inference_tokens=1e9)
    with pytest.raises(ValueError, match="zero or a positive"):
        serve(arm, loss=2.0, inference_tokens=-1)
    with pytest.raises(ValueError, match="flops=0"):
        fixed_size(arm, params=1e8, flops=0)


def test_much_data_is_as_good_as_endless_data(arm):
    best = optimum(chinchilla, arm.theta[:1], np.array([1e22]), SIX)
    found = capped(arm, flops=1e22, unique_tokens=1e14)
    # Where parameters come to be in excess the loss bends anew: the last parabola is 1e-5 wide.
    assert found.params.value == pytest.approx(best.params[0, 0], rel=5e-6)
    assert found.epochs.value < 1
    assert found.loss.value == pytest.approx(found.free_loss.value, rel=1e-12)


def test_short_data_are_repeated_and_the_loss_is_higher(arm):
    found = [capped(arm, flops=1e22, unique_tokens=unique) for unique in (1e11, 2e10, 4e9)]
    assert [each.epochs.value for each in found] == sorted(each.epochs.value for each in found)
    assert [each.loss.value for each in found] == sorted(each.loss.value for each in found)
    assert all(each.loss.value > each.free_loss.value - 1e-12 for each in found)
    assert inside(found[-1].epochs) and inside(found[-1].loss)
    assert "Muennighoff" in found[0].source


def test_a_law_fitted_to_repeated_data_is_used_as_it_is(arm):
    fitted = Arm(
        law=data_constrained(chinchilla), theta=np.hstack([arm.theta, np.full((len(arm.theta), 1), np.log(3.0))]),
        kappa=SIX,
    )  # fmt: skip
    found, published = (capped(each, flops=1e22, unique_tokens=1e10) for each in (fitted, arm))
    assert found.source == "fitted to runs with repeated data"
    assert found.epochs.value < published.epochs.value  # repetitions are worth less


def test_a_law_without_the_four_summands_is_capped_in_data_alone():
    values = dict(E=1.534, N_c=7.788e7, D_c=1.063e9, alpha_N=0.4181, alpha_D=0.4549)
    found = capped(
        Arm(law=kaplan_offset, theta=kaplan_offset.theta(values)[None], kappa=SIX), flops=1e21, unique_tokens=1e9
    )
    assert found.epochs.value > 1 and "R_N" not in found.source


def test_a_model_of_the_optimal_size_wastes_nothing(arm):
    best = optimum(chinchilla, arm.theta[:1], np.array([1e22]), SIX)
    found = fixed_size(arm, params=best.params[0, 0], flops=1e22)
    assert found.over_training.value == pytest.approx(1, rel=2 * EXACT)
    assert found.waste.value == pytest.approx(1, rel=1e-8)  # flat to second order
    assert found.loss.value == pytest.approx(found.best_loss.value, rel=1e-12)


def test_a_small_model_is_trained_beyond_its_optimum(arm):
    best = optimum(chinchilla, arm.theta[:1], np.array([1e22]), SIX)
    found = fixed_size(arm, params=best.params[0, 0] / 4, flops=1e22)
    assert found.over_training.value == pytest.approx(16, rel=1e-5)  # tokens times 4, parameters through 4
    assert found.tokens == pytest.approx(1e22 / 6 / found.params)
    assert found.waste.value > 1 and inside(found.waste)
    again = optimum(chinchilla, arm.theta[:1], np.array([found.same_loss_flops.value]), SIX)
    assert again.loss[0, 0] == pytest.approx(found.loss.value, rel=1e-9)


def test_an_arm_scaled_to_need_twice_the_compute_has_the_multiplier_two(arm):
    # L_B(N, D) = L_A(N / s, D s / 2): the same path at twice the compute, whatever s.
    for s in (2**0.5, 1.1):
        twice = Arm(
            law=chinchilla, theta=arm.theta + np.array([0, np.log(s), 0, np.log(2 / s), 0]) * _powers(arm), kappa=SIX
        )
        found = multiplier(arm, twice, 1e21)
        assert found.factor.value == pytest.approx(2, rel=1e-7)
        assert (found.factor.low, found.factor.high) == pytest.approx((2, 2), rel=1e-7)  # draws in pairs
        assert found.reached == 1
        assert multiplier(twice, arm, 1e21).factor.value == pytest.approx(0.5, rel=1e-7)
        assert "2 times the compute" in found.describe()


def _powers(arm):
    """Of A and B: each scales with its own exponent."""
    powers = np.ones_like(arm.theta)
    powers[:, 1], powers[:, 3] = arm.theta[:, 2], arm.theta[:, 4]
    return powers


def test_a_floor_above_the_goal_is_said(arm):
    worse = Arm(law=chinchilla, theta=spread(E=2.5), kappa=SIX)
    found = multiplier(arm, worse, 1e23)
    assert np.isinf(found.factor.value) and found.reached == 0
    assert "cannot be reached" in found.describe()
    near = Arm(law=chinchilla, theta=spread(E=1.98), kappa=SIX)
    some = multiplier(arm, near, 1.5e23)
    assert 0 < some.reached < 1 and np.isinf(some.factor.high)


def test_two_laws_of_different_form_are_compared():
    values = dict(E=1.534, N_c=7.788e7, D_c=1.063e9, alpha_N=0.4181, alpha_D=0.4549)
    other = Arm(law=kaplan_offset, theta=kaplan_offset.theta(values)[None], kappa=SIX)
    mine = Arm(law=chinchilla, theta=spread(0), kappa=SIX)
    there, back = multiplier(mine, other, 1e20), multiplier(other, mine, 1e20)
    assert there.factor.value < 1 < back.factor.value
    assert np.isnan(there.factor.low)  # no draws, no interval


def test_an_estimate_counts_draws_that_say_nothing_as_anything():
    draws = np.array([1.0, *np.linspace(0, 2, 101)])
    assert estimate(draws).low == pytest.approx(0.05, abs=0.02) and np.isnan(estimate(draws[:1]).low)
    draws[1:12] = np.nan
    assert (estimate(draws).low, estimate(draws).high) == (-np.inf, np.inf)
    draws[1:12] = np.inf
    assert estimate(draws).high == np.inf and np.isfinite(estimate(draws).low)


def test_a_law_of_size_alone_has_no_cheapest_model():
    alone = Arm(law=power_law("loss", "params"), theta=np.array([[3.0, -0.1]]), kappa=SIX)
    with pytest.raises(ValueError, match="no split"):
        serve(alone, flops=1e20, inference_tokens=1e9)
    with pytest.raises(ValueError, match="no split"):
        serve(alone, loss=2.0, inference_tokens=1e9)

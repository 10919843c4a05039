from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis import laws
from analysis.engine import evaluate
from analysis.engine.solver import Problem, minimise
from analysis.losses import absolute, huber, squared

TRUTH = laws.chinchilla.theta({"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28})
RNG = np.random.default_rng(0)
COLUMNS = {"params": np.exp(RNG.uniform(16, 21, 30)), "tokens": np.exp(RNG.uniform(20, 25, 30))}
TARGET = np.log(evaluate.values(laws.chinchilla.form, TRUTH[None], COLUMNS)[0]) + 0.005 * RNG.standard_normal(30)
PROBLEM = Problem(
    form=laws.chinchilla.form, columns=COLUMNS, scales_n=np.linspace(0.8, 1.2, 30), loss=huber(1e-3),
    lower=np.array([-9.0, -690, 1e-3, -690, 1e-3]), upper=np.array([3.0, 690, 3, 690, 3]),
)  # fmt: skip


def objective(problem, theta, counts=1.0):
    fitted = np.log(evaluate.values(problem.form, theta[None], problem.columns)[0])
    size = np.abs(problem.scales_n * (TARGET[: len(fitted)] - fitted))
    inner = np.minimum(size, problem.loss.delta)
    return float((counts * inner * (size - inner / 2)).sum())


@pytest.mark.parametrize("loss", [huber(1e-3), huber(1e-2), squared()], ids=lambda loss: loss.describe())
def test_no_neighbour_of_the_solution_is_lower(loss):
    problem = replace(PROBLEM, loss=loss)
    found = minimise(problem, TRUTH[None], TARGET)
    assert found.converged_R.all()
    assert found.objective_R[0] == pytest.approx(objective(problem, found.theta_RP[0]), rel=1e-9)
    for step in 1e-3 * np.random.default_rng(1).standard_normal((30, 5)):
        assert objective(problem, found.theta_RP[0] + step) >= found.objective_R[0]


def test_an_independent_optimizer_finds_nothing_lower():
    found = minimise(PROBLEM, TRUTH[None], TARGET)
    theirs = minimize(
        lambda theta: 1e3 * objective(PROBLEM, theta), found.theta_RP[0] + 0.01, method="Nelder-Mead",
        options={"maxiter": 1500, "xatol": 1e-9, "fatol": 1e-12},
    )  # fmt: skip
    assert 1e-3 * theirs.fun >= found.objective_R[0] * (1 - 1e-9)


def test_least_deviations_go_through_as_many_rows_as_there_are_parameters():
    found = minimise(replace(PROBLEM, loss=absolute()), TRUTH[None], TARGET)
    fitted = np.log(evaluate.values(PROBLEM.form, found.theta_RP, COLUMNS)[0])
    assert (np.abs(TARGET - fitted) < 1e-6).sum() == 5  # within the rounding of the loss


def test_rows_counted_twice_are_rows_given_twice():
    counts = np.ones((1, 30))
    counts[0, :10] = 2
    twice = np.r_[np.arange(30), np.arange(10)]
    counted = minimise(PROBLEM, TRUTH[None], TARGET, counts)
    given = replace(PROBLEM, columns={k: v[twice] for k, v in COLUMNS.items()}, scales_n=PROBLEM.scales_n[twice])
    repeated = minimise(given, TRUTH[None], TARGET[twice])
    np.testing.assert_allclose(counted.objective_R, repeated.objective_R, rtol=1e-9)  # both converge to 1e-12


def test_rows_counted_zero_are_rows_left_out_even_when_they_are_not_finite():
    counts, target = np.ones((1, 30)), TARGET.copy()
    counts[0, 24:], target[24:] = 0, np.nan
    given = replace(PROBLEM, columns={k: v[:24] for k, v in COLUMNS.items()}, scales_n=PROBLEM.scales_n[:24])
    found = minimise(PROBLEM, TRUTH[None], target, counts)
    left = minimise(given, TRUTH[None], TARGET[:24])
    np.testing.assert_allclose(found.theta_RP, left.theta_RP, rtol=1e-6)


def test_many_problems_at_once_give_what_each_gives_alone():
    starts = TRUTH + 0.05 * np.random.default_rng(2).standard_normal((300, 5))
    targets = TARGET + 0.005 * np.random.default_rng(3).standard_normal((300, 30))
    together = minimise(PROBLEM, starts, targets)  # more than there are lanes
    for i in (0, 150, 299):
        alone = minimise(PROBLEM, starts[i : i + 1], targets[i])
        np.testing.assert_allclose(together.objective_R[i], alone.objective_R[0], rtol=1e-9)


def test_a_parameter_stops_at_its_bound_and_a_held_one_stays():
    upper = PROBLEM.upper.copy()
    upper[2] = 0.2  # the truth is 0.34
    found = minimise(replace(PROBLEM, upper=upper), TRUTH[None], TARGET)
    assert found.converged_R[0] and found.theta_RP[0, 2] == pytest.approx(0.2, rel=1e-7)
    lower = np.stack([PROBLEM.lower, PROBLEM.lower])
    upper = np.stack([PROBLEM.upper, PROBLEM.upper])
    lower[:, 4] = upper[:, 4] = (0.25, 0.3)
    found = minimise(replace(PROBLEM, lower=lower, upper=upper), np.stack([TRUTH, TRUTH]), TARGET)
    assert found.theta_RP[:, 4].tolist() == [0.25, 0.3] and found.converged_R.all()


def test_the_last_gradient_is_reported():
    assert minimise(PROBLEM, TRUTH[None], TARGET).slope_R[0] < 1e-6  # of an objective of 1e-4

from dataclasses import replace

import numpy as np
import pytest

from analysis.bootstrap import Bootstrap
from analysis.design import recommend
from analysis.engine.evaluate import linearise
from analysis.fit import fit
from analysis.frontier import columns_of, constant, measure_kappa
from analysis.information import best_set, candidates, cost, information
from analysis.laws.pretraining import chinchilla
from analysis.losses import huber, squared
from analysis.noise import estimate

TARGET = 1e14
BUDGET = 2e12


@pytest.fixture(scope="module")
def study(synthetic):
    return synthetic.study(noise=0.003)


@pytest.fixture(scope="module")
def kappa(study):
    return measure_kappa(study)


@pytest.fixture(scope="module")
def fitted(study):
    return fit(chinchilla, study, squared())


@pytest.fixture(scope="module")
def advice(fitted, study, kappa):
    return recommend(fitted, study, kappa, BUDGET, target_flops=TARGET)


def width(interval):
    return np.log(interval.high / interval.low)


def test_the_recommended_runs_fit_into_the_budget_and_use_it(advice):
    assert 1 <= len(advice.runs) <= 6
    assert 0.8 * BUDGET < advice.cost <= BUDGET * (1 + 1e-9)
    assert advice.cost == pytest.approx(sum(run.cost for run in advice.runs))


def test_the_simulated_interval_is_about_the_expected_one_and_narrower_than_before(advice):
    assert width(advice.after) < 0.7 * width(advice.before)
    # 200 draws hold the ends of an interval within a tenth of its width; the law bends a little too.
    assert width(advice.simulated) == pytest.approx(width(advice.after), rel=0.3)


def test_the_recommended_runs_beat_random_ones_of_the_same_price(fitted, study, kappa):
    known = information(fitted)
    able = candidates(study["params"].to_numpy(), study["tokens"].to_numpy(), kappa, BUDGET, sizes=None, cooldown=0.2)
    rows = known.rows(chinchilla, fitted.theta, columns_of(chinchilla, able.params, able.tokens, able.flops, {}))
    goal = known.direction(np.array([0.0, 0.0, 1.0, 0.0, -1.0]))
    chosen = best_set(known, rows, goal, able, BUDGET, 4)
    best = known.variance(rows, goal, able, chosen[None])[0]
    rng, others = np.random.default_rng(0), []
    while len(others) < 50:
        some = rng.choice(len(rows), 4, replace=False)
        price = cost(able, some[None])[0]
        if 0.5 * BUDGET < price <= BUDGET:
            others.append(known.variance(rows, goal, able, some[None])[0])
    assert best < min(others)


def test_the_best_set_is_the_best_of_all_sets(fitted, study, kappa):
    known = information(fitted)
    sizes = np.geomspace(5e3, 4e5, 4)
    able = candidates(study["params"].to_numpy(), study["tokens"].to_numpy(), kappa, BUDGET, sizes=sizes, cooldown=0.2)
    rows = known.rows(chinchilla, fitted.theta, columns_of(chinchilla, able.params, able.tokens, able.flops, {}))
    goal = known.direction(np.array([0.1, 0.0, 1.0, 0.0, -0.5]))
    every = np.array([(i, j) for i in range(len(rows)) for j in range(i)])
    variance = np.where(cost(able, every) <= BUDGET, known.variance(rows, goal, able, every), np.inf)
    chosen = best_set(known, rows, goal, able, BUDGET, 2)
    # An exchange must bring a thousandth.
    assert known.variance(rows, goal, able, chosen[None])[0] <= variance.min() * 1.01


def test_the_variance_after_new_runs_is_that_of_a_fit_to_all_runs(fitted, study, kappa):
    known = replace(information(fitted), noise=np.eye(5), share=0.0)  # independent runs
    able = candidates(study["params"].to_numpy(), study["tokens"].to_numpy(), kappa, BUDGET, sizes=None, cooldown=1.0)
    rows = known.rows(chinchilla, fitted.theta, columns_of(chinchilla, able.params, able.tokens, able.flops, {}))
    some, slope = np.array([3, 40, 77]), np.array([0.0, 0.2, 1.0, 0.0, -1.0])
    expected = _covariance(fitted, able, some)
    found = known.variance(rows, known.direction(slope), able, some[None])[0]
    assert found == pytest.approx(slope @ expected @ slope, rel=1e-6)  # condition 1e4, squared in the inverse
    none = known.variance(rows, known.direction(slope), able, np.zeros((1, 0), int))[0]
    assert none == pytest.approx(slope @ fitted.theta_cov @ slope, rel=1e-6)


def _covariance(fitted, able, some):
    columns = columns_of(chinchilla, able.params[some], able.tokens[some], able.flops[some], {})
    both = np.vstack([fitted.jacobian, linearise(chinchilla.form, fitted.theta, columns)[1]])
    return fitted.scale**2 * np.linalg.inv(both.T @ both)


def test_branches_of_a_trunk_pay_for_it_once():
    able = candidates(np.array([1e4, 1e5]), np.array([1e6, 1e7]), constant(), 1e15, sizes=np.array([1e5]), cooldown=0.2)
    one, two, three = able.flops[[2, 4, 6]]
    assert cost(able, np.array([[6]]))[0] == pytest.approx(three)
    assert cost(able, np.array([[2, 4, 6]]))[0] == pytest.approx(0.8 * three + 0.2 * (one + two + three))
    alone = replace(able, cooldown=1.0)
    assert cost(alone, np.array([[2, 4, 6]]))[0] == pytest.approx(one + two + three)
    assert cost(able, np.zeros((1, 0), int))[0] == 0


def test_runs_that_share_noise_tell_less(fitted, study, kappa):
    known = information(fitted)
    assert not known.assumed and 0 < known.share < 1
    able = candidates(study["params"].to_numpy(), study["tokens"].to_numpy(), kappa, BUDGET, sizes=None, cooldown=0.2)
    rows = known.rows(chinchilla, fitted.theta, columns_of(chinchilla, able.params, able.tokens, able.flops, {}))
    goal = known.direction(np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    mates = np.flatnonzero(able.size == able.size[-1])[None, :4]
    apart = replace(able, size=np.arange(len(able.size)))
    assert known.variance(rows, goal, able, mates)[0] > known.variance(rows, goal, apart, mates)[0]


@pytest.mark.parametrize("decision", ["loss", "ratio", "exponent"])
def test_every_decision_becomes_surer(decision, fitted, study, kappa):
    found = recommend(fitted, study, kappa, BUDGET, target_flops=TARGET, decision=decision, draws=0)
    assert found.simulated is None
    assert found.after.low > found.before.low and found.after.high < found.before.high
    assert f"the interval of the {decision} at" in found.describe()


def test_a_bootstrap_is_taken_for_its_fit(fitted, study, kappa):
    noise = estimate(fitted.residuals, fitted.jacobian, list(fitted.rows.clusters))
    boot = Bootstrap(fit=fitted, method="noise", clusters=7, theta=fitted.theta[None], converged=1.0, noise=noise)
    one, other = (
        recommend(each, study, kappa, BUDGET, target_flops=TARGET, most_runs=2, draws=0) for each in (fitted, boot)
    )
    assert one == other and len(one.runs) == 2


def test_a_robust_fit_knows_its_runs_less_well(fitted):
    least, robust = information(fitted), information(replace(fitted, loss=huber(1e-4)))
    # A tiny delta is least absolute deviations: pi / 2 times the variance.
    assert robust.unit / least.unit == pytest.approx(np.pi / 2, rel=0.05)


def test_sizes_are_kept_to_and_what_is_new_is_said(fitted, study, kappa):
    sizes = [2e5, 3e5]
    found = recommend(
        fitted, study, kappa, BUDGET, target_flops=TARGET, sizes=np.array(sizes), most_runs=5, cooldown=0.05, draws=0
    )
    assert {run.params for run in found.runs} <= set(sizes)
    said = " ".join(found.notes)
    assert "branches of one trunk" in said and "larger than any size trained so far: 300,000" in said
    assert any("a branch of" in run.why for run in found.runs)
    assert any(run.cost < run.flops for run in found.runs)


def test_a_law_without_an_optimum_at_the_target_is_refused(fitted, study, kappa):
    steep = replace(fitted, theta=np.array([0.0, 9.0, 3.0, 300.0, 0.001]))
    with pytest.raises(ValueError, match="no optimum at 1e"):
        recommend(steep, study, kappa, BUDGET, target_flops=TARGET)


def test_questions_that_cannot_be_are_refused(fitted, study, kappa):
    for options, said in (
        (dict(decision="size"), "must be one of params"),
        (dict(target_flops=-1.0), "target_flops=-1"),
        (dict(most_runs=0), "most_runs=0"),
        (dict(cooldown=0.0), "cooldown=0"),
    ):
        with pytest.raises(ValueError, match=said):
            recommend(fitted, study, kappa, BUDGET, **{"target_flops": TARGET, **options})
    with pytest.raises(ValueError, match="raise the budget"):
        recommend(fitted, study, kappa, 1e6, target_flops=TARGET)

import numpy as np
import pytest

from analysis import fit, laws
from analysis.engine.solver import Problem, minimise
from analysis.intervals import disagreements, fisher, profile
from analysis.losses import huber, squared

LAW = laws.power_law("y", "x")
X = np.geomspace(1, 1e3, 20)


@pytest.fixture(scope="module")
def straight():
    y = 2 * X**0.5 * np.exp(0.1 * np.random.default_rng(0).standard_normal(20))
    return fit(LAW, {"x": X, "y": y}, squared())


def test_all_ways_agree_for_a_law_that_is_a_straight_line_in_logs(straight):
    """Least squares of a linear model: the profile interval is Student's, exactly."""
    np.testing.assert_allclose(profile(straight), fisher(straight), rtol=2e-3)  # by straight lines between steps
    assert not disagreements(straight, {"profile": straight.conf_int("profile")})
    boot = straight.conf_int("bootstrap")["b"]
    own = straight.conf_int("fisher")["b"]
    # Resampling 20 rows: about 20% of noise in a width.
    assert boot[1] - boot[0] == pytest.approx(own[1] - own[0], rel=0.5)


def test_the_ends_of_a_profile_are_where_the_objective_has_risen_by_the_quantile(synthetic):
    found = fit(laws.chinchilla, synthetic.study(), squared())
    ends = profile(found)
    wanted = found.quantile() ** 2 / 2 * found.scale**2
    for end in ends[2]:  # alpha
        lower, upper = found.lower.copy(), found.upper.copy()
        lower[2] = upper[2] = end
        problem = Problem(
            form=found.law.form, columns=found.rows.columns, scales_n=found.weights, loss=squared(),
            lower=lower, upper=upper,
        )  # fmt: skip
        start = np.where(np.arange(5) == 2, end, found.theta)
        rise = minimise(problem, start[None], np.log(found.rows.target)).objective_R[0] - found.objective
        assert rise == pytest.approx(wanted, rel=0.03)  # straight lines between the steps tried


def test_a_side_that_the_data_never_reject_is_open(synthetic):
    """Losses without a floor: however small E is, they do not object."""
    table = synthetic.study(noise=0.02)
    columns = {name: table[name].to_numpy() for name in ("params", "tokens")}
    loss = (
        18 * columns["params"] ** -0.2 * np.exp(0.02 * np.random.default_rng(0).standard_normal(len(columns["params"])))
    )
    found = fit(laws.chinchilla, {**columns, "loss": loss})
    low, _ = found.conf_int("profile")["E"]
    assert low < 0.1 * loss.min()


def test_a_robust_loss_gets_intervals_of_about_the_width_of_least_squares(synthetic):
    """Gaussian noise: Huber's estimate is at most pi/2 less efficient, so 25% wider."""
    table = synthetic.study(share=0.0)
    wide, narrow = (profile(fit(laws.chinchilla, table, loss))[2] for loss in (huber(1e-3), squared()))
    assert 0.5 < np.ptp(wide) / np.ptp(narrow) < 2.0  # the scale of 22 residuals is right to 20%


def test_widths_that_differ_by_a_factor_two_are_named(straight):
    low, high = straight.conf_int("fisher")["b"]
    other = {**straight.conf_int("fisher"), "b": (low - 2 * (high - low), high)}
    assert [(name, method) for name, method, _ in disagreements(straight, {"bootstrap": other})] == [("b", "bootstrap")]

import numpy as np
import pytest

from analysis import fit, laws
from analysis.losses import Loss, squared
from analysis.result import FitResult, robust_scale


@pytest.fixture(scope="module")
def fitted(synthetic):
    return fit(laws.chinchilla, synthetic.study())


def test_predictions_of_a_run_are_wider_than_those_of_the_law(fitted, synthetic):
    table = synthetic.study()
    curve, run = fitted.predict(table, interval="law"), fitted.predict(table, interval="run")
    assert np.all(run.low < curve.low) and np.all(curve.high < run.high)
    np.testing.assert_allclose(np.log(table["loss"].to_numpy()) - np.log(curve.value), fitted.residuals, atol=1e-9)
    assert fitted.predict(table).low is None


def test_a_prediction_far_beyond_the_runs_is_doubted(fitted):
    near = fitted.predict({"params": [2e5], "tokens": [1e7]})
    far = fitted.predict({"params": [1e9], "tokens": [1e11]}, interval="run")
    assert not near.doubts and [doubt.name for doubt in far.doubts] == ["extrapolation"]


def test_the_scale_leaves_out_the_residuals_that_the_parameters_ate():
    rng = np.random.default_rng(0)
    residuals = np.concatenate([np.zeros(500), rng.standard_normal(2000)])
    assert robust_scale(residuals, 500) == pytest.approx(1.0, abs=0.07)  # sd of a median of 2000: 0.026


def test_the_summary_names_law_status_parameters_and_doubts(fitted):
    text = fitted.summary()
    assert "L = E + A / N^alpha + B / D^beta" in text and "converged" in text and "beta" in text


def test_a_fit_goes_to_json_and_back_with_every_digit(fitted):
    back = FitResult.from_json(fitted.to_json(), laws.chinchilla)
    assert back.params == fitted.params and back.status is fitted.status and back.loss == fitted.loss
    assert np.array_equal(back.theta_cov, fitted.theta_cov) and np.array_equal(back.rows.target, fitted.rows.target)
    assert back.conf_int("profile") == fitted.conf_int("profile")


def test_json_is_read_back_with_its_own_law_and_loss_only(synthetic):
    own = Loss("cubed", lambda r, delta: abs(r) ** 3)
    found = fit(laws.power_law("loss", "params"), synthetic.study(), own)
    with pytest.raises(ValueError, match="and not of L = E"):
        FitResult.from_json(found.to_json(), laws.chinchilla)
    with pytest.raises(ValueError, match="give it again with loss="):
        FitResult.from_json(found.to_json(), laws.power_law("loss", "params"))
    assert FitResult.from_json(found.to_json(), laws.power_law("loss", "params"), own).params == found.params


def test_the_table_has_a_row_for_each_parameter(fitted):
    table = fitted.table("profile")
    assert table["parameter"].to_pylist() == ["E", "A", "alpha", "B", "beta"]
    assert all(
        low < value < high
        for low, value, high in zip(*(table[n].to_pylist() for n in ("low", "value", "high")), strict=True)
    )


def test_known_noise_sets_the_errors_whatever_the_residuals(synthetic):
    table = synthetic.study()
    small, large = (fit(laws.chinchilla, table, squared(), noise=noise) for noise in (0.001, 0.01))
    assert small.params == pytest.approx(large.params, rel=1e-6)
    assert large.bse["alpha"] == pytest.approx(10 * small.bse["alpha"], rel=1e-5)
    assert small.quantile() == pytest.approx(1.96, abs=1e-3)  # normal: nothing was estimated


def test_a_held_parameter_has_no_error(synthetic):
    found = fit(laws.chinchilla.fix(alpha=0.35), synthetic.study())
    assert found.params["alpha"] == 0.35 and found.bse["alpha"] == 0 and "held" in found.summary()
    assert found.conf_int("profile")["alpha"] == (0.35, 0.35)


def test_wrong_options_are_refused(fitted, synthetic):
    with pytest.raises(ValueError, match="fisher, profile, bootstrap"):
        fitted.conf_int("jackknife")
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted.conf_int(level=95)
    with pytest.raises(ValueError, match="None, 'law' or 'run'"):
        fitted.predict(synthetic.study(), interval="both")

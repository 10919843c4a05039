from dataclasses import replace

import numpy as np
import pytest

from analysis import laws
from analysis.bootstrap import bootstrap
from analysis.fit import fit
from analysis.forecast import forecast
from analysis.frontier import measure_kappa


@pytest.fixture(scope="module")
def fitted(synthetic):
    table = synthetic.study()
    return bootstrap(fit(laws.chinchilla, table), draws=200), measure_kappa(table)


def names(ahead):
    return [doubt.name for doubt in ahead.warnings]


def test_a_forecast_holds_the_truth_and_says_how_far_it_reaches(synthetic, fitted):
    ahead = forecast(*fitted, flops=3.2e12, largest_flops=3.2e11)
    assert ahead.ratio == pytest.approx(10)
    assert ahead.loss.low < ahead.loss.value < ahead.loss.high
    assert ahead.run.high - ahead.run.low > ahead.loss.high - ahead.loss.low
    truth = synthetic.law(ahead.params.value, ahead.tokens.value)
    assert ahead.run.low < truth < ahead.run.high
    assert ahead.tokens_per_param.value == pytest.approx(ahead.tokens.value / ahead.params.value)


def test_far_forecasts_carry_a_warning_and_near_ones_do_not(fitted):
    assert "extrapolation" not in names(forecast(*fitted, flops=300 * 3.2e11, largest_flops=3.2e11))
    far = forecast(*fitted, flops=1000 * 3.2e11, largest_flops=3.2e11)
    assert "extrapolation" in names(far)
    assert any("1,000 times beyond" in doubt.text for doubt in far.warnings)


def test_a_model_larger_than_any_trained_is_pointed_out(fitted):
    assert "beyond_sizes" in names(forecast(*fitted, flops=1e14, largest_flops=3.2e11))


def test_a_law_of_another_form_is_forecast_as_well(synthetic, fitted):
    boot, kappa = fitted
    same = boot.fit.params | {"k": 1.0}
    theta = np.insert(boot.theta, 5, 1.0, axis=1)
    other = replace(boot, theta=theta, fit=replace(boot.fit, law=laws.kernel, theta=laws.kernel.theta(same)))
    first, second = (forecast(one, kappa, 3.2e12, 3.2e11) for one in (boot, other))
    # The kernel with k = 1 is the same surface; its optimum is searched for to 1e-6.
    assert second.params.value == pytest.approx(first.params.value, rel=1e-5)
    assert second.run.high == pytest.approx(first.run.high, rel=1e-9)


def test_draws_that_flee_leave_a_wide_interval_and_no_error(fitted):
    boot, kappa = fitted
    theta = boot.theta.copy()
    theta[::10, 3] = -600  # tokens do nothing: the best model is as large as can be
    ahead = forecast(replace(boot, theta=theta), kappa, 3.2e12, 3.2e11)
    assert ahead.params.high > 1e3 * ahead.params.value
    assert not np.isnan([ahead.params.low, ahead.tokens.low, ahead.tokens_per_param.low, ahead.loss.high]).any()


@pytest.mark.parametrize("flops", [0.0, -1.0, np.inf, np.nan])
def test_a_budget_that_is_no_budget_is_refused(fitted, flops):
    with pytest.raises(ValueError, match="finite and positive"):
        forecast(*fitted, flops=flops, largest_flops=3.2e11)

import numpy as np
import pytest

from analysis import fit, laws
from analysis.diagnose import doubts, helpful_run, unidentified
from analysis.losses import huber, squared

LAW = laws.power_law("y", "x")
X = np.geomspace(1, 1e3, 30)
NOISE = np.random.default_rng(0).standard_normal(30)


def names(found):
    return {doubt.name for doubt in doubts(found)}


def test_a_sound_fit_raises_no_doubt():
    assert names(fit(LAW, {"x": X, "y": 2 * X**0.5 * np.exp(0.003 * NOISE)}, huber(3e-3))) == set()


def test_a_delta_far_from_the_residuals_is_said():
    data = {"x": X, "y": 2 * X**0.5 * np.exp(0.003 * NOISE)}
    assert "delta_regime" in names(fit(LAW, data, huber(1.0)))
    assert "delta_regime" in names(fit(LAW, data, huber(1e-5)))
    assert "delta_regime" not in names(fit(LAW, data, squared()))  # nobody asked for robustness


def test_a_run_that_lies_far_off_at_the_edge_is_named():
    y = 2 * X**0.5 * np.exp(0.003 * NOISE)
    y[0] *= 1.2
    found = [doubt for doubt in doubts(fit(LAW, {"x": X, "y": y}, huber(1e-3))) if doubt.name == "leverage"]
    assert found and "row 1" in found[0].text


def test_an_exponent_that_another_delta_moves_is_said():
    y = 2 * X**0.5 * np.exp(0.003 * NOISE)
    y[:4] *= 1.1
    assert "delta_sensitive" in names(fit(LAW, {"x": X, "y": y}, huber(1e-3)))


@pytest.fixture(scope="module")
def nearly_one_ratio():
    """Tokens follow the size within 15%: more than is refused, too little to tell the exponents apart."""
    rng = np.random.default_rng(1)
    params = np.geomspace(1e7, 1e9, 20)
    tokens = 20 * params * np.exp(rng.uniform(-0.15, 0.15, 20))
    loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
    return fit(laws.chinchilla, {"params": params, "tokens": tokens, "loss": loss * np.exp(0.01 * NOISE[:20])})


def test_parameters_that_the_runs_do_not_hold_are_named_with_the_run_that_would_help(nearly_one_ratio):
    lost = unidentified(nearly_one_ratio)
    assert {"A", "B"} <= set(lost)  # one can be had for the other
    found = [doubt for doubt in doubts(nearly_one_ratio) if doubt.name == "not_identified"]
    assert found and "would help most" in found[0].text


def test_the_helpful_run_helps_more_than_one_in_the_middle(nearly_one_ratio):
    lost = unidentified(nearly_one_ratio)[0]
    at = nearly_one_ratio.law.names.index(lost)
    columns = nearly_one_ratio.rows.columns

    def error(run):
        more = {name: np.append(columns[name], run[name]) for name in columns}
        more["loss"] = np.append(
            nearly_one_ratio.rows.target, nearly_one_ratio.predict({k: [v] for k, v in run.items()}).value
        )
        return np.sqrt(fit(laws.chinchilla, more, squared(), noise=0.01).theta_cov[at, at])

    middle = {name: float(np.exp(np.log(values).mean())) for name, values in columns.items()}
    assert error(helpful_run(nearly_one_ratio, lost)) < 0.7 * error(middle)


def test_a_floor_that_the_runs_do_not_hold_is_said():
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = 40 / params**0.15 + 40 / tokens**0.15
    found = fit(laws.chinchilla, {"params": params, "tokens": tokens, "loss": loss})
    assert "at_bound" in names(found) and "E" in found.at_bound


def test_searches_that_end_in_different_places_are_said():
    """Noise alone: many laws are as bad as each other."""
    rng = np.random.default_rng(5)
    params, tokens = np.exp(rng.uniform(16, 21, 12)), np.exp(rng.uniform(20, 25, 12))
    found = fit(laws.chinchilla, {"params": params, "tokens": tokens, "loss": np.exp(rng.standard_normal(12))})
    assert found.starts_agreeing < 1
    assert doubts(found)

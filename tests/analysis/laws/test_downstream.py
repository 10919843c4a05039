"""Error and accuracy from loss: known values, limits, recovery, published fits, and two stages in a row."""

from dataclasses import replace

import numpy as np
import pytest
from designs import factorial
from recovery import at

from analysis import fit
from analysis.engine.evaluate import linearise
from analysis.laws.downstream import accuracy_from_loss, bounded_error, chain, error_from_loss, shifted_power
from analysis.laws.pretraining import chinchilla
from analysis.losses import squared

EXACT = 1e-12  # relative: double precision through a few powers
LOSS = np.linspace(1.5, 6, 40)
BOUNDED = dict(N0=3e3, alpha=0.4, D0=2e4, beta=0.35, c=0.05, epsilon0=0.9)
CASES = {
    "error": (error_from_loss, dict(epsilon=0.85, k=2.08, gamma=0.756), {"loss": LOSS}, 2e-3),
    "accuracy": (accuracy_from_loss, dict(a=0.65, b=0.25, k=-4.0, L0=2.6), {"loss": LOSS}, 5e-3),
    "bounded": (bounded_error, BOUNDED, factorial(params=np.geomspace(1e2, 1e8, 7), tokens=np.geomspace(1e3, 1e10, 8))),
    "shifted": (shifted_power, dict(a=0.1, b=3e4, c=0.35, d=1e15), {"flops": np.geomspace(1e13, 1e21, 40)}),
}


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_error_is_the_published_curve_and_tends_to_its_ceiling():
    found = at(error_from_loss, {"loss": np.array([2.5, 3.5, 1e3])}, epsilon=0.850, k=2.08, gamma=0.756)
    np.testing.assert_allclose(found, [0.85 - 2.08 * np.exp(-1.89), 0.85 - 2.08 * np.exp(-2.646), 0.85], rtol=EXACT)


def test_gadres_published_error_curves_come_out(published):
    """Table of published/gadre_overtraining.md: six runs, least squares on the error, every printed digit."""
    small = ("d=96_l=8_h=4", "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
    wanted = {(small[0], 320), ("open_lm_1b", 20), *((model, 20) for model in small)}
    table = published.raw("gadre_overtraining").to_pylist()
    targets = {
        "c4_original": (0.850, 2.08, 0.756), "rpj": (0.857, 2.21, 0.715), "rw_original": (0.865, 2.21, 0.707),
    }  # fmt: skip
    for corpus, expected in targets.items():
        rows = [
            row for row in table
            if row["train_dataset"] == corpus and (row["model"], row["token_multiplier"]) in wanted
        ]  # fmt: skip
        data = {"loss": [row["loss_c4_val"] for row in rows], "error": [row["err_avg17"] for row in rows]}
        result = fit(error_from_loss, data, squared())
        assert len(rows) == 6
        found = [result.params[name] for name in ("epsilon", "k", "gamma")]
        assert [round(v, d) for v, d in zip(found, (3, 2, 3), strict=True)] == list(expected)


def test_accuracy_is_a_logistic_curve_between_chance_and_its_ceiling():
    values = dict(a=0.65, b=0.25, k=-4.0, L0=2.6)
    expected = 0.25 + 0.65 / (1 + np.exp(4 * (LOSS - 2.6)))
    np.testing.assert_allclose(at(accuracy_from_loss, {"loss": LOSS}, **values), expected, rtol=EXACT)
    ends = at(accuracy_from_loss, {"loss": np.array([-1e4, 2.6, 1e4])}, **values)
    np.testing.assert_allclose(ends, [0.9, 0.25 + 0.65 / 2, 0.25], rtol=EXACT)


def test_the_published_sign_convention_of_accuracy_is_the_same_curve():
    a, b, k = -0.65, 0.9, 4.0  # a falling curve written with a negative height
    expected = a / (1 + np.exp(-k * (LOSS - 2.6))) + b
    found = at(accuracy_from_loss, {"loss": LOSS}, a=-a, b=a + b, k=-k, L0=2.6)
    np.testing.assert_allclose(found, expected, rtol=EXACT)


def test_a_bounded_error_is_the_published_envelope_in_other_units():
    columns = factorial(params=[1e3, 1e5, 1e7], tokens=[1e4, 1e7])
    a, b, c, eta, guess = 900.0, 20.0, 1.4, 19.0, 0.9  # n^-alpha and m^-beta have coefficients a and b
    free = a / columns["tokens"] ** 0.6 + b / columns["params"] ** 0.3 + c
    expected = guess * np.abs(free / (free - 1j * eta))
    unit = guess / eta
    found = at(
        bounded_error, columns, N0=(b * unit) ** (1 / 0.3), alpha=0.3, D0=(a * unit) ** (1 / 0.6), beta=0.6,
        c=c * unit, epsilon0=guess,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=EXACT)


def test_a_bounded_error_lies_between_a_power_law_and_a_guess():
    large = at(bounded_error, {"params": 1e30, "tokens": 1e30}, **{**BOUNDED, "c": 1e-5})
    assert large == pytest.approx(1e-5, rel=1e-3)  # (2e4 / 1e30)^0.35 is 1e-9
    assert at(bounded_error, {"params": 1e-10, "tokens": 1e-10}, **BOUNDED) == pytest.approx(0.9, rel=1e-6)


def test_a_shifted_power_is_flat_below_its_shift_and_a_power_law_above():
    values = dict(a=0.1, b=3e4, c=0.35, d=1e15)
    assert at(shifted_power, {"flops": 1.0}, **values) == pytest.approx(0.1 + 3e4 * 1e15**-0.35, rel=EXACT)
    assert at(shifted_power, {"flops": 1e30}, **values) == pytest.approx(0.1 + 3e4 * 1e30**-0.35, rel=EXACT)


@pytest.fixture(scope="module")
def stages():
    """Fits of both stages to made-up runs."""
    rng = np.random.default_rng(0)
    runs = factorial(params=np.geomspace(1e8, 1e10, 5), tokens=np.geomspace(1e9, 1e12, 5))
    loss = 1.7 + 400 / runs["params"] ** 0.34 + 400 / runs["tokens"] ** 0.28
    task_loss = np.linspace(1.8, 4, 12)
    accuracy = 0.25 + 0.65 / (1 + np.exp(4 * (task_loss - 2.6)))
    return (
        fit(chinchilla, {**runs, "loss": loss * np.exp(2e-3 * rng.standard_normal(25))}, squared()),
        fit(
            accuracy_from_loss,
            {"loss": task_loss, "accuracy": accuracy + 5e-3 * rng.standard_normal(12)},
            squared(),
        ),
    )


LARGER = {"params": np.array([2e10, 7e10]), "tokens": np.array([2e12, 2e12])}


def test_a_chain_is_the_second_law_at_what_the_first_predicts(stages):
    first, second = stages
    expected = second.predict({"loss": first.predict(LARGER).value}).value
    found = chain(first, second).predict(LARGER)
    np.testing.assert_allclose(found.value, expected, rtol=EXACT)
    assert found.low is None


@pytest.mark.parametrize("interval", ["law", "run"])
def test_the_interval_of_a_chain_holds_the_uncertainty_of_both_fits(stages, interval):
    first, second = stages
    found = chain(first, second).predict(LARGER, interval)
    loss, slope = linearise(first.law.form, first.theta, LARGER)
    of_loss = np.einsum("np,pq,nq->n", slope, first.theta_cov, slope) + (interval == "run") * first.scale**2
    loss = np.exp(loss)
    _, slope = linearise(second.law.form, second.theta, {"loss": loss})
    of_task = np.einsum("np,pq,nq->n", slope, second.theta_cov, slope) + (interval == "run") * second.scale**2
    steep = (second.predict({"loss": loss * 1.001}).value - second.predict({"loss": loss}).value) / 0.001
    # Student's t for 20 and 8 degrees of freedom is 2.09 and 2.31; with 4,000 draws and the bend of the curve, 15%.
    expected = 2.2 * np.sqrt(of_task + steep**2 * of_loss)
    np.testing.assert_allclose((found.high - found.low) / 2, expected, rtol=0.15)
    assert (found.low < found.value).all() and (found.value < found.high).all()


def test_the_same_seed_gives_the_same_interval(stages):
    pair = chain(*stages)
    one, two = (pair.predict(LARGER, "law", draws=200, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.low, two.low)


def test_fits_that_do_not_join_are_refused(stages):
    first, second = stages
    with pytest.raises(ValueError, match="reads params, tokens, but accuracy from loss gives accuracy"):
        chain(second, first)
    with pytest.raises(ValueError, match="accuracy from loss has no finite standard errors"):
        chain(first, replace(second, theta_cov=np.full((4, 4), np.inf)))


def test_an_unknown_interval_is_refused(stages):
    with pytest.raises(ValueError, match="must be None, 'law' or 'run'"):
        chain(*stages).predict(LARGER, "both")

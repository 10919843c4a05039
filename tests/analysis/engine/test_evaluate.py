import jax
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from analysis import laws
from analysis.engine import evaluate

TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
THETA = laws.chinchilla.theta(TRUTH)
COLUMNS = {"params": np.geomspace(1e7, 1e9, 5), "tokens": np.geomspace(1e11, 1e9, 5)}


def by_hand(values=TRUTH):
    return (
        values["E"]
        + values["A"] / COLUMNS["params"] ** values["alpha"]
        + values["B"] / COLUMNS["tokens"] ** values["beta"]
    )


def test_values_are_those_of_the_formula_in_double_precision():
    found = evaluate.values(laws.chinchilla.form, THETA[None], COLUMNS)
    np.testing.assert_allclose(found[0], by_hand(), rtol=1e-13)
    assert found.dtype == np.float64


def test_natural_parameters_may_be_zero():
    found = evaluate.natural_values(laws.chinchilla.form, np.array([[1.7, 0.0, 0.34, 0.0, 0.28]]), COLUMNS)
    np.testing.assert_allclose(found[0], 1.7)


def test_slopes_agree_with_finite_differences():
    value, slope = evaluate.linearise(laws.chinchilla.form, THETA, COLUMNS)
    np.testing.assert_allclose(value, np.log(by_hand()), rtol=1e-13)
    for i in range(5):
        numeric = approx_fprime(
            THETA, lambda theta, i=i: np.log(evaluate.values(laws.chinchilla.form, theta[None], COLUMNS)[0, i]), 1e-7
        )
        np.testing.assert_allclose(slope[i], numeric, atol=1e-5)  # forward differences of steps of 1e-7


def test_each_vector_may_have_rows_of_its_own():
    both = np.stack([THETA, THETA + 0.01])
    own = {name: np.stack([values, values[::-1]]) for name, values in COLUMNS.items()}
    found = evaluate.values_each(laws.chinchilla.form, both, own)
    shared = evaluate.values(laws.chinchilla.form, both, COLUMNS)
    np.testing.assert_allclose(found[0], shared[0], rtol=1e-13)
    np.testing.assert_allclose(found[1], shared[1][::-1], rtol=1e-13)


@pytest.mark.parametrize(("count", "size"), [(1, 8), (8, 8), (9, 12), (13, 16), (17, 24), (240, 256), (1000, 1024)])
def test_sizes_are_rounded_up_to_a_power_of_two_or_three_quarters_of_one(count, size):
    assert evaluate.rounded(count) == size


def test_the_callers_precision_is_left_alone():
    before = jax.config.jax_enable_x64
    evaluate.values(laws.chinchilla.form, THETA[None], COLUMNS)
    assert jax.config.jax_enable_x64 == before
    assert jax.numpy.ones(1).dtype == (np.float64 if before else np.float32)

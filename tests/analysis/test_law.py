import numpy as np
import pytest

from analysis import laws
from analysis.engine import evaluate
from analysis.law import amount, exponent, floor, law, power, real


@law(columns=("params",), parameters=dict(E=floor(), A=amount(), alpha=exponent()), linear=("E", "A"))
def own(p, x):
    """L = E + A / N^alpha.

    A law made up for these tests.
    """
    return p.E + p.A * power(x.params, -p.alpha)


def test_a_law_takes_its_name_and_formula_from_its_function():
    assert own.name == "own" and own.formula == "L = E + A / N^alpha"
    assert own.names == ("E", "A", "alpha") and own.log.tolist() == [True, True, False]


def test_theta_holds_logarithms_of_amounts_and_goes_back():
    values = {"E": 1.5, "A": 400.0, "alpha": 0.34}
    theta = own.theta(values)
    np.testing.assert_allclose(theta, [np.log(1.5), np.log(400), 0.34])
    np.testing.assert_allclose(own.values(theta), list(values.values()))


def test_an_amount_beyond_floats_is_large_and_raises_no_warning():
    assert own.values(np.array([800.0, 0.0, 0.3]))[0] > 1e300


def test_held_parameters_are_not_free():
    held = own.fix(alpha=0.5)
    assert held.free.tolist() == [True, True, False] and own.free.all()
    assert held.form == own.form  # one compiled program for both


def test_tied_parameters_are_one():
    tied = laws.chinchilla.tie(beta="alpha")
    assert tied.names == ("E", "A", "alpha", "B") and tied.formula.endswith(", beta = alpha")
    columns = {"params": np.geomspace(1e7, 1e9, 4), "tokens": np.geomspace(1e11, 1e9, 4)}
    both = laws.chinchilla.theta({"E": 1.7, "A": 400, "alpha": 0.3, "B": 500, "beta": 0.3})
    np.testing.assert_allclose(
        evaluate.values(tied.form, both[None, :4], columns), evaluate.values(laws.chinchilla.form, both[None], columns)
    )
    with pytest.raises(ValueError, match="tie all to one that stays"):
        laws.chinchilla.tie(beta="alpha", alpha="E")


def test_bounds_replace_those_of_the_parameter():
    changed = own.bound(alpha=(0.25, 0.5))
    assert (changed.parameters["alpha"].low, changed.parameters["alpha"].high) == (0.25, 0.5)
    assert all(0.25 <= start <= 0.5 for start in changed.parameters["alpha"].starts)


@pytest.mark.parametrize(
    "wrong",
    [lambda: own.fix(gamma=1.0), lambda: own.bound(gamma=(0, 1)), lambda: own.theta({"E": 1.0, "A": 2.0, "gamma": 0})],
)
def test_a_parameter_that_is_not_there_is_named(wrong):
    with pytest.raises(ValueError, match=r"no parameter 'gamma'|no value for alpha"):
        wrong()


def test_a_law_without_a_docstring_is_refused():
    with pytest.raises(ValueError, match="begin one with the equation"):

        @law(columns=("params",), parameters=dict(a=real(1.0)))
        def silent(p, x):
            return p.a


def test_a_parameter_needs_a_start_and_an_order_of_bounds():
    with pytest.raises(ValueError, match="low <= high"):
        exponent(0.5, low=2.0, high=1.0)
    with pytest.raises(ValueError, match="at least one start"):
        real()

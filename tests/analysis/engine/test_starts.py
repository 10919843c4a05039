import numpy as np
import pytest

from analysis import laws
from analysis.engine import evaluate, starts
from analysis.law import amount, exponent, law, power, real

TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.4, "B": 4.1e6, "beta": 0.7}
COLUMNS = {"params": np.geomspace(1e7, 1e9, 12), "tokens": np.tile([1e9, 1e10, 1e11], 4)}
TARGET = evaluate.values(laws.chinchilla.form, laws.chinchilla.theta(TRUTH)[None], COLUMNS)[0]


def projected(law=laws.chinchilla, natural=None):
    unit = starts.units(law, COLUMNS, TARGET)
    natural = starts.grid(law, unit) if natural is None else natural
    return starts.project(law, natural, COLUMNS, TARGET, np.ones(12))


def test_linear_parameters_are_solved_for_when_the_others_are_right():
    found = projected(natural=np.array([[1.0, 1.0, 0.4, 1.0, 0.7]]))
    np.testing.assert_allclose(laws.chinchilla.values(found.theta_RP[0]), list(TRUTH.values()), rtol=1e-6)


def test_starts_that_differ_in_linear_parameters_alone_become_one():
    found = projected(natural=np.array([[1, 1, 0.4, 1, 0.7], [2, 9, 0.4, 5, 0.7], [1, 1, 0.5, 1, 0.7]], float))
    assert found.theta_RP.shape == (2, 5) and sorted(found.count_R) == [1, 2]


def test_amounts_stay_positive_whatever_least_squares_wants():
    found = projected(natural=np.array([[1, 1, 0.01, 1, 2.9]], float))
    assert np.isfinite(found.theta_RP).all()


def test_bounds_and_starts_are_in_units_of_their_column():
    @law(columns=("params",), parameters=dict(k=amount(0.1, 10, low=1e-3, of="params"), b=exponent(0.5), c=real(-1, 1)))
    def scaled(p, x):
        """y = (N / k)^-b + c"""
        return power(x.params / p.k, -p.b) + p.c

    unit = starts.units(scaled, COLUMNS, TARGET)
    assert unit["k"] == pytest.approx(1e8)  # the geometric mean
    low, high = starts.bounds(scaled, unit)
    assert low[0] == pytest.approx(np.log(1e5)) and high[0] == 690
    assert starts.grid(scaled, unit).shape == (4, 3)


def test_a_held_parameter_has_one_start_and_no_room():
    held = laws.chinchilla.fix(alpha=0.5)
    unit = starts.units(held, COLUMNS, TARGET)
    low, high = starts.bounds(held, unit)
    assert low[2] == high[2] == 0.5
    assert set(starts.grid(held, unit)[:, 2]) == {0.5}


def test_too_many_combinations_are_refused():
    many = real(*np.linspace(0, 1, 100))

    @law(columns=("params",), parameters=dict(a=many, b=many, c=many))
    def rich(p, x):
        """y = a + b + c"""
        return p.a + p.b + p.c + x.params

    with pytest.raises(ValueError, match="1,000,000 combinations"):
        starts.grid(rich, starts.units(rich, COLUMNS, TARGET))


def test_starts_that_cannot_be_evaluated_are_refused():
    @law(columns=("params",), parameters=dict(a=amount()), linear=("a",))
    def broken(p, x):
        """y = a sqrt(-N)"""
        return p.a * (-x.params) ** 0.5

    with pytest.raises(ValueError, match="no start can be evaluated"):
        projected(broken, np.array([[1.0]]))

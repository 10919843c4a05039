"""Few bits: known values, limits, recovery, and what cannot be made."""

import numpy as np
import pytest
from designs import factorial
from recovery import at

from analysis.laws.bits import effective_params, post_training, precision
from analysis.laws.pretraining import chinchilla, kaplan_data, kernel

EXACT = 1e-12  # relative: double precision through a few powers
SURFACE = dict(E=1.7, A=400.0, alpha=0.34, B=400.0, beta=0.28)
SCALES = dict(gamma_weight=2.7, gamma_activation=2.2, gamma_kv=1.0)
SIZES = factorial(params=np.geomspace(1e7, 1e10, 3), tokens=np.geomspace(1e9, 1e12, 3))
CASES = {
    "three parts": (
        precision(), {**SURFACE, **SCALES},
        factorial(
            params=np.geomspace(1e7, 1e10, 3), tokens=np.geomspace(1e9, 1e12, 3),
            weight_bits=[3, 6, 12], activation_bits=[3, 12], kv_bits=[2, 4],
        ),
        1e-3,
    ),
    "post training": (
        post_training, dict(C_T=0.06, gamma_D=0.5, gamma_N=0.35, gamma_post=0.6),
        factorial(params=np.geomspace(1e7, 1e10, 4), tokens=np.geomspace(1e9, 1e12, 4), bits=[3, 4, 5, 6]), 0.05,
    ),
}  # fmt: skip


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_few_bits_count_as_fewer_parameters():
    bits = dict(weight_bits=4.0, activation_bits=6.0, kv_bits=3.0)
    worth = SIZES["params"] * (1 - np.exp(-4 / 2.7)) * (1 - np.exp(-6 / 2.2)) * (1 - np.exp(-3.0))
    found = at(precision(), {**SIZES, **bits}, **SURFACE, **SCALES)
    expected = 1.7 + 400 * worth**-0.34 + 400 * SIZES["tokens"] ** -0.28
    np.testing.assert_allclose(found, expected, rtol=EXACT)


@pytest.mark.parametrize(("base", "more"), [(chinchilla, {}), (kernel, {"k": 0.7})])
def test_endless_bits_give_the_base_law(base, more):
    found = at(
        precision(("weight",), base), {**SIZES, "weight_bits": np.full(9, 1e3)}, gamma_weight=2.7, **SURFACE, **more
    )
    np.testing.assert_allclose(found, at(base, SIZES, **SURFACE, **more), rtol=EXACT)


def test_at_very_few_bits_worth_is_proportional_to_them():
    found = effective_params(1e9, np.array([1e-9, 2e-9]), 2.0)
    np.testing.assert_allclose(found, [0.5, 1.0], rtol=1e-8)  # the next term is P / (2 gamma)


def test_a_law_of_precision_is_made_once_and_says_its_formula():
    law = precision(("kv",))
    assert precision(("kv",)) is law
    assert law.formula == "L = E + A / N^alpha + B / D^beta at N' = N (1 - exp(-P_kv / gamma_kv))"
    assert precision(("kv",), chinchilla.fix(E=1.7)).fixed == {"E": 1.7}
    assert precision(("kv",), chinchilla.fix(E=1.7)).form == law.form


@pytest.mark.parametrize("parts", [(), ("weight", "weight")])
def test_parts_must_be_named_once_each(parts):
    with pytest.raises(ValueError, match="name each part once, and at least one"):
        precision(parts)


def test_a_base_without_parameters_is_refused():
    with pytest.raises(ValueError, match="it has no column params; it has tokens"):
        precision(("weight",), kaplan_data)


def test_rounding_costs_more_after_more_training_and_less_with_each_bit():
    values = dict(C_T=0.06, gamma_D=0.5, gamma_N=0.35, gamma_post=0.6)
    found = at(
        post_training,
        {"params": np.full(3, 1e8), "tokens": np.array([1e10, 4e10, 1e10]), "bits": np.array([4.0, 4.0, 5.0])},
        **values,
    )
    assert found[0] == pytest.approx(0.06 * 1e5 / 1e8**0.35 * np.exp(-4 / 0.6), rel=EXACT)
    np.testing.assert_allclose(found[1:] / found[0], [2, np.exp(-1 / 0.6)], rtol=EXACT)

"""Repeated data: published values, limits, and what cannot be constrained."""

import numpy as np
import pytest
from recovery import at, grid, recover_all

from analysis import laws

C4 = dict(A=np.exp(6.255414), B=np.exp(7.3049974), E=np.exp(0.6254804), alpha=0.3526596, beta=0.3526596)
DECAYS = dict(R_D=15.387756, R_N=5.309743)
CHINCHILLA = dict(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
FULL = laws.data_constrained(laws.chinchilla, excess_params=True)
DATA = laws.data_constrained(laws.chinchilla)


def test_the_two_models_of_the_papers_first_figure_have_their_published_losses():
    columns = {
        "params": np.array([6.34e9, 8.67e9]), "tokens": np.array([242e9, 178e9]), "tokens_unique": np.full(2, 25e9),
    }  # fmt: skip
    # Printed by the authors' release to 16 digits, of rounded coefficients.
    expected = [2.2256440889984477, 2.2269634075087867]
    np.testing.assert_allclose(at(FULL, columns, **C4, **DECAYS), expected, rtol=1e-12)


@pytest.mark.parametrize("base", [laws.chinchilla, laws.kernel, laws.overtraining, laws.kaplan_offset])
def test_without_repetition_it_is_the_base_law(base):
    values = {name: 0.3 for name in base.parameters}
    columns = grid(side=4)
    for unique in (columns["tokens"], 7 * columns["tokens"]):
        found = at(laws.data_constrained(base), {**columns, "tokens_unique": unique}, R_D=15.4, **values)
        np.testing.assert_allclose(found, at(base, columns, **values), rtol=1e-12)  # a few powers in doubles


def test_parameters_that_the_data_can_fill_are_not_in_excess():
    columns = {"params": np.array([1e6]), "tokens": np.array([1e11]), "tokens_unique": np.array([1e11])}
    found = at(FULL, columns, **CHINCHILLA, **DECAYS)
    np.testing.assert_allclose(found, at(laws.chinchilla, columns, **CHINCHILLA), rtol=1e-12)


def test_endless_repetition_is_worth_a_fixed_multiple_of_the_data():
    unique = np.array([1e9])
    columns = {"params": np.array([1e9]), "tokens": 1e6 * unique, "tokens_unique": unique}
    found = at(DATA, columns, R_D=15.0, **CHINCHILLA)
    expected = at(laws.chinchilla, {"params": columns["params"], "tokens": 16 * unique}, **CHINCHILLA)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_four_epochs_are_nearly_as_good_as_fresh_data():
    columns = {"params": np.array([1e9]), "tokens": np.array([4e9]), "tokens_unique": np.array([1e9])}
    # (1 + 15.39 (1 - exp(-3 / 15.39))) / 4 = 0.931 of the tokens' worth.
    fresh, repeated = at(laws.chinchilla, columns, **CHINCHILLA), at(DATA, columns, R_D=15.39, **CHINCHILLA)
    assert 0 < repeated - fresh < 0.02 * fresh


def test_held_values_and_bounds_of_the_base_remain_and_share_what_is_compiled():
    held = laws.data_constrained(laws.chinchilla.fix(**CHINCHILLA))
    assert dict(held.fixed) == CHINCHILLA
    assert held.form == DATA.form
    assert laws.data_constrained(laws.chinchilla) is DATA
    assert DATA.formula.startswith("L = E + A / N^alpha + B / D^beta at D'")


def test_a_base_that_cannot_be_constrained_says_what_it_lacks():
    with pytest.raises(ValueError, match="it has no column tokens"):
        laws.data_constrained(laws.kaplan_size)
    with pytest.raises(ValueError, match="it has no column params"):
        laws.data_constrained(laws.m2(), excess_params=True)
    with pytest.raises(ValueError, match="it has no parameter A"):
        laws.data_constrained(laws.kaplan, excess_params=True)


def repeated():
    axes = np.geomspace(1e7, 1e10, 5), np.geomspace(1e8, 1e11, 4), [1, 2, 4, 12, 40]
    size, unique, epochs = (part.ravel() for part in np.meshgrid(*axes))
    return {"params": size, "tokens": unique * epochs, "tokens_unique": unique}


RECOVERED = {
    "data": (DATA, {**CHINCHILLA, "R_D": 15.4}, repeated(), 2e-3),
    "both": (FULL, {**CHINCHILLA, **DECAYS}, repeated(), 5e-4),
}


def test_intervals_hold_the_truth():
    for found in recover_all(RECOVERED).values():
        assert not found.outside(), (found.hits, found.band)


@pytest.mark.slow
def test_the_laws_own_starts_find_the_truth():
    for found in recover_all(RECOVERED, RECOVERED).values():
        assert found.gap < 1e-9  # relative, of the objective: both searches end at one optimum

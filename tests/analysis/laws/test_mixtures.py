"""Mixtures of domains: known values, what identifies them, recovery."""

import math

import numpy as np
import pytest
from recovery import at

from analysis.laws.mixtures import mixture

EXACT = 1e-12  # relative: double precision through a few powers
NAMES = ("web", "code", "books")
SLOPES = dict(web=-1.2, code=0.8, books=-0.3)


def mixed(names, rows=60):
    """Each domain alone, and shares drawn evenly from all mixtures."""
    drawn = np.random.default_rng(1).dirichlet(np.ones(len(names)), rows - len(names))
    drawn = np.concatenate([np.eye(len(names)), drawn])
    return {name: drawn[:, i] for i, name in enumerate(names)}


def case(names):
    truth = dict(c=1.6, k=1.5) | {f"t_{name}": SLOPES[name] for name in names[:-1]}
    return mixture(names), truth, mixed(names), 1e-3


CASES = {"four domains": case((*NAMES, "wiki"))}


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_published_slopes_for_all_domains_are_the_same_curve_without_the_last_one():
    shares = mixed(NAMES, rows=10)
    t = dict(web=-2.0, code=0.3, books=0.9)
    published = 1.6 + 0.7 * np.exp(sum(t[name] * shares[name] for name in NAMES))
    found = at(mixture(NAMES), shares, c=1.6, k=0.7 * np.exp(0.9), t_web=-2.9, t_code=-0.6)
    np.testing.assert_allclose(found, published, rtol=EXACT)


def test_a_run_on_the_last_domain_alone_has_the_loss_c_plus_k():
    alone = {"web": np.array([0.0]), "code": np.array([0.0]), "books": np.array([1.0])}
    found = at(mixture(NAMES), alone, c=1.6, k=1.5, t_web=-1.2, t_code=0.8)
    np.testing.assert_allclose(found, 3.1, rtol=EXACT)


def test_shares_may_be_in_any_unit():
    shares = mixed(NAMES, rows=10)
    tokens = {name: 3e9 * values for name, values in shares.items()}
    values = dict(c=1.6, k=1.5, t_web=-1.2, t_code=0.8)
    np.testing.assert_allclose(at(mixture(NAMES), tokens, **values), at(mixture(NAMES), shares, **values), rtol=EXACT)


def test_a_law_is_made_once_and_says_which_domain_is_left_out():
    law = mixture(NAMES)
    assert mixture(list(NAMES)) is law
    assert law.columns == law.may_be_zero == NAMES
    assert law.formula == "loss = c + k exp(t_web web + t_code code)"
    assert "t of books is 0" in law.doc


@pytest.mark.parametrize("count", range(2, 12))
def test_the_number_of_starts_stays_small_for_many_domains(count):
    law = mixture(tuple(f"d{i}" for i in range(count)))
    assert math.prod(len(p.starts) for p in law.parameters.values()) <= 60


@pytest.mark.parametrize("domains", [("web",), ("web", "web")])
def test_less_than_two_different_domains_are_refused(domains):
    with pytest.raises(ValueError, match="name at least two different columns"):
        mixture(domains)

"""Experts, sparse weights, vocabularies, encoders and decoders: known values, limits, recovery."""

import numpy as np
import pytest
from designs import factorial
from recovery import at

from analysis.laws.architecture import (
    Compression,
    compression,
    encoder_decoder,
    granular_moe,
    routing,
    sparsity,
    vocabulary,
)
from analysis.laws.pretraining import chinchilla

EXACT = 1e-12  # relative: double precision through a few powers
ROUTED = dict(a=-0.082, b=-0.108, c=0.009, d=1.104, E_start=1.85, E_max=314.0)
KRAJEWSKI = dict(c=0.47, g=2.1, gamma=0.58, a=18.1, alpha=0.115, b=30.8, beta=0.147)
SPARSE = dict(c=0.65, a_S=17.0, b_S=0.72, c_S=45.0, b_N=0.245, B=60.0, b_D=0.203)
WORDS = dict(E=5.5, A1=300.0, alpha1=0.35, A2=60.0, alpha2=0.3, B=8000.0, beta=0.4)
CASES = {
    "routing": (routing, ROUTED, factorial(params=np.geomspace(1.5e7, 1.3e9, 6), experts=2.0 ** np.arange(10))),
    "granular_moe": (
        granular_moe, KRAJEWSKI,
        factorial(params=np.geomspace(1e6, 1e12, 5), tokens=np.geomspace(1e7, 1e13, 5), granularity=[1, 2, 4, 8, 32]),
        1e-4,
    ),
    "sparsity": (
        sparsity, SPARSE,
        factorial(
            params_nonzero=np.geomspace(1e5, 1e9, 5), tokens=np.geomspace(1e7, 1e12, 5),
            sparsity=[0, 0.5, 0.75, 0.9, 0.97],
        ),
        1e-4,
    ),
    "vocabulary": (
        vocabulary, WORDS,
        factorial(
            params_body=np.geomspace(1e7, 1e10, 5), params_vocab=np.geomspace(1e6, 1e9, 5),
            tokens=np.geomspace(1e9, 1e12, 4),
        ),
        1e-3,
    ),
    "encoder_decoder": (
        encoder_decoder, dict(E=1.4, A=30.0, p_e=0.06, p_d=0.12),
        factorial(params_encoder=np.geomspace(1e6, 1e10, 6), params_decoder=np.geomspace(1e6, 1e10, 6)), 5e-4,
    ),
}  # fmt: skip


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_routing_is_the_published_formula_in_logarithms_to_base_ten():
    columns = factorial(params=[1.5e7, 1.3e9], experts=[2, 64, 512])
    inverse = 1 / (columns["experts"] - 1 + 1 / (1 / 1.85 - 1 / 314)) + 1 / 314
    size, experts = np.log10(columns["params"]), np.log10(1 / inverse)
    expected = 10 ** (-0.082 * size - 0.108 * experts + 0.009 * size * experts + 1.104)
    np.testing.assert_allclose(at(routing, columns, **ROUTED), expected, rtol=EXACT)


@pytest.mark.parametrize(("experts", "worth"), [(1, 1.85), (1e15, 314)])
def test_one_expert_counts_as_the_first_value_and_endless_experts_as_the_last(experts, worth):
    size = np.array([1e7, 1e8, 1e9])
    found = at(routing, {"params": size, "experts": np.full(3, float(experts))}, **ROUTED)
    slope = -0.082 + 0.009 * np.log10(worth)  # a dense power law in N
    np.testing.assert_allclose(found, 10 ** (1.104 - 0.108 * np.log10(worth)) * size**slope, rtol=1e-10)  # 314 / 1e15


def test_beyond_the_cut_off_size_experts_do_not_help():
    size = 10 ** (0.108 / 0.009)
    found = at(routing, {"params": np.full(3, size), "experts": np.array([1.0, 8, 512])}, **ROUTED)
    np.testing.assert_allclose(found, found[0], rtol=EXACT)


def test_granular_experts_give_the_published_loss():
    columns = {"params": 6.4e9, "tokens": 4.37e9, "granularity": 8.0}
    expected = 0.47 + (2.1 / 8**0.58 + 18.1) / 6.4e9**0.115 + 30.8 / 4.37e9**0.147
    assert at(granular_moe, columns, **KRAJEWSKI) == pytest.approx(expected, rel=EXACT)
    assert expected == pytest.approx(3.04, abs=0.01)  # by hand


def test_endless_granularity_is_chinchilla():
    columns = factorial(params=[1e8, 1e10], tokens=[1e9, 1e11])
    found = at(granular_moe, {**columns, "granularity": np.full(4, 1e30)}, **KRAJEWSKI)
    dense = at(chinchilla, columns, E=0.47, A=18.1, alpha=0.115, B=30.8, beta=0.147)
    np.testing.assert_allclose(found, dense, rtol=EXACT)


def test_a_sparse_model_has_the_published_loss_and_a_dense_one_that_of_chinchilla():
    columns = factorial(params_nonzero=[1e6, 1e8], tokens=[1e9, 1e11], sparsity=[0, 0.5, 0.875])
    free = 1 - columns["sparsity"]
    expected = (17 * free**0.72 + 45) * columns["params_nonzero"] ** -0.245 + 60 * columns["tokens"] ** -0.203 + 0.65
    found = at(sparsity, columns, **SPARSE)
    np.testing.assert_allclose(found, expected, rtol=EXACT)
    sizes = {"params": columns["params_nonzero"][::3], "tokens": columns["tokens"][::3]}
    dense = at(chinchilla, sizes, E=0.65, A=62.0, alpha=0.245, B=60.0, beta=0.203)
    np.testing.assert_allclose(found[::3], dense, rtol=EXACT)


def test_a_vocabulary_adds_a_term_and_the_loss_lies_below_that_of_a_unigram_model():
    columns = factorial(params_body=[1e8, 1e10], params_vocab=[1e7, 1e9], tokens=[1e10, 1e12])
    expected = 300 * columns["params_body"] ** -0.35 + 60 * columns["params_vocab"] ** -0.3 - 5.5
    expected += 8000 * columns["tokens"] ** -0.4
    found = at(vocabulary, columns, **WORDS)
    np.testing.assert_allclose(found, expected, rtol=EXACT)
    assert (found < 0).all()


RELEASED = Compression(a=0.00639222, b=-0.15811069, c=1.20470122)


def test_compression_is_found_again_from_measured_ratios():
    sizes = np.geomspace(4e3, 1e5, 10)
    found = compression(sizes, RELEASED(sizes))
    # The columns of the fit, 1, ln V and ln^2 V, are nearly collinear: condition 1e5.
    assert (found.a, found.b, found.c) == pytest.approx((RELEASED.a, RELEASED.b, RELEASED.c), rel=1e-8)


def test_a_larger_vocabulary_never_needs_more_tokens():
    ratio = RELEASED(np.geomspace(2e3, 1e9, 100))
    assert (np.diff(ratio) <= 1e-15).all()
    assert ratio[-1] == pytest.approx(RELEASED.c - RELEASED.b**2 / (4 * RELEASED.a), rel=EXACT)
    rising = Compression(a=0.0, b=-0.1, c=1.0)
    assert rising(np.e**2) == pytest.approx(0.8, rel=EXACT)


@pytest.mark.parametrize(("sizes", "ratios"), [([1e3, 1e3, 4e3], [0.5, 0.5, 0.4]), ([1e3, 4e3, 1.6e4], [0.5, 0.4])])
def test_too_few_vocabularies_are_refused(sizes, ratios):
    with pytest.raises(ValueError, match="one ratio for each of at least 3 sizes"):
        compression(sizes, ratios)


def test_encoder_and_decoder_follow_the_published_form_around_a_base_model():
    columns = factorial(params_encoder=[1e7, 1e8, 1e9], params_decoder=[1e7, 1e9])
    expected = 0.6 * (1.1e8 / columns["params_encoder"]) ** 0.06 * (1.5e8 / columns["params_decoder"]) ** 0.12 + 1.4
    coefficient = 0.6 * 1.1e8**0.06 * 1.5e8**0.12
    found = at(encoder_decoder, columns, E=1.4, A=coefficient, p_e=0.06, p_d=0.12)
    np.testing.assert_allclose(found, expected, rtol=EXACT)


def test_the_best_split_of_a_budget_gives_the_encoder_its_share_of_the_exponents():
    share = np.linspace(0.01, 0.99, 981)
    columns = {"params_encoder": 1e9 * share, "params_decoder": 1e9 * (1 - share)}
    found = at(encoder_decoder, columns, E=1.4, A=30.0, p_e=0.06, p_d=0.12)
    assert share[found.argmin()] == pytest.approx(1 / 3, abs=1e-3)  # the spacing of the grid

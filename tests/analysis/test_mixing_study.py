"""A study of mixtures: what its proxies foretell, and what its larger runs say of that."""

import numpy as np
import pytest
from made_mixtures import BEST, LAW, PARTS, study

from analysis import figures
from analysis.mixing import law_losses
from analysis.mixing_study import rank_correlation, study_mixture


@pytest.fixture(scope="module")
def found():
    return study_mixture(*study(noise=0.004), draws=40)


def test_larger_runs_stand_beside_the_law_and_the_proxies_on_their_mixture(found):
    larger = found.larger
    assert larger.shares_mK[larger.best] == pytest.approx(BEST)
    assert larger.place == 1 and larger.ahead < 0
    assert np.isnan(larger.proxy_m[larger.best]) and np.isfinite(np.delete(larger.proxy_m, larger.best)).all()
    exact = law_losses(LAW, larger.shares_mK).mean(1)
    np.testing.assert_allclose(larger.law_m, exact, rtol=0.02)  # the law was fitted to noise of 0.4%
    assert (larger.loss_m[larger.order][1:] >= larger.loss_m[larger.order][:-1]).all()


def test_the_order_of_proxies_and_larger_runs_is_correlated(found):
    assert found.rank_law.value > 0.9 and 0.5 < found.rank_law.low < found.rank_law.value
    assert found.rank_proxy.value > 0.8


def test_the_noise_between_seeds_is_that_of_runs_on_one_mixture(found):
    assert found.seed_freedom == 2
    assert 0.0005 < found.seed_noise < 0.015  # 0.4% and two degrees of freedom


def test_a_best_mixture_that_another_beats_is_not_called_the_best():
    found = study_mixture(*study(lift=0.05), draws=40)
    assert found.larger.place > 1 and found.larger.ahead > 0


def test_what_to_doubt_is_said(found):
    names = [doubt.name for doubt in found.warnings]
    assert "runs_dry" in names  # at most 0.54 of books may be read
    poor = study_mixture(*study(noise=0.15), draws=40)
    assert "weak_law" in [doubt.name for doubt in poor.warnings]


def test_before_the_mixture_is_decided_there_is_a_law_and_no_best():
    found = study_mixture(*study(decided=False, larger=0), draws=40)
    assert found.best_K2 is None and found.larger is None and found.rank_law is None
    assert [doubt.name for doubt in found.warnings] == ["not_decided"]


def test_a_rank_correlation_needs_four_mixtures():
    assert rank_correlation(np.arange(3.0), np.arange(3.0)) is None
    assert rank_correlation(np.array([1, 2, 3, np.nan]), np.arange(4.0)) is None
    same = rank_correlation(np.arange(9.0), np.arange(9.0) ** 2)
    assert same.value == same.high == 1 and 0.9 < same.low < 0.99
    # By hand: d = (1, -1, 0, 0, 0), so 1 - 6 * 2 / (5 * 24) = 0.9; z = 1.472, half = 1.4275.
    nearly = rank_correlation(np.array([2.0, 1, 3, 4, 5]), np.arange(5.0))
    assert nearly.value == pytest.approx(0.9)
    assert nearly.low == pytest.approx(np.tanh(np.arctanh(0.9) - 1.96 * 1.03 / np.sqrt(2)))


def test_the_triangle_holds_every_run_where_its_shares_say(found):
    (axes, *_) = figures.mixing_triangle(found).axes
    proxies = next(drawn for drawn in axes.collections if drawn.get_gid() == "runs").get_offsets()
    assert len(proxies) == found.proxies.num_rows
    _, code, books = found.mixing.shares_nK[0]
    np.testing.assert_allclose(proxies[0], [code + books / 2, books * np.sqrt(3) / 2])
    assert {text.get_text() for text in axes.texts} == set(PARTS)


def test_figures_that_cannot_be_drawn_say_why(found):
    with pytest.raises(ValueError, match="no larger run is trained"):
        figures.mixing_sizes(study_mixture(*study(decided=False, larger=0), draws=40))
    from dataclasses import replace

    two = replace(found, asked=replace(found.asked, parts=("a", "b")))
    with pytest.raises(ValueError, match="2 parts; a triangle shows three"):
        figures.mixing_triangle(two)

from dataclasses import replace

import numpy as np

from analysis.analyse import analyse
from analysis.report.verdict import answer, determined, hardly_determined, shows_trend


def test_a_law_that_is_held_is_the_answer(analysed):
    surface = replace(analysed.surface, exponent=replace(analysed.surface.exponent, low=0.4, high=0.5))
    found = replace(analysed, surface=surface)
    assert hardly_determined(found) == []
    first, second = answer(found)
    assert first.startswith("The best model size grows as compute to the power")
    assert "the law expects" in second and "second opinion" not in second


def test_a_law_at_a_bound_is_held_back_whole(unheld):
    assert unheld.surface is not None and unheld.law is None and unheld.forecast is None
    text = " ".join(answer(unheld))
    assert "not determine the law" in text and "No forecast is made from it." in text and "the law expects" not in text
    assert shows_trend(unheld) and "second opinion" in text


def test_a_coefficient_over_many_decades_is_held_back(analysed):
    boot = analysed.surface.boot
    theta = boot.theta.copy()
    theta[:, 3] = np.linspace(-20, 20, len(theta))
    surface = replace(analysed.surface, boot=replace(boot, theta=theta))
    assert surface.undetermined == "the interval of B spans 17 decades"  # 95% of 40 natural logarithms
    assert replace(analysed, surface=surface).law is None


def test_what_is_determined_comes_before_what_hardly_is(analysed):
    boot = analysed.surface.boot
    theta = boot.theta.copy()
    theta[:20, 0] = -4.0  # E of 0.02 in a tenth of the draws
    wide = replace(analysed.surface.exponent, low=0.1, high=0.9)
    found = replace(analysed, surface=replace(analysed.surface, boot=replace(boot, theta=theta), exponent=wide))
    first = answer(found)[0]
    assert first.startswith("These runs determine that the best size grows as compute to the power")
    assert "They hardly determine how the best size grows" in first and "the floor E, which may lie" in first
    assert first.index("isoFLOP minima") < first.index("hardly")


def test_a_law_that_misses_the_largest_budget_comes_with_a_second_opinion(missed):
    found = analyse(missed, draws=50)
    text = " ".join(answer(found))
    assert "the losses lie" in text and "probably too high" in text and "second opinion" in text
    assert found.trend.low < found.trend.value < found.trend.high


def test_without_a_fit_the_reasons_are_the_answer(synthetic):
    found = analyse(synthetic.study().slice(0, 4), draws=20)
    assert [clause[:21] for clause in determined(found)] == ["the best size for 1.0"]  # of the one minimum they have
    [said] = answer(found)
    assert said.startswith("These runs do not yet hold a law: surface fit:") and "the best size" not in said

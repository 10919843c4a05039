import numpy as np
import pytest
from made_arms import BUDGETS, PLACES, Runs, budgets, clouds, rates, sizes

from analysis import figures
from analysis.comparison import compare_arms
from analysis.figures.arms import bits_of_loss, look
from analysis.figures.palette import SERIES
from analysis.learning_rates import rate_curves


@pytest.fixture(scope="module")
def by_size():
    return compare_arms(*sizes(), draws=20)


@pytest.fixture(scope="module")
def by_budget():
    return compare_arms(*budgets(), draws=20)


def points(axes, name):
    return next(np.asarray(c.get_offsets()) for c in axes.collections if c.get_gid() == name)


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_losses_stand_against_size_with_a_level_for_what_took_no_training(by_size):
    figure = figures.arm_losses(by_size)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "parameters N" and labels(figure) == ["transformer", "LSTM", "5-gram"]
    arm = by_size.arms[1]
    np.testing.assert_allclose(points(axes, "arm1"), arm.points.T)
    level = next(line for line in axes.lines if line.get_label() == "5-gram")
    np.testing.assert_allclose(level.get_ydata(), 3.9, rtol=1e-6)


def test_a_line_is_the_arms_power_law_over_its_own_points(by_size):
    axes = figures.arm_losses(by_size).axes[0]
    drawn = [line for line in axes.lines if line.get_color() == SERIES[0]]
    x, y = drawn[0].get_data()
    np.testing.assert_allclose(x, [1e4, 1e5])
    np.testing.assert_allclose(y, by_size.arms[0].line(x))


def test_without_a_law_a_line_joins_the_lowest_losses_of_the_budgets():
    axes = figures.arm_losses(compare_arms(*clouds(), draws=20)).axes[0]
    x, y = next(line for line in axes.lines if line.get_color() == SERIES[1]).get_data()
    np.testing.assert_allclose(x, BUDGETS)
    np.testing.assert_allclose(y, [3.2 * (budget / 1e10) ** -0.05 for budget in BUDGETS])


def test_each_objective_has_a_panel_of_its_own(by_budget):
    figure = figures.arm_losses(by_budget)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss L (nats per token), next token", "loss L (nats per token), masked",
    ]  # fmt: skip


def test_bits_per_byte_are_drawn_where_all_arms_have_them(by_budget):
    assert len(figures.arm_losses(by_budget, measure="bits_per_byte").axes) == 1
    runs = Runs()
    runs.add("a", params=1e4, tokens=1e6, flops=6e10, loss=3.0, bits=None)
    bare = compare_arms(*runs.study(), draws=20)
    with pytest.raises(ValueError, match="no objective has bits_per_byte in all of its arms"):
        figures.arm_losses(bare, measure="bits_per_byte")


def test_bits_that_are_the_same_multiple_of_all_losses_are_a_second_scale(by_size):
    assert bits_of_loss(by_size, "next_token") == pytest.approx(0.5)
    right = figures.arm_losses(by_size).axes[0].child_axes[0]
    assert right.get_ylabel() == "bits per byte"
    runs = Runs()
    for arm, bits in (("a", 0.5), ("b", 0.6)):
        runs.add(arm, params=1e4, tokens=1e6, flops=6e10, loss=6 * bits, bits=bits)
    assert bits_of_loss(compare_arms(*runs.study(), draws=20), "next_token") is None


def test_an_arm_looks_alike_in_all_figures_and_arms_do_not_look_alike():
    runs = Runs()
    for index in range(8):
        runs.add(f"arm {index}", params=1e4, tokens=1e6, flops=6e10, loss=3.0 + index)
    found = compare_arms(*runs.study(), draws=20)
    looks = [look(found, arm.arm) for arm in found.arms]
    assert len(set(looks)) == 8 and looks == [look(found, arm.arm) for arm in found.arms]


def test_isoflop_curves_have_a_panel_an_arm_and_a_star_a_minimum(by_budget):
    figure = figures.arm_isoflops(by_budget)
    assert len(figure.axes) == 2
    # Four budgets: a group of points and a star each.
    assert [len(axes.collections) for axes in figure.axes] == [8, 8]


def test_best_sizes_of_all_arms_stand_in_one_plot(by_budget):
    legend = figures.arm_optima(by_budget).axes[0].get_legend()
    assert [text.get_text()[:7] for text in legend.get_texts()] == ["decoder", "encoder"]


def test_losses_by_place_have_a_line_a_run_and_name_the_largest(by_size):
    axes = figures.loss_by_position(by_size).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "transformer, largest", "LSTM, largest", "5-gram",
    ]  # fmt: skip
    assert len(axes.lines) == 13 and all(tuple(line.get_xdata()) == PLACES for line in axes.lines)


def test_learning_rates_have_a_panel_an_arm_and_a_hollow_star_at_the_edge():
    table, manifest = rates()
    figure = figures.learning_rates(compare_arms(table, manifest, draws=20).rates)
    assert len(figure.axes) == 2
    stars = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "*"]
    assert len(stars) == 8 and sum(star.get_markerfacecolor() == "white" for star in stars) == 1


def test_what_is_missing_is_said(by_size):
    runs = Runs()
    runs.add("a", params=1e4, tokens=1e6, flops=6e10, loss=3.0)
    bare = compare_arms(*runs.study(), draws=20)
    for draw, said in (
        (figures.arm_isoflops, "no arm has a budget with enough sizes"),
        (figures.arm_optima, "no arm has a usable isoFLOP minimum"),
        (figures.loss_by_position, "no run has its loss by position"),
        (lambda found: figures.learning_rates(found.rates), "at least 3 learning rates"),
    ):
        with pytest.raises(ValueError, match=said):
            draw(bare)
    assert rate_curves(by_size.table) == ()

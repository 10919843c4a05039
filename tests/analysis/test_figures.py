from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from complete import complete

from analysis import figures, fit, laws
from analysis.figures.compare import held_out
from analysis.figures.compute import joined_by_size
from analysis.figures.fits import residual_panels
from analysis.figures.palette import budget_colours
from analysis.figures.plane import plane_loss
from analysis.figures.style import ten_to
from analysis.report.pictures import pictures, row_texts, run_texts

KINDS = ("png", "svg", "pdf")


@pytest.fixture(scope="module")
def curve_fit():
    """A law of one column, with noise of 1% and one row far off."""
    size = np.geomspace(1e6, 1e9, 20)
    loss = 20 * size**-0.1 * np.exp(0.01 * np.random.default_rng(0).standard_normal(20))
    loss[7] *= 1.5
    return fit(laws.power_law("loss", "params"), {"params": size, "loss": loss})


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def test_the_same_figure_has_the_same_bytes_whenever_it_is_drawn(analysed, written, tmp_path):
    for name, draw in (("surface", figures.loss_surface), ("size", figures.optimal_size)):
        figures.save(draw(analysed), tmp_path, name)
        for kind in KINDS:
            file = f"{name}.{kind}"
            assert (tmp_path / file).read_bytes() == (written.parent / file).read_bytes(), file


def test_the_files_carry_no_date_and_no_version(written):
    for path in written.parent.glob("loss_compute.*"):
        data = path.read_bytes()
        assert b"CreationDate" not in data and b"dc:date" not in data and matplotlib.__version__.encode() not in data


def test_a_figure_leaves_the_settings_of_a_notebook_alone(curve_fit):
    before = dict(matplotlib.rcParams)
    figures.predicted(curve_fit)
    assert dict(matplotlib.rcParams) == before


def test_a_complete_analysis_has_all_figures(analysed):
    found = complete(analysed)
    ends = {"fisher": found.surface.fit.conf_int("fisher")}
    shown = {item.name: item for item in pictures(found, ends)}
    first = ["loss_compute", "isoflop", "surface", "size", "ratio", "residuals"]
    assert list(shown) == [*first, "intervals", "methods", "backtest", "next_runs"]
    for item in shown.values():
        assert item.caption and item.alt.endswith(".") and any(letter.isdigit() for letter in item.alt), item.name


def test_without_a_fit_the_runs_are_still_drawn(analysed):
    found = replace(analysed, surface=None, forecast=None, isoflop=None)
    assert [item.name for item in pictures(found, {})] == ["loss_compute"]
    assert list(pictures(replace(found, selection=replace(found.selection, table=found.table.slice(0, 0))), {})) == []


def test_what_is_missing_is_said(analysed, curve_fit):
    bare = replace(analysed, surface=None, isoflop=None, recommended=None)
    for draw, said in (
        (figures.isoflop_curves, "no budget"),
        (figures.loss_surface, "no fitted law"),
        (figures.next_runs, "nothing is recommended"),
    ):
        with pytest.raises(ValueError, match=said):
            draw(bare)
    with pytest.raises(ValueError, match="none of them has an answer"):
        figures.methods([])
    with pytest.raises(ValueError, match="chinchilla has 2 columns, params, tokens"):
        figures.curve(analysed.surface.fit)


def test_a_law_that_is_not_determined_draws_no_frontier(unheld):
    assert not any("frontier" in label for label in labels(figures.loss_compute(unheld).axes[0]))
    assert not any("surface fit" in label for label in labels(figures.optimal_size(unheld).axes[0]))
    assert "efficient path" not in labels(figures.loss_surface(unheld).axes[0])


def test_runs_of_one_size_are_joined_in_one_path_with_gaps():
    x, y = joined_by_size(np.array([2.0, 1, 2, 1]), np.array([4.0, 3, 2, 1]), np.array([40.0, 30, 20, 10]))
    np.testing.assert_array_equal(x, [1, 3, np.nan, 2, 4])
    np.testing.assert_array_equal(y, [10, 30, np.nan, 20, 40])


def test_the_surface_is_the_law_over_the_plane(analysed):
    result = analysed.surface.fit
    params, tokens = np.meshgrid([1e4, 1e5], [1e5, 1e6, 1e7])
    found = plane_loss(result.law, result.theta, params, tokens, analysed.surface.kappa)
    p = result.params
    expected = p["E"] + p["A"] / params ** p["alpha"] + p["B"] / tokens ** p["beta"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # the same sum in another order


def test_residuals_are_shown_against_n_d_and_their_ratio(analysed, curve_fit):
    assert [name[-3:] for name in residual_panels(analysed.surface.fit)] == ["s N", "s D", "D/N"]
    assert list(residual_panels(curve_fit)) == ["params"]
    assert len(figures.residuals(analysed.surface.fit).axes) == 3


def test_a_row_far_off_is_marked_and_does_not_press_the_others_together(curve_fit):
    axes = figures.residuals(curve_fit).axes[0]
    assert axes.get_ylim()[1] < 100 * np.abs(curve_fit.residuals).max()
    assert "1 row beyond, up to 41" in " ".join(labels(axes))  # ln 1.5 is 0.405, and its noise


def test_a_curve_shows_rows_that_the_law_was_not_fitted_to(curve_fit):
    held = {"params": np.array([1e10, 1e11]), "loss": np.array([2.0, 1.6])}
    axes = figures.curve(curve_fit, held).axes[0]
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), np.stack([held["params"], held["loss"]], axis=1))
    assert figures.predicted(curve_fit, held).axes[0].get_xlabel() == "measured loss"


def test_intervals_are_in_fishers_standard_errors_and_endless_ones_get_an_arrow(curve_fit):
    fisher = curve_fit.conf_int("fisher")
    name = next(iter(fisher))
    ends = {"fisher": fisher, "profile": {**fisher, name: (fisher[name][0], np.inf)}}
    lines = figures.intervals(curve_fit, ends).axes[0].lines
    arrows = [line for line in lines if line.get_marker() == ">" and len(line.get_xdata())]
    assert len(arrows) == 1
    ticks = next(line for line in lines if line.get_marker() == "|")
    np.testing.assert_allclose(ticks.get_xdata(), -curve_fit.quantile(), rtol=1e-6)  # the lower ends, by definition


def test_the_figures_of_a_complete_analysis_hold_its_numbers(analysed):
    found = complete(analysed)
    trials = found.backtest.trials
    x, y = held_out(trials, found.table["flops"].to_numpy())
    assert len(x) == sum(len(trial.error) for trial in trials)
    assert x.max() == pytest.approx(max(trial.ratio for trial in trials))
    np.testing.assert_allclose(y[: len(trials[0].error)], 100 * trials[0].error)
    assert len(figures.backtest(found.backtest, found.table).axes) == 1
    rows = [label.get_text() for label in figures.methods(found.methods).axes[0].get_yticklabels()]
    assert rows == [result.title for result in found.methods]
    plane, after = figures.next_runs(found).axes
    advised = next(c for c in plane.collections if c.get_gid() == "advised")
    assert len(advised.get_offsets()) == len(found.recommended.runs)
    assert [label.get_text() for label in after.get_yticklabels()] == ["now", "after"]


def test_every_point_has_a_text(analysed, curve_fit):
    texts = run_texts(analysed.table)
    assert len(texts) == analysed.table.num_rows and texts[0].startswith("5000-0-0\nN 5,000, D ")
    assert row_texts(curve_fit)[0].splitlines()[:2] == ["row 1", "params 1e+06"]


def test_colours_go_from_dark_to_light_with_compute():
    colours = budget_colours([1e10, 1e11, 1e12])
    brightness = [sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in colours]
    assert brightness == sorted(brightness)
    assert len(set(budget_colours([5.0, 5.0]))) == 1


def test_powers_are_plain_characters():
    assert [ten_to(x) for x in (0, 21, -3)] == ["10⁰", "10²¹", "10⁻³"]

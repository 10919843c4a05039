import numpy as np
import pyarrow as pa
import pytest

from analysis.isoflop import groups, isoflop, levels, lines, power_law
from analysis.tables.table import canonical


def curve(optimum, sizes, square=0.05, budget=1e12, noise=0.0, seed=0):
    """One budget whose loss is a parabola in ln N about `optimum`."""
    sizes = np.asarray(sizes, float)
    loss = 3 + square * np.log(sizes / optimum) ** 2
    loss *= np.exp(noise * np.random.default_rng(seed).standard_normal(len(sizes)))
    names = [f"{budget}-{size}" for size in sizes]
    return {
        "run_id": names,
        "params": sizes,
        "tokens": budget / 6 / sizes,
        "flops": np.full(len(sizes), budget),
        "loss": loss,
    }


def joined(*curves):
    return canonical(pa.table({name: np.concatenate([c[name] for c in curves]) for name in curves[0]}), "test")


SIZES = np.geomspace(1e4, 1e5, 5)


def test_the_llama_points_give_the_published_exponent(published):
    found = isoflop(published("llama3_isoflop"), draws=50)
    assert len(found.usable) == 10
    # Tolerances stated with the data.
    assert found.tokens.exponent.value == pytest.approx(0.5368, abs=0.002)
    assert float(found.tokens(3.8e25)) == pytest.approx(16.1e12, rel=0.03)


def test_minima_and_exponent_of_exact_parabolas_are_recovered():
    found = isoflop(joined(*(curve(2e4 * k**0.5, SIZES * k**0.5, budget=1e11 * k) for k in (1, 4, 16))), draws=20)
    # Least squares, exact data.
    np.testing.assert_allclose([m.params for m in found.minima], [2e4, 4e4, 8e4], rtol=1e-6)
    np.testing.assert_allclose([m.loss for m in found.minima], 3, rtol=1e-9)
    assert found.params.exponent.value == pytest.approx(0.5, abs=1e-6)
    # Tokens come from between two sizes, on a straight line in logs: exact where C = 6 N D.
    assert found.tokens.exponent.value == pytest.approx(0.5, abs=1e-6)


def test_a_synthetic_study_gives_its_exponent_within_the_interval(synthetic):
    found = isoflop(synthetic.study(), draws=300)
    # 0.455 is the exponent of the true optima between the budgets, by minimisation.
    assert found.params.exponent.low < 0.455 < found.params.exponent.high


@pytest.mark.parametrize(
    ("made", "reason", "said"),
    [
        (curve(2e4, SIZES, square=-0.05), "concave", "has no minimum"),
        (curve(2e3, SIZES), "edge_below", "below the sizes tried; add smaller ones"),
        (curve(2e6, SIZES), "edge_above", "above the sizes tried; add larger ones"),
        (curve(2e4, np.geomspace(1e4, 1e5, 9), square=0.002, noise=0.01, seed=6), "flat", "too flat for its noise"),
    ],
)
def test_a_minimum_that_is_none_is_rejected_with_its_reason(made, reason, said):
    found = isoflop(joined(made, curve(3e4, SIZES, budget=1e13)), draws=200)
    assert found.minima[0].reason == reason
    assert said in found.minima[0].rejected
    assert found.params is None  # one usable minimum is no law


def test_the_losses_of_the_minima_give_a_trend_without_a_floor():
    curves = [curve(2e4 * k**0.5, SIZES * k**0.5, budget=1e11 * k) for k in (1, 4, 16)]
    for made, k in zip(curves, (1, 4, 16), strict=True):
        made["loss"] = made["loss"] * k**-0.1
    found = isoflop(joined(*curves), draws=20)
    assert found.loss.exponent.value == pytest.approx(-0.1, abs=1e-6)  # exact data
    assert found.loss.at(6.4e12).value == pytest.approx(3 * 64**-0.1, rel=1e-6)


def test_budgets_are_grouped_by_nearness_where_no_budget_is_named():
    table = joined(curve(2e4, SIZES, budget=1e12), curve(2e4, SIZES, budget=1.05e12), curve(2e4, SIZES, budget=2e12))
    assert [len(rows) for rows in groups(table).values()] == [10, 5]


def test_a_named_budget_beats_nearness(synthetic):
    table = synthetic.study()
    assert list(groups(table)) == pytest.approx(synthetic.budgets.tolist())


def test_three_sizes_at_each_budget_are_refused():
    with pytest.raises(ValueError, match="no budget has 4 sizes"):
        isoflop(joined(curve(2e4, SIZES[:3])))


def test_budgets_with_too_few_sizes_are_named():
    found = isoflop(joined(curve(2e4, SIZES), curve(2e4, SIZES[:3], budget=1e14)), draws=20)
    assert [*found.passed_over.items()] == [(pytest.approx(1e14), 3)]


def test_how_far_a_minimum_lies_from_the_middle_of_its_sizes():
    middle, edge = (isoflop(joined(curve(at, SIZES)), draws=20).minima[0] for at in (10**4.5, 10**4.75))
    # Exact parabolas.
    assert middle.off_centre == pytest.approx(0, abs=1e-6)
    assert edge.off_centre == pytest.approx(0.5, abs=1e-6)


def test_many_budgets_become_equal_parts_of_log_compute():
    table = joined(*(curve(2e4, SIZES[:1], budget=10**k) for k in np.linspace(10, 14, 40)))
    assert [len(rows) for rows in levels(table, 4)] == [10, 10, 10, 10]
    assert len(levels(table, 40)) == 40


def test_lines_go_through_the_finite_points_of_each_row():
    x = np.array([1.0, 2.0, 4.0])
    found = lines(x, np.array([[3.0, 5.0, 9.0], [3.0, np.nan, 9.0], [np.nan, np.nan, 9.0]]))
    np.testing.assert_allclose(found[:2], [[1, 2], [1, 2]], rtol=1e-12)  # exact lines
    assert np.isnan(found[2]).all()


def test_lines_weigh_as_numpy_does():
    rng = np.random.default_rng(0)
    x, y, weight = rng.standard_normal((3, 6))
    slope, constant = np.polyfit(x, y, 1, w=np.abs(weight) ** 0.5)
    np.testing.assert_allclose(lines(x, y[None], np.abs(weight))[0], [constant, slope], rtol=1e-9)  # rounding


def test_a_power_law_without_draws_has_no_interval():
    found = power_law(np.log([1e10, 1e12]), np.log([1e4, 1e5]), np.full((5, 2), np.nan))
    assert found.exponent.value == pytest.approx(0.5)
    assert np.isnan([found.exponent.low, found.exponent.high, found.at(1e13).low]).all()
    assert found.at(1e14).value == pytest.approx(1e6)

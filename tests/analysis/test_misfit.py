import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from analysis import fit, laws
from analysis.misfit import measure, seed_noise
from analysis.tables.table import canonical


def with_loss(table, loss):
    return table.set_column(table.column_names.index("loss"), "loss", pa.array(loss))


def cells(*losses, seeds=(0, 1)):
    rows = [
        {"params": 1e4 * (i + 1), "tokens": 1e6, "flops": 6e10, "loss": loss, "seed": seed}
        for i, pair in enumerate(losses)
        for loss, seed in zip(pair, seeds, strict=True)
    ]
    return canonical(pa.Table.from_pylist(rows), "test")


def test_seed_noise_is_pooled_over_the_repeated_cells():
    found = seed_noise(cells((3.0, 3.0 * np.exp(0.02)), (4.0, 4.0 * np.exp(-0.04))))
    # Two pairs: the variance is the mean of half the squared differences.
    assert found.scale == pytest.approx(np.sqrt((0.02**2 + 0.04**2) / 4), rel=1e-9)
    assert (found.freedom, found.cells) == (2, 2)
    assert found.describe() == "2.2% (2 repeated cells, 2 degrees of freedom)"


def test_runs_that_differ_in_more_than_the_seed_are_no_repeats():
    assert seed_noise(cells((3.0, 3.1), seeds=(0, 0))) is None
    table = cells((3.0, 3.1))
    assert seed_noise(table.append_column("lr", pa.array([1e-3, 2e-3]))) is None
    assert seed_noise(table.set_column(table.column_names.index("seed"), "seed", pa.nulls(2, pa.float64()))) is None


def test_a_law_that_holds_raises_no_warning(analysed):
    misfit = analysed.surface.misfit
    assert misfit.warnings() == [] and misfit.missed is None and misfit.verdict == ""
    assert [level.runs for level in misfit.levels] == [5, 6, 6, 5]


def test_residuals_far_above_the_seeds_noise_speak_against_the_form(bent):
    misfit = measure(fit(laws.chinchilla, bent), bent)
    assert misfit.ratio > 2 and misfit.chance < 0.05
    (warning,) = misfit.warnings()
    assert "times the seeds' own noise" in warning.text and "the law's form does not fit these runs" in warning.text


def test_a_largest_budget_that_lies_off_the_law_is_found_with_its_sign(missed):
    misfit = measure(fit(laws.chinchilla, missed), missed)
    assert misfit.missed.flops == pytest.approx(3.2e11)
    assert misfit.missed.mean == pytest.approx(0.6 * np.log(0.95), rel=0.1)  # three of five runs; noise is 0.1%
    assert any("3.20e11 FLOPs, by -2.9%" in said.text and "too high" in said.text for said in misfit.warnings())


def test_a_large_ratio_with_few_repeats_is_said_with_its_chance(bent):
    one_pair = bent.filter(pc.or_(pc.equal(bent["seed"], 0), pc.equal(bent["budget"], bent["budget"][5])))
    misfit = measure(fit(laws.chinchilla, one_pair), one_pair)
    assert misfit.seeds.freedom == 1 and misfit.noise_from == "by the scatter within the budgets"


def test_without_repeats_the_scatter_within_the_budgets_judges(bent):
    single = bent.filter(pc.equal(bent["seed"], 0))
    misfit = measure(fit(laws.chinchilla, single), single)
    assert misfit.seeds is None and np.isnan(misfit.ratio) and misfit.chance == 1
    assert misfit.noise_from == "by the scatter within the budgets"


def test_many_budgets_are_cut_into_few_levels_and_a_last_one_of_few_runs_is_joined(synthetic):
    rng = np.random.default_rng(0)
    params, ratio = np.exp(rng.uniform(9, 14, 200)), np.exp(rng.uniform(1, 5, 200))
    rows = {"params": params, "tokens": params * ratio, "flops": 6 * params**2 * ratio}
    rows["loss"] = synthetic.law(params, rows["tokens"]) * np.exp(0.003 * rng.standard_normal(200))
    table = canonical(pa.table(rows), "test")
    levels = measure(fit(laws.chinchilla, table), table).levels
    assert 2 < len(levels) <= 12 and levels[-1].runs >= 3 and sum(level.runs for level in levels) == 200

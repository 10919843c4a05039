"""Published tables: what is taken from them, and laws at published points."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from analysis import laws
from analysis.fit import fit
from analysis.losses import huber
from analysis.published.sources import against_point, keep, load, objective_at, predict
from analysis.rows import read_rows

TRUTH = dict(E=1.7, A=400.0, alpha=0.34, B=410.0, beta=0.28)


@pytest.fixture(scope="module")
def runs():
    params, tokens = (grid.ravel() for grid in np.meshgrid([1e8, 1e9, 1e10], [2e9, 2e10, 2e11]))
    loss = TRUTH["E"] + TRUTH["A"] / params ** TRUTH["alpha"] + TRUTH["B"] / tokens ** TRUTH["beta"]
    return {"params": params, "tokens": tokens, "loss": loss}


def test_a_missing_table_is_named_with_the_option_that_mends_it(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.csv is not there.*--folder"):
        load(tmp_path, "nothing")


def test_rows_are_kept_where_every_column_holds_its_value():
    table = pa.table({"kind": ["a", "b", "a"], "size": [1, 1, 2], "loss": [3.0, 4.0, 5.0]})
    assert keep(table, kind="a", size=1)["loss"].to_pylist() == [3.0]


def test_a_law_is_predicted_from_natural_parameters(runs):
    # Rounding of exp and log in double precision.
    np.testing.assert_allclose(predict(laws.chinchilla, runs, TRUTH), runs["loss"], rtol=1e-13)


def test_the_objective_of_a_point_is_the_sum_over_the_rows_and_not_over_their_padding(runs):
    shifted = runs | {"loss": runs["loss"] * np.exp(0.01)}
    got = objective_at(laws.chinchilla, read_rows(laws.chinchilla, shifted), TRUTH, huber(1e-3))
    # Huber beyond delta: delta (|r| - delta / 2) for each of the nine rows.
    assert got == pytest.approx(9 * 1e-3 * (0.01 - 0.5e-3), rel=1e-9)


def test_a_fit_that_stops_above_the_published_point_would_be_missed(runs):
    noise = np.exp(0.01 * np.sin(np.arange(9.0)))
    ours = fit(laws.chinchilla, runs | {"loss": runs["loss"] * noise})
    assert against_point("set", "fit", ours, TRUTH).met
    stopped = replace(ours, objective=2 * objective_at(ours.law, ours.rows, TRUTH, ours.loss))
    assert not against_point("set", "fit", stopped, TRUTH).met

import numpy as np
import pyarrow as pa
import pytest

from analysis import laws
from analysis.law import amount, exponent, law
from analysis.rows import FitError, check, read_rows

PARAMS = np.geomspace(1e6, 1e9, 9)


def refusal(data, law=laws.chinchilla):
    with pytest.raises(FitError) as caught:
        check(law, read_rows(law, data))
    return caught.value


def test_any_kind_of_table_gives_the_columns_of_the_law():
    data = {"params": PARAMS, "tokens": PARAMS[::-1], "loss": np.linspace(4, 3, 9), "other": ["x"] * 9}
    rows = read_rows(laws.chinchilla, data)
    assert set(rows.columns) == {"params", "tokens"} and len(rows) == 9
    assert rows.ids[0] == "row 1" and rows.clusters == rows.ids


def test_clusters_and_names_are_used_where_the_table_has_them():
    table = pa.table({"N": PARAMS, "D": PARAMS, "L": PARAMS, "run_id": list("abcdefghi"), "cluster": ["t"] * 9})
    rows = read_rows(laws.chinchilla, table)
    assert rows.ids[:2] == ("a", "b") and set(rows.clusters) == {"t"}


def test_a_law_may_call_its_columns_by_the_letters_of_the_papers():
    @law(columns=("N",), parameters=dict(a=amount(), b=exponent()), target="L", linear=("a",))
    def lettered(p, x):
        """L = a N^-b"""
        return p.a * x.N**-p.b

    rows = read_rows(lettered, {"N": PARAMS, "L": PARAMS**-0.1})
    np.testing.assert_array_equal(rows.columns["N"], PARAMS)


def test_too_few_runs_are_refused_with_the_number_missing():
    found = refusal({"params": PARAMS[:4], "tokens": PARAMS[3::-1] ** 1.5, "loss": [4, 3, 3, 2]})
    assert found.name == "too_few_points" and "4 usable runs for 5 parameters; train at least 2 more" in str(found)


def test_held_parameters_need_no_run():
    law = laws.chinchilla.fix(alpha=0.34, beta=0.28)
    rng = np.random.default_rng(0)
    data = {"params": PARAMS[:4], "tokens": PARAMS[:4] * rng.uniform(10, 90, 4), "loss": [4, 3, 3, 2]}
    check(law, read_rows(law, data))


def test_one_tokens_per_parameter_ratio_is_refused():
    found = refusal({"params": PARAMS, "tokens": 20 * PARAMS, "loss": 2 + 10 / PARAMS**0.3})
    assert found.name == "collinear_design" and "one ratio of params to tokens, about 0.05" in str(found)


def test_tokens_that_follow_the_size_by_a_power_are_refused():
    found = refusal({"params": PARAMS, "tokens": PARAMS**1.25, "loss": 2 + 10 / PARAMS**0.3})
    assert found.name == "collinear_design" and "params follows tokens ** 0.8" in str(found)


def test_one_value_of_a_column_is_refused():
    found = refusal({"params": [1e6] * 9, "tokens": PARAMS, "loss": 2 + 10 / PARAMS**0.3})
    assert found.name == "one_value" and "params has one value, 1e+06" in str(found)


def test_thousands_of_close_sizes_are_not_taken_for_one():
    rng = np.random.default_rng(0)
    params, ratio = np.exp(rng.uniform(9, 14, 1500)), np.exp(rng.uniform(1, 5, 1500))
    check(
        laws.chinchilla,
        read_rows(laws.chinchilla, {"params": params, "tokens": params * ratio, "loss": 1.6 + 20 / params**0.3}),
    )


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan"), (0.0, "0.0"), (-1.0, "-1.0"), (np.inf, "inf")])
def test_a_loss_that_cannot_be_is_refused_by_row(value, said):
    loss = np.linspace(4, 3, 9)
    loss[3] = value
    found = refusal({"params": PARAMS, "tokens": PARAMS[::-1], "loss": loss})
    assert found.name == "bad_values" and f"loss of row 4 is {said}" in str(found)

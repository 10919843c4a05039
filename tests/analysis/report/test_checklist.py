from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from complete import complete

from analysis.report.checklist import DONE, NOT_DONE, UNKNOWN, checklist
from analysis.report.questions import questions
from analysis.tables.table import LeftOut


def with_columns(analysed, **columns):
    """The same analysis of a table that says more."""
    table = analysed.table
    for name, values in columns.items():
        values = values if isinstance(values, list | np.ndarray) else [values] * table.num_rows
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, pa.array(values))
    return replace(analysed, selection=replace(analysed.selection, table=table))


def state(analysis, number):
    return checklist(analysis)[number - 1].state


def test_there_are_25_points_in_order_each_with_a_state_and_its_evidence(analysed, unheld):
    for found in (analysed, unheld, complete(analysed)):
        points = checklist(found)
        assert [point.number for point in points] == list(range(1, 26))
        assert all(point.state in (DONE, NOT_DONE, UNKNOWN) and point.evidence and point.demand for point in points)


def test_a_bare_table_shows_little_and_what_it_does_not_show_is_unknown(analysed):
    states = {point.number: point.state for point in checklist(analysed)}
    assert [n for n, s in states.items() if s == UNKNOWN] == [1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 22, 23]
    # One seed at the best run, equal weights, 1.5 decades, and no back-test.
    assert [n for n, s in states.items() if s == NOT_DONE] == [10, 13, 14, 18, 20]


def test_a_comparison_of_three_forms_and_a_back_test_are_done_when_they_were_made(analysed):
    found = complete(analysed)
    assert state(found, 20) == DONE and state(found, 18) == NOT_DONE  # one form only
    trials = [replace(trial, law=f"{trial.law} {i}") for i in range(3) for trial in found.backtest.trials]
    assert state(replace(found, backtest=replace(found.backtest, trials=tuple(trials))), 18) == DONE


@pytest.mark.parametrize(
    ("number", "columns", "expected"),
    [
        (1, dict(params_total=1.0, params_body=1.0, params_head=1.0, params_active=1.0), DONE),
        (1, dict(params_total=1.0), UNKNOWN),
        (2, dict(flops_exact=1.0), DONE),
        (2, dict(flops_rule="6 N D"), NOT_DONE),
        (3, dict(tokens_loss_bearing=1.0, tokens_unique=1.0, epochs=1.0), DONE),
        (4, dict(bits_per_byte=1.0), UNKNOWN),
        (4, dict(bits_per_byte=1.0, flops_exact=1.0), DONE),
        (6, dict(warmup_tokens=1000.0), NOT_DONE),  # tokens differ, warm-up does not
        (7, dict(schedule="wsd"), DONE),
        (7, dict(progress=1.0), DONE),
        (9, dict(lr=1e-3), UNKNOWN),
        (11, dict(weight_decay=0.1, lr=1e-3, batch=32.0), NOT_DONE),
        (12, dict(dim=64.0, layers=4.0), DONE),
    ],
)
def test_a_table_that_says_more_fills_more_points(analysed, number, columns, expected):
    assert state(with_columns(analysed, **columns), number) == expected


def test_flops_that_are_the_rule_of_six_count_as_not_counted(analysed):
    six = 6 * analysed.table["params"].to_numpy() * analysed.table["tokens"].to_numpy()
    assert state(with_columns(analysed, flops=six), 2) == NOT_DONE


def test_rates_count_as_tuned_only_where_the_best_lies_inside(analysed):
    rows = analysed.table.num_rows
    alike = dict(params=1e4, tokens=1e6)
    loss = np.full(rows, 3.0)
    loss[1] = 2.0
    rates = np.linspace(1e-3, 2e-3, rows)
    assert state(with_columns(analysed, **alike, lr=rates, loss=loss), 9) == DONE
    assert state(with_columns(analysed, **alike, lr=np.roll(rates, 1), loss=loss), 9) == NOT_DONE


def test_the_winner_needs_a_second_seed(analysed):
    rows = analysed.table.num_rows
    assert state(with_columns(analysed, params=1e4, tokens=1e6, seed=np.arange(rows)), 10) == DONE
    assert state(with_columns(analysed, seed=pa.nulls(rows, pa.float64()).to_pylist()), 10) == UNKNOWN


def test_runs_that_diverged_are_seen(analysed):
    left = (LeftOut(run_id="a", reason="diverged"),)
    assert state(replace(analysed, selection=replace(analysed.selection, left_out=left)), 23) == DONE


def test_the_reporting_questions_are_all_answered(analysed, unheld):
    for found in (analysed, unheld):
        rows = questions(found)
        assert len(rows) > 15 and all(text for _, text in rows)


def test_without_runs_and_without_a_fit_every_point_is_still_answered(analysed):
    bare = replace(analysed, surface=None, isoflop=None, forecast=None)
    empty = replace(bare, selection=replace(bare.selection, table=bare.table.slice(0, 0)))
    for found in (bare, empty):
        assert len(checklist(found)) == 25 and questions(found)

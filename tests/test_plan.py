from dataclasses import replace

import pytest

from scaling.config import Source, run_id
from scaling.counts import flops_per_token
from scaling.hardware import HARDWARE
from scaling.plan import Cell, Dropped, Study, manifest, pin, price, trunks_first
from scaling.sweeps import branches, chain, grid, valid


def study_of(cells):
    return Study(
        name="s", question="?", published="p", shows="a", cannot_show="b", forecast_flops=1e12, cells=tuple(cells)
    )


def test_a_study_without_runs_is_refused():
    with pytest.raises(ValueError, match="study 's' plans no runs"):
        study_of([])


def test_a_branch_without_its_trunk_is_refused(run):
    _, branch = branches(run, [100 * run.batch_tokens])
    with pytest.raises(ValueError, match=r"follows trunk .* which is not among its cells"):
        study_of([branch])


def test_trunks_come_before_their_branches_whatever_the_order(run):
    cells = branches(run, [100 * run.batch_tokens, 200 * run.batch_tokens])
    ordered = trunks_first(reversed(cells))
    assert ordered[0].role == "trunk"
    assert len(ordered) == 3


def test_pinning_the_data_renames_the_trunk_in_its_branches(run):
    pinned = pin(study_of(branches(run, [100 * run.batch_tokens])), lambda data: replace(data, content="abc"))
    trunk, branch = pinned.cells
    assert branch.run.trunk.run_id == run_id(trunk.run)
    assert branch.run.data.content == "abc"


def test_the_trunk_is_paid_for_once(run):
    cells = branches(run, [100 * run.batch_tokens, 1000 * run.batch_tokens])
    priced = price(study_of(cells), HARDWARE["cpu-core"])
    own_tokens = (800 + 20 + 200) * run.batch_tokens
    assert priced.total("flops") == pytest.approx(own_tokens * flops_per_token(run.model).exact, rel=1e-12)


def test_a_manifest_names_every_run_with_its_role_budget_and_arm(run):
    cells = (Cell(run=run, budget=1e9, arm="wide"), Cell(run=replace(run, seed=1), role="trunk"))
    found = [
        {key: value for key, value in entry.items() if key not in ("config", "keep_tokens")}
        for entry in manifest(study_of(cells))["runs"]
    ]
    assert found == [
        {"run_id": run_id(run), "role": "cell", "budget": 1e9, "arm": "wide"},
        {"run_id": run_id(replace(run, seed=1)), "role": "trunk", "budget": None, "arm": ""},
    ]


def test_a_study_of_a_sweep_keeps_its_cells_and_what_it_dropped(run):
    sweep = valid(grid(run, {"model.heads": [2, 5]}))
    study = Study(name="s", question="?", published="p", shows="a", cannot_show="b", forecast_flops=1e12, cells=sweep)
    assert study.cells == sweep.kept
    assert study.dropped == sweep.dropped
    assert replace(study, name="t").dropped == sweep.dropped


def test_a_manifest_counts_what_was_dropped_by_its_reasons_and_shows_the_first_rows(run):
    many = tuple(Dropped(row=f"row {place}", reason="too long" if place % 3 else "too short") for place in range(90))
    found = manifest(replace(study_of([Cell(run=run)]), dropped=many, later=4))
    assert found["later"] == 4
    assert found["dropped"]["rows"] == 90
    assert found["dropped"]["reasons"] == {"too long": 60, "too short": 30}
    assert found["dropped"]["first"][:1] == [{"row": "row 0", "reason": "too short"}]
    assert len(found["dropped"]["first"]) == 20


def test_a_study_that_drops_everything_says_why(run):
    with pytest.raises(ValueError, match=r"plans no runs.*1 rows were dropped.*heads=5 does not divide"):
        replace(study_of([Cell(run=run)]), cells=valid(grid(run, {"model.heads": [5]})))


def test_cells_that_are_neither_a_tuple_nor_a_sweep_are_refused(run):
    with pytest.raises(ValueError, match="cells is a list; give a tuple of Cell, or a sweep"):
        replace(study_of([Cell(run=run)]), cells=[Cell(run=run)])


def test_two_configs_under_one_id_are_refused_with_what_sets_them_apart(run):
    again = replace(run, data=replace(run.data, max_epochs=4.0))
    assert run_id(again) == run_id(run)
    with pytest.raises(ValueError, match=r"two different configs have the id .*data.max_epochs is 1.0 in one and 4.0"):
        study_of([Cell(run=run), Cell(run=again)])


def test_two_corpora_are_told_apart_before_they_are_prepared_and_after(run):
    other = replace(run, data=replace(run.data, source=Source(kind="folder", path="other")))
    assert run_id(other) == run_id(run)  # what they hold is not known yet
    horizons = [100 * run.batch_tokens]
    study = study_of(chain(branches(run, horizons), branches(other, horizons)))
    assert len(study.cells) == 4
    pinned = pin(study, lambda data: replace(data, content=data.source.path or "stdlib"))
    assert len({run_id(run) for run in pinned.runs}) == 4
    for trunk, branch in (pinned.cells[:2], pinned.cells[2:]):
        assert branch.run.trunk.run_id == run_id(trunk.run)


def test_two_sources_of_the_same_text_are_one_run_and_refused(run):
    other = replace(run, data=replace(run.data, source=Source(kind="folder", path="other")))
    study = study_of([Cell(run=run), Cell(run=other)])
    with pytest.raises(ValueError, match=r"two different configs have the id .*data.source is Source"):
        pin(study, lambda data: replace(data, content="same"))

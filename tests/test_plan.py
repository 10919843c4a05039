from dataclasses import replace

import numpy as np
import pytest

from scaling.config import run_id
from scaling.counts import flops_per_token
from scaling.hardware import HARDWARE
from scaling.plan import (
    Cell,
    Study,
    branches,
    chain,
    grid,
    isoflop,
    ladder,
    manifest,
    pin,
    price,
    repeated,
    round_tokens,
    trunks_first,
    vary,
    zipped,
)


def study_of(cells):
    return Study(
        name="s", question="?", published="p", shows="a", cannot_show="b", forecast_flops=1e12, cells=tuple(cells)
    )


@pytest.fixture
def models(model):
    return [replace(model, dim=dim) for dim in (8, 16, 24, 32, 48, 64)]


@pytest.fixture
def run_of(run):
    return lambda model: replace(run, model=model)


def test_a_grid_is_every_combination_the_last_axis_fastest(run):
    cells = grid(run, {"optim.lr": [0.1, 0.2], "seed": [0, 1, 2]})
    assert [(cell.run.optim.lr, cell.run.seed) for cell in cells] == [
        (0.1, 0), (0.1, 1), (0.1, 2), (0.2, 0), (0.2, 1), (0.2, 2),
    ]  # fmt: skip


def test_zipped_axes_go_together(run):
    cells = zipped(run, {"optim.lr": [0.1, 0.2], "seed": [3, 4]})
    assert [(cell.run.optim.lr, cell.run.seed) for cell in cells] == [(0.1, 3), (0.2, 4)]


def test_zipped_axes_of_different_length_are_refused(run):
    with pytest.raises(ValueError, match="zipped axes differ in length"):
        zipped(run, {"optim.lr": [0.1], "seed": [3, 4]})


def test_a_misspelt_axis_is_refused_with_the_fields_there_are(run):
    with pytest.raises(ValueError, match="no field 'lrr' in OptimConfig; it has lr, beta1"):
        vary(run, "optim.lrr", 1.0)


def test_chained_sweeps_plan_a_common_run_once_and_keep_their_order(run):
    first, second = grid(run, {"seed": [0, 1]}), grid(run, {"seed": [1, 2]})
    assert [cell.run.seed for cell in chain(first, second)] == [0, 1, 2]


def test_branches_share_one_trunk_that_ends_where_the_longest_leaves_it(run):
    step = run.batch_tokens
    trunk, short, long = branches(run, [100 * step, 1000 * step], warmup_fraction=0.05)
    assert trunk.role == "trunk"
    assert trunk.run.schedule.kind == "constant"
    assert trunk.run.tokens == long.run.trunk.tokens == 800 * step
    assert short.run.trunk.tokens == 80 * step
    assert {cell.run.trunk.run_id for cell in (short, long)} == {run_id(trunk.run)}
    assert {cell.run.schedule.warmup_tokens for cell in (trunk, short, long)} == {5 * step}


def test_an_isoflop_cell_spends_its_budget_within_half_a_step(run_of, models):
    budgets = (2e9, 1e10)
    cells = [cell for cell in isoflop(run_of, models, budgets, sizes_per_budget=4) if cell.role == "cell"]
    assert sorted(cell.budget for cell in cells) == [2e9] * 4 + [1e10] * 4
    for cell in cells:
        per_token = flops_per_token(cell.run.model).exact
        assert abs(cell.run.tokens * per_token - cell.budget) <= per_token * cell.run.batch_tokens / 2


def test_larger_budgets_take_larger_models(run_of, models):
    cells = [cell for cell in isoflop(run_of, models, (2e9, 1e11), sizes_per_budget=4) if cell.role == "cell"]
    means = {budget: np.mean([c.run.model.dim for c in cells if c.budget == budget]) for budget in (2e9, 1e11)}
    assert means[2e9] < means[1e11]


def test_a_budget_that_no_size_can_meet_is_refused_before_anything_runs(run_of, models):
    with pytest.raises(ValueError, match=r"budget 1e\+03 FLOPs: 0 of 6 sizes get at least 20 steps.*Raise the budget"):
        isoflop(run_of, models, (1e3,), sizes_per_budget=4)


def test_repeated_cells_are_the_same_runs_on_other_seeds(run_of, models):
    cells = isoflop(run_of, models, (2e9, 1e10, 5e10), sizes_per_budget=4)
    again = [cell for cell in repeated(cells, [7]) if cell.role == "cell"]
    originals = {replace(cell.run, trunk=None): cell.budget for cell in cells}
    assert len(again) == 2
    for cell in again:
        assert cell.run.seed == 7
        assert originals[replace(cell.run, seed=0, trunk=None)] == cell.budget


def test_a_ladder_trains_every_model_at_every_ratio(run_of, models):
    cells = ladder(run_of, models[:2], [10.0, 40.0])
    assert len(cells) == 4
    assert cells[1].run.tokens == pytest.approx(4 * cells[0].run.tokens, rel=0.02)  # rounded to whole steps


def test_tokens_are_rounded_to_whole_steps_and_at_least_one():
    assert [round_tokens(count, 64) for count in (1, 95, 97, 640)] == [64, 64, 128, 640]


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

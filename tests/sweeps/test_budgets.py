from dataclasses import replace

import numpy as np
import pytest

from scaling.config import Mixture, Part, Stage, run_id
from scaling.counts import flops_per_token
from scaling.sweeps import arm, branches, grid, isoflop, ladder, repeated, round_tokens, seeds


@pytest.fixture
def models(model):
    return [replace(model, dim=dim) for dim in (8, 16, 24, 32, 48, 64)]


@pytest.fixture
def run_of(run):
    return lambda model: replace(run, model=model)


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


def test_branches_of_a_sweep_are_those_of_each_of_its_runs_in_its_arm(run):
    horizons = [100 * run.batch_tokens, 200 * run.batch_tokens]
    sweep = branches(arm(grid(run, {"optim.lr": [1e-3, 2e-3]}), lambda row: f"lr {row['optim.lr']}"), horizons)
    assert [(cell.arm, cell.run.optim.lr, cell.role) for cell in sweep] == [
        (f"lr {lr}", lr, role) for lr in (1e-3, 2e-3) for role in ("trunk", "cell", "cell")
    ]


def test_branches_of_a_branch_are_varied_with_their_trunk(run):
    sweep = seeds(branches(run, [100 * run.batch_tokens, 200 * run.batch_tokens]), [0, 7])
    assert len(sweep) == 6
    trunks = {run_id(cell.run): cell.run for cell in sweep if cell.role == "trunk"}
    for cell in sweep:
        if cell.role == "cell":
            assert trunks[cell.run.trunk.run_id].seed == cell.run.seed
    # The same as branching each seed's run.
    assert set(sweep) == set(branches(seeds(run, [0, 7]), [100 * run.batch_tokens, 200 * run.batch_tokens]))


def test_what_a_trunk_and_its_branches_share_is_not_varied_after_branching(run):
    with pytest.raises(ValueError, match=r"'schedule.decay_fraction' is fixed between a trunk and its branches"):
        list(grid(branches(run, [100 * run.batch_tokens]), {"schedule.decay_fraction": [0.1]}))


def test_sizes_that_a_budget_is_too_small_for_are_dropped_with_the_steps_they_would_get(run_of, models):
    # A hundredth of a token a parameter: models so large get too few steps.
    found = isoflop(run_of, models, (4e8,), sizes_per_budget=3, tokens_per_param=0.01)
    assert found.dropped
    for row in found.dropped:
        assert row.row.startswith("budget 4e+08, ")
        assert int(row.reason.split()[0]) < 20
    assert len([cell for cell in found if cell.role == "cell"]) == 3


def annealed(run, start):
    parts = (Part(name="a"), Part(name="b"))
    mixture = Mixture(parts=parts, weights=(0.5, 0.5), stages=(Stage(start=start, weights=(0.0, 1.0)),))
    return replace(run, data=replace(run.data, mixture=mixture))


def test_stages_are_the_branches_alone_and_begin_with_their_cooldowns(run):
    step = run.batch_tokens
    trunk, short, long = branches(annealed(run, 0.8), [100 * step, 1000 * step])
    assert trunk.run.data.mixture.stages == ()
    for cell in (short, long):
        (stage,) = cell.run.data.mixture.stages
        assert stage.first_step(cell.run.steps) * step == cell.run.trunk.tokens
    with pytest.raises(
        ValueError, match=r"a stage begins at .* but its trunk is followed up to .*: start it at 0\.8 or"
    ):
        branches(annealed(run, 0.7), [100 * step])


def test_weights_may_be_varied_after_the_branching_and_stages_may_not(run):
    sweep = branches(annealed(run, 0.8), [100 * run.batch_tokens])
    found = grid(sweep, {"data.mixture.weights": [(0.2, 0.8), (0.7, 0.3)]})
    trunks = {run_id(cell.run): cell.run.data.mixture.weights for cell in found if cell.role == "trunk"}
    ends = {cell.run.trunk.run_id: cell.run.data.mixture.weights for cell in found if cell.role == "cell"}
    assert trunks == ends and len(trunks) == 2
    with pytest.raises(ValueError, match="stages' are its branches' alone; vary them before `branches`"):
        len(grid(sweep, {"data.mixture.stages": [(Stage(start=0.9, weights=(0.0, 1.0)),)]}))

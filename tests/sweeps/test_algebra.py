import subprocess
import sys
from dataclasses import replace

import pytest

from scaling.plan import Dropped
from scaling.sweeps import arm, branches, chain, derive, grid, product, seeds, valid, vary, where, zipped


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


def test_the_same_run_in_two_arms_is_planned_as_the_first_says(run):
    sweep = chain(arm(run, "a"), arm(run, "b"))
    assert [cell.arm for cell in sweep] == ["a"]
    assert [row.reason for row in sweep.named_twice] == ["the same run is planned already, with arm 'a'"]
    assert chain(run, run).named_twice == ()  # nothing is lost


def test_a_product_is_every_pairing_of_the_changes_of_its_sweeps(run):
    rates = grid(run, {"optim.lr": [0.1, 0.2]})
    pairs = zipped(run, {"seed": [1, 2], "optim.beta2": [0.9, 0.99]})
    found = [(cell.run.optim.lr, cell.run.seed, cell.run.optim.beta2) for cell in product(rates, pairs)]
    assert found == [(0.1, 1, 0.9), (0.1, 2, 0.99), (0.2, 1, 0.9), (0.2, 2, 0.99)]


def test_a_product_is_the_same_as_varying_one_sweep_by_the_others_axes(run):
    pairs = {"seed": [1, 2], "optim.beta2": [0.9, 0.99]}
    rates = grid(run, {"optim.lr": [0.1, 0.2]})
    assert product(rates, zipped(run, pairs)) == zipped(rates, pairs)


def test_a_product_of_sweeps_of_different_runs_is_refused(run):
    with pytest.raises(ValueError, match=r"2 sweeps vary 2 different runs; .* grid"):
        product(grid(run, {"optim.lr": [0.1]}), grid(replace(run, seed=9), {"batch": [4]}))


def test_an_axis_that_is_varied_twice_is_refused(run):
    rates = grid(run, {"optim.lr": [0.1]})
    with pytest.raises(ValueError, match=r"'optim.lr' is varied twice"):
        grid(rates, {"optim.lr": [0.2]})
    with pytest.raises(ValueError, match=r"'optim' is varied twice: 'optim.lr' is an axis"):
        grid(rates, {"optim": [run.optim]})


@pytest.mark.parametrize(
    ("axes", "said"),
    [({}, "no axes"), ({"seed": []}, "axis 'seed' has no values"), ({"precision": "float32"}, "give its values in a")],
)
def test_axes_without_values_are_refused(run, axes, said):
    with pytest.raises(ValueError, match=f"grid: .*{said}"):
        grid(run, axes)


def test_changes_count_together_so_that_neither_alone_need_be_valid(run):
    # 24 is not divisible by the 16 heads of the first step, until the second sets them.
    sweep = grid(grid(run, {"model.heads": [3]}), {"model.dim": [24]})
    assert [(cell.run.model.dim, cell.run.model.heads) for cell in sweep] == [(24, 3)]


def test_a_field_is_derived_from_others_and_from_what_was_derived_before(run):
    sweep = grid(run, {"model.dim": [16, 32, 64], "optim.lr": [1e-2]})
    sweep = derive(sweep, "model.heads", lambda row: row["model.dim"] // 8)
    sweep = derive(sweep, "optim.lr", lambda row: row["optim.lr"] * 2 / row["model.heads"])
    assert [(cell.run.model.heads, cell.run.optim.lr) for cell in sweep] == [(2, 1e-2), (4, 5e-3), (8, 2.5e-3)]


def test_a_derived_field_sees_whole_parts_with_their_changes(run):
    sweep = derive(grid(run, {"model.dim": [16, 32]}), "seed", lambda row: row["model"].hidden_dim)
    assert [cell.run.seed for cell in sweep] == [cell.run.model.hidden_dim for cell in sweep]


def test_rows_that_a_condition_refuses_are_dropped_with_its_reason(run):
    sweep = where(grid(run, {"seed": [0, 1, 2]}), lambda run: run.seed != 1, "one is unlucky")
    assert [cell.run.seed for cell in sweep] == [0, 2]
    assert sweep.dropped == (Dropped(row="seed=1", reason="one is unlucky"),)


def test_a_row_whose_config_is_refused_raises_with_the_row_unless_the_sweep_says_valid(run):
    sweep = grid(run, {"model.heads": [2, 5]})
    with pytest.raises(ValueError, match=r"row model.heads=5: .*heads=5 does not divide dim=16.*`valid` leaves"):
        list(sweep)
    with pytest.raises(ValueError, match=r"row model.heads=5: .*The step `valid`, before this one"):
        where(sweep, lambda run: True, "")
    (dropped,) = valid(sweep).dropped
    assert dropped.row == "model.heads=5"
    assert "heads=5 does not divide dim=16" in dropped.reason
    assert [cell.run.model.heads for cell in valid(sweep)] == [2]


@pytest.mark.parametrize("value", ["fast", 0.5])
def test_a_value_of_the_wrong_type_is_refused_with_its_row(run, value):
    with pytest.raises(ValueError, match=f"row seed={value}: .*seed"):
        list(grid(run, {"seed": [value]}))


def test_equal_values_of_other_types_stay_what_they_are(run):
    cells = grid(run, {"optim.clip": [1.5, 2, 2.0], "model.layers": [1, 2]})
    assert [repr(cell.run.optim.clip) for cell in cells] == ["1.5", "1.5", "2", "2"]  # one run, as first named
    (_, second, third), kinds = (row["optim"] for row in cells.rows[::2]), (int, float)
    assert (type(second.clip), type(third.clip)) == kinds


def test_every_row_is_either_kept_or_dropped(run):
    sweep = valid(grid(run, {"model.dim": [8, 12, 16, 20], "model.heads": [1, 2, 3, 4, 5]}))
    assert len(sweep) + len(sweep.dropped) == 20


def test_a_trunk_goes_when_its_last_branch_does_and_not_before(run):
    step = run.batch_tokens
    sweep = seeds(branches(run, [100 * step, 200 * step]), 2)
    short = where(sweep, lambda run: run.tokens <= 100 * step, "too long")
    assert [(cell.role, cell.run.seed) for cell in short] == [("trunk", 0), ("trunk", 1), ("cell", 0), ("cell", 1)]
    one = where(sweep, lambda run: run.seed == 0, "one seed is enough")
    assert {cell.run.seed for cell in one} == {0}
    assert [row.reason for row in one.dropped] == ["one seed is enough"] * 2 + ["a trunk that no run is left to follow"]


def test_dropped_rows_stay_through_every_later_step(run):
    sweep = valid(grid(run, {"model.heads": [2, 5]}))
    for later in (seeds(sweep, 2), chain(sweep, run), arm(sweep, "a"), derive(sweep, "seed", lambda row: 3)):
        assert later.dropped == sweep.dropped
    assert branches(sweep, [100 * run.batch_tokens]).dropped == sweep.dropped


def test_sweeps_are_equal_when_their_rows_are_and_print_one_line_a_row(run):
    made = [valid(grid(run, {"model.heads": [2, 5], "optim.lr": [1e-3]})) for _ in range(2)]
    assert made[0] == made[1]
    kept, dropped = str(made[0]).splitlines()
    assert kept == "model.heads=2, optim.lr=0.001"
    assert dropped.startswith("dropped: model.heads=5, optim.lr=0.001: ")


def test_sweeping_imports_no_jax():
    code = "import sys, scaling.sweeps; sys.exit('jax' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

from dataclasses import replace

import pytest

from scaling.config import run_id
from scaling.hardware import HARDWARE
from scaling.plan import Study, price
from scaling.sweeps import Rung, branches, chain, decided, grid, random, seeds, successive_halving
from scaling.sweeps.halving import undecided
from scaling.sweeps.search import Range

RATES = Range(low=1e-4, high=1e-1, scale="log")


@pytest.fixture
def halving(run):
    step = run.batch_tokens
    return successive_halving(random(run, {"optim.lr": RATES}, 9), shortest=50 * step, longest=450 * step, factor=3)


def ends(sweep, tokens):
    return [cell for cell in sweep if cell.role == "cell" and cell.run.tokens == tokens]


def losses_of(cells, rate=lambda lr: abs(lr - 3e-3)):
    return {run_id(cell.run): rate(cell.run.optim.lr) for cell in cells if cell.role == "cell"}


def test_rungs_are_a_third_of_the_runs_for_three_times_the_tokens(halving, run):
    step = run.batch_tokens
    assert halving.rungs == (
        Rung(runs=9, tokens=50 * step), Rung(runs=3, tokens=150 * step), Rung(runs=1, tokens=450 * step),
    )  # fmt: skip


def test_rungs_end_with_one_run_or_with_the_longest_horizon(run):
    four = seeds(run, 4)
    assert [rung.runs for rung in successive_halving(four, shortest=1e4, longest=1e9, factor=2).rungs] == [4, 2, 1]
    assert [rung.runs for rung in successive_halving(four, shortest=1e4, longest=3e4, factor=2).rungs] == [4, 2]


def test_only_the_first_rung_is_decided_before_there_are_losses(halving, run):
    found = decided(halving, {})
    assert len(found) == 18  # a trunk and a cooldown each
    assert {cell.run.tokens for cell in found if cell.role == "cell"} == {50 * run.batch_tokens}


def test_what_is_not_decided_yet_is_counted(halving):
    assert undecided(halving, {}) == 4
    first = losses_of(decided(halving, {}))
    assert undecided(halving, first) == 1
    second = first | losses_of(decided(halving, first))
    assert undecided(halving, second) == 0
    assert undecided(halving, dict.fromkeys(first)) == 0  # all diverged: nothing goes on


def test_a_rung_with_a_loss_missing_decides_nothing(halving):
    first = decided(halving, {})
    losses = losses_of(first)
    losses.popitem()
    assert decided(halving, losses) == first


def test_the_best_of_each_rung_go_on_and_what_was_planned_stays(halving, run):
    first = decided(halving, {})
    second = decided(halving, losses_of(first))
    best = sorted(losses_of(first).values())[:3]
    on = ends(second, 150 * run.batch_tokens)
    assert sorted(losses_of(on).values()) == best
    assert second.kept[: len(first)] == first.kept
    third = decided(halving, losses_of(second))
    assert list(losses_of(ends(third, 450 * run.batch_tokens)).values()) == best[:1]
    assert decided(halving, losses_of(third)) == third


def test_a_run_that_diverged_never_goes_on(halving, run):
    first = decided(halving, {})
    cells = ends(first, 50 * run.batch_tokens)
    values = [None, float("nan"), 2.0, float("inf"), *[None] * 5]
    losses = {run_id(cell.run): value for cell, value in zip(cells, values, strict=True)}
    on = ends(decided(halving, losses), 150 * run.batch_tokens)
    assert [cell.run.optim.lr for cell in on] == [cells[2].run.optim.lr]


def test_of_equal_losses_the_earlier_candidates_go_on(run):
    step = run.batch_tokens
    halving = successive_halving(seeds(run, 4), shortest=50 * step, longest=100 * step, factor=2)
    first = decided(halving, {})
    on = ends(decided(halving, losses_of(first, rate=lambda _: 1.0)), 100 * step)
    assert [cell.run.seed for cell in on] == [0, 1]


def test_a_later_rung_follows_the_trunk_of_the_one_before_and_pays_only_for_what_is_new(run):
    step = run.batch_tokens
    halving = successive_halving(run, shortest=50 * step, longest=150 * step, factor=3)
    halving = replace(halving, rungs=(Rung(runs=1, tokens=50 * step), Rung(runs=1, tokens=150 * step)))
    sweep = decided(halving, losses_of(decided(halving, {})))
    study = Study(name="s", question="?", published="", shows="", cannot_show="", forecast_flops=1.0, cells=sweep)
    priced = price(study, HARDWARE["cpu-core"])
    # Trunks of 40 and 80 more steps, cooldowns of 10 and 30: one trunk with two branches costs the same.
    together = branches(run, [50 * step, 150 * step])
    other = price(replace(study, cells=together.kept), HARDWARE["cpu-core"])
    assert priced.total("flops") == pytest.approx(other.total("flops"), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factor": 1}, "factor=1; give at least 2"),
        ({"shortest": 0}, "give 0 < shortest <= longest"),
        ({"shortest": 1e9}, "give 0 < shortest <= longest"),
    ],
)
def test_rungs_that_are_none_are_refused(run, options, said):
    with pytest.raises(ValueError, match=said):
        successive_halving(run, **{"shortest": 1e4, "longest": 1e5, **options})


def test_runs_with_trunks_of_their_own_are_refused(run):
    with pytest.raises(ValueError, match="without branches"):
        successive_halving(branches(run, [100 * run.batch_tokens]), shortest=1e4, longest=1e5)


def test_what_the_candidates_dropped_stays_dropped(run):
    candidates = replace(grid(run, {"seed": [0, 1]}), dropped=("kept along",))
    halving = successive_halving(candidates, shortest=1e4, longest=1e5)
    assert decided(halving, {}).dropped == chain(candidates).dropped == ("kept along",)

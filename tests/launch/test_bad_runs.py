"""Runs of a search that are stopped early: which may be, which are, and what is left of them."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from analysis.tables.records import from_records
from analysis.tables.selection import STOPPED, select
from analysis.tables.table import canonical
from launch import local
from launch.bad_runs import LOOKS, judge_of
from launch.overview import overview
from launch.planned import plan_of
from launch.pool import Message
from launch.progress import Progress
from launch.status import states
from launch.sweep import begin
from scaling.config import OptimConfig, Placement, ScheduleConfig, run_id
from scaling.data.prepare import prepare
from scaling.outcome import record_of, stopped_record
from scaling.plan import Cell, Study, pin
from scaling.provenance import provenance
from scaling.record import Heldout, RunDirectory, Tokens, read_record, write_config, write_record
from scaling.sweeps import branches, chain, grid
from scaling.training.loop import train
from scaling.workspace import Workspace
from tests.launch.tiny import STEP, run_of

QUIET = Placement(tracking="off")
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
BAD = RATES[2]  # within the rates that ended, so that the forecast is no extrapolation
STEPS = 200


def told():
    return Progress(Console(file=io.StringIO(), width=200))


def study_of(cells):
    words = dict.fromkeys(("question", "published", "shows", "cannot_show"), "?")
    return Study(name="search", forecast_flops=1e9, cells=cells, **words)


@pytest.fixture
def base(corpus):
    run = run_of(corpus)
    return replace(run, tokens=STEPS * STEP, data=replace(run.data, content="c" * 64, max_epochs=1e6))


@pytest.fixture
def searched(base):
    return study_of(grid(base, {"optim.lr": RATES}))


def rows(level, seed, steps=STEPS):
    """A curve that falls to `level` as a power law, with a noise of half a percent."""
    at = np.arange(1, steps + 1)
    losses = level * (at / STEPS) ** -0.1 * np.exp(np.random.default_rng(seed).normal(0, 0.005, steps))
    plain = {"flops": 1.0, "lr": 1e-3, "grad_norm": 1.0, "step_seconds": 0.5, "auxiliary": 0.0, "dropped": 0.0}
    return [
        {"step": int(k), "tokens": int(k) * STEP, "loss": float(x)} | plain for k, x in zip(at, losses, strict=True)
    ]


def finish(workspace, run, level, seed):
    directory = RunDirectory(workspace.runs / run_id(run))
    write_config(directory, run)
    pq.write_table(pa.Table.from_pylist(rows(level, seed)), directory.curve)
    loss = 0.95 * level
    record = record_of(
        run, QUIET, status="finished", message="", curve=directory.curve,
        heldout=Heldout(loss=loss, loss_se=0.01, bits_per_byte=1.0, bits_per_byte_se=0.1, sequences=4, tokens=64),
        tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=1, epochs=1.0), started_from_tokens=0,
        device_seconds=1.0, wall_seconds=1.0, attempts=1, made_with=provenance("cpu", 1),
    )  # fmt: skip
    write_record(directory, record)


def under_way(workspace, run, level, steps):
    directory = RunDirectory(workspace.runs / run_id(run))
    write_config(directory, run)
    directory.live_curve.write_text("".join(json.dumps(row) + "\n" for row in rows(level, 99, steps)))


@pytest.fixture
def trained(searched, tmp_path):
    """All rates but BAD have ended near 3; a function trains that one so far."""
    workspace = Workspace(root=tmp_path)
    for seed, run in enumerate(searched.runs):
        if run.optim.lr != BAD:
            finish(workspace, run, 3.0 + 0.02 * seed, seed)
    (run,) = (run for run in searched.runs if run.optim.lr == BAD)

    def make(level, steps=STEPS // 2):
        under_way(workspace, run, level, steps)
        return workspace, run

    return make


def test_a_run_that_is_far_worse_is_bad_and_the_reason_holds_the_numbers(searched, trained):
    workspace, run = trained(4.0)
    bad = judge_of(searched, workspace, 0.99).look(run, STEPS // 2)
    assert bad.best.run_id == run_id(searched.runs[0])
    assert f"at {LOOKS[0]:.0%} of its tokens" in bad.reason and "0.99 confidence, by 4 runs" in bad.reason
    assert f"{bad.best.run_id} ended at 2.8500" in bad.reason


@pytest.mark.parametrize("level", [2.5, 3.0, 3.06])
def test_a_run_that_is_better_or_as_good_is_not(searched, trained, level):
    workspace, run = trained(level)
    assert judge_of(searched, workspace, 0.99).look(run, STEPS // 2) is None


def test_a_run_is_judged_at_each_share_once_and_not_before_the_first(searched, trained):
    workspace, run = trained(4.0)
    judge = judge_of(searched, workspace, 0.99)
    assert judge.look(run, int(LOOKS[0] * STEPS) - 1) is None
    assert judge.look(run, int(LOOKS[0] * STEPS)) is not None
    assert judge.look(run, int(LOOKS[0] * STEPS) + 1) is None


def test_a_run_without_ended_competitors_is_not_judged(searched, tmp_path):
    workspace = Workspace(root=tmp_path)
    under_way(workspace, searched.runs[0], 9.0, STEPS // 2)
    assert judge_of(searched, workspace, 0.99).look(searched.runs[0], STEPS // 2) is None


def test_sizes_lengths_seeds_schedules_arms_budgets_and_branches_are_not_compared(base, tmp_path):
    cells = (
        Cell(run=base),
        Cell(run=replace(base, optim=OptimConfig(lr=0.5)), arm="other"),
        Cell(run=replace(base, optim=OptimConfig(lr=0.25)), budget=1e9),
        *(Cell(run=run) for run in (
            replace(base, seed=1), replace(base, tokens=2 * base.tokens), replace(base, batch=8),
            replace(base, model=replace(base.model, dim=32)), replace(base, schedule=ScheduleConfig(kind="cosine")),
            replace(base, optim=OptimConfig(lr=1.0, label_smoothing=0.1)),
        )),
        *chain(*(branches(replace(base, optim=OptimConfig(lr=lr)), [base.tokens]) for lr in (0.1, 0.2))),
    )  # fmt: skip
    with pytest.raises(ValueError, match="study 'search' has no runs that differ in nothing but the optimizer's"):
        judge_of(study_of(cells), Workspace(root=tmp_path), 0.99)


@pytest.mark.parametrize("confidence", [0.0, 0.4, 1.0, 99.0])
def test_a_confidence_that_is_none_is_refused(searched, tmp_path, confidence):
    with pytest.raises(ValueError, match=f"--stop-bad {confidence}: give the confidence"):
        judge_of(searched, Workspace(root=tmp_path), confidence)


class Busy:
    def __init__(self, task):
        self.task = task


def test_a_bad_run_is_asked_to_stop_recorded_and_shown_and_trained_on_without_the_option(searched, trained):
    workspace, run = trained(4.0)
    judge, directory = judge_of(searched, workspace, 0.99), RunDirectory(workspace.runs / run_id(run))
    sweep = begin(searched, workspace, QUIET, judge)
    worker = Busy(sweep.left[run_id(run)])
    screen = told()
    live = {"event": "live", "run_id": run_id(run), "step": STEPS // 2, "steps": STEPS}
    local._hear(sweep, Message(worker, live), [worker], None, screen)
    assert directory.cancel.exists() and run_id(run) in sweep.left
    local._hear(sweep, Message(worker, {"event": "cancelled", "run_id": run_id(run)}), [worker], None, screen)
    assert sweep.outcomes[run_id(run)] == "stopped" and worker.task is None and not directory.cancel.exists()
    record = read_record(directory.record)
    assert (record.status, record.heldout, record.tokens.seen) == ("stopped", None, STEPS // 2 * STEP)
    assert record.cost.device_seconds == pytest.approx(0.5 * STEPS // 2)
    assert record.message in screen._console.file.getvalue()

    plan = plan_of(searched)
    (state,) = (state for state in states(plan, workspace) if state.run_id == run_id(run))
    assert (state.state, state.step, state.message) == ("stopped", STEPS // 2, record.message)
    assert overview(plan, states(plan, workspace)).counts == {"finished": 4, "stopped": 1}
    selection = select(canonical(from_records(workspace.runs), "runs"))
    assert [(item.run_id, item.reason) for item in selection.left_out] == [(run_id(run), STOPPED)]

    assert begin(searched, workspace, QUIET, judge).left == {}
    assert set(begin(searched, workspace, QUIET).left) == {run_id(run)}


def test_a_run_that_ends_before_it_hears_has_finished_and_is_asked_no_more(searched, trained):
    workspace, run = trained(4.0)
    sweep = begin(searched, workspace, QUIET, judge_of(searched, workspace, 0.99))
    worker = Busy(sweep.left[run_id(run)])
    live = {"event": "live", "run_id": run_id(run), "step": STEPS // 2, "steps": STEPS}
    local._hear(sweep, Message(worker, live), [worker], None, told())
    done = {"event": "done", "run_id": run_id(run), "status": "finished", "loss": 3.9, "message": ""}
    local._hear(sweep, Message(worker, done), [worker], None, told())
    assert sweep.outcomes[run_id(run)] == "finished" and sweep.stopping == {}
    assert not RunDirectory(workspace.runs / run_id(run)).cancel.exists()


@pytest.mark.slow
def test_of_a_real_search_the_rate_that_learns_nothing_is_bad_and_can_be_trained_to_its_end(corpus, tmp_path):
    base = run_of(corpus)
    base = replace(base, data=replace(base.data, max_epochs=1e6), tokens=400 * STEP)
    store = prepare(base.data, tmp_path, lambda line: None)
    rates = (3e-3, 5e-3, 8e-3, 1.2e-2, 2e-2, 7e-3, 1e-4)  # good ones, another good one, a bad one
    study = study_of(grid(base, {"optim.lr": rates}))
    study = pin(study, lambda data: replace(data, content=store.manifest.content))
    *ended, good, bad = study.runs
    workspace = Workspace(root=tmp_path)
    for run in ended:
        assert train(run, workspace.runs, store, placement=QUIET).status == "finished"
    for run in (good, bad):  # trained elsewhere, and shown here as far as the last look
        train(run, tmp_path / "elsewhere", store, placement=QUIET)
        found = pq.read_table(RunDirectory(tmp_path / "elsewhere" / run_id(run)).curve).to_pylist()
        directory = RunDirectory(workspace.runs / run_id(run))
        write_config(directory, run)
        directory.live_curve.write_text("".join(json.dumps(row) + "\n" for row in found[: round(LOOKS[2] * 400)]))
    judge = judge_of(study, workspace, 0.99)
    assert judge.look(good, round(LOOKS[2] * 400)) is None
    found = judge.look(bad, round(LOOKS[2] * 400))
    record = read_record(RunDirectory(tmp_path / "elsewhere" / run_id(bad)).record)
    assert record.heldout.loss > found.best.heldout.loss  # it would indeed have ended worse

    directory = RunDirectory(workspace.runs / run_id(bad))
    write_record(directory, stopped_record(bad, QUIET, found.reason, directory, found.best.provenance))
    assert train(bad, workspace.runs, store, placement=QUIET).heldout == record.heldout

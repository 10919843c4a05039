"""Which worker takes which run, and what is made ready before it does."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from launch.budget import Budget
from launch.dealing import hand_out, line_up
from launch.progress import Progress
from launch.sweep import begin
from scaling.config import Placement
from scaling.plan import Study
from scaling.record import RunDirectory, read_config
from scaling.sweeps import seeds
from scaling.workspace import Workspace
from tests.launch.tiny import run_of


class Idle:
    """A worker without a process."""

    def __init__(self):
        self.task, self.last_shape, self.given = None, None, []

    def give(self, task, placement, patience_seconds, store):
        self.task, self.last_shape = task, task.shape
        self.given.append(task.run_id)


@pytest.fixture
def sweep(corpus, tmp_path):
    words = dict.fromkeys(("question", "published", "shows", "cannot_show"), "?")
    run = run_of(corpus)
    cells = seeds(replace(run, data=replace(run.data, content="c" * 64)), 3)
    return begin(Study(name="dealt", forecast_flops=1e9, cells=cells, **words), Workspace(root=tmp_path), Placement())


@pytest.fixture
def told():
    return Progress(Console(file=io.StringIO(), width=200))


def ended(sweep, worker):
    sweep.left.pop(worker.task.run_id)
    worker.task = None


def test_the_folder_of_the_next_run_is_made_while_the_one_before_is_trained(sweep, told):
    worker = Idle()
    hand_out(sweep, [worker], told)
    line_up(sweep, [worker])
    (ahead,) = sweep.ahead.values()
    assert read_config(RunDirectory(sweep.workspace.runs / ahead.run_id)) == ahead.run
    assert ahead.run_id not in worker.given
    ended(sweep, worker)
    hand_out(sweep, [worker], told)
    assert worker.given[-1] == ahead.run_id and sweep.ahead == {}


def test_every_run_is_given_once_however_many_are_lined_up(sweep, told):
    workers = [Idle(), Idle()]
    while sweep.left:
        hand_out(sweep, workers, told)
        line_up(sweep, workers)
        ended(sweep, next(worker for worker in workers if worker.task))
    given = [name for worker in workers for name in worker.given]
    assert len(given) == len(set(given)) == 3


def test_an_idle_worker_takes_what_is_lined_up_for_a_busy_one_when_nothing_else_waits(sweep, told):
    busy, idle = Idle(), Idle()
    hand_out(sweep, [busy], told)
    line_up(sweep, [busy])
    (ahead,) = sweep.ahead.values()
    for name in set(sweep.left) - {busy.task.run_id, ahead.run_id}:
        sweep.left.pop(name)
    hand_out(sweep, [busy, idle], told)
    assert idle.given == [ahead.run_id]
    ended(sweep, busy)
    hand_out(sweep, [busy, idle], told)
    assert busy.task is None


def test_what_is_lined_up_for_a_worker_that_died_goes_to_another(sweep, told):
    dead, other = Idle(), Idle()
    hand_out(sweep, [dead], told)
    line_up(sweep, [dead])
    line_up(sweep, [other])
    assert sweep.ahead == {}


def test_a_run_that_is_cancelled_or_held_since_it_was_lined_up_is_not_begun(sweep, told):
    worker = Idle()
    hand_out(sweep, [worker], told)
    line_up(sweep, [worker])
    (ahead,) = sweep.ahead.values()
    RunDirectory(sweep.workspace.runs / ahead.run_id).cancel.touch()
    ended(sweep, worker)
    hand_out(sweep, [worker], told)
    assert sweep.outcomes == {ahead.run_id: "cancelled"} and worker.given[-1] != ahead.run_id

    sweep.left[ahead.run_id] = ahead
    sweep.ahead[worker] = ahead
    sweep.held.add(ahead.run_id)
    ended(sweep, worker)
    hand_out(sweep, [worker], told)
    assert worker.task is None


def test_within_a_budget_nothing_is_lined_up_for_what_runs_took_decides(sweep, told):
    worker = Idle()
    sweep.budget = Budget(device_hours=1.0, dollars_per_hour=0.0)
    hand_out(sweep, [worker], told)
    line_up(sweep, [worker])
    assert worker.task is not None and sweep.ahead == {}

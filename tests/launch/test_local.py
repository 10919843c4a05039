"""The pool with real worker processes."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launch import dealing, local
from launch.budget import Budget
from launch.dealing import hand_out
from launch.local import launch
from launch.planned import plan_of
from launch.pool import Message
from launch.progress import Progress
from launch.status import states
from launch.sweep import begin
from launch.verdicts import look_at_held
from launch.worker import RESUME_ME
from scaling.attempts import GIVE_UP, attempts
from scaling.attempts import begin as begin_attempt
from scaling.config import OptimConfig, Placement, run_id
from scaling.data.prepare import prepare
from scaling.disk import DiskFull
from scaling.lease import EXPIRY_SECONDS, held, holder
from scaling.plan import pin
from scaling.record import RecordError, RunDirectory, read_record, write_config
from scaling.workspace import Workspace
from tests.launch.tiny import ONE, STEP, run_of, study_of

QUIET = Placement(tracking="off")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def prepared(corpus, root):
    """A function that makes a pinned study with more runs, on a workspace shared by the module."""

    def make(*more):
        store = prepare(run_of(corpus).data, root, lambda line: None)
        return pin(study_of(corpus, *more), lambda data: replace(data, content=store.manifest.content))

    return make


@pytest.fixture
def workspace(root, tmp_path):
    """A new folder for runs; the data and compiled programs are shared."""
    for name in ("datasets", ".cache"):
        (root / name).mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(root / name)
    return Workspace(root=tmp_path)


def told():
    return Progress(Console(file=io.StringIO(), width=200))


def test_a_study_is_trained_its_trunk_once_and_a_second_launch_does_nothing(prepared, workspace):
    study = prepared()
    outcomes = launch(study, workspace, QUIET, ONE, told())
    assert set(outcomes.values()) == {"finished"} and len(outcomes) == 4
    records = {run_id(run): read_record(RunDirectory(workspace.runs / run_id(run)).record) for run in study.runs}
    started = {name: record.cost.started_from_tokens for name, record in records.items()}
    assert [started[run_id(run)] for run in study.runs if run.trunk] == [
        run.trunk.tokens for run in study.runs if run.trunk
    ]
    assert {state.state for state in states(plan_of(study), workspace)} == {"finished"}
    before = time.monotonic()
    assert launch(study, workspace, QUIET, ONE, told()) == outcomes
    assert time.monotonic() - before < 2.0  # no process was started: that alone takes longer


def test_a_failing_run_is_recorded_and_stops_no_other(prepared, workspace):
    study = prepared()
    victim = study.runs[-1]
    directory = RunDirectory(workspace.runs / run_id(victim))
    directory.path.mkdir(parents=True)
    obstacle = directory.path / "curve.tmp"
    obstacle.mkdir()  # a folder where a file belongs
    screen = told()
    outcomes = launch(study, workspace, QUIET, ONE, screen)
    assert outcomes.pop(run_id(victim)) == "failed"
    assert set(outcomes.values()) == {"finished"}
    record = read_record(directory.record)
    assert record.status == "failed" and record.message
    shown = screen._console.file.getvalue()
    assert "IsADirectoryError" in shown and str(directory.log) in shown
    (attempt,) = attempts(directory)  # an error comes again: it is not tried twice
    assert attempt.cause == "error" and "IsADirectoryError" in attempt.message

    obstacle.rmdir()  # mended: the next launch trains it
    assert launch(study, workspace, QUIET, ONE, told())[run_id(victim)] == "finished"


class Idle:
    """A worker without a process."""

    def __init__(self, slot, workspace, inbox):
        self.slot, self.task, self.last_shape, self.given, self.pid = slot, None, None, [], 1

    def wait(self):
        pass

    def give(self, task, placement, patience_seconds, store):
        self.task = task
        self.given.append((task.run_id, placement, patience_seconds))


@pytest.fixture
def sweep(prepared, workspace):
    return begin(prepared(), workspace, QUIET)


def heard(sweep, worker, **values):
    """What a launcher says when a worker says something."""
    screen = told()
    local._hear(sweep, Message(worker, values), [worker], None, screen)
    return screen._console.file.getvalue()


def busy(sweep):
    """A worker with a run that follows no trunk, and the run's id."""
    worker = Idle(ONE[0], None, None)
    worker.task = next(task for task in sweep.left.values() if task.run.trunk is None and not task.keep_tokens)
    write_config(RunDirectory(sweep.workspace.runs / worker.task.run_id), worker.task.run)
    return worker, worker.task.run_id


def test_a_run_that_ran_out_of_memory_is_tried_again_in_smaller_parts_and_says_so(sweep):
    worker, name = busy(sweep)
    said = heard(sweep, worker, event="failed", cause="out_of_memory", message="RESOURCE_EXHAUSTED")
    assert "tried again with microbatches=2" in said
    hand_out(sweep, [worker], told())
    while worker.task is not None and worker.task.run_id != name:  # the longest first
        sweep.left.pop(worker.task.run_id)
        worker.task = None
        hand_out(sweep, [worker], told())
    assert worker.given[-1] == (name, replace(QUIET, microbatches=2), 0.0)
    worker.task = sweep.left[name]
    heard(sweep, worker, event="failed", cause="out_of_memory", message="RESOURCE_EXHAUSTED")
    assert sweep.smaller[name].microbatches == 4  # 3 does not divide a batch of 4
    worker.task = sweep.left[name]
    heard(sweep, worker, event="failed", cause="out_of_memory", message="RESOURCE_EXHAUSTED")
    assert sweep.outcomes[name] == "failed"
    assert read_record(RunDirectory(sweep.workspace.runs / name).record).placement["microbatches"] == 4


@pytest.mark.parametrize(
    "message",
    [
        "DiskFull: /lab/runs/x/curve.jsonl: No space left on device. Free some space and give",
        "ValueError: RESOURCE_EXHAUSTED: Error writing \"params\": No space left on device [os_error_code='28']",
    ],
)
def test_a_full_disk_ends_the_launch_and_no_run_fails_by_it(sweep, message):
    worker, name = busy(sweep)
    with pytest.raises(
        DiskFull, match=rf"the disk is full \(.* free\), run {name} could not go on: .*No space"
    ) as caught:
        heard(sweep, worker, event="failed", cause="disk_full", message=message)
    assert str(caught.value).count("Free some space") == 1
    assert name in sweep.left and not RunDirectory(sweep.workspace.runs / name).record.exists()
    assert sweep.smaller == {}


def test_a_run_whose_worker_died_before_it_began_is_tried_a_limited_number_of_times(sweep, monkeypatch):
    monkeypatch.setattr(local, "Worker", Idle)
    for outcome in (*[None] * (GIVE_UP - 1), "failed"):
        worker, name = busy(sweep)
        said = heard(sweep, worker, event="died", code=-9)
        assert ("it will be tried again" in said) == (outcome is None)
        assert sweep.outcomes.get(name) == outcome


def test_one_that_died_after_it_began_is_left_to_who_begins_it_next(sweep, monkeypatch):
    monkeypatch.setattr(local, "Worker", Idle)
    for _ in range(2 * GIVE_UP):
        worker, name = busy(sweep)
        worker.pid = os.getpid()
        begin_attempt(RunDirectory(sweep.workspace.runs / name))
        assert "it will be tried again" in heard(sweep, worker, event="died", code=-9)
    assert (sweep.tries, sweep.outcomes) == ({}, {})


def test_a_run_that_is_cancelled_is_left_alone_until_the_next_launch(sweep, workspace):
    worker, name = busy(sweep)
    heard(sweep, worker, event="cancelled")
    assert sweep.outcomes[name] == "cancelled" and name not in sweep.left
    for waiting in sweep.left:
        RunDirectory(workspace.runs / waiting).path.mkdir(parents=True, exist_ok=True)
        RunDirectory(workspace.runs / waiting).cancel.touch()
    hand_out(sweep, [Idle(ONE[0], None, None)], told())
    assert sweep.left == {} and set(sweep.outcomes.values()) == {"cancelled"}


def test_a_launch_ends_when_nothing_fits_the_budget_any_more(sweep):
    longest = max(task.seconds for task in sweep.left.values())
    sweep.budget = Budget(device_hours=0.9 * longest / 3600, dollars_per_hour=2.0)
    screen, worker = told(), Idle(ONE[0], None, None)
    hand_out(sweep, [worker], screen)
    assert worker.task is None or worker.task.seconds < longest
    sweep.budget = Budget(device_hours=1e-9, dollars_per_hour=2.0, seconds_spent=7.2)
    runs, worker.task = len(sweep.left), None
    local._work(sweep, [worker], queue.Queue(), screen)
    assert worker.task is None and len(sweep.left) == runs
    said = screen._console.file.getvalue()
    assert f"{runs} runs are not begun" in said and "of which 0.002 are spent" in said


def test_launching_drops_requests_to_cancel(prepared, workspace):
    study = prepared()
    directory = RunDirectory(workspace.runs / run_id(study.runs[0]))
    directory.path.mkdir(parents=True)
    directory.cancel.touch()
    begin(study, workspace, QUIET)
    assert not directory.cancel.exists()


def test_a_lease_that_the_launcher_saw_expire_is_waited_for_by_its_worker(sweep, monkeypatch):
    worker, name = busy(sweep)
    heard(sweep, worker, event="held")
    assert sweep.held == {name}
    monkeypatch.setattr(sweep.watch, "is_free", lambda folder: True)
    look_at_held(sweep, told())
    assert sweep.held == set()
    patience = {task.run_id: dealing._patience(sweep, task) for task in sweep.left.values()}
    assert patience.pop(name) > EXPIRY_SECONDS and set(patience.values()) == {0.0}


def test_a_worker_that_was_told_to_stop_is_replaced_and_its_run_has_not_failed(sweep, monkeypatch):
    monkeypatch.setattr(local, "Worker", Idle)
    stopped, _ = busy(sweep)
    runs, workers, screen = len(sweep.left), [stopped], told()
    local._hear(sweep, Message(stopped, {"event": "died", "code": RESUME_ME}), workers, None, screen)
    assert workers[0] is not stopped and workers[0].task is None
    assert (sweep.tries, len(sweep.left)) == ({}, runs)
    assert "goes on from its last checkpoint" in screen._console.file.getvalue()


def test_a_worker_that_was_stopped_before_it_could_heed_it_was_stopped_all_the_same(sweep, monkeypatch):
    monkeypatch.setattr(local, "Worker", Idle)
    stopped, _ = busy(sweep)
    local._hear(sweep, Message(stopped, {"event": "died", "code": -signal.SIGTERM}), [stopped], None, told())
    assert sweep.tries == {}


@pytest.mark.slow
def test_a_diverged_run_is_reported_and_not_tried_again(prepared, workspace, corpus):
    study = prepared(replace(run_of(corpus), optim=OptimConfig(lr=1e38)))
    outcomes = launch(study, workspace, QUIET, ONE, told())
    assert sorted(outcomes.values()) == ["diverged"] + ["finished"] * 4
    assert begin(study, workspace, QUIET).left == {}


@pytest.mark.slow
def test_a_run_that_another_launcher_holds_is_left_to_it_until_it_lets_go(prepared, workspace):
    study = prepared()
    held = RunDirectory(workspace.runs / run_id(study.runs[-1]))
    held.path.mkdir(parents=True)
    code = (
        "import time; from pathlib import Path; from scaling.lease import held\n"
        f"with held(Path({str(held.path)!r})):\n print('held', flush=True)\n time.sleep(6)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    assert holder(held.path)
    outcomes = launch(study, workspace, QUIET, ONE, told())
    assert other.wait() == 0
    other.stdout.close()
    assert set(outcomes.values()) == {"finished"}


@pytest.mark.slow
def test_two_launchers_at_once_train_no_run_twice(prepared, workspace, corpus):
    more = [replace(run_of(corpus), seed=seed, tokens=60 * STEP) for seed in range(2, 8)]
    study, found = prepared(*more), []
    launchers = [
        threading.Thread(target=lambda: found.append(launch(study, workspace, QUIET, ONE, told()))) for _ in range(2)
    ]
    for launcher in launchers:
        launcher.start()
    for launcher in launchers:
        launcher.join()
    everyone = {run_id(run): "finished" for run in study.runs}
    assert found == [everyone, everyone]  # each waits for what the other trains
    noted = [attempts(RunDirectory(workspace.runs / name)) for name in everyone]
    assert [[attempt.cause for attempt in of_run] for of_run in noted] == [["finished"]] * len(everyone)
    assert len({attempt.pid for of_run in noted for attempt in of_run}) == 2  # and both had some


def test_a_held_run_shows_as_training_and_a_begun_one_as_interrupted(prepared, workspace):
    study = prepared()
    directory = RunDirectory(workspace.runs / run_id(study.runs[0]))
    directory.path.mkdir(parents=True)
    directory.live_curve.write_text(
        json.dumps({"step": 3, "tokens": 192, "loss": 5.0, "flops": 1e6, "step_seconds": 0.1}) + "\n"
    )
    assert states(plan_of(study), workspace)[0].state == "interrupted"
    with held(directory.path):
        state = states(plan_of(study), workspace)[0]
        assert (state.state, state.step, state.loss) == ("training", 3, 5.0)
    assert states(plan_of(study), workspace)[1].state == "waiting"


def test_a_broken_record_stops_a_launch_before_anything_is_trained(prepared, workspace):
    study = prepared()
    directory = RunDirectory(workspace.runs / run_id(study.runs[0]))
    directory.path.mkdir(parents=True)
    directory.record.write_text("{")
    with pytest.raises(RecordError, match="not whole JSON"):
        launch(study, workspace, QUIET, ONE, told())
    assert states(plan_of(study), workspace)[0].state == "unreadable"


def test_a_full_disk_is_refused_before_anything_is_trained(prepared, workspace, monkeypatch):
    study = prepared()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match=r"0\.00 MB free, but the checkpoints of 4 runs need about 1\.\d\d MB"):
        launch(study, workspace, QUIET, ONE, told())


@pytest.mark.slow
def test_a_launcher_that_is_killed_takes_its_workers_with_it_and_the_next_one_finishes(prepared, workspace, corpus):
    study = prepared(replace(run_of(corpus), tokens=200_000 * 64, data=replace(run_of(corpus).data, max_epochs=1e6)))
    long = study.runs[-1]
    script = workspace.root / "launch_it.py"
    script.write_text(
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from scaling.config import Source\n"
        "from scaling.data.prepare import prepare\n"
        "from scaling.plan import pin\n"
        "from scaling.workspace import Workspace\n"
        "from launch.local import launch\n"
        "from tests.launch.test_local import ONE, QUIET, told\n"
        "from tests.launch.tiny import run_of, study_of\n"
        f"source = Source(kind='folder', path={corpus.path!r})\n"
        f"workspace = Workspace(root=Path({str(workspace.root)!r}))\n"
        "long = replace(run_of(source), tokens=200_000 * 64, data=replace(run_of(source).data, max_epochs=1e6))\n"
        "store = prepare(long.data, workspace.root, lambda line: None)\n"
        "study = pin(study_of(source, long), lambda data: replace(data, content=store.manifest.content))\n"
        "launch(study, workspace, QUIET, ONE, told())\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, str(script)], cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."}
    )
    directory = RunDirectory(workspace.runs / run_id(long))
    wait_until(lambda: directory.live_curve.exists() and directory.live_curve.stat().st_size > 0)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    wait_until(lambda: not holder(directory.path))  # the worker saw its input end, checkpointed and left
    assert list(directory.checkpoints.iterdir())


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)

"""Runs on an object store, trained by processes that share nothing else."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launch.cancel_commands import cancel
from launch.pull_command import pull
from launch.stored import drop_cancels, fetched_plan, level, put_data, put_plan, tell
from scaling.attempts import attempts
from scaling.config import Placement, run_id
from scaling.data.prepare import prepare
from scaling.lease import CANCEL, holder, take
from scaling.mirror.bucket import bucket_of
from scaling.mirror.mirror import of_run, publish
from scaling.mirror.runs import done_by, look
from scaling.plan import pin
from scaling.plan_file import read_plan, write_plan
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace
from tests.launch.tiny import run_of, study_of
from tests.mirror.made import fail, finish, folder_of


def stored(corpus, folder, *more, **placement):
    """A study whose plan and data are on a store; nothing is trained."""
    workspace, store = Workspace(root=folder / "launcher"), bucket_of(f"file://{folder}/store")
    data = prepare(run_of(corpus).data, workspace.root, lambda line: None)
    study = pin(study_of(corpus, *more), lambda known: replace(known, content=data.manifest.content))
    study = replace(study, placement=Placement(tracking="off", **placement))
    put_data(study.datasets, store, workspace.root, lambda line: None)
    return study, store, put_plan(write_plan(study, workspace), store)


@pytest.fixture
def planned(corpus, tmp_path):
    return stored(corpus, tmp_path)


def executed(plan, name, store, root, **options):
    command = [sys.executable, "-m", "launch.cli", "run", plan, name, "--store", store.url, "--root", str(root)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, text=True, **options)


@pytest.mark.slow
def test_machines_that_share_a_store_alone_train_a_trunk_and_its_branch(planned, tmp_path, capsys):
    study, store, plan = planned
    trunk = next(cell.run for cell in study.cells if cell.role == "trunk")
    branch = next(run for run in study.runs if run.trunk)
    assert executed(plan, run_id(trunk), store, tmp_path / "a").wait() == 0
    two = [executed(plan, run_id(branch), store, tmp_path / root) for root in "bc"]
    assert [process.wait() for process in two] == [0, 0]  # one trains it, the other finds it done
    assert not (tmp_path / "b" / "runs" / run_id(trunk) / "record.json").exists()
    pull([store.url, "--root", str(tmp_path / "d")])
    assert "tiny: 4 runs: 2 not begun, 2 trained" in capsys.readouterr().out
    here = RunDirectory(tmp_path / "d" / "runs" / run_id(branch))
    record = read_record(here.record)
    assert record.status == "finished" and record.cost.started_from_tokens == branch.trunk.tokens
    assert [attempt.cause for attempt in attempts(here)] == ["finished"]
    assert here.curve.exists() and not here.checkpoints.exists()
    assert read_plan(tmp_path / "d" / "studies" / "tiny.json").runs.keys() == {run_id(run) for run in study.runs}


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def wait_until(seen, process, seconds=120):
    until = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_what_one_machine_no_longer_does_another_takes_over_and_ends_alike(corpus, tmp_path, blow):
    run = run_of(corpus)
    long = replace(run, tokens=1500 * run.batch_tokens, data=replace(run.data, max_epochs=1e6))
    study, store, plan = stored(corpus, tmp_path, long, checkpoint_seconds=1.0)
    name = run_id(study.runs[-1])
    there = of_run(store, name)
    first = executed(plan, name, store, tmp_path / "a")
    wait_until(lambda: list(look(there).checkpoints()), first)
    hit = [first.pid, *children(first.pid)]
    for pid in hit:
        os.kill(pid, blow)
    try:
        assert executed(plan, name, store, tmp_path / "b").wait() == 0
    finally:
        if blow == signal.SIGSTOP:
            for pid in hit:
                os.kill(pid, signal.SIGCONT)
    assert first.wait() in ((-9,) if blow == signal.SIGKILL else (0, 76))
    assert done_by(there) == "000002"
    record = read_record(RunDirectory(tmp_path / "b" / "runs" / name).record)
    assert record.cost.attempts == 2
    undisturbed = bucket_of(f"file://{tmp_path}/calm")
    put_data(study.datasets, undisturbed, tmp_path / "launcher", lambda line: None)
    assert executed(plan, name, undisturbed, tmp_path / "c").wait() == 0
    calm = read_record(RunDirectory(tmp_path / "c" / "runs" / name).record)
    assert record.heldout == calm.heldout and record.train_loss == calm.train_loss


def test_a_store_is_asked_to_stop_runs_and_a_launch_takes_that_back(planned, tmp_path, capsys):
    study, store, _ = planned
    names = [run_id(run) for run in study.runs]
    cancel(["tiny", "--root", str(tmp_path / "launcher"), "--store", store.url])
    assert f"4 runs are asked on {store.url} to stop" in " ".join(capsys.readouterr().out.split())
    assert all(of_run(store, name).names() == [CANCEL] for name in names)
    drop_cancels(store, names)
    assert all(of_run(store, name).names() == [] for name in names)


def test_before_a_launch_store_and_folder_get_what_the_other_has_trained(planned, tmp_path):
    study, store, _ = planned
    first, second, third = study.runs[1:4]  # cells; a trunk's record would do as well
    workspace, elsewhere = Workspace(root=tmp_path / "here"), tmp_path / "elsewhere"
    for run, root in ((first, elsewhere), (second, workspace.root)):
        directory = folder_of(run, root)
        directory.live_curve.touch()
        finish(directory, run)
    assert publish(store, RunDirectory(elsewhere / "runs" / run_id(first)))
    fail(folder_of(third, workspace.root), third)
    said = []
    level(store, workspace, [run_id(run) for run in study.runs], said.append)
    assert said == [f"1 of 4 runs are trained on {store}; 1 trained here are put there"]
    assert read_record(RunDirectory(workspace.runs / run_id(first)).record).status == "finished"
    assert done_by(of_run(store, run_id(second))) == "000001"
    assert done_by(of_run(store, run_id(third))) is None
    tell(store, RunDirectory(workspace.runs / run_id(third)), said.append)
    assert b"it broke" in of_run(store, run_id(third)).read("000001/record.json")


def test_what_is_pulled_of_a_run_under_way_says_that_it_is_held(planned, tmp_path, capsys):
    study, store, _ = planned
    name = run_id(study.runs[-1])
    there = of_run(store, name)
    lease = take(there)
    (there / "000001").rewrite("curve.jsonl", b"{}\n")
    pull([store.url, "tiny", "--root", str(tmp_path / "d")])
    assert "1 begun, 3 not begun" in capsys.readouterr().out
    here = tmp_path / "d" / "runs" / name
    assert sorted(path.name for path in here.iterdir()) == ["curve.jsonl", "lease-000001.json"]
    assert holder(here).pid == os.getpid()
    lease.release()
    pull([store.url, "tiny", "--root", str(tmp_path / "d")])
    assert "1 begun, 3 not begun" in capsys.readouterr().out
    assert holder(here) is None
    assert [path.name for path in here.iterdir()] == ["curve.jsonl"]


def test_what_is_not_on_the_store_is_said(planned, tmp_path):
    _, store, plan = planned
    with pytest.raises(ValueError, match=r"nothing.json: there is no such plan"):
        fetched_plan(plan.replace("tiny", "nothing"), Workspace(root=tmp_path / "x"))
    with pytest.raises(ValueError, match="no study other; there are: tiny"):
        pull([store.url, "other", "--root", str(tmp_path / "x")])
    with pytest.raises(ValueError, match="from where"):
        pull(["--root", str(tmp_path / "x")])

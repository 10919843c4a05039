"""`scaling run`: the unit that every backend executes, as a command of its own."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launch.run_command import run as run_command
from scaling.attempts import GIVE_UP, attempts, begin
from scaling.config import Placement, run_id
from scaling.data.prepare import prepare
from scaling.lease import held
from scaling.plan import pin
from scaling.plan_file import write_plan
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace
from tests.launch.tiny import run_of, study_of


@pytest.fixture(scope="module")
def launched(corpus, tmp_path_factory):
    """A plan file, its study and its workspace."""
    workspace = Workspace(root=tmp_path_factory.mktemp("root"))
    store = prepare(run_of(corpus).data, workspace.root, lambda line: None)
    study = pin(study_of(corpus), lambda data: replace(data, content=store.manifest.content))
    study = replace(study, placement=Placement(tracking="off"))
    return write_plan(study, workspace), study, workspace


def executed(launched, name, **options):
    path, _, workspace = launched
    command = [sys.executable, "-m", "launch.cli", "run", str(path), name, "--root", str(workspace.root)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, text=True, **options)


def code_of(launched, name):
    """The same in this process, which starts a worker for it."""
    try:
        run_command([str(launched[0]), name, "--root", str(launched[2].root)])
    except SystemExit as ended:
        return ended.code
    return 0


def test_it_trains_one_run_and_keeps_the_checkpoints_of_its_branches(launched):
    _, study, workspace = launched
    trunk = next(cell.run for cell in study.cells if cell.role == "trunk")
    assert executed(launched, run_id(trunk)).wait() == 0
    directory = RunDirectory(workspace.runs / run_id(trunk))
    assert read_record(directory.record).status == "finished"
    assert [attempt.cause for attempt in attempts(directory)] == ["finished"]
    starts = {run.trunk.tokens // run.batch_tokens for run in study.runs if run.trunk}
    assert starts <= {int(path.name) for path in directory.checkpoints.iterdir()}
    assert [path.name for path in workspace.runs.iterdir()] == [run_id(trunk)]
    before = directory.record.stat().st_mtime_ns
    run_command([str(launched[0]), run_id(trunk), "--root", str(workspace.root)])  # there already: returns
    assert directory.record.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_that_another_holds_is_left_to_it_with_a_code_of_its_own(launched):
    _, study, workspace = launched
    name = run_id(study.runs[-1])
    with held(workspace.runs / name):
        assert executed(launched, name).wait() == 76
    assert not RunDirectory(workspace.runs / name).record.exists()


@pytest.mark.slow
def test_a_cancelled_or_terminated_run_ends_with_the_code_of_what_may_go_on(launched, corpus):
    _, _, workspace = launched
    long = replace(run_of(corpus), tokens=200_000 * 64, data=replace(run_of(corpus).data, max_epochs=1e6))
    store = prepare(long.data, workspace.root, lambda line: None)
    study = pin(study_of(corpus, long), lambda data: replace(data, content=store.manifest.content))
    path, name = write_plan(replace(study, name="long"), workspace), run_id(study.runs[-1])
    directory = RunDirectory(workspace.runs / name)
    for attempt, (stop, code) in enumerate((("cancelled", 77), ("preempted", 75)), 1):
        process = executed((path, study, workspace), name)
        until = time.monotonic() + 120
        while len(attempts(directory)) < attempt or not directory.live_curve.exists():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        time.sleep(2)
        directory.cancel.touch() if stop == "cancelled" else process.terminate()
        assert process.wait() == code
        assert attempts(directory)[-1].cause == stop
        if stop == "cancelled":
            assert executed((path, study, workspace), name).wait() == 77  # until a launch drops the request
            directory.cancel.unlink()
    assert list(directory.checkpoints.iterdir())


def test_a_run_that_fails_ends_with_one_and_a_record(launched):
    _, study, workspace = launched
    name = run_id(study.runs[-1])
    directory = RunDirectory(workspace.runs / name)
    (directory.path / "curve.tmp").mkdir(parents=True)  # a folder where a file belongs
    assert code_of(launched, name) == 1
    assert read_record(directory.record).status == "failed"
    assert attempts(directory)[-1].cause == "error"


def test_a_run_that_gets_nowhere_is_given_up_with_a_record_and_may_be_tried_again(launched):
    _, study, workspace = launched
    name = run_id(study.runs[-1])
    directory = RunDirectory(workspace.runs / name)
    shutil.rmtree(directory.path, ignore_errors=True)
    directory.path.mkdir(parents=True)
    for _ in range(GIVE_UP):  # killed: they have no end
        begin(directory)
    assert code_of(launched, name) == 1
    record = read_record(directory.record)
    assert record.status == "failed" and f"given up: {GIVE_UP} attempts in a row were killed" in record.message
    assert code_of(launched, name) == 0
    assert read_record(directory.record).status == "finished"


def test_what_is_not_planned_is_refused(launched):
    with pytest.raises(ValueError, match="no run 'x' among its 4"):
        run_command([str(launched[0]), "x", "--root", str(launched[2].root)])

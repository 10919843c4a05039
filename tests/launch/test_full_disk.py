"""A sweep whose disk really fills in its middle ends with one sentence; launched again it ends as undisturbed."""

import io
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from launch import analysis_commands, cli, state_commands
from launch.export_command import export
from launch.local import launch
from launch.progress import Progress
from scaling.attempts import attempts
from scaling.config import Placement, run_id
from scaling.data.prepare import prepare
from scaling.disk import DiskFull
from scaling.plan import pin
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace
from tests.disks import read_only, small_disk
from tests.launch import made
from tests.launch.tables import runs, write
from tests.launch.tiny import ONE, STEP, run_of, study_of

OFTEN = Placement(tracking="off", checkpoint_seconds=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def study(corpus, root):
    """Five runs, one of them some seconds long."""
    store = prepare(run_of(corpus).data, root, lambda line: None)
    long = replace(run_of(corpus), tokens=1000 * STEP, data=replace(run_of(corpus).data, max_epochs=1e6), seed=2)
    return pin(study_of(corpus, long), lambda data: replace(data, content=store.manifest.content))


def workspace_on(folder, root):
    """Runs in this folder; data and compiled programs elsewhere."""
    folder.mkdir(exist_ok=True)
    for name in ("datasets", ".cache"):
        (root / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(root / name)
    return Workspace(root=folder)


def told():
    return Progress(Console(file=io.StringIO(), width=200))


def records(study, workspace):
    paths = [RunDirectory(workspace.runs / run_id(run)).record for run in study.runs]
    return {path.parent.name: read_record(path) for path in paths if path.exists()}


def results(found):
    return {name: (record.status, record.heldout, record.train_loss) for name, record in found.items()}


@pytest.mark.slow  # four launches
def test_a_sweep_goes_on_when_there_is_space_again(study, root, tmp_path):
    quiet = workspace_on(tmp_path / "quiet", root)
    launch(study, quiet, Placement(tracking="off"), ONE, told())
    with small_disk(tmp_path / "small", megabytes=12) as disk:
        workspace = workspace_on(disk.folder, root)
        long = RunDirectory(workspace.runs / run_id(study.runs[-1]))
        moments = (
            lambda: long.checkpoints.is_dir() and len(list(long.checkpoints.iterdir())) > 1,  # amid the longest
            lambda: len(records(study, workspace)) >= 2,  # between two runs
        )
        for moment in moments:
            filling = threading.Thread(target=fill_at, args=(disk, moment))
            filling.start()
            with pytest.raises(DiskFull, match=r"is full|No space left on device") as caught:
                launch(study, workspace, OFTEN, ONE, told())
            filling.join()
            assert str(workspace.runs) in str(caught.value) and "give the same command again" in str(caught.value)
            before = records(study, workspace)
            assert {record.status for record in before.values()} <= {"finished"}  # no run has failed by it
            disk.free()
        assert set(launch(study, workspace, OFTEN, ONE, told()).values()) == {"finished"}
        after = records(study, workspace)
        assert results(after) == results(records(study, quiet))
        assert all(after[name] == record for name, record in before.items())
        for run in study.runs:
            causes = [attempt.cause for attempt in attempts(RunDirectory(workspace.runs / run_id(run)))]
            assert causes[-1] == "finished" and "finished" not in causes[:-1]
            assert set(causes[:-1]) <= {"disk_full", "preempted", None}  # None: the note itself did not fit


def fill_at(disk, moment):
    while not moment():
        time.sleep(0.01)
    disk.fill()


@pytest.fixture
def locked(tmp_path):
    """A workspace with a launched study that nobody may write to; its runs: one finished, one failed."""
    found, workspace = made.launched(tmp_path / "lab")
    made.settle(workspace, found.runs[0])
    made.settle(workspace, found.runs[3], "failed")
    write(tmp_path / "table.csv", runs())
    with read_only(workspace.root):
        yield workspace.root


def test_a_read_only_folder_is_refused_before_work_is_spent(study, root, tmp_path):
    workspace = workspace_on(tmp_path / "lab", root)
    with (
        read_only(workspace.root),
        pytest.raises(OSError, match=r"lab/runs: cannot be written \(Read-only file system\).*elsewhere \(--root"),
    ):
        launch(study, workspace, OFTEN, ONE, told())


def test_a_study_in_a_read_only_folder_can_be_looked_at(locked, tmp_path, capsys):
    state_commands.status(["tiny", "--root", str(locked)])
    assert "1 failed, 1 finished, 2 waiting" in capsys.readouterr().out
    out = tmp_path / "runs.csv"
    export(["tiny", str(out), "--root", str(locked)])
    assert len(out.read_text().splitlines()) == 5
    analysis_commands.fit([str(tmp_path / "table.csv"), "--root", str(locked)])
    assert "alpha" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("launch", "demo"), "studies: cannot be written (Read-only file system). Make its folder writable"),
        (("train", "--tokens", "1000"), "studies: cannot be written (Read-only file system). Make its folder writable"),
        (("data", "prepare"), "cannot be written (Read-only file system). Make its folder writable"),
        (
            ("report", "{root}/../table.csv"),
            "reports: cannot be written (Read-only file system). Make its folder writable",
        ),
        (("cancel", "tiny"), "make it writable for this user"),
        (("retry", "tiny"), "make it writable for this user"),
        (("export", "tiny", "{root}/runs.csv"), "runs.csv: cannot be written (Read-only file system)"),
    ],
)
def test_commands_that_write_say_where_they_cannot(locked, monkeypatch, capsys, arguments, said):
    words = [word.format(root=locked) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["scaling", *words, "--root", str(locked)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handler,
    monkeypatch.setenv("SCALING_COMMAND", "")  # and its environment
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    line = capsys.readouterr().err
    assert said in line and str(locked) in line and "Traceback" not in line

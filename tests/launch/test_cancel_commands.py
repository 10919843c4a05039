"""Runs are stopped by a request, and failed ones are tried again."""

import json

import pytest

from launch import slurm
from launch.cancel_commands import cancel, retry
from launch.jobs import note
from launch.sweep import sweep_of
from scaling.config import Placement, run_id
from scaling.lease import held
from tests.launch import made


def call(command, workspace, *words):
    command(["tiny", *words, "--root", str(workspace.root)])


def test_every_run_that_is_not_settled_is_asked_to_stop(tmp_path, capsys):
    study, workspace = made.launched(tmp_path)
    done = made.settle(workspace, study.runs[0])
    going = made.begin(workspace, study.runs[3], steps=3)
    with held(going.path):
        call(cancel, workspace)
    assert "3 runs are asked to stop; 1 of them are being trained now" in capsys.readouterr().out
    assert not done.cancel.exists()
    assert all(made.directory(workspace, run).cancel.exists() for run in study.runs[1:])


def test_what_waits_in_a_queue_leaves_it_or_will_end_when_it_begins(tmp_path, capsys, monkeypatch):
    study, workspace = made.launched(tmp_path)
    note(workspace, "tiny", "slurm", {run_id(study.runs[1]): "7_1"})
    waiting = slurm.Job(run_id=run_id(study.runs[1]), job="7_1", state="PENDING", reason="Priority")
    monkeypatch.setattr(slurm, "cancel", lambda workspace, name: [waiting])
    call(cancel, workspace)
    assert "1 of them waited in SLURM's queue and have left it" in capsys.readouterr().out

    def silent(workspace, name):
        raise slurm.SlurmError("squeue: no answer")

    monkeypatch.setattr(slurm, "cancel", silent)
    call(cancel, workspace)
    assert "will end when it begins (squeue: no answer)" in capsys.readouterr().out
    assert all(made.directory(workspace, run).cancel.exists() for run in study.runs)


def test_one_run_is_cancelled_by_the_first_letters_of_its_id(tmp_path):
    study, workspace = made.launched(tmp_path)
    call(cancel, workspace, run_id(study.runs[1])[:5])
    assert [made.directory(workspace, run).cancel.exists() for run in study.runs] == [False, True, False, False]


def test_a_launch_takes_the_requests_back(tmp_path):
    study, workspace = made.launched(tmp_path)
    call(cancel, workspace)
    sweep_of({run_id(run): (run, ()) for run in study.runs}, workspace, Placement())
    assert not list(workspace.runs.glob("*/cancel"))


def test_a_failed_record_is_moved_aside_under_a_free_name(tmp_path, capsys):
    study, workspace = made.launched(tmp_path)
    for _ in range(2):
        found = made.settle(workspace, study.runs[3], "failed", wall_seconds=0.0, message="ValueError: no")
        call(retry, workspace)
    assert not found.record.exists()
    assert json.loads((found.path / "record.failed-2.json").read_text())["message"] == "ValueError: no"
    said = capsys.readouterr().out
    assert "its record is record.failed-1.json now" in said and "1 failed runs will be tried again" in said


def test_what_finished_or_is_being_trained_is_not_tried_again(tmp_path, capsys):
    study, workspace = made.launched(tmp_path)
    made.settle(workspace, study.runs[0])
    failed = made.settle(workspace, study.runs[3], "failed", wall_seconds=0.0)
    with held(failed.path):
        call(retry, workspace)
    assert failed.record.exists() and "is being trained already" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has not failed: it is finished"):
        call(retry, workspace, run_id(study.runs[0]))


def test_an_unknown_run_and_letters_of_several_are_refused(tmp_path):
    _, workspace = made.launched(tmp_path)
    with pytest.raises(ValueError, match="no run of study 'tiny' begins with 'xyz'"):
        call(cancel, workspace, "xyz")
    with pytest.raises(ValueError, match=r"4 runs of study 'tiny' begin with '', .*; give more letters"):
        call(cancel, workspace, "")

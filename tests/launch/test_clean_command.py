"""What may go goes, and nothing else."""

import json
import os

import pytest

from launch.clean_command import clean
from launch.cleaning import removable, remove
from scaling.config import run_id
from scaling.lease import held
from tests.launch import made

SIZE = 1000


@pytest.fixture
def made_up(tmp_path):
    """(study, workspace) of a finished trunk with two finished branches, and one more finished run, all with
    checkpoints of SIZE bytes."""
    study, workspace = made.launched(tmp_path / "lab")
    for run in study.runs:
        checkpoints(made.settle(workspace, run))
    return study, workspace


def checkpoints(directory):
    folder = directory.checkpoints / "10"
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(b"x" * SIZE)
    return directory


def with_checkpoints(study, workspace):
    return [made.directory(workspace, run).checkpoints.exists() for run in study.runs]


def run_clean(workspace, *words):
    clean([*words, "--root", str(workspace.root)])


def test_checkpoints_of_finished_runs_go_and_the_bytes_are_said(made_up, capsys):
    study, workspace = made_up
    run_clean(workspace, "tiny", "--dry-run")
    assert with_checkpoints(study, workspace) == [True] * 4
    assert "4.0 kB in 4 places would go" in capsys.readouterr().out
    run_clean(workspace, "tiny")
    assert with_checkpoints(study, workspace) == [False] * 4
    assert "4.0 kB freed" in capsys.readouterr().out
    assert all(made.directory(workspace, run).record.exists() for run in study.runs)


def test_a_trunk_keeps_its_checkpoints_until_its_last_branch_has_ended(made_up):
    study, workspace = made_up
    made.directory(workspace, study.runs[2]).record.unlink()
    run_clean(workspace, "tiny")
    assert with_checkpoints(study, workspace) == [True, False, True, False]


def test_a_branch_in_another_study_keeps_the_trunks_checkpoints_too(made_up):
    study, workspace = made_up
    plan = json.loads((workspace.studies / "tiny.json").read_text())
    later = plan["runs"][1] | {"run_id": "later"}
    (workspace.studies / "more.json").write_text(json.dumps(plan | {"name": "more", "runs": [later]}))
    run_clean(workspace, "tiny")
    assert with_checkpoints(study, workspace) == [True, False, False, False]


def test_a_plan_that_does_not_say_who_follows_whom_keeps_its_trunks(made_up):
    study, workspace = made_up
    old = {"name": "old", "runs": [{"run_id": run_id(study.runs[0]), "role": "trunk"}]}
    (workspace.studies / "old.json").write_text(json.dumps(old))
    run_clean(workspace, "--all")
    assert with_checkpoints(study, workspace) == [True, False, False, False]


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_runs_that_did_not_finish_keep_their_checkpoints(tmp_path, status):
    study, workspace = made.launched(tmp_path)
    directory = checkpoints(made.settle(workspace, study.runs[3], status))
    run_clean(workspace, "--all")
    assert directory.checkpoints.exists()


def test_a_run_that_somebody_holds_is_not_touched(made_up):
    study, workspace = made_up
    with held(made.directory(workspace, study.runs[3]).path):
        run_clean(workspace, "--all")
    assert with_checkpoints(study, workspace) == [False, False, False, True]


def test_a_run_that_was_taken_between_looking_and_deleting_is_not_touched(made_up):
    study, workspace = made_up
    found = list(removable(workspace, None, orphans=False))
    with held(made.directory(workspace, study.runs[3]).path):
        assert remove(found, workspace) == 3 * SIZE
    assert with_checkpoints(study, workspace) == [False, False, False, True]


def test_links_are_left_alone_and_what_they_lead_to_stays(made_up, tmp_path):
    study, workspace = made_up
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear").write_text("kept")
    one, other = (made.directory(workspace, study.runs[place]) for place in (1, 3))
    (one.checkpoints / "10" / "link").symlink_to(elsewhere)  # inside what goes: the link goes
    other.checkpoints.rename(elsewhere / "checkpoints")
    other.checkpoints.symlink_to(elsewhere / "checkpoints")
    (workspace.runs / "linked").symlink_to(elsewhere)
    run_clean(workspace, "--all", "--orphans")
    assert (elsewhere / "dear").exists() and (elsewhere / "checkpoints" / "10" / "state").exists()
    assert other.checkpoints.is_symlink() and (workspace.runs / "linked").is_symlink()
    assert not one.checkpoints.exists()


def test_a_folder_that_becomes_a_link_outward_after_looking_is_left_alone(made_up, tmp_path):
    study, workspace = made_up
    found = [item for item in removable(workspace, {run_id(study.runs[3])}, orphans=False)]
    (item,) = found
    item.path.rename(tmp_path / "moved")
    item.path.symlink_to(tmp_path / "moved")
    assert remove(found, workspace) == 0
    assert (tmp_path / "moved" / "10" / "state").exists()


def test_runs_of_no_study_go_only_when_that_is_asked_for(made_up):
    study, workspace = made_up
    (workspace.studies / "tiny.json").unlink()
    run_clean(workspace, "--all")
    assert made.directory(workspace, study.runs[3]).record.exists()
    run_clean(workspace, "--all", "--orphans")
    assert not list(workspace.runs.iterdir())


def test_writes_that_were_broken_off_long_ago_go(tmp_path):
    study, workspace = made.launched(tmp_path)
    found = made.begin(workspace, study.runs[0], steps=3)
    old = [found.path / ".record.json.a1b2", found.checkpoints / "20.orbax-checkpoint-tmp-1"]
    old[1].mkdir(parents=True)
    old[0].write_text("{")
    for path in old:
        os.utime(path, (0, 0))
    (found.path / ".record.json.c3d4").write_text("{")  # of a moment ago
    run_clean(workspace, "tiny")
    assert not any(path.exists() for path in old)
    assert (found.path / ".record.json.c3d4").exists() and found.live_curve.exists()


def test_a_plan_that_cannot_be_read_stops_the_cleaning(made_up):
    study, workspace = made_up
    (workspace.studies / "torn.json").write_text("{")
    with pytest.raises(ValueError, match=r"torn.json: not whole JSON .* before cleaning"):
        run_clean(workspace, "--all")
    with pytest.raises(ValueError, match="--orphans are runs of no study"):
        run_clean(workspace, "tiny", "--orphans")
    assert with_checkpoints(study, workspace) == [True] * 4

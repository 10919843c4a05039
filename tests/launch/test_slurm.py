"""What is asked of SLURM, where its commands are stand-ins; tests/cluster asks a real one."""

import subprocess

import pytest
from hypothesis import given, strategies

from launch import slurm
from launch.jobs import note
from launch.slurm import Job, SlurmError, cancel, poll, trunks_first, waits
from scaling.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(root=tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """Commands that were run; what each answers is put into `answers` by its name."""
    calls = []

    def run(command, **_):
        calls.append(command)
        code, text = answers.get(command[0], (0, ""))
        return subprocess.CompletedProcess(command, code, stdout=text, stderr=text if code else "")

    answers = {}
    monkeypatch.setattr(slurm.subprocess, "run", run)
    return calls, answers


@given(strategies.dictionaries(strategies.integers(0, 9), strategies.integers(0, 9), max_size=10))
def test_every_run_comes_once_and_after_its_trunk(parents):
    # A run's trunk is one of a smaller number, so there are no rings.
    trunks = {str(name): str(parent) if parent < name else None for name, parent in parents.items()}
    ordered = trunks_first(list(trunks), trunks)
    assert sorted(ordered) == sorted(trunks)
    for name, trunk in trunks.items():
        if trunk in trunks:
            assert ordered.index(trunk) < ordered.index(name)


def test_runs_without_trunks_keep_their_order():
    assert trunks_first(["c", "a", "b"], {"a": None, "b": None, "c": None}) == ["c", "a", "b"]


def test_a_branch_waits_for_its_trunk_wherever_that_is_queued_and_for_nothing_else():
    trunks = {"trunk": None, "left": "trunk", "right": "trunk", "late": "before", "free": "trained"}
    jobs = {name: f"7_{task}" for task, name in enumerate(trunks, start=1)}
    assert waits(jobs, trunks, {"before": "3_9"}) == {"7_1": ["7_2", "7_3"], "3_9": ["7_4"]}


def test_nothing_is_asked_where_nothing_was_submitted(workspace, asked):
    calls, _ = asked
    assert poll(workspace) == [] and calls == []


def test_of_what_slurm_tells_only_this_folders_jobs_count(workspace, asked):
    calls, answers = asked
    note(workspace, "tiny", "slurm", {"a": "7_1", "b": "7_2", "gone": "7_3"})
    note(workspace, "other", "slurm", {"c": "8_1"})
    note(workspace, "other", "ray", {"d": "9_1"})
    lines = ["tiny|7_1|PENDING|Dependency", "tiny|7_2|RUNNING|None", "tiny|70_1|RUNNING|None"]
    lines += ["other|8_1|PENDING|Nodes required | for job", "other|7_3|PENDING|None"]
    answers["squeue"] = (0, "\n".join(lines) + "\n")
    a = Job(run_id="a", job="7_1", state="PENDING", reason="Dependency")
    b = Job(run_id="b", job="7_2", state="RUNNING", reason="None")
    assert poll(workspace, "tiny") == [a, b]
    assert poll(workspace)[2:] == [
        Job(run_id="c", job="8_1", state="PENDING", reason="Nodes required | for job"),
    ]
    assert "--name=other,tiny" in calls[-1]


def test_a_job_number_that_came_again_means_its_last_run(workspace, asked):
    note(workspace, "tiny", "slurm", {"old": "1_1"})
    note(workspace, "tiny", "slurm", {"new": "1_1"})
    asked[1]["squeue"] = (0, "tiny|1_1|RUNNING|None\n")
    assert [job.run_id for job in poll(workspace, "tiny")] == ["new"]


def test_a_slurm_that_does_not_answer_is_an_error_in_its_own_words(workspace, asked):
    note(workspace, "tiny", "slurm", {"a": "7_1"})
    asked[1]["squeue"] = (1, "slurm_load_jobs error: Unable to contact slurm controller\n")
    with pytest.raises(SlurmError, match=r"^squeue: slurm_load_jobs error: Unable to contact slurm controller$"):
        poll(workspace, "tiny")


def test_a_machine_without_slurm_is_named_as_such(workspace, monkeypatch):
    note(workspace, "tiny", "slurm", {"a": "7_1"})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SlurmError, match="no squeue here; launch where the cluster's jobs are submitted from"):
        poll(workspace, "tiny")


def test_cancelling_asks_every_run_to_stop_and_takes_back_what_waits(workspace, asked):
    calls, answers = asked
    note(workspace, "tiny", "slurm", {"a": "7_1", "b": "7_2"})
    answers["squeue"] = (0, "tiny|7_1|RUNNING|None\ntiny|7_2|PENDING|Resources\n")
    assert [job.run_id for job in cancel(workspace, "tiny")] == ["a", "b"]
    assert calls[-1] == ("scancel", "--state=PENDING", "7_2")
    assert all((workspace.runs / name / "cancel").exists() for name in "ab")
    answers["scancel"] = (1, "scancel: error: Kill job error on job id 7_2: Access/permission denied")
    with pytest.raises(SlurmError, match="permission denied"):
        cancel(workspace, "tiny")

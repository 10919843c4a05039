"""Job arrays on a real SLURM, whose tasks run a stand-in for the trainer: who starts when, and how often."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from launch.slurm import SlurmError, cancel, poll, submit
from launch.slurm_options import SlurmOptions
from scaling.plan_file import read_plan
from scaling.workspace import Workspace

STUDY = "tiny"


class Lab:
    """A workspace with a plan of runs that only exist by name, and orders for each."""

    def __init__(self, root: Path, trunks: dict[str, str | None]):
        self.workspace, self.root = Workspace(root=root), root
        self.names = list(trunks)
        runs = [
            {"run_id": name, "config": {"trunk": trunk and {"run_id": trunk}}, "keep_tokens": []}
            for name, trunk in trunks.items()
        ]
        file = root / "studies" / f"{STUDY}.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"name": STUDY, "placement": {"grace_seconds": 5.0}, "runs": runs}))
        self.plan = read_plan(file)
        self.order({})

    def order(self, orders):
        (self.root / "orders.json").write_text(json.dumps(orders))

    def go(self):
        """Let those that wait end."""
        (self.root / "go").touch()

    def submit(self, **options):
        return submit(self.plan, self.names, self.workspace, SlurmOptions(**options))

    def said(self, name):
        """What a run's tasks said, in order: pairs of a word and a time."""
        file = self.workspace.runs / name / "said"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def words(self, name):
        return [word for word, _ in self.said(name)]

    def time(self, name, word):
        return next(float(when) for said, when in self.said(name) if said == word)

    def states(self):
        return {job.run_id: job.state for job in poll(self.workspace, STUDY)}

    def logs(self):
        return "\n".join(file.read_text() for file in (self.root / "studies" / STUDY / "slurm").glob("*.log"))


@pytest.fixture
def lab_of(slurm, tmp_path, monkeypatch):
    """A function that makes a lab in a folder with an odd name; what is left queued afterwards is cancelled."""
    package = tmp_path / "package"
    (package / "launch").mkdir(parents=True)
    (package / "launch" / "__init__.py").touch()
    (package / "launch" / "cli.py").write_text(Path(__file__).with_name("stand_in.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(package))  # sbatch hands the environment on
    monkeypatch.chdir(tmp_path)
    yield lambda **trunks: Lab(tmp_path / "it's 100% $HOME", trunks)
    subprocess.run(["scancel", "--user=root"], check=True)
    wait_until(lambda: not subprocess.run(["squeue", "--noheader"], capture_output=True).stdout)


def wait_until(condition, seconds=60.0, lab=None):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited too long: {lab and (lab.states(), lab.logs())}"
        time.sleep(0.1)


def ended(lab):
    wait_until(lambda: not lab.states(), lab=lab)


def test_every_run_runs_once_after_its_trunk_and_a_failed_one_stops_no_other(lab_of):
    lab = lab_of(early="short", short=None, long=None, late="long", other=None)
    lab.order({"other": "fail", "long": "wait"})
    jobs = lab.submit(at_once=2)
    assert [job.run_id for job in jobs] == ["short", "early", "long", "late", "other"]
    noted = [json.loads(line) for line in (lab.root / "studies/tiny/jobs.jsonl").read_text().splitlines()]
    assert [(line["backend"], line["run_id"], line["job"]) for line in noted] == [
        ("slurm", job.run_id, job.job) for job in jobs
    ]
    # A branch does not wait for all trunks, only for its own.
    wait_until(lambda: "end" in lab.words("early"), lab=lab)
    assert lab.words("long") == ["begin"] and lab.words("late") == []
    assert lab.states()["late"] == "PENDING"
    lab.go()
    ended(lab)
    assert {name: lab.words(name) for name in lab.names} == {
        **{name: ["begin", "end"] for name in ("early", "short", "long", "late")},
        "other": ["begin"],
    }
    assert lab.time("late", "begin") > lab.time("long", "end")
    assert lab.time("early", "begin") > lab.time("short", "end")


def test_what_is_queued_is_not_queued_again_and_what_failed_is(lab_of):
    lab = lab_of(first=None, second="first", bad=None)
    lab.order({"first": "wait", "bad": "fail"})
    assert len(lab.submit()) == 3
    wait_until(lambda: "bad" not in lab.states() and lab.words("first"), lab=lab)
    assert set(lab.states().items()) == {("first", "RUNNING"), ("second", "PENDING")}
    lab.order({})
    (again,) = lab.submit()
    assert again.run_id == "bad"
    assert lab.submit() == []
    lab.go()
    ended(lab)
    assert [lab.words(name) for name in lab.names] == [["begin", "end"]] * 2 + [["begin", "begin", "end"]]


def test_a_branch_that_is_queued_later_waits_for_its_trunk_all_the_same(lab_of):
    lab = lab_of(trunk=None, branch="trunk")
    lab.order({"trunk": "wait"})
    submit(lab.plan, ["trunk"], lab.workspace, SlurmOptions())
    wait_until(lambda: lab.words("trunk"), lab=lab)
    assert [job.run_id for job in lab.submit()] == ["branch"]
    time.sleep(3)  # longer than the scheduler takes to start what is free to start
    assert lab.words("branch") == []
    lab.go()
    ended(lab)
    assert lab.time("branch", "begin") > lab.time("trunk", "end")


def test_a_run_told_to_stop_goes_on_later_alone_and_its_branch_keeps_waiting(lab_of):
    lab = lab_of(other=None, branch="trunk", trunk=None)
    lab.order({"trunk": "wait", "other": "wait"})
    jobs = {job.run_id: job.job for job in lab.submit()}
    wait_until(lambda: lab.words("trunk") and lab.words("other"), lab=lab)
    # As before a time limit and at preemption: the steps are told, the script is not.
    subprocess.run(["scancel", "--signal=TERM", jobs["trunk"]], check=True)
    wait_until(lambda: lab.states().get("trunk") == "PENDING", lab=lab)
    assert lab.states() == {"trunk": "PENDING", "branch": "PENDING", "other": "RUNNING"}
    assert lab.submit() == []
    lab.go()
    time.sleep(2)  # within the second of its end SLURM refuses to start a job again
    # It would start by itself two minutes later.
    subprocess.run(["scontrol", "update", f"JobId={jobs['trunk']}", "StartTime=now"], check=True)
    ended(lab)
    assert lab.words("trunk") == ["begin", "stopped", "begin", "end"]
    assert lab.words("branch") == lab.words("other") == ["begin", "end"]
    assert lab.time("branch", "begin") > lab.time("trunk", "end")


def test_a_cancelled_study_leaves_the_queue_with_checkpoints_and_may_be_launched_again(lab_of):
    lab = lab_of(trunk=None, branch="trunk", last=None)
    lab.order({"trunk": "wait"})
    lab.submit(at_once=1)
    wait_until(lambda: lab.words("trunk"), lab=lab)
    assert sorted(job.run_id for job in cancel(lab.workspace, STUDY)) == sorted(lab.names)
    ended(lab)
    assert [lab.words(name) for name in lab.names] == [["begin", "stopped"], [], []]
    assert cancel(lab.workspace, STUDY) == []
    lab.go()
    assert len(lab.submit()) == 3
    assert not list(lab.workspace.runs.glob("*/cancel"))
    ended(lab)
    assert [lab.words(name) for name in lab.names] == [["begin", "stopped", "begin", "end"]] + [["begin", "end"]] * 2


def test_a_run_whose_node_fails_is_queued_again_by_slurm_itself(lab_of):
    lab = lab_of(trunk=None, branch="trunk")
    lab.order({"trunk": "wait"})
    trunk, _ = lab.submit()
    wait_until(lambda: lab.words("trunk"), lab=lab)
    shown = subprocess.run(["squeue", "--noheader", "--format=%N"], capture_output=True, text=True, check=True)
    node = f"NodeName={shown.stdout.split()[0]}"
    subprocess.run(["scontrol", "update", node, "State=DOWN", "Reason=test"], check=True)
    wait_until(lambda: lab.states() == {"trunk": "PENDING", "branch": "PENDING"}, lab=lab)
    lab.go()
    time.sleep(6)  # a node that only says it failed still ends what it runs, and takes the job no second time before
    subprocess.run(["scontrol", "update", f"JobId={trunk.job}", "StartTime=now"], check=True)
    ended(lab)
    subprocess.run(["scontrol", "update", node, "State=RESUME"], capture_output=True)  # refused if it is back already
    assert [word for word in lab.words("trunk") if word != "stopped"] == ["begin", "begin", "end"]
    assert lab.words("branch") == ["begin", "end"]


def test_a_task_that_its_user_ends_stays_ended_and_its_branch_goes_on(lab_of):
    lab = lab_of(trunk=None, branch="trunk")
    lab.order({"trunk": "wait"})
    trunk, _ = lab.submit()
    wait_until(lambda: lab.words("trunk"), lab=lab)
    subprocess.run(["scancel", trunk.job], check=True)
    ended(lab)
    assert [lab.words(name) for name in lab.names] == [["begin", "stopped"], ["begin", "end"]]


def test_a_request_to_stop_reaches_what_is_queued(lab_of):
    lab = lab_of(only=None)
    lab.submit(extra=("begin=now+3",))
    (lab.workspace.runs / "only").mkdir(parents=True)
    (lab.workspace.runs / "only" / "cancel").touch()
    ended(lab)
    assert lab.words("only") == [] and "only was cancelled before it began" in lab.logs()


def test_what_sbatch_refuses_is_said_and_queues_nothing(lab_of):
    lab = lab_of(only=None)
    with pytest.raises(SlurmError, match=r"sbatch: .*invalid partition specified: elsewhere"):
        lab.submit(partition="elsewhere")
    assert lab.states() == {} and lab.words("only") == []


def test_a_sweep_larger_than_an_array_takes_several(lab_of, monkeypatch):
    lab = lab_of(trunk=None, first="trunk", second="trunk")
    monkeypatch.setattr("launch.slurm._parts", lambda names: [names[:2], names[2:]])
    lab.order({"trunk": "wait"})
    first, second, third = (job.job for job in lab.submit())
    assert first.partition("_")[0] == second.partition("_")[0] != third.partition("_")[0]
    wait_until(lambda: lab.words("trunk"), lab=lab)
    time.sleep(3)
    assert lab.words("first") == lab.words("second") == []
    lab.go()
    ended(lab)
    assert [lab.words(name) for name in lab.names] == [["begin", "end"]] * 3

"""Runs as tasks of Ray: what an end means, without Ray; then a Ray of this machine, whose runs are a stand-in's."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from launch import ray_jobs
from launch.ray_options import RayOptions
from scaling.attempts import GIVE_UP, begin
from scaling.config import Placement, to_dict
from scaling.plan_file import PlanFile, read_plan
from scaling.record import RunDirectory
from scaling.workspace import Workspace

STAND_IN = Path(__file__).with_name("stand_in.py")


def plan_of(root: Path, *names: str, trunk_of=()) -> PlanFile:
    """A plan of runs with these names, and its file."""
    trunk_of = dict(trunk_of)
    trunk = {name: {"run_id": trunk_of[name], "tokens": 1} if name in trunk_of else None for name in names}
    runs = [{"run_id": name, "config": {"trunk": trunk[name]}, "keep_tokens": []} for name in names]
    path = root / "studies" / "tiny.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": "tiny", "placement": to_dict(Placement(grace_seconds=5.0)), "runs": runs}))
    return read_plan(path)


def told(root: Path) -> list[dict]:
    path = root / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpus": 0}, "--ray.cpus 0: must be positive"),
        ({"at_once": 0}, "--ray.at-once 0: must be positive"),
        ({"gpus": -1}, "--ray.gpus -1: must not be negative"),
        ({"nodes": 2}, "--ray.nodes 2: without --ray.address"),
    ],
)
def test_options_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RayOptions(**changes)


def test_without_ray_an_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=re.escape("pip install 'scaling-lab[ray]'")):
        ray_jobs.submit(plan_of(tmp_path, "a"), ["a"], Workspace(root=tmp_path), RayOptions())


def ends(tmp_path, monkeypatch, *codes, times=1):
    """The outcome of run `a` after its tasks have ended so, and the sweep."""
    sweep = ray_jobs.Sweep(
        plan=plan_of(tmp_path, "a"), workspace=Workspace(root=tmp_path), options=RayOptions(), left=["a"]
    )
    monkeypatch.setattr(ray_jobs, "_code", lambda code: code)
    for _ in range(times):
        sweep.under_way["a"] = ray_jobs.Attempt(list(codes))
        ray_jobs._ended(sweep, "a")
    return sweep.outcomes.get("a"), sweep


def test_an_end_is_trained_resumed_or_failed_by_its_code(tmp_path, monkeypatch):
    assert ends(tmp_path, monkeypatch, 0)[0] == "trained"
    assert ends(tmp_path, monkeypatch, 75, times=9)[0] is None
    outcome, sweep = ends(tmp_path, monkeypatch, 1)
    assert outcome.startswith("failed: exit code 1; see ")
    assert sweep.left == []


def test_a_run_that_another_process_trains_is_tried_later(tmp_path, monkeypatch):
    outcome, sweep = ends(tmp_path, monkeypatch, 76)
    assert outcome is None
    assert sweep.held_until["a"] > time.monotonic()


def test_a_run_is_lost_a_limited_number_of_times_before_it_begins(tmp_path, monkeypatch):
    assert ends(tmp_path, monkeypatch, -9, times=GIVE_UP - 1)[0] is None
    outcome, sweep = ends(tmp_path, monkeypatch, -9, times=GIVE_UP)
    assert outcome == f"failed: lost {GIVE_UP} times before it began, the last time by -9"
    directory = RunDirectory(tmp_path / "runs" / "a")
    directory.path.mkdir(parents=True)
    sweep.left, sweep.outcomes = ["a"], {}
    for _ in range(2 * GIVE_UP):  # it begins: `scaling run` says when it is enough
        begin(directory)
        sweep.under_way["a"] = ray_jobs.Attempt([-9])
        ray_jobs._ended(sweep, "a")
    assert sweep.outcomes == {}


def test_of_a_gang_an_error_beside_a_killed_process_is_an_echo(tmp_path, monkeypatch):
    assert ends(tmp_path, monkeypatch, 1, -9)[0] is None
    assert ends(tmp_path, monkeypatch, 1, "WorkerCrashedError: gone")[0] is None
    assert ends(tmp_path, monkeypatch, 1, 75)[0] is None  # one was told to stop before all could be
    assert ends(tmp_path, monkeypatch, 0, 1)[0].startswith("failed: exit code 1")


def test_a_run_that_was_cancelled_is_not_resumed(tmp_path, monkeypatch):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "cancel").touch()
    assert ends(tmp_path, monkeypatch, 75)[0] == "cancelled"


def test_a_run_that_is_cancelled_while_it_waits_is_not_started(tmp_path, monkeypatch):
    _, sweep = ends(tmp_path, monkeypatch, 76)  # held by another: it waits
    sweep.held_until.clear()
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "cancel").touch()
    ray_jobs._start_what_can(sweep)
    assert sweep.outcomes == {"a": "cancelled"}
    assert sweep.left == []


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'scaling-lab[ray]'")

# In a process of its own: Ray reads its environment once, when it is imported.
DRIVER = """
import json, sys
from pathlib import Path
from launch import ray_jobs
from launch.ray_options import RayOptions
from scaling.plan_file import read_plan
from scaling.workspace import Workspace
ray_jobs.RUN, ray_jobs.HELD_SECONDS = {run!r}, 1.0
root, options = Path(sys.argv[1]), RayOptions(**json.loads(sys.argv[2]))
plan, say = read_plan(root / "studies" / "tiny.json"), lambda said: print(said, flush=True)
print(json.dumps(ray_jobs.train(plan, sys.argv[3:], Workspace(root=root), options, say)))
"""


def driver(root: Path, *names: str, run=(str(STAND_IN),), token=(), **options) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER.format(run=run), str(root), json.dumps(options), *names]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    (root / "home").mkdir(exist_ok=True)
    environment = {**kept, **dict(token), "HOME": str(root / "home")}
    with (root / "driver.txt").open("ab") as file:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment, start_new_session=True
        )


def outcomes_of(process: subprocess.Popen) -> tuple[dict[str, str], list[str]]:
    """And the lines that it printed before."""
    *said, last = process.communicate(timeout=200)[0].splitlines()
    return json.loads(last), said


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@needs_ray
@pytest.mark.slow
def test_every_run_is_trained_and_a_failing_one_fails_alone(tmp_path):
    names = ["b", "t", "fail", "stop", "held", "killed", "c"]
    plan_of(tmp_path, *names, trunk_of={"b": "t"})
    outcomes, said = outcomes_of(driver(tmp_path, *names))
    log = tmp_path / "studies" / "tiny" / "ray" / "fail.txt"
    assert outcomes == dict.fromkeys(names, "trained") | {"fail": f"failed: exit code 1; see {log}"}
    assert log.read_text() == "this run cannot be trained\n"
    started = [line["run"] for line in told(tmp_path)]
    assert started.index("t") < started.index("b")
    assert {name: started.count(name) for name in names} == dict.fromkeys(names, 1) | dict.fromkeys(
        ["stop", "held", "killed"], 2
    )
    assert all(line["SCALING_PROCESSES"] == "1" for line in told(tmp_path))
    assert len(said) == len(names)
    jobs = [json.loads(line) for line in (tmp_path / "studies" / "tiny" / "jobs.jsonl").read_text().splitlines()]
    assert sorted(job["run_id"] for job in jobs) == sorted(started)
    assert list((tmp_path / "home").iterdir()) == []  # the token is nowhere on disk


@needs_ray
@pytest.mark.slow
def test_a_machine_that_is_too_small_is_told_at_once(tmp_path):
    plan_of(tmp_path, "a")
    process = driver(tmp_path, "a", gpus=99)
    assert process.communicate(timeout=120)[0] == ""
    assert "--ray.gpus 99: this machine has" in (tmp_path / "driver.txt").read_text()


@needs_ray
@pytest.mark.slow
def test_an_interrupted_driver_lets_runs_write_checkpoints(tmp_path):
    plan_of(tmp_path, "long")
    process = driver(tmp_path, "long")
    wait_until(lambda: told(tmp_path))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all that it has started
    process.communicate(timeout=60)
    assert told(tmp_path)[-1] == {"stopped": told(tmp_path)[0]["pid"]}


@needs_ray
@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_running_and_submitting_again_goes_on(tmp_path):
    plan_of(tmp_path, "long", "a")
    process = driver(tmp_path, "long", "a")
    wait_until(lambda: {line.get("run") for line in told(tmp_path)} == {"long", "a"})
    process.kill()
    process.communicate()
    pid = next(line["pid"] for line in told(tmp_path) if line["run"] == "long")
    wait_until(lambda: not alive(pid))
    assert outcomes_of(driver(tmp_path, "long"))[0] == {"long": "trained"}  # what has no record


TWO_NODES = """
import sys, time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def two_nodes():
    """Ray's own way to pretend that one machine is two nodes: its address, and a token for who wants to join."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with subprocess.Popen(
        [sys.executable, "-c", TWO_NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **token},
    ) as cluster:
        yield {"address": cluster.stdout.readline().strip(), "token": token}
        cluster.communicate(timeout=60)


@needs_ray
@pytest.mark.slow
def test_a_gang_starts_on_nodes_of_its_own_and_knows_who_belongs_to_it(tmp_path):
    plan_of(tmp_path, "a", "stop")
    with two_nodes() as cluster:
        outcomes, _ = outcomes_of(driver(tmp_path, "a", "stop", nodes=2, **cluster))
    assert outcomes == {"a": "trained", "stop": "trained"}
    gang = [line for line in told(tmp_path) if line["run"] == "a"]
    assert sorted(line["SCALING_PROCESS_ID"] for line in gang) == ["0", "1"]
    assert {line["SCALING_PROCESSES"] for line in gang} == {"2"}
    assert len({line["SCALING_COORDINATOR"] for line in gang}) == 1
    assert sum(line["run"] == "stop" for line in told(tmp_path)) in (2, 3, 4)

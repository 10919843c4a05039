"""Real runs on a real Ray of this machine: trained once each, together where they are a gang."""

import json
from dataclasses import replace

import pytest

from launch.devices import usable_cores
from scaling.attempts import attempts
from scaling.config import Placement, run_id
from scaling.data.prepare import prepare
from scaling.plan import pin
from scaling.plan_file import plan_path, write_plan
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace
from tests.launch.test_ray_jobs import driver, needs_ray, outcomes_of, two_nodes
from tests.launch.tiny import run_of, study_of
from tests.xla import QUICKLY

pytestmark = [needs_ray, pytest.mark.slow]
RUN = ("-m", "launch.cli", "run")


@pytest.fixture
def study(corpus, tmp_path, monkeypatch):
    """Its data are prepared, its plan is written."""
    monkeypatch.setenv("XLA_FLAGS", QUICKLY)  # one CPU device a process
    store = prepare(run_of(corpus).data, tmp_path, lambda line: None)
    study = replace(study_of(corpus), placement=Placement(tracking="off", grace_seconds=10.0, data=1))
    study = pin(study, lambda data: replace(data, content=store.manifest.content))
    write_plan(study, Workspace(root=tmp_path))
    return study


def test_every_run_of_a_study_is_trained_once_and_one_that_cannot_be_fails_alone(study, tmp_path):
    names = [run_id(run) for run in study.runs]
    path = plan_path(Workspace(root=tmp_path), study.name)
    plan = json.loads(path.read_text())
    plan["runs"][-1]["config"]["seed"] += 1  # edited: no longer the run of its id
    path.write_text(json.dumps(plan))
    outcomes, _ = outcomes_of(driver(tmp_path, *names, run=RUN))
    *good, bad = names
    assert {name: outcomes[name] for name in good} == dict.fromkeys(good, "trained")
    assert outcomes[bad].startswith("failed: exit code 2; see ")
    assert f"run {bad} was edited" in (tmp_path / "studies" / study.name / "ray" / f"{bad}.txt").read_text()
    for name in good:
        directory = RunDirectory(tmp_path / "runs" / name)
        assert read_record(directory.record).status == "finished"
        assert [attempt.cause for attempt in attempts(directory)] == ["finished"]
    branch = next(run for run in study.runs if run.trunk)
    record = read_record(RunDirectory(tmp_path / "runs" / run_id(branch)).record)
    assert record.cost.started_from_tokens == branch.trunk.tokens


def test_a_gang_of_two_trains_one_run_together(study, tmp_path):
    name = run_id(study.runs[-1])
    write_plan(replace(study, placement=replace(study.placement, data=2)), Workspace(root=tmp_path))
    with two_nodes() as cluster:
        outcomes, _ = outcomes_of(driver(tmp_path, name, run=RUN, nodes=2, **cluster))
    log = (tmp_path / "studies" / study.name / "ray" / f"{name}.txt").read_text()
    assert outcomes == {name: "trained"}, log
    directory = RunDirectory(tmp_path / "runs" / name)
    record = read_record(directory.record)
    assert record.status == "finished"
    assert record.provenance.devices == 2 * len(usable_cores())  # on CPU a record counts the cores of all processes
    assert [attempt.cause for attempt in attempts(directory)] == ["finished"]

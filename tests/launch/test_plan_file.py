"""The plan file: what is left, what is ready, and the list of jobs."""

import json

import pytest

from launch.plan_file import left, note_jobs, read_plan, ready
from scaling.workspace import Workspace


def run(name, trunk=None, role="cell"):
    return {"run_id": name, "role": role, "config": {"trunk": trunk and {"run_id": trunk, "tokens": 64}}}


PLAN = {"name": "tiny", "placement": {}, "runs": [run("b", "t"), run("a"), run("t", role="trunk")]}


def test_a_plan_is_read_back(tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(PLAN))
    assert read_plan(tmp_path / "tiny.json") == PLAN


@pytest.mark.parametrize("text", ['{"runs"', '{"runs": []}', '{"placement": {}, "runs": [{"run_id": "a"}]}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "tiny.json").write_text(text)
    with pytest.raises(ValueError, match="launch the study again to write it anew"):
        read_plan(tmp_path / "tiny.json")


def test_trunks_come_first_and_branches_wait_for_theirs(tmp_path):
    waiting = left(PLAN, Workspace(root=tmp_path))
    assert [one["run_id"] for one in waiting] == ["t", "b", "a"]
    assert [one["run_id"] for one in ready(waiting)] == ["t", "a"]


def test_a_run_that_is_trained_is_not_left_but_a_failed_one_is(tmp_path, monkeypatch):
    for name in ("t", "a"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "record.json").write_text("{}")
    status = {"t": "diverged", "a": "failed"}
    monkeypatch.setattr(
        "launch.plan_file.read_record", lambda path: type("Record", (), {"status": status[path.parent.name]})
    )
    assert [one["run_id"] for one in ready(left(PLAN, Workspace(root=tmp_path)))] == ["b", "a"]


def test_jobs_are_appended_one_a_line(tmp_path):
    workspace = Workspace(root=tmp_path)
    note_jobs(PLAN, workspace, "ray", {"a": "1"})
    note_jobs(PLAN, workspace, "ray", {"b": "2"})
    lines = [json.loads(line) for line in (tmp_path / "studies" / "tiny" / "jobs.jsonl").read_text().splitlines()]
    assert [(line["backend"], line["job"], line["run_id"]) for line in lines] == [("ray", "1", "a"), ("ray", "2", "b")]
    assert lines[0]["time"] <= lines[1]["time"]

"""A plan as a file: whole, readable by another process, refused where it was changed."""

import json
import os
from dataclasses import replace

import pytest

from scaling.config import Placement, RunConfig, run_id
from scaling.plan import Cell, Study
from scaling.plan_file import read_plan, write_plan
from scaling.sweeps import branches
from scaling.workspace import Workspace


@pytest.fixture
def study(run: RunConfig) -> Study:
    cells = (*branches(run, [20 * run.batch_tokens, 40 * run.batch_tokens]), Cell(run=replace(run, seed=5), arm="x"))
    words = {"question": "Why?", "published": "", "shows": "", "cannot_show": "", "forecast_flops": 1.0}
    return Study(name="tiny", cells=cells, placement=Placement(microbatches=2), **words)


@pytest.fixture
def path(study, tmp_path):
    return write_plan(study, Workspace(root=tmp_path))


def test_every_run_is_read_back_with_its_placement_and_the_starts_of_its_branches(study, path):
    plan = read_plan(path)
    assert (plan.name, plan.placement) == ("tiny", Placement(microbatches=2))
    assert [plan.planned(run_id(run)).run for run in study.runs] == list(study.runs)
    starts = {run.trunk.tokens for run in study.runs if run.trunk}
    assert [plan.planned(run_id(run)).keep_tokens for run in study.runs] == [tuple(sorted(starts)), (), (), ()]


def test_a_run_is_a_line(study, path):
    lines = path.read_text().splitlines()
    assert [line.strip(",") for line in lines if line.startswith('{"run_id"')] == [
        json.dumps(entry) for entry in json.loads(path.read_text())["runs"]
    ]
    assert len([line for line in lines if line.startswith('{"run_id"')]) == len(study.runs)


def test_a_run_that_is_not_planned_is_refused_with_what_is_near(study, path):
    near = run_id(study.runs[0])
    with pytest.raises(ValueError, match=rf"tiny\.json: no run '{near[:6]}' among its 4; near it are {near}"):
        read_plan(path).planned(near[:6])
    with pytest.raises(ValueError, match=r"no run '\.\./x' among its 4$"):
        read_plan(path).planned("../x")


def test_a_run_that_was_edited_is_refused(study, path):
    name = run_id(study.runs[-1])
    path.write_text(path.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(ValueError, match=rf"run {name} was edited, its config is that of .*; plan it again"):
        read_plan(path).planned(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": []}', '{"name": "x", "placement": {}, "runs": [{}]}'])
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"plan\.json: not a whole plan"):
        read_plan(path)
    with pytest.raises(ValueError, match="there is no such plan; `scaling launch STUDY` writes it"):
        read_plan(tmp_path / "other.json")


def test_a_plan_cut_short_anywhere_is_refused(path):
    for length in reversed(range(path.stat().st_size - 1)):  # without the last newline it is whole
        os.truncate(path, length)
        with pytest.raises(ValueError, match="not a whole plan"):
            read_plan(path)

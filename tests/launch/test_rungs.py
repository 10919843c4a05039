"""A study that halves, handed to a cluster rung by rung: launching again adds the next when the one before is done."""

from dataclasses import replace

import pytest

from launch import submit
from launch.launch_command import launch
from launch.overview import overview
from launch.planned import study_plan
from launch.show_status import render
from launch.status import states
from scaling.config import RunConfig
from scaling.plan_file import read_plan
from scaling.workspace import Workspace
from tests.mirror.made import finish, folder_of

STUDY = """
question = "Which rate?"
[base]
tokens = 3000
batch = 4
[base.model]
dim = 16
layers = 1
heads = 2
context = 16
[base.data]
source = {{kind = "folder", path = "{path}"}}
tokenizer = "bytes"
vocab = 257
heldout_sequences = 4
max_epochs = 100.0
[[sweep]]
grid = {{"optim.lr" = [1e-3, 2e-3, 4e-3, 8e-3]}}
[[sweep]]
successive_halving = {{shortest = 3000, longest = 12000, factor = 2}}
"""


@pytest.fixture
def lab(corpus, tmp_path, monkeypatch):
    """A study's file, its workspace, what was handed over each time, and what was said."""
    path = tmp_path / "rungs.toml"
    path.write_text(STUDY.format(path=corpus.path))
    handed = []

    def take(plan, left, *rest):
        handed.append([plan.planned(name).run for name in left])
        return ["handed over"]

    monkeypatch.setattr(submit, "_to_slurm", take)
    monkeypatch.setattr(submit, "_on_ray", take)
    return path, Workspace(root=tmp_path / "root"), handed


def train(runs: list[RunConfig], workspace: Workspace) -> None:
    """The higher the rate, the lower the loss."""
    for run in runs:
        directory = folder_of(run, workspace.root)
        directory.live_curve.touch()
        finish(directory, run, loss=3.0 - run.optim.lr)


def ends(runs):
    return sorted((run.tokens // 64, run.optim.lr) for run in runs if run.schedule.kind != "constant")


def status_of(workspace):
    plan = study_plan(workspace.studies / "rungs.json")
    whole = overview(plan, states(plan, workspace))
    return " ".join(str(part) for part in render(whole, []).renderables)


def test_launching_again_hands_over_the_next_rung_and_status_says_so(lab, capsys):
    path, workspace, handed = lab
    command = [str(path), "--on", "slurm", "--root", str(workspace.root)]
    launch(command)
    assert [lr for _, lr in ends(handed[0])] == [1e-3, 2e-3, 4e-3, 8e-3]
    said = " ".join(capsys.readouterr().out.split())
    assert "up to 3 more runs are decided by the losses of these: launch again when all are done" in said
    assert "up to 3 more runs are decided by these losses when all of these are done" in status_of(workspace)
    train(handed[0][:-1], workspace)
    launch(command)  # one is missing: nothing is decided
    assert handed[1] == handed[0][-1:]
    train(handed[1], workspace)
    assert "up to 3 more runs are decided by these losses now: launch again" in status_of(workspace)
    launch(command)
    assert [lr for _, lr in ends(handed[2])] == [4e-3, 8e-3]
    assert read_plan(workspace.studies / "rungs.json").later == 1
    train(handed[2], workspace)
    capsys.readouterr()
    launch(command)
    assert [lr for _, lr in ends(handed[3])] == [8e-3]
    assert "more runs are decided" not in capsys.readouterr().out + status_of(workspace)


def test_ray_is_waited_for_so_one_launch_goes_through_all_rungs(lab, monkeypatch):
    path, workspace, handed = lab
    take = submit._on_ray

    def train_all(plan, left, *rest):
        said = take(plan, left, *rest)
        train(handed[-1], workspace)
        return said

    monkeypatch.setattr(submit, "_on_ray", train_all)
    launch([str(path), "--on", "ray", "--root", str(workspace.root)])
    assert [[lr for _, lr in ends(runs)] for runs in handed] == [[1e-3, 2e-3, 4e-3, 8e-3], [4e-3, 8e-3], [8e-3]]
    assert replace(handed[2][-1], trunk=None).tokens == max(run.tokens for runs in handed for run in runs)

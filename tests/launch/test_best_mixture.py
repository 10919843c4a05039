"""A study that asks for the best mixture: the law of its proxies decides one more run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.mixing import law_losses
from experiments.mixture import study
from launch import best_mixture, launch_command
from launch.best_mixture import with_best_mixture
from launch.launch_command import prepared
from scaling.config import DataConfig, run_id
from scaling.plan_file import write_plan
from scaling.record import PartLoss, PartTokens, read_record, write_record
from scaling.workspace import Workspace
from tests.mirror.made import finish, folder_of

NAMES = ("poems", "prose")
LAW = np.array([[2.0, 1.0, -3.0], [2.0, 0.3, 1.2]])  # c, k, t of poems; the mean is lowest inside
LEAST = 0.1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two sources; the second has little text."""
    root = tmp_path_factory.mktemp("sources")
    for name, files in zip(NAMES, (60, 12), strict=True):
        (root / name).mkdir()
        for place in range(files):
            words = " ".join(f"{name}{(place * k) % 17} said {k}" for k in range(40))
            (root / name / f"{place}.txt").write_text(words)
    return tuple(str(root / name) for name in NAMES)


@pytest.fixture
def lab(folders, tmp_path):
    """A study, asked for anew each time, and the workspace where its data are prepared."""
    data = DataConfig(vocab=300, heldout_sequences=2, validation_fraction=0.2, max_epochs=500.0)

    def asked(**changes):
        options = {"points": 6, "repeats": 2, "larger": 3, "least": LEAST, "tokens_per_param": 0.5} | changes
        return study(folders=folders, data=options.pop("data", data), context=16, **options)

    return asked, Workspace(root=tmp_path)


def train(planned, workspace, arm):
    """Records of the runs of an arm, with the losses of the law."""
    for cell in planned.cells:
        if cell.arm == arm:
            finish_run(cell.run, workspace)


def finish_run(run, workspace):
    directory = folder_of(run, workspace.root)
    directory.live_curve.touch()
    finish(directory, run)
    weights = np.array(run.data.mixture.weights)
    losses = law_losses(LAW, weights[None] / weights.sum())[0]
    held = {
        name: PartLoss(loss=loss, loss_se=0.1, bits_per_byte=None, bits_per_byte_se=None, sequences=2, tokens=32)
        for name, loss in zip(NAMES, losses.tolist(), strict=True)
    }
    record = read_record(directory.record)
    seen = (weights / weights.sum() * run.tokens).astype(int).tolist()
    parts = {name: PartTokens(seen=n, unique=n, epochs=1.0) for name, n in zip(NAMES, seen, strict=True)}
    record = replace(record, heldout=replace(record.heldout, loss=float(losses.mean()), parts=held))
    directory.record.unlink()
    write_record(directory, replace(record, tokens=replace(record.tokens, parts=parts, seen=sum(seen))))


def test_the_best_mixture_is_decided_when_all_proxies_are_trained(lab):
    asked, workspace = lab
    first = asked()
    assert first.later == 1 and with_best_mixture(first, workspace) == first  # nothing is prepared
    planned = prepared(first, workspace)
    *most, last = [cell.run for cell in planned.cells if cell.arm == "proxy"]
    for run in most:
        finish_run(run, workspace)
    assert with_best_mixture(asked(), workspace) == first
    finish_run(last, workspace)
    grown = with_best_mixture(asked(), workspace)
    added = grown.cells[-1]
    assert grown.later == 0 and grown.cells[:-1] == tuple(cell for cell in first.cells if cell.run != added.run)
    shares = np.array([(a / 100, 1 - a / 100) for a in range(10, 91)])
    best = shares[law_losses(LAW, shares).mean(1).argmin()]
    assert added.arm == "predicted best" and added.run.data.mixture.weights == pytest.approx(tuple(best))
    assert added.run.model == next(cell.run.model for cell in grown.cells if cell.arm == "larger")
    assert with_best_mixture(asked(), workspace) == grown


def test_a_best_mixture_that_is_planned_already_is_not_planned_twice(lab):
    asked, workspace = lab
    planned = prepared(asked(larger=6), workspace)
    train(planned, workspace, "proxy")
    best = with_best_mixture(asked(larger=6), workspace).best_mixture.weights
    (there,) = [cell.run for cell in planned.cells if cell.run.data.mixture.weights == best and cell.arm == "larger"]
    grown = prepared(with_best_mixture(asked(larger=6), workspace), workspace)
    assert grown.later == 0 and len(grown.cells) == len(planned.cells)
    assert [run_id(cell.run) for cell in grown.cells if cell.arm == "predicted best"] == [run_id(there)]


def test_a_launch_goes_on_with_the_best_mixture_and_writes_it_down(lab, monkeypatch):
    asked, workspace = lab
    given = []

    def train_all(study, options):
        given.append(study)
        if len(given) == 1:
            train(prepared(study, workspace), workspace, "proxy")
        return study, {"x": "finished"}

    monkeypatch.setattr(launch_command, "train_all", train_all)
    options = launch_command.LaunchOptions(root=workspace.root)
    trained, _ = launch_command._train_rungs(asked(), options, lambda: with_best_mixture(asked(), workspace))
    assert [study.later for study in given] == [1, 0] and trained.best_mixture.weights


def test_the_plan_says_what_was_asked_and_decided(lab):
    asked, workspace = lab
    planned = prepared(asked(), workspace)
    said = json.loads(write_plan(planned, workspace).read_text())["best_mixture"]
    assert said["proxies"] == "proxy" and said["parts"] == list(NAMES)
    assert said["weights"] == [] and said["least"] == LEAST
    train(planned, workspace, "proxy")
    said = json.loads(write_plan(with_best_mixture(asked(), workspace), workspace).read_text())["best_mixture"]
    assert sum(said["weights"]) == pytest.approx(1) and len(said["most"]) == 2


def test_a_part_is_not_asked_for_more_often_than_it_may_be_read(lab, monkeypatch):
    asked, workspace = lab
    train(prepared(asked(), workspace), workspace, "proxy")
    free = with_best_mixture(asked(), workspace).best_mixture
    assert free.most == (1.0, 1.0) and free.weights[0] > 0.25
    monkeypatch.setattr(best_mixture, "limits", lambda run, workspace: (0.25, 1.0))
    assert with_best_mixture(asked(), workspace).best_mixture.weights == (0.25, 0.75)


def test_proxies_that_diverged_are_left_aside_and_too_few_are_said(lab):
    asked, workspace = lab
    planned = prepared(asked(), workspace)
    train(planned, workspace, "proxy")
    proxies = [cell.run for cell in planned.cells if cell.arm == "proxy"]
    for run in proxies[:-1]:
        record = folder_of(run, workspace.root).record
        values = read_record(record)
        record.unlink()
        write_record(folder_of(run, workspace.root), replace(values, status="diverged", heldout=None))
    with pytest.raises(ValueError, match=r"the law of its proxies cannot be fitted: .*1 usable run for 3"):
        with_best_mixture(asked(), workspace)

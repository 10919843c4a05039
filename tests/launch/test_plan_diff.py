import json
from dataclasses import replace

import pytest

from launch import cli, studies
from launch.plan_command import PlanOptions
from launch.plan_diff import difference, launched
from scaling.config import run_id
from scaling.hardware import HARDWARE
from scaling.plan import Cell, pin, price
from scaling.plan_file import write_plan
from scaling.record import RunDirectory
from scaling.sweeps import grid, seeds
from scaling.workspace import Workspace
from tests.test_plan import study_of


@pytest.fixture
def workspace(tmp_path):
    return Workspace(root=tmp_path)


def with_content(data):
    return replace(data, content="c" * 64)


def compared(study, workspace):
    study, entries, notes = launched(study, workspace)
    return difference(price(study, HARDWARE["cpu-core"]), entries, workspace, notes)


def test_what_a_change_adds_keeps_and_orphans_on_data_taken_from_the_last_launch(run, workspace):
    write_plan(pin(study_of(seeds(run, [0, 1, 2])), with_content), workspace)
    found = compared(study_of(seeds(run, [1, 2, 3, 4])), workspace)
    assert [cell.run.seed for cell in found.added] == [3, 4]
    assert [cell.run.seed for cell in found.kept] == [1, 2]
    assert [entry["config"]["seed"] for entry in found.orphaned] == [0]
    assert found.changed == {"seed": ([0], [3, 4])}
    assert "not prepared as they are now; taken as in the last launch" in found.notes[0]


def test_the_price_is_that_of_what_is_added_and_not_trained(run, workspace):
    write_plan(pin(study_of(seeds(run, [0])), with_content), workspace)
    added = pin(study_of(seeds(run, [1, 2])), with_content)
    directory = RunDirectory(workspace.runs / run_id(added.runs[0]))
    directory.path.mkdir(parents=True)
    directory.record.write_text("{}")
    found = compared(study_of(seeds(run, [0, 1, 2])), workspace)
    alone = price(study_of([added.cells[1]]), HARDWARE["cpu-core"])
    assert found.total["flops"] == pytest.approx(alone.total("flops"), rel=1e-12)
    assert found.trained == {run_id(added.runs[0])}


def test_a_run_in_another_arm_is_kept_and_counted(run, workspace):
    write_plan(pin(study_of([Cell(run=run, arm="a")]), with_content), workspace)
    found = compared(study_of([Cell(run=run, arm="b")]), workspace)
    assert (len(found.added), len(found.kept), found.relabelled) == (0, 1, 1)


def test_an_unchanged_study_differs_in_nothing(run, workspace):
    study = study_of(grid(run, {"optim.lr": [1e-3, 2e-3]}))
    write_plan(pin(study, with_content), workspace)
    found = compared(study, workspace)
    assert (found.added, found.orphaned, found.changed) == ((), (), {})
    assert found.total["flops"] == 0


def test_data_that_the_last_launch_did_not_have_make_new_runs(run, workspace):
    write_plan(pin(study_of([Cell(run=run)]), with_content), workspace)
    other = replace(run, data=replace(run.data, heldout_sequences=8))
    found = compared(study_of([Cell(run=run), Cell(run=other)]), workspace)
    assert [cell.run for cell in found.added] == [other]
    assert any("were not in the last launch" in note for note in found.notes)


def test_without_a_launch_every_run_is_added(run, workspace):
    found = compared(study_of(seeds(run, 3)), workspace)
    assert len(found.added) == 3
    assert "was never launched" in found.notes[0]


def test_the_command_says_what_is_added_and_what_it_takes(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.toml"
    text = (
        'question = "?"\n[base]\ntokens = 1e5\nmodel = {{ dim = 16, layers = 2, heads = 1 }}\n[[sweep]]\nseeds = {}\n'
    )
    path.write_text(text.format("[0, 1]"), encoding="utf-8")
    _, study = studies.parse(str(path), PlanOptions, [], "scaling plan")
    write_plan(pin(study, with_content), Workspace(root=tmp_path))
    path.write_text(text.format("[1, 2, 3]"), encoding="utf-8")
    command = ["scaling", "plan", str(path), "--diff", "--root", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    cli.main()
    said = capsys.readouterr().out
    assert "study mine: 2 added, 1 kept, 1 orphaned" in said
    assert "seed: 0 -> 2, 3" in said
    assert "to train: 2 runs" in said
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    cli.main()
    found = json.loads(capsys.readouterr().out)
    assert [len(found[kind]) for kind in ("added", "kept", "orphaned")] == [2, 1, 1]

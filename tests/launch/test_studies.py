import os
from dataclasses import replace

import pytest

import experiments
from launch import launch_command, studies
from launch.launch_command import LaunchOptions
from launch.plan_command import PlanOptions
from launch.trained import trained
from scaling.config import Placement, run_id
from scaling.outcome import record_of
from scaling.plan_file import write_plan
from scaling.provenance import provenance
from scaling.record import Heldout, RunDirectory, Tokens, write_record
from scaling.sweeps import seeds
from scaling.workspace import Workspace
from tests.test_plan import study_of

BODY = '''"""Does it work?"""
from scaling.plan import Study


def study(*, seed: int = 0) -> Study:
    """A study.

    seed: of it
    """
    {}
'''


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A study file in a folder of its own, looked for where those of the laboratory lie; returns its name."""
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken", "def study(:\n", "broken.py, line 1: cannot be imported: SyntaxError: invalid syntax"),
        ("raising", "x = 1\nx / 0\n", "raising.py, line 2: cannot be imported: ZeroDivisionError: division by zero"),
        (
            "lacking",
            "import no_such_module\n",
            "lacking.py, line 1: cannot be imported: ModuleNotFoundError: No",
        ),
        ("empty", "", r"empty.py: has no function study\(...\)"),
        ("refusing", BODY.format('raise ValueError("seed is bad")'), "refusing.py: seed is bad"),
        ("failing", BODY.format("return {}[seed]"), "failing.py, line 10: KeyError: 0"),
        ("listing", BODY.format("return [1, 2]"), r"listing.py: study\(\) returned list, not a Study"),
        ("untyped", "def study(*, seed=0): ...", r"untyped.py: study\(\): 'seed' needs a type and a default"),
        ("needy", "def study(*, seed: int): ...", r"needy.py: study\(\): 'seed' needs a type and a default"),
    ],
)
def test_a_study_file_that_is_none_is_refused_with_file_and_cause(written, name, text, said):
    with pytest.raises(ValueError, match=rf"^[^\n]*{said}[^\n]*$"):
        studies.parse(written(name, text), PlanOptions, [], "scaling plan")


def test_a_study_in_toml_takes_the_options_of_its_command(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'question = "?"\n[base]\ntokens = 1e5\nmodel = { dim = 16, layers = 2, heads = 1 }\n', encoding="utf-8"
    )
    options, study = studies.parse(str(path), LaunchOptions, ["--workers", "3"], "scaling launch")
    assert options.workers == 3
    assert study.name == "mine"
    assert len(study.cells) == 1


def test_a_launch_goes_on_until_the_study_grows_no_more(monkeypatch, run):
    grown = [study_of(seeds(run, count)) for count in (2, 3, 3)]
    given = []
    monkeypatch.setattr(
        launch_command, "train_all", lambda study, options: given.append(len(study.cells)) or (study, {"x": "finished"})
    )
    left = iter(grown[1:])
    study, outcomes = launch_command._train_rungs(grown[0], LaunchOptions(), lambda: next(left))
    assert given == [2, 3]
    assert study is grown[1]
    assert outcomes == {"x": "finished"}


def test_a_finished_study_is_not_reported_again_until_its_plan_or_a_record_changes(run, tmp_path):
    study, workspace = study_of(seeds(run, 2)), Workspace(root=tmp_path)
    page, plan = workspace.reports / study.name / "report.html", write_plan(study, workspace)
    records = [workspace.runs / run_id(each) / "record.json" for each in study.runs]
    for path in (page, *records):
        path.parent.mkdir(parents=True)
        path.touch()
    for path, age in ((plan, 9), (records[0], 8), (records[1], 7), (page, 6)):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert launch_command.standing_report(study, workspace) == page
    write_plan(study, workspace)  # says the same: left alone
    assert launch_command.standing_report(study, workspace) == page
    os.utime(records[1], (1e9, 1e9))
    assert launch_command.standing_report(study, workspace) is None
    os.utime(records[1], (1e9 - 7, 1e9 - 7))
    write_plan(replace(study, question="another"), workspace)
    assert launch_command.standing_report(study, workspace) is None
    page.unlink()
    assert launch_command.standing_report(study, workspace) is None


def test_only_a_file_that_halves_can_grow(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[[sweep]]\nsuccessive_halving = { shortest = 1, longest = 2 }\n", encoding="utf-8")
    assert studies.grows(str(path))
    path.write_text("[[sweep]]\nseeds = 3\n", encoding="utf-8")
    assert not studies.grows(str(path)) and not studies.grows("demo")


def test_losses_are_read_from_records_of_runs_that_finished_or_diverged(run, tmp_path):
    workspace = Workspace(root=tmp_path)
    heldout = Heldout(loss=2.5, loss_se=0.1, bits_per_byte=None, bits_per_byte_se=None, sequences=4, tokens=64)
    for seed, status in enumerate(("finished", "diverged", "failed")):
        record = record_of(
            replace(run, seed=seed), Placement(), status=status, message="", curve=None,
            heldout=heldout if status == "finished" else None,
            tokens=Tokens(seen=1, loss_bearing=1, unique=1, epochs=0.1), started_from_tokens=0,
            device_seconds=1.0, wall_seconds=1.0, attempts=1, made_with=provenance("cpu", 1),
        )  # fmt: skip
        directory = RunDirectory(workspace.runs / str(seed))
        directory.path.mkdir(parents=True)
        write_record(directory, record)
    assert dict(trained(workspace).losses) == {"0": 2.5, "1": None}

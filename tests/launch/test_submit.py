import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from launch import launch_command, submit
from launch.slurm import Job
from launch.slurm_options import SlurmOptions
from launch.submit import placed, print_script, submit_study
from scaling.config import Placement, Source, run_id
from scaling.plan_file import read_plan, write_plan
from scaling.workspace import Workspace
from tests.launch.tiny import study_of

STUDY = study_of(Source(kind="folder", path="/texts"))


def placement_of(options, **given):
    return placed(replace(STUDY, placement=Placement(**given)), options).placement


@pytest.mark.parametrize(
    ("options", "given", "data"),
    [
        (SlurmOptions(), {}, 1),
        (SlurmOptions(), {"data": 4}, 4),  # of devices that one node's CPU pretends to have
        (SlurmOptions(nodes=2), {}, 2),
        (SlurmOptions(nodes=2, gpus=2), {}, 4),
        (SlurmOptions(nodes=2, gpus=2), {"fsdp": 2}, 2),
    ],
)
def test_a_run_takes_all_devices_of_its_nodes(options, given, data):
    assert placement_of(options, **given) == Placement(**given | {"data": data})


def test_a_placement_that_does_not_fit_the_nodes_is_refused():
    with pytest.raises(ValueError, match=r"data=2 .*there are 4 devices"):
        placement_of(SlurmOptions(nodes=2, gpus=2), data=2)


def test_a_time_limit_without_time_to_stop_is_refused():
    with pytest.raises(ValueError, match=r"--slurm.time 1: a run is told to stop 60 s before its limit"):
        placement_of(SlurmOptions(time="1"))


def test_the_script_is_printed_and_nothing_is_written(tmp_path, capsys):
    print_script(STUDY, Workspace(root=tmp_path), SlurmOptions(at_once=2))
    told = capsys.readouterr().out
    assert "#SBATCH --array=1-4%2\n" in told and f"{tmp_path}/studies/tiny.json" in told
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_record_is_submitted_and_told(tmp_path, monkeypatch):
    workspace = Workspace(root=tmp_path)
    write_plan(STUDY, workspace)
    names = [run_id(run) for run in STUDY.runs]
    asked = []

    def queued(plan, run_ids, *_):
        asked.append((plan, run_ids))
        return [Job(run_id=name, job=f"7_{task}", state="PENDING", reason="") for task, name in enumerate(run_ids[1:])]

    monkeypatch.setattr(submit, "submit", queued)
    told = io.StringIO()
    submit_study(STUDY, workspace, SlurmOptions(), Console(file=told))
    assert asked == [(read_plan(tmp_path / "studies" / "tiny.json"), names)]
    lines = told.getvalue().splitlines()
    assert lines[0] == "3 runs queued as array 7; 1 were queued or running before, 0 are done"
    assert lines[1] == f"logs: {tmp_path}/studies/tiny/slurm"


def test_the_command_line_reaches_the_script(tmp_path, capsys):
    words = ["demo", "--on", "slurm", "--dry-run", "--root", str(tmp_path), "--slurm.partition", "gpu", "--slurm.gpus"]
    launch_command.launch([*words, "2", "--slurm.extra", "exclusive", "constraint=a100"])
    told = capsys.readouterr().out
    for line in ("--partition=gpu", "--gpus-per-node=2", "--exclusive", "--constraint=a100", "--job-name=demo"):
        assert f"#SBATCH {line}\n" in told
    assert re.search(rf"run {tmp_path}/studies/demo.json \"\$run\" --root {tmp_path}\n", told)


def test_options_of_this_machine_are_refused_for_a_cluster():
    with pytest.raises(ValueError, match="--workers 2 is of this machine; --on slurm has options of its own"):
        launch_command.launch(["demo", "--on", "slurm", "--workers", "2"])
    with pytest.raises(ValueError, match="--max-hours and --max-cost are watched by a launch here"):
        launch_command.launch(["demo", "--on", "ray", "--max-cost", "2"])

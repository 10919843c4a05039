"""Handing a study over: how many devices its runs get, and what is written, printed and told."""

import io
from dataclasses import replace

import pytest
import yaml
from rich.console import Console

from launch import ray_jobs
from launch.kubernetes_options import KubernetesOptions
from launch.ray_options import RayOptions
from launch.submit import placed, print_script, submit_study
from scaling.config import Placement, Source, run_id
from scaling.plan_file import write_plan
from scaling.workspace import Workspace
from tests.launch.tiny import study_of

GPUS = KubernetesOptions(image="registry/lab:1", claim="lab", devices=2, nodes=2)
STUDY = study_of(Source())


def console():
    return Console(file=io.StringIO(), width=200)


@pytest.mark.parametrize(
    ("options", "data"),
    [
        (GPUS, 4),
        (replace(GPUS, accelerator="none"), 2),  # a CPU a node
        (replace(GPUS, accelerator="none", nodes=1), 1),
        (RayOptions(gpus=4), 4),
        (RayOptions(nodes=2, address="auto"), 2),
    ],
)
def test_a_run_is_spread_over_all_devices_of_its_nodes(options, data):
    assert placed(STUDY, options).placement.data == data


def test_a_run_that_cannot_be_placed_on_its_devices_is_refused():
    with pytest.raises(ValueError, match="tensor=3"):
        placed(replace(STUDY, placement=Placement(tensor=3)), RayOptions(gpus=3))


def test_a_dry_run_prints_the_manifests_with_branches_suspended(tmp_path, capsys):
    print_script(STUDY, Workspace(root=tmp_path), GPUS)
    found = list(yaml.safe_load_all(capsys.readouterr().out))
    suspended = {one["metadata"]["labels"]["scaling-lab/run"]: one["spec"]["suspend"] for one in found}
    assert suspended == {run_id(run): run.trunk is not None for run in STUDY.runs}
    assert list(tmp_path.iterdir()) == []


def test_a_study_for_kubernetes_is_written_and_printed_and_says_how_to_apply_it(tmp_path, capsys):
    workspace, said = Workspace(root=tmp_path), console()
    write_plan(STUDY, workspace)
    submit_study(STUDY, workspace, GPUS, said)
    path = tmp_path / "studies" / "tiny" / "kubernetes" / "jobsets.yaml"
    assert capsys.readouterr().out == path.read_text()
    assert f"kubectl apply -f {path}" in said.file.getvalue()


def test_a_study_on_ray_is_waited_for_and_ends_in_an_error_if_a_run_does(tmp_path, monkeypatch):
    workspace, said = Workspace(root=tmp_path), console()
    write_plan(STUDY, workspace)
    names = [run_id(run) for run in STUDY.runs]
    outcomes = dict.fromkeys(names, "trained")
    monkeypatch.setattr(ray_jobs, "train", lambda plan, left, *_: {name: outcomes[name] for name in left})
    submit_study(STUDY, workspace, RayOptions(), said)
    assert "4 of 4 runs trained" in said.file.getvalue()
    outcomes[names[0]] = "failed: exit code 1"
    with pytest.raises(SystemExit, match="1 of 4 runs did not finish"):
        submit_study(STUDY, workspace, RayOptions(), said)

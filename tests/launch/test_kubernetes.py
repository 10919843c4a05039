"""Manifests against written examples and the published API; kubectl is one that writes down what it is told."""

import json
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from launch.cancel_commands import cancel as cancel_study
from launch.kubernetes import as_yaml, cancel, jobset_name, jobsets, poll, submit
from launch.kubernetes_options import KubernetesOptions
from scaling.config import Placement, run_id
from scaling.plan_file import PlanFile, plan_path, read_plan
from scaling.workspace import Workspace
from tests.launch import made

FIRST, SECOND, THIRD = RUNS = [name * 8 for name in ("0a", "1e", "22")]
PLAN = PlanFile(
    path=Path("studies/tiny_study.json"),
    name="tiny_study",
    placement=Placement(grace_seconds=45.5),
    runs={name: {"config": {"trunk": None}} for name in RUNS},
)
GPU = KubernetesOptions(image="registry/lab:1", claim="lab")
CASES = {
    "gpu": GPU,
    "gpu_gang": replace(
        GPU,
        nodes=2,
        devices=8,
        cpus=64,
        memory="512G",
        label="nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3",
        tolerations=("nvidia.com/gpu:NoSchedule", "team=laws:NoExecute"),
        service_account="trainer",
        priority_class="low",
        at_once=1,
    ),
    "tpu_slice": replace(
        GPU, accelerator="tpu", nodes=4, devices=4, label="tpu-v5-lite-podslice", topology="4x4", namespace="research"
    ),
    "gpu_store": replace(GPU, claim="", store="s3://bucket/lab", service_account="writer"),
}
GOLDEN = Path(__file__).parent / "golden"


def documents(options, plan=PLAN):
    return list(yaml.safe_load_all(as_yaml(jobsets(plan, RUNS, options))))


def job_of(document):
    return document["spec"]["replicatedJobs"][0]["template"]["spec"]


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_as_written_down(case):
    assert as_yaml(jobsets(PLAN, RUNS[:2], CASES[case])) == (GOLDEN / f"{case}.yaml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_the_published_api_knows_every_field(case):
    """Kubeflow publishes models of the JobSet API, pods included; what they do not know is lost on the way."""
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="pip install kubeflow-trainer-api")
    for document in documents(CASES[case]):
        assert models.JobsetV1alpha2JobSet.from_dict(document).to_dict() == document


def test_the_models_of_the_api_would_lose_a_wrong_field():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="pip install kubeflow-trainer-api")
    document = documents(GPU)[0]
    job_of(document)["template"]["spec"]["terminationGraceSeconds"] = 1
    assert models.JobsetV1alpha2JobSet.from_dict(document).to_dict() != document


@pytest.mark.parametrize("study", ["chinchilla", "Über alles", "1b", "a" * 60, "x_" * 15, "---"])
def test_names_are_labels_that_leave_room_for_a_pods_name(study):
    name = jobset_name(study, "0123456789abcdef")
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)  # RFC 1035: it names a service
    assert len(f"{name}-run-0-99999-abcde") <= 63


def test_a_run_id_that_looks_like_a_number_stays_text():
    """1e...: a float to readers of YAML 1.2, such as kubectl's, though not to PyYAML."""
    assert as_yaml([{"run": "12e4", "octal": "0123", "name": "a12"}]) == "---\nrun: '12e4'\noctal: '0123'\nname: a12\n"


def test_pods_outlive_the_grace_of_their_run():
    pod = job_of(documents(GPU)[0])["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 76  # 45.5 rounded up, and 30 to spare


def test_being_stopped_restarts_without_counting_and_an_error_does_not_restart():
    spec = documents(GPU)[0]["spec"]
    policy = job_of(documents(GPU)[0])["podFailurePolicy"]["rules"]
    assert policy[0] == {
        "action": "FailJob",
        "onExitCodes": {"containerName": "run", "operator": "In", "values": [75, 76, 143]},
    }
    assert spec["failurePolicy"]["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert spec["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert spec["failurePolicy"]["maxRestarts"] == 0  # exit code 1 is of no rule, so it is counted
    assert job_of(documents(GPU)[0])["backoffLimit"] == 0


def test_a_gang_is_indexed_and_told_its_first_pod_by_the_headless_service():
    document = documents(CASES["gpu_gang"])[0]
    name, job = document["metadata"]["name"], job_of(document)
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    environment = {one["name"]: one for one in job["template"]["spec"]["containers"][0]["env"]}
    assert environment["SCALING_COORDINATOR"]["value"] == f"{name}-run-0-0.{name}:8476"
    assert environment["SCALING_PROCESSES"]["value"] == "2"
    assert "job-completion-index" in environment["SCALING_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]


def test_the_environment_of_a_pod_is_what_hosts_reads(monkeypatch):
    from scaling.parallel.hosts import Joined, _explicit, cluster

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    for one in job_of(documents(GPU)[0])["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(one["name"], one["value"])
    assert cluster() is None  # alone, and nobody asks the API server
    for one in job_of(documents(CASES["gpu_gang"])[0])["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(one["name"], one.get("value", "1"))
    name = jobset_name("tiny_study", "0a" * 8)
    assert _explicit() == Joined(f"{name}-run-0-0.{name}:8476", 2, 1)


def test_runs_beyond_the_limit_are_suspended():
    assert [one["spec"]["suspend"] for one in documents(replace(GPU, at_once=2))] == [False, False, True]
    assert [one["spec"]["suspend"] for one in documents(GPU)] == [False] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claim": "My_Lab"}, "claim 'My_Lab' is no name of Kubernetes"),
        ({"devices": 0}, "devices 0 must be positive"),
        ({"at_once": 0}, "at-once 0 must be positive"),
        ({"memory": "lots"}, "memory 'lots' is no amount"),
        ({"tolerations": ("a=b:Never",)}, "tolerations 'a=b:Never' is no KEY"),
        ({"topology": "2x4"}, "topology '2x4' is of TPUs, but accelerator=gpu"),
        ({"accelerator": "none", "label": "big"}, "label 'big' names no key"),
        ({"accelerator": "tpu", "label": "v5"}, "topology '' is no topology"),
        ({"accelerator": "tpu", "topology": "2x4"}, "label '' is needed for TPUs"),
        ({"accelerator": "tpu", "topology": "2x4", "label": "v5"}, "has 8 chips, not 1 nodes x 1 devices"),
    ],
)
def test_what_no_cluster_would_take_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(GPU, **changes)


@pytest.mark.parametrize("name", ["image", "claim"])
def test_a_launch_without_an_image_or_a_claim_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"--kubernetes.{name} '' is needed"):
        submit(PLAN, RUNS, Workspace(root=tmp_path), replace(GPU, **{name: ""}))


def test_branches_wait_for_their_trunk_unless_they_run_already():
    """The third is the trunk of the other two."""
    branch = {"config": {"trunk": {"run_id": THIRD}}}
    plan = replace(PLAN, runs={FIRST: branch, SECOND: branch, THIRD: {"config": {"trunk": None}}})

    def suspended(run_ids, active=()):
        found = jobsets(plan, run_ids, GPU, active)
        return [(one["metadata"]["labels"]["scaling-lab/run"], one["spec"]["suspend"]) for one in found]

    assert suspended(RUNS) == [(THIRD, False), (FIRST, True), (SECOND, True)]
    assert suspended(RUNS, {SECOND}) == [(THIRD, False), (FIRST, True), (SECOND, False)]
    assert suspended(RUNS[:2]) == [(FIRST, False), (SECOND, False)]  # the trunk is trained


KUBECTL = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
with (here / "told.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "get" in sys.argv:
    print((here / "items.json").read_text())
if (here / "broken").exists():
    sys.exit("no such namespace")
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A folder with items.json, which it answers, and told.jsonl, what it was told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "kubectl"
    script.write_text(KUBECTL.format(python=sys.executable, folder=str(folder)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (folder / "items.json").write_text('{"items": []}')
    monkeypatch.setenv("PATH", str(folder))
    return folder


def item(run_id, suspend=False, terminal=None):
    status = {"terminalState": terminal} if terminal else {}
    return {"metadata": {"labels": {"scaling-lab/run": run_id}}, "spec": {"suspend": suspend}, "status": status}


def told(kubectl):
    lines = (kubectl / "told.jsonl").read_text().splitlines()
    return [json.loads(line)[2:] for line in lines]  # after --namespace NAME


def test_without_apply_files_are_written_and_nobody_is_told(tmp_path, kubectl):
    path = submit(PLAN, RUNS, Workspace(root=tmp_path), GPU)
    assert path == tmp_path / "studies" / "tiny_study" / "kubernetes" / "jobsets.yaml"
    assert path.read_text() == as_yaml(jobsets(PLAN, RUNS, GPU))
    assert not (kubectl / "told.jsonl").exists()
    assert not (tmp_path / "studies" / "tiny_study" / "jobs.jsonl").exists()


def test_apply_hands_the_file_to_kubectl_and_notes_the_jobs(tmp_path, kubectl):
    path = submit(PLAN, RUNS, Workspace(root=tmp_path), replace(GPU, apply=True))
    assert [line[0] for line in told(kubectl)] == ["get", "apply"]
    assert told(kubectl)[1] == ["apply", "-f", str(path)]
    jobs = (tmp_path / "studies" / "tiny_study" / "jobs.jsonl").read_text().splitlines()
    assert [json.loads(line)["job"] for line in jobs] == [jobset_name("tiny_study", name) for name in RUNS]


def test_applied_again_a_running_one_stays_and_one_that_failed_makes_way(tmp_path, kubectl):
    items = [item(FIRST, terminal="Failed"), item(SECOND, suspend=True), item(THIRD)]
    (kubectl / "items.json").write_text(json.dumps({"items": items}))
    path = submit(PLAN, RUNS, Workspace(root=tmp_path), replace(GPU, apply=True, at_once=1))
    assert [line[0] for line in told(kubectl)] == ["get", "delete", "apply"]
    assert told(kubectl)[1][-1] == jobset_name("tiny_study", FIRST)
    suspended = {
        one["metadata"]["labels"]["scaling-lab/run"]: one["spec"]["suspend"]
        for one in yaml.safe_load_all(path.read_text())
    }
    assert suspended == {THIRD: False, FIRST: True, SECOND: True}
    jobs = (tmp_path / "studies" / "tiny_study" / "jobs.jsonl").read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in jobs] == [FIRST]


def test_states_are_read_from_the_cluster(kubectl):
    items = [item("a"), item("b", suspend=True), item("c", terminal="Completed"), item("d", terminal="Failed")]
    (kubectl / "items.json").write_text(json.dumps({"items": items}))
    assert poll("tiny_study", GPU) == {"a": "running", "b": "waiting", "c": "ended", "d": "failed"}
    assert "scaling-lab/study=tiny-study" in told(kubectl)[0]


def test_a_lab_on_an_object_store_needs_no_claim_and_takes_one_pod_a_run():
    CASES["gpu_store"].check_given()
    for changes, why in (({"claim": "lab"}, "claim 'lab'"), ({"nodes": 2}, "nodes 2")):
        with pytest.raises(ValueError, match=f"--kubernetes.{why} does not go with --store s3://bucket/lab"):
            replace(CASES["gpu_store"], **changes).check_given()


def test_cancel_deletes_the_jobsets_of_the_runs(kubectl):
    cancel("tiny_study", [], "default")
    cancel("tiny_study", ["0a" * 8], "default")
    cancel("tiny_study", None, "default")
    assert [line[:2] for line in told(kubectl)] == [["delete", "jobsets.jobset.x-k8s.io"]] * 2
    assert told(kubectl)[0][-1] == jobset_name("tiny_study", "0a" * 8)
    assert told(kubectl)[1][-2:] == ["-l", "scaling-lab/study=tiny-study"]


def test_cancelling_a_study_says_what_deletes_its_jobsets_or_does_it(tmp_path, kubectl, capsys):
    study, workspace = made.launched(tmp_path)
    names = [run_id(run) for run in study.runs]
    with pytest.raises(ValueError, match=r"--kubernetes.delete: no JobSets were ever written for study 'tiny'"):
        cancel_study(["tiny", "--root", str(tmp_path), "--kubernetes.delete"])
    submit(read_plan(plan_path(workspace, "tiny")), names, workspace, replace(GPU, namespace="lab"))
    capsys.readouterr()
    cancel_study(["tiny", "--root", str(tmp_path)])
    cancel_study(["tiny", names[1], names[2], "--root", str(tmp_path)])
    said = capsys.readouterr().out
    for number, name in enumerate(names):
        said = said.replace(name, f"RUN{number}")
    assert said == (GOLDEN / "cancel.txt").read_text()
    assert not (kubectl / "told.jsonl").exists()
    cancel_study(["tiny", "--root", str(tmp_path), "--kubernetes.delete"])
    assert "their JobSets are deleted" in capsys.readouterr().out
    command = "delete jobsets.jobset.x-k8s.io --ignore-not-found -l scaling-lab/study=tiny"
    assert told(kubectl) == [command.split()]


def test_what_kubectl_says_is_passed_on(kubectl, monkeypatch):
    (kubectl / "broken").touch()
    with pytest.raises(OSError, match="no such namespace"):
        poll("tiny_study", GPU)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="kubectl is not on the PATH"):
        poll("tiny_study", GPU)

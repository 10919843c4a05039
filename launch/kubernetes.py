"""Kubernetes: one JobSet a run, made from the plan file by pure functions; kubectl only where it is asked for.

A JobSet of its own for each run, and no job with an index for each of many
runs: so a run is restarted, suspended, deleted and looked at by itself, and
the indices are free to count the hosts of a run. Its one job is indexed; the
pods find the first of them by the headless service that comes with a JobSet.

What an end of a pod means is told in two steps, because a Job alone cannot
start its pods again together. A pod that was asked to stop (RESUME_ME), that
finds its run held by another, or whose node goes away, fails the Job by its
policy, and the JobSet makes it anew without counting. Any other failure
exceeds the Job's limit of none, and the JobSet counts it.
"""

import json
import math
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from launch.jobs import note
from launch.kubernetes_options import LABEL, KubernetesOptions
from launch.pool import defaults
from launch.worker import RESUME_ME
from scaling.plan_file import PlanFile
from scaling.record import RunDirectory
from scaling.workspace import Workspace

MOUNT = "/lab"
HELD = 76  # another process is training the run
TERMINATED = 128 + 15  # told to stop before it could listen
JOB = "run"  # the one replicated job of a JobSet, and its container
PORT = 8476  # of the coordinator; every pod has an address of its own
# Of a gang one process's error may only echo the end of another, so it is tried again; a run alone is not.
GANG_RESTARTS = 3
KILL_MARGIN_SECONDS = 30  # beyond the grace of the run itself, before the kubelet ends it
KEEP_SECONDS = 7 * 24 * 3600  # a JobSet that has ended, with its pods' logs
STUDY_LENGTH = 28  # of a JobSet's name; with a run id and what is appended, a pod's name has less than 63 characters
STUDY_LABEL, RUN_LABEL = "scaling-lab/study", "scaling-lab/run"
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
JOBSETS = "jobsets.jobset.x-k8s.io"


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe one, but text that could be a number is quoted: a run id such as 12e4 is one to other readers."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "'" if re.match(r"[-+.]?\d", value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def submit(plan: PlanFile, run_ids: Sequence[str], workspace: Workspace, options: KubernetesOptions) -> Path:
    """Write the JobSets of what is left of a plan, and with `apply` create them; returns the file.

    Submitted again, it only changes who is suspended. A JobSet that has ended,
    though its run is left, makes way for a new one.
    """
    options.check_given()
    states = poll(plan.name, options) if options.apply else {}
    active = {name for name, state in states.items() if state == "running"}
    path = workspace.studies / plan.name / "kubernetes" / "jobsets.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_yaml(jobsets(plan, run_ids, options, active)), encoding="utf-8")
    if options.apply and run_ids:
        gone = [name for name in run_ids if states.get(name) in ("ended", "failed")]
        cancel(plan.name, gone, options.namespace)
        for name in run_ids:
            RunDirectory(workspace.runs / name).cancel.unlink(missing_ok=True)
        _kubectl(options.namespace, "apply", "-f", str(path))
        new = [name for name in run_ids if states.get(name) not in ("running", "waiting")]
        note(workspace, plan.name, "kubernetes", {name: jobset_name(plan.name, name) for name in new})
    return path


def poll(study: str, options: KubernetesOptions) -> dict[str, str]:
    """Of each run that has a JobSet: waiting (suspended), running, ended or failed. Records say what became of it."""
    found = _kubectl(options.namespace, "get", JOBSETS, "-l", f"{STUDY_LABEL}={study_label(study)}", "-o", "json")
    return {item["metadata"]["labels"][RUN_LABEL]: _state(item) for item in json.loads(found)["items"]}


def cancel(study: str, run_ids: Sequence[str] | None, namespace: str) -> None:
    """Delete the JobSets of the runs, or all of a study's; their pods have their grace to write a checkpoint."""
    if run_ids is None or run_ids:
        _kubectl(namespace, *deletion(study, run_ids))


def deletion(study: str, run_ids: Sequence[str] | None) -> list[str]:
    """What kubectl is told to delete JobSets: those of some runs, or, with None, all of a study's."""
    which = ["-l", f"{STUDY_LABEL}={study_label(study)}"]
    if run_ids is not None:
        which = [jobset_name(study, name) for name in run_ids]
    return ["delete", JOBSETS, "--ignore-not-found", *which]


def namespace_of(study: str, workspace: Workspace) -> str | None:
    """Where the JobSets of a study were written for; None where none ever were."""
    path = workspace.studies / study / "kubernetes" / "jobsets.yaml"
    manifests = yaml.safe_load_all(path.read_text(encoding="utf-8")) if path.exists() else ()
    return next((manifest["metadata"]["namespace"] for manifest in manifests), None)


def jobsets(
    plan: PlanFile, run_ids: Sequence[str], options: KubernetesOptions, active: Collection[str] = ()
) -> list[dict[str, Any]]:
    """A manifest for each run that is left, trunks first.

    active: run now, and are not stopped for another. Suspended are branches
    whose trunk is left, and what would be more than `at_once`.
    """
    trunk_of = {name: (run["config"].get("trunk") or {}).get("run_id") for name, run in plan.runs.items()}
    left = set(run_ids)
    ordered = sorted(run_ids, key=lambda name: trunk_of[name] in left)  # stable: else as they were
    free = [name for name in ordered if name in active or trunk_of[name] not in left]
    chosen = sorted(free, key=lambda name: name not in active)[: options.at_once]
    return [_jobset(plan, name, options, suspend=name not in chosen) for name in ordered]


def as_yaml(manifests: Sequence[Mapping[str, Any]]) -> str:
    """The manifests as one YAML stream, the same text for the same values."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120)


def jobset_name(study: str, run_id: str) -> str:
    """A DNS label that begins with a letter, because it names a service too."""
    return f"{study_label(study)}-{run_id}"


def study_label(study: str) -> str:
    """The study's name as far as a DNS label can hold it."""
    plain = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"study-{plain}".strip("-")
    return plain[:STUDY_LENGTH].rstrip("-")


def _jobset(plan: PlanFile, run_id: str, options: KubernetesOptions, *, suspend: bool) -> dict[str, Any]:
    name, labels = jobset_name(plan.name, run_id), {STUDY_LABEL: study_label(plan.name), RUN_LABEL: run_id}
    assert LABEL.fullmatch(name), name
    metadata = {"name": name, "namespace": options.namespace, "labels": dict(labels)}
    if options.accelerator == "tpu" and options.nodes > 1:  # hosts of one slice are one node pool of GKE
        metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    job = {
        "completionMode": "Indexed",
        "completions": options.nodes,
        "parallelism": options.nodes,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": _resumable()},
        "template": {"metadata": {"labels": dict(labels)}, "spec": _pod(plan, name, run_id, options)},
    }
    resume = {
        "name": "resume",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "suspend": suspend,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": GANG_RESTARTS if options.nodes > 1 else 0, "rules": [resume]},
            "replicatedJobs": [{"name": JOB, "replicas": 1, "template": {"spec": job}}],
        },
    }


def _resumable() -> list[dict[str, Any]]:
    """Ends of a pod after which its run goes on elsewhere."""
    codes = {"containerName": JOB, "operator": "In", "values": [RESUME_ME, HELD, TERMINATED]}
    return [
        {"action": "FailJob", "onExitCodes": codes},
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]


def _pod(plan: PlanFile, name: str, run_id: str, options: KubernetesOptions) -> dict[str, Any]:
    given = {
        "serviceAccountName": options.service_account,
        "priorityClassName": options.priority_class,
        "nodeSelector": options.node_selector,
        "tolerations": options.parsed_tolerations,
    }
    lab = {"emptyDir": {}} if options.store else {"persistentVolumeClaim": {"claimName": options.claim}}
    volumes = {"lab": (MOUNT, lab)}
    if options.accelerator == "gpu":  # NCCL speaks through it; a container has 64 MB of it otherwise
        volumes["shm"] = ("/dev/shm", {"emptyDir": {"medium": "Memory"}})
    there, store = (options.store, ["--store", options.store]) if options.store else (MOUNT, [])
    container = {
        "name": JOB,
        "image": options.image,
        "command": ["scaling", "run", f"{there}/studies/{plan.name}.json", run_id, "--root", MOUNT, *store],
        "env": _environment(name, options),
        "resources": options.resources,
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, (path, _) in volumes.items()],
    }
    return {
        "restartPolicy": "Never",  # as a policy for failures needs it
        "terminationGracePeriodSeconds": math.ceil(plan.placement.grace_seconds) + KILL_MARGIN_SECONDS,
        **{key: value for key, value in given.items() if value},
        "containers": [container],
        "volumes": [{"name": volume, **source} for volume, (_, source) in volumes.items()],
    }


def _environment(name: str, options: KubernetesOptions) -> list[dict[str, Any]]:
    """What every process that trains gets, and who belongs together, as scaling/parallel/hosts.py reads it."""
    plain = [{"name": key, "value": value} for key, value in defaults(Workspace(root=Path(MOUNT))).items()]
    if options.nodes == 1:
        return [*plain, {"name": "SCALING_PROCESSES", "value": "1"}]  # else JAX would ask the API server
    if options.accelerator == "tpu":
        return plain  # GKE tells the hosts of a slice of each other
    return [
        *plain,
        {"name": "SCALING_COORDINATOR", "value": f"{name}-{JOB}-0-0.{name}:{PORT}"},
        {"name": "SCALING_PROCESSES", "value": str(options.nodes)},
        {"name": "SCALING_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": INDEX}}},
    ]


def _state(item: Mapping[str, Any]) -> str:
    match item.get("status", {}).get("terminalState"):
        case "Completed":
            return "ended"
        case "Failed":
            return "failed"
        case _:
            return "waiting" if item["spec"].get("suspend") else "running"


def _kubectl(namespace: str, *arguments: str) -> str:
    command = ["kubectl", "--namespace", namespace, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise OSError("kubectl is not on the PATH; install it, or apply the written manifests elsewhere") from None
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

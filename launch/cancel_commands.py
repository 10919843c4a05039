"""What users change about the runs of a launched study: stop them, and try failed ones again."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from launch.jobs import noted
from launch.options import WhereOptions
from launch.planned import PlanRun, StudyPlan, directory_of, plan_from
from launch.settled import Memory
from scaling.lease import holder
from scaling.record import RunDirectory
from scaling.workspace import Workspace

console = Console()


@dataclass(frozen=True, kw_only=True)
class CancelOptions(WhereOptions):
    store: str | None = None
    """URL of the object store on which the runs are held."""
    kubernetes_delete: Annotated[bool, tyro.conf.arg(name="kubernetes.delete", prefix_name=False)] = False
    """Delete their JobSets too, by kubectl; otherwise the command that does is printed."""


def cancel(arguments: list[str]) -> None:
    """Ask whoever trains the study's runs to write a checkpoint and stop; launching again goes on.

    `scaling cancel STUDY [RUN...]`: these runs alone, by their ids or the first letters of them.
    """
    plan, runs, options = plan_and_runs("cancel", arguments, CancelOptions)
    if options.store is not None:
        return _ask_on_store(options.store, [run.run_id for run in runs or plan.runs])
    memory, asked, training = Memory(), 0, 0
    for run in runs or plan.runs:
        directory = directory_of(run, options.workspace)
        held = holder(directory.path) is not None
        if memory.settled(directory.record) is not None and not held:
            continue
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.cancel.touch()
        asked += 1
        training += held
    console.print(
        f"{asked} runs are asked to stop; {training} of them are being trained now, and write a checkpoint first. "
        f"`scaling launch` takes the requests back and goes on",
        highlight=False,
        soft_wrap=True,
    )
    if not runs and any(noted(options.workspace, plan.name, "slurm")):
        _leave_queue(options.workspace, plan.name)
    _leave_cluster(options.workspace, plan.name, [run.run_id for run in runs] or None, options.kubernetes_delete)


def _ask_on_store(url: str, names: Sequence[str]) -> None:
    from launch.stored import ask_to_stop
    from scaling.mirror.bucket import bucket_of

    asked = ask_to_stop(bucket_of(url), names)
    console.print(
        f"{asked} runs are asked on {url} to stop; those under way write a checkpoint first. "
        "`scaling launch` takes the requests back and goes on",
        highlight=False,
        soft_wrap=True,
    )


def _leave_queue(workspace: Workspace, study: str) -> None:
    """Tasks that wait would end as soon as they begin; where SLURM answers, they need not begin."""
    from launch import slurm

    try:
        waiting = [job for job in slurm.cancel(workspace, study) if job.state == "PENDING"]
    except slurm.SlurmError as error:
        return console.print(f"what waits in SLURM's queue will end when it begins ({error})", soft_wrap=True)
    console.print(f"{len(waiting)} of them waited in SLURM's queue and have left it", highlight=False)


def _leave_cluster(workspace: Workspace, study: str, names: Sequence[str] | None, delete: bool) -> None:
    """Runs under way on Kubernetes end by the request; those suspended stay there until their JobSets are deleted."""
    from launch import kubernetes

    namespace = kubernetes.namespace_of(study, workspace)
    if namespace is None:
        if delete:
            raise ValueError(f"--kubernetes.delete: no JobSets were ever written for study {study!r} in this --root")
        return
    if delete:
        kubernetes.cancel(study, names, namespace)
        return console.print("their JobSets are deleted; pods have their grace to write a checkpoint", highlight=False)
    command = shlex.join(["kubectl", "--namespace", namespace, *kubernetes.deletion(study, names)])
    text = f"what is on Kubernetes stays there until you delete it (or cancel with --kubernetes.delete):\n{command}"
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def retry(arguments: list[str]) -> None:
    """Move the records of failed runs aside, so that the next launch trains them from their last checkpoint.

    `scaling retry STUDY [RUN...]`: these runs alone, by their ids or the first letters of them.
    """
    plan, runs, options = plan_and_runs("retry", arguments)
    memory, moved = Memory(), 0
    for run in runs or plan.runs:
        directory = directory_of(run, options.workspace)
        found = memory.settled(directory.record)
        if found is None or found.status != "failed":
            if runs:
                raise ValueError(f"run {run.run_id} has not failed: it is {found.status if found else 'not settled'}")
            continue
        if holder(directory.path):
            console.print(f"{run.run_id}: is being trained already", highlight=False)
            continue
        aside = set_aside(directory)
        moved += 1
        console.print(f"{run.run_id}: {found.message[:100]}; its record is {aside.name} now", highlight=False)
    console.print(f"{moved} failed runs will be tried again by: scaling launch {plan.name}", highlight=False)


def set_aside(directory: RunDirectory) -> Path:
    """Rename a failed run's record to the first free record.failed-N.json; returns its path."""
    number = 1
    while (aside := directory.path / f"record.failed-{number}.json").exists():
        number += 1
    directory.record.rename(aside)
    return aside


def plan_and_runs(
    command: str, arguments: Sequence[str], known: type = WhereOptions
) -> tuple[StudyPlan, list[PlanRun], Any]:
    """A launched study, those of its runs that are named behind it, and the options. Raises ValueError."""
    study, rest = list(arguments[:1]), arguments[1:]
    prefixes = list(takewhile(lambda word: not word.startswith("-"), rest))
    plan, options = plan_from(command, known, [*study, *rest[len(prefixes) :]])
    return plan, [only(prefix, plan) for prefix in prefixes], options


def only(prefix: str, plan: StudyPlan) -> PlanRun:
    """The one run whose id begins so."""
    found = [run for run in plan.runs if run.run_id.startswith(prefix)]
    if not found:
        raise ValueError(f"no run of study {plan.name!r} begins with {prefix!r}: `scaling status {plan.name} --runs`")
    if len(found) > 1:
        names = ", ".join(run.run_id for run in found[:5])
        raise ValueError(f"{len(found)} runs of study {plan.name!r} begin with {prefix!r}, {names}; give more letters")
    return found[0]

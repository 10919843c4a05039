"""`scaling launch --on slurm`, `kubernetes` or `ray`: hand what is left of a study to others.

SLURM and Kubernetes have queues of their own, so the command returns at once.
Ray ends what it was given when its driver ends, so there the command waits.
"""

import sys
from dataclasses import replace
from math import prod

from rich.console import Console

from launch import kubernetes, ray_jobs
from launch.kubernetes_options import KubernetesOptions
from launch.ray_options import RayOptions
from launch.slurm import submit
from launch.slurm_options import SlurmOptions
from launch.slurm_script import script
from launch.sweep import begin
from scaling.config import run_id, to_dict
from scaling.config.placement import AXES
from scaling.parallel.layout import layout_of
from scaling.plan import Study
from scaling.plan_file import PlanFile, plan_path, read_plan
from scaling.workspace import Workspace

Options = SlurmOptions | KubernetesOptions | RayOptions


def placed(study: Study, options: Options) -> Study:
    """The study with a placement that takes all devices of a run's nodes.

    Raises ValueError for a run that cannot be placed so, or that could not be
    told to stop in time.
    """
    placement = study.placement
    devices = options.devices_of_a_run(placement.devices)
    if placement.data == -1:  # which counts the devices of one machine
        others = prod(getattr(placement, axis) for axis in AXES[1:])
        placement = replace(placement, data=max(1, devices // others))
    for run in study.runs:
        layout_of(run, placement, devices)
    if isinstance(options, SlurmOptions):
        options.check_notice(placement.grace_seconds)
    return replace(study, placement=placement)


def print_script(study: Study, workspace: Workspace, options: Options) -> None:
    """What would be submitted of a study of which nothing is trained yet."""
    match options:
        case SlurmOptions():
            print(_script(study, workspace, options), end="")
        case KubernetesOptions():
            options.check_given()
            runs = {run_id(run): {"config": to_dict(run)} for run in study.runs}
            path = plan_path(workspace, study.name)
            plan = PlanFile(path=path, name=study.name, placement=study.placement, runs=runs)
            print(kubernetes.as_yaml(kubernetes.jobsets(plan, list(runs), options)), end="")
        case RayOptions():
            gang = f"a gang of {options.nodes} tasks" if options.nodes > 1 else "a task"
            print(f"{len(study.runs)} runs, each {gang} with CPUs: {options.cpus}, GPUs: {options.gpus}")


def _script(study: Study, workspace: Workspace, options: SlurmOptions) -> str:
    return script(
        study.name,
        runs=(workspace.studies / study.name / "slurm" / "0001.runs").absolute(),
        tasks=len(study.runs),
        plan=plan_path(workspace, study.name).absolute(),
        root=workspace.root.absolute(),
        options=options,
        grace_seconds=study.placement.grace_seconds,
    )


def submit_study(study: Study, workspace: Workspace, options: Options, console: Console) -> None:
    """Hand over the runs of a study whose plan is written and that have no record yet; say how to look after them."""
    left = list(begin(study, workspace, study.placement).left)
    plan = read_plan(plan_path(workspace, study.name))
    done = f"{len(study.runs) - len(left)} are done"
    match options:
        case SlurmOptions():
            lines = _to_slurm(plan, left, workspace, options, done)
        case KubernetesOptions():
            lines = _to_kubernetes(plan, left, workspace, options, done)
        case RayOptions():
            lines = _on_ray(plan, left, workspace, options, console)
    if study.later:
        lines.append(
            f"up to {study.later} more runs are decided by the losses of these: launch again when all are done"
        )
    for line in (*lines, "`scaling status`, with the same study and options, says how far they are"):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _to_slurm(plan: PlanFile, left: list[str], workspace: Workspace, options: SlurmOptions, done: str) -> list[str]:
    jobs = submit(plan, left, workspace, options)
    arrays = ", ".join(dict.fromkeys(job.job.partition("_")[0] for job in jobs))
    named = f" as array {arrays}" if jobs else ""
    lines = [f"{len(jobs)} runs queued{named}; {len(left) - len(jobs)} were queued or running before, {done}"]
    if jobs:
        lines.append(f"logs: {(workspace.studies / plan.name / 'slurm').absolute()}")
    return lines


def _to_kubernetes(
    plan: PlanFile, left: list[str], workspace: Workspace, options: KubernetesOptions, done: str
) -> list[str]:
    path = kubernetes.submit(plan, left, workspace, options)
    print(path.read_text(encoding="utf-8"), end="")
    if not options.apply:
        return [f"{len(left)} JobSets written, {done}. To create them: kubectl apply -f {path.absolute()}"]
    return [f"{len(left)} JobSets applied, {done}. Those suspended begin when you launch again, as others end"]


def _on_ray(plan: PlanFile, left: list[str], workspace: Workspace, options: RayOptions, console: Console) -> list[str]:
    outcomes = ray_jobs.train(plan, left, workspace, options, lambda said: console.print(said, soft_wrap=True))
    missing = sum(outcome != "trained" for outcome in outcomes.values())
    if missing:
        sys.exit(f"{missing} of {len(left)} runs did not finish; the lines above say why")
    return [f"{len(left)} of {len(left)} runs trained; `scaling report` fits and reports"]

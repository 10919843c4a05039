"""`scaling launch --on slurm`: hand what is left of a study to a cluster's queue, and return at once."""

from dataclasses import replace
from math import prod

from rich.console import Console

from launch.local import begin
from launch.slurm import submit
from launch.slurm_options import SlurmOptions
from launch.slurm_script import script
from scaling.config.placement import AXES
from scaling.parallel.layout import layout_of
from scaling.plan import Study
from scaling.plan_file import plan_path, read_plan
from scaling.workspace import Workspace


def placed(study: Study, options: SlurmOptions) -> Study:
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
    options.check_notice(placement.grace_seconds)
    return replace(study, placement=placement)


def print_script(study: Study, workspace: Workspace, options: SlurmOptions) -> None:
    """What would be submitted of a study of which nothing is trained yet."""
    text = script(
        study.name,
        runs=(workspace.studies / study.name / "slurm" / "0001.runs").absolute(),
        tasks=len(study.runs),
        plan=plan_path(workspace, study.name).absolute(),
        root=workspace.root.absolute(),
        options=options,
        grace_seconds=study.placement.grace_seconds,
    )
    print(text, end="")


def submit_study(study: Study, workspace: Workspace, options: SlurmOptions, console: Console) -> None:
    """Queue the runs of a study whose plan is written and that have no record yet; say how to look after them."""
    left = begin(study, workspace, study.placement).left
    jobs = submit(read_plan(plan_path(workspace, study.name)), list(left), workspace, options)
    arrays = ", ".join(dict.fromkeys(job.job.partition("_")[0] for job in jobs))
    named = f" as array {arrays}" if jobs else ""
    known, done = len(left) - len(jobs), len(study.runs) - len(left)
    lines = [f"{len(jobs)} runs queued{named}; {known} were queued or running before, {done} are done"]
    if jobs:
        lines.append(f"logs: {(workspace.studies / study.name / 'slurm').absolute()}")
    lines.append("`scaling status`, with the same study and options, says how far they are")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

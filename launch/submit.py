"""`scaling launch --on slurm`: hand a study's runs to a cluster's queue, and return at once."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from launch.slurm import submit
from launch.slurm_options import SlurmOptions
from launch.slurm_script import script
from scaling.config import Placement
from scaling.parallel.layout import layout_of
from scaling.plan import Study
from scaling.workspace import Workspace


def check(study: Study, placement: Placement, options: SlurmOptions) -> None:
    """Raises ValueError for a run that cannot be placed on what each is to get, or could not be stopped in time."""
    devices = options.nodes * options.gpus or placement.devices
    for run in study.runs:
        layout_of(run, placement, devices)
    options.check_notice(placement.grace_seconds)


def print_script(study: Study, plan: Path, placement: Placement, workspace: Workspace, options: SlurmOptions) -> None:
    """What would be submitted of a study of which nothing is trained yet."""
    check(study, placement, options)
    text = script(
        study.name,
        runs=(plan.parent / study.name / "slurm" / "0001.runs").absolute(),
        tasks=len(study.runs),
        plan=plan.absolute(),
        root=workspace.root.absolute(),
        options=options,
        grace_seconds=placement.grace_seconds,
    )
    print(text, end="")


def submit_runs(
    study: Study, plan: Path, run_ids: Sequence[str], workspace: Workspace, options: SlurmOptions, console: Console
) -> None:
    """Queue what is left of a study, and say how to look after it."""
    jobs = submit(plan, run_ids, workspace, options)
    done, known = len(study.runs) - len(run_ids), len(run_ids) - len(jobs)
    arrays = ", ".join(dict.fromkeys(job.job.partition("_")[0] for job in jobs))
    lines = [
        f"{len(jobs)} runs queued{f' as array {arrays}' if arrays else ''}; {known} queued or running, {done} done"
    ]
    if jobs:
        lines.append(f"logs: {(workspace.studies / study.name / 'slurm').absolute()}")
    lines.append("`scaling status`, with the same study and options, says how far they are")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

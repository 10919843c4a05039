"""`scaling launch`: train what is left of a study, here or on a cluster."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from launch.analysis_commands import FitOptions, write_report_of
from launch.kubernetes_options import KubernetesOptions
from launch.options import WhereOptions, console, study_of
from launch.placement_options import PlacementOptions
from launch.plan_command import PlanOptions, print_plan_of
from launch.ray_options import RayOptions
from launch.slurm_options import SlurmOptions
from scaling.disk import check_writable
from scaling.hardware import HARDWARE
from scaling.parallel.layout import layout_of
from scaling.plan import Study, pin
from scaling.plan_file import write_plan
from scaling.provenance import STUDY
from scaling.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(WhereOptions):
    workers: int | None = None
    """Worker processes; default: one an accelerator, else one a core."""
    placement: PlacementOptions = PlacementOptions()
    max_hours: float | None = None
    """Begin no run that would take the study beyond so many device hours, those already spent included."""
    max_cost: float | None = None
    """The same in dollars, at the list price of this machine's devices."""
    dry_run: bool = False
    """Print the plan and stop."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(LaunchOptions):
    on: Literal["here", "slurm", "kubernetes", "ray"] = "here"
    """Who trains: this machine, now, or a cluster, to which the runs are handed over."""
    slurm: SlurmOptions = SlurmOptions()
    kubernetes: KubernetesOptions = KubernetesOptions()
    ray: RayOptions = RayOptions()


def launch(arguments: list[str]) -> None:
    """Train what is left of a study; when all is done, fit and report. A cluster is only told to."""
    options, study = study_of("launch", SweepOptions, arguments)
    if options.on != "here":
        return _hand_over(study, options)
    if options.dry_run:
        return dry_run(study, options)
    study, outcomes = _train_rungs(study, options, lambda: study_of("launch", SweepOptions, arguments)[1])
    finished = sum(status == "finished" for status in outcomes.values())
    console.print(f"{finished} of {len(outcomes)} runs finished")
    write_report_of(study.name, FitOptions(root=options.root))
    if finished < len(outcomes):
        sys.exit("some runs did not finish; the lines above say why")


def dry_run(study: Study, options: LaunchOptions) -> None:
    """What a launch would do, priced for the machine it would run on."""
    from launch.devices import slots

    study = replace(study, placement=options.placement.over(study.placement))
    hardware = slots(options.workers, study.placement.devices)[0].hardware
    print_plan_of(study, PlanOptions(root=options.root, hardware=hardware, devices=study.placement.devices))


def _train_rungs(study: Study, options: LaunchOptions, again: Callable[[], Study]) -> tuple[Study, dict[str, str]]:
    """Train a study, and what it grows by when that is done: one that halves decides a rung by the rung before."""
    trained, outcomes = train_all(study, options)
    while len((more := again()).cells) > len(trained.cells):
        console.print(f"{len(more.cells) - len(trained.cells)} more runs are decided by the losses of those trained")
        trained, outcomes = train_all(more, options)
    return trained, outcomes


def train_all(study: Study, options: LaunchOptions) -> tuple[Study, dict[str, str]]:
    """Prepare the data, check every run before any is trained, write the manifest, train."""
    from launch.budget import budget_of
    from launch.devices import slots
    from launch.local import launch as launch_local
    from launch.progress import Progress

    workspace = options.workspace
    placement = options.placement.over(study.placement)
    for run in study.runs:
        layout_of(run, placement, placement.devices)  # raises for one that cannot be placed so
    machine = slots(options.workers, placement.devices)
    budget = budget_of(
        max_hours=options.max_hours,
        max_cost=options.max_cost,
        dollars_per_hour=HARDWARE[machine[0].hardware].dollars_per_hour,
        devices=placement.devices,
    )
    study = replace(prepared(study, workspace), placement=placement)
    os.environ[STUDY] = study.name
    write_plan(study, workspace)
    return study, launch_local(study, workspace, placement, machine, Progress(console), budget)


def _hand_over(study: Study, options: SweepOptions) -> None:
    """Prepare the data, write the plan, queue what is left of it; `--dry-run` prints what would be queued."""
    from launch import submit

    if options.workers is not None:
        raise ValueError(f"--workers {options.workers} is of this machine; --on {options.on} has options of its own")
    if options.max_hours is not None or options.max_cost is not None:
        raise ValueError(f"--max-hours and --max-cost are watched by a launch here; --on {options.on} begins all runs")
    cluster = getattr(options, options.on)
    study = submit.placed(replace(study, placement=options.placement.over(study.placement)), cluster)
    if options.dry_run:
        return submit.print_script(study, options.workspace, cluster)
    study = prepared(study, options.workspace)
    write_plan(study, options.workspace)
    submit.submit_study(study, options.workspace, cluster, console)


def prepared(study: Study, workspace: Workspace) -> Study:
    """The study with its data's content, prepared and enough for every run; what comes of it can be written, too."""
    for folder in (workspace.studies, workspace.runs):
        check_writable(folder)
    from scaling.data.batches import check_enough
    from scaling.data.prepare import prepare

    stores = {config: prepare(config, workspace.root, console.print) for config in study.datasets}
    pinned = {config: replace(config, content=store.manifest.content) for config, store in stores.items()}
    study = pin(study, pinned.__getitem__)
    of_data = {pinned[config]: store for config, store in stores.items()}
    for run in study.runs:
        check_enough(of_data[run.data], run)
    return study

"""`scaling launch`: train what is left of a study, here or on a cluster."""

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from launch import studies
from launch.analysing import FitOptions
from launch.best_mixture import with_best_mixture
from launch.kubernetes_options import KubernetesOptions
from launch.options import WhereOptions, console, study_of
from launch.placement_options import PlacementOptions
from launch.plan_command import PlanOptions, print_plan_of
from launch.ray_options import RayOptions
from launch.slurm_options import SlurmOptions
from scaling.config import Completion, run_id
from scaling.disk import check_writable
from scaling.hardware import HARDWARE
from scaling.mirror.bucket import bucket_of
from scaling.parallel.layout import layout_of
from scaling.plan import Study, pin
from scaling.plan_file import plan_path, write_plan
from scaling.provenance import STUDY
from scaling.record import RECORD
from scaling.workspace import Workspace

STORE_DOCS = "docs/object_stores.md says what can be done"


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(WhereOptions):
    workers: int | None = None
    """Worker processes; default: one an accelerator, else one a core."""
    placement: PlacementOptions = PlacementOptions()
    max_hours: float | None = None
    """Begin no run that would take the study beyond so many device hours, those already spent included."""
    max_cost: float | None = None
    """The same in dollars, at the list price of this machine's devices."""
    stop_bad: float | None = None
    """Stop a run that will end worse than one that has ended, of those that differ in the optimizer's settings alone.

    The value is the confidence, such as 0.99."""
    dry_run: bool = False
    """Print the plan and stop."""
    store: str | None = None
    """URL of an object store (s3://, gs://, file://) on which runs are held and kept too; ROOT is scratch then."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(LaunchOptions):
    on: Literal["here", "slurm", "kubernetes", "ray"] = "here"
    """Who trains: this machine, now, or a cluster, to which the runs are handed over."""
    slurm: SlurmOptions = SlurmOptions()
    kubernetes: KubernetesOptions = KubernetesOptions()
    ray: RayOptions = RayOptions()


def launch(arguments: list[str]) -> None:
    """Train what is left of a study; when all is done, fit and report. A cluster is only told to."""
    options, study = _asked(arguments)

    def again() -> Study:
        return _asked(arguments)[1]

    if options.on != "here":
        return _hand_over(study, options, again)
    if options.dry_run:
        return dry_run(study, options)
    grows = studies.grows(arguments[0]) or study.best_mixture
    study, outcomes = _train_rungs(study, options, again if grows else lambda: study)
    finished = sum(status == "finished" for status in outcomes.values())
    stopped = sum(status == "stopped" for status in outcomes.values())
    said = f", {stopped} {'was' if stopped == 1 else 'were'} stopped early" if stopped else ""
    console.print(f"{finished} of {len(outcomes)} runs finished{said}")
    if page := standing_report(study, options.workspace):
        console.print(f"nothing has changed since its report was written: {page}", soft_wrap=True, highlight=False)
    else:
        from launch.analysis_commands import write_report_of

        write_report_of(study.name, FitOptions(root=options.root))
    if finished + stopped < len(outcomes):
        sys.exit("some runs did not finish; the lines above say why")


def _asked(arguments: list[str]) -> tuple[SweepOptions, Study]:
    """The options, and the study as far as the losses that are known decide it."""
    options, study = study_of("launch", SweepOptions, arguments)
    return options, with_best_mixture(study, options.workspace)


def standing_report(study: Study, workspace: Workspace) -> Path | None:
    """A study's page, if it is newer than the study's plan and every record of its runs."""
    page = workspace.reports / study.name / "report.html"
    if not page.exists():
        return None
    records = (os.path.join(workspace.runs, run_id(run), RECORD) for run in study.runs)
    made_from = itertools.chain([plan_path(workspace, study.name)], records)
    written = page.stat().st_mtime_ns
    return page if all(_changed_at(path) < written for path in made_from) else None


def _changed_at(path: Path | str) -> int:
    """When a file was changed last, in ns; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def dry_run(study: Study, options: LaunchOptions) -> None:
    """What a launch would do, priced for the machine it would run on."""
    from launch.devices import slots

    study = replace(study, placement=options.placement.over(study.placement))
    hardware = slots(options.workers, study.placement.devices)[0].hardware
    print_plan_of(study, PlanOptions(root=options.root, hardware=hardware, devices=study.placement.devices))


def _train_rungs(study: Study, options: LaunchOptions, again: Callable[[], Study]) -> tuple[Study, dict[str, str]]:
    """Train a study, and what it grows by when that is done: a rung that the one before decides, the best mixture."""
    trained, outcomes = train_all(study, options)
    while _grown(trained, more := again()):
        console.print(_decided(more, len(more.cells) - len(trained.cells)))
        trained, outcomes = train_all(more, options)
    return trained, outcomes


def _grown(before: Study, after: Study) -> bool:
    """Whether losses have decided more of a study; a run that they call the best may have been planned already."""
    return len(after.cells) > len(before.cells) or after.later < before.later


def _decided(study: Study, runs: int) -> str:
    """What the losses of a study's runs have decided."""
    asked = study.best_mixture
    if asked is None:
        return f"{runs} more runs are decided by the losses of those trained"
    parts = zip(asked.run.data.mixture.parts, asked.weights, strict=True)
    return f"predicted as the best mixture: {', '.join(f'{part.name} {weight:.2f}' for part, weight in parts)}"


def train_all(study: Study, options: LaunchOptions) -> tuple[Study, dict[str, str]]:
    """Prepare the data, check every run before any is trained, write the manifest, train."""
    from launch.bad_runs import judge_of
    from launch.budget import budget_of
    from launch.devices import slots
    from launch.local import launch as launch_local
    from launch.progress import Progress
    from launch.stored import on_store

    workspace = options.workspace
    placement = options.placement.over(study.placement)
    for run in {run.shape: run for run in study.runs}.values():
        layout_of(run, placement, placement.devices)  # raises for one that cannot be placed so
    machine = slots(options.workers, placement.devices)
    budget = budget_of(
        max_hours=options.max_hours,
        max_cost=options.max_cost,
        dollars_per_hour=HARDWARE[machine[0].hardware].dollars_per_hour,
        devices=placement.devices,
    )
    if options.stop_bad is not None:
        judge_of(study, workspace, options.stop_bad)  # raises for what cannot be judged, before data are prepared
    study = replace(prepared(study, workspace), placement=placement)
    judge = None if options.stop_bad is None else judge_of(study, workspace, options.stop_bad)
    os.environ[STUDY] = study.name
    path, progress = write_plan(study, workspace), Progress(console)
    store = bucket_of(options.store) if options.store else None
    if store is not None:
        on_store(study, path, store, workspace, progress.note)
    return study, launch_local(study, workspace, placement, machine, progress, budget, judge, store)


def _hand_over(study: Study, options: SweepOptions, again: Callable[[], Study]) -> None:
    """Prepare the data, write the plan, queue what is left of it; `--dry-run` prints what would be queued.

    A study that halves is handed over rung by rung, and the best mixture after
    its proxies: on Ray, where the command waits, all of them; elsewhere the next
    by launching again.
    """
    from launch import submit
    from launch.stored import level, on_store

    if options.workers is not None:
        raise ValueError(f"--workers {options.workers} is of this machine; --on {options.on} has options of its own")
    if options.max_hours is not None or options.max_cost is not None:
        raise ValueError(f"--max-hours and --max-cost are watched by a launch here; --on {options.on} begins all runs")
    if options.stop_bad is not None:
        raise ValueError(f"--stop-bad is of a launch that watches its runs; --on {options.on} hands them over")
    cluster, store = getattr(options, options.on), None
    if options.store is not None:
        if options.on != "kubernetes":
            raise ValueError(f"--store {options.store}: runs handed to --on {options.on} share --root; {STORE_DOCS}")
        store = bucket_of(options.store)
        cluster = replace(cluster, store=store.url)
    study = submit.placed(replace(study, placement=options.placement.over(study.placement)), cluster)
    if options.dry_run:
        return submit.print_script(study, options.workspace, cluster)
    while True:
        handed = prepared(study, options.workspace)
        path = write_plan(handed, options.workspace)
        if store is not None:
            on_store(handed, path, store, options.workspace, console.print)
            level(store, options.workspace, {run_id(run) for run in handed.runs}, console.print)
        submit.submit_study(handed, options.workspace, cluster, console)
        if options.on != "ray" or not _grown(handed, study := again()):
            return
        console.print(_decided(study, len(study.cells) - len(handed.cells)))
        study = submit.placed(replace(study, placement=options.placement.over(study.placement)), cluster)


def prepared(study: Study, workspace: Workspace) -> Study:
    """The study with its data's content, prepared and enough for every run; what comes of it can be written, too."""
    for folder in (workspace.studies, workspace.runs):
        check_writable(folder)
    from scaling.data.batches import check_enough
    from scaling.data.pairs import padding_told
    from scaling.data.prepare import prepare

    stores = {config: prepare(config, workspace.root, console.print) for config in study.datasets}
    pinned = {config: replace(config, content=store.manifest.content) for config, store in stores.items()}
    study = pin(study, pinned.__getitem__)
    of_data = {pinned[config]: store for config, store in stores.items()}
    # Of thousands of runs many read alike.
    for run in {(run.data, run.model, run.objective, run.batch, run.tokens): run for run in study.runs}.values():
        check_enough(of_data[run.data], run)
    for run in {(run.data, run.objective, run.text, run.batch): run for run in study.runs}.values():
        if isinstance(run.objective, Completion):
            console.print(padding_told(of_data[run.data], run))
    return study

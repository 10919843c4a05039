"""A launch under way as a value: which runs of a study are left, and what became of the others.

What lies in the runs' folders says which are left: launching again takes up
those that have no record yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launch.bad_runs import Bad, Judge
from launch.budget import Budget
from launch.queue import Task
from launch.space import check_space
from scaling.config import Placement, RunConfig, run_id
from scaling.hardware import HARDWARE
from scaling.lease import Watch
from scaling.mirror.bucket import Bucket
from scaling.plan import Study, starts
from scaling.record import OPEN, RunDirectory, RunRecord, read_record, statuses
from scaling.roofline import predict
from scaling.workspace import Workspace


@dataclass
class Sweep:
    """A launch under way: which runs are left, and what became of the others."""

    workspace: Workspace
    placement: Placement
    left: dict[str, Task]
    outcomes: dict[str, str] = field(default_factory=dict)  # run id -> a status, cancelled or held
    tries: dict[str, int] = field(default_factory=dict)  # whose worker died before it began
    held: set[str] = field(default_factory=set)
    waits: bool = True  # for runs that others hold
    watch: Watch = field(default_factory=Watch)
    watched: set[str] = field(default_factory=set)  # runs that were held and no longer are
    smaller: dict[str, Placement] = field(default_factory=dict)  # of runs that ran out of memory
    budget: Budget | None = None
    store: Bucket | None = None  # that runs are held on and kept on too
    judge: Judge | None = None  # of runs that promise to end badly
    stopping: dict[str, Bad] = field(default_factory=dict)  # asked to stop for that, and still being trained
    ahead: dict[Any, Task] = field(default_factory=dict)  # by busy worker, what it takes next: the folder is made


def begin(study: Study, workspace: Workspace, placement: Placement, judge: Judge | None = None) -> Sweep:
    """Sort the study's runs into those done and those left; raise on a record that cannot be trusted."""
    kept = starts(study)
    runs = {run_id(run): (run, kept.get(run_id(run), ())) for run in study.runs}
    return sweep_of(runs, workspace, placement, judge=judge)


def sweep_of(
    runs: Mapping[str, tuple[RunConfig, tuple[int, ...]]],
    workspace: Workspace,
    placement: Placement,
    *,
    waits: bool = True,
    judge: Judge | None = None,
) -> Sweep:
    """The same of some runs, each with the tokens at which its branches start. A launch drops requests to cancel."""
    not_done = (None, *untrained(judge))
    done = {name: status for name, status in statuses(workspace.runs, runs).items() if status not in not_done}
    left = {name: task_of(name, *planned) for name, planned in runs.items() if name not in done}
    check_space(workspace, left.values())
    if waits:  # a launch; what trains a single run leaves the request to whoever launched it
        for name in left:
            RunDirectory(workspace.runs / name).cancel.unlink(missing_ok=True)
    return Sweep(workspace=workspace, placement=placement, left=left, outcomes=done, waits=waits, judge=judge)


def untrained(judge: Judge | None) -> tuple[str, ...]:
    """Statuses of records whose runs are trained on: one that was stopped stays so where bad runs are stopped."""
    return OPEN if judge is None else ("failed",)


def existing_record(workspace: Workspace, run: RunConfig) -> RunRecord | None:
    path = RunDirectory(workspace.runs / run_id(run)).record
    return read_record(path) if path.exists() else None


def task_of(name: str, run: RunConfig, keep_tokens: tuple[int, ...]) -> Task:
    # Small models reach less of a core's peak: what runs take relative to each other follows bytes, not only FLOPs.
    seconds = 3600 * predict(run, HARDWARE["cpu-core"]).hours
    return Task(run_id=name, run=run, seconds=seconds, keep_tokens=keep_tokens)

"""`scaling run`: one run of a plan, as every backend executes it and as it can be repeated by hand."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from launch.options import WhereOptions, console
from launch.stored import fetch_missing_data, fetched_plan
from launch.worker import CANCELLED
from scaling.config import Placement
from scaling.mirror.bucket import Bucket, bucket_of
from scaling.plan_file import Planned, read_plan
from scaling.provenance import STUDY
from scaling.workspace import Workspace

EXIT_CODES = {"failed": 1, "held": 76, "cancelled": CANCELLED}


@dataclass(frozen=True, kw_only=True)
class RunOptions(WhereOptions):
    plan: tyro.conf.Positional[str]
    """The file that a launch wrote: ROOT/studies/STUDY.json, or its URL."""
    run_id: tyro.conf.Positional[str]
    """One of its runs."""
    store: str | None = None
    """URL of an object store that holds and keeps the run; ROOT is scratch then."""


def run(arguments: list[str]) -> None:
    """Train one run of a plan. Exit code: 0 trained, 1 failed, 75 stopped: start it again, 76 held, 77 cancelled."""
    options = tyro.cli(RunOptions, args=arguments, prog="scaling run", description=run.__doc__)
    plan = read_plan(fetched_plan(options.plan, options.workspace) if "://" in options.plan else Path(options.plan))
    planned = plan.planned(options.run_id)
    os.environ[STUDY] = plan.name
    from scaling.data.prepare import prepare
    from scaling.parallel.hosts import cluster

    store = bucket_of(options.store) if options.store else None
    if cluster() is None:
        if store is not None:
            fetch_missing_data(planned.run.data, store, options.root, console.print)
        prepare(planned.run.data, options.root, console.print)
        status = _alone(options.run_id, planned, options.workspace, plan.placement, store)
        if status in EXIT_CODES:
            sys.exit(EXIT_CODES[status])
    elif store is not None:
        raise ValueError(f"--store {store}: a run over several processes needs a --root that all of them share")
    else:
        from launch.together import train_together

        train_together(planned.run, options.workspace, plan.placement, console, keep_tokens=planned.keep_tokens)


def _alone(name: str, planned: Planned, workspace: Workspace, placement: Placement, store: Bucket | None = None) -> str:
    """What became of the run, trained by a worker process of this one."""
    from launch.devices import slots
    from launch.local import work_off
    from launch.progress import Progress
    from launch.stored import level
    from launch.sweep import sweep_of

    progress = Progress(console)
    if store is not None:
        level(store, workspace, {name}, progress.note)
    sweep = sweep_of({name: (planned.run, planned.keep_tokens)}, workspace, placement, waits=False)
    sweep.store = store
    return work_off(sweep, slots(1, placement.devices), progress)[name]

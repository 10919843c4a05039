"""`scaling run`: one run of a plan, as every backend executes it and as it can be repeated by hand."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from launch.options import WhereOptions, console
from launch.worker import CANCELLED
from scaling.config import Placement
from scaling.plan_file import Planned, read_plan
from scaling.provenance import STUDY
from scaling.workspace import Workspace

EXIT_CODES = {"failed": 1, "held": 76, "cancelled": CANCELLED}


@dataclass(frozen=True, kw_only=True)
class RunOptions(WhereOptions):
    plan: tyro.conf.Positional[Path]
    """The file that a launch wrote: ROOT/studies/STUDY.json."""
    run_id: tyro.conf.Positional[str]
    """One of its runs."""


def run(arguments: list[str]) -> None:
    """Train one run of a plan. Exit code: 0 trained, 1 failed, 75 stopped: start it again, 76 held, 77 cancelled."""
    options = tyro.cli(RunOptions, args=arguments, prog="scaling run", description=run.__doc__)
    plan = read_plan(options.plan)
    planned = plan.planned(options.run_id)
    os.environ[STUDY] = plan.name
    from scaling.data.prepare import prepare
    from scaling.parallel.hosts import cluster

    if cluster() is None:
        prepare(planned.run.data, options.root, console.print)
        status = _alone(options.run_id, planned, options.workspace, plan.placement)
        if status in EXIT_CODES:
            sys.exit(EXIT_CODES[status])
    else:
        from launch.together import train_together

        train_together(planned.run, options.workspace, plan.placement, console, keep_tokens=planned.keep_tokens)


def _alone(name: str, planned: Planned, workspace: Workspace, placement: Placement) -> str:
    """What became of the run, trained by a worker process of this one."""
    from launch.devices import slots
    from launch.local import sweep_of, work_off
    from launch.progress import Progress

    sweep = sweep_of({name: (planned.run, planned.keep_tokens)}, workspace, placement, waits=False)
    return work_off(sweep, slots(1, placement.devices), Progress(console))[name]

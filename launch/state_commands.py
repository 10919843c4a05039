"""What users ask of a study that is under way or done, and what they change about it."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.live import Live

from launch.options import WhereOptions
from launch.overview import Overview, overview
from launch.planned import StudyPlan, plan_from
from launch.settled import Memory
from launch.show_status import line, print_status, render
from launch.status import State, states
from scaling.hardware import HARDWARE

console = Console()


@dataclass(frozen=True, kw_only=True)
class StatusOptions(WhereOptions):
    hardware: Literal[tuple(HARDWARE)] | None = None
    """Whose prices the plan is counted in; default: what the records were made on."""
    runs: bool = False
    """List every run and the log of every failed one."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions(WhereOptions):
    hardware: Literal[tuple(HARDWARE)] | None = None
    """Whose prices the plan is counted in; default: what the records were made on."""
    seconds: float = 2.0
    """Between two looks."""


def status(arguments: list[str]) -> None:
    """How far each run of a launched study is, what it took, and how long it will still take."""
    plan, options = plan_from("status", StatusOptions, arguments)
    whole, found = _look(plan, options, Memory())
    if options.json:
        return print(json.dumps({**asdict(whole), "runs": [asdict(state) for state in found]}))
    print_status(whole, found, console, all_runs=options.runs)


def watch(arguments: list[str]) -> None:
    """The same, again and again, until every run is settled; Ctrl-C leaves, and stops no run."""
    plan, options = plan_from("watch", WatchOptions, arguments)
    if options.seconds <= 0:
        raise ValueError(f"--seconds {options.seconds}: must be positive")
    try:
        _watch(plan, options, Memory())
    except KeyboardInterrupt:
        return  # whoever trains goes on


def _watch(plan: StudyPlan, options: WatchOptions, memory: Memory) -> None:
    """A live table on a terminal; elsewhere a line whenever something has changed."""
    whole, found = _look(plan, options, memory)
    if not console.is_terminal:
        said = ""
        while True:
            if (now := line(whole)) != said:
                console.print(said := now, highlight=False, soft_wrap=True)
            if whole.settled:
                return
            time.sleep(options.seconds)
            whole, found = _look(plan, options, memory)
    with Live(render(whole, found), console=console, auto_refresh=False) as live:
        while not whole.settled:
            time.sleep(options.seconds)
            whole, found = _look(plan, options, memory)
            live.update(render(whole, found), refresh=True)


def _look(plan: StudyPlan, options: StatusOptions | WatchOptions, memory: Memory) -> tuple[Overview, list[State]]:
    found = states(plan, options.workspace, memory)
    return overview(plan, found, HARDWARE[options.hardware] if options.hardware else None), found

"""Train a study's runs on this machine, with a pool of workers.

Runs are grouped by shape, so that a shape compiles once; trunks come before
their branches. A run that another launcher holds is left to it; a run that
fails is tried once more, then reported, and the others go on. Whatever
happens, what is written stays: launching again takes up what is left.
"""

import queue
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from filelock import FileLock, Timeout

from launch.devices import Slot
from launch.pool import Message, Worker, start
from launch.progress import Progress
from launch.queue import Task, choose, ready
from launch.worker import RESUME_ME
from scaling.config import Placement, RunConfig, run_id
from scaling.counts import params
from scaling.curve import last_live
from scaling.hardware import HARDWARE
from scaling.outcome import failed_record
from scaling.plan import Study
from scaling.record import RunDirectory, RunRecord, read_record, write_config, write_record
from scaling.roofline import predict
from scaling.workspace import Workspace

TRIES = 2
HELD_SECONDS = 2.0  # between two looks at runs that another launcher holds
LOG_LINES = 15  # of a failed run's log that are shown
CHECKPOINT_BYTES_PER_PARAM = 12 * 3  # parameters and two moments; the last two kept and one being written


@dataclass
class Sweep:
    """A launch under way: which runs are left, and what became of the others."""

    study: Study
    workspace: Workspace
    placement: Placement
    left: dict[str, Task]
    outcomes: dict[str, str] = field(default_factory=dict)  # run id -> finished, diverged or failed
    tries: dict[str, int] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)


def launch(
    study: Study, workspace: Workspace, placement: Placement, slots: Sequence[Slot], progress: Progress
) -> dict[str, str]:
    """Train whatever of a study has no record yet; returns each run's outcome.

    The study's data must be prepared and its runs checked. On KeyboardInterrupt
    the workers write checkpoints before it goes on to the caller.
    """
    sweep = begin(study, workspace, placement)
    progress.begin(sweep.left.values(), sweep.outcomes)
    if not sweep.left:
        return sweep.outcomes
    inbox: queue.Queue[Message] = queue.Queue()
    workers = start(slots[: len(sweep.left)], workspace, inbox)
    try:
        _work(sweep, workers, inbox, progress)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()
        progress.end()
    return sweep.outcomes


def begin(study: Study, workspace: Workspace, placement: Placement) -> Sweep:
    """Sort the study's runs into those done and those left; raise on a record that cannot be trusted."""
    records = {run_id(run): existing_record(workspace, run) for run in study.runs}
    done = {name: record.status for name, record in records.items() if record and record.status != "failed"}
    left = {name: _task(run, study) for run in study.runs if (name := run_id(run)) not in done}
    _check_space(workspace, left)
    return Sweep(study=study, workspace=workspace, placement=placement, left=left, outcomes=done)


def existing_record(workspace: Workspace, run: RunConfig) -> RunRecord | None:
    path = RunDirectory(workspace.runs / run_id(run)).record
    return read_record(path) if path.exists() else None


def _work(sweep: Sweep, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress) -> None:
    looked = time.monotonic()
    while sweep.left:
        _hand_out(sweep, workers)
        try:
            message = inbox.get(timeout=0.5)
        except queue.Empty:
            message = None
        if message is not None:
            _hear(sweep, message, workers, inbox, progress)
        if sweep.held and time.monotonic() - looked > HELD_SECONDS:
            _look_at_held(sweep, progress)
            looked = time.monotonic()
        progress.refresh()


def _hand_out(sweep: Sweep, workers: Sequence[Worker]) -> None:
    """Give every idle worker a run, if one is ready."""
    for worker in workers:
        if worker.task is not None:
            continue
        taken = {other.task.run_id for other in workers if other.task}
        waiting = [task for task in ready(sweep.left) if task.run_id not in taken | sweep.held]
        busy = [other.last_shape for other in workers if other.task]
        task = choose(waiting, worker.last_shape, busy)
        if task is not None:
            write_config(RunDirectory(sweep.workspace.runs / task.run_id), task.run)
            worker.give(task, sweep.placement)


def _hear(
    sweep: Sweep, message: Message, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress
) -> None:
    worker, values = message.worker, message.values
    match values["event"]:
        case "live":
            return progress.live(values)
        case "bye":
            return
        case "died":
            if values["code"] == RESUME_ME:
                return _resume(sweep, worker, workers, inbox, progress)
            if worker.task is None:
                raise RuntimeError(f"a worker ended with code {values['code']} while it had nothing to do")
            worker.wait()
            workers[workers.index(worker)] = Worker(worker.slot, sweep.workspace, inbox)
            return _failed(sweep, worker.task, f"its worker ended with code {values['code']}", progress)
        case "done":
            _settled(sweep, worker.task.run_id, values["status"], values, progress)
        case "held":
            sweep.held.add(worker.task.run_id)
        case "failed":
            _failed(sweep, worker.task, values["message"], progress)
        case "interrupted":
            return  # somebody stopped that worker alone: it says `died` next, and why
    worker.task = None


def _resume(
    sweep: Sweep, worker: Worker, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress
) -> None:
    """Replace a worker that was told to stop; its run is still among those left, and it has not failed."""
    worker.wait()
    workers[workers.index(worker)] = Worker(worker.slot, sweep.workspace, inbox)
    if worker.task is not None:
        progress.interrupted(worker.task)


def _settled(sweep: Sweep, name: str, status: str, values: dict[str, Any], progress: Progress) -> None:
    sweep.outcomes[name] = status
    task = sweep.left.pop(name)
    progress.settled(task, status, values.get("loss"), values.get("message", ""))


def _failed(sweep: Sweep, task: Task, message: str, progress: Progress) -> None:
    """Leave a failed run for one more try, or record it with the end of its log."""
    sweep.tries[task.run_id] = sweep.tries.get(task.run_id, 0) + 1
    if sweep.tries[task.run_id] < TRIES:
        return progress.failed_once(task, message)
    directory = RunDirectory(sweep.workspace.runs / task.run_id)
    last = last_live(directory.live_curve)
    write_record(directory, failed_record(task.run, sweep.placement, message, last["tokens"] if last else 0))
    _settled(sweep, task.run_id, "failed", {"message": f"{message}\n{log_end(directory)}"}, progress)


def log_end(directory: RunDirectory) -> str:
    """The last lines of a run's log, with its path."""
    if not directory.log.exists():
        return f"(no log at {directory.log})"
    lines = directory.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"the end of {directory.log}:", *lines[-LOG_LINES:]])


def _look_at_held(sweep: Sweep, progress: Progress) -> None:
    """Settle runs that another launcher has finished; take back those it has let go."""
    for name in sorted(sweep.held):
        directory = RunDirectory(sweep.workspace.runs / name)
        record = existing_record(sweep.workspace, sweep.left[name].run)
        if record is not None and record.status != "failed":
            sweep.held.remove(name)
            loss = record.heldout.loss if record.heldout else None
            _settled(sweep, name, record.status, {"loss": loss, "message": record.message}, progress)
        elif not is_held(directory):
            sweep.held.remove(name)


def is_held(directory: RunDirectory) -> bool:
    """Whether a living process is training this run."""
    if not directory.lock.exists():
        return False
    try:
        with FileLock(directory.lock, timeout=0):
            return False
    except Timeout:
        return True


def _task(run: RunConfig, study: Study) -> Task:
    name = run_id(run)
    starts = {other.trunk.tokens for other in study.runs if other.trunk and other.trunk.run_id == name}
    # Small models reach less of a core's peak: what runs take relative to each other follows bytes, not only FLOPs.
    seconds = 3600 * predict(run, HARDWARE["cpu-core"]).hours
    return Task(run_id=name, run=run, seconds=seconds, keep_tokens=tuple(sorted(starts)))


def _check_space(workspace: Workspace, left: dict[str, Task]) -> None:
    workspace.runs.mkdir(parents=True, exist_ok=True)
    need = sum(CHECKPOINT_BYTES_PER_PARAM * params(task.run.model, task.run.objective).total for task in left.values())
    free = shutil.disk_usage(workspace.runs).free
    if free < need:
        raise OSError(
            f"{workspace.runs.absolute()}: {free / 1e9:.2f} GB free, but the checkpoints of {len(left)} runs need "
            f"about {need / 1e9:.2f} GB; free some space, or choose another --root"
        )

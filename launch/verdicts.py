"""What became of a run that a worker trained, or lost, and what follows from it.

What went wrong decides whether a run is tried again: one whose worker died
until it gets no further (`scaling.attempts`), one that ran out of memory in
smaller parts, one that raised an error not at all. A full disk ends the launch,
for it would end every run, and settles none.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from launch.budget import seconds_of
from launch.pool import Worker
from launch.progress import Progress
from launch.queue import Task
from launch.space import disk_full
from launch.stored import tell
from launch.sweep import Sweep, existing_record, untrained
from scaling.attempts import GIVE_UP, attempts
from scaling.config import Placement, RunConfig
from scaling.curve import last_live
from scaling.mirror.bucket import BucketError
from scaling.mirror.mirror import of_run
from scaling.mirror.runs import fetch_outcome
from scaling.outcome import failed_record, stopped_record
from scaling.parallel.layout import layout_of
from scaling.record import RunDirectory, write_record

LOG_LINES = 15  # of a failed run's log that are shown


def settle(sweep: Sweep, name: str, status: str, values: dict[str, Any], progress: Progress) -> None:
    sweep.outcomes[name] = status
    task = sweep.left.pop(name)
    if sweep.stopping.pop(name, None):  # it may have come to its end before it was heard
        RunDirectory(sweep.workspace.runs / name).cancel.unlink(missing_ok=True)
    if sweep.budget is not None and (record := existing_record(sweep.workspace, task.run)) is not None:
        spent = sweep.budget.seconds_spent + seconds_of(record, sweep.budget.devices)
        sweep.budget = replace(sweep.budget, seconds_spent=spent)
    progress.settled(task, status, values.get("loss"), values.get("message", ""))


def stop_if_bad(sweep: Sweep, live: dict[str, Any]) -> None:
    """Ask a run to stop if it promises to end badly; it writes a checkpoint first."""
    task = sweep.left.get(live["run_id"])
    if sweep.judge is None or task is None or task.run_id in sweep.stopping:
        return
    if (bad := sweep.judge.look(task.run, live["step"])) is not None:
        sweep.stopping[task.run_id] = bad
        RunDirectory(sweep.workspace.runs / task.run_id).cancel.touch()


def settle_stopped(sweep: Sweep, task: Task, progress: Progress) -> None:
    """Record a run that was stopped, with the reason."""
    directory, bad = RunDirectory(sweep.workspace.runs / task.run_id), sweep.stopping[task.run_id]
    placement = sweep.smaller.get(task.run_id, sweep.placement)
    write_record(directory, stopped_record(task.run, placement, bad.reason, directory, bad.best.provenance))
    settle(sweep, task.run_id, "stopped", {"message": bad.reason}, progress)


def after_death(sweep: Sweep, worker: Worker, message: str, progress: Progress) -> None:
    """Leave a run whose worker died for another try: the system may have killed it for another's sake.

    Whoever begins it next gives it up if it gets no further. Here are counted
    workers that died before they could note that they had begun.
    """
    task = worker.task
    found = attempts(RunDirectory(sweep.workspace.runs / task.run_id))
    if not found or found[-1].pid != worker.pid:
        sweep.tries[task.run_id] = sweep.tries.get(task.run_id, 0) + 1
    if sweep.tries.get(task.run_id, 0) < GIVE_UP:
        return progress.tried_again(task, message, "it will be tried again")
    _fail(sweep, task, message, progress)


def after_error(sweep: Sweep, task: Task, cause: str, message: str, progress: Progress) -> None:
    """An error comes again, except that what is too large for the memory may fit in smaller parts."""
    if cause == "disk_full":
        raise disk_full(sweep.workspace, task, message)
    smaller = None
    if cause == "out_of_memory":
        smaller = in_smaller_parts(task.run, sweep.smaller.get(task.run_id, sweep.placement))
    if smaller is None:
        return _fail(sweep, task, message, progress)
    sweep.smaller[task.run_id] = smaller
    parts = smaller.microbatches
    progress.tried_again(task, "out of memory", f"it will be tried again with microbatches={parts}: its record says so")


def in_smaller_parts(run: RunConfig, placement: Placement) -> Placement | None:
    """The same with the next larger number of microbatches that the run allows; None where there is none."""
    for parts in range(placement.microbatches + 1, run.batch + 1):
        wanted = replace(placement, microbatches=parts)
        try:
            layout_of(run, wanted, wanted.devices)
        except ValueError:  # does not divide the batch
            continue
        return wanted
    return None


def _fail(sweep: Sweep, task: Task, message: str, progress: Progress) -> None:
    """Record a failed run with the end of its log."""
    directory = RunDirectory(sweep.workspace.runs / task.run_id)
    last = last_live(directory.live_curve)
    placement = sweep.smaller.get(task.run_id, sweep.placement)
    write_record(directory, failed_record(task.run, placement, message, last["tokens"] if last else 0))
    if sweep.store is not None:
        tell(sweep.store, directory, progress.note)
    settle(sweep, task.run_id, "failed", {"message": f"{message}\n{log_end(directory)}"}, progress)


def log_end(directory: RunDirectory) -> str:
    """The last lines of a run's log, with its path."""
    if not directory.log.exists():
        return f"(no log at {directory.log})"
    lines = directory.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"the end of {directory.log}:", *lines[-LOG_LINES:]])


def look_at_held(sweep: Sweep, progress: Progress) -> None:
    """Settle runs that another launcher has finished; take back those it has let go."""
    for name in sorted(sweep.held):
        directory = RunDirectory(sweep.workspace.runs / name)
        place = directory.path
        if sweep.store is not None:
            place = of_run(sweep.store, name)
            with suppress(BucketError):  # it is asked again at the next look
                fetch_outcome(place, directory)
        record = existing_record(sweep.workspace, sweep.left[name].run)
        if record is not None and record.status not in untrained(sweep.judge):
            sweep.held.remove(name)
            loss = record.heldout.loss if record.heldout else None
            settle(sweep, name, record.status, {"loss": loss, "message": record.message}, progress)
        elif sweep.watch.is_free(place):
            sweep.held.remove(name)
            sweep.watched.add(name)

"""Train a study's runs on this machine, with a pool of workers.

Runs are grouped by shape, so that a shape compiles once; trunks come before
their branches. A run that another launcher holds is left to it. What went
wrong decides whether a run is tried again: one that was stopped always is, one
whose worker died until it gets no further (`scaling.attempts`), one that ran
out of memory in smaller parts, one that raised an error not at all; the others
go on. A full disk ends the launch, for it would end every run, and settles
none. Whatever happens, what is
written stays: launching again takes up what is left.
"""

import queue
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from launch.bad_runs import Bad, Judge
from launch.budget import Budget, seconds_of
from launch.devices import Slot
from launch.pool import Message, Worker, start
from launch.progress import Progress
from launch.queue import Task, choose, ready
from launch.space import check_space, disk_full
from launch.stored import level, tell
from launch.worker import RESUME_ME
from scaling.attempts import GIVE_UP, attempts
from scaling.config import Placement, RunConfig, run_id
from scaling.curve import last_live
from scaling.hardware import HARDWARE
from scaling.lease import BEAT_SECONDS, EXPIRY_SECONDS, Watch
from scaling.mirror.bucket import Bucket, BucketError
from scaling.mirror.mirror import of_run
from scaling.mirror.runs import fetch_outcome
from scaling.outcome import failed_record, stopped_record
from scaling.parallel.layout import layout_of
from scaling.plan import Study, starts
from scaling.record import OPEN, RunDirectory, RunRecord, read_record, status_in, write_config, write_record
from scaling.roofline import predict
from scaling.workspace import Workspace

TOLD_TO_STOP = (RESUME_ME, -signal.SIGTERM)  # codes of workers; the second where it had only just started
HELD_SECONDS = 2.0  # between two looks at runs that another launcher holds
LOG_LINES = 15  # of a failed run's log that are shown


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


def launch(
    study: Study,
    workspace: Workspace,
    placement: Placement,
    slots: Sequence[Slot],
    progress: Progress,
    budget: Budget | None = None,
    judge: Judge | None = None,
    store: Bucket | None = None,
) -> dict[str, str]:
    """Train whatever of a study has no record yet, here or on the store; returns each run's outcome.

    The study's data must be prepared and its runs checked. Runs that do not
    fit into the budget have no outcome. judge: stops bad runs; without one, those
    that were stopped are trained to their end.
    """
    if store is not None:
        level(store, workspace, {run_id(run) for run in study.runs}, progress.note)
    sweep = begin(study, workspace, placement, judge)
    sweep.store = store
    if budget is not None:
        trained = [existing_record(workspace, run) for run in study.runs if run_id(run) not in sweep.left]
        spent = sum(seconds_of(record, budget.devices) for record in trained if record)
        sweep.budget = replace(budget, seconds_spent=spent)
    return work_off(sweep, slots, progress)


def work_off(sweep: Sweep, slots: Sequence[Slot], progress: Progress) -> dict[str, str]:
    """Train what is left. On KeyboardInterrupt the workers write checkpoints before it goes on to the caller."""
    progress.begin(sweep.left.values(), sweep.outcomes)
    if not sweep.left:
        return sweep.outcomes
    inbox: queue.Queue[Message] = queue.Queue()
    workers = start(slots[: len(sweep.left)], sweep.workspace, inbox)
    try:
        _work(sweep, workers, inbox, progress)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()
        progress.end()
    return sweep.outcomes


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
    not_done = (None, *_untrained(judge))
    statuses = {name: status_in(RunDirectory(workspace.runs / name)) for name in runs}
    done = {name: status for name, status in statuses.items() if status not in not_done}
    left = {name: _task(name, *planned) for name, planned in runs.items() if name not in done}
    check_space(workspace, left.values())
    if waits:  # a launch; what trains a single run leaves the request to whoever launched it
        for name in left:
            RunDirectory(workspace.runs / name).cancel.unlink(missing_ok=True)
    return Sweep(workspace=workspace, placement=placement, left=left, outcomes=done, waits=waits, judge=judge)


def _untrained(judge: Judge | None) -> tuple[str, ...]:
    """Statuses of records whose runs are trained on: one that was stopped stays so where bad runs are stopped."""
    return OPEN if judge is None else ("failed",)


def existing_record(workspace: Workspace, run: RunConfig) -> RunRecord | None:
    path = RunDirectory(workspace.runs / run_id(run)).record
    return read_record(path) if path.exists() else None


def _work(sweep: Sweep, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress) -> None:
    looked = time.monotonic()
    while sweep.left:
        _hand_out(sweep, workers, progress)
        if sweep.budget is not None and not sweep.held and all(worker.task is None for worker in workers):
            return progress.note(
                f"{len(sweep.left)} runs are not begun: the next would exceed the budget of "
                f"{sweep.budget.device_hours:.3g} device hours (${sweep.budget.dollars:,.2f}), of which "
                f"{sweep.budget.seconds_spent / 3600:.3g} are spent"
            )
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


def _hand_out(sweep: Sweep, workers: Sequence[Worker], progress: Progress) -> None:
    """Give every idle worker a run, if one is ready."""
    for worker in workers:
        if worker.task is None and (task := _next(sweep, worker, workers, progress)) is not None:
            write_config(RunDirectory(sweep.workspace.runs / task.run_id), task.run)
            placement = sweep.smaller.get(task.run_id, sweep.placement)
            worker.give(task, placement, _patience(sweep, task), sweep.store)


def _next(sweep: Sweep, worker: Worker, workers: Sequence[Worker], progress: Progress) -> Task | None:
    """A run for a worker; those that somebody has cancelled are settled on the way."""
    taken = {other.task.run_id for other in workers if other.task} | sweep.held
    busy = [other.last_shape for other in workers if other.task]
    while True:
        waiting = [task for task in ready(sweep.left) if task.run_id not in taken]
        if sweep.budget is not None:
            under_way = [other.task for other in workers if other.task]
            waiting = [task for task in waiting if sweep.budget.fits(task, under_way)]
        task = choose(waiting, worker.last_shape, busy)
        if task is None or not RunDirectory(sweep.workspace.runs / task.run_id).cancel.exists():
            return task
        _settled(sweep, task.run_id, "cancelled", {}, progress)


def _patience(sweep: Sweep, task: Task) -> float:
    """Seconds that a worker waits for a lease that others have: as long as one takes to expire, or not at all.

    Of one that this launcher has seen expire the worker must see that for itself.
    """
    return EXPIRY_SECONDS + 2 * BEAT_SECONDS if not sweep.waits or task.run_id in sweep.watched else 0.0


def _hear(
    sweep: Sweep, message: Message, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress
) -> None:
    worker, values = message.worker, message.values
    match values["event"]:
        case "live":
            _judge(sweep, values)
            return progress.live(values)
        case "bye":
            return
        case "died":
            if values["code"] in TOLD_TO_STOP:
                return _resume(sweep, worker, workers, inbox, progress)
            if worker.task is None:
                raise RuntimeError(f"a worker ended with code {values['code']} while it had nothing to do")
            worker.wait()
            workers[workers.index(worker)] = Worker(worker.slot, sweep.workspace, inbox)
            return _died(sweep, worker, f"its worker ended with code {values['code']}", progress)
        case "done":
            _settled(sweep, worker.task.run_id, values["status"], values, progress)
        case "held" if sweep.waits:
            sweep.held.add(worker.task.run_id)
        case "cancelled" if worker.task.run_id in sweep.stopping:
            _stopped(sweep, worker.task, progress)
        case "held" | "cancelled":
            _settled(sweep, worker.task.run_id, values["event"], {}, progress)
        case "failed":
            _raised(sweep, worker.task, values["cause"], values["message"], progress)
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


def _judge(sweep: Sweep, live: dict[str, Any]) -> None:
    """Ask a run to stop if it promises to end badly; it writes a checkpoint first."""
    task = sweep.left.get(live["run_id"])
    if sweep.judge is None or task is None or task.run_id in sweep.stopping:
        return
    if (bad := sweep.judge.look(task.run, live["step"])) is not None:
        sweep.stopping[task.run_id] = bad
        RunDirectory(sweep.workspace.runs / task.run_id).cancel.touch()


def _stopped(sweep: Sweep, task: Task, progress: Progress) -> None:
    """Record a run that was stopped, with the reason."""
    directory, bad = RunDirectory(sweep.workspace.runs / task.run_id), sweep.stopping[task.run_id]
    placement = sweep.smaller.get(task.run_id, sweep.placement)
    write_record(directory, stopped_record(task.run, placement, bad.reason, directory, bad.best.provenance))
    _settled(sweep, task.run_id, "stopped", {"message": bad.reason}, progress)


def _settled(sweep: Sweep, name: str, status: str, values: dict[str, Any], progress: Progress) -> None:
    sweep.outcomes[name] = status
    task = sweep.left.pop(name)
    if sweep.stopping.pop(name, None):  # it may have come to its end before it was heard
        RunDirectory(sweep.workspace.runs / name).cancel.unlink(missing_ok=True)
    if sweep.budget is not None and (record := existing_record(sweep.workspace, task.run)) is not None:
        spent = sweep.budget.seconds_spent + seconds_of(record, sweep.budget.devices)
        sweep.budget = replace(sweep.budget, seconds_spent=spent)
    progress.settled(task, status, values.get("loss"), values.get("message", ""))


def _died(sweep: Sweep, worker: Worker, message: str, progress: Progress) -> None:
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
    _failed(sweep, task, message, progress)


def _raised(sweep: Sweep, task: Task, cause: str, message: str, progress: Progress) -> None:
    """An error comes again, except that what is too large for the memory may fit in smaller parts."""
    if cause == "disk_full":
        raise disk_full(sweep.workspace, task, message)
    smaller = None
    if cause == "out_of_memory":
        smaller = in_smaller_parts(task.run, sweep.smaller.get(task.run_id, sweep.placement))
    if smaller is None:
        return _failed(sweep, task, message, progress)
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


def _failed(sweep: Sweep, task: Task, message: str, progress: Progress) -> None:
    """Record a failed run with the end of its log."""
    directory = RunDirectory(sweep.workspace.runs / task.run_id)
    last = last_live(directory.live_curve)
    placement = sweep.smaller.get(task.run_id, sweep.placement)
    write_record(directory, failed_record(task.run, placement, message, last["tokens"] if last else 0))
    if sweep.store is not None:
        tell(sweep.store, directory, progress.note)
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
        place = directory.path
        if sweep.store is not None:
            place = of_run(sweep.store, name)
            with suppress(BucketError):  # it is asked again at the next look
                fetch_outcome(place, directory)
        record = existing_record(sweep.workspace, sweep.left[name].run)
        if record is not None and record.status not in _untrained(sweep.judge):
            sweep.held.remove(name)
            loss = record.heldout.loss if record.heldout else None
            _settled(sweep, name, record.status, {"loss": loss, "message": record.message}, progress)
        elif sweep.watch.is_free(place):
            sweep.held.remove(name)
            sweep.watched.add(name)


def _task(name: str, run: RunConfig, keep_tokens: tuple[int, ...]) -> Task:
    # Small models reach less of a core's peak: what runs take relative to each other follows bytes, not only FLOPs.
    seconds = 3600 * predict(run, HARDWARE["cpu-core"]).hours
    return Task(run_id=name, run=run, seconds=seconds, keep_tokens=keep_tokens)

"""Train a study's runs on this machine, with a pool of workers.

Runs are grouped by shape, so that a shape compiles once; trunks come before
their branches. A run that another launcher holds is left to it, and one whose
worker was told to stop goes on; `verdicts` decides what follows from all else.
Whatever happens, what is written stays: launching again takes up what is left.
"""

import queue
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

from launch.bad_runs import Judge
from launch.budget import Budget, seconds_of
from launch.dealing import hand_out, line_up
from launch.devices import Slot
from launch.pool import Message, Worker, start
from launch.progress import Progress
from launch.stored import level
from launch.sweep import Sweep, begin, existing_record
from launch.verdicts import after_death, after_error, look_at_held, settle, settle_stopped, stop_if_bad
from launch.worker import RESUME_ME
from scaling.config import Placement, run_id
from scaling.mirror.bucket import Bucket
from scaling.plan import Study
from scaling.workspace import Workspace

TOLD_TO_STOP = (RESUME_ME, -signal.SIGTERM)  # codes of workers; the second where it had only just started
HELD_SECONDS = 2.0  # between two looks at runs that another launcher holds


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


def _work(sweep: Sweep, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress) -> None:
    looked = time.monotonic()
    while sweep.left:
        hand_out(sweep, workers, progress)
        line_up(sweep, workers)
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
            look_at_held(sweep, progress)
            looked = time.monotonic()
        progress.refresh()


def _hear(
    sweep: Sweep, message: Message, workers: list[Worker], inbox: "queue.Queue[Message]", progress: Progress
) -> None:
    worker, values = message.worker, message.values
    match values["event"]:
        case "live":
            stop_if_bad(sweep, values)
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
            return after_death(sweep, worker, f"its worker ended with code {values['code']}", progress)
        case "done":
            settle(sweep, worker.task.run_id, values["status"], values, progress)
        case "held" if sweep.waits:
            sweep.held.add(worker.task.run_id)
        case "cancelled" if worker.task.run_id in sweep.stopping:
            settle_stopped(sweep, worker.task, progress)
        case "held" | "cancelled":
            settle(sweep, worker.task.run_id, values["event"], {}, progress)
        case "failed":
            after_error(sweep, worker.task, values["cause"], values["message"], progress)
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

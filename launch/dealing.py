"""Which worker of a launch trains which run: each takes the next as soon as it has trained one.

A run's folder is made while the worker that will probably train it is still
busy with the run before, for it takes longer than to tell a worker what is next.
"""

from collections.abc import Sequence

from launch.pool import Worker
from launch.progress import Progress
from launch.queue import Task, choose, ready
from launch.sweep import Sweep
from launch.verdicts import settle
from scaling.lease import BEAT_SECONDS, EXPIRY_SECONDS
from scaling.record import RunDirectory, write_config


def hand_out(sweep: Sweep, workers: Sequence[Worker], progress: Progress) -> None:
    """Give every idle worker a run, if one is ready."""
    for worker in workers:
        if worker.task is not None:
            continue
        lined_up = sweep.ahead.pop(worker, None)
        if (task := _next(sweep, worker, workers, lined_up, progress)) is not None:
            if task is not lined_up:
                write_config(RunDirectory(sweep.workspace.runs / task.run_id), task.run)
            placement = sweep.smaller.get(task.run_id, sweep.placement)
            worker.give(task, placement, _patience(sweep, task), sweep.store)


def line_up(sweep: Sweep, workers: Sequence[Worker]) -> None:
    """Choose for every busy worker what it takes next, and make that run's folder. Within a budget ends decide."""
    under_way = {other.task.run_id for other in workers if other.task}
    sweep.ahead = {
        worker: task
        for worker, task in sweep.ahead.items()
        if worker in workers and task.run_id in sweep.left and task.run_id not in under_way
    }
    for worker in workers if sweep.budget is None else ():
        if worker.task is None or worker in sweep.ahead:
            continue
        lined_up = {task.run_id for task in sweep.ahead.values()}
        waiting = [task for task in _waiting(sweep, workers) if task.run_id not in lined_up]
        busy = [other.last_shape for other in workers if other is not worker]
        if (task := choose(waiting, worker.last_shape, busy)) is not None:
            write_config(RunDirectory(sweep.workspace.runs / task.run_id), task.run)
            sweep.ahead[worker] = task


def _next(
    sweep: Sweep, worker: Worker, workers: Sequence[Worker], lined_up: Task | None, progress: Progress
) -> Task | None:
    """A run for a worker; those that somebody has cancelled are settled on the way."""
    taken = {other.task.run_id for other in workers if other.task} | sweep.held
    is_there = lined_up is not None and lined_up.run_id in sweep.left and lined_up.run_id not in taken
    task = lined_up if is_there else _chosen(sweep, worker, workers)
    while task is not None and RunDirectory(sweep.workspace.runs / task.run_id).cancel.exists():
        settle(sweep, task.run_id, "cancelled", {}, progress)
        task = _chosen(sweep, worker, workers)
    return task


def _chosen(sweep: Sweep, worker: Worker, workers: Sequence[Worker]) -> Task | None:
    """What no other worker is to take next, before what one is: it may be busy for long."""
    waiting = _waiting(sweep, workers)
    lined_up = {task.run_id for task in sweep.ahead.values()}
    busy = [other.last_shape for other in workers if other.task]
    return choose([task for task in waiting if task.run_id not in lined_up] or waiting, worker.last_shape, busy)


def _waiting(sweep: Sweep, workers: Sequence[Worker]) -> list[Task]:
    """Runs that can be begun."""
    under_way = [other.task for other in workers if other.task]
    taken = {task.run_id for task in under_way} | sweep.held
    waiting = [task for task in ready(sweep.left) if task.run_id not in taken]
    return waiting if sweep.budget is None else [task for task in waiting if sweep.budget.fits(task, under_way)]


def _patience(sweep: Sweep, task: Task) -> float:
    """Seconds that a worker waits for a lease that others have: as long as one takes to expire, or not at all.

    Of one that this launcher has seen expire the worker must see that for itself.
    """
    return EXPIRY_SECONDS + 2 * BEAT_SECONDS if not sweep.waits or task.run_id in sweep.watched else 0.0

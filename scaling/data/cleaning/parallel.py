"""Ways to map a function over shards: one after another, in processes of this machine, or by Ray Data.

The function and its arguments are pickled; it writes its results to files and
gives back nothing, so that any engine that can call a function can take part.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from scaling.data.sources import DataError

# What cleaning imports, slowly.
PRELOADED = ["scaling.data.cleaning.engine", "rensa"]

# Calls the function once for every element, in any order and anywhere that sees the same files, and yields
# something as each is done. It raises what a call raised.
MapShards = Callable[[Callable[[Any], None], Sequence[Any]], Iterable[None]]


def one_by_one(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
    """In this process."""
    for job in jobs:
        yield work(job)


@contextmanager
def in_processes(count: int | None = None) -> Iterator[MapShards]:
    """In so many processes of this machine; None is one for each of its processors that this process may use."""
    processes = count if count is not None else _processors()
    if processes < 1:
        raise DataError(f"{processes} processes cannot clean documents; give at least 1")
    pools: list[ProcessPoolExecutor] = []
    context, others = _starting(processes), multiprocessing.active_children()

    def run(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        if min(processes, len(jobs)) < 2:  # one shard does not repay the time that processes need to start
            return one_by_one(work, jobs)
        if not pools:
            pools.append(ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent))
        return _pooled(pools[0], others, work, jobs)

    try:
        yield run
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _starting(processes: int) -> multiprocessing.context.BaseContext:
    """How to start processes. This one is not forked: a fork of a process with busy threads (JAX's) may hang.

    On Linux a server does nothing but import what cleaning needs, while this
    process goes on to cut its source; the workers are forked from it.
    Elsewhere forks are not to be relied on, and every worker imports by itself.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if processes > 1:
        from multiprocessing import forkserver

        context.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    return context


def _pooled(
    pool: ProcessPoolExecutor, others: Sequence[BaseProcess], work: Callable[[Any], None], jobs: Sequence[Any]
) -> Iterator[None]:
    """others: processes that are not the pool's."""
    futures = []
    try:
        for job in jobs:
            futures.append(pool.submit(work, job))
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        # The pool ends its processes itself, but for one that was just being started: it would be waited for in vain.
        for process in set(multiprocessing.active_children()).difference(others):
            process.terminate()
        raise DataError(
            "one of the processes that clean documents was killed, most likely for want of memory: "
            "do the same again with fewer (`scaling data clean --processes`); what is done is kept"
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def on_ray(address: str | None = None) -> Iterator[MapShards]:
    """By Ray Data, on a cluster whose nodes see the same files; address None is this machine.

    Only the descriptions of shards go through Ray: documents go from file to
    file, so that its object store stays empty and its restarts are ours.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise DataError("cleaning on Ray needs Ray Data: pip install 'scaling-lab[ray]'") from None

    def run(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        if not jobs:
            return
        # A block each, so that every shard is a task of its own.
        rows = ray.data.from_items([{"job": number} for number in range(len(jobs))], override_num_blocks=len(jobs))
        listed = list(jobs)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            work(listed[row["job"]])
            return row

        try:
            for _ in rows.map(one).iter_rows():
                yield None
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            while isinstance(cause, ray.exceptions.RayTaskError):
                cause = cause.cause
            raise (cause if isinstance(cause, DataError) else error) from None

    started = not ray.is_initialized()
    if started:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
        ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield run
    finally:
        if started:
            ray.shutdown()

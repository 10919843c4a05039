"""Ways to map a function over shards: one after another, or in processes of this machine.

The function and its arguments are pickled; it writes its results to files and
gives back nothing, so that any engine that can call a function can take part.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from scaling.data.sources import DataError

# Calls the function once for every element, in any order and anywhere that sees the same files, and yields
# something as each is done. It raises what a call raised.
MapShards = Callable[[Callable[[Any], None], Sequence[Any]], Iterable[None]]


def one_by_one(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
    """In this process."""
    for job in jobs:
        yield work(job)


def in_processes(count: int | None = None) -> MapShards:
    """In so many processes of this machine; None is one for each of its processors that this process may use."""
    allowed = count if count is not None else _processors()

    def run(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        processes = min(allowed, len(jobs))
        # One shard does not repay the second that a new interpreter needs.
        return one_by_one(work, jobs) if processes < 2 else _pooled(work, jobs, processes)

    return run


def _pooled(work: Callable[[Any], None], jobs: Sequence[Any], processes: int) -> Iterator[None]:
    # Spawned, because a fork of a process with threads (JAX's, Arrow's) may hang.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with_parent) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                f"one of {processes} processes that clean documents was killed, most likely for want of memory: "
                "do the same again with fewer; what is done is kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


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

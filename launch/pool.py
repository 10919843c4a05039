"""The worker processes of one machine, and the messages they send."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from launch.devices import Slot
from launch.queue import Task
from scaling.config import Placement, to_dict
from scaling.mirror.bucket import Bucket
from scaling.workspace import Workspace

MARGIN_SECONDS = 10.0  # beyond its own grace, for a worker to end


@dataclass(frozen=True)
class Message:
    """What a worker said: one of worker.py's events, or `died`."""

    worker: "Worker"
    values: dict[str, Any]


class Worker:
    """One process in one slot. It trains one task at a time."""

    def __init__(self, slot: Slot, workspace: Workspace, inbox: "queue.Queue[Message]"):
        self.slot = slot
        self.task: Task | None = None
        self.last_shape: Any = None
        self._grace_seconds = 0.0
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launch.worker",
                str(workspace.runs),
                str(workspace.root),
                json.dumps(slot.cores),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(slot, workspace),
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which asks workers to stop
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self._reader.start()

    def give(
        self, task: Task, placement: Placement, patience_seconds: float = 0.0, store: Bucket | None = None
    ) -> None:
        """patience_seconds: see `scaling.training.loop.train`. store: where the run is held and kept too."""
        self.task, self.last_shape, self._grace_seconds = task, task.shape, placement.grace_seconds
        order = {
            "run_id": task.run_id,
            "keep_tokens": task.keep_tokens,
            "placement": to_dict(placement),
            "patience_seconds": patience_seconds,
            "store": store and store.url,
        }
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.last_shape = None  # it died just now: its `died` message is on the way

    def stop(self) -> None:
        """Ask for a checkpoint and an end; the end of its input says so."""
        with suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended; past the grace, end it."""
        try:
            self._process.wait(self._grace_seconds + MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self, inbox: "queue.Queue[Message]") -> None:
        for line in self._process.stdout:
            inbox.put(Message(self, json.loads(line)))
        code = self._process.wait()
        inbox.put(Message(self, {"event": "died", "code": code}))


def start(slots: Sequence[Slot], workspace: Workspace, inbox: "queue.Queue[Message]") -> list[Worker]:
    return [Worker(slot, workspace, inbox) for slot in slots]


# XLA's CPU client takes the scratch memory of every step anew, and glibc maps and unmaps it each
# time: the page faults were a third of a small step. One arena that is never trimmed keeps it.
KEEP_MEMORY = "glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=2000000000"


def defaults(workspace: Workspace) -> dict[str, str]:
    """What a process that trains finds in its environment, unless that says otherwise."""
    cache = workspace.compilation_cache.absolute()
    return {
        "GLIBC_TUNABLES": KEEP_MEMORY,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _environment(slot: Slot, workspace: Workspace) -> dict[str, str]:
    return {**defaults(workspace), **os.environ, **dict(slot.environment)}

"""Every time a run was begun and how that ended: lines of `attempts.jsonl` in its folder, only ever appended to.

An attempt without an end was killed, or is under way. Being stopped from
outside (preempted, cancelled, killed) is no fault of the run; errors are, and
are counted apart.
"""

import json
import os
import platform
import time
from dataclasses import dataclass
from typing import Any, Literal

from scaling.disk import is_full, writing
from scaling.record import RunDirectory

Cause = Literal["finished", "diverged", "preempted", "cancelled", "lost", "out_of_memory", "disk_full", "error"]
FAULTS = ("out_of_memory", "disk_full", "error")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One of a run's attempts; times are the host's, in seconds since 1970."""

    attempt: int  # from 1
    host: str
    pid: int
    began: float
    ended: float | None = None
    cause: Cause | None = None  # None: killed, or under way
    message: str = ""


def begin(directory: RunDirectory) -> int:
    """Note that an attempt begins; returns its number."""
    number = len(attempts(directory)) + 1
    known = {"host": platform.node(), "pid": os.getpid()}
    _append(directory, {"event": "begin", "attempt": number, **known, "time": time.time()})
    return number


def end(directory: RunDirectory, attempt: int, cause: Cause, message: str = "") -> None:
    _append(directory, {"event": "end", "attempt": attempt, "cause": cause, "message": message, "time": time.time()})


def attempts(directory: RunDirectory) -> tuple[Attempt, ...]:
    """All that was noted; lines that were torn by a crash are left out."""
    if not directory.attempts.exists():
        return ()
    found: dict[int, dict[str, Any]] = {}
    for line in directory.attempts.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            number = values["attempt"]
            if values["event"] == "begin":
                known = {"host": values["host"], "pid": values["pid"], "began": values["time"]}
                found[number] = {"attempt": number, **known}
            elif number in found:
                found[number] |= {"ended": values["time"], "cause": values["cause"], "message": values["message"]}
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return tuple(Attempt(**values) for values in found.values())


def cause_of(error: BaseException) -> Cause:
    """XLA has no error of its own for a device whose memory is full, only a word in the text of one.

    Whoever writes checkpoints takes the same word for a disk that is full.
    """
    if isinstance(error, KeyboardInterrupt):
        return "preempted"
    if is_full(error):
        return "disk_full"
    return "out_of_memory" if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError) else "error"


def _append(directory: RunDirectory, values: dict[str, Any]) -> None:
    """A line of its own even where the last one was torn."""
    with writing(directory.attempts), directory.attempts.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        torn = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + json.dumps(values).encode() + b"\n")

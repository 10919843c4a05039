"""Every time a run was begun and how that ended: lines of `attempts.jsonl` in its folder, only ever appended to.

An attempt without an end was killed, or is under way. Being stopped from
outside (preempted, cancelled, killed) is no fault of the run; errors are, and
are counted apart.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json

from scaling.disk import is_full, writing
from scaling.record import ATTEMPTS, RunDirectory

Cause = Literal["finished", "diverged", "preempted", "cancelled", "lost", "out_of_memory", "disk_full", "error"]
FAULTS = ("out_of_memory", "disk_full", "error")
GIVE_UP = 5  # attempts in a row that end without a word and come to no checkpoint


class GivenUp(RuntimeError):
    """A run died so often without getting on that it is not tried again by itself."""


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
    step: int | None = None  # of the run's own last checkpoint when it began; None in older lines


def begin(directory: RunDirectory) -> int:
    """Note that an attempt begins; returns its number."""
    number = len(attempts(directory)) + 1
    known = {"host": platform.node(), "pid": os.getpid(), "step": last_step(directory)}
    _append(directory, {"event": "begin", "attempt": number, **known, "time": time.time()})
    return number


def end(directory: RunDirectory, attempt: int, cause: Cause, message: str = "") -> None:
    _append(directory, {"event": "end", "attempt": attempt, "cause": cause, "message": message, "time": time.time()})


def attempts(directory: RunDirectory) -> tuple[Attempt, ...]:
    """All that was noted; lines that were torn by a crash are left out."""
    try:
        with open(os.path.join(directory.path, ATTEMPTS), "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ()
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            values = from_json(line)  # faster than json.loads
            number = values["attempt"]
            if values["event"] == "begin":
                known = {"host": values["host"], "pid": values["pid"], "began": values["time"]}
                found[number] = {"attempt": number, **known, "step": values.get("step")}
            elif number in found:
                found[number] |= {"ended": values["time"], "cause": values["cause"], "message": values["message"]}
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(Attempt(**values) for values in found.values())


def last_step(directory: RunDirectory) -> int:
    """Of a run's last checkpoint that has its name; 0 where there is none."""
    found = directory.checkpoints.iterdir() if directory.checkpoints.is_dir() else ()
    return max((int(path.name) for path in found if path.name.isdigit()), default=0)


def fruitless(found: Sequence[Attempt], step: int) -> int:
    """How many of the last attempts died without a word, though they began from the checkpoint that is still the last.

    step: of that checkpoint. Being preempted or cancelled is neither a death nor
    progress. An error, or an end, begins the count anew.
    """
    count = 0
    for attempt in reversed(found):
        if attempt.cause in ("preempted", "cancelled"):
            continue
        if attempt.cause is not None or attempt.step != step:
            break
        count += 1
    return count


def check_progress(directory: RunDirectory) -> None:
    """Before an attempt: raise GivenUp where as many as GIVE_UP were in vain, and note that as an error of the run's.

    So whoever tries it again knowingly has as many attempts more.
    """
    found, step = attempts(directory), last_step(directory)
    count = fruitless(found, step)
    if count < GIVE_UP:
        return
    last = found[-1]
    message = (
        f"given up: {count} attempts in a row were killed before a checkpoint after step {step} was written, the last "
        f"on {last.host}; its memory may not have sufficed, or it needs checkpoints more often (--checkpoint-seconds)"
    )
    end(directory, begin(directory), "error", message)
    raise GivenUp(message)


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

"""What became of each attempt at a run, as its `attempts.jsonl` tells."""

import json
from dataclasses import dataclass
from pathlib import Path

WENT_WRONG = ("error", "out_of_memory")


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How often a run was begun and how those attempts ended. Being stopped is no failure."""

    begun: int = 0
    preempted: int = 0  # stopped by a signal: a checkpoint was written
    cancelled: int = 0  # stopped by a request
    killed: int = 0  # ended without a word: a machine lost, a hard kill, or memory that ran out
    failed: int = 0  # by an error or for want of memory
    last: str = ""  # the cause of the last one that ended; "killed" where it ended without a word

    def plus(self, other: "Attempts") -> "Attempts":
        counts = ("begun", "preempted", "cancelled", "killed", "failed")
        return Attempts(**{name: getattr(self, name) + getattr(other, name) for name in counts})


def read_attempts(path: Path, held: bool) -> Attempts:
    """Count the attempts in a file; none where there is none. held: whether the last one still goes on.

    A line that is no JSON was torn by a crash and tells nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return Attempts()
    begun: list[int] = []
    causes: dict[int, str] = {}
    for line in lines:
        try:
            row = json.loads(line)
            if row["event"] == "begin":
                begun.append(row["attempt"])
            else:
                causes[row["attempt"]] = row["cause"]
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    ends = [causes.get(attempt, "killed") for attempt in begun]
    if held and begun and begun[-1] not in causes:
        ends.pop()
    return Attempts(
        begun=len(begun),
        preempted=ends.count("preempted"),
        cancelled=ends.count("cancelled"),
        killed=ends.count("killed"),
        failed=sum(end in WENT_WRONG for end in ends),
        last=ends[-1] if ends else "",
    )

"""How often a run was begun, and how its attempts ended: counts of what `scaling.attempts` noted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from scaling.attempts import FAULTS, Attempt


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Being stopped from outside is no failure, so it is counted apart."""

    begun: int = 0
    preempted: int = 0  # stopped by a signal: a checkpoint was written
    cancelled: int = 0  # stopped by a request
    killed: int = 0  # ended without a word, or taken over: a machine lost, a hard kill, or memory that ran out
    failed: int = 0  # by an error, or for want of memory on the device


NEVER = Attempts()


def total(every: Iterable[Attempts]) -> Attempts:
    every = list(every)
    return Attempts(**{field.name: sum(getattr(one, field.name) for one in every) for field in fields(Attempts)})


def ends(found: Sequence[Attempt], held: bool) -> list[str]:
    """The cause of each attempt's end; one that never said is "killed". held: whether the last one still goes on."""
    causes = [attempt.cause or "killed" for attempt in found]
    return causes[:-1] if held and found and found[-1].cause is None else causes


def count(found: Sequence[Attempt], held: bool) -> Attempts:
    if not found:
        return NEVER
    causes = ends(found, held)
    return Attempts(
        begun=len(found),
        preempted=causes.count("preempted"),
        cancelled=causes.count("cancelled"),
        killed=causes.count("killed") + causes.count("lost"),
        failed=sum(cause in FAULTS for cause in causes),
    )

"""Which run an idle worker takes next: pure bookkeeping, no processes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scaling.config import RunConfig

_numbers: dict[Any, int] = {}  # of the shapes that this process has seen


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run that is still to be trained, and what the choice among runs needs to know of it."""

    run_id: str
    run: RunConfig
    seconds: float  # predicted, of its own steps
    keep_tokens: tuple[int, ...] = ()  # where its branches start

    @cached_property
    def shape(self) -> int:
        """Equal for runs of equal shape. A number, because thousands are compared for every run that is handed out."""
        return _numbers.setdefault(self.run.shape, len(_numbers))


def ready(tasks: Mapping[str, Task]) -> list[Task]:
    """Tasks whose trunk is not among those still to be trained or being trained."""
    return [task for task in tasks.values() if task.run.trunk is None or task.run.trunk.run_id not in tasks]


def choose(waiting: Collection[Task], last_shape: Any, busy_shapes: Collection[Any]) -> Task | None:
    """The task for a worker that last trained `last_shape`; None when nothing waits.

    First one of the shape it has compiled; else of the shape with the most
    work left that no other worker is busy with; else any. The longest first,
    so that none is left over at the end.
    """
    if not waiting:
        return None
    work: dict[Any, float] = {}
    for task in waiting:
        work[task.shape] = work.get(task.shape, 0.0) + task.seconds
    if last_shape in work:
        shape = last_shape
    else:
        shape = max(work, key=lambda candidate: (candidate not in busy_shapes, work[candidate]))
    return max((task for task in waiting if task.shape == shape), key=lambda task: task.seconds)

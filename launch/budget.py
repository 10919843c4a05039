"""Stop before a study costs more than it may: no run is begun that would not fit what is left."""

from collections.abc import Iterable
from dataclasses import dataclass

from launch.queue import Task
from scaling.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all runs of a study may take together, those trained before included."""

    device_hours: float
    dollars_per_hour: float  # of one device
    devices: int = 1  # of one run
    seconds_spent: float = 0.0  # by runs that have ended, times devices

    @property
    def dollars(self) -> float:
        return self.device_hours * self.dollars_per_hour

    def fits(self, task: Task, under_way: Iterable[Task]) -> bool:
        """Whether a run may be begun: all of it, and of those under way, is counted as predicted."""
        planned = sum(other.seconds for other in under_way) + task.seconds
        return self.seconds_spent + planned * self.devices <= self.device_hours * 3600


def budget_of(
    *, max_hours: float | None, max_cost: float | None, dollars_per_hour: float, devices: int
) -> Budget | None:
    """The tighter of two limits, device hours and dollars; None where there is neither."""
    for name, value in (("--max-hours", max_hours), ("--max-cost", max_cost)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} {value}: give a positive number")
    hours = [max_hours] if max_hours is not None else []
    if max_cost is not None:
        if not dollars_per_hour:
            raise ValueError(f"--max-cost {max_cost}: this machine's devices are free; give --max-hours")
        hours.append(max_cost / dollars_per_hour)
    if not hours:
        return None
    return Budget(device_hours=min(hours), dollars_per_hour=dollars_per_hour, devices=devices)


def seconds_of(record: RunRecord, devices: int) -> float:
    """What a run took of its devices, from the start of each attempt to its end."""
    return record.cost.wall_seconds * devices

"""A study as a whole: how much of it is done, what it took beside what was planned, and how long it will still take."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from launch.attempts import Attempts, total
from launch.planned import Price, StudyPlan
from launch.status import SETTLED, State
from scaling.hardware import HARDWARE, Hardware, hardware_of


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Hours are those of runs one after another, each on all of its devices."""

    study: str
    hardware: str  # whose prices these are
    counts: dict[str, int]  # of runs in each state
    done: float  # share of the planned hours, 0 to 1
    tokens_per_second: float  # of all runs under way
    eta_seconds: float | None  # if as many runs go on as now; None where none does
    spent: Price
    planned_so_far: Price  # for what has been done
    planned: Price  # for all
    unmeasured: int  # failed runs whose cost nobody knows
    attempts: Attempts
    later: int = 0  # runs, at most, that the losses of these decide

    @property
    def settled(self) -> bool:
        """Whether nothing is left to train: every run finished, diverged, failed or was stopped."""
        return all(name in (*SETTLED, "unreadable") for name in self.counts)


def overview(plan: StudyPlan, found: Sequence[State], hardware: Hardware | None = None) -> Overview:
    """Sum up. hardware: whose prices; None: what the records were made on, or a core where there are none yet."""
    hardware = hardware or used(found)
    planned = plan.prices(hardware)
    shares = {state.run_id: _share(plan, state) for state in found}
    so_far = _sum(planned[name].times(share) for name, share in shares.items())
    whole = _sum(planned.values())
    return Overview(
        study=plan.name,
        hardware=hardware.name,
        counts=dict(sorted(Counter(state.state for state in found).items())),
        done=so_far.hours / whole.hours if whole.hours else 1.0,
        tokens_per_second=sum(state.tokens_per_second or 0.0 for state in found),
        eta_seconds=_eta(found, planned, shares),
        spent=_sum(_spent(state, hardware) for state in found),
        planned_so_far=so_far,
        planned=whole,
        unmeasured=sum(state.wall_seconds is None for state in found),
        attempts=total(state.attempts for state in found),
        later=plan.later,
    )


def used(found: Sequence[State]) -> Hardware:
    """The hardware that most records were made on, if the table of hardware holds it; else a core."""
    kinds = Counter(state.device_kind for state in found if state.device_kind)
    known = (hardware_of(kind) for kind, _ in kinds.most_common())
    return next((hardware for hardware in known if hardware), HARDWARE["cpu-core"])


def _share(plan: StudyPlan, state: State) -> float:
    """Of a run's own steps, those that are done; what failed or cannot be read did none that count."""
    if state.state in ("failed", "unreadable"):
        return 0.0
    run = plan.by_id[state.run_id]
    begun = run.steps - run.own_steps
    return max(0, state.step - begun) / run.own_steps if run.own_steps else 1.0


def _spent(state: State, hardware: Hardware) -> Price:
    hours = (state.wall_seconds or 0.0) / 3600
    return Price(hours=hours, flops=state.flops, dollars=hours * state.devices * hardware.dollars_per_hour)


def _eta(found: Sequence[State], planned: Mapping[str, Price], shares: Mapping[str, float]) -> float | None:
    """Seconds until the last run ends: the work left, as slow as runs have been so far, shared by those under way."""
    live = [state.eta_seconds for state in found if state.eta_seconds is not None]
    if not live:
        return None
    took = plan_hours = 0.0
    for state in found:
        if (
            state.state in ("finished", "diverged", "stopped", "training")
            and state.wall_seconds
            and shares[state.run_id]
        ):
            took += state.wall_seconds / 3600
            plan_hours += planned[state.run_id].times(shares[state.run_id]).hours
    slowness = took / plan_hours if plan_hours else 1.0
    waiting = (state for state in found if state.state in ("waiting", "interrupted"))
    left = sum(planned[state.run_id].times(1 - shares[state.run_id]).hours for state in waiting)
    return max(*live, (sum(live) + 3600 * left * slowness) / len(live))


def _sum(prices: Iterable[Price]) -> Price:
    every = list(prices)
    return Price(**{name: sum(getattr(price, name) for price in every) for name in ("hours", "flops", "dollars")})

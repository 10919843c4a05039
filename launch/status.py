"""How far each run of a launched study is, read from its plan and the run directories alone."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from launch.attempts import Attempts, count
from launch.planned import Planned, StudyPlan, directory_of
from launch.settled import Memory, Settled
from scaling.curve import first_live, tail_live
from scaling.record import RunDirectory
from scaling.workspace import Workspace

Standing = Literal["waiting", "training", "interrupted", "finished", "diverged", "failed", "unreadable"]
SETTLED = ("finished", "diverged", "failed")
TAIL_BYTES = 8000  # of a curve: some thirty steps, whose mean says how fast the run is
LOG_LINES = 12  # of a failed run's log that are shown


@dataclass(frozen=True, kw_only=True)
class State:
    """One run. `interrupted`: begun, and held by nobody now; launching again goes on with it.

    What it took is its own part alone; a trunk's is the trunk's.
    """

    run_id: str
    role: str
    arm: str
    state: Standing
    params: int
    tokens: int
    step: int
    steps: int
    loss: float | None = None  # held-out when finished, else of the last steps
    message: str = ""
    log: tuple[str, ...] = ()  # the last lines, of a failed run
    tokens_per_second: float | None = None  # over the last steps, while it trains
    step_seconds: float | None = None
    eta_seconds: float | None = None
    wall_seconds: float | None = 0.0  # so far; None where nobody measured it
    flops: float = 0.0  # so far
    devices: int = 0
    device_kind: str = ""
    attempts: Attempts = field(default_factory=Attempts)


def states(
    plan: StudyPlan,
    workspace: Workspace,
    memory: Memory | None = None,
    held: Callable[[RunDirectory], bool] = is_held,
) -> list[State]:
    """The state of every run of a study, in its order. memory: of records read before."""
    memory = Memory() if memory is None else memory
    devices = plan.placement.devices
    return [_state(run, directory_of(run, workspace), memory, held, devices) for run in plan.runs]


def log_end(path: Path, lines: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of a log; none where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return tuple(line.rstrip("\n") for line in deque(file, maxlen=lines))
    except FileNotFoundError:
        return ()


def _state(
    run: Planned, directory: RunDirectory, memory: Memory, held: Callable[[RunDirectory], bool], devices: int
) -> State:
    known = {
        "run_id": run.run_id,
        "role": run.role,
        "arm": run.arm,
        "params": run.params,
        "tokens": run.tokens,
        "steps": run.steps,
    }
    settled = memory.settled(directory.record)
    if settled is not None and not (settled.status == "failed" and held(directory)):
        return _ended(run, directory, settled, known)
    if not directory.path.exists():
        return State(**known, state="waiting", step=0)
    return _under_way(run, directory, held(directory), known, devices)


def _ended(run: Planned, directory: RunDirectory, settled: Settled, known: dict) -> State:
    return State(
        **known,
        state=settled.status,
        step=settled.tokens // run.batch_tokens,
        loss=settled.loss,
        message=settled.message,
        log=log_end(directory.log) if settled.status == "failed" else (),
        wall_seconds=settled.wall_seconds,
        flops=settled.flops,
        devices=settled.devices,
        device_kind=settled.device_kind,
        attempts=read_attempts(directory.attempts, held=False),
    )


def _under_way(run: Planned, directory: RunDirectory, is_training: bool, known: dict, devices: int) -> State:
    attempts = read_attempts(directory.attempts, is_training)
    rows = tail_live(directory.live_curve, TAIL_BYTES)
    state: Standing = "training" if is_training else "interrupted" if rows or attempts.begun else "waiting"
    asked = directory.cancel.exists()
    message = "asked to stop" if asked else "" if is_training else attempts.last
    if not rows:
        return State(**known, state=state, step=0, message=message, attempts=attempts)
    last, began = rows[-1], first_live(directory.live_curve)
    seconds = sum(row["step_seconds"] for row in rows) / len(rows)
    own = last["step"] - (began["step"] - 1 if began else 0)
    return State(
        **known,
        state=state,
        step=last["step"],
        loss=last["loss"],
        message=message,
        tokens_per_second=run.batch_tokens / seconds if is_training and seconds else None,
        step_seconds=seconds,
        eta_seconds=seconds * (run.steps - last["step"]) if is_training else None,
        wall_seconds=own * seconds,
        flops=last["flops"] / last["step"] * own,
        devices=devices,
        attempts=attempts,
    )

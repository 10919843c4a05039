"""How far each run of a launched study is, read from its plan and the run directories alone."""

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from launch.attempts import Attempts, count, ends
from launch.planned import PlanRun, StudyPlan
from launch.settled import Memory, Settled
from scaling.attempts import attempts
from scaling.curve import first_live, tail_live
from scaling.lease import EXPIRY_SECONDS, Watch, holder
from scaling.record import OPEN, RunDirectory
from scaling.workspace import Workspace

Standing = Literal["waiting", "training", "interrupted", "finished", "diverged", "failed", "stopped", "unreadable"]
SETTLED = ("finished", "diverged", "failed", "stopped")
TAIL_BYTES = 8000  # of a curve: some thirty steps, whose mean says how fast the run is
SILENT_SECONDS = 4 * EXPIRY_SECONDS  # a holder elsewhere that was not heard of for so long trains no more, it seems
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
) -> list[State]:
    """The state of every run of a study, in its order. memory: of records read before."""
    memory = Memory() if memory is None else memory
    devices = plan.placement.devices
    runs = workspace.runs
    return [state_of(run, RunDirectory(runs / run.run_id), memory, devices) for run in plan.runs]


def log_end(path: Path, lines: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of a log; none where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return tuple(line.rstrip("\n") for line in deque(file, maxlen=lines))
    except FileNotFoundError:
        return ()


def state_of(run: PlanRun, directory: RunDirectory, memory: Memory, devices: int, leases: Watch | None = None) -> State:
    """The state of one run. leases: what a process that looks again and again has seen; one look goes by the clock."""
    known = {
        "run_id": run.run_id,
        "role": run.role,
        "arm": run.arm,
        "params": run.params,
        "tokens": run.tokens,
        "steps": run.steps,
    }
    settled = memory.settled(directory.record)
    if settled is not None and not (settled.status in OPEN and holder(directory.path)):
        return _ended(run, directory, settled, known)
    return _under_way(run, directory, known, devices, leases)


def _ended(run: PlanRun, directory: RunDirectory, settled: Settled, known: dict) -> State:
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
        attempts=count(attempts(directory), held=False),
    )


def _under_way(run: PlanRun, directory: RunDirectory, known: dict, devices: int, leases: Watch | None) -> State:
    held = holder(directory.path)
    silent = _silent_seconds(directory.path) if held else 0.0
    expired = silent >= SILENT_SECONDS if leases is None else leases.is_free(directory.path)
    is_training = held is not None and not expired
    begun, rows = attempts(directory), tail_live(directory.live_curve, TAIL_BYTES)
    known["state"] = "training" if is_training else "interrupted" if rows or begun else "waiting"
    known["attempts"] = count(begun, is_training)
    if is_training:
        known["message"] = "asked to stop" if directory.cancel.exists() else ""
    elif held is not None:
        known["message"] = f"{held.host} has not been heard of for {silent:,.0f} s by this machine's clock"
    elif begun:
        known["message"] = "last attempt: " + ": ".join(filter(None, (ends(begun, held=False)[-1], begun[-1].message)))
    return State(**known, **_curve(run, directory, rows, is_training, devices)) if rows else State(**known, step=0)


def _curve(run: PlanRun, directory: RunDirectory, rows: list[dict], is_training: bool, devices: int) -> dict:
    """What the last rows of its curve say of a run under way."""
    last, began = rows[-1], first_live(directory.live_curve)
    seconds = sum(row["step_seconds"] for row in rows) / len(rows)
    own = last["step"] - (began["step"] - 1 if began else 0)
    return {
        "step": last["step"],
        "loss": last["loss"],
        "tokens_per_second": run.batch_tokens / seconds if is_training and seconds else None,
        "eta_seconds": seconds * (run.steps - last["step"]) if is_training else None,
        "wall_seconds": own * seconds,
        "flops": last["flops"] / last["step"] * own,
        "devices": devices,
    }


def _silent_seconds(path: Path) -> float:
    """How long ago the last claim of a run was renewed, if the clocks agree; 0 where there is none."""
    times = [claim.stat().st_mtime for claim in path.glob("lease-*.json")]
    return max(0.0, time.time() - max(times)) if times else 0.0

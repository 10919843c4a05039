"""What the page shows of each run: its state as `scaling status` tells it, its curve, and its record for the fits."""

import re
from dataclasses import dataclass
from pathlib import Path

from launch.page.curves import GrowingCurve
from launch.planned import PlanRun, directory_of, study_plan
from launch.settled import Memory
from launch.status import Standing, state_of
from scaling.config.identity import RUN_ID_LENGTH
from scaling.counts import flops_per_token
from scaling.lease import Watch as LeaseWatch
from scaling.record import RecordError, RunRecord, read_record
from scaling.workspace import Workspace

RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}")  # what is no run id is no folder's name either


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run now. What nothing says yet is None."""

    run_id: str
    role: str  # cell, or trunk: no point of a law
    arm: str
    state: Standing
    params: int
    tokens: int  # to be read in all
    own_tokens: int  # by its own steps, a trunk's part not among them
    flops: float  # of its own steps
    share: float  # of its own steps that are done
    loss: float | None  # held-out where finished, else of the last batch
    tokens_per_second: float | None  # now where it is training, else over all of it
    attempts: int  # of a run that has no record yet
    message: str  # why it stands still

    @property
    def seconds_left(self) -> float | None:
        """At the present speed."""
        if self.state != "training" or not self.tokens_per_second or not self.own_tokens:
            return None
        return (1 - self.share) * self.own_tokens / self.tokens_per_second


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a process that looks again and again remembers of all runs."""

    memory: Memory
    leases: LeaseWatch
    devices: int  # of one run, as planned


class Run:
    """One planned run, looked at again and again: what has not changed is not read again."""

    def __init__(self, planned: PlanRun, workspace: Workspace, seen: Seen):
        """Raises ValueError for a run id that is none."""
        if not RUN_ID.fullmatch(planned.run_id):
            raise ValueError(f"run id {planned.run_id!r} is not {RUN_ID_LENGTH} hex digits; launch the study again")
        self.run_id, self.role, self.arm = planned.run_id, planned.role, planned.arm
        self.directory = directory_of(planned, workspace)
        self.curve = GrowingCurve(self.directory)
        self.record: RunRecord | RecordError | None = None  # checked in full: fits go by it
        self.written: tuple[int, int] | None = None  # time and size of the record that was read
        self._planned, self._seen = planned, seen
        self._own_tokens = planned.own_steps * planned.batch_tokens
        self._flops = flops_per_token(planned.kind.model, planned.kind.objective).exact * self._own_tokens

    def look(self) -> RunState:
        """Read what is new."""
        planned, seen = self._planned, self._seen
        self._look_at_record()
        found = state_of(planned, self.directory, seen.memory, seen.devices, seen.leases)
        if found.state not in ("finished", "diverged") or not self.curve.rows:
            self.curve.look()
        state, message = found.state, found.message or self.curve.problem
        if isinstance(self.record, RecordError) and state != "training":
            state, message = "unreadable", str(self.record)
        done = found.step - (planned.steps - planned.own_steps)
        return RunState(
            run_id=self.run_id,
            role=self.role,
            arm=self.arm,
            state=state,
            params=planned.params,
            tokens=planned.tokens,
            own_tokens=self._own_tokens,
            flops=self._flops,
            share=min(1.0, max(0.0, done / max(1, planned.own_steps))),
            loss=found.loss,
            tokens_per_second=self._speed(state),
            attempts=0 if self.record else found.attempts.begun,
            message=message,
        )

    def _speed(self, state: Standing) -> float | None:
        """Over the last steps of a run under way, over all of one that has ended."""
        if state == "training":
            return self.curve.tokens_per_second()
        if not isinstance(self.record, RunRecord):
            return None
        cost, seen = self.record.cost, self.record.tokens.seen
        own = (seen - cost.started_from_tokens) * self.record.provenance.devices
        return own / cost.device_seconds if cost.device_seconds and own else None

    def _look_at_record(self) -> None:
        try:
            found = self.directory.record.stat()
        except FileNotFoundError:
            self.record = self.written = None
            return
        if self.written == (found.st_mtime_ns, found.st_size):
            return
        self.written = (found.st_mtime_ns, found.st_size)
        try:
            self.record = read_record(self.directory.record)
        except RecordError as error:
            self.record = error


def planned_runs(path: Path, workspace: Workspace) -> list[Run]:
    """Every run of a plan file. Raises ValueError where it is none."""
    plan = study_plan(path)
    seen = Seen(memory=Memory(), leases=LeaseWatch(), devices=plan.placement.devices)
    return [Run(run, workspace, seen) for run in plan.runs]

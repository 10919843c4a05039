"""Where each run of a study stands, read from its plan file and its own folder alone."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from launch.page.curves import GrowingCurve
from scaling.attempts import FAULTS, attempts
from scaling.config import RunConfig, from_dict
from scaling.config.identity import RUN_ID_LENGTH
from scaling.counts import flops_per_token, params
from scaling.lease import Watch as LeaseWatch
from scaling.record import RecordError, RunDirectory, RunRecord, read_config, read_record
from scaling.workspace import Workspace

State = Literal["training", "failed", "unreadable", "diverged", "interrupted", "waiting", "finished"]
RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}")  # what is no run id is no folder's name either


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run now. What nothing says yet is None."""

    run_id: str
    role: str  # cell, or trunk: no point of a law
    arm: str
    state: State
    params: int | None
    tokens: int | None  # to be read in all
    own_tokens: int | None  # by its own steps, a trunk's part not among them
    flops: float | None  # of its own steps
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
class Size:
    """Of one run."""

    params: int
    tokens: int
    steps: int
    begun: int  # steps that its trunk has done for it
    own_tokens: int
    flops: float


class Run:
    """One planned run, looked at again and again: what has not changed is not read again."""

    def __init__(self, planned: dict[str, Any], runs: Path, leases: LeaseWatch):
        """planned: its entry in the plan file. leases: one a process. Raises ValueError for a run id that is none."""
        self.run_id, self.role = str(planned["run_id"]), str(planned.get("role", "cell"))
        if not RUN_ID.fullmatch(self.run_id):
            raise ValueError(f"run id {self.run_id!r} is not {RUN_ID_LENGTH} hex digits; launch the study again")
        self.arm = str(planned.get("arm") or "")
        self.directory = RunDirectory(runs / self.run_id)
        self.curve, self._leases = GrowingCurve(self.directory), leases
        self.record: RunRecord | RecordError | None = None
        self.written: tuple[int, int] | None = None  # time and size of the record that was read
        self._planned, self._size = planned.get("config"), None

    def look(self) -> RunState:
        """Read what is new."""
        self._look_at_record()
        settled = isinstance(self.record, RunRecord) and self.record.status != "failed"
        if not settled or not self.curve.rows:
            self.curve.look()
        if isinstance(self.record, RecordError):
            return self._state("unreadable", message=str(self.record))
        held = not settled and not self._leases.is_free(self.directory.path)
        if self.record is not None and not held:
            return self._recorded(self.record)
        last, tried = self.curve.last, attempts(self.directory)
        state = "training" if held else "interrupted" if last or tried else "waiting"
        fault = tried[-1] if tried and tried[-1].cause in FAULTS and not held else None
        return self._state(
            state, step=int(last["step"]) if last else 0, loss=last and last["loss"], attempts=len(tried),
            speed=self.curve.tokens_per_second() if held else None,
            message=f"{fault.cause.replace('_', ' ')}: {fault.message}" if fault else "",
        )  # fmt: skip

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

    def _recorded(self, record: RunRecord) -> RunState:
        loss = record.heldout.loss if record.heldout else record.train_loss
        own, seconds = record.tokens.seen - record.cost.started_from_tokens, record.cost.device_seconds
        speed = own * record.provenance.devices / seconds if seconds and own else None
        step = record.tokens.seen // record.config.batch_tokens
        return self._state(record.status, step=step, loss=loss, speed=speed, message=record.message)

    def _state(
        self, state: State, *, step: int = 0, loss: float | None = None, speed: float | None = None, message: str = "",
        attempts: int = 0,
    ) -> RunState:  # fmt: skip
        known = self.size()
        done = (step - known.begun) / max(1, known.steps - known.begun) if known else 0.0
        return RunState(
            run_id=self.run_id, role=self.role, arm=self.arm, state=state, loss=loss, tokens_per_second=speed,
            message=message, attempts=attempts, share=min(1.0, max(0.0, done)),
            params=known and known.params, tokens=known and known.tokens,
            own_tokens=known and known.own_tokens, flops=known and known.flops,
        )  # fmt: skip

    def size(self) -> "Size | None":
        """What is known of it without training; None while neither the plan nor its folder says what is trained."""
        if self._size is None and (run := self._config()):
            begun = run.trunk.tokens // run.batch_tokens if run.trunk else 0
            own = (run.steps - begun) * run.batch_tokens
            self._size = Size(
                params=params(run.model, run.objective).total, tokens=run.tokens, steps=run.steps, begun=begun,
                own_tokens=own, flops=flops_per_token(run.model, run.objective).exact * own,
            )  # fmt: skip
        return self._size

    def _config(self) -> RunConfig | None:
        if self._planned is not None:
            return from_dict(RunConfig, self._planned, f"the plan of run {self.run_id}")
        if isinstance(self.record, RunRecord):
            return self.record.config
        try:
            return read_config(self.directory)
        except (ValueError, OSError):
            return None  # not there yet, being written, or broken: whoever trains it says so


def planned_runs(path: Path, workspace: Workspace) -> list[Run]:
    """Every run of a plan file. Raises ValueError where it is none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["runs"]
        leases = LeaseWatch()
        return [Run(entry, workspace.runs, leases) for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no plan of a study ({error}); launch the study again to write it anew") from None

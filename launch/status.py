"""How far each run of a study is, read from the run directories alone."""

from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

from scaling.config import RunConfig, run_id
from scaling.counts import params
from scaling.curve import last_live
from scaling.lease import holder
from scaling.plan import Study
from scaling.record import RecordError, RunDirectory, read_record
from scaling.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class State:
    """One run. `interrupted`: begun, and held by nobody now; launching again goes on with it."""

    run_id: str
    state: Literal["waiting", "training", "interrupted", "finished", "diverged", "failed", "unreadable"]
    params: int
    tokens: int
    step: int
    steps: int
    loss: float | None  # held-out when finished, else of the last batch
    message: str = ""


def states(study: Study, workspace: Workspace) -> list[State]:
    """The state of every run of a study, in its order."""
    return [_state(run, RunDirectory(workspace.runs / run_id(run))) for run in study.runs]


def print_states(found: list[State], console: Console, *, all_runs: bool) -> None:
    """Counts, and a line for each run that is under way or went wrong (or for every run)."""
    counts: dict[str, int] = {}
    for state in found:
        counts[state.state] = counts.get(state.state, 0) + 1
    console.print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())), highlight=False)
    shown = [state for state in found if all_runs or state.state not in ("finished", "waiting")]
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "params", "tokens", "step", "loss", ""):
        table.add_column(column, justify="left" if column in ("run", "state", "") else "right")
    for state in shown:
        loss = "" if state.loss is None else f"{state.loss:.4f}"
        step = f"{state.step}/{state.steps}"
        table.add_row(
            state.run_id, state.state, f"{state.params:,}", f"{state.tokens:,}", step, loss, state.message[:200]
        )
    console.print(table)


def _state(run: RunConfig, directory: RunDirectory) -> State:
    known = {
        "run_id": run_id(run),
        "params": params(run.model, run.objective).total,
        "tokens": run.tokens,
        "steps": run.steps,
    }
    if directory.record.exists():
        try:
            record = read_record(directory.record)
        except RecordError as error:
            return State(**known, state="unreadable", step=0, loss=None, message=str(error))
        loss = record.heldout.loss if record.heldout else record.train_loss
        step = record.tokens.seen // run.batch_tokens
        return State(**known, state=record.status, step=step, loss=loss, message=record.message)
    last = last_live(directory.live_curve)
    state = "training" if holder(directory.path) else "interrupted" if last else "waiting"
    return State(**known, state=state, step=last["step"] if last else 0, loss=last["loss"] if last else None)

"""What a person sees of a launch: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from launch.queue import Task
from scaling.counts import params

REFRESH_SECONDS = 0.5
RECENT = 8  # settled runs shown below those under way
STATUS_STYLE = {
    "finished": "green",
    "diverged": "yellow",
    "stopped": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "held": "yellow",
}


class Progress:
    """Collects what happens and shows it."""

    def __init__(self, console: Console):
        self._console = console
        self._tasks: dict[str, Task] = {}
        self._running: dict[str, dict[str, Any]] = {}
        self._recent: list[tuple[Task, str, float | None]] = []
        self._done_seconds = 0.0  # as predicted, like all shares of the work
        self._started = time.monotonic()
        self._refreshed = 0.0
        # Last: rich asks for the table at once.
        self._live = None
        if console.is_terminal:
            self._live = Live(console=console, get_renderable=self._render, auto_refresh=False)

    def begin(self, left: Iterable[Task], outcomes: Mapping[str, str]) -> None:
        self._tasks = {task.run_id: task for task in left}
        self._console.print(f"{len(self._tasks)} runs to train, {len(outcomes)} there already", highlight=False)
        if self._live and self._tasks:
            self._live.start()

    def live(self, values: dict[str, Any]) -> None:
        self._running[values["run_id"]] = values

    def settled(self, task: Task, status: str, loss: float | None, message: str) -> None:
        self._running.pop(task.run_id, None)
        self._recent.append((task, status, loss))
        self._done_seconds += task.seconds
        if not self._live:
            shown = f"loss {loss:.4f}" if loss is not None else ""
            done = f"{len(self._recent)}/{len(self._tasks)}"
            self._console.out(f"{done:>9}  {task.run_id}  {status:9} {_describe(task)}  {shown}", highlight=False)
        if message:
            self.note(f"{task.run_id} {status}: {message}")

    def tried_again(self, task: Task, message: str, how: str) -> None:
        self._running.pop(task.run_id, None)
        self.note(f"{task.run_id} failed ({message}); {how}")

    def interrupted(self, task: Task) -> None:
        self._running.pop(task.run_id, None)
        self.note(f"{task.run_id}: its worker was told to stop; the run goes on from its last checkpoint")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        if self._live and time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._live.refresh()
            self._refreshed = time.monotonic()

    def end(self) -> None:
        if self._live:
            self._live.stop()

    def _render(self) -> Table:
        table = Table(box=None, pad_edge=False, title=self._title(), title_justify="left")
        for column in ("run", "model", "state", "step", "loss", "tokens/s", "ETA"):
            table.add_column(column, justify="right" if column not in ("run", "model", "state") else "left")
        for task, status, loss in self._recent[-RECENT:]:
            style = STATUS_STYLE[status]
            shown = "" if loss is None else f"{loss:.4f}"
            table.add_row(task.run_id, _describe(task), f"[{style}]{status}[/]", str(task.run.steps), shown, "", "")
        for name, live in self._running.items():
            left = (live["steps"] - live["step"]) * self._tasks[name].run.batch_tokens / live["tokens_per_second"]
            table.add_row(
                name,
                _describe(self._tasks[name]),
                "training",
                f"{live['step']}/{live['steps']}",
                f"{live['loss']:.4f}",
                f"{live['tokens_per_second']:,.0f}",
                clock(left),
            )
        return table

    def _title(self) -> str:
        total = sum(task.seconds for task in self._tasks.values())
        done = self._done_seconds + sum(
            self._tasks[name].seconds * _share(self._tasks[name], live["step"]) for name, live in self._running.items()
        )
        elapsed = time.monotonic() - self._started
        eta = clock(elapsed * (total / done - 1)) if done else "?"
        share = done / total if total else 1.0
        counts = f"{len(self._recent)} of {len(self._tasks)} runs"
        return f"{counts}, {share:.0%} of the work, {clock(elapsed)} gone, about {eta} to go"


def _share(task: Task, step: int) -> float:
    """How much of its own steps a run has done; a branch's begin where its trunk's end."""
    begun = task.run.trunk.tokens // task.run.batch_tokens if task.run.trunk else 0
    return max(0, step - begun) / (task.run.steps - begun)


def _describe(task: Task) -> str:
    total = params(task.run.model, task.run.objective).total
    return f"{total / 1e3:,.1f}k params, {task.run.tokens / 1e6:.2f}M tokens"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""The state of a study as a person reads it."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.attempts import Attempts
from launch.overview import Overview
from launch.planned import Price
from launch.progress import clock
from launch.status import State

MOST_RUNS = 40  # listed, where not all are asked for
MOST_LOGS = 5  # failed runs whose logs are shown
STYLE = {
    "finished": "green",
    "training": "cyan",
    "diverged": "yellow",
    "stopped": "yellow",
    "failed": "red",
    "unreadable": "red",
}


def print_status(whole: Overview, found: Sequence[State], console: Console, *, all_runs: bool) -> None:
    console.print(render(whole, found, all_runs=all_runs))
    failed = [state for state in found if state.state == "failed"]
    for state in failed[: None if all_runs else MOST_LOGS]:
        console.print(f"\n{state.run_id} failed: {state.message}", markup=False, highlight=False, soft_wrap=True)
        console.print("\n".join(state.log) or "(no log)", markup=False, highlight=False, soft_wrap=True)
    if len(failed) > MOST_LOGS and not all_runs:
        console.print(f"\nand {len(failed) - MOST_LOGS} more failed runs; --runs shows their logs", highlight=False)


def render(whole: Overview, found: Sequence[State], *, all_runs: bool = False) -> RenderableType:
    """Counts, cost, and a line for each run that is under way or went wrong (or for every run)."""
    parts: list[RenderableType] = [Text(line(whole)), _costs(whole)]
    if whole.later:
        when = "now: launch again" if whole.settled else "when all of these are done: launch again then"
        parts.append(Text(f"up to {whole.later} more runs are decided by these losses {when}"))
    if ends := _ends(whole.attempts):
        parts.append(Text(f"attempts: {ends}"))
    shown = [state for state in found if all_runs or state.state not in ("finished", "waiting")]
    if shown:
        parts += [Text(""), _runs(shown if all_runs else shown[:MOST_RUNS])]
    if len(shown) > MOST_RUNS and not all_runs:
        parts.append(Text(f"and {len(shown) - MOST_RUNS} more; --runs lists all"))
    return Group(*parts)


def line(whole: Overview) -> str:
    """The study in one line."""
    counts = ", ".join(f"{count} {name}" for name, count in whole.counts.items())
    going = ""
    if whole.tokens_per_second:
        going = f"; {whole.tokens_per_second:,.0f} tokens/s, about {clock(whole.eta_seconds)} to go"
    return f"{whole.study}: {counts}; {whole.done:.0%} of the planned work done{going}"


def _costs(whole: Overview) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", "hours", "FLOPs", "$"):
        table.add_column(column, justify="right" if column else "left")
    unknown = f" (without {whole.unmeasured} failed runs, not measured)" if whole.unmeasured else ""
    rows = {
        f"took so far{unknown}": whole.spent,
        "planned for that": whole.planned_so_far,
        f"planned for all, on {whole.hardware}": whole.planned,
    }
    for name, price in rows.items():
        table.add_row(name, *_price(price))
    return table


def _price(price: Price) -> tuple[str, str, str]:
    return f"{price.hours:,.3g}", f"{price.flops:.3g}", f"{price.dollars:,.3g}"


def _runs(shown: Sequence[State]) -> Table:
    table = Table(box=None, pad_edge=False)
    left = ("run", "state", "")
    for column in ("run", "state", "step", "loss", "tokens/s", "ETA", ""):
        table.add_column(column, justify="left" if column in left else "right", no_wrap=column != "")
    for state in shown:
        table.add_row(
            state.run_id,
            Text(state.state, style=STYLE.get(state.state, "")),
            f"{state.step}/{state.steps}",
            "" if state.loss is None else f"{state.loss:.4f}",
            "" if state.tokens_per_second is None else f"{state.tokens_per_second:,.0f}",
            "" if state.eta_seconds is None else clock(state.eta_seconds),
            Text("; ".join(filter(None, (_ends(state.attempts), state.message[:200])))),
        )
    return table


def _ends(attempts: Attempts) -> str:
    """Preemptions and failures apart; nothing where all went well."""
    counts = {name: getattr(attempts, name) for name in ("preempted", "cancelled", "killed", "failed")}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

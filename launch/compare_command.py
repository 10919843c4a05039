"""`scaling compare`: two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from launch.options import WhereOptions
from scaling.config import RunConfig, to_dict
from scaling.curve import SKIPPED, read_final, read_live
from scaling.record import RunDirectory, RunRecord, read_config, read_record
from scaling.workspace import Workspace

console = Console()
PARTS = 10  # of the tokens that both curves cover
NAMES = ("run", "state", "held-out loss", "± (over sequences)", "bits/byte", "train loss", "parameters", "tokens")
COSTS = (
    "wall_seconds",
    "device_seconds",
    "flops_computed",
    "attempts",
    "mfu",
    "goodput",
    "tokens_per_second",
    "data_seconds",
    "energy_kwh",
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run: its config, and its record and curve as far as there are any."""

    directory: RunDirectory
    config: RunConfig
    record: RunRecord | None
    tokens: np.ndarray  # (S,) of the steps of its curve whose update was taken
    loss: np.ndarray  # (S,)


def compare(arguments: list[str]) -> None:
    """Two runs: where their configs differ, their losses, what they took, and their curves at the same tokens.

    `scaling compare RUN RUN`: a run is its id, the first letters of it, or its folder.
    """
    names = [word for word in arguments[:2] if not word.startswith("-")]
    options = tyro.cli(
        WhereOptions, args=arguments[len(names) :], prog="scaling compare RUN RUN", description=compare.__doc__
    )
    if len(names) != 2:
        raise ValueError("scaling compare RUN RUN: give two run ids, the first letters of them, or folders of runs")
    one, other = (side(find(name, options.workspace)) for name in names)
    print_comparison(one, other, console)


def find(name: str, workspace: Workspace) -> RunDirectory:
    """The directory of a run by its id, the first letters of it, or its path. Raises ValueError."""
    path = Path(name)
    if (path / "config.json").exists():
        return RunDirectory(path)
    found = sorted(workspace.runs.glob(f"{escape(name)}*/config.json"))
    if len(found) == 1:
        return RunDirectory(found[0].parent)
    if not found:
        raise ValueError(f"run {name!r}: no folder of a run, and no run in {workspace.runs.absolute()} begins so")
    ids = ", ".join(path.parent.name for path in found[:5])
    raise ValueError(f"run {name!r}: {len(found)} runs begin so, {ids}; give more letters")


def side(directory: RunDirectory) -> Side:
    """A run as it stands on disk. Raises RecordError where its record cannot be trusted."""
    record = read_record(directory.record) if directory.record.exists() else None
    tokens, loss = _curve(directory)
    return Side(directory=directory, config=read_config(directory), record=record, tokens=tokens, loss=loss)


def different(one: RunConfig, other: RunConfig) -> list[tuple[str, Any, Any]]:
    """Dotted fields in which two configs differ, with both values; a field that one lacks is None there."""
    left, right = (_flat(to_dict(config)) for config in (one, other))
    names = dict.fromkeys([*left, *right])
    return [(name, left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)]


def aligned(one: Side, other: Side, parts: int = PARTS) -> list[tuple[float, float, float]]:
    """(tokens, loss, loss): mean losses over equal parts of the tokens that both curves cover; tokens is a part's end.

    Empty where the curves have no tokens in common. A part in which a curve has no step is NaN.
    """
    if not len(one.tokens) or not len(other.tokens):
        return []
    begin, end = max(one.tokens[0], other.tokens[0]), min(one.tokens[-1], other.tokens[-1])
    if end < begin:
        return []
    step = min(np.diff(side.tokens).min(initial=np.inf) for side in (one, other))
    edges = np.linspace(begin - min(step, begin), end, parts + 1)
    means = [[_mean(side, low, high) for low, high in pairwise(edges)] for side in (one, other)]
    return list(zip(edges[1:].tolist(), *means, strict=True))


def print_comparison(one: Side, other: Side, console: Console) -> None:
    table = Table("", "first", "second", "second - first", box=None, pad_edge=False)
    for name, left, right in zip(NAMES, _facts(one), _facts(other), strict=True):
        table.add_row(name, _text(left), _text(right), _difference(left, right))
    if one.record and other.record:
        for name in COSTS:
            left, right = getattr(one.record.cost, name), getattr(other.record.cost, name)
            table.add_row(name, _text(left), _text(right), _difference(left, right))
    console.print(table)
    rows = different(one.config, other.config)
    console.print(f"\nconfigs differ in {len(rows)} fields" if rows else "\nthe configs are the same", highlight=False)
    if rows:
        _print(console, ("field", "first", "second"), [(name, repr(left), repr(right)) for name, left, right in rows])
    curves = aligned(one, other)
    if not curves:
        return console.print("\nthe curves have no tokens in common", highlight=False)
    console.print("\nmean training loss up to so many tokens, from the line above on", highlight=False)
    lines = [(f"{tokens:,.0f}", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}") for tokens, a, b in curves]
    _print(console, ("tokens", "first", "second", "second - first"), lines)


def _print(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _facts(run: Side) -> tuple[Any, ...]:
    """One value for each of NAMES; None where the run does not have it."""
    record = run.record
    held = record.heldout if record else None
    return (
        run.directory.path.name,
        record.status if record else "no record yet",
        held.loss if held else None,
        held.loss_se if held else None,
        held.bits_per_byte if held else None,
        record.train_loss if record else None,
        record.params.total if record else None,
        record.tokens.seen if record else None,
    )


def _curve(directory: RunDirectory) -> tuple[np.ndarray, np.ndarray]:
    """(S,) tokens and losses of the steps whose update was taken; empty where there is no curve."""
    rows = read_final(directory.curve).to_pylist() if directory.curve.exists() else read_live(directory.live_curve)
    kept = [row for row in rows if not row.get(SKIPPED)]
    return np.array([row["tokens"] for row in kept], float), np.array([row["loss"] for row in kept], float)


def _mean(run: Side, low: float, high: float) -> float:
    """Over the steps that end after `low` and not after `high`."""
    chosen = run.loss[(run.tokens > low) & (run.tokens <= high)]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _difference(left: Any, right: Any) -> str:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    return f"{right - left:+.4g}" if numbers else ""

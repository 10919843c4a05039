"""A plan as a person or a program reads it."""

from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from scaling.config import run_id
from scaling.counts import Params, params
from scaling.plan import Cell, Dropped, Plan, dropped_summary
from scaling.roofline import Prediction

SUMMED = ("flops", "hours", "energy_kwh", "dollars", "kg_co2")
REASONS_SHOWN = 5  # for dropped rows


def print_plan(plan: Plan, console: Console, *, all_runs: bool) -> None:
    """One line a model size (or a run), then the totals and what they assume."""
    pairs = list(zip(plan.study.cells, plan.predictions, strict=True))
    arms = {arm: place for place, arm in enumerate(dict.fromkeys(cell.arm for cell in plan.study.cells))}
    pairs.sort(
        key=lambda pair: (arms[pair[0].arm], _size(pair[0]).total, pair[0].run.objective.kind, pair[0].run.tokens)
    )
    groups = [[pair] for pair in pairs] if all_runs else _by_model(pairs)
    table = Table(
        box=None, pad_edge=False, title=f"study {plan.study.name}: {plan.study.question}", title_justify="left"
    )
    compared = [""] if len(arms) > 1 else []
    for column in compared:
        table.add_column(column)
    for column in ("run" if all_runs else "runs", "params", "body", "tokens", "FLOPs", "memory", "time", "$", "kg CO2"):
        table.add_column(column, justify="right")
    for group in groups:
        table.add_row(*[group[0][0].arm for _ in compared], *_row(group, all_runs))
    console.print(table)
    if any(prediction.axis_bytes for prediction in plan.predictions):
        console.print(_steps(groups))
    total = {name: plan.total(name) for name in SUMMED}
    hardware = plan.hardware
    console.print(
        f"\ntotal: {len(pairs)} runs, {total['flops']:.3g} FLOPs, {hours(total['hours'])} of {hardware.name}, "
        f"{total['energy_kwh']:.3g} kWh, ${total['dollars']:.4g}, {total['kg_co2']:.3g} kg CO2",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"assumed: {hardware.efficiency:.0%} of the peak reached, {hardware.watts:g} W, "
        f"${hardware.dollars_per_hour:g} an hour a device; options change them",
        highlight=False,
        soft_wrap=True,
    )
    _print_dropped(plan.study.dropped, console, every=all_runs)
    if plan.study.later:
        console.print(f"up to {plan.study.later} more runs will be decided by the losses of these", highlight=False)
    unfit = sum(not prediction.fits for _, prediction in pairs)
    if unfit:
        console.print(
            f"[red]{unfit} runs do not fit into the memory of one {hardware.name}[/]: --microbatches saves "
            "activations, but a model whose parameters and optimizer alone are too large needs larger devices, or "
            "more of them that share it; --fit-mesh with --devices says how"
        )


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data: every run with its prediction, and the totals."""
    runs = [
        {
            "run_id": run_id(cell.run),
            "role": cell.role,
            "budget": cell.budget,
            "arm": cell.arm,
            "params": dict(vars(_size(cell))),  # plain already: copying deeply is slow for thousands
            "tokens": cell.run.tokens,
            "prediction": dict(vars(prediction)),
        }
        for cell, prediction in zip(plan.study.cells, plan.predictions, strict=True)
    ]
    return {
        "study": plan.study.name,
        "hardware": asdict(plan.hardware),
        "runs": runs,
        "dropped": [asdict(row) for row in plan.study.dropped],
        "total": {name: plan.total(name) for name in SUMMED},
    }


def _print_dropped(dropped: tuple[Dropped, ...], console: Console, *, every: bool) -> None:
    """How many rows of its sweeps a study leaves out and the commonest reasons; with `every`, each row."""
    if not dropped:
        return
    rows = "1 row" if len(dropped) == 1 else f"{len(dropped)} rows"
    console.print(f"dropped: {rows}" + ("" if every else "; --runs lists them"), highlight=False)
    reasons = () if every else list(dropped_summary(dropped)["reasons"].items())[:REASONS_SHOWN]
    for reason, count in reasons:
        console.print(f"  {count}: {reason}", highlight=False, markup=False, soft_wrap=True)
    for row in dropped if every else ():
        console.print(f"  {row.row}: {row.reason}", highlight=False, markup=False, soft_wrap=True)


def _by_model(pairs: list[tuple[Cell, Prediction]]) -> list[list[tuple[Cell, Prediction]]]:
    def alike(pair: tuple[Cell, Prediction]) -> tuple[Any, ...]:
        return (pair[0].arm, pair[0].run.model, pair[0].run.objective)

    return [list(group) for _, group in groupby(pairs, key=alike)]


def _size(cell: Cell) -> Params:
    return params(cell.run.model, cell.run.objective)


def _row(group: list[tuple[Cell, Prediction]], all_runs: bool) -> list[str]:
    cells, predictions = zip(*group, strict=True)
    tokens = sorted(cell.run.tokens for cell in cells)
    size = _size(cells[0])
    total = {name: sum(getattr(prediction, name) for prediction in predictions) for name in SUMMED}
    return [
        f"{run_id(cells[0].run)} {cells[0].role}" if all_runs else str(len(cells)),
        si(size.total),
        si(size.body),
        si(tokens[0]) if tokens[0] == tokens[-1] else f"{si(tokens[0])} to {si(tokens[-1])}",
        f"{total['flops']:.2e}",
        f"{max(prediction.memory_bytes for prediction in predictions) / 1e9:.3g} GB",
        hours(total["hours"]),
        f"{total['dollars']:.2g}" if total["dollars"] < 100 else f"{total['dollars']:,.0f}",
        f"{total['kg_co2']:.2g}" if total["kg_co2"] < 100 else f"{total['kg_co2']:,.0f}",
    ]


def _steps(groups: list[list[tuple[Cell, Prediction]]]) -> Table:
    """One step on several devices; runs of one model and batch take the same."""
    table = Table(box=None, pad_edge=False, title="\nof each device, in one step", title_justify="left")
    for column in ("params", "memory", "step", "bound by", "bubble", "sent"):
        table.add_column(column, justify="left" if column == "sent" else "right")
    for group in groups:
        found = max((prediction for _, prediction in group), key=lambda prediction: prediction.step_seconds_high)
        table.add_row(
            si(_size(group[0][0]).total),
            f"{found.memory_bytes / 1e9:.3g} GB",
            f"{duration(found.step_seconds_low)} to {duration(found.step_seconds_high)}",
            found.bound_by,
            share_of_time(found.bubble),
            volumes(found.axis_bytes),
        )
    return table


def duration(seconds: float) -> str:
    """Of a step: 12 µs, 3.4 ms, 2.1 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def share_of_time(bubble: float) -> str:
    return f"{bubble:.0%}" if bubble else ""


def volumes(axis_bytes: dict[str, float]) -> str:
    """By mesh axis: fsdp 1.2 GB, tensor 0.34 GB."""
    return ", ".join(f"{axis} {size / 1e9:.3g} GB" for axis, size in axis_bytes.items())


def si(number: float) -> str:
    """Three significant digits and a unit: 12.3k, 1.06M, 70B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:,.1f} h"

"""Proposed placements as a person or a program reads them."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from launch.placement_options import as_options
from launch.show_plan import duration, share_of_time, si, volumes
from scaling.config import run_id
from scaling.counts import params
from scaling.fit_mesh import Fit, Proposal, fit_mesh
from scaling.hardware import Hardware
from scaling.plan import Study


def fits_of(study: Study, hardware: Hardware, devices: int, *, every: bool) -> list[Fit]:
    """Proposals for the largest model of a study, or for every one, the smallest first."""
    runs = {(run.model, run.objective, run.batch, run.precision): run for run in study.runs}
    sized = sorted(runs.values(), key=lambda run: params(run.model, run.objective).total)
    return [fit_mesh(run, hardware, devices) for run in (sized if every else sized[-1:])]


def print_fits(fits: list[Fit], hardware: Hardware, devices: int, console: Console) -> None:
    """A few lines a model; where nothing fits, what comes nearest."""
    table = Table(
        box=None,
        pad_edge=False,
        title=f"placements on {devices} {hardware.name}, the fastest first",
        title_justify="left",
    )
    for column in ("params", "step", "bound by", "memory", "bubble", "sent a step"):
        table.add_column(column, justify="left" if column == "sent a step" else "right")
    table.add_column("options", overflow="fold")
    for fit in fits:
        size = si(params(fit.run.model, fit.run.objective).total)
        for proposal in fit.best:
            table.add_row(size, *_row(proposal))
            size = ""
        if not fit.best:
            table.add_row(size, *_row(fit.nearest) if fit.nearest else ["none"])
    console.print(table)
    for fit in fits:
        if not fit.best:
            console.print(f"[red]{_refusal(fit, hardware, devices)}[/]", highlight=False, soft_wrap=True)


def to_json(fits: list[Fit], hardware: Hardware, devices: int) -> dict[str, Any]:
    """The proposals as plain data."""
    models = [
        {
            "run_id": run_id(fit.run),
            "params": params(fit.run.model, fit.run.objective).total,
            "fits": [_plain(proposal) for proposal in fit.best],
            "nearest": _plain(fit.nearest) if fit.nearest else None,
        }
        for fit in fits
    ]
    return {"hardware": asdict(hardware), "devices": devices, "models": models}


def _plain(proposal: Proposal) -> dict[str, Any]:
    step = proposal.step
    return {
        "placement": asdict(proposal.placement),
        "options": as_options(proposal.placement),
        **asdict(step),
        "bound_by": step.bound_by,
        "step_seconds_low": step.low,
        "step_seconds_high": step.high,
    }


def _row(proposal: Proposal) -> list[str]:
    step = proposal.step
    return [
        f"{duration(step.low)} to {duration(step.high)}",
        step.bound_by,
        f"{step.memory_bytes / 1e9:.3g} GB",
        share_of_time(step.bubble),
        volumes(step.axis_bytes),
        as_options(proposal.placement),
    ]


def _refusal(fit: Fit, hardware: Hardware, devices: int) -> str:
    size = si(params(fit.run.model, fit.run.objective).total)
    if fit.nearest is None:
        return (
            f"{size} parameters: no placement uses {devices} devices with a batch of {fit.run.batch}; "
            "give fewer devices, or a batch that they divide"
        )
    needed = fit.nearest.step.memory_bytes
    return (
        f"{size} parameters: nothing fits into the {hardware.memory_bytes / 1e9:.3g} GB of a {hardware.name}; "
        f"the nearest needs {needed / 1e9:.3g} GB, {needed / hardware.memory_bytes - 1:.0%} more: give more devices, "
        "larger ones, or a smaller batch"
    )

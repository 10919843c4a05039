"""The check of parallelism: does a study's step compute on many devices what it computes on one?"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from launch.options import study_of
from scaling.config import NgramConfig, Placement, RunConfig
from scaling.parallel.tiny import PLACEMENTS, axes_of, tiny
from scaling.plan import Study

if TYPE_CHECKING:
    from scaling.parallel.check import Finding

console = Console()


@dataclass(frozen=True, kw_only=True)
class ParallelOptions:
    devices: int = 8
    """At most so many share a step; placements that need more are left out."""
    platform: Literal["cpu", "gpu", "tpu"] = "cpu"
    """What they are: cpu makes as many as are asked for, of this machine's cores."""


def check_parallel(arguments: list[str]) -> None:
    """Train a tiny run of every kind in a study by every placement, and compare with one device."""
    options, study = study_of("check-parallel", ParallelOptions, arguments)
    _make_devices(options)
    from scaling.parallel.check import check

    failed = 0
    for name, run in _kinds(study).items():
        fitting = [placement for placement in PLACEMENTS if _devices(placement) <= options.devices]
        table = _table(name)
        faults = []
        for found in check(run, fitting, options.devices):
            if isinstance(found, tuple):
                placement, reason = found
                table.add_row(axes_of(placement), *["-"] * 5)
                faults.append(f"[dim]{axes_of(placement)}: does not fit: {reason}[/dim]")
                continue
            table.add_row(axes_of(found.placement), *_row(found))
            wrong = found.faults()
            failed += bool(wrong)
            faults += [f"{axes_of(found.placement)}: {column}: {text}" for column, text in wrong.items()]
        console.print(table)
        for line in faults:
            console.print(line, soft_wrap=True, highlight=False)
    if failed:
        sys.exit(1)


def _kinds(study: Study) -> dict[str, RunConfig]:
    """The study's runs made tiny, one of each kind, by a name for it. n-grams are counted, not trained."""
    kinds: dict[tuple, RunConfig] = {}
    for run in study.runs:
        if not isinstance(run.model, NgramConfig):
            small = tiny(run)
            kinds.setdefault((small.shape, small.optim.label_smoothing > 0), small)
    names = [
        f"{number}. {run.model.architecture}, {run.objective.kind}" for number, run in enumerate(kinds.values(), 1)
    ]
    return dict(zip(names, kinds.values(), strict=True))


def _devices(placement: Placement) -> int:
    return placement.data * placement.fsdp * placement.expert * placement.pipe * placement.context * placement.tensor


def _make_devices(options: ParallelOptions) -> None:
    """Before JAX is imported; a CPU can be cut into any number of devices then, and only then."""
    if options.platform == "cpu":
        flags = f"--xla_force_host_platform_device_count={options.devices} --xla_backend_optimization_level=0"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["JAX_PLATFORMS"] = {"gpu": "cuda"}.get(options.platform, options.platform)
    import jax

    if (there := len(jax.devices())) < options.devices:
        raise ValueError(
            f"--devices {options.devices}: JAX has {there} of platform {options.platform}; ask for {there}"
        )


def _table(name: str) -> Table:
    table = Table(title=name, title_justify="left")
    for column in ("placement", "loss", "gradients", "steps", "memory", "collectives"):
        table.add_column(column)
    return table


def _row(found: "Finding") -> list[str]:
    """Differences from one device, its share of what one device holds, and whether the right things are sent."""
    share = found.state_bytes / found.state_bytes_alone
    shown = {
        "loss": f"{found.loss:.0e}",
        "gradients": f"{found.gradients:.0e}",
        "steps": f"{found.steps:.0e}",
        "memory": f"state {share:.0%}, beside it {found.temporary_bytes / found.temporary_bytes_alone:.0%}",
        "collectives": "as expected",
    }
    wrong = found.faults()
    return [f"[red]{text}[/red]" if column in wrong else f"[green]{text}[/green]" for column, text in shown.items()]

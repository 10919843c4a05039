"""`scaling plan`: the runs of a study, and what they would take."""

import json
from dataclasses import dataclass, replace

from launch.best_mixture import with_best_mixture
from launch.options import DEVICES, WhereOptions, console, study_of
from launch.placement_options import MeshOptions
from scaling.config import (
    Placement,
)
from scaling.hardware import HARDWARE, Hardware
from scaling.plan import Study, price
from scaling.roofline import GRID_KG_CO2_PER_KWH


@dataclass(frozen=True, kw_only=True)
class PlanOptions(WhereOptions):
    hardware: DEVICES = "cpu-core"
    """What it would be trained on."""
    devices: int = 1
    """How many of them share one run."""
    placement: MeshOptions = MeshOptions()
    fit_mesh: bool = False
    """Propose the fastest placements that fit into memory, for the largest model; with --runs for every one."""
    efficiency: float | None = None
    """Share of the peak that is reached; default: the hardware's usual one."""
    dollars_per_hour: float | None = None
    """Price of one device; default: the hardware's."""
    watts: float | None = None
    """Power of one device; default: the hardware's."""
    kg_co2_per_kwh: float = GRID_KG_CO2_PER_KWH
    """Of the grid; the default is the world's mean in 2023."""
    runs: bool = False
    """List every run, not only every model."""
    diff: bool = False
    """Compare with the study's last launch below --root: which runs are added, kept and orphaned."""
    json: bool = False
    """Print one JSON object."""


def plan(arguments: list[str]) -> None:
    """Print the runs of a study and what they would take."""
    options, study = study_of("plan", PlanOptions, arguments)
    print_plan_of(with_best_mixture(study, options.workspace), options)


def print_plan_of(study: Study, options: PlanOptions) -> None:
    from launch.show_plan import print_plan, to_json

    changes = {
        name: value
        for name in ("efficiency", "dollars_per_hour", "watts")
        if (value := getattr(options, name)) is not None
    }
    hardware = replace(HARDWARE[options.hardware], **changes)
    if options.fit_mesh:
        return _print_meshes(study, options, hardware)
    placement = options.placement.over(study.placement)
    if options.diff:
        return _print_difference(study, options, hardware, placement)
    priced = price(study, hardware, devices=options.devices, placement=placement, kg_co2_per_kwh=options.kg_co2_per_kwh)
    if options.json:
        return print(json.dumps(to_json(priced)))
    print_plan(priced, console, all_runs=options.runs)


def _print_difference(study: Study, options: PlanOptions, hardware: Hardware, placement: Placement) -> None:
    from launch import plan_diff

    study, entries, notes = plan_diff.launched(study, options.workspace)
    priced = price(study, hardware, devices=options.devices, placement=placement, kg_co2_per_kwh=options.kg_co2_per_kwh)
    found = plan_diff.difference(priced, entries, options.workspace, notes)
    if options.json:
        return print(json.dumps(plan_diff.to_json(found)))
    plan_diff.print_difference(found, priced, console, every=options.runs)


def _print_meshes(study: Study, options: PlanOptions, hardware: Hardware) -> None:
    from launch.show_mesh import fits_of, print_fits, to_json

    found = fits_of(study, hardware, options.devices, every=options.runs)
    if options.json:
        return print(json.dumps(to_json(found, hardware, options.devices)))
    print_fits(found, hardware, options.devices, console)

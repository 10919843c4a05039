"""What each command does: parse its options, call the parts, print."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from launch import studies
from launch.analysis_commands import FitOptions, write_report_of
from launch.kubernetes_options import KubernetesOptions
from launch.placement_options import MeshOptions, PlacementOptions
from launch.ray_options import RayOptions
from launch.slurm_options import SlurmOptions
from scaling.config import (
    DataConfig,
    NextToken,
    ObjectiveConfig,
    OptimConfig,
    Placement,
    Precision,
    RunConfig,
    ScheduleConfig,
    TransformerConfig,
    from_dict,
    lengths,
    run_id,
)
from scaling.hardware import HARDWARE, Hardware
from scaling.models.published import published
from scaling.parallel.layout import layout_of
from scaling.plan import Cell, Study, pin, price
from scaling.plan_file import write_plan
from scaling.provenance import STUDY
from scaling.roofline import GRID_KG_CO2_PER_KWH
from scaling.sweeps import round_tokens
from scaling.workspace import Workspace

console = Console()

DEVICES = Literal[tuple(HARDWARE)]


@dataclass(frozen=True, kw_only=True)
class WhereOptions:
    root: Path = Path()
    """Folder that holds runs/, datasets/, studies/ and reports/."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)


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


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(WhereOptions):
    workers: int | None = None
    """Worker processes; default: one an accelerator, else one a core."""
    placement: PlacementOptions = PlacementOptions()
    max_hours: float | None = None
    """Begin no run that would take the study beyond so many device hours, those already spent included."""
    max_cost: float | None = None
    """The same in dollars, at the list price of this machine's devices."""
    dry_run: bool = False
    """Print the plan and stop."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(LaunchOptions):
    on: Literal["here", "slurm", "kubernetes", "ray"] = "here"
    """Who trains: this machine, now, or a cluster, to which the runs are handed over."""
    slurm: SlurmOptions = SlurmOptions()
    kubernetes: KubernetesOptions = KubernetesOptions()
    ray: RayOptions = RayOptions()


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LaunchOptions):
    tokens: float = 1e6
    """To train on; rounded to whole steps."""
    warmup_fraction: float = 0.02
    """Of the tokens."""
    shape: str | None = None
    """A published model in place of `model`, such as gpt-2; `scaling models` lists them."""
    config: Path | None = None
    """A run's config.json, or one of your own like it, in place of all options below."""
    model: tyro.conf.AvoidSubcommands[TransformerConfig] = TransformerConfig(
        vocab=DataConfig().vocab, dim=64, layers=4, heads=4
    )
    objective: ObjectiveConfig = NextToken()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    batch: int = 16
    """Sequences a step."""
    precision: Precision = "float32"
    seed: int = 0

    def study(self) -> Study:
        """A study of one run."""
        run = self._read() if self.config else self._made()
        return Study(
            name=f"train-{run_id(run)}",
            question="One run.",
            published="",
            shows="",
            cannot_show="",
            forecast_flops=0.0,
            cells=(Cell(run=run),),
        )

    def _read(self) -> RunConfig:
        """The run of a file; its data are looked for by their source, and its trunk is not needed."""
        try:
            values = json.loads(self.config.read_bytes())
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.config}: not whole JSON ({error})") from None
        run = from_dict(RunConfig, values, str(self.config))
        return replace(run, data=replace(run.data, content=""), trunk=None)

    def _made(self) -> RunConfig:
        """The tokenizer and the objective decide the model's vocabulary and its special tokens."""
        model = published(self.shape) if self.shape else self.model
        found = lengths(model, self.objective)
        data = replace(self.data, specials=max(self.data.specials, found.specials))
        step = self.batch * found.text
        tokens = round_tokens(self.tokens, step)
        warmup = round_tokens(self.warmup_fraction * tokens, step)
        return RunConfig(
            model=replace(model, vocab=data.total_vocab),
            objective=self.objective,
            data=data,
            tokens=tokens,
            batch=self.batch,
            optim=self.optim,
            schedule=replace(self.schedule, warmup_tokens=self.schedule.warmup_tokens or warmup),
            precision=self.precision,
            seed=self.seed,
        )


def plan(arguments: list[str]) -> None:
    """Print the runs of a study and what they would take."""
    options, study = study_of("plan", PlanOptions, arguments)
    _print_plan(study, options)


def launch(arguments: list[str]) -> None:
    """Train what is left of a study; when all is done, fit and report. A cluster is only told to."""
    options, study = study_of("launch", SweepOptions, arguments)
    if options.on != "here":
        return _hand_over(study, options)
    if options.dry_run:
        return _dry_run(study, options)
    study, outcomes = _train_rungs(study, options, lambda: study_of("launch", SweepOptions, arguments)[1])
    finished = sum(status == "finished" for status in outcomes.values())
    console.print(f"{finished} of {len(outcomes)} runs finished")
    write_report_of(study.name, FitOptions(root=options.root))
    if finished < len(outcomes):
        sys.exit("some runs did not finish; the lines above say why")


def train(arguments: list[str]) -> None:
    """Train one run described by options; prints its record's path and loss."""
    options = tyro.cli(TrainOptions, args=arguments, prog="scaling train", description=train.__doc__)
    study = options.study()
    if options.dry_run:
        return _dry_run(study, options)
    from scaling.parallel.hosts import cluster
    from scaling.record import RunDirectory, read_record

    if cluster() is None:
        study, _ = _train_all(study, options)
    elif (study := _train_together(study, options)) is None:
        return  # the first process says how it went
    path = RunDirectory(options.workspace.runs / run_id(study.runs[0])).record
    record = read_record(path)
    if record.heldout:
        loss, bits = record.heldout, record.heldout.bits_per_byte
        console.print(
            f"held-out loss {loss.loss:.4f} ± {loss.loss_se:.4f} nats/token"
            + ("" if bits is None else f", {bits:.4f} ± {loss.bits_per_byte_se:.4f} bits/byte")
        )
    cost = record.cost
    if cost.goodput is not None:
        used = "" if cost.mfu is None else f"; {cost.mfu:.1%} of the hardware's peak FLOP/s while training"
        console.print(f"{cost.goodput:.0%} of {cost.wall_seconds:,.0f} s went into training steps{used}")
    console.print(f"{record.status}; record: {path}", soft_wrap=True)


def data(arguments: list[str]) -> None:
    """`prepare` a corpus, or `show` a prepared one."""
    actions: dict[str, Callable[[list[str]], None]] = {"prepare": _prepare, "show": _show}
    if not arguments or arguments[0] not in actions:
        print("usage: scaling data prepare|show [options]; each answers --help")
        if arguments and arguments[0] not in ("-h", "--help"):
            sys.exit(f"scaling data: no action {arguments[0]!r}")
        return
    actions[arguments[0]](arguments[1:])


def study_of(command: str, options: type, arguments: list[str]) -> tuple[Any, Study]:
    """A command's options and the study that its first argument names. Raises ValueError where it names none."""
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"which study? one of: {', '.join(studies.names())}. Then --help shows its options")
    return studies.parse(arguments[0], options, arguments[1:], prog=f"scaling {command}")


def _dry_run(study: Study, options: LaunchOptions) -> None:
    """What a launch would do, priced for the machine it would run on."""
    from launch.devices import slots

    study = replace(study, placement=options.placement.over(study.placement))
    hardware = slots(options.workers, study.placement.devices)[0].hardware
    _print_plan(study, PlanOptions(root=options.root, hardware=hardware, devices=study.placement.devices))


def _print_plan(study: Study, options: PlanOptions) -> None:
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


def _train_rungs(study: Study, options: LaunchOptions, again: Callable[[], Study]) -> tuple[Study, dict[str, str]]:
    """Train a study, and what it grows by when that is done: one that halves decides a rung by the rung before."""
    trained, outcomes = _train_all(study, options)
    while len((more := again()).cells) > len(trained.cells):
        console.print(f"{len(more.cells) - len(trained.cells)} more runs are decided by the losses of those trained")
        trained, outcomes = _train_all(more, options)
    return trained, outcomes


def _train_all(study: Study, options: LaunchOptions) -> tuple[Study, dict[str, str]]:
    """Prepare the data, check every run before any is trained, write the manifest, train."""
    from launch.budget import budget_of
    from launch.devices import slots
    from launch.local import launch as launch_local
    from launch.progress import Progress

    workspace = options.workspace
    placement = options.placement.over(study.placement)
    for run in study.runs:
        layout_of(run, placement, placement.devices)  # raises for one that cannot be placed so
    machine = slots(options.workers, placement.devices)
    budget = budget_of(
        max_hours=options.max_hours,
        max_cost=options.max_cost,
        dollars_per_hour=HARDWARE[machine[0].hardware].dollars_per_hour,
        devices=placement.devices,
    )
    study = replace(_prepared(study, workspace), placement=placement)
    os.environ[STUDY] = study.name
    write_plan(study, workspace)
    return study, launch_local(study, workspace, placement, machine, Progress(console), budget)


def _hand_over(study: Study, options: SweepOptions) -> None:
    """Prepare the data, write the plan, queue what is left of it; `--dry-run` prints what would be queued."""
    from launch import submit

    if options.workers is not None:
        raise ValueError(f"--workers {options.workers} is of this machine; --on {options.on} has options of its own")
    cluster = getattr(options, options.on)
    study = submit.placed(replace(study, placement=options.placement.over(study.placement)), cluster)
    if options.dry_run:
        return submit.print_script(study, options.workspace, cluster)
    study = _prepared(study, options.workspace)
    write_plan(study, options.workspace)
    submit.submit_study(study, options.workspace, cluster, console)


def _train_together(study: Study, options: LaunchOptions) -> Study | None:
    """Train a study of one run as one of several processes; None in all but the first."""
    from launch.together import train_together

    placement = options.placement.over(study.placement)
    study = replace(_prepared(study, options.workspace), placement=placement)
    os.environ[STUDY] = study.name
    if not train_together(study.runs[0], options.workspace, placement, console):
        return None
    write_plan(study, options.workspace)
    return study


def _prepared(study: Study, workspace: Workspace) -> Study:
    """The study with its data's content, prepared and enough for every run."""
    from scaling.data.batches import check_enough
    from scaling.data.prepare import prepare

    stores = {config: prepare(config, workspace.root, console.print) for config in study.datasets}
    pinned = {config: replace(config, content=store.manifest.content) for config, store in stores.items()}
    study = pin(study, pinned.__getitem__)
    of_data = {pinned[config]: store for config, store in stores.items()}
    for run in study.runs:
        check_enough(of_data[run.data], run)
    return study


@dataclass(frozen=True, kw_only=True)
class DataOptions(WhereOptions):
    data: tyro.conf.OmitArgPrefixes[DataConfig] = DataConfig()


def _prepare(arguments: list[str]) -> None:
    from scaling.data.prepare import prepare

    options = tyro.cli(DataOptions, args=arguments, prog="scaling data prepare", description="Tokenize a corpus.")
    store = prepare(options.data, options.root, console.print)
    console.print(str(store), markup=False, highlight=False)


def _show(arguments: list[str]) -> None:
    from scaling.data.prepare import pinned, prepare

    options = tyro.cli(DataOptions, args=arguments, prog="scaling data show", description="Describe a prepared corpus.")
    if pinned(options.data, options.root) is None:
        raise ValueError("these data are not prepared yet: scaling data prepare, with the same options")
    console.print(str(prepare(options.data, options.root, console.print)), markup=False, highlight=False)

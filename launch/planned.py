"""The plan file of a launched study, read for looking on: thousands of runs, few of them validated.

Runs that differ only in seed, length, rates or trunk take equally long a step, so
one of each kind is made a `RunConfig` and priced; the others follow from it.
"""

import marshal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tyro

from launch import studies
from scaling.config import Placement, RunConfig, from_dict
from scaling.counts import params
from scaling.hardware import Hardware
from scaling.parallel.layout import layout_of
from scaling.plan import Study, manifest
from scaling.plan_file import plan_path, read_plan
from scaling.record import RunDirectory
from scaling.roofline import predict
from scaling.workspace import Workspace

KIND = ("model", "objective", "data", "batch", "precision")  # what decides how long a step takes


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a run was planned to take from its own first step on, or a part of it."""

    hours: float
    flops: float
    dollars: float

    def plus(self, other: "Price") -> "Price":
        return Price(
            hours=self.hours + other.hours, flops=self.flops + other.flops, dollars=self.dollars + other.dollars
        )

    def times(self, factor: float) -> "Price":
        return Price(hours=factor * self.hours, flops=factor * self.flops, dollars=factor * self.dollars)


@dataclass(frozen=True, kw_only=True)
class PlanRun:
    """One run of a plan. config: as the file holds it; kind: a run of the same kind, whole."""

    run_id: str
    role: str
    arm: str
    budget: float | None
    config: dict[str, Any]
    kind: RunConfig
    batch_tokens: int
    params: int

    @property
    def tokens(self) -> int:
        return self.config["tokens"]

    @property
    def trunk(self) -> str | None:
        """The run whose path it shares at first."""
        return (self.config.get("trunk") or {}).get("run_id")

    @property
    def trunk_tokens(self) -> int:
        return (self.config.get("trunk") or {}).get("tokens", 0)

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    @property
    def own_steps(self) -> int:
        """Those after its trunk's."""
        return self.steps - self.trunk_tokens // self.batch_tokens


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A launched study: its runs, in its order."""

    name: str
    placement: Placement
    runs: tuple[PlanRun, ...]
    later: int = 0  # runs, at most, that the losses of these decide

    @cached_property
    def by_id(self) -> dict[str, PlanRun]:
        return {run.run_id: run for run in self.runs}

    def prices(self, hardware: Hardware) -> dict[str, Price]:
        """What each run was to take on the hardware, by run id; a trunk's part is the trunk's."""
        of_kind = {id(run.kind): run.kind for run in self.runs}
        a_step = {key: _step_price(kind, self.placement, hardware) for key, kind in of_kind.items()}
        return {run.run_id: a_step[id(run.kind)].times(run.own_steps) for run in self.runs}


def plan_of(study: Study) -> StudyPlan:
    """The plan of a study whose data are prepared, as if read back from its file."""
    entries = manifest(study)["runs"]
    runs = _runs(entries, f"study {study.name}")
    return StudyPlan(name=study.name, placement=study.placement, runs=runs, later=study.later)


def study_plan(path: Path) -> StudyPlan:
    """The plan that a launch wrote. Raises ValueError where it is none."""
    found = read_plan(path)
    runs = _runs(found.runs.values(), str(path))
    return StudyPlan(name=found.name, placement=found.placement, runs=runs, later=found.later)


def _runs(entries: Iterable[dict[str, Any]], where: str) -> tuple[PlanRun, ...]:
    kinds: dict[bytes, dict[str, Any]] = {}
    runs = []
    for entry in entries:
        config = entry["config"]
        key = marshal.dumps([config.get(name) for name in KIND], 2)  # one of bytes, as repr is of text, but faster
        if key not in kinds:
            kind = from_dict(RunConfig, config, f"{where}: run {entry['run_id']}")
            size = params(kind.model, kind.objective).total
            kinds[key] = {"kind": kind, "params": size, "batch_tokens": kind.batch_tokens}
        given = {name: entry[name] for name in ("run_id", "role", "arm", "budget")}
        runs.append(PlanRun(**given, config=config, **kinds[key]))
    return tuple(runs)


def plan_from(command: str, options: type, arguments: Sequence[str]) -> tuple[StudyPlan, Any]:
    """The launched study that a command's first argument names, and the command's options.

    The argument is the path of a plan file, the name of a launched study, the
    path of a TOML file, or the name of a file in experiments/, whose parameters
    are then options too.
    Raises ValueError where no such study was launched.
    """
    studies.collect_rarely()
    first = arguments[0] if arguments else "-"
    if first.startswith("-") and first not in ("-h", "--help"):
        raise ValueError(f"which study? scaling {command} STUDY. {launched_there(Workspace())}")
    if first in studies.names() or first.endswith(studies.TOML):  # a study's parameters may follow
        parsed, study = studies.parse(first, options, list(arguments[1:]), prog=f"scaling {command}")
        return _launched_plan(study.name, parsed.workspace), parsed
    rest = arguments if first in ("-h", "--help") else arguments[1:]
    parsed = tyro.cli(options, args=list(rest), prog=f"scaling {command} STUDY")
    if first.endswith(".json"):
        return study_plan(Path(first)), parsed
    return _launched_plan(first, parsed.workspace), parsed


def launched(workspace: Workspace) -> list[Path]:
    """The plan files there are."""
    return sorted(workspace.studies.glob("*.json"))


def directory_of(run: PlanRun, workspace: Workspace) -> RunDirectory:
    return RunDirectory(workspace.runs / run.run_id)


def _launched_plan(name: str, workspace: Workspace) -> StudyPlan:
    path = plan_path(workspace, name)
    if not path.exists():
        raise ValueError(
            f"study {name!r} has not been launched in {workspace.root.absolute()}. {launched_there(workspace)}. "
            f"Start with: scaling launch {name}"
        )
    return study_plan(path)


def launched_there(workspace: Workspace) -> str:
    """For a message: what there is to choose from."""
    names = [path.stem for path in launched(workspace)]
    return f"Launched there: {', '.join(names)}" if names else "No study has been launched there"


def _step_price(run: RunConfig, placement: Placement, hardware: Hardware) -> Price:
    whole = predict(replace(run, trunk=None), hardware, layout=layout_of(run, placement, placement.devices))
    return Price(hours=whole.hours, flops=whole.flops, dollars=whole.dollars).times(1 / whole.steps)

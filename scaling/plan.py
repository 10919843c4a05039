"""A study as a value: a question, and the runs that answer it.

`scaling.sweeps` makes its cells. A cell's run may follow a trunk, another
cell's run that it shares its path with; the launcher trains trunks first, and
a trunk's tokens are paid for once.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from scaling.config import DataConfig, Placement, RunConfig, Source, run_id, to_dict
from scaling.hardware import Hardware
from scaling.parallel.layout import Layout, layout_of
from scaling.roofline import GRID_KG_CO2_PER_KWH, Prediction, StepTime, predict, step_time

if TYPE_CHECKING:
    from scaling.sweeps import Sweep

DROPPED_SHOWN = 20  # rows, and reasons, that are written down; a sweep may drop thousands

Key = tuple[str, tuple[Source, ...]]  # of a run: its id, and, until its data are prepared, where they come from


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study and the part it plays."""

    run: RunConfig
    role: Literal["cell", "trunk"] = "cell"  # a trunk never cools down: it is no point of a law
    budget: float | None = None  # training FLOPs aimed at: the isoFLOP curve it lies on
    arm: str = ""  # what it is compared as: a family, an objective, a recipe


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A row that a sweep left out, and why."""

    row: str  # what would have been run
    reason: str


@dataclass(frozen=True, kw_only=True)
class BestMixture:
    """A run that a mixing law decides: it reads the mixture that the law, fitted to smaller runs, predicts as the best.

    A study without the weights waits for its proxies; launching again, when
    they are trained, gives the weights and adds the run to the cells.
    """

    proxies: str  # the arm that the law is fitted to
    run: RunConfig  # what is trained, on whatever weights its mixture has now
    arm: str  # of the run
    least: float = 0.0  # share of every part
    weights: tuple[float, ...] = ()  # of the parts, once they are decided
    most: tuple[float, ...] = ()  # share of each part at which the run would read it too often


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the runs that answer it, and what an answer may claim."""

    name: str
    question: str
    published: str  # the value to compare with, and its source
    shows: str  # what these runs can show
    cannot_show: str  # and what they cannot
    forecast_flops: float  # the larger budget to speak about
    cells: "tuple[Cell, ...] | Sweep"  # of a sweep, the cells are kept here, and what it dropped below
    placement: Placement = Placement()  # where and how its runs are trained, unless the command line says otherwise
    dropped: tuple[Dropped, ...] = ()  # rows that its sweeps left out
    later: int = 0  # runs, at most, that the losses of these will decide; launching again adds them
    best_mixture: BestMixture | None = None  # one of those

    def __post_init__(self) -> None:
        self._take_sweep()
        if not self.cells:
            first = next(iter(self.dropped), None)
            why = f"; {len(self.dropped)} rows were dropped, the first, {first.row}: {first.reason}" if first else ""
            raise ValueError(f"study {self.name!r} plans no runs: give it at least one budget and one size{why}")
        known: dict[Key, RunConfig] = {}
        for run in self.runs:
            other = known.setdefault(_key(run), run)
            if other != run:
                raise ValueError(f"study {self.name!r}: {_alike(other, run)}")
        for run in self.runs:
            if run.trunk and _trunk_key(run) not in known:
                raise ValueError(
                    f"study {self.name!r}: run {run_id(run)} follows trunk {run.trunk.run_id}, "
                    "which is not among its cells; add the trunk's cell"
                )

    def _take_sweep(self) -> None:
        """A sweep given as cells is told apart into what it keeps and what it dropped."""
        if isinstance(self.cells, tuple):
            return
        if not hasattr(self.cells, "kept"):
            raise ValueError(
                f"study {self.name!r}: cells is a {type(self.cells).__name__}; give a tuple of Cell, or a sweep"
            )
        object.__setattr__(self, "dropped", (*self.dropped, *self.cells.dropped, *self.cells.named_twice))
        object.__setattr__(self, "cells", self.cells.kept)

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        return tuple(cell.run for cell in self.cells)

    @property
    def datasets(self) -> tuple[DataConfig, ...]:
        """The distinct data its runs read."""
        return tuple(dict.fromkeys(run.data for run in self.runs))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study with its price."""

    study: Study
    hardware: Hardware
    predictions: tuple[Prediction, ...]  # one a cell, in order

    def total(self, quantity: str) -> float:
        """Sum of one of the predictions' fields over all cells."""
        return math.fsum(getattr(prediction, quantity) for prediction in self.predictions)


def price(
    study: Study,
    hardware: Hardware,
    *,
    devices: int = 1,
    placement: Placement | None = None,
    kg_co2_per_kwh: float = GRID_KG_CO2_PER_KWH,
) -> Plan:
    """Predict every run of a study; nothing is trained or prepared.

    devices: that share one run. placement: None takes the study's. Raises
    ValueError for a run that cannot be placed so.
    """
    placement = study.placement if placement is None else placement
    steps: dict[tuple[Any, ...], tuple[Layout, StepTime]] = {}  # runs of one shape take the same time a step

    def predicted(run: RunConfig) -> Prediction:
        shape = (*run.shape, run.optim.label_smoothing > 0)  # smoothed targets send more
        if shape not in steps:
            layout = layout_of(run, placement, devices)
            steps[shape] = layout, step_time(run, hardware, layout)
        layout, step = steps[shape]
        return predict(run, hardware, layout=layout, step=step, kg_co2_per_kwh=kg_co2_per_kwh)

    predictions = tuple(predicted(run) for run in study.runs)
    return Plan(study=study, hardware=hardware, predictions=predictions)


def pin(study: Study, pinned: Callable[[DataConfig], DataConfig]) -> Study:
    """The study on prepared data: `pinned` gives each data set its content hash.

    The content is part of a run's identity, so trunks are renamed with it.
    """
    data = {config: pinned(config) for config in study.datasets}
    renamed: dict[Key, str] = {}
    cells: list[Cell] = []
    for cell in trunks_first(study.cells):
        trunk = cell.run.trunk and replace(cell.run.trunk, run_id=renamed[_trunk_key(cell.run)])
        run = replace(cell.run, data=data[cell.run.data], trunk=trunk)
        renamed[_key(cell.run)] = run_id(run)
        cells.append(replace(cell, run=run))
    return replace(study, cells=tuple(cells))


def trunks_first(cells: Iterable[Cell]) -> list[Cell]:
    """The cells in an order in which every trunk precedes its branches."""
    cells = list(cells)
    by_key = {_key(cell.run): cell for cell in cells}
    ordered: dict[Key, Cell] = {}

    def visit(cell: Cell) -> None:
        if cell.run.trunk and _trunk_key(cell.run) not in ordered:
            visit(by_key[_trunk_key(cell.run)])
        ordered.setdefault(_key(cell.run), cell)

    for cell in cells:
        visit(cell)
    return list(ordered.values())


def manifest(study: Study) -> dict[str, Any]:
    """All that analysis and launchers need to know of a study, as plain data."""
    return {**heading(study), "runs": [{**entry, "config": to_dict(run)} for entry, run in entries(study)]}


def heading(study: Study) -> dict[str, Any]:
    """A manifest without its runs."""
    words = ("name", "question", "published", "shows", "cannot_show", "forecast_flops")
    plain = {word: getattr(study, word) for word in words}
    found = {"placement": to_dict(study.placement), "later": study.later, "dropped": dropped_summary(study.dropped)}
    return {**plain, **found, "best_mixture": _mixture_heading(study.best_mixture)}


def _mixture_heading(asked: BestMixture | None) -> dict[str, Any] | None:
    """What an analysis needs to fit the law again: which runs, of which parts, and within which shares."""
    if asked is None:
        return None
    mixture = asked.run.data.mixture
    words = {"proxies": asked.proxies, "arm": asked.arm, "least": asked.least, "weights": asked.weights}
    parts = [part.name for part in mixture.parts]
    return {**words, "most": asked.most, "parts": parts, "target": mixture.target}


def entries(study: Study) -> Iterator[tuple[dict[str, Any], RunConfig]]:
    """The runs of a manifest, one at a time, their configs not yet as plain data: ten thousand of those are 100 MB."""
    kept = starts(study)
    for cell in study.cells:
        entry = {
            "run_id": (name := run_id(cell.run)),
            "role": cell.role,
            "budget": cell.budget,
            "arm": cell.arm,
            "keep_tokens": kept.get(name, ()),
        }
        yield entry, cell.run


def dropped_summary(dropped: Sequence[Dropped]) -> dict[str, Any]:
    """How many rows were left out, the commonest reasons with how often, and the first rows, as plain data."""
    reasons = Counter(row.reason for row in dropped).most_common(DROPPED_SHOWN)
    first = [{"row": row.row, "reason": row.reason} for row in dropped[:DROPPED_SHOWN]]
    return {"rows": len(dropped), "reasons": dict(reasons), "first": first}


def starts(study: Study) -> dict[str, tuple[int, ...]]:
    """Of each trunk the tokens at which its branches leave it: its checkpoints there are kept."""
    found: dict[str, set[int]] = {}
    for run in study.runs:
        if run.trunk:
            found.setdefault(run.trunk.run_id, set()).add(run.trunk.tokens)
    return {name: tuple(sorted(tokens)) for name, tokens in found.items()}


def _key(run: RunConfig) -> Key:
    """Tells runs apart that an id does not yet: it holds what the data are only when they are prepared."""
    return run_id(run), () if run.data.content else tuple(part.source for part in run.data.parts)


def _trunk_key(run: RunConfig) -> Key:
    """The key of the run that a run follows; both read the same data."""
    return run.trunk.run_id, _key(run)[1]


def _alike(one: RunConfig, other: RunConfig) -> str:
    """What sets two configs of one id apart: fields that say where the data lie, not what is learned."""
    differ = [
        f"data.{f.name} is {getattr(one.data, f.name)!r} in one and {getattr(other.data, f.name)!r} in the other"
        for f in fields(one.data)
        if getattr(one.data, f.name) != getattr(other.data, f.name)
    ]
    return f"two different configs have the id {run_id(one)}: {' and '.join(differ)}; what is learned is the same"

"""A study as a value: a question, and the runs that answer it.

Sweeps are tuples of `Cell`s built by plain functions. A cell's run may follow
a trunk, another cell's run that it shares its path with; the launcher trains
trunks first, and a trunk's tokens are paid for once.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from scaling.config import DataConfig, ModelConfig, Placement, RunConfig, Trunk, run_id, to_dict
from scaling.counts import flops_per_token, params
from scaling.hardware import Hardware
from scaling.parallel.layout import layout_of
from scaling.roofline import GRID_KG_CO2_PER_KWH, Prediction, predict

WARMUP_FRACTION = 0.02  # of the horizon; of the shortest one, for runs that share a trunk
MIN_STEPS = 20  # a shorter run is all warm-up and cooldown


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study and the part it plays."""

    run: RunConfig
    role: Literal["cell", "trunk"] = "cell"  # a trunk never cools down: it is no point of a law
    budget: float | None = None  # training FLOPs aimed at: the isoFLOP curve it lies on
    arm: str = ""  # what it is compared as: a family, an objective, a recipe


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the runs that answer it, and what an answer may claim."""

    name: str
    question: str
    published: str  # the value to compare with, and its source
    shows: str  # what these runs can show
    cannot_show: str  # and what they cannot
    forecast_flops: float  # the larger budget to speak about
    cells: tuple[Cell, ...]
    placement: Placement = Placement()  # where and how its runs are trained, unless the command line says otherwise

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError(f"study {self.name!r} plans no runs: give it at least one budget and one size")
        known = {run_id(cell.run) for cell in self.cells}
        for run in self.runs:
            if run.trunk and run.trunk.run_id not in known:
                raise ValueError(
                    f"study {self.name!r}: run {run_id(run)} follows trunk {run.trunk.run_id}, "
                    "which is not among its cells; add the trunk's cell"
                )

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
    predictions = tuple(
        predict(run, hardware, layout=layout_of(run, placement, devices), kg_co2_per_kwh=kg_co2_per_kwh)
        for run in study.runs
    )
    return Plan(study=study, hardware=hardware, predictions=predictions)


def vary(config: Any, path: str, value: Any) -> Any:
    """The config with one field, named by a dotted path, replaced."""
    head, _, rest = path.partition(".")
    known = [f.name for f in fields(config)] if is_dataclass(config) else []
    if head not in known:
        raise ValueError(f"no field {head!r} in {type(config).__name__}; it has {', '.join(known) or 'none'}")
    return replace(config, **{head: vary(getattr(config, head), rest, value) if rest else value})


def grid(base: RunConfig, axes: Mapping[str, Sequence[Any]]) -> tuple[Cell, ...]:
    """Every combination of the values of the axes, the last axis fastest."""
    return tuple(_varied(base, axes, values) for values in itertools.product(*axes.values()))


def zipped(base: RunConfig, axes: Mapping[str, Sequence[Any]]) -> tuple[Cell, ...]:
    """The axes' values taken together, position by position: paired parameters."""
    lengths = {path: len(values) for path, values in axes.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"zipped axes differ in length: {lengths}; give each as many values")
    return tuple(_varied(base, axes, values) for values in zip(*axes.values(), strict=True))


def chain(*sweeps: Iterable[Cell]) -> tuple[Cell, ...]:
    """Sweeps one after another; a run that several name is planned once."""
    return tuple({run_id(cell.run): cell for cell in reversed(list(itertools.chain(*sweeps)))}.values())[::-1]


def round_tokens(tokens: float, batch_tokens: int) -> int:
    """The nearest whole number of steps, at least one, in tokens."""
    return max(1, round(tokens / batch_tokens)) * batch_tokens


def branches(run: RunConfig, horizons: Sequence[int], warmup_fraction: float = WARMUP_FRACTION) -> tuple[Cell, ...]:
    """One constant-rate trunk and a cooldown branch from it for every horizon (WSD).

    run: its tokens, schedule and trunk are replaced. horizons: tokens, the
    trunk's part included. Warm-up is shared by all branches, so it is a
    fraction of the shortest. The trunk ends where the longest branch leaves it.
    """
    if not horizons:
        raise ValueError("branches: no horizons; give at least one number of tokens")
    step = run.batch_tokens
    warmup = round_tokens(warmup_fraction * min(horizons), step)
    schedule = replace(run.schedule, kind="wsd", warmup_tokens=warmup)
    leave = {tokens: _decay_start(tokens, schedule.decay_fraction, step) for tokens in horizons}
    constant = replace(schedule, kind="constant", final_share=0.0)
    trunk = replace(run, tokens=max(leave.values()), schedule=constant, trunk=None)
    trunk_id = run_id(trunk)
    cooled = (
        replace(run, tokens=tokens, schedule=schedule, trunk=Trunk(run_id=trunk_id, tokens=leave[tokens]))
        for tokens in horizons
    )
    return (Cell(run=trunk, role="trunk"), *(Cell(run=branch) for branch in cooled))


def isoflop(
    run_of: Callable[[ModelConfig], RunConfig],
    models: Sequence[ModelConfig],
    budgets: Sequence[float],
    *,
    sizes_per_budget: int = 5,
    tokens_per_param: float = 20.0,
    warmup_fraction: float = WARMUP_FRACTION,
) -> tuple[Cell, ...]:
    """For each budget, models of several sizes trained on it, all branches of one trunk a size.

    run_of: the run of a model; its tokens are replaced. Of `models`, each
    budget takes the `sizes_per_budget` neighbours whose middle lies nearest
    to the expected optimum `tokens_per_param` (total parameters). FLOPs are
    counted from the matrix products, attention and head included.
    """
    horizons: dict[ModelConfig, dict[int, float]] = {}
    for budget in sorted(budgets):
        affordable = _affordable(run_of, models, budget, sizes_per_budget)
        for model in _window(run_of, affordable, budget, sizes_per_budget, tokens_per_param):
            tokens = _tokens_bought(run_of(model), budget)
            horizons.setdefault(model, {})[tokens] = budget
    return chain(
        *(
            _with_budgets(branches(run_of(model), list(of_model), warmup_fraction), of_model)
            for model, of_model in horizons.items()
        )
    )


def repeated(
    cells: Iterable[Cell], seeds: Iterable[int], *, count: int = 2, warmup_fraction: float = WARMUP_FRACTION
) -> tuple[Cell, ...]:
    """The cheapest cells of an isoFLOP sweep's middle size again, on other seeds: what noise looks like.

    The size is the middle one of the smallest budget; `count` of its cells,
    the shortest, are repeated, with the same warm-up, from a trunk for each seed.
    """
    points = [cell for cell in cells if cell.role == "cell"]
    if not points:
        return ()
    smallest = [cell for cell in points if cell.budget == min(point.budget for point in points)]
    middle = sorted(smallest, key=lambda cell: params(cell.run.model).total)[len(smallest) // 2].run
    mates = sorted((cell for cell in points if cell.run.model == middle.model), key=lambda cell: cell.run.tokens)
    budgets = {cell.run.tokens: cell.budget for cell in mates[:count]}
    return chain(
        *(
            _with_budgets(branches(replace(middle, seed=seed), list(budgets), warmup_fraction), budgets)
            for seed in seeds
        )
    )


def ladder(
    run_of: Callable[[ModelConfig], RunConfig], models: Sequence[ModelConfig], tokens_per_param: Sequence[float]
) -> tuple[Cell, ...]:
    """Every model trained at every ratio of tokens to total parameters, each from scratch."""
    cells = []
    for model, ratio in itertools.product(models, tokens_per_param):
        run = run_of(model)
        tokens = round_tokens(ratio * params(model).total, run.batch_tokens)
        cells.append(Cell(run=replace(run, tokens=tokens)))
    return chain(cells)


def pin(study: Study, pinned: Callable[[DataConfig], DataConfig]) -> Study:
    """The study on prepared data: `pinned` gives each data set its content hash.

    The content is part of a run's identity, so trunks are renamed with it.
    """
    data = {config: pinned(config) for config in study.datasets}
    renamed: dict[str, str] = {}
    cells: list[Cell] = []
    for cell in trunks_first(study.cells):
        trunk = cell.run.trunk and replace(cell.run.trunk, run_id=renamed[cell.run.trunk.run_id])
        run = replace(cell.run, data=data[cell.run.data], trunk=trunk)
        renamed[run_id(cell.run)] = run_id(run)
        cells.append(replace(cell, run=run))
    return replace(study, cells=tuple(cells))


def trunks_first(cells: Iterable[Cell]) -> list[Cell]:
    """The cells in an order in which every trunk precedes its branches."""
    cells = list(cells)
    by_id = {run_id(cell.run): cell for cell in cells}
    ordered: dict[str, Cell] = {}

    def visit(cell: Cell) -> None:
        if cell.run.trunk and cell.run.trunk.run_id not in ordered:
            visit(by_id[cell.run.trunk.run_id])
        ordered.setdefault(run_id(cell.run), cell)

    for cell in cells:
        visit(cell)
    return list(ordered.values())


def manifest(study: Study) -> dict[str, Any]:
    """All that analysis and launchers need to know of a study, as plain data."""
    words = ("name", "question", "published", "shows", "cannot_show", "forecast_flops")
    kept = starts(study)
    runs = [
        {
            "run_id": (name := run_id(cell.run)),
            "role": cell.role,
            "budget": cell.budget,
            "arm": cell.arm,
            "keep_tokens": kept.get(name, ()),
            "config": to_dict(cell.run),
        }
        for cell in study.cells
    ]
    return {**{word: getattr(study, word) for word in words}, "placement": to_dict(study.placement), "runs": runs}


def starts(study: Study) -> dict[str, tuple[int, ...]]:
    """Of each trunk the tokens at which its branches leave it: its checkpoints there are kept."""
    found: dict[str, set[int]] = {}
    for run in study.runs:
        if run.trunk:
            found.setdefault(run.trunk.run_id, set()).add(run.trunk.tokens)
    return {name: tuple(sorted(tokens)) for name, tokens in found.items()}


def _varied(base: RunConfig, axes: Iterable[str], values: Iterable[Any]) -> Cell:
    for path, value in zip(axes, values, strict=True):
        base = vary(base, path, value)
    return Cell(run=base)


def _decay_start(tokens: int, fraction: float, step: int) -> int:
    """Where a cooldown over the last `fraction` begins, in tokens, on a step; at least one step before the end."""
    steps = tokens // step
    return max(1, steps - max(1, round(fraction * steps))) * step


def _tokens_bought(run: RunConfig, budget: float) -> int:
    return round_tokens(budget / flops_per_token(run.model, run.objective).exact, run.batch_tokens)


def _affordable(
    run_of: Callable[[ModelConfig], RunConfig], models: Sequence[ModelConfig], budget: float, count: int
) -> list[ModelConfig]:
    """The models that a budget trains for at least MIN_STEPS, smallest first; raise if they are fewer than `count`."""
    runs = {model: run_of(model) for model in sorted(models, key=lambda model: params(model).total)}
    steps = {model: _tokens_bought(run, budget) // run.batch_tokens for model, run in runs.items()}
    found = [model for model in runs if steps[model] >= MIN_STEPS]
    if len(found) < count:
        smallest = next(iter(runs), None)
        bought = f"; the smallest, of {params(smallest).total:,} parameters, gets {steps[smallest]}" if smallest else ""
        raise ValueError(
            f"budget {budget:.3g} FLOPs: {len(found)} of {len(runs)} sizes get at least {MIN_STEPS} steps, but an "
            f"isoFLOP curve takes {count}{bought}. Raise the budget, shrink the batch, or add smaller sizes"
        )
    return found


def _window(
    run_of: Callable[[ModelConfig], RunConfig], models: Sequence[ModelConfig], budget: float, count: int, ratio: float
) -> Sequence[ModelConfig]:
    """Of models in order of size, the `count` neighbours whose middle is nearest to `ratio` tokens a parameter."""
    bought = [budget / flops_per_token(model, run_of(model).objective).exact for model in models]
    off = [math.log(tokens / params(model).total / ratio) for model, tokens in zip(models, bought, strict=True)]
    starts = range(len(models) - count + 1)
    best = min(starts, key=lambda start: abs(off[start] + off[start + count - 1]))
    return models[best : best + count]


def _with_budgets(cells: Iterable[Cell], budgets: Mapping[int, float]) -> list[Cell]:
    return [cell if cell.role == "trunk" else replace(cell, budget=budgets[cell.run.tokens]) for cell in cells]

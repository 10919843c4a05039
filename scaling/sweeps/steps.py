"""The steps of a sweep that is written in a file: the same functions by the same names, and nothing is executed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scaling.config import DataConfig, RunConfig
from scaling.config.fields import frozen, strict
from scaling.sizes import Ladder
from scaling.sizes import models as ladder_models
from scaling.sweeps import algebra, budgets, formulas, halving, search
from scaling.sweeps.nodes import FileError, Node
from scaling.sweeps.rows import Sweep, sweep_of


@dataclass(frozen=True)
class Trained:
    """What `successive_halving` goes by."""

    losses: Mapping[str, float | None]  # by run id; None for a run that diverged
    prepared: Callable[[DataConfig], DataConfig]  # data with their content, as far as they are prepared: ids hold it


NOTHING = Trained(losses={}, prepared=lambda data: data)


@dataclass(frozen=True)
class Known:
    """What steps may look up: the run that all begin with, and what is trained."""

    base: RunConfig
    trained: Trained
    later: list[int] = field(default_factory=list)  # runs that steps leave to be decided by losses; they add to it


def follow(sweep: Sweep, steps: Node, known: Known) -> Sweep:
    """The sweep after all steps of a list, each of which is a table of one name and what it takes."""
    for step in steps.items():
        if not isinstance(step.value, dict) or len(step.value) != 1:
            step.fail(f"{step.value!r} is no step; give one of {', '.join(STEPS)} and what it takes")
        ((name, given),) = step.table(STEPS).items()
        try:
            sweep = STEPS[name](sweep, given, known)
        except FileError:
            raise
        except ValueError as error:
            given.fail(str(error))
    return sweep


def _grid(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return algebra.grid(sweep, _axes(given, known))


def _zipped(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return algebra.zipped(sweep, _axes(given, known))


def _chain(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return _dropped_once(sweep, algebra.chain(*(follow(sweep, steps, known) for steps in given.items())))


def _product(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return _dropped_once(sweep, algebra.product(*(follow(sweep, steps, known) for steps in given.items())))


def _where(sweep: Sweep, given: Node, known: Known) -> Sweep:
    keep, reason = formulas.condition(given, known.base)
    return algebra.where(sweep, keep, reason)


def _valid(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return algebra.valid(sweep) if given.read(bool) else sweep


def _derive(sweep: Sweep, given: Node, known: Known) -> Sweep:
    for path, form in given.table().items():
        sweep = algebra.derive(sweep, path, formulas.computed(form, known.base, path))
    return sweep


@strict
@frozen
class IsoFlop:
    budgets: tuple[float, ...]
    sizes_per_budget: int = 5
    tokens_per_param: float = 20.0
    warmup_fraction: float = budgets.WARMUP_FRACTION


def _isoflop(sweep: Sweep, given: Node, known: Known) -> Sweep:
    options = vars(given.read(IsoFlop))
    return _each_size(sweep, given, lambda run_of, models: budgets.isoflop(run_of, models, **options))


@strict
@frozen
class Ratios:
    tokens_per_param: tuple[float, ...]


def _ladder(sweep: Sweep, given: Node, known: Known) -> Sweep:
    options = vars(given.read(Ratios))
    return _each_size(sweep, given, lambda run_of, models: budgets.ladder(run_of, models, **options))


def _each_size(sweep: Sweep, given: Node, make: Callable[..., Sweep]) -> Sweep:
    """What is made of the runs so far, each of another size, arm by arm."""
    arms: dict[str, dict[Any, RunConfig]] = {}
    for cell in sweep:
        runs = arms.setdefault(cell.arm, {})
        if cell.run.model in runs:
            given.fail("two runs before it have the same model, but each is to be a size; vary other fields after it")
        runs[cell.run.model] = cell.run
    made = [algebra.arm(make(runs.__getitem__, list(runs)), arm) for arm, runs in arms.items()]
    return algebra.chain(Sweep((), sweep.dropped), *made)


@strict
@frozen
class Horizons:
    horizons: tuple[float, ...]  # tokens, rounded to each run's whole steps
    warmup_fraction: float = budgets.WARMUP_FRACTION


def _branches(sweep: Sweep, given: Node, known: Known) -> Sweep:
    asked = given.read(Horizons)
    made = []
    for cell in sweep:
        horizons = [budgets.round_tokens(tokens, cell.run.batch_tokens) for tokens in asked.horizons]
        made.append(algebra.arm(budgets.branches(cell.run, horizons, asked.warmup_fraction), cell.arm))
    return algebra.chain(Sweep((), sweep.dropped), *made)


@strict
@frozen
class Shapes:
    """Of a ladder, `count` sizes from the `first`, counted from 0; None: all that follow."""

    ladder: Ladder
    first: int = 0
    count: int | None = None


def _models(sweep: Sweep, given: Node, known: Known) -> Sweep:
    """Each run at the shapes of a ladder: widths, depths and heads together."""
    asked = given.read(Shapes)
    shapes = ladder_models(asked.ladder, known.base.model.vocab, known.base.model.context)
    chosen = shapes[max(0, asked.first) :][: asked.count]
    if asked.first < 0 or not chosen or len(chosen) < (asked.count or 1):
        given.fail(f"the {asked.ladder} ladder has {len(shapes)} sizes; it ends before these, or they are none")
    return algebra.zipped(
        sweep, {f"model.{field}": [getattr(shape, field) for shape in chosen] for field in ("dim", "layers", "heads")}
    )


def _seeds(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return algebra.seeds(sweep, given.read(int | tuple[int, ...]))


def _arm(sweep: Sweep, given: Node, known: Known) -> Sweep:
    """A name, or the field whose values are the names."""
    if isinstance(given.value, str):
        return algebra.arm(sweep, given.value)
    of = given.table(("of",), required=("of",))["of"]
    path = of.read(str)
    formulas.kind_of(of, known.base, path)
    return algebra.arm(sweep, lambda row: f"{path.split('.')[-1]} {row[path]}")


def _random(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return search.random(sweep, *_searched(given, known))


def _sobol(sweep: Sweep, given: Node, known: Known) -> Sweep:
    return search.sobol(sweep, *_searched(given, known))


def _searched(given: Node, known: Known) -> tuple[dict[str, search.Range], int, int]:
    asked = given.table(("ranges", "count", "seed"), required=("ranges", "count"))
    ranges = {}
    for path, entry in asked["ranges"].table().items():
        kind = formulas.kind_of(entry, known.base, path)
        found = entry.read(search.Range)
        ranges[path] = replace(found, whole=found.whole or kind is int)
    return ranges, asked["count"].read(int), asked["seed"].read(int) if "seed" in asked else 0


@strict
@frozen
class Mixtures:
    """Of the base's parts, spread over all that can be mixed of them."""

    points: int
    seed: int = 0
    least: float = 0.0  # share of every part


def _simplex(sweep: Sweep, given: Node, known: Known) -> Sweep:
    if known.base.data.mixture is None:
        given.fail("base.data has no mixture; give it one, with its parts")
    weights = search.simplex(len(known.base.data.mixture.parts), **vars(given.read(Mixtures)))
    return algebra.grid(sweep, {"data.mixture.weights": weights})


@strict
@frozen
class Halvings:
    shortest: float
    longest: float
    factor: int = 3


def _successive_halving(sweep: Sweep, given: Node, known: Known) -> Sweep:
    rungs = halving.successive_halving(sweep, **vars(given.read(Halvings)))
    candidates = [
        replace(cell, run=replace(cell.run, data=known.trained.prepared(cell.run.data))) for cell in rungs.candidates
    ]
    prepared = replace(sweep_of(candidates), dropped=sweep.dropped)
    rungs = replace(rungs, candidates=prepared)
    known.later.append(halving.undecided(rungs, known.trained.losses))
    return halving.decided(rungs, known.trained.losses)


def _axes(given: Node, known: Known) -> dict[str, list[Any]]:
    axes = {}
    for path, values in given.table().items():
        kind = formulas.kind_of(values, known.base, path)
        axes[path] = [value.read(kind) for value in values.items()]
    return axes


def _dropped_once(before: Sweep, made: Sweep) -> Sweep:
    """What sweeps that went on from one dropped, that one's own rows once."""
    return replace(made, dropped=(*before.dropped, *(row for row in made.dropped if row not in before.dropped)))


STEPS: dict[str, Callable[[Sweep, Node, Known], Sweep]] = {
    "grid": _grid,
    "zipped": _zipped,
    "chain": _chain,
    "product": _product,
    "where": _where,
    "valid": _valid,
    "derive": _derive,
    "models": _models,
    "isoflop": _isoflop,
    "ladder": _ladder,
    "branches": _branches,
    "seeds": _seeds,
    "arm": _arm,
    "random": _random,
    "sobol": _sobol,
    "simplex": _simplex,
    "successive_halving": _successive_halving,
}

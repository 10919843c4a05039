"""Sweeps over sizes and horizons: what a budget buys, and trunks with their cooldown branches."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from scaling.config import ModelConfig, RunConfig, ScheduleConfig, Trunk, run_id
from scaling.counts import flops_per_token, params, train_flops
from scaling.plan import Cell, Dropped
from scaling.sweeps.algebra import arm, chain
from scaling.sweeps.rows import Runs, Sweep, sweep_of

WARMUP_FRACTION = 0.02  # of the horizon; of the shortest one, for runs that share a trunk
MIN_STEPS = 20  # a shorter run is all warm-up and cooldown


def round_tokens(tokens: float, batch_tokens: int) -> int:
    """The nearest whole number of steps, at least one, in tokens."""
    if batch_tokens < 1:
        raise ValueError(f"round_tokens: a step of {batch_tokens} tokens; give a positive batch")
    return max(1, round(tokens / batch_tokens)) * batch_tokens


def branches(runs: Runs, horizons: Sequence[int], warmup_fraction: float = WARMUP_FRACTION) -> Sweep:
    """For each run, one constant-rate trunk and a cooldown branch from it for every horizon (WSD).

    runs: their tokens, schedules and trunks are replaced. horizons: tokens, the
    trunk's part included. Warm-up is shared by all branches, so it is a
    fraction of the shortest. The trunk ends where the longest branch leaves it.
    Stages of a mixture are the branches' alone: one with start = 1 -
    decay_fraction begins with the cooldown; an earlier one is refused.
    """
    if not isinstance(runs, RunConfig):
        sweep = sweep_of(runs)
        made = chain(*(arm(branches(cell.run, horizons, warmup_fraction), cell.arm) for cell in sweep))
        return replace(made, dropped=sweep.dropped)
    if not horizons:
        raise ValueError("branches: no horizons; give at least one number of tokens")
    cooled, constant = wsd(runs, min(horizons), warmup_fraction)
    leave = {tokens: decay_start(runs, cooled, tokens) for tokens in horizons}
    trunk = replace(runs, tokens=max(leave.values()), schedule=constant, trunk=None, data=runs.data.before_stages)
    trunk_id = run_id(trunk)
    ends = (
        replace(runs, tokens=tokens, schedule=cooled, trunk=Trunk(run_id=trunk_id, tokens=leave[tokens]))
        for tokens in horizons
    )
    return sweep_of([Cell(run=trunk, role="trunk"), *(Cell(run=branch) for branch in ends)])


def isoflop(
    run_of: Callable[[ModelConfig], RunConfig],
    models: Sequence[ModelConfig],
    budgets: Sequence[float],
    *,
    sizes_per_budget: int = 5,
    tokens_per_param: float = 20.0,
    warmup_fraction: float = WARMUP_FRACTION,
) -> Sweep:
    """For each budget, models of several sizes trained on it, all branches of one trunk a size.

    run_of: the run of a model; its tokens are replaced. Of `models`, each
    budget takes the `sizes_per_budget` neighbours whose middle lies nearest
    to the expected optimum `tokens_per_param` (total parameters). FLOPs are
    counted from the matrix products, attention and head included. Sizes that
    would lie nearer but get fewer than MIN_STEPS steps are dropped.
    """
    models = sorted(models, key=lambda model: params(model).total)
    horizons: dict[ModelConfig, dict[int, float]] = {}
    dropped: list[Dropped] = []
    for budget in sorted(budgets):
        steps = {model: _tokens_bought(run_of(model), budget) // run_of(model).batch_tokens for model in models}
        affordable = _affordable(steps, budget, sizes_per_budget)
        wanted = _window(run_of, models, budget, sizes_per_budget, tokens_per_param)
        dropped += [_too_short(model, budget, steps[model]) for model in wanted if model not in affordable]
        for model in _window(run_of, affordable, budget, sizes_per_budget, tokens_per_param):
            horizons.setdefault(model, {})[_tokens_bought(run_of(model), budget)] = budget
    made = (
        _with_budgets(branches(run_of(model), list(of_model), warmup_fraction), of_model)
        for model, of_model in horizons.items()
    )
    return replace(chain(*made), dropped=tuple(dropped))


def repeated(
    cells: Iterable[Cell], seeds: Iterable[int], *, count: int = 2, warmup_fraction: float = WARMUP_FRACTION
) -> Sweep:
    """The cheapest cells of an isoFLOP sweep's middle size again, on other seeds: what noise looks like.

    The size is the middle one of the smallest budget; `count` of its cells,
    the shortest, are repeated, with the same warm-up, from a trunk for each seed.
    """
    points = [cell for cell in cells if cell.role == "cell"]
    if not points:
        return chain()
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
) -> Sweep:
    """Every model trained at every ratio of tokens to total parameters, each from scratch."""
    cells = []
    for model, ratio in itertools.product(models, tokens_per_param):
        run = run_of(model)
        tokens = round_tokens(ratio * params(model).total, run.batch_tokens)
        cells.append(Cell(run=replace(run, tokens=tokens)))
    return chain(cells)


def costliest(cells: Iterable[Cell]) -> float:
    """Training FLOPs of the longest of the runs, counted from the matrix products; 0 where there are none."""
    return max((train_flops(cell.run.model, cell.run.tokens, cell.run.objective).exact for cell in cells), default=0.0)


def wsd(run: RunConfig, shortest: int, warmup_fraction: float) -> tuple[ScheduleConfig, ScheduleConfig]:
    """The schedules of the branches and of their trunk; warm-up is a fraction of the shortest horizon."""
    warmup = round_tokens(warmup_fraction * shortest, run.batch_tokens)
    cooled = replace(run.schedule, kind="wsd", warmup_tokens=warmup)
    return cooled, replace(cooled, kind="constant", final_share=0.0)


def decay_start(run: RunConfig, schedule: ScheduleConfig, tokens: int) -> int:
    """Where the cooldown of a horizon begins, in tokens, on a step; at least one step before the end."""
    steps = tokens // run.batch_tokens
    return max(1, steps - max(1, round(schedule.decay_fraction * steps))) * run.batch_tokens


def _tokens_bought(run: RunConfig, budget: float) -> int:
    return round_tokens(budget / flops_per_token(run.model, run.objective).exact, run.batch_tokens)


def _affordable(steps: Mapping[ModelConfig, int], budget: float, count: int) -> list[ModelConfig]:
    """The models, smallest first, that get at least MIN_STEPS steps; raise if they are fewer than `count`."""
    found = [model for model in steps if steps[model] >= MIN_STEPS]
    if len(found) < count:
        smallest = next(iter(steps), None)
        bought = f"; the smallest, of {params(smallest).total:,} parameters, gets {steps[smallest]}" if smallest else ""
        raise ValueError(
            f"budget {budget:.3g} FLOPs: {len(found)} of {len(steps)} sizes get at least {MIN_STEPS} steps, but an "
            f"isoFLOP curve takes {count}{bought}. Raise the budget, shrink the batch, or add smaller sizes"
        )
    return found


def _too_short(model: ModelConfig, budget: float, steps: int) -> Dropped:
    return Dropped(
        row=f"budget {budget:.3g}, {params(model).total:,} parameters",
        reason=f"{steps} steps, fewer than {MIN_STEPS}: it would be all warm-up and cooldown",
    )


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

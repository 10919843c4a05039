"""Successive halving: many runs for a short time, the best of them for longer, and again."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scaling.config import RunConfig, Trunk, run_id
from scaling.plan import Cell
from scaling.sweeps.algebra import arm, chain
from scaling.sweeps.budgets import WARMUP_FRACTION, decay_start, round_tokens, wsd
from scaling.sweeps.rows import Runs, Sweep, sweep_of


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How many runs are trained to a horizon."""

    runs: int
    tokens: float  # rounded to each run's whole steps


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Candidates and rungs, the shortest first: the first trains all, each further one the best of the one before.

    (Jamieson & Talwalkar 2016, arXiv:1502.07943.) A candidate's trunk goes on
    from rung to rung, and each rung's loss is that of a cooldown of its own,
    so that nothing is judged in the middle of its schedule.
    """

    candidates: Sweep
    rungs: tuple[Rung, ...]
    warmup_fraction: float = WARMUP_FRACTION  # of the first rung's horizon


def successive_halving(runs: Runs, *, shortest: float, longest: float, factor: int = 3) -> Halving:
    """Rungs from `shortest` to `longest` tokens, each `factor` times as long for a `factor`-th of the runs.

    They end early when one run is left. Raises ValueError for a factor below
    2, or runs that are branches of a trunk already.
    """
    sweep = sweep_of(runs)
    if factor < 2:
        raise ValueError(f"successive_halving: factor={factor}; give at least 2")
    if not 0 < shortest <= longest:
        raise ValueError(
            f"successive_halving: shortest={shortest:g}, longest={longest:g}; give 0 < shortest <= longest"
        )
    if any(cell.run.trunk or cell.role == "trunk" for cell in sweep):
        raise ValueError("successive_halving: its rungs have trunks of their own; give it runs without branches")
    # The logarithm is rounded up by less than a run could tell, so that 3^5 is reached from 1 in five.
    most = math.floor(math.log(longest / shortest, factor) + 1e-9)
    rungs = [
        Rung(runs=max(1, len(sweep) // factor**level), tokens=shortest * factor**level) for level in range(most + 1)
    ]
    alone = next((level for level, rung in enumerate(rungs) if rung.runs == 1), most)
    return Halving(candidates=sweep, rungs=tuple(rungs[: alone + 1]))


def decided(halving: Halving, losses: Mapping[str, float | None]) -> Sweep:
    """The runs of all rungs that are decided: the first, and those after a rung whose every loss is known.

    losses: by run id, as far as they are known; a run that diverged has None,
    nan or infinity, and never goes on. Of equal losses the earlier candidate
    goes on. With more losses the runs given before stay as they are.
    """
    found = [arm(sweep_of(pair), name) for level in _rungs(halving, losses) for pair, name in level]
    return replace(chain(*found), dropped=halving.candidates.dropped)


def undecided(halving: Halving, losses: Mapping[str, float | None]) -> int:
    """How many runs, at most, are in the rungs that `decided` has not come to: those that diverge go no further."""
    return sum(rung.runs for rung in halving.rungs[len(list(_rungs(halving, losses))) :])


def _rungs(halving: Halving, losses: Mapping[str, float | None]) -> Iterator[list[tuple[tuple[Cell, Cell], str]]]:
    """Of each rung that is decided its trunks and ends, with their arms."""
    going_on = list(halving.candidates)
    for level, rung in enumerate(halving.rungs):
        ends, pairs = {}, []
        for candidate in _best(going_on, rung.runs, losses, halving, level) if level else going_on:
            pair = _to_rung(candidate.run, halving, level)
            pairs.append((pair, candidate.arm))
            ends[run_id(pair[1].run)] = candidate
        yield pairs
        going_on = list(ends.values())
        if any(name not in losses for name in ends):
            return


def _best(
    candidates: list[Cell], count: int, losses: Mapping[str, float | None], halving: Halving, level: int
) -> list[Cell]:
    """Those with the lowest losses on the rung before `level`, in their order."""
    reached = [losses[run_id(_to_rung(candidate.run, halving, level - 1)[1].run)] for candidate in candidates]
    finite = [place for place, loss in enumerate(reached) if loss is not None and math.isfinite(loss)]
    return [candidates[place] for place in sorted(sorted(finite, key=reached.__getitem__)[:count])]


def _to_rung(run: RunConfig, halving: Halving, level: int) -> tuple[Cell, Cell]:
    """A candidate's trunk as far as the rung's cooldown, following that of the rung before, and the cooldown."""
    horizons = [round_tokens(rung.tokens, run.batch_tokens) for rung in halving.rungs[: level + 1]]
    cooled, constant = wsd(run, horizons[0], halving.warmup_fraction)
    leave = [decay_start(run, cooled, tokens) for tokens in horizons]
    follows = None
    for tokens in leave:
        trunk = replace(run, tokens=tokens, schedule=constant, trunk=follows, data=run.data.before_stages)
        follows = Trunk(run_id=run_id(trunk), tokens=tokens)
    end = replace(run, tokens=horizons[-1], schedule=cooled, trunk=follows)
    return Cell(run=trunk, role="trunk"), Cell(run=end)

"""Which arm does best at each budget: an order that turns as the budget grows is the answer to many a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from analysis.compared_arm import ComparedArm
from analysis.tables.table import column


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The arms that have runs at a budget, by the lowest loss of theirs; seeds of one cell are averaged."""

    objective: str
    budget: float  # FLOPs, as planned
    losses: tuple[tuple[str, float], ...]  # the lowest first

    @property
    def best(self) -> str:
        return self.losses[0][0]

    @property
    def lead(self) -> float:
        """By how much the second's loss is higher, as a share of the best's."""
        return self.losses[1][1] / self.losses[0][1] - 1


def rankings(arms: Sequence[ComparedArm]) -> tuple[Ranking, ...]:
    """One for each budget that two or more arms of an objective were planned for, the smallest budget first."""
    found = []
    for objective in dict.fromkeys(arm.objective for arm in arms):
        losses = {arm.name: lowest(arm) for arm in arms if arm.objective == objective}
        for budget in sorted({budget for of in losses.values() for budget in of}):
            order = sorted((of[budget], name) for name, of in losses.items() if budget in of)
            if len(order) > 1:
                ranked = tuple((name, loss) for loss, name in order)
                found.append(Ranking(objective=objective, budget=budget, losses=ranked))
    return tuple(found)


def lowest(arm: ComparedArm) -> dict[float, float]:
    """The lowest loss of an arm at each of its planned budgets."""
    if "budget" not in arm.best.column_names:
        return {}
    budget, params, tokens, loss = (column(arm.best, name) for name in ("budget", "params", "tokens", "loss"))
    found: dict[float, float] = {}
    for level in np.unique(budget[np.isfinite(budget)]):
        rows = budget == level
        cells = sorted(zip(params[rows], tokens[rows], loss[rows], strict=True))
        means = [np.mean([cell[2] for cell in same]) for _, same in groupby(cells, key=lambda cell: cell[:2])]
        found[float(level)] = float(min(means))
    return found


def reign(ranked: Sequence[Ranking]) -> list[tuple[str, float, float]]:
    """The best arm, and the first and last budget of each stretch over which it is the best."""
    found = []
    for name, stretch in groupby(ranked, key=lambda item: item.best):
        budgets = [item.budget for item in stretch]
        found.append((name, budgets[0], budgets[-1]))
    return found

"""One arm of a comparison: its runs, and the line along which its loss falls.

The line is a power law without a floor: over the short range of a study a
floor is seldom told from a flatter line. Where the arm has several sizes at
each budget it goes through the isoFLOP minima, else through all runs, if
they are one series: of one size, of one length, or growing together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from analysis.analyse import NotDone
from analysis.bootstrap import bootstrap
from analysis.fit import fit
from analysis.isoflop import LEAST_SIZES, IsoFlop, PowerLaw, groups, isoflop
from analysis.laws import power_law
from analysis.learning_rates import tuned
from analysis.tables.table import column
from analysis.words import Estimate, plural

T = TypeVar("T")

LEAST_POINTS = 4  # distinct values for a line: two parameters, and two points to see whether they lie on it
SAME = 1.02  # counts that differ by less are equal: runs end on whole steps


@dataclass(frozen=True, kw_only=True)
class ComparedArm:
    """The runs of one arm by one objective, and what they say alone."""

    name: str  # of this arm alone: with its objective where the study has the arm by several
    arm: str  # as the study calls it
    objective: str  # "" where the table does not say
    table: pa.Table  # its usable runs
    best: pa.Table  # of runs that differ in their learning rate alone, the best
    isoflop: IsoFlop | None  # where it has budgets with enough sizes
    line: PowerLaw | None  # loss against the comparison's x
    points: np.ndarray  # (2, n) x and loss that the line goes through: runs, or isoFLOP minima


def compared(part: pa.Table, x: str, not_done: list[NotDone], *, draws: int, seed: int) -> ComparedArm:
    first = part.slice(0, 1).to_pylist()[0]
    best = tuned(part)
    minima = None
    if x != "tokens" and max(len(set(column(best, "params")[rows])) for rows in groups(best).values()) >= LEAST_SIZES:
        minima = attempt(f"{first['arm']}: isoFLOP minima", not_done, lambda: isoflop(best, draws=draws, seed=seed))
    if minima and x == "flops":
        usable = minima.usable
        points = np.array([[m.flops for m in usable], [m.loss for m in usable]]).reshape(2, -1)
        line = minima.loss
        if line is None:
            why = f"{len(usable)} of {plural(len(minima.minima), 'budget')} have a usable minimum; a line needs 2"
            not_done.append(NotDone(part=f"{first['arm']}: line through the minima", reason=why))
    else:
        points = np.stack([column(best, x), column(best, "loss")])
        line = attempt(f"{first['arm']}: line", not_done, lambda: line_through(best, x, draws, seed))
    return ComparedArm(
        name=first["arm"], arm=first["arm_in_study"], objective=first.get("objective") or "", table=part, best=best,
        isoflop=minima, line=line, points=points,
    )  # fmt: skip


def line_through(runs: pa.Table, x: str, draws: int, seed: int) -> PowerLaw:
    """loss = a x^b through the runs, with the intervals of a bootstrap."""
    values = column(runs, x)
    distinct = _distinct(values)
    if distinct < LEAST_POINTS:
        raise ValueError(f"{plural(distinct, 'distinct value')} of {axis_name(x)}; a line needs {LEAST_POINTS}")
    if not _follows(values, column(runs, "tokens")) or not _follows(values, column(runs, "params")):
        raise ValueError(
            "runs of several sizes and lengths, but too few sizes at any one budget for isoFLOP minima: a line "
            f"through all of them would say which were trained; train {LEAST_SIZES} sizes at a budget"
        )
    result = fit(power_law("loss", x), runs)
    boot = bootstrap(result, draws=draws, seed=seed)
    low, high = boot.conf_int()["b"]
    exponent = Estimate(value=result.params["b"], low=low, high=high)
    return PowerLaw(coefficient=result.params["a"], exponent=exponent, draws=boot.theta)


def _distinct(values: np.ndarray) -> int:
    logs = np.sort(np.log(values))
    return 1 + int((np.diff(logs) > np.log(SAME)).sum()) if len(logs) else 0


def _follows(x: np.ndarray, other: np.ndarray) -> bool:
    """Whether `other` never falls while x rises: then the runs are one series, and not a cloud."""
    order = np.lexsort((other, x))
    return bool(np.all(np.diff(np.log(other[order])) > -np.log(SAME)))


def common_axis(table: pa.Table) -> str:
    """params where all runs saw as many tokens and differ in size, tokens where none took FLOPs, else flops."""
    if not table.num_rows:
        return "flops"
    tokens, params = column(table, "tokens"), column(table, "params")
    alike = tokens.max() <= SAME * tokens.min()
    if alike and params.max() > SAME * params.min():
        return "params"
    return "flops" if column(table, "flops").any() else "tokens"


def axis_name(x: str) -> str:
    return {"flops": "FLOPs", "params": "parameters", "tokens": "tokens"}[x]


def axis_letter(x: str) -> str:
    """In formulas."""
    return {"flops": "C", "params": "N", "tokens": "D"}[x]


def attempt(part: str, not_done: list[NotDone], work: Callable[[], T]) -> T | None:
    try:
        return work()
    except ValueError as error:
        not_done.append(NotDone(part=part, reason=str(error)))
        return None

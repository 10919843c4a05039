"""The ways to the compute-optimal size, side by side, each with its interval and its known bias.

Hoffmann et al. 2022 (arXiv:2203.15556) call the lower envelope approach 1, the
isoFLOP parabolas approach 2 and the fitted surface approach 3; Porian et al.
2024 (arXiv:2406.19146) interpolate instead of fitting parabolas. Where the four
agree, the answer does not hang on the method; where they do not, believe no
single interval.

    >>> from analysis.tables.table import read_table
    >>> sizes, budgets = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.2, 5, 5), [1e18, 1e19, 1e20]))
    >>> params = sizes * (budgets / 120) ** 0.5
    >>> loss = 50 * budgets**-0.06 * (1 + 0.02 * np.log(sizes) ** 2)
    >>> found = compare(read_table({"N": params, "D": budgets / 6 / params, "C": budgets, "L": loss}), draws=10)
    >>> [(result.name, result.exponent and round(result.exponent.value, 1)) for result in found]
    [('envelope', 0.5), ('isoflop', 0.5), ('surface', None), ('interpolation', 0.5)]
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.envelope import Envelope, envelope
from analysis.interpolate import Interpolation, interpolation
from analysis.isoflop import IsoFlop, PowerLaw, groups, isoflop
from analysis.tables.table import column
from analysis.words import Estimate, counts, interval, percent, plural

REACH = 10.0  # the target lies so far beyond the largest run when none is given
NAMES = ("envelope", "isoflop", "surface", "interpolation")  # short and stable


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """What one method says. Without an answer the estimates are None, and `reason` says why."""

    name: str  # one of NAMES
    title: str
    exponent: Estimate | None  # a in N* = G C^a
    params_at_largest: Estimate | None  # N* at the largest budget trained
    params_at_target: Estimate | None
    budgets: int  # that the power law goes through; all of them for the surface
    tried: int  # budgets of the table
    bias: str  # known bias, in one sentence
    reason: str = ""

    def describe(self) -> str:
        """One line: the exponent with its interval, or why there is none."""
        if self.exponent is None:
            return f"{self.title}: not done: {self.reason}"
        used = f"{self.budgets} of {plural(self.tried, 'budget')}"
        return f"{self.title}: a = {interval(self.exponent)}, N* {counts(self.params_at_target)} at the target ({used})"


def compare(
    table: pa.Table,
    *,
    approach3: tuple[Estimate, Estimate, Estimate] | None = None,
    target_flops: float | None = None,
    noise: float | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> tuple[MethodResult, ...]:
    """Approach 1, 2, 3 and interpolation on one table, in this order.

    approach3: the surface's exponent, N* at the largest budget and N* at the
    target; None when it is not fitted. target_flops: ten times the largest run
    when None. noise: standard deviation of one run's ln loss, for approach 1 and
    the interpolation; estimated when None. The same table and seed give the same result.
    """
    flops, loss = column(table, "flops"), column(table, "loss")
    target, tried = target_flops or REACH * float(flops.max()), len(groups(table))
    at = (max(groups(table)), target)
    nats = None if noise is None else noise * float(np.median(loss))
    return (
        _attempt("envelope", "lower envelope (approach 1)", CURSE, at, tried,
                 lambda: _envelope(envelope(table, noise=noise, draws=draws, seed=seed))),
        _attempt("isoflop", "isoFLOP parabolas (approach 2)", PARABOLA, at, tried,
                 lambda: _isoflop(isoflop(table, draws=draws, seed=seed))),
        _surface(approach3, tried),
        _attempt("interpolation", "isoFLOP interpolation (Porian)", DENSE, at, tried,
                 lambda: _interpolation(interpolation(table, noise=nats, draws=draws, seed=seed))),
    )  # fmt: skip


CURSE = (
    "winner's curse: the lowest of several noisy losses is too low and often the noisiest, and only sizes that were "
    "tried can win"
)
PARABOLA = (
    "a parabola is not the true curve: exponent and minima are off by 0.3 to 4%, and by more where the sizes are not "
    "centred on the optimum or spread far from it"
)
FORM = "right only if the law has the right form; a few outliers, and Huber's delta, move it"
DENSE = (
    "needs dense sizes: the noise of single runs moves the minimum, and budgets whose minimum is at an edge drop out"
)


def _attempt(
    name: str,
    title: str,
    bias: str,
    at: tuple[float, float],
    tried: int,
    work: Callable[[], tuple[PowerLaw | None, int, str, str]],
) -> MethodResult:
    """work: the power law of N*, how many budgets it goes through, why there is none, and more about the bias."""
    try:
        law, used, missing, more = work()
    except ValueError as error:
        law, used, missing, more = None, 0, str(error), ""
    return MethodResult(
        name=name,
        title=title,
        exponent=law.exponent if law else None,
        params_at_largest=law.at(at[0]) if law else None,
        params_at_target=law.at(at[1]) if law else None,
        budgets=used,
        tried=tried,
        bias=bias + more,
        reason="" if law else missing,
    )


def _surface(found: tuple[Estimate, Estimate, Estimate] | None, tried: int) -> MethodResult:
    exponent, largest, target = found or (None, None, None)
    return MethodResult(
        name="surface",
        title="loss surface (approach 3)",
        exponent=exponent,
        params_at_largest=largest,
        params_at_target=target,
        budgets=tried if found else 0,
        tried=tried,
        bias=FORM,
        reason="" if found else "these runs do not determine the surface",
    )


def _envelope(found: Envelope) -> tuple[PowerLaw | None, int, str, str]:
    used = len(found.usable)
    more = f" (here the losses by about {percent(found.curse)})" if np.isfinite(found.curse) else ""
    return found.params, used, _too_few(used, [winner.rejected for winner in found.winners]), more


def _isoflop(found: IsoFlop) -> tuple[PowerLaw | None, int, str, str]:
    used = len(found.usable)
    off = float(np.mean([minimum.off_centre for minimum in found.usable])) if used else 0.0
    more = f" (here the minima lie {off:.0%} of the way from the middle to an end)" if used else ""
    return found.params, used, _too_few(used, [minimum.rejected for minimum in found.minima]), more


def _interpolation(found: Interpolation) -> tuple[PowerLaw | None, int, str, str]:
    used = len(found.usable)
    return found.params, used, _too_few(used, [valley.rejected for valley in found.valleys]), ""


def _too_few(used: int, rejected: list[str]) -> str:
    reasons = list(dict.fromkeys(filter(None, rejected)))
    return f"{plural(used, 'usable budget')}; a power law needs 2" + (f" ({reasons[0]})" if reasons else "")

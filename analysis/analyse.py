"""Everything a study's runs say, in one call; what cannot be done is said, and hides nothing else."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from analysis import laws
from analysis.backtest import Backtest, backtest
from analysis.bootstrap import percentiles
from analysis.cautions import cautions
from analysis.design import Recommendation, recommend
from analysis.doubt import Doubt
from analysis.forecast import Forecast, forecast
from analysis.frontier import optimum
from analysis.isoflop import IsoFlop, groups, isoflop
from analysis.law import Law
from analysis.methods import MethodResult, compare
from analysis.surface import REACH, Surface, fit_surface
from analysis.tables.table import Manifest, Selection, column, select
from analysis.words import Estimate, plural

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class NotDone:
    part: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The result. A part that could not be computed is None, with its reason in `not_done`."""

    selection: Selection
    surface: Surface | None
    isoflop: IsoFlop | None
    forecast: Forecast | None
    target: float | None  # FLOPs that the forecast is for
    trend: Estimate | None  # loss at the target by the isoFLOP minima alone: a power law without a floor
    methods: tuple[MethodResult, ...]  # empty unless thorough, as the next two
    backtest: Backtest | None
    recommended: Recommendation | None
    not_done: tuple[NotDone, ...]
    warnings: tuple[Doubt, ...]
    seed: int
    draws: int

    @property
    def table(self) -> pa.Table:
        """The runs that were fitted."""
        return self.selection.table

    @property
    def law(self) -> Surface | None:
        """The surface, if these runs determine it: what may be stated as an answer."""
        return self.surface if self.surface and not self.surface.undetermined else None


def analyse(
    table: pa.Table,
    *,
    law: Law = laws.chinchilla,
    forecast_flops: float | None = None,
    manifest: Manifest | None = None,
    seed: int = 0,
    draws: int = 1000,
    drop_incomplete: bool = False,
    trust_flops: bool = False,
    thorough: bool = False,
    forms: Sequence[Law] | None = None,
) -> Analysis:
    """Select the usable runs, fit both ways, and forecast.

    law: of columns params and tokens. forecast_flops: budget to forecast; else
    the manifest's, else ten times the largest run. seed: of the bootstrap. The
    same table and seed give the same result. drop_incomplete, trust_flops: see
    `analysis.tables.selection`. thorough: all methods side by side,
    the back-test of several laws (`forms`), and the runs to train next; some seconds more.
    """
    selection = select(table, manifest, drop_incomplete=drop_incomplete, trust_flops=trust_flops)
    runs = selection.table
    not_done: list[NotDone] = []
    with ThreadPoolExecutor(1) as beside:
        # The back-test compiles laws of its own for most of its time: beside the rest it takes little more.
        pending = beside.submit(backtest, runs, forms) if thorough and runs.num_rows else None
        surface = _attempt("surface fit", not_done, lambda: fit_surface(runs, law, seed=seed, draws=draws))
        minima = _attempt("isoFLOP minima", not_done, lambda: isoflop(runs, draws=draws, seed=seed))
        if minima and minima.params is None:
            usable = f"{len(minima.usable)} of {plural(len(minima.minima), 'budget')} have a usable minimum"
            not_done.append(NotDone(part="isoFLOP power law", reason=f"{usable}; a power law needs 2"))
        ahead = trend = target = None
        if runs.num_rows:
            largest = float(column(runs, "flops").max())
            target = forecast_flops or (manifest and manifest.forecast_flops) or REACH * largest
            trend = minima.loss.at(target) if minima and minima.loss else None
            ahead = _attempt("forecast", not_done, lambda: _forecast(surface, target, largest))
        methods, tested, next_runs = (), None, None
        if pending:
            methods = _attempt("methods", not_done, lambda: _methods(runs, surface, target, seed, draws)) or ()
            next_runs = _attempt("next runs", not_done, lambda: _recommend(runs, surface, target))
            tested = _attempt("back-test", not_done, pending.result)
    return Analysis(
        selection=selection,
        surface=surface,
        isoflop=minima,
        forecast=ahead,
        target=target,
        trend=trend,
        methods=methods,
        backtest=tested,
        recommended=next_runs,
        not_done=tuple(not_done),
        warnings=(*selection.doubts, *cautions(runs, surface, minima), *(ahead.warnings if ahead else ())),
        seed=seed,
        draws=draws,
    )


def _attempt(part: str, not_done: list[NotDone], work: Callable[[], T]) -> T | None:
    try:
        return work()
    except ValueError as error:
        not_done.append(NotDone(part=part, reason=str(error)))
        return None


def _determined(surface: Surface | None) -> Surface:
    if surface is None:
        raise ValueError("needs the surface fit")
    if surface.undetermined:
        raise ValueError("these runs do not determine the law")
    return surface


def _forecast(surface: Surface | None, flops: float, largest: float) -> Forecast:
    surface = _determined(surface)
    return forecast(surface.boot, surface.kappa, flops, largest)


def _methods(runs: pa.Table, surface: Surface | None, target: float, seed: int, draws: int) -> tuple[MethodResult, ...]:
    """Approach 1, 2, 3 and interpolation; the surface only where these runs determine it."""
    held = surface if surface and not surface.undetermined else None
    sizes = _best_sizes(held, (max(groups(runs)), target)) if held else None
    return compare(
        runs, approach3=(held.exponent, *sizes) if held else None, target_flops=target, seed=seed, draws=draws
    )


def _best_sizes(surface: Surface, flops: tuple[float, float]) -> tuple[Estimate, ...]:
    """N* by the surface at each of these budgets."""
    theta = np.concatenate([surface.fit.theta[None], surface.boot.theta])
    params = optimum(surface.fit.law, theta, np.array(flops), surface.kappa).params
    low, high = percentiles(params[1:])
    return tuple(
        Estimate(value=float(value), low=float(a), high=float(b))
        for value, a, b in zip(params[0], low, high, strict=True)
    )


def _recommend(runs: pa.Table, surface: Surface | None, target: float) -> Recommendation:
    """What to train next with as much compute as the largest run took."""
    held = _determined(surface)
    budget = float(column(runs, "flops").max())
    return recommend(held.boot, runs, held.kappa, budget, decision="params", target_flops=target)

"""Figures of one fit of any law: what it predicts, what it leaves over, and how sure its parameters are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.palette import ACCENT, GRID, INK, MUTED, SECOND, SERIES, budget_colours
from analysis.figures.style import (
    ROW,
    WIDE,
    band,
    count_ticks,
    dots,
    log_axes,
    new,
    styled,
    value_ticks,
)
from analysis.result import FitResult
from analysis.tables.read import frame, numbers
from analysis.words import percent, plural

MOST_PANELS = 3
SQUARE = (4.8, 4.4)
SPELLED = {"fisher": "Fisher information", "profile": "profile likelihood"}
SHOWN_SCALES, FAR_SCALES = 8.0, 12.0  # residual scales shown, where some lie beyond the second
WIDEST = 12.0  # standard errors beyond which an interval's end is cut


@styled
def curve(fit: FitResult, table: Any = None) -> Figure:
    """Data and fitted line of a law of one column, with the 95% bands of the curve and of one run.

    table: anything `analysis.tables.read.frame` takes; the rows of the fit when None.
    """
    name = single_column(fit)
    if name is None:
        raise ValueError(f"curve: {fit.law.name} has {len(fit.law.columns)} columns, {', '.join(fit.law.columns)}; "
                         "use predicted(fit, table)")  # fmt: skip
    figure, axes = new(WIDE)
    x, y = _measured(fit, table)
    x = x[name]
    log = x.min() > 0 and x.max() > 5 * x.min()
    line = np.geomspace(x.min(), x.max(), 200) if log else np.linspace(x.min(), x.max(), 200)
    law, run = (fit.predict({name: line}, interval=interval) for interval in ("law", "run"))
    axes.fill_between(line, run.low, run.high, color=GRID, alpha=0.7, linewidth=0, zorder=1, label="one run, 95%")
    band(axes, line, np.stack([law.low, law.high]))
    axes.plot(line, law.value, color=ACCENT, linewidth=1.8, label=f"{fit.law.formula}, 95% band", zorder=2)
    dots(axes, x, y, INK, "runs", label="measured")
    axes.set_xlabel(name)
    axes.set_ylabel(fit.law.target)
    if log:
        axes.set_xscale("log")
        count_ticks(axes.xaxis, *axes.get_xlim())
    if fit.law.in_log and y.max() > 3 * y.min():
        axes.set_yscale("log")
        value_ticks(axes.yaxis, y)
    axes.legend(loc="best")
    return figure


@styled
def predicted(fit: FitResult, table: Any = None) -> Figure:
    """Predicted against measured, with the line where they agree. For any law, and for rows it was not fitted to."""
    figure, axes = new(SQUARE)
    columns, y = _measured(fit, table)
    value = fit.predict(columns).value
    ends = np.array([min(y.min(), value.min()), max(y.max(), value.max())])
    log = ends[0] > 0 and ends[1] > 3 * ends[0]
    spread = percent(fit.scale) if fit.law.in_log else f"{fit.scale:.3g}"
    axes.plot(ends, ends, color=ACCENT, linewidth=1.4, zorder=2, label="agreement")
    dots(axes, y, value, _colours(columns), "runs", label=f"rows, residual scale {spread}")
    axes.set_xlabel(f"measured {fit.law.target}")
    axes.set_ylabel(f"predicted {fit.law.target}")
    if log:
        log_axes(axes, axes.get_xlabel(), axes.get_ylabel())
    for axis in (axes.xaxis, axes.yaxis):
        value_ticks(axis, ends)
    axes.legend(loc="upper left")
    return figure


@styled
def residuals(fit: FitResult, bands: dict[str, float] | None = None) -> Figure:
    """Residuals against each column (N, D and D/N for a law of size and data): no trend should be left.

    bands: standard deviations to shade, by what they are of, in units of the
    residual; that of the residuals when None.
    """
    panels = residual_panels(fit)
    figure, drawn = new(ROW, len(panels), sharey=True, squeeze=False)
    drawn = drawn[0]
    unit = 100.0 if fit.law.in_log else 1.0
    shaded = bands or {"of the residuals": fit.scale}
    y, limit = unit * fit.residuals, _limit(unit * fit.residuals, unit * fit.scale)
    colours = _colours(fit.rows.columns)
    for axes, (name, x) in zip(drawn, panels.items(), strict=True):
        for i, half in enumerate(shaded.values()):
            _deviation(axes, half * unit, "filled" if i == 0 else "dashed")
        axes.axhline(0, color=INK, linewidth=0.9)
        dots(axes, x, np.clip(y, -limit, limit), colours, "runs" if axes is drawn[0] else f"runs-{name}")
        _beyond(axes, x, y, limit)
        axes.set_xlabel(name)
        axes.margins(x=0.1)
        if x.min() > 0 and x.max() > 5 * x.min():
            axes.set_xscale("log")
            count_ticks(axes.xaxis, *axes.get_xlim())
    drawn[0].set_ylabel("measured above law (%)" if fit.law.in_log else "measured less law")
    for i, (name, half) in enumerate(shaded.items()):
        size = percent(half) if fit.law.in_log else f"{half:.2g}"
        _deviation(drawn[0], half * unit, "filled" if i == 0 else "dashed", f"one standard deviation {name}, {size}")
    if np.isfinite(limit):
        far = plural(int((np.abs(y) > limit).sum()), "row")
        drawn[0].plot(
            [], [], "^", color=ACCENT, label=f"{far} beyond, up to {np.abs(y).max():.3g}{'%' * fit.law.in_log}"
        )
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def intervals(fit: FitResult, ends: dict[str, dict[str, tuple[float, float]]] | None = None) -> Figure:
    """The 95% intervals of each parameter, one way beside the other, in Fisher's standard errors from the value.

    ends: by method, as `FitResult.conf_int` gives them; all three are computed when None. Amounts are compared in logs.
    """
    ends = ends or {method: fit.conf_int(method) for method in ("fisher", "profile", "bootstrap")}
    shown = [i for i, free in enumerate(fit.law.free) if free]
    figure, axes = new((WIDE[0], 1.3 + 0.5 * len(shown)))
    offsets = np.linspace(-0.22, 0.22, len(ends))
    for (method, found), offset, colour in zip(ends.items(), offsets, SERIES, strict=False):
        scaled = np.array([_in_errors(fit, i, found[fit.law.names[i]]) for i in shown])
        cut = np.clip(scaled, -WIDEST, WIDEST)
        y = np.arange(len(shown)) + offset
        axes.hlines(y, cut[:, 0], cut[:, 1], color=colour, linewidth=2.2, label=SPELLED.get(method, method), zorder=3)
        for side in (0, 1):
            beyond = cut[:, side] != scaled[:, side]
            axes.plot(cut[~beyond, side], y[~beyond], "|", color=colour, markersize=9, markeredgewidth=1.6)
            axes.plot(cut[beyond, side], y[beyond], "<>"[side], color=colour, markersize=7)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(shown)), [fit.law.names[i] for i in shown])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("distance from the fitted value, in Fisher's standard errors (amounts: of the logarithm)")
    figure.legend(loc="outside lower center", ncols=len(ends))
    return figure


def _limit(residuals: np.ndarray, scale: float) -> float:
    """Where the axis ends: a few rows far off would press all others into one line."""
    largest = float(np.abs(residuals).max())
    return SHOWN_SCALES * scale if largest > FAR_SCALES * scale > 0 else np.inf


def _beyond(axes: Axes, x: np.ndarray, y: np.ndarray, limit: float) -> None:
    """Triangles with their value for the rows that lie beyond the axis."""
    far = np.flatnonzero(np.abs(y) > limit)
    for i in far:
        axes.plot(x[i], np.sign(y[i]) * limit, "^" if y[i] > 0 else "v", color=ACCENT, markersize=6, zorder=4)
    if len(far):
        axes.set_ylim(-1.12 * limit, 1.12 * limit)


def _deviation(axes: Axes, half: float, kind: str, label: str | None = None) -> None:
    """One standard deviation on both sides: a filled band, or dashed lines that show beside one."""
    if kind == "filled":
        axes.axhspan(-half, half, color=GRID, alpha=0.7, linewidth=0, zorder=0, label=label)
        return
    for y, name in ((half, label), (-half, None)):
        axes.axhline(y, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0.5, label=name)


def single_column(fit: FitResult) -> str | None:
    """The column of a law of one column; None for other laws."""
    only = fit.law.columns[0]
    return only if len(fit.law.columns) == 1 and fit.rows.columns[only].ndim == 1 else None


def residual_panels(fit: FitResult) -> dict[str, np.ndarray]:
    """What residuals are shown against, by axis label: the law's columns, or what it predicts where it has too many."""
    columns = {name: values for name, values in fit.rows.columns.items() if values.ndim == 1}
    if {"params", "tokens"} <= set(columns):
        named = {"parameters N": columns["params"], "tokens D": columns["tokens"]}
        return {**named, "tokens per parameter D/N": columns["tokens"] / columns["params"]}
    if 0 < len(columns) <= MOST_PANELS and len(columns) == len(fit.rows.columns):
        return columns
    moving = {name: values for name, values in columns.items() if np.ptp(values) > 0}
    first = dict(list(moving.items())[: MOST_PANELS - 1])
    return {f"predicted {fit.law.target}": fit.predict(fit.rows.columns).value, **first}


def _measured(fit: FitResult, table: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    if table is None:
        return fit.rows.columns, fit.rows.target
    table = frame(table)
    return {name: numbers(table, name) for name in fit.law.columns}, numbers(table, fit.law.target)


def _colours(columns: dict[str, np.ndarray]) -> Sequence[str] | str:
    """By compute where it can be told, as in the other figures."""
    if {"params", "tokens"} <= set(columns):
        return budget_colours(columns["params"] * columns["tokens"])
    return SECOND if "flops" not in columns else budget_colours(columns["flops"])


def _in_errors(fit: FitResult, i: int, ends: tuple[float, float]) -> np.ndarray:
    """(2,) the ends as distances from the fitted value in Fisher's standard errors."""
    error = max(float(np.sqrt(fit.theta_cov[i, i])), 1e-300)
    with np.errstate(divide="ignore"):
        theta = np.log(np.maximum(ends, 0)) if fit.law.log[i] else np.asarray(ends)
    return (theta - fit.theta[i]) / error

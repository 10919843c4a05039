"""Loss and the best split of a budget, against training compute."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.analyse import Analysis
from analysis.figures.palette import ACCENT, GRID, INK, MUTED, SECOND, budget_colours
from analysis.figures.style import (
    HALF,
    WIDE,
    band,
    bars,
    count_ticks,
    dots,
    in_sight,
    log_axes,
    new,
    power,
    power_ticks,
    styled,
    targets,
    value_ticks,
)
from analysis.isoflop import IsoFlop, Minimum, groups
from analysis.report.verdict import shows_trend
from analysis.surface import REACH
from analysis.tables.table import column

MOST_LABELS = 8  # of isoFLOP curves
COMPUTE = "training compute C (FLOPs)"
LOSS = "loss L (nats per token)"


@styled
def loss_compute(analysis: Analysis) -> Figure:
    """Loss against compute, runs of one size joined, with the frontier, its 95% band, and the forecast."""
    figure, axes = new(WIDE)
    flops, loss, params = (column(analysis.table, name) for name in ("flops", "loss", "params"))
    axes.plot(*joined_by_size(params, flops, loss), color=MUTED, linewidth=0.8, alpha=0.6, zorder=2)
    dots(axes, flops, loss, budget_colours(flops), "runs", label="runs")
    shown = [loss]
    if analysis.law:
        front = analysis.law.frontier
        keep = front.flops <= max(flops.max(), analysis.forecast.flops if analysis.forecast else 0) * 1.3
        band(axes, front.flops[keep], in_sight(front.loss[keep], front.loss_band[:, keep]))
        axes.plot(front.flops[keep], front.loss[keep], color=ACCENT, linewidth=1.8, label="frontier, 95% band")
        targets(axes, front.flops[keep], front.loss[keep], "frontier")
        shown.append(front.loss[keep])
    if analysis.forecast:
        ahead = analysis.forecast
        bars(axes, ahead.flops, ahead.loss.value, [ahead.run.low, ahead.run.high], ACCENT, "forecast, one run", "D")
        shown.append(np.array([ahead.run.low, ahead.run.high]))
    if shows_trend(analysis):
        trend = analysis.trend
        bars(axes, analysis.target, trend.value, [trend.low, trend.high], SECOND, "trend of the isoFLOP minima", "D")
        shown.append(np.array([trend.low, trend.high]))
    log_axes(axes, COMPUTE, LOSS)
    power_ticks(axes.xaxis)
    _losses(axes, np.concatenate(shown))
    axes.legend(loc="upper right")
    return figure


@styled
def isoflop_curves(analysis: Analysis) -> Figure:
    """A parabola a budget, labelled where it ends, with its minimum; dashed where the minimum is rejected.

    Raises ValueError where no budget has enough sizes for a parabola.
    """
    if analysis.isoflop is None:
        raise ValueError("isoflop_curves: no budget of this analysis has enough sizes; see analysis.not_done")
    figure, axes = new(WIDE)
    loss, params = column(analysis.table, "loss"), column(analysis.table, "params")
    minima, members = analysis.isoflop.minima, groups(analysis.table)
    colours = budget_colours(np.array([m.flops for m in minima]))
    rows = np.concatenate([members[m.flops] for m in minima])
    shades = [colour for m, colour in zip(minima, colours, strict=True) for _ in members[m.flops]]
    dots(axes, params[rows], loss[rows], shades, "grouped")
    usable = [(m, colour) for m, colour in zip(minima, colours, strict=True) if not m.rejected]
    labelled = [m.flops for m, _ in usable] or [m.flops for m in minima]
    labelled = labelled[:: -(-len(labelled) // MOST_LABELS)]
    for minimum, colour in zip(minima, colours, strict=True):
        x, y = parabola(minimum)
        kind = {"linestyle": (0, (4, 3)), "alpha": 0.6} if minimum.rejected else {}
        axes.plot(x, y, color=colour, linewidth=1.6, zorder=2, **kind)
        if minimum.flops in labelled:
            axes.annotate(power(minimum.flops), (x[-1], y[-1]), (7, 0), textcoords="offset points", color=INK,
                          va="center", fontsize=9)  # fmt: skip
    axes.scatter(
        [m.params for m, _ in usable], [m.loss for m, _ in usable], c=[colour for _, colour in usable], marker="*",
        s=190, edgecolor="white", zorder=4, gid="minima",
    )  # fmt: skip
    log_axes(axes, "parameters N", LOSS)
    _losses(axes, loss[rows])
    axes.margins(x=0.16)
    count_ticks(axes.xaxis, *axes.get_xlim())
    return figure


@styled
def optimal_size(analysis: Analysis) -> Figure:
    """The best number of parameters against compute: the law's, with its band, and the isoFLOP minima."""
    figure, axes = new(HALF)
    if analysis.law:
        front, a = analysis.law.frontier, analysis.law.exponent.value
        _frontier(axes, front.flops, front.params, front.params_band, f"surface fit, a = {a:.3f}, 95% band")
    if analysis.isoflop and analysis.isoflop.usable:
        _minima(axes, analysis.isoflop)
    _split(axes, analysis, "optimal parameters N*")
    return figure


@styled
def tokens_per_parameter(analysis: Analysis) -> Figure:
    """The best tokens per parameter against compute: the law's, with its band, and the isoFLOP minima."""
    figure, axes = new(HALF)
    if analysis.law:
        front = analysis.law.frontier
        _frontier(axes, front.flops, front.ratio, front.ratio_band, "surface fit, 95% band")
    if analysis.isoflop and analysis.isoflop.usable:
        compute, params, ends = _sizes(analysis.isoflop)
        ratio = np.array([m.tokens for m in analysis.isoflop.usable]) / params
        # Along one budget N D is nearly constant, so the ratio falls as N squared.
        bars(axes, compute, ratio, ratio * (params / ends[::-1]) ** 2, SECOND, "isoFLOP minima, 95%")
    _split(axes, analysis, "optimal tokens per parameter D*/N*")
    return figure


def joined_by_size(params: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One line for each size, in order of x, as a single path with gaps of NaN: thousands of sizes stay one line."""
    order = np.lexsort((x, params))
    gaps = np.flatnonzero(np.diff(params[order])) + 1
    return np.insert(x[order], gaps, np.nan), np.insert(y[order], gaps, np.nan)


def parabola(minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of a budget's parabola over the sizes tried."""
    x = np.geomspace(*minimum.grid, 80)
    square, slope, constant = minimum.coefficients
    return x, square * np.log(x) ** 2 + slope * np.log(x) + constant


def _frontier(axes: Axes, flops: np.ndarray, line: np.ndarray, ends: np.ndarray, label: str) -> None:
    good = np.isfinite(line) & (line > 0)
    band(axes, flops[good], in_sight(line[good], ends[:, good]))
    axes.plot(flops[good], line[good], color=ACCENT, linewidth=1.8, label=label)
    targets(axes, flops, line, "frontier")


def _minima(axes: Axes, found: IsoFlop) -> None:
    bars(axes, *_sizes(found), SECOND, "isoFLOP minima, 95%")
    if found.params:
        ends = np.array([m.flops for m in found.usable])[[0, -1]]
        label = f"isoFLOP, a = {found.params.exponent.value:.3f}"
        axes.plot(ends, found.params(ends), "--", color=SECOND, linewidth=1.2, label=label)


def _sizes(found: IsoFlop) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FLOPs (M,), N* (M,) and its ends (2, M) of the usable minima."""
    fields = ("flops", "params", "params_low", "params_high")
    flops, params, low, high = (np.array([getattr(m, field) for m in found.usable]) for field in fields)
    return flops, params, np.stack([low, high])


def _split(axes: Axes, analysis: Analysis, name: str) -> None:
    """What both plots of the best split share: the axes, and where the runs end."""
    flops = column(analysis.table, "flops")
    reach = (flops.min() / 1.5, flops.max() * REACH)
    axes.axvspan(flops.max(), reach[1], color=GRID, alpha=0.5, linewidth=0, zorder=0)
    log_axes(axes, COMPUTE, name)
    axes.set_xlim(*reach)
    power_ticks(axes.xaxis)
    count_ticks(axes.yaxis, *axes.get_ylim())
    axes.legend(loc="best")
    axes.annotate("beyond the runs", (0.98, 0.03), xycoords="axes fraction", ha="right", color=MUTED, fontsize=9)


def _losses(axes: Axes, values: np.ndarray) -> None:
    low, high = values.min(), values.max()
    margin = max(high / low, 1.1) ** 0.04  # of a single run as well
    axes.set_ylim(low / margin, high * margin)
    value_ticks(axes.yaxis, values)

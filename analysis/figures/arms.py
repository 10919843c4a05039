"""The arms of a comparison: their losses, their best sizes, their use of context, their learning rates.

An arm has one colour and one marker in all figures of a study; losses of two
objectives stand in two panels, because they are of different tokens.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.compared_arm import ComparedArm
from analysis.comparison import BITS, NATS, Comparison, positions
from analysis.figures.compute import COMPUTE, LOSS, parabola
from analysis.figures.palette import INK, MARKERS, MUTED, SERIES, budget_colours
from analysis.figures.style import (
    HALF,
    WIDE,
    bars,
    count_ticks,
    dots,
    log_axes,
    new,
    power,
    power_ticks,
    styled,
    value_ticks,
)
from analysis.isoflop import groups
from analysis.leaders import lowest
from analysis.learning_rates import RateCurve
from analysis.tables.table import column

PANEL, MOST_COLUMNS = (4.6, 4.2), 3  # inches, of one panel among several; in a row
UNITS = {NATS: LOSS, BITS: "loss L (bits per byte)"}
AXES = {
    "flops": COMPUTE,
    "params": "parameters N",
    "tokens": "tokens D",
    "params_active": "active parameters",
}
SAME_SHARE = 1e-3  # relative
SHORT = 50  # range of compute with too few powers of ten
DASHES = ((0, (4, 3)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))  # of baselines


@styled
def arm_losses(found: Comparison, x: str = "", measure: str = "loss") -> Figure:
    """Loss, or bits per byte, of every run against a column, with each arm's line; a panel an objective.

    x: the comparison's own when empty. measure: loss or bits_per_byte; objectives
    of which an arm lacks it have no panel. Lines are of the loss against the comparison's own x;
    of an arm that no law was fitted to, a thin one joins the lowest losses of its budgets.
    Where bits per byte are the same multiple of the loss in all runs, they have a second scale.
    """
    x = x or found.x
    shown = [objective for objective in found.objectives if has(found, objective, measure)]
    if not shown:
        raise ValueError(f"arm_losses: no objective has {measure} in all of its arms")
    figure, drawn = panels(len(shown))
    for axes, objective in zip(drawn, shown, strict=True):
        for arm in found.of(objective):
            _arm(axes, found, arm, x, measure)
        for row, dashes in zip(baselines(found, objective), cycle(DASHES), strict=False):
            axes.axhline(row[measure], color=MUTED, linestyle=dashes, linewidth=1.4, label=row["arm"], zorder=1)
        log_axes(axes, AXES[x], (UNITS[found.unit] if measure == "loss" else BITS) + _by(objective, shown))
        _compute_ticks(axes) if x == "flops" else count_ticks(axes.xaxis, *axes.get_xlim())
        value_ticks(axes.yaxis, np.array(axes.get_ylim()))
        if measure == "loss" and found.unit == NATS and (share := bits_of_loss(found, objective)):
            _second_scale(axes, share)
    shared_legend(figure, drawn)
    return figure


@styled
def arm_isoflops(found: Comparison) -> Figure:
    """The isoFLOP curves of each arm that has them, a panel an arm; dashed where the minimum is rejected."""
    shown = [arm for arm in found.arms if arm.isoflop]
    if not shown:
        raise ValueError("arm_isoflops: no arm has a budget with enough sizes")
    figure, drawn = panels(len(shown))
    for axes, arm in zip(drawn, shown, strict=True):
        loss, params, members = column(arm.best, "loss"), column(arm.best, "params"), groups(arm.best)
        minima = arm.isoflop.minima
        for minimum, colour in zip(minima, budget_colours(np.array([m.flops for m in minima])), strict=True):
            dots(axes, params[members[minimum.flops]], loss[members[minimum.flops]], colour)
            kind = {"linestyle": (0, (4, 3)), "alpha": 0.6} if minimum.rejected else {}
            axes.plot(*parabola(minimum), color=colour, linewidth=1.6, zorder=2, **kind)
            if not minimum.rejected:
                axes.scatter(minimum.params, minimum.loss, color=colour, marker="*", s=170, edgecolor="white", zorder=4)
        log_axes(axes, AXES["params"], UNITS[found.unit])
        axes.annotate(arm.name, (0.98, 0.97), xycoords="axes fraction", ha="right", va="top", color=INK)
        count_ticks(axes.xaxis, *axes.get_xlim())
        value_ticks(axes.yaxis, np.array(axes.get_ylim()))
    return figure


@styled
def arm_optima(found: Comparison) -> Figure:
    """The best size of each arm against compute: its isoFLOP minima with 95% intervals, and the line through them."""
    shown = [arm for arm in found.arms if arm.isoflop and arm.isoflop.usable]
    if not shown:
        raise ValueError("arm_optima: no arm has a usable isoFLOP minimum")
    figure, axes = new(HALF)
    for arm in shown:
        colour, marker = look(found, arm.arm)
        usable, law = arm.isoflop.usable, arm.isoflop.params
        fields = ("flops", "params", "params_low", "params_high")
        flops, params, low, high = (np.array([getattr(m, field) for m in usable]) for field in fields)
        label = f"{arm.name}, a = {law.exponent.value:.2f}" if law else arm.name
        bars(axes, flops, params, np.stack([low, high]), colour, label, marker)
        if law:
            axes.plot(flops[[0, -1]], law(flops[[0, -1]]), color=colour, linewidth=1.2, zorder=2)
    log_axes(axes, COMPUTE, "optimal parameters N*")
    _compute_ticks(axes)
    count_ticks(axes.yaxis, *axes.get_ylim())
    axes.legend(loc="best")
    return figure


@styled
def loss_by_position(found: Comparison) -> Figure:
    """Loss against a token's place in its sequence: a line a run, thick for an arm's largest (Kaplan, figure 7)."""
    figure, axes = new(WIDE)
    seen: list[float] = []
    for arm in found.arms:
        colour, marker = look(found, arm.arm)
        order = np.argsort(column(arm.table, found.x))
        lines = [line for row in order if (line := positions(arm.table, int(row)))]
        for line in lines:
            largest = line is lines[-1]
            weight = {"linewidth": 2.0, "marker": marker, "markersize": 5} if largest else {"linewidth": 0.7}
            axes.plot(list(line), list(line.values()), color=colour, alpha=1.0 if largest else 0.5,
                      label=f"{arm.name}, largest" if largest else None, **weight)  # fmt: skip
            seen += line
    for row, dashes in zip(range(found.baselines.num_rows), cycle(DASHES), strict=False):
        if line := positions(found.baselines, row):
            name = found.baselines["arm"][row].as_py()
            axes.plot(list(line), list(line.values()), color=INK, linestyle=dashes, linewidth=1.4, label=name)
            seen += line
    if not seen:
        raise ValueError("loss_by_position: no run has its loss by position; next-token objectives record it")
    log_axes(axes, "place of the token in its sequence, up to", LOSS)
    axes.set_xticks(sorted(set(seen)), [f"{place:g}" for place in sorted(set(seen))])
    axes.minorticks_off()
    value_ticks(axes.yaxis, np.array(axes.get_ylim()))
    axes.legend(loc="best")
    return figure


@styled
def learning_rates(curves: Sequence[RateCurve], unit: str = NATS) -> Figure:
    """Loss against learning rate, a line a size with a star at its best rate; a panel an arm."""
    if not curves:
        raise ValueError("learning_rates: no setting was trained with at least 3 learning rates")
    arms = list(dict.fromkeys(curve.arm for curve in curves))
    figure, drawn = panels(len(arms))
    shades = budget_colours(np.array([curve.flops for curve in curves]))
    for axes, arm in zip(drawn, arms, strict=True):
        for curve, colour in zip(curves, shades, strict=True):
            if curve.arm != arm:
                continue
            lowest = np.argmin(curve.loss)
            axes.plot(curve.lr, curve.loss, "-o", color=colour, linewidth=1.4, markersize=4, label=curve.label)
            hollow = {"markerfacecolor": "white"} if curve.edge else {}
            axes.plot(curve.best, curve.loss[lowest], "*", color=colour, markersize=13, zorder=4, **hollow)
        log_axes(axes, "peak learning rate", UNITS[unit])
        axes.annotate(arm, (0.5, 0.98), xycoords="axes fraction", ha="center", va="top", color=INK)
        value_ticks(axes.yaxis, np.array(axes.get_ylim()))
    shared_legend(figure, drawn)
    return figure


def has(found: Comparison, objective: str, measure: str) -> bool:
    """Whether all runs of an objective's arms have a measure."""
    tables = [arm.table for arm in found.of(objective)]
    return all(measure in table.column_names and np.isfinite(column(table, measure)).all() for table in tables)


def baselines(found: Comparison, objective: str) -> list[dict[str, Any]]:
    """The rows of an objective's runs that took no training FLOPs."""
    return [row for row in found.baselines.to_pylist() if (row.get("objective") or "") == objective]


def bits_of_loss(found: Comparison, objective: str) -> float | None:
    """Bits per byte over the loss where that is one number: all predict the same text in the same tokens."""
    if not has(found, objective, "bits_per_byte"):
        return None
    share = np.concatenate([column(a.table, "bits_per_byte") / column(a.table, "loss") for a in found.of(objective)])
    return float(share.mean()) if np.ptp(share) < SAME_SHARE * share.mean() else None


def look(found: Comparison, arm: str) -> tuple[str, str]:
    """Colour and marker of an arm: the same for every objective that the study has it by."""
    place = list(dict.fromkeys(item.arm for item in found.arms)).index(arm)
    return SERIES[place % len(SERIES)], MARKERS[(place + place // len(SERIES)) % len(MARKERS)]


def _arm(axes: Axes, found: Comparison, arm: ComparedArm, x: str, measure: str) -> None:
    colour, marker = look(found, arm.arm)
    best, other = arm.best, arm.table.num_rows > arm.best.num_rows
    if other:
        axes.scatter(column(arm.table, x), column(arm.table, measure), color=colour, s=12, alpha=0.35, linewidth=0)
    faint = {"alpha": 0.45} if arm.isoflop else {}
    dots(axes, column(best, x), column(best, measure), colour, f"arm{found.arms.index(arm)}", marker=marker,
         label=arm.arm, **faint)  # fmt: skip
    if arm.line and x == found.x and measure == "loss":
        ends = np.array([arm.points[0].min(), arm.points[0].max()])
        axes.plot(ends, arm.line(ends), color=colour, linewidth=1.6, zorder=2)
        if arm.isoflop:
            axes.scatter(*arm.points, color=colour, marker="*", s=150, edgecolor="white", zorder=4)
    elif x == found.x == "flops" and measure == "loss" and (least := lowest(arm)):
        axes.plot(list(least), list(least.values()), color=colour, linewidth=0.9, alpha=0.7, zorder=2)


def _compute_ticks(axes: Axes) -> None:
    """Powers of ten; over a short range also what lies between them."""
    low, high = axes.get_xlim()
    if high > SHORT * low:
        return power_ticks(axes.xaxis)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _second_scale(axes: Axes, share: float) -> None:
    """Bits per byte on the right, of losses on the left."""
    right = axes.secondary_yaxis("right", functions=(lambda loss: loss * share, lambda bits: bits / share))
    right.set_ylabel(BITS)
    value_ticks(right.yaxis, share * np.array(axes.get_ylim()))


def panels(count: int) -> tuple[Figure, list[Axes]]:
    """Axes in rows of at most three."""
    columns, rows = min(count, MOST_COLUMNS), -(-count // MOST_COLUMNS)
    figure = Figure(figsize=WIDE if count == 1 else (PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    drawn = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in drawn[count:]:
        unused.remove()
    return figure, drawn[:count]


def shared_legend(figure: Figure, drawn: Sequence[Axes]) -> None:
    """One for all panels, below them: what several panels share stands there once."""
    named = {}
    for axes in drawn:
        named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=min(len(named), 3))


def _by(objective: str, shown: Sequence[str]) -> str:
    return f", {objective.replace('_', ' ')}" if len(shown) > 1 else ""

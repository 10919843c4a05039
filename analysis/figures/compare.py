"""Methods beside methods, laws beside laws on runs they did not see, and an interval before and after."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.backtest import Backtest, Trial
from analysis.figures.palette import ACCENT, GRID, INK, MUTED, SECOND, budget_colours
from analysis.figures.style import ROW, count_ticks, dots, new, styled
from analysis.methods import MethodResult
from analysis.tables.table import column
from analysis.words import Estimate, compact

MOST_LAWS = 4  # panels of a back-test


@styled
def methods(results: Sequence[MethodResult]) -> Figure:
    """The exponent and the optimal size at the target, by each method, with 95% intervals."""
    if not any(result.exponent for result in results):
        raise ValueError("methods: none of them has an answer; each result's reason says why")
    figure, (left, right) = new((ROW[0], 0.9 + 0.55 * len(results)), 2, sharey=True)
    rows = np.arange(len(results))
    _intervals(left, [result.exponent for result in results])
    right.set_xscale("log")
    _intervals(right, [result.params_at_target for result in results])
    left.set_yticks(rows, [result.title for result in results])
    left.set_ylim(len(results) - 0.5, -0.5)
    left.set_xlabel("exponent a of N* ~ C^a")
    right.set_xlabel("optimal parameters N* at the target")
    count_ticks(right.xaxis, *right.get_xlim())
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    return figure


@styled
def backtest(tested: Backtest, table: pa.Table) -> Figure:
    """Signed errors of each law on larger runs that it did not see, against how far beyond its data they lie.

    table: the runs that were tested. The line is the mean for each number of levels
    left out, the grey band what the law's own 95% intervals lead one to expect.
    """
    flops = column(table, "flops")
    names = laws_by_error(tested)[:MOST_LAWS]
    figure, drawn = new(ROW, len(names), sharey=True, sharex=True, squeeze=False)
    for i, (axes, name) in enumerate(zip(drawn[0], names, strict=True)):
        trials = sorted((trial for trial in tested.trials if trial.law == name), key=lambda trial: trial.ratio)
        _errors(axes, trials, flops, f"heldout{i}")
        axes.set_xlabel(name + "\nC over the largest C fitted")
        axes.set_xscale("log")
        count_ticks(axes.xaxis, *axes.get_xlim())
    drawn[0, 0].set_ylabel("measured above predicted (%)")
    drawn[0, 0].plot([], [], "-o", color=ACCENT, label="mean for each number of levels left out")
    drawn[0, 0].fill_between([], [], [], color=GRID, label="expected, 95%")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def laws_by_error(tested: Backtest) -> list[str]:
    """Names of the laws that were tried, the best on held-out runs first."""
    ranked = [rank.law for rank in tested.ranking]
    return [*ranked, *(name for name in dict.fromkeys(trial.law for trial in tested.trials) if name not in ranked)]


def held_out(trials: Sequence[Trial], flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x, y): compute over the largest compute fitted, and the error in percent, of every held-out run in order."""
    x = [flops[trial.rows] / (flops[trial.rows].max() / trial.ratio) for trial in trials]
    return np.concatenate(x), 100 * np.concatenate([trial.error for trial in trials])


def before_and_after(axes: Axes, stages: Sequence[tuple[str, Estimate]]) -> None:
    """Horizontal intervals, one below the other."""
    rows = np.arange(len(stages))
    for row, ((_, found), colour) in zip(rows, zip(stages, (MUTED, SECOND, ACCENT), strict=False), strict=True):
        axes.hlines(row, found.low, found.high, color=colour, linewidth=3)
        axes.plot(found.value, row, "o", color=colour, markersize=7, markeredgecolor="white")
    axes.set_yticks(rows, [name for name, _ in stages])
    axes.set_ylim(len(stages) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    if all(found.low > 0 and found.high > 20 * found.low for _, found in stages):
        axes.set_xscale("log")
        count_ticks(axes.xaxis, *axes.get_xlim())
    elif max(found.high for _, found in stages) >= 1e4:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda value, _: compact(value) if value else "0")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _intervals(axes: Axes, found: Sequence[Estimate | None]) -> None:
    for row, estimate in enumerate(found):
        if estimate is None:
            axes.annotate("no answer", (0.5, row), xycoords=("axes fraction", "data"), color=MUTED, ha="center",
                          va="center")  # fmt: skip
            continue
        colour = (MUTED, SECOND, ACCENT, INK)[row % 4]
        if np.isfinite(estimate.low) and np.isfinite(estimate.high):
            axes.hlines(row, estimate.low, estimate.high, color=colour, linewidth=2.4)
        axes.plot(estimate.value, row, "o", color=colour, markersize=7, markeredgecolor="white", zorder=3)


def _errors(axes: Axes, trials: Sequence[Trial], flops: np.ndarray, group: str) -> None:
    x, y = held_out(trials, flops)
    ratio = np.array([trial.ratio for trial in trials])
    expected = 1.96 * 100 * np.array([trial.expected for trial in trials])
    worst = max(np.abs(y).max(), 0.1) * 1.5
    ends = [1.0, *ratio]
    half = np.minimum([expected[0], *expected], 10 * worst)
    axes.fill_between(ends, -half, half, color=GRID, alpha=0.7, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=0.9)
    dots(axes, x, y, budget_colours(x), group)
    middle = np.array([np.exp(np.log(held_out([trial], flops)[0]).mean()) for trial in trials])
    order, bias = np.argsort(middle, kind="stable"), 100 * np.array([trial.bias for trial in trials])
    axes.plot(middle[order], bias[order], "-o", color=ACCENT, linewidth=1.6, markersize=5, zorder=4)
    axes.set_ylim(-worst, worst)

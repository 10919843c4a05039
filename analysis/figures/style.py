"""One look for all figures, and the few marks they are made of.

A figure has no title: in a paper its words stand in the caption, on a page above
it. It is made without pyplot, belongs to nobody's session and leaves no state
behind. Points that stand for runs carry the name `runs`, so that a page can say
over each what it is (`analysis.figures.svg`).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from analysis.figures.palette import ACCENT, GRID, INK, MUTED, PAPER
from analysis.words import compact

WIDE, HALF, ROW = (7.2, 4.4), (4.8, 4.1), (9.6, 3.4)  # inches: a page's text, half of it, three panels
MANY, FEW_BARS = 60, 20  # from which points and bars become smaller
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style and leave the caller's settings as they were."""

    @wraps(draw)
    def drawn(*args: Any, **options: Any) -> Figure:
        with rc_context(STYLE):
            return draw(*args, **options)

    return drawn


def new(size: tuple[float, float], columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes: one, or an array of them side by side."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(1, columns, **options)


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, colour: Any, name: str = "", **options: Any) -> None:
    """A point for each value; the more there are, the smaller. name: by which a page finds them."""
    size = 30.0 * min(1.0, MANY / max(len(x), 1)) ** 0.5
    axes.scatter(x, y, c=colour, s=size, edgecolor=PAPER, linewidth=0.6 * (size / 30) ** 0.5, gid=name or None,
                 **{"zorder": 3, **options})  # fmt: skip


def targets(axes: Axes, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Invisible points along a line, below those of runs, for a page to say its values."""
    axes.scatter(x, y, s=120, alpha=0.0, linewidth=0, gid=name, zorder=2.5)


def bars(axes: Axes, x: Any, y: Any, ends: Any, colour: str, label: str, marker: str = "o") -> None:
    """Points (n,) with their intervals (2, n), upright."""
    x, y, ends = np.atleast_1d(x), np.atleast_1d(y), np.reshape(ends, (2, -1))
    # A median outside its own interval would make a negative bar.
    lengths = np.maximum([y - ends[0], ends[1] - y], 0)
    size = 6 * min(1.0, FEW_BARS / max(len(x), 1)) ** 0.5
    axes.errorbar(
        x, y, yerr=lengths, fmt=marker, color=colour, markersize=size, capsize=size / 2, linewidth=size / 4,
        markeredgecolor=PAPER, markeredgewidth=size / 6, label=label, zorder=4,
    )  # fmt: skip


def band(axes: Axes, x: np.ndarray, ends: np.ndarray, colour: str = ACCENT) -> None:
    """(2, n) ends of an interval about a line."""
    axes.fill_between(x, *ends, color=colour, alpha=0.15, linewidth=0, zorder=1.5)


def in_sight(line: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The band, cut where it would leave the line a flat stripe in the middle of the axis."""
    return np.clip(ends, line.min() / 100, line.max() * 100)


def log_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def power_ticks(axis: Axis) -> None:
    """Powers of ten, for FLOPs. In plain characters: mathematical text costs more than the whole rest of a figure."""
    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: ten_to(np.log10(value))))
    axis.set_minor_formatter(NullFormatter())


def value_ticks(axis: Axis, values: np.ndarray) -> None:
    """Round values: a log axis over half a decade has no useful ticks of its own."""
    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and high / low > 20:
        return count_ticks(axis, low, high)
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    axis.set_major_locator(FixedLocator([tick for tick in ticks if tick > 0 or axis.get_scale() != "log"]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def count_ticks(axis: Axis, low: float, high: float) -> None:
    """The longer the range, the fewer ticks in each decade."""
    steps = {0.9: (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), 1.8: (1.0, 2.0, 5.0), 3.5: (1.0, 3.0), np.inf: (1.0,)}
    subs = next(subs for decades, subs in steps.items() if np.log10(high / low) < decades)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axis.set_minor_locator(NullLocator())


def power(value: float) -> str:
    """3.2×10¹¹."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    return f"{value / 10**exponent:.2g}×{ten_to(exponent)}"


def ten_to(exponent: float) -> str:
    """10¹¹."""
    return f"10{str(round(exponent)).translate(SUPERSCRIPTS)}"

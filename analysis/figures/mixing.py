"""Figures of a mixing law: the predicted loss over a triangle, predicted against measured, and two sizes compared."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from analysis.figures.compute import LOSS
from analysis.figures.palette import ACCENT, GRID, INK, MARKERS, MUTED, PAPER, SERIES
from analysis.figures.style import HALF, dots, new, styled, value_ticks
from analysis.mixing_study import MixtureStudy

TRIANGLE = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])  # corners: the first, second and third part alone
STEPS = 90  # along each side, of the points at which the law is drawn
LEVELS = 12
SIZE = (6.4, 5.2)


@styled
def mixing_triangle(found: MixtureStudy) -> Figure:
    """The law's mean loss over all mixtures of three parts that the proxies surround, and the runs on it.

    A point's fill is its measured loss on the colours of the law, so that a
    point which is seen is one that the law misses. Where no proxy went nothing is drawn.
    """
    mixing, parts = found.mixing, found.asked.parts
    if len(parts) != 3:
        raise ValueError(f"mixing_triangle: {len(parts)} parts; a triangle shows three")
    figure, axes = new(SIZE)
    shares = _lattice(mixing.shares_nK.min(0))
    loss = mixing.mean(mixing.losses(shares))
    measured = mixing.mean(mixing.measured_nK)
    low, high = min(loss.min(), measured.min()), max(loss.max(), measured.max())
    levels = np.linspace(low, high, LEVELS + 1)
    filled = axes.tricontourf(Triangulation(*(shares @ TRIANGLE).T), loss, levels=levels, cmap="viridis_r", alpha=0.9)
    axes.scatter(*(mixing.shares_nK @ TRIANGLE).T, c=measured, cmap="viridis_r", vmin=low, vmax=high, s=48,
                 edgecolor=PAPER, linewidth=1.2, gid="runs", zorder=4, label="proxy, measured")  # fmt: skip
    if found.larger is not None:
        axes.scatter(*(found.larger.shares_mK @ TRIANGLE).T, facecolor="none", edgecolor=INK, marker="s", s=120,
                     linewidth=1.2, zorder=5, label="larger run")  # fmt: skip
    if found.asked.weights:
        axes.scatter(*(np.array(found.asked.weights) @ TRIANGLE), color=ACCENT, marker="*", s=260, edgecolor=PAPER,
                     zorder=6, label="predicted best")  # fmt: skip
    _frame(axes, parts)
    bar = figure.colorbar(filled, ax=axes, shrink=0.8, pad=0.08)
    bar.set_label("mean held-out loss of the proxies (nats)")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.06, 1.02))
    return figure


@styled
def mixing_predicted(found: MixtureStudy) -> Figure:
    """Each proxy's losses against what the law says that was fitted without its mixture: a colour a part."""
    mixing = found.mixing
    figure, axes = new(HALF)
    for k, name in enumerate(mixing.parts):
        look = {"marker": MARKERS[k % len(MARKERS)], "label": f"on {name}"}
        dots(axes, mixing.left_out_nK[:, k], mixing.measured_nK[:, k], SERIES[k % len(SERIES)], f"part{k}", **look)
    _diagonal(axes, mixing.left_out_nK, mixing.measured_nK)
    axes.set_xlabel("predicted by the law without this mixture")
    axes.set_ylabel("measured held-out loss (nats)")
    axes.legend(loc="best")
    return figure


@styled
def mixing_sizes(found: MixtureStudy) -> Figure:
    """Loss of the larger run against what the proxies' law says of its mixture: the order is what matters."""
    larger = found.larger
    if larger is None:
        raise ValueError("mixing_sizes: no larger run is trained")
    figure, axes = new(HALF)
    dots(axes, larger.law_m, larger.loss_m, INK, "larger", label="mixture")
    if larger.best is not None:
        axes.scatter(larger.law_m[larger.best], larger.loss_m[larger.best], color=ACCENT, marker="*", s=220,
                     edgecolor=PAPER, zorder=5, label="predicted best")  # fmt: skip
    axes.set_xlabel("mean loss by the proxies' law (nats)")
    axes.set_ylabel(f"{LOSS.split(' (')[0]}, larger run (nats)")
    for axis, values in ((axes.xaxis, larger.law_m), (axes.yaxis, larger.loss_m)):
        value_ticks(axis, values)
    axes.legend(loc="upper left")
    return figure


def _lattice(least_K: np.ndarray) -> np.ndarray:
    """(m, 3) mixtures spread evenly over those with at least so much of each part."""
    spare = 1 - least_K.sum()
    counts = np.array([(a, b, STEPS - a - b) for a in range(STEPS + 1) for b in range(STEPS + 1 - a)])
    return least_K + spare * counts / STEPS


def _frame(axes: Axes, parts: tuple[str, ...]) -> None:
    """The whole triangle, a line at each fifth of a share, and the parts' names at their corners."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.plot(*np.vstack([TRIANGLE, TRIANGLE[:1]]).T, color=MUTED, linewidth=1.0, zorder=3)
    for share in (0.2, 0.4, 0.6, 0.8):
        for k in range(3):
            others = [j for j in range(3) if j != k]
            ends = [share * TRIANGLE[k] + (1 - share) * TRIANGLE[j] for j in others]
            axes.plot(*np.array(ends).T, color=GRID, linewidth=0.7, zorder=1)
    for k, (corner, where) in enumerate(zip(TRIANGLE, (("right", "top"), ("left", "top"), ("center", "bottom")),
                                            strict=True)):  # fmt: skip
        axes.annotate(parts[k], corner, xytext=(0, 6 if k == 2 else -6), textcoords="offset points", color=INK,
                      ha=where[0], va=where[1])  # fmt: skip
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.1, 0.98)


def _diagonal(axes: Axes, one: np.ndarray, other: np.ndarray) -> None:
    ends = np.array([min(one.min(), other.min()), max(one.max(), other.max())])
    axes.plot(ends, ends, color=MUTED, linewidth=1.0, zorder=1)

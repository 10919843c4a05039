"""A coordinate check: what training changes in a model, against its size."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.figures.palette import MARKERS, SERIES
from analysis.figures.style import ROW, log_axes, new, power_ticks, styled
from scaling.coordinates import QUANTITIES, Coordinates

ROOM = 1.9  # factor to the right of the largest size, for the slopes
LABEL = 0.055  # height of a slope, as a share of the axis


@styled
def coordinates(checks: Sequence[Coordinates]) -> Figure:
    """A panel for each parametrisation: changes after the last step, a line a quantity, its slope at its end.

    Flat lines are what a parametrisation promises that carries learning rates to other sizes.
    """
    figure, drawn = new((ROW[0], 4.2), len(checks), sharey=True, squeeze=False)
    for axes, found in zip(drawn[0], checks, strict=True):
        _lines(axes, found)
        log_axes(axes, f"{found.along}\n{found.parametrisation}", "")
        _sizes(axes, found.sizes)
    steps = checks[0].steps
    drawn[0, 0].set_ylabel(f"root mean square of the change\nafter {steps} step{'' if steps == 1 else 's'}")
    power_ticks(drawn[0, 0].yaxis)
    handles, labels = drawn[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _lines(axes: Axes, found: Coordinates) -> None:
    ends, every = [], np.concatenate([found.changes[name][:, -1] for name in QUANTITIES])
    for (name, words), colour, marker in zip(QUANTITIES.items(), SERIES, MARKERS, strict=True):
        rms = found.changes[name][:, -1]
        axes.plot(found.sizes, rms, color=colour, marker=marker, markersize=5, linewidth=1.4, label=words)
        ends.append((rms[-1], f"{found.change(name):+z.2f}", colour))
    step = max(np.nanmax(every) / np.nanmin(every), 10.0) ** LABEL
    for place, (_, text, colour) in zip(_apart([end for end, *_ in ends], step), ends, strict=True):
        axes.annotate(text, (found.sizes[-1], place), (7, 0), textcoords="offset points", color=colour,
                      va="center", fontsize=8)  # fmt: skip


def _apart(values: Sequence[float], factor: float) -> np.ndarray:
    """The values moved up as far as it takes to stand a factor apart, so that labels do not cover each other."""
    places = np.array(values, float)
    order = np.argsort(places, kind="stable")
    for below, above in pairwise(order):
        places[above] = np.fmax(places[above], places[below] * factor)
    return places


def _sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """A tick at every size."""
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * ROOM)

"""Figures of fits to worlds with known laws: losses, and each world's fitted exponent, beside the truth."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.palette import ACCENT, INK, MUTED, SECOND, budget_colours
from analysis.figures.style import HALF, WIDE, bars, log_axes, new, styled, value_ticks

Z = 1.96  # standard errors of a 95% interval


@styled
def oracle_losses(found: dict[str, Any]) -> Figure:
    """Mean excess over the floor against tokens: a line is what is expected, a point what was measured.

    found: as `analysis.oracle.judged` gives it. Tables of several sizes have a colour each.
    """
    figure, axes = new(HALF)
    sizes = found["sizes"] or [None]
    for size, colour in zip(sizes, budget_colours(np.array(sizes)) if found["sizes"] else [INK], strict=True):
        rows = [row for row in found["losses"] if row.get("size") == size]
        tokens, expected, measured, se = (
            np.array([row[name] for row in rows]) for name in ("tokens", "expected", "measured", "se")
        )
        axes.plot(tokens, expected, color=colour, linewidth=1.2, zorder=2)
        label = "" if size is None else f"{size:,.0f} contexts"
        bars(axes, tokens, measured, [measured - Z * se, measured + Z * se], colour, label)
    log_axes(axes, "training tokens", "mean excess over the floor (nats)")
    for axis, name in ((axes.xaxis, "tokens"), (axes.yaxis, "expected")):
        value_ticks(axis, np.array([row[name] for row in found["losses"]]))
    if found["sizes"]:
        axes.legend(loc="best")
    return figure


@styled
def oracle_exponents(found: dict[str, Any], exponent: str, ways: dict[str, str]) -> Figure:
    """Each world's fitted exponent with its bootstrap interval, in order; those that miss the truth stand out.

    exponent: its name in `found`; ways: of fitting, with their titles, a panel each.
    """
    figure, panels = new(WIDE, columns=len(ways), sharey=True)
    for axes, (way, title) in zip(panels, ways.items(), strict=True):
        _worlds(axes, found[way][exponent])
        axes.set_xlabel(f"world, fitted {title}")
    panels[0].set_ylabel(exponent)
    panels[0].legend(loc="upper left")
    return figure


def _worlds(axes: Axes, row: dict[str, Any]) -> None:
    values, ends_n2 = np.array(row["values"]), np.array(row["ends"]["bootstrap"])
    order = np.argsort(values)
    values, (low, high) = values[order], ends_n2[order].T
    holds, places = (low <= row["truth"]) & (row["truth"] <= high), np.arange(1, len(values) + 1)
    axes.axhline(row["truth"], color=MUTED, linewidth=1.0, label="truth")
    for chosen, colour, label in ((holds, SECOND, "interval holds it"), (~holds, ACCENT, "misses it")):
        if chosen.any():
            bars(axes, places[chosen], values[chosen], [low[chosen], high[chosen]], colour, label)
    axes.grid(axis="x", visible=False)

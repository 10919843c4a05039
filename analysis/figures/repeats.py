"""Losses of runs that repeat their tokens, beside the law for all of them."""

import numpy as np
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.figures.arms import UNITS, look, panels, shared_legend
from analysis.figures.palette import INK
from analysis.figures.style import count_ticks, dots, log_axes, styled, value_ticks
from analysis.tables.table import column
from analysis.words import compact

FINE = 60  # points of a line


@styled
def repeated_tokens(found: Comparison) -> Figure:
    """Loss against tokens read, a panel a size: an arm's points, and the line of the law for all arms."""
    if found.repeats is None:
        raise ValueError("repeated_tokens: no law for runs that repeat their tokens; see Comparison.not_done")
    sizes = sorted({size for arm in found.arms for size in column(arm.best, "params")})
    figure, drawn = panels(len(sizes))
    for axes, size in zip(drawn, sizes, strict=True):
        for place, arm in enumerate(found.arms):
            of_size = column(arm.best, "params") == size
            tokens, unique, loss = (column(arm.best, name)[of_size] for name in ("tokens", "tokens_unique", "loss"))
            if not len(tokens):
                continue
            colour, marker = look(found, arm.arm)
            dots(axes, tokens, loss, colour, f"arm{place}", marker=marker, label=arm.arm)
            line = np.geomspace(tokens.min(), tokens.max(), FINE)
            law = found.repeats.joint.predict(
                {"params": np.full(FINE, size), "tokens": line, "tokens_unique": np.minimum(line, unique.max())}
            )
            axes.plot(line, law.value, color=colour, linewidth=1.2, zorder=2)
        log_axes(axes, "tokens read", UNITS[found.unit])
        axes.annotate(
            f"{compact(size)} parameters", (0.97, 0.97), xycoords="axes fraction", ha="right", va="top", color=INK
        )
        count_ticks(axes.xaxis, *axes.get_xlim())
        value_ticks(axes.yaxis, np.array(axes.get_ylim()))
    shared_legend(figure, drawn)
    return figure

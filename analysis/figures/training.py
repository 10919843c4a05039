"""The training curves of a study's runs: loss against the compute spent so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.figures.compute import COMPUTE, LOSS
from analysis.figures.palette import ACCENT, MUTED, SERIES, budget_colours
from analysis.figures.style import WIDE, dots, log_axes, new, power_ticks, styled, value_ticks
from analysis.words import compact

GRASP = 8.0  # points: width of the invisible line over which a page says what run a curve is
MARKS = {"finished": ("o", ""), "training": ("o", ACCENT), "stopped": ("X", MUTED)}  # marker, colour if not the line's


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one run has learned so far."""

    text: str  # what a page says over it
    params: float
    flops: np.ndarray  # (n,) of training, up to each point
    loss: np.ndarray  # (n,) nats a token, of the batches about each point; finite
    state: str  # finished, training, or why it stands still
    arm: str = ""


@styled
def training_curves(curves: Sequence[Curve]) -> Figure:
    """A line a run with a mark where it ends, coloured by arm, or by size where nothing is compared.

    Raises ValueError where no curve has a point.
    """
    shown = _shown(curves)
    if not shown:
        raise ValueError("training_curves: no run has learned anything yet")
    figure, axes = new(WIDE)
    colours = _colours(shown)
    lines = [np.column_stack([curve.flops, curve.loss]) for curve in shown]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.1, alpha=0.75, zorder=2))
    axes.add_collection(LineCollection(lines, linewidths=GRASP, alpha=0.0, gid="lines", zorder=2.5))
    for state, places in _by_state(shown).items():
        marker, colour = MARKS[state]
        ends = np.array([(shown[i].flops[-1], shown[i].loss[-1]) for i in places])
        dots(axes, *ends.T, colour or [colours[i] for i in places], state, marker=marker, zorder=4)
    log_axes(axes, COMPUTE, f"training {LOSS}")
    axes.autoscale_view()
    power_ticks(axes.xaxis)
    value_ticks(axes.yaxis, np.array(axes.get_ylim()))
    _legend(axes, shown, colours)
    return figure


def texts(curves: Sequence[Curve]) -> dict[str, list[str]]:
    """What a page says over each mark, by the figure's groups (`analysis.figures.svg`)."""
    shown = _shown(curves)
    ends = {state: [shown[i].text for i in places] for state, places in _by_state(shown).items()}
    return {"lines": [curve.text for curve in shown], **ends}


def _shown(curves: Sequence[Curve]) -> list[Curve]:
    return [curve for curve in curves if len(curve.loss)]


def _by_state(shown: Sequence[Curve]) -> dict[str, list[int]]:
    """Places of the curves of each state that occurs."""
    states = [curve.state if curve.state in MARKS else "stopped" for curve in shown]
    return {state: [i for i, own in enumerate(states) if own == state] for state in MARKS if state in states}


def _arms(shown: Sequence[Curve]) -> list[str]:
    return list(dict.fromkeys(curve.arm for curve in shown if curve.arm))


def _colours(shown: Sequence[Curve]) -> list[str]:
    arms = _arms(shown)
    if arms:
        return [SERIES[arms.index(curve.arm) % len(SERIES)] if curve.arm else MUTED for curve in shown]
    return budget_colours(np.array([curve.params for curve in shown], float))


def _legend(axes: Axes, shown: Sequence[Curve], colours: Sequence[str]) -> None:
    """The arms, or the smallest and the largest size; and the states other than finished that occur."""
    names = {curve.arm or "no arm": colour for curve, colour in zip(shown, colours, strict=True)}
    if not _arms(shown):
        names = {f"N = {compact(shown[i].params)}": colours[i] for i in _ends([curve.params for curve in shown])}
    for name, colour in names.items():
        axes.plot([], [], color=colour, label=name)
    for state in _by_state(shown):
        marker, colour = MARKS[state]
        if colour:
            axes.plot([], [], marker, color=colour, markersize=5, label={"training": "under way"}.get(state, state))
    axes.legend(loc="upper right", ncols=1 if len(names) <= 6 else 2)


def _ends(values: Sequence[float]) -> list[int]:
    """Places of the smallest and the largest value; one place where they are equal."""
    return [int(np.argmin(values)), int(np.argmax(values))] if min(values) < max(values) else [0]

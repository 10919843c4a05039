"""The plane of model size and data: the surface of the loss over it, and the runs to train next."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.analyse import Analysis
from analysis.engine.evaluate import values
from analysis.figures.compare import before_and_after
from analysis.figures.palette import ACCENT, INK, MUTED, SECOND, budget_colours
from analysis.figures.style import WIDE, count_ticks, dots, log_axes, new, power, styled, ten_to
from analysis.frontier import Kappa
from analysis.law import Law
from analysis.result import FitResult
from analysis.surface import Surface
from analysis.tables.table import column
from analysis.words import DECISIONS

GRID_POINTS = 90  # each way
ROOM = 1.6  # factor that the plane reaches beyond the runs
MOST_BUDGETS = 8  # isoFLOP lines


@styled
def loss_surface(analysis: Analysis) -> Figure:
    """Iso-loss lines of the fitted law over N and D, isoFLOP lines, the efficient path, and the runs."""
    surface = analysis.surface
    if surface is None:
        raise ValueError("loss_surface: this analysis has no fitted law; see analysis.not_done")
    figure, axes = new(WIDE)
    params, tokens = column(analysis.table, "params"), column(analysis.table, "tokens")
    box = [(v.min() / ROOM, v.max() * ROOM) for v in (params, tokens)]
    _contours(axes, surface.fit, box)
    _budgets(axes, surface.kappa, box)
    if analysis.law:
        _path(axes, surface, float(column(analysis.table, "flops").max()))
    dots(axes, params, tokens, budget_colours(column(analysis.table, "flops")), "runs", label="runs")
    _plane(axes, box)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def next_runs(analysis: Analysis) -> Figure:
    """The runs recommended next among the runs there are, and the interval of the decision before and after them."""
    advice, surface = analysis.recommended, analysis.surface
    if advice is None or surface is None:
        raise ValueError("next_runs: nothing is recommended: analyse(..., thorough=True), or see analysis.not_done")
    figure, (plane, after) = new((9.6, 4.2), 2, width_ratios=[2.1, 1])
    params, tokens = column(analysis.table, "params"), column(analysis.table, "tokens")
    new_params, new_tokens = (np.array([getattr(run, name) for run in advice.runs]) for name in ("params", "tokens"))
    both = (np.concatenate([params, new_params]), np.concatenate([tokens, new_tokens]))
    box = [(values.min() / ROOM, values.max() * ROOM) for values in both]
    _budgets(plane, surface.kappa, box)
    if analysis.law:
        _path(plane, surface, float(column(analysis.table, "flops").max()))
    dots(plane, params, tokens, MUTED, "runs", label="runs there are")
    plane.scatter(new_params, new_tokens, s=90, marker="P", color=INK, edgecolor="white", zorder=4, label="to train",
                  gid="advised")  # fmt: skip
    _plane(plane, box)
    stages = [("now", advice.before), ("after", advice.after)]
    before_and_after(after, [*stages, *([("simulated", advice.simulated)] if advice.simulated else [])])
    after.set_xlabel(f"{DECISIONS[advice.decision]}\nat {power(advice.target_flops)} FLOPs")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def plane_loss(law: Law, theta: np.ndarray, params: np.ndarray, tokens: np.ndarray, kappa: Kappa) -> np.ndarray:
    """The law at these runs, whatever of params, tokens, flops and ratio it is a law of."""
    given = {"params": params, "tokens": tokens, "ratio": tokens / params}
    given["flops"] = kappa(np.log(params)) * params * tokens
    return values(law.form, theta[None], {name: given[name].ravel() for name in law.columns})[0].reshape(params.shape)


def _contours(axes: Axes, fit: FitResult, box: list[tuple[float, float]]) -> None:
    sizes, data = (np.geomspace(*ends, GRID_POINTS) for ends in box)
    x, y = np.meshgrid(sizes, data)
    kappa = Kappa(log_params=np.zeros(1), values=np.full(1, 6.0))
    loss = plane_loss(fit.law, fit.theta, x, y, kappa)
    levels = MaxNLocator(11, steps=[1, 2, 2.5, 5, 10]).tick_values(*np.quantile(loss, [0.0, 0.97]))
    lines = axes.contour(x, y, loss, levels=levels, colors=MUTED, linewidths=0.9, alpha=0.9, zorder=1.5)
    axes.clabel(lines, fmt=lambda value: f"{value:g}", fontsize=8, colors=INK, inline_spacing=3)
    axes.plot([], [], color=MUTED, linewidth=0.9, label="equal loss")


def _budgets(axes: Axes, kappa: Kappa, box: list[tuple[float, float]]) -> None:
    """Lines of equal compute at powers of ten."""
    sizes = np.geomspace(*box[0], 60)
    per_token = kappa(np.log(sizes)) * sizes
    low, high = np.log10(per_token[0] * box[1][0]), np.log10(per_token[-1] * box[1][1])
    edge = (box[1][1] / box[1][0]) ** 0.05  # a label needs room
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    for exponent in powers[:: -(-len(powers) // MOST_BUDGETS)]:
        tokens = 10**exponent / per_token
        axes.plot(sizes, tokens, color=SECOND, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.55, zorder=1.6)
        inside = np.flatnonzero((tokens > box[1][0] * edge) & (tokens < box[1][1] / edge) & (sizes > box[0][0] * edge))
        if len(inside):
            at = inside[0]
            axes.annotate(ten_to(exponent), (sizes[at], tokens[at]), (3, 3), textcoords="offset points",
                          color=SECOND, fontsize=8, clip_on=True)  # fmt: skip
    axes.plot([], [], color=SECOND, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7, label="equal compute, FLOPs")


def _path(axes: Axes, surface: Surface, largest: float) -> None:
    front = surface.frontier
    keep = np.isfinite(front.params) & (front.params > 0) & np.isfinite(front.tokens)
    within = keep & (front.flops <= largest)
    axes.plot(front.params[keep], front.tokens[keep], "--", color=ACCENT, linewidth=1.2, zorder=2)
    axes.plot(front.params[within], front.tokens[within], color=ACCENT, linewidth=2.2, zorder=2, label="efficient path")


def _plane(axes: Axes, box: list[tuple[float, float]]) -> None:
    log_axes(axes, "parameters N", "tokens D")
    axes.set_xlim(*box[0])
    axes.set_ylim(*box[1])
    count_ticks(axes.xaxis, *box[0])
    count_ticks(axes.yaxis, *box[1])
    axes.grid(False)

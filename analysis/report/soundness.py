"""Is the fit sound? What the search, the residuals and the leverage say, as HTML."""

from html import escape
from typing import Any

import numpy as np

from analysis.analyse import Analysis
from analysis.misfit import Misfit
from analysis.report.page import facts, section, table_html
from analysis.result import FitResult
from analysis.surface import Surface
from analysis.words import flops, percent, short

MOST_STEERING = 5  # runs


def soundness(analysis: Analysis, figure: str) -> str:
    """The section of a report on a table of runs."""
    surface = analysis.surface
    if not surface:
        return ""
    rows = [*search_facts(surface.fit, surface.refits), *_surface_facts(surface)]
    return section("Is the fit sound?", facts(rows) + figure + _budgets(surface.misfit) + steering(surface.fit))


def search_facts(fit: FitResult, refits: dict[float, np.ndarray] | None = None) -> list[tuple[str, str]]:
    """(what, what was found) of any fit. refits: theta by another Huber delta."""
    rows = [
        ("Status", f"{fit.status.value}; {fit.starts_agreeing:.0%} of {fit.starts} starts reach the same optimum"),
        ("Objective", f"{fit.objective:.6e}, {fit.loss.describe()}, summed over {len(fit.residuals)} rows"),
        ("Residual scale", f"{percent(fit.scale)} of {fit.law.target}" if fit.law.in_log else f"{fit.scale:.3g}"),
    ]
    if np.isfinite(fit.loss.delta):
        rows.append(("Huber's delta", f"{fit.loss.delta:g} beside a residual scale of {fit.scale:.2g}: {_regime(fit)}"))
    if refits:
        rows.append(("With another delta", _refits(fit, refits)))
    return [*rows, ("Condition number", f"{fit.condition:.3g} (unit columns)")]


def steering(fit: FitResult) -> str:
    """The rows that steer the law: five outliers once moved B sixfold (SCIENCE, trap 5)."""
    names = [name for name, values in fit.rows.columns.items() if values.ndim == 1][:3]
    top = np.argsort(-fit.leverage, kind="stable")[:MOST_STEERING]
    cells = [
        [fit.rows.ids[i], *(short(fit.rows.columns[name][i]) for name in names), f"{fit.leverage[i]:.2f}",
         _residual(fit, i)]
        for i in top
    ]  # fmt: skip
    table = table_html(["row", *names, "leverage (1 is full)", "residual"], cells)
    return f"<h3>Rows that steer the law most</h3>{table}"


def _surface_facts(surface: Surface) -> list[tuple[str, str]]:
    noise, misfit = surface.boot.noise, surface.misfit
    seeds = "no cell was trained with two seeds: the form cannot be tested against noise"
    if misfit.seeds:
        seeds = f"residual scale {percent(misfit.scale)}, seeds alone {misfit.seeds.describe()}; "
        seeds += f"ratio {misfit.ratio:.1f}, by chance in {misfit.chance:.0%} of studies"
    return [
        ("Residuals beside the seeds", seeds),
        ("Noise in the bootstrap", f"{noise.scale:.2%} of the loss a run, {noise.share:.0%} of its variance shared"),
    ]


def _refits(fit: FitResult, refits: dict[float, np.ndarray]) -> str:
    """The exponents under each other delta."""
    powers = [i for i in range(len(fit.law.names)) if fit.law.free[i] and not fit.law.log[i]]
    return "; ".join(
        ", ".join(f"{fit.law.names[i]} {theta[i]:.3f}" for i in powers) + f" with delta {delta:g}"
        for delta, theta in refits.items()
    )


def _regime(fit: FitResult) -> str:
    ratio = fit.loss.delta / max(fit.scale, 1e-300)
    if ratio < 0.3:
        return "nearly least absolute deviations, outliers count little"
    return "between absolute and squared residuals" if ratio < 3 else "plain least squares, outliers count in full"


def _residual(fit: FitResult, i: Any) -> str:
    return f"{100 * fit.residuals[i]:+.2f}%" if fit.law.in_log else f"{fit.residuals[i]:+.4g}"


def _budgets(misfit: Misfit) -> str:
    """Mean residual of each budget: a trend here goes on into the forecast."""
    rows = [
        [
            flops(level.flops), f"{level.runs}", f"{100 * level.mean:+.2f}%", f"{100 * level.margin:.2f}%",
            "yes" if abs(level.mean) > level.margin else "no",
        ]
        for level in misfit.levels
    ]  # fmt: skip
    head = ["budget, FLOPs", "runs", "mean residual", "noise alone, either way", "beyond noise"]
    note = f"<p class='muted'>What noise alone would do in 95% of studies is judged {escape(misfit.noise_from)}.</p>"
    return f"<h3>Mean residual of each budget</h3>{table_html(head, rows)}{note}"

"""The result in plain lines for a terminal."""

from analysis.analyse import Analysis
from analysis.backtest import Backtest
from analysis.design import Recommendation
from analysis.isoflop import IsoFlop
from analysis.misfit import Misfit
from analysis.report.verdict import hardly_determined, shows_trend
from analysis.surface import Surface
from analysis.words import Estimate, bracket, counts, flops, interval, percent, plural


def summarise(analysis: Analysis) -> str:
    """The law, the exponents, the forecast, and what could not be done."""
    lines = [_rows(analysis)]
    if analysis.surface:
        lines += ["", *_law_lines(analysis.surface), *_misfit_lines(analysis.surface.misfit)]
        lines += [f"  hardly determined: {item}" for item in hardly_determined(analysis)]
    if analysis.law or (analysis.isoflop and analysis.isoflop.params):
        lines.append("")
    if analysis.law:
        lines.append(f"Optimal size   N* ~ (C/kappa)^a   with a = {interval(analysis.law.exponent)}   (surface fit)")
    if analysis.isoflop and analysis.isoflop.params:
        lines.append(_isoflop_line(analysis.isoflop))
    if analysis.forecast or shows_trend(analysis):
        lines += ["", *_forecast_lines(analysis)]
    if analysis.methods:
        lines += ["", "Methods side by side", *(f"  {item.describe()}" for item in analysis.methods)]
    if analysis.backtest:
        lines += ["", *_backtest_lines(analysis.backtest)]
    if analysis.recommended:
        lines += ["", *_next_lines(analysis.recommended)]
    if analysis.not_done:
        lines += ["", *(f"Not done: {item.part}: {item.reason}" for item in analysis.not_done)]
    if analysis.warnings:
        lines += ["", "Warnings", *(f"  {doubt.name}: {doubt.text}" for doubt in analysis.warnings)]
    return "\n".join(lines)


def _rows(analysis: Analysis) -> str:
    reasons = analysis.selection.reasons()
    line = f"{plural(analysis.table.num_rows, 'run')} fitted"
    if reasons:
        line += f"; {sum(reasons.values())} left out (" + ", ".join(f"{n} {why}" for why, n in reasons.items()) + ")"
    return line


def _law_lines(surface: Surface) -> list[str]:
    lines = [f"Law   {surface.fit.law.formula}   ({surface.fit.status.value})"]
    if surface.undetermined:
        closest = ", ".join(f"{name} {value:.4g}" for name, value in surface.fit.params.items())
        return [*lines, f"  not determined by these runs: {surface.undetermined}", f"  closest fit: {closest}"]
    intervals = surface.boot.conf_int()
    for name, value in surface.fit.params.items():
        held = name in surface.fit.law.fixed
        lines.append(f"  {name:<6}{value:>10.4g}   " + ("held" if held else f"95% {bracket(*intervals[name])}"))
    return [*lines, f"  by {surface.boot.describe()}"]


def _misfit_lines(misfit: Misfit) -> list[str]:
    seeds = misfit.seeds.describe() if misfit.seeds else "not known: no cell was trained with two seeds"
    last = misfit.levels[-1]
    return [
        f"  residual scale {percent(misfit.scale)}; noise of the seeds {seeds}",
        f"  mean residual at the largest budget, {flops(last.flops)} FLOPs: {last.mean:+.1%} "
        f"(noise alone: {percent(last.margin)} either way, {misfit.noise_from})",
    ]


def _isoflop_line(found: IsoFlop) -> str:
    return (
        f"IsoFLOP        N* ~ C^a           with a = {interval(found.params.exponent)}   "
        f"({len(found.usable)} of {len(found.minima)} minima)"
    )


def _forecast_lines(analysis: Analysis) -> list[str]:
    ahead, lines = analysis.forecast, []
    if ahead:
        run = bracket(ahead.run.low, ahead.run.high, ".3f")
        lines = [
            f"Forecast for {ahead.flops:.3g} FLOPs, {ahead.ratio:.3g} times the largest run",
            f"  loss         {interval(ahead.loss)} nats a token (one run: {run})",
            f"  parameters   {counts(ahead.params)}",
            f"  tokens       {counts(ahead.tokens)}, {counts(ahead.tokens_per_param)} a parameter",
        ]
    if shows_trend(analysis):
        title = [] if ahead else [f"Forecast for {analysis.target:.3g} FLOPs"]
        second = f"  loss         {interval(analysis.trend)} by a power law without a floor through the isoFLOP minima"
        lines = [*lines, *title, second]
    return lines


def _backtest_lines(tested: Backtest) -> list[str]:
    said = tested.summary()
    return (said[0].upper() + said[1:]).splitlines()


def _next_lines(advice: Recommendation) -> list[str]:
    """The runs, and what they are expected to be worth."""
    first, *rest = advice.describe().splitlines()
    return [f"Next: {first}", *rest, f"  95% now {_shown(advice.before)}, expected after {_shown(advice.after)}"]


def _shown(found: Estimate) -> str:
    return counts(found) if found.value >= 1e4 else interval(found)

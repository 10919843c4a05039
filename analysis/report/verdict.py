"""What these runs determine, what they hardly determine, and the answer in a few sentences.

A number that the runs do not hold is never stated as the answer: a surface fit
at a bound is held back whole, and where an interval is very wide the text says
so before it says anything else.
"""

import numpy as np

from analysis.analyse import Analysis
from analysis.surface import Surface
from analysis.tables.table import column
from analysis.words import Estimate, bracket, counts, flops, interval, percent, short

WIDE_EXPONENT = 0.5  # width of an interval of a beyond which a is hardly determined
WIDE_RATIO = 100.0  # upper over lower end of the tokens per parameter
NARROW_SIZE = 4.0  # upper over lower end of a best size that counts as determined
NO_FLOOR = 0.05  # E's interval reaches 0 when it goes below this share of the lowest loss


def answer(analysis: Analysis) -> list[str]:
    """The result in one or two paragraphs of plain text: what the runs say, and what a larger run will reach."""
    if not analysis.surface:
        reasons = "; ".join(f"{item.part}: {item.reason}" for item in analysis.not_done)
        return [f"These runs do not yet hold a law: {reasons}."]
    known, hardly = determined(analysis), hardly_determined(analysis)
    said = [f"These runs determine {'; '.join(known)}."] if known else []
    who = "They" if known else "These runs"
    if not analysis.law:
        said.append(f"{who} do not determine the law: {analysis.surface.undetermined}. No forecast is made from it.")
    elif hardly:
        said.append(f"{who} hardly determine {'; '.join(hardly)}.")
    else:
        said = [_growth(analysis, analysis.law)]
    ahead = [*_forecast(analysis), *_trend(analysis)]
    return [" ".join(part) for part in (said, [*_misfit(analysis), *ahead]) if part]


def determined(analysis: Analysis) -> list[str]:
    """Clauses for what has a narrow interval, the isoFLOP minima first: they lean on no law."""
    found = []
    minima = analysis.isoflop
    if minima and minima.params:
        a = minima.params.exponent
        first, last = minima.usable[0].flops, minima.usable[-1].flops
        if a.span <= WIDE_EXPONENT:
            found.append(
                f"that the best size grows as compute to the power {interval(a, '.2f')} between {flops(first)} and "
                f"{flops(last)} FLOPs (isoFLOP minima)"
            )
    if minima and minima.usable:
        best = minima.usable[-1]
        size = Estimate(value=best.params, low=best.params_low, high=best.params_high)
        if size.factor <= NARROW_SIZE:
            found.append(f"the best size for {flops(best.flops)} FLOPs, {counts(size)} parameters")
    return found


def hardly_determined(analysis: Analysis) -> list[str]:
    """Clauses for what the surface fit leaves open; empty when all is well held, or nothing is fitted."""
    surface, found = analysis.law, []
    if surface is None:
        return found
    a = surface.exponent
    if a.span > WIDE_EXPONENT:
        found.append(f"how the best size grows with compute by the surface fit (a from {a.low:.2f} to {a.high:.2f})")
    low, high = surface.boot.conf_int().get("E", (np.inf, np.inf))
    if low < NO_FLOOR * column(analysis.table, "loss").min():
        found.append(f"the floor E, which may lie anywhere from 0 to {high:.3g}")
    flops_at, ratio = largest_budget(analysis, surface)
    if ratio.factor > WIDE_RATIO:
        found.append(
            f"the best tokens per parameter at {flops(flops_at)} FLOPs ({bracket(ratio.low, ratio.high, '.2g')})"
        )
    return found


def largest_budget(analysis: Analysis, surface: Surface) -> tuple[float, Estimate]:
    """FLOPs of the largest budget trained, and the best tokens per parameter there by the surface."""
    best = surface.frontier
    at = int(np.argmin(np.abs(np.log(best.flops / column(analysis.table, "flops").max()))))
    low, high = best.ratio_band[:, at]
    return float(best.flops[at]), Estimate(value=float(best.ratio[at]), low=float(low), high=float(high))


def shows_trend(analysis: Analysis) -> bool:
    """Whether the second opinion is called for: no law, or one that misses the largest budget."""
    return analysis.trend is not None and (analysis.law is None or analysis.law.misfit.missed is not None)


def _growth(analysis: Analysis, surface: Surface) -> str:
    flops_at, ratio = largest_budget(analysis, surface)
    return (
        f"The best model size grows as compute to the power {interval(surface.exponent, '.2f')}. At the largest budget "
        f"trained, {flops(flops_at)} FLOPs, the best split is {counts(ratio)} tokens per parameter."
    )


def _misfit(analysis: Analysis) -> list[str]:
    if not analysis.law:
        return []
    found, said = analysis.law.misfit, []
    if found.verdict:
        said.append(
            f"{found.verdict[0].upper()}{found.verdict[1:]}: it misses them by {percent(found.scale)}, while seeds "
            f"differ by {percent(found.seeds.scale)}."
        )
    if found.missed:
        below = found.missed.mean < 0
        said.append(
            f"At the largest budget the losses lie {abs(found.missed.mean):.1%} {'below' if below else 'above'} it, so "
            f"its forecast is probably too {'high' if below else 'low'}."
        )
    return said


def _forecast(analysis: Analysis) -> list[str]:
    ahead = analysis.forecast
    if not ahead:
        return []
    sized = ahead.params.factor < WIDE_RATIO
    model = f"a model of {short(ahead.params.value)} parameters" if sized else "the best model"
    return [
        f"With {flops(ahead.flops)} FLOPs, {ahead.ratio:.3g} times the largest run, the law expects {model} to reach a "
        f"loss of {interval(ahead.loss, '.2f')} nats per token."
    ]


def _trend(analysis: Analysis) -> list[str]:
    if not shows_trend(analysis):
        return []
    return [
        "A second opinion, a power law without a floor through the isoFLOP minima, gives "
        f"{interval(analysis.trend, '.2f')} nats per token at {flops(analysis.target)} FLOPs."
    ]

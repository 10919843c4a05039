"""Numbers as words for a reader: counts, plurals and intervals."""

from dataclasses import dataclass

import numpy as np

# An interval whose ends are further apart than this factor tells a reader nothing but that.
TOO_WIDE = 1e6

# What the next runs may be chosen for (`analysis.design`).
DECISIONS = {
    "params": "best model size N*",
    "loss": "loss of the best model",
    "ratio": "best tokens per parameter",
    "exponent": "exponent a of the best size",
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def span(self) -> float:
        return self.high - self.low

    @property
    def factor(self) -> float:
        """Upper end over lower end."""
        return self.high / self.low if self.low > 0 else np.inf


def plural(count: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def short(value: float) -> str:
    """A count for reading: 28,400 or 1.66M; powers of ten beyond a quadrillion."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if size <= abs(value) < 1e3 * size:
            return f"{value / size:.3g}{unit}"
    return f"{float(f'{value:.3g}'):,.0f}" if 10 <= abs(value) < 1e6 else f"{value:.3g}"


def compact(value: float) -> str:
    """Axis label of a count: 5k, 1.2M; powers of ten from a quadrillion on."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size <= value * 1.0000001 < 1e3 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def flops(value: float) -> str:
    """3.20e11."""
    return number(value, ".2e")


def percent(value: float) -> str:
    """0.0123 as 1.2%; one more digit below 1%."""
    return f"{100 * value:.1f}%" if abs(value) >= 0.01 else f"{100 * value:.2f}%"


def number(value: float, digits: str = ".4g") -> str:
    """8.947e7 where Python says 8.947e+07."""
    return f"{value:{digits}}".replace("e+0", "e").replace("e+", "e").replace("inf", "∞")


def bracket(low: float, high: float, digits: str = ".4g") -> str:
    """[low, high], or how many decades it covers where the ends would say nothing; empty where there is none."""
    if np.isnan(low) or np.isnan(high):
        return ""
    if low > 0 and high > TOO_WIDE * low:
        decades = np.log10(high / low)
        return f"not determined (over {decades:.0f} decades)" if np.isfinite(decades) else "not determined"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def interval(estimate: Estimate, digits: str = ".3f") -> str:
    """value [low, high]."""
    return f"{number(estimate.value, digits)} {bracket(estimate.low, estimate.high, digits)}".rstrip()


def counts(estimate: Estimate) -> str:
    """28,400 [20,000, 40,000]; nothing but the truth where the interval is no help."""
    if np.isnan(estimate.low) or np.isnan(estimate.high):
        return short(estimate.value)
    if estimate.factor > TOO_WIDE:
        return "not determined"
    return f"{short(estimate.value)} [{short(estimate.low)}, {short(estimate.high)}]"

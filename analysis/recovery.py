"""Fits to runs whose law is known: how far they are off, and how often their intervals hold the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.intervals import METHODS
from analysis.result import FitResult


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """One parameter over many fits. n fits."""

    parameter: str
    truth: np.ndarray  # (n,)
    values: np.ndarray  # (n,) fitted
    ends: dict[str, np.ndarray]  # by method: (n, 2) intervals
    level: float

    @property
    def bias(self) -> float:
        """Mean of fitted less true."""
        return float((self.values - self.truth).mean())

    @property
    def spread(self) -> float:
        """Standard deviation of fitted less true over the fits."""
        return float((self.values - self.truth).std(ddof=1)) if len(self.values) > 1 else float("nan")

    @property
    def bias_se(self) -> float:
        return self.spread / np.sqrt(len(self.values))

    def held(self, method: str) -> int:
        """How many intervals hold the truth."""
        low, high = self.ends[method].T
        return int(((low <= self.truth) & (self.truth <= high)).sum())

    def width(self, method: str) -> float:
        """The median of the intervals' widths."""
        return float(np.median(np.diff(self.ends[method])))

    def coverage(self, method: str) -> tuple[float, float, float]:
        """Share of intervals that hold the truth, and the 95% interval of that share (Wilson 1927).

        The interval takes the fits as independent.
        """
        held, fits = self.held(method), len(self.values)
        return held / fits, *wilson(held, fits)


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a binomial share, 95% unless another z is given."""
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def recover(
    fits: Sequence[FitResult], truths: Mapping[str, Sequence[Sequence[float]]], level: float = 0.95
) -> dict[str, list[Recovery]]:
    """For each parameter a recovery for each of its sets of truths, (m, n): what is true may be said in several ways.

    The intervals, slow to make, are made once.
    """
    found = {method: [fit.conf_int(method, level) for fit in fits] for method in METHODS}
    return {
        name: [
            Recovery(
                parameter=name,
                truth=np.asarray(truth, float),
                values=np.array([fit.params[name] for fit in fits]),
                ends={method: np.array([every[name] for every in of_fits]) for method, of_fits in found.items()},
                level=level,
            )
            for truth in sets
        ]
        for name, sets in truths.items()
    }

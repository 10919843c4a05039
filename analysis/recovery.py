"""Fits to runs whose law is known: how far they are off, and how often their intervals hold the truth."""

from collections.abc import Sequence
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
    held: dict[str, int]  # by method: intervals that hold the truth
    width: dict[str, float]  # by method: the median width
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

    def coverage(self, method: str) -> tuple[float, float, float]:
        """Share of intervals that hold the truth, and the 95% interval of that share (Wilson 1927).

        The interval takes the fits as independent.
        """
        return self.held[method] / len(self.values), *wilson(self.held[method], len(self.values))


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a binomial share, 95% unless another z is given."""
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def recover(
    fits: Sequence[FitResult], parameter: str, truths: Sequence[Sequence[float]], level: float = 0.95
) -> list[Recovery]:
    """A recovery for each of several sets of truths, (m, n): the intervals, slow to make, are made once."""
    ends = {method: np.array([fit.conf_int(method, level)[parameter] for fit in fits]) for method in METHODS}
    values = np.array([fit.params[parameter] for fit in fits])
    found = []
    for truth in np.asarray(truths, float):
        held = {m: int(((e[:, 0] <= truth) & (truth <= e[:, 1])).sum()) for m, e in ends.items()}
        width = {method: float(np.median(both[:, 1] - both[:, 0])) for method, both in ends.items()}
        found.append(Recovery(parameter=parameter, truth=truth, values=values, held=held, width=width, level=level))
    return found

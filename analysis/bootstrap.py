"""How far the law could be off: refits of resampled or re-simulated runs.

Two methods, chosen by the design and named in every output:

`clusters` (at least 20 of them): draw whole clusters with replacement. It
assumes nothing about the noise, but needs many clusters, and clusters that are
alike.

`noise` (fewer): keep the design, add fresh noise to the fitted curve. In a
study of 5 to 8 trunks the trunk IS the model size: drawing 7 trunks with
replacement leaves about 4.6 different sizes for a law that needs 3, so the
spread would mostly be that of the mutilated design. Instead `analysis.noise`
estimates how much noise the branches of a trunk share and how large it is, and
each draw takes its own values of both. It assumes that the law holds and that
the noise is about as large everywhere.
"""

from dataclasses import dataclass

import numpy as np

from analysis.engine.solver import Problem, minimise
from analysis.engine.starts import project
from analysis.noise import Noise, estimate
from analysis.result import FitResult

MANY_CLUSTERS = 20
OTHER_EXPONENTS = (0.6, 1.6)  # of those found: where each draw's search begins as well
MANY_ROWS = 100  # with so many the law is held well enough to start from the solution alone
ROUGH = 40  # iterations after which the starts of one draw are compared


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws of a fitted law."""

    fit: FitResult
    method: str  # "clusters" or "noise"
    clusters: int
    theta: np.ndarray  # (R, P), ln of amounts
    converged: float  # share of the draws
    noise: Noise  # of the fit's residuals

    def describe(self) -> str:
        """Which method was used, in one sentence."""
        if self.method == "clusters":
            return f"{len(self.theta)} resamples of {self.clusters} clusters of runs, drawn with replacement"
        return (
            f"{len(self.theta)} simulations of the noise on the same design ({self.clusters} trunks are too few to "
            f"resample): {self.noise.scale:.2%} of the loss a run, {self.noise.share:.0%} of its variance shared "
            "within a trunk"
        )

    def conf_int(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile interval of each parameter."""
        low, high = percentiles(self.fit.law.values(self.theta), level)
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(self.fit.law.names)}

    def bse(self) -> dict[str, float]:
        """Standard deviation of each parameter over the draws."""
        return dict(zip(self.fit.law.names, self.fit.law.values(self.theta).std(0, ddof=1).tolist(), strict=True))


def percentiles(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the central interval over the first axis."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0, method="median_unbiased")
    return low, high


def bootstrap(fit: FitResult, *, draws: int = 1000, seed: int = 0, method: str | None = None) -> Bootstrap:
    """Refit the law to `draws` resamples of the rows that `fit` saw.

    method: "clusters" or "noise"; None chooses by the number of clusters.
    """
    if method not in (None, "clusters", "noise"):
        raise ValueError(f"bootstrap(method={method!r}): must be 'clusters', 'noise' or None to choose by the design")
    names = fit.rows.clusters
    index = np.unique(names, return_inverse=True)[1]
    clusters = int(index.max()) + 1
    method = method or ("clusters" if clusters >= MANY_CLUSTERS else "noise")
    noise = estimate(fit.residuals * fit.weights, fit.jacobian[:, fit.law.free], list(names))
    rng = np.random.default_rng(seed)
    measured = np.log(fit.rows.target) if fit.law.in_log else fit.rows.target
    if method == "clusters":
        chosen = rng.integers(clusters, size=(draws, clusters))
        counts = np.stack([np.bincount(row, minlength=clusters) for row in chosen])[:, index].astype(float)
        targets = np.broadcast_to(measured, (draws, len(measured)))
    else:
        counts = np.ones((draws, len(measured)))
        targets = measured - fit.residuals + noise.draw(rng, draws) / fit.weights
    theta, converged = refit(fit, targets, counts)
    return Bootstrap(fit=fit, method=method, clusters=clusters, theta=theta, converged=converged, noise=noise)


def refit(fit: FitResult, targets_Rn: np.ndarray, counts_Rn: np.ndarray) -> tuple[np.ndarray, float]:
    """(R, P) the law refitted to each row of targets, and the share that converged.

    In a small table each refit starts from the solution and from two others;
    the one that is lowest after a few iterations goes on.
    """
    problem = Problem(
        form=fit.law.form, columns=fit.rows.columns, scales_n=fit.weights, loss=fit.loss,
        lower=fit.lower, upper=fit.upper,
    )  # fmt: skip
    draws = len(targets_Rn)
    starts = _warm_starts(fit)
    first = np.tile(starts[:1], (draws, 1))
    if len(starts) > 1:
        spread = np.repeat(np.arange(draws), len(starts))
        every = np.tile(starts, (draws, 1))
        rough = minimise(problem, every, targets_Rn[spread], counts_Rn[spread], ROUGH)
        best = rough.objective_R.reshape(draws, -1).argmin(1) + np.arange(draws) * len(starts)
        first = rough.theta_RP[best]
    solution = minimise(problem, first, targets_Rn, counts_Rn)
    return solution.theta_RP, float(solution.converged_R.mean())


def _warm_starts(fit: FitResult) -> np.ndarray:
    """The solution; in a small table also with other exponents and the linear parameters that go with them."""
    law = fit.law
    bent = ~law.log & law.free & ~np.isin(law.names, law.linear)
    if not law.linear or not bent.any() or len(fit.residuals) > MANY_ROWS:
        return fit.theta[None]
    others = np.tile(law.values(fit.theta), (len(OTHER_EXPONENTS), 1))
    for row, factor in zip(others, OTHER_EXPONENTS, strict=True):
        row[bent] = np.clip(row[bent] * factor, fit.lower[bent], fit.upper[bent])
    moved = project(law, others, fit.rows.columns, fit.rows.target, fit.weights)
    return np.concatenate([fit.theta[None], moved.theta_RP])

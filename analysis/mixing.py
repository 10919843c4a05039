"""Which mixture of sources is best: a mixing law fitted to proxy runs, its error, and its lowest point.

A law for each part's held-out loss (`analysis.laws.mixtures`, Ye et al. 2024,
arXiv:2403.16952), from the columns `share_PART` and `loss_PART` of a table. Their
mean is convex in the shares, so it has one lowest point within any limits.

    >>> made = {f"share_{name}": share for name, share in (("a", np.linspace(0, 1, 9)), ("b", np.linspace(1, 0, 9)))}
    >>> made |= {"loss_a": 2 + np.exp(-3 * made["share_a"]), "loss_b": 2 + np.exp(-3 * made["share_b"])}
    >>> found = fit_mixing(made, ("a", "b"))
    >>> best_mixture(found)
    (0.5, 0.5)
"""

# n runs, m mixtures, K parts (each also a held-out set), R draws, P parameters of a law

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from analysis.bootstrap import percentiles, refit
from analysis.fit import fit
from analysis.laws.mixtures import mixture
from analysis.losses import squared
from analysis.result import FitResult
from analysis.tables.read import frame, numbers

HUNDRED = 100  # weights are whole hundredths, which a person can read
SAME_SHARE = 0.005  # shares that differ by less are one mixture: runs have whole sequences of each part
DRAWS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixing:
    """The law of each part's loss, and how sure it is."""

    parts: tuple[str, ...]
    target_K: np.ndarray  # what each part's loss counts in the mean; sums to 1
    fits: tuple[FitResult, ...]  # (K,)
    draws_RKP: np.ndarray  # natural values of the laws, fitted to resampled residuals
    left_out_nK: np.ndarray  # losses of each run by laws fitted without its mixture

    @property
    def shares_nK(self) -> np.ndarray:
        return np.stack(list(self.fits[0].rows.columns.values()), axis=1)

    @property
    def measured_nK(self) -> np.ndarray:
        return np.stack([found.rows.target for found in self.fits], axis=1)

    @property
    def values_KP(self) -> np.ndarray:
        return np.array([list(found.params.values()) for found in self.fits])

    def losses(self, shares_mK: np.ndarray) -> np.ndarray:
        """(m, K) what the laws say of mixtures."""
        return law_losses(self.values_KP, np.atleast_2d(shares_mK))

    def mean(self, losses_mK: np.ndarray) -> np.ndarray:
        """(m,) the mean that mixtures are judged by."""
        return losses_mK @ self.target_K

    def mean_interval(self, shares_mK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,) ends of the 95% interval of the mean loss by the laws: of what is expected, not of one run."""
        drawn = [self.mean(law_losses(values_KP, np.atleast_2d(shares_mK))) for values_KP in self.draws_RKP]
        return percentiles(np.array(drawn))

    def conf_int(self) -> list[dict[str, tuple[float, float]]]:
        """Of each part's law the 95% interval of each parameter, by the draws."""
        low_KP, high_KP = percentiles(self.draws_RKP)
        names = self.fits[0].law.names
        return [
            {name: (float(low[p]), float(high[p])) for p, name in enumerate(names)}
            for low, high in zip(low_KP, high_KP, strict=True)
        ]

    def left_out_error(self) -> np.ndarray:
        """(K + 1,) root mean square of measured over predicted, less 1, on mixtures left out; last of the mean loss."""
        return _rms(self._beside(self.left_out_nK))

    def spread(self) -> np.ndarray:
        """(K + 1,) the same for whoever says of each mixture the mean over the others: what there is to explain."""
        same_nn = same_mixture(self.shares_nK)
        others_nK = np.stack([self.measured_nK[~same].mean(0) for same in same_nn])
        return _rms(self._beside(others_nK))

    def _beside(self, predicted_nK: np.ndarray) -> np.ndarray:
        whole = [np.c_[losses, self.mean(losses)] for losses in (self.measured_nK, predicted_nK)]
        return whole[0] / whole[1] - 1


def fit_mixing(
    data: Any, parts: Sequence[str], target: Sequence[float] = (), *, draws: int = DRAWS, seed: int = 0
) -> Mixing:
    """Fit the law of each part to a table with columns share_PART and loss_PART.

    target: what each part's loss counts in the mean; equal when empty. Least
    squares of ln loss. The intervals come of refits to the fitted losses with
    residuals drawn anew, those of one run together, since its parts share its luck.
    FitError where the rows cannot identify a law.
    """
    table, parts = frame(data), tuple(parts)
    shares = {f"share_{name}": numbers(table, f"share_{name}") for name in parts}
    weights_K = np.array(target or [1.0] * len(parts), float)
    law_of = {name: mixture(tuple(shares), f"loss_{name}") for name in parts}
    fits = [fit(law, shares | {law.target: numbers(table, law.target)}, squared()) for law in law_of.values()]
    same_nn = same_mixture(np.stack(list(shares.values()), axis=1))
    left_out = [_without(found, same_nn) for found in fits]
    return Mixing(
        parts=parts,
        target_K=weights_K / weights_K.sum(),
        fits=tuple(fits),
        draws_RKP=_drawn(fits, draws, seed),
        left_out_nK=np.stack(left_out, axis=1),
    )


def law_losses(values_KP: np.ndarray, shares_mK: np.ndarray) -> np.ndarray:
    """(m, K) L_i = c_i + k_i exp(sum_j t_ij r_j), t of the last part 0. shares: (m, K), each of sum 1."""
    floors, factors, slopes = values_KP[:, 0], values_KP[:, 1], values_KP[:, 2:]
    return floors + factors * np.exp(shares_mK[:, :-1] @ slopes.T)


def same_mixture(shares_nK: np.ndarray, others_mK: np.ndarray | None = None) -> np.ndarray:
    """(n, m) True where two runs read one mixture."""
    others_mK = shares_nK if others_mK is None else others_mK
    return np.abs(shares_nK[:, None] - others_mK[None]).max(-1) < SAME_SHARE


def best_mixture(found: Mixing, least: float = 0.0, most: Sequence[float] = ()) -> tuple[float, ...]:
    """The mixture of the lowest mean loss, in hundredths. least: share of every part. most: of each; all when empty."""
    low, high = _limits(found.parts, least, most)
    exact = lowest(found.values_KP, found.target_K, low / HUNDRED, high / HUNDRED)
    points = _rounded(exact, low, high)
    loss = found.mean(found.losses(points / HUNDRED))[0]
    while True:  # a hundredth from one part to another, as long as that helps: rounding has missed a little
        near = [
            points + give * np.eye(len(points), dtype=int)[i] - give * np.eye(len(points), dtype=int)[j]
            for i in range(len(points)) for j in range(len(points)) for give in (1,)
            if i != j and points[i] < high[i] and points[j] > low[j]
        ]  # fmt: skip
        losses = found.mean(found.losses(np.array(near) / HUNDRED)) if near else np.array([np.inf])
        if losses.min() >= loss:
            return tuple((points / HUNDRED).tolist())
        points, loss = near[int(losses.argmin())], losses.min()


def best_intervals(found: Mixing, least: float = 0.0, most: Sequence[float] = ()) -> np.ndarray:
    """(K, 2) the 95% interval of each part's share in the best mixture, by the draws of the laws."""
    low, high = _limits(found.parts, least, most)
    each = [lowest(values_KP, found.target_K, low / HUNDRED, high / HUNDRED) for values_KP in found.draws_RKP]
    return np.stack(percentiles(np.array(each)), axis=1)


def lowest(values_KP: np.ndarray, target_K: np.ndarray, low_K: np.ndarray, high_K: np.ndarray) -> np.ndarray:
    """(K,) shares of sum 1 within limits at which the mean loss is lowest: of a convex function, by SLSQP."""
    slopes = np.c_[values_KP[:, 2:], np.zeros(len(values_KP))]
    start = low_K + (high_K - low_K) * (1 - low_K.sum()) / (high_K - low_K).sum()

    def mean(shares_K: np.ndarray) -> tuple[float, np.ndarray]:
        over_floor = target_K * values_KP[:, 1] * np.exp(slopes @ shares_K)
        return float(target_K @ values_KP[:, 0] + over_floor.sum()), over_floor @ slopes

    whole = {"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like}
    bounds = list(zip(low_K, high_K, strict=True))
    solved = minimize(mean, start, jac=True, bounds=bounds, constraints=whole, method="SLSQP", tol=1e-10)
    shares = np.clip(solved.x, low_K, high_K)
    return shares if np.isfinite(shares).all() and mean(shares)[0] <= mean(start)[0] else start


def _limits(parts: Sequence[str], least: float, most: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(K,) whole hundredths; ValueError where no mixture lies between."""
    low = np.full(len(parts), int(np.ceil(round(HUNDRED * least, 6))))
    high = np.array([int(np.floor(round(HUNDRED * share, 6))) for share in most or [1.0] * len(parts)])
    if (low > high).any() or not low.sum() <= HUNDRED <= high.sum():
        limits = ", ".join(f"{name} {a} to {b}" for name, a, b in zip(parts, low, high, strict=True))
        raise ValueError(
            f"no mixture has shares within these limits, in hundredths: {limits}; a smaller least share, more epochs "
            "or fewer tokens would leave room"
        )
    return low, high


def _rounded(shares_K: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(K,) whole hundredths of sum 100 within the limits, near to the shares."""
    points = np.clip(np.floor(shares_K * HUNDRED).astype(int), low, high)
    while points.sum() != HUNDRED:
        step = 1 if points.sum() < HUNDRED else -1
        room = points < high if step > 0 else points > low
        points[int(np.argmax(np.where(room, step * (shares_K * HUNDRED - points), -np.inf)))] += step
    return points


def _without(found: FitResult, same_nn: np.ndarray) -> np.ndarray:
    """(n,) the loss of each run by a law fitted to the runs on other mixtures."""
    logs = np.broadcast_to(np.log(found.rows.target), same_nn.shape)
    theta, _ = refit(found, logs, (~same_nn).astype(float))
    shares = np.stack(list(found.rows.columns.values()), axis=1)
    return np.array(
        [law_losses(values[None], row[None])[0, 0] for values, row in zip(found.law.values(theta), shares, strict=True)]
    )


def _drawn(fits: Sequence[FitResult], draws: int, seed: int) -> np.ndarray:
    """(R, K, P) natural values. Residuals are widened for the parameters that were fitted to them."""
    runs = len(fits[0].residuals)
    rng = np.random.default_rng(seed)
    rows_Rn = rng.integers(runs, size=(draws, runs))
    freedom = max(1, fits[0].freedom)
    # How large the noise is, is not known exactly either: so the intervals are Student-like.
    size_R1 = np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))
    every = []
    for found in fits:
        fitted = np.log(found.rows.target) - found.residuals
        wider = (found.residuals - found.residuals.mean()) * np.sqrt(runs / freedom)
        theta, _ = refit(found, fitted + size_R1 * wider[rows_Rn], np.ones((draws, runs)))
        every.append(found.law.values(theta))
    return np.stack(every, axis=1)


def _rms(off: np.ndarray) -> np.ndarray:
    return np.sqrt((off**2).mean(0))

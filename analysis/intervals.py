"""Intervals of a fit's parameters, three ways, and where the ways disagree.

`fisher`: symmetric in theta, by the curvature at the optimum.
`profile`: all values that the data do not reject when the other parameters are
fitted again; it sees bends that the curvature does not. For a robust loss the
fall of the objective is scaled as in the robust likelihood-ratio test (Heritier
& Ronchetti 1994): 2 (F - F_min) E psi' / E psi^2 is chi-square with one degree of freedom.
`bootstrap`: by refits, whole clusters together (analysis.bootstrap).
"""

from typing import TYPE_CHECKING

import numpy as np

from analysis.engine.solver import Problem, minimise

if TYPE_CHECKING:
    from analysis.result import FitResult

METHODS = ("fisher", "profile", "bootstrap")
# Fixed values tried on each side, in units of the interval's own half width by curvature.
REACH = (0.25, 0.5, 0.75, 1.0, 1.35, 1.8, 2.5, 4.0, 8.0, 20.0)
DISAGREE = 2.0  # ratio of two half widths from which a warning is given


def conf_int(fit: "FitResult", method: str, level: float) -> dict[str, tuple[float, float]]:
    """(low, high) of each parameter, in natural units."""
    if method not in METHODS:
        raise ValueError(f"conf_int(method={method!r}): must be one of {', '.join(METHODS)}")
    if not 0 < level < 1:
        raise ValueError(f"conf_int(level={level}): must lie between 0 and 1, such as 0.95")
    if method == "bootstrap":
        from analysis.bootstrap import bootstrap

        return bootstrap(fit).conf_int(level)
    ends_P2 = fisher(fit, level) if method == "fisher" else profile(fit, level)
    natural = fit.law.values(ends_P2.T).T
    return {name: (float(low), float(high)) for name, (low, high) in zip(fit.law.names, natural, strict=True)}


def fisher(fit: "FitResult", level: float = 0.95) -> np.ndarray:
    """(P, 2) ends in theta."""
    half = fit.quantile(level) * np.sqrt(np.diag(fit.theta_cov))
    return np.stack([fit.theta - half, fit.theta + half], axis=1)


def profile(fit: "FitResult", level: float = 0.95) -> np.ndarray:
    """(P, 2) ends in theta; infinite where the data never reject."""
    law, free = fit.law, np.flatnonzero(fit.law.free)
    half = fit.quantile(level) * np.sqrt(np.diag(fit.theta_cov))
    ends = np.stack([fit.theta, fit.theta], axis=1)
    if not free.size:
        return ends
    sides = [(p, sign) for p in free for sign in (-1, 1)]
    away = np.array([[sign * half[p] * reach for reach in REACH] for p, sign in sides])  # (S, M)
    # The others begin where the curvature says they would go.
    towards = np.array([fit.theta_cov[p] / fit.theta_cov[p, p] for p, _ in sides])  # (S, P)
    starts = fit.theta + away[..., None] * towards[:, None, :]
    lower, upper = (np.broadcast_to(bound, starts.shape).copy() for bound in (fit.lower, fit.upper))
    for s, (p, _) in enumerate(sides):
        held = np.clip(fit.theta[p] + away[s], fit.lower[p], fit.upper[p])
        starts[s, :, p] = lower[s, :, p] = upper[s, :, p] = held
        away[s] = held - fit.theta[p]
    flat = len(sides) * len(REACH)
    problem = Problem(
        form=law.form, columns=fit.rows.columns, scales_n=fit.weights, loss=fit.loss,
        lower=lower.reshape(flat, -1), upper=upper.reshape(flat, -1),
    )  # fmt: skip
    target = np.log(fit.rows.target) if law.in_log else fit.rows.target
    found = minimise(problem, starts.reshape(flat, -1), target).objective_R.reshape(away.shape)
    square, slope = fit.loss.moments(fit.scale)
    rise = np.sqrt(2 * np.maximum(found - fit.objective, 0.0) * slope / max(square, 1e-300))
    for s, (p, sign) in enumerate(sides):
        ends[p, int(sign > 0)] = fit.theta[p] + _crossing(away[s], rise[s], fit.quantile(level), sign)
    return ends


def _crossing(away_M: np.ndarray, rise_M: np.ndarray, wanted: float, sign: int) -> float:
    """Where the rise first reaches `wanted`, by straight lines: the root of the objective is nearly straight."""
    away, rise = np.insert(np.abs(away_M), 0, 0.0), np.insert(rise_M, 0, 0.0)
    above = np.flatnonzero(rise >= wanted)
    if not above.size:
        return sign * np.inf
    i = above[0]
    share = (wanted - rise[i - 1]) / (rise[i] - rise[i - 1])
    return float(sign * (away[i - 1] + share * (away[i] - away[i - 1])))


def disagreements(fit: "FitResult", others: dict[str, dict[str, tuple[float, float]]]) -> list[tuple[str, str, float]]:
    """(parameter, method, ratio of widths to Fisher's) where another method's width in theta differs by a factor 2."""
    own, found = fisher(fit), []
    for method, ends in others.items():
        for p, name in enumerate(fit.law.names):
            if not fit.law.free[p]:
                continue
            low, high = (np.log(max(e, 1e-300)) if fit.law.log[p] else e for e in ends[name])
            ratio = (high - low) / max(own[p, 1] - own[p, 0], 1e-300)
            if not 1 / DISAGREE < ratio < DISAGREE:
                found.append((name, method, float(ratio)))
    return found

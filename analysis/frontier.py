"""The compute-optimal frontier of any fitted law of model size and data.

    min over N of  L(N, D)  with  D = C / (kappa(N) N)

For E + (A / N^alpha + B / D^beta)^k and constant kappa (Hoffmann et al. 2022,
arXiv:2203.15556, eq. 4; k does not move it):

    N* = G (C/kappa)^(beta/(alpha+beta)),  G = (alpha A / (beta B))^(1/(alpha+beta))

In small models attention and the head make kappa = C/(ND) fall with N. Then,
and for other laws, the minimum is searched for.

    >>> import numpy as np
    >>> from analysis.laws.pretraining import chinchilla
    >>> theta = chinchilla.theta(dict(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658))
    >>> best = optimum(chinchilla, theta[None], np.array([5.76e23]), constant(6.0))
    >>> round(float(best.tokens[0, 0] / best.params[0, 0]), 1)
    18.4
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from analysis.clumps import clumps
from analysis.engine.evaluate import padded, rounded, values, values_each
from analysis.law import Law
from analysis.laws.pretraining import chinchilla, kernel
from analysis.tables.read import frame, numbers

# R laws, B budgets, G sizes of the grid.

DENSE = 6.0  # kappa of matrix products alone: 2 forward, 4 backward
CONSTANT_KAPPA = 0.02  # relative spread below which kappa counts as constant
RATIOS = (1e-4, 1e8)  # tokens per parameter between which an optimum is searched for
GRID = 72  # sizes of the search at each budget, 0.2 apart in ln N
# Half widths in ln N of the parabolas that follow the grid. Each ends nearer to the minimum than the
# next is wide; the last is wide enough for the differences of the loss to be more than rounding.
PARABOLAS = (0.05, 2e-3, 1e-4, 1e-5)
FURTHEST = 20.0  # half widths that one parabola may move the minimum
MOST_VALUES = 4_000_000  # evaluated at once: 32 MB an array
KNOWN = ("params", "tokens", "flops", "ratio")  # columns that a split of a budget gives
SUMS = (chinchilla.function, kernel.function)


@dataclass(frozen=True, kw_only=True)
class Kappa:
    """Training FLOPs per parameter and token, C / (N D), against ln N.

    Between the sizes of the table it is interpolated. Beyond the largest it
    goes on towards 6 as a power of N, as a transformer's does; below the
    smallest it keeps its last slope in logs. A step in its slope would be a
    false jump of the optimum, so both pieces join smoothly.
    """

    log_params: np.ndarray
    values: np.ndarray

    def __call__(self, log_params: np.ndarray) -> np.ndarray:
        if len(self.values) == 1:
            return np.full_like(log_params, self.values[0])
        first, last = self.log_params[0], self.log_params[-1]
        curve = PchipInterpolator(self.log_params, self.values)
        low, high = self.values[0], self.values[-1]
        # Far below all sizes a power could leave the range of floats.
        below = low * np.exp(np.minimum(curve(first, 1) / low * np.minimum(log_params - first, 0.0), 300.0))
        # Without a slope towards 6 the last value is held.
        rate = min(float(curve(last, 1)) / (high - DENSE), 0.0) if high != DENSE else 0.0
        above = DENSE + (high - DENSE) * np.exp(rate * np.maximum(log_params - last, 0.0))
        inside = curve(np.clip(log_params, first, last))
        return np.where(log_params < first, below, np.where(log_params > last, above, inside))

    def describe(self) -> str:
        if len(self.values) == 1:
            return f"C = {self.values[0]:.3g} N D"
        return f"C = kappa(N) N D, with kappa from {self.values[0]:.3g} to {self.values[-1]:.3g} over the sizes trained"


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """Where the law is lowest at each budget. Shapes: (R laws, B budgets).

    Where it still falls at the edge of the search (`RATIOS`), params is infinite
    and tokens 0, or the reverse, and loss is the law at that edge.
    """

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray


def constant(value: float = DENSE) -> Kappa:
    """C = value * N * D at all sizes."""
    return Kappa(log_params=np.array([0.0]), values=np.array([float(value)]))


def measure_kappa(data: Any) -> Kappa:
    """Kappa as counted in the table's own runs; constant when it spreads by less than 2%."""
    table = frame(data)
    params, tokens, flops = (numbers(table, name) for name in ("params", "tokens", "flops"))
    kappa = flops / (params * tokens)
    if np.ptp(kappa) < CONSTANT_KAPPA * kappa.mean():
        return Kappa(log_params=np.array([np.log(params).mean()]), values=np.array([kappa.mean()]))
    # Sizes within 1% are one knot: an interpolant through both would swing.
    group = clumps(np.log(params), 0.01)
    count = np.bincount(group)
    return Kappa(log_params=np.bincount(group, np.log(params)) / count, values=np.bincount(group, kappa) / count)


def optimum(
    law: Law, theta_RP: np.ndarray, flops_B: np.ndarray, kappa: Kappa, held: Mapping[str, float] | None = None
) -> Optimum:
    """The best model at each budget, for each of many parameter vectors of `law`.

    held: values of further columns of the law, the same for all runs, such as {"tokens_unique": 1e9}.
    Exact for the sums of the module's docstring with constant kappa; otherwise N is right to 1e-6
    of itself. A law may have several minima; the lowest one between `RATIOS` tokens per parameter is
    taken, and a fall at the edge counts only where there is none inside (laws of many parameters
    fall to nonsense far from their data).
    Raises ValueError for a law of columns that a budget and its split do not give.
    """
    theta_RP, log_flops = np.atleast_2d(np.asarray(theta_RP, float)), np.log(np.asarray(flops_B, float))
    held = dict(held or {})
    check_columns(law, held)
    if law.function in SUMS and len(kappa.values) == 1:
        log_params = closed_form(law, theta_RP, log_flops, kappa.values[0])
        return _optimum(law, theta_RP, log_flops, kappa, held, log_params)
    chunk = max(1, MOST_VALUES // (len(log_flops) * GRID))
    parts = [
        _optimum(law, part, log_flops, kappa, held, _search(law, part, log_flops, kappa, held))
        for part in (theta_RP[i : i + chunk] for i in range(0, len(theta_RP), chunk))
    ]
    return Optimum(
        params=np.concatenate([part.params for part in parts]),
        tokens=np.concatenate([part.tokens for part in parts]),
        loss=np.concatenate([part.loss for part in parts]),
    )


def exponent(law: Law, theta_RP: np.ndarray, flops_range: tuple[float, float]) -> np.ndarray:
    """(R,) a in N* ~ C^a: beta / (alpha + beta) for the sums; for other laws the slope of ln N* on ln C.

    The slope is taken with C = 6 N D across a factor 4 about the geometric middle of
    flops_range; NaN where an optimum lies at the edge of the search.
    """
    theta_RP = np.atleast_2d(np.asarray(theta_RP, float))
    if law.function in SUMS:
        alpha, beta = (theta_RP[:, law.names.index(name)] for name in ("alpha", "beta"))
        return beta / (alpha + beta)
    middle = np.sqrt(flops_range[0]) * np.sqrt(flops_range[1])
    best = optimum(law, theta_RP, np.array([middle / 2, middle * 2]), constant())
    params = np.where(np.isfinite(best.params) & (best.params > 0), best.params, np.nan)
    return np.diff(np.log(params), axis=1)[:, 0] / np.log(4)


def at_runs(
    law: Law, theta_RP: np.ndarray, params_RB: np.ndarray, tokens_RB: np.ndarray, flops_RB: np.ndarray,
    held: Mapping[str, float] | None = None,
) -> np.ndarray:  # fmt: skip
    """(R, B) the law at runs of each parameter vector's own; padded, so that calls of similar size share a program."""
    rows, runs = params_RB.shape
    tall, wide = (1 if rows == 1 else rounded(rows)), rounded(runs)
    given = columns_of(law, params_RB, tokens_RB, flops_RB, held or {})
    columns = {name: padded(padded(column.T, wide).T, tall) for name, column in given.items()}
    return values_each(law.form, padded(theta_RP, tall), columns)[:rows, :runs]


def columns_of(
    law: Law, params: np.ndarray, tokens: np.ndarray, flops: np.ndarray, held: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """The columns that the law needs, each of the shape of params."""
    given = {"params": params, "tokens": tokens, "flops": flops} | dict(held)
    if "ratio" in law.columns:
        given["ratio"] = tokens / params
    return {name: np.broadcast_to(np.asarray(given[name], float), params.shape) for name in law.columns}


def closed_form(law: Law, theta_RP: np.ndarray, log_flops_B: np.ndarray, kappa: float) -> np.ndarray:
    """(R, B) ln N* of E + (A / N^alpha + B / D^beta)^k with C = kappa N D."""
    log_a, alpha, log_b, beta = (theta_RP[:, law.names.index(n), None] for n in ("A", "alpha", "B", "beta"))
    gain = (np.log(alpha) + log_a - np.log(beta) - log_b) / (alpha + beta)
    return gain + (log_flops_B - np.log(kappa)) * beta / (alpha + beta)


def check_columns(law: Law, held: Mapping[str, float]) -> None:
    """ValueError for a law that has no optimal split of a budget."""
    missing = [name for name in law.columns if name not in KNOWN and name not in held]
    if missing:
        raise ValueError(
            f"optimum: {law.name} needs the column {missing[0]}, which a budget does not give; "
            f"hold it at a value with held={{{missing[0]!r}: ...}}"
        )
    if not {"params", "ratio"} & set(law.columns) or not {"tokens", "flops", "ratio"} & set(law.columns):
        raise ValueError(
            f"optimum: {law.name} is a law of {', '.join(law.columns)} alone, so no split of a budget is best; "
            "fit a law of params and tokens"
        )


def _optimum(
    law: Law, theta_RP: np.ndarray, log_flops: np.ndarray, kappa: Kappa, held: Mapping[str, float], found: np.ndarray
) -> Optimum:
    """The optimum at these ln N (R, B); those beyond the search become infinite or 0."""
    edges = _edges(log_flops, kappa)
    closed = law.function in SUMS and len(kappa.values) == 1
    small, large = (np.zeros(found.shape, bool),) * 2 if closed else (found <= edges[0], found >= edges[1])
    log_tokens = log_flops - np.log(kappa(found)) - found
    # Draws that flee to the bounds give sizes beyond the range of a float: infinite is honest.
    with np.errstate(over="ignore"):
        params, tokens = np.exp(found), np.exp(log_tokens)
    loss = at_runs(law, theta_RP, params, tokens, np.broadcast_to(np.exp(log_flops), found.shape), held)
    return Optimum(
        params=np.where(large, np.inf, np.where(small, 0.0, params)),
        tokens=np.where(large, 0.0, np.where(small, np.inf, tokens)),
        loss=loss,
    )


def _edges(log_flops: np.ndarray, kappa: Kappa) -> tuple[np.ndarray, np.ndarray]:
    """(B,) smallest and largest ln N of the search."""
    half = (log_flops - np.log(kappa.values[-1])) / 2
    return half - np.log(RATIOS[1]) / 2, half - np.log(RATIOS[0]) / 2


def lowest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the last axis is lowest, and whether that is at one of its ends. A dip inside counts before a lower end."""
    values = np.where(np.isfinite(values), values, np.inf)
    inside = values[..., 1:-1]
    dips = (inside < values[..., :-2]) & (inside <= values[..., 2:])
    at = np.where(dips.any(-1), np.where(dips, inside, np.inf).argmin(-1) + 1, values.argmin(-1))
    return at, (at == 0) | (at == values.shape[-1] - 1)


def polish(value: Callable[[np.ndarray], np.ndarray], centre: np.ndarray, still: np.ndarray) -> np.ndarray:
    """The minima near `centre` of many functions of one number, by ever smaller parabolas.

    value: takes points (..., 3) and gives as many values. still: True where the centre is to stay.
    """
    for width in PARABOLAS:
        low, mid, high = np.moveaxis(value(centre[..., None] + width * np.array([-1.0, 0.0, 1.0])), -1, 0)
        bend = (low - mid) + (high - mid)
        shift = np.divide(low - high, 2 * bend, out=np.sign(low - high) * FURTHEST, where=bend > 0)
        shift = np.clip(np.where(np.isfinite(shift), shift, 0.0), -FURTHEST, FURTHEST)
        centre = np.where(still, centre, centre + width * shift)
    return centre


def _search(law: Law, theta_RP: np.ndarray, log_flops: np.ndarray, kappa: Kappa, held: Mapping[str, float]) -> Any:
    """(R, B) ln N: the lowest point of a grid that all laws share, then parabolas."""
    low, high = _edges(log_flops, kappa)
    grid_BG = np.linspace(low, high, GRID, axis=1)
    log_tokens = log_flops[:, None] - np.log(kappa(grid_BG)) - grid_BG
    columns = columns_of(law, np.exp(grid_BG), np.exp(log_tokens), np.exp(log_flops)[:, None], held)
    loss = values(law.form, theta_RP, {name: column.ravel() for name, column in columns.items()})
    at, edge = lowest(loss.reshape(len(theta_RP), *grid_BG.shape))

    def along(points_RB3: np.ndarray) -> np.ndarray:
        log_params = points_RB3.reshape(len(theta_RP), -1)
        budgets = np.repeat(log_flops, 3)
        tokens = np.exp(budgets - np.log(kappa(log_params)) - log_params)
        spent = np.broadcast_to(np.exp(budgets), log_params.shape)
        return at_runs(law, theta_RP, np.exp(log_params), tokens, spent, held).reshape(points_RB3.shape)

    return polish(along, grid_BG[np.arange(len(grid_BG)), at], edge)

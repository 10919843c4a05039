"""IsoFLOP minima by interpolation: a curve through all sizes of each budget, and a power law through its lowest points.

Porian et al. 2024 (arXiv:2406.19146). Stage 1, at each budget: the lowest loss
of each size, an Akima curve of ln loss against ln N, its minimum on a fine
grid; again with noise added to the losses, many times; N* is the median of the
draws whose minimum lies inside the sizes tried. Stage 2: least squares of ln N*
on ln C with weights 1 / var ln N*. No shape is assumed at a budget, so sizes
must be dense, and the noise of a single run can move the minimum.

    >>> sizes = np.geomspace(1e7, 1e9, 9)
    >>> loss = 2.5 + 0.05 * np.log(sizes / 8e7) ** 2
    >>> log_params, log_loss = lowest(np.log(sizes), np.log(loss)[:, None])
    >>> round(float(np.exp(log_params[0])) / 8e7, 1)
    1.0
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.interpolate import Akima1DInterpolator

from analysis.bootstrap import percentiles
from analysis.clumps import clumps, distinct
from analysis.isoflop import SAME_SIZE, PowerLaw, groups, power_law, tokens_between
from analysis.tables.table import column
from analysis.words import plural

# R draws, n sizes, B budgets.

LEAST_SIZES = 5  # an Akima piece takes two neighbours on either side
FINE = 25  # points of the fine grid between two sizes
LEAST_INSIDE = 0.5  # share of the draws that must have their minimum inside the sizes tried
LEAST_STD = 0.33  # of ln N*, in mean distances of the sizes: no minimum is known better than its grid


@dataclass(frozen=True, kw_only=True)
class Valley:
    """The lowest point of one budget. Without a usable one, `rejected` says why, and `reason` names it."""

    flops: float
    params: float  # median over the draws, as the next two; NaN when rejected
    tokens: float
    loss: float
    params_low: float  # 95% over the draws
    params_high: float
    params_logstd: float  # standard deviation of ln N*, at least LEAST_STD distances of the sizes
    inside: float  # share of the draws with a minimum inside the sizes tried
    sizes: int
    rejected: str = ""
    reason: str = ""  # "few_sizes", "edge_below", "edge_above" or "unstable"


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    valleys: tuple[Valley, ...]
    params: PowerLaw | None  # None with fewer than 2 usable valleys, as the next two
    tokens: PowerLaw | None
    loss: PowerLaw | None  # of the valleys: a trend without a floor
    noise: float  # standard deviation of the noise that was added, in nats: the median over the runs
    estimated: bool  # the noise comes from the losses themselves (`noise_sd`)

    @property
    def usable(self) -> tuple[Valley, ...]:
        return tuple(valley for valley in self.valleys if not valley.rejected)


def interpolation(table: pa.Table, *, noise: float | None = None, draws: int = 1000, seed: int = 0) -> Interpolation:
    """Valleys of all budgets, and the power laws through the usable ones.

    noise: standard deviation of one run's loss in nats; estimated from the
    losses themselves when None. Raises ValueError when no budget has enough sizes.
    """
    params, tokens, loss = (column(table, name) for name in ("params", "tokens", "loss"))
    budgets = groups(table)
    most = max((distinct(np.log(params[rows]), SAME_SIZE) for rows in budgets.values()), default=0)
    if most < LEAST_SIZES:
        raise ValueError(
            f"no budget has {LEAST_SIZES} sizes (at most {most} in {plural(len(budgets), 'budget')}); "
            "interpolation needs more sizes at one budget"
        )
    sd = (
        np.full(len(loss), noise)
        if noise is not None
        else loss * noise_sd([(params[r], loss[r]) for r in budgets.values()])
    )
    rng = np.random.default_rng(seed)
    found = [
        valley(flops, params[rows], tokens[rows], loss[rows], noise=sd[rows], draws=draws, rng=rng)
        for flops, rows in budgets.items()
    ]
    used = [(one, drawn) for one, drawn in found if not one.rejected]

    def law(name: str, index: int) -> PowerLaw | None:
        if len(used) < 2:
            return None
        logs = {key: np.log([getattr(one, key) for one, _ in used]) for key in ("flops", name)}
        weights = np.array([one.params_logstd for one, _ in used]) ** -2
        return power_law(logs["flops"], logs[name], np.stack([drawn[index] for _, drawn in used], axis=1), weights)

    return Interpolation(
        valleys=tuple(one for one, _ in found),
        params=law("params", 0),
        tokens=law("tokens", 1),
        loss=law("loss", 2),
        noise=float(np.median(sd)),
        estimated=noise is None,
    )


def valley(
    flops: float,
    params: np.ndarray,
    tokens: np.ndarray,
    loss: np.ndarray,
    *,
    noise: np.ndarray | float,
    draws: int = 1000,
    rng: np.random.Generator | None = None,
) -> tuple[Valley, np.ndarray]:
    """Stage 1 at one budget, and its draws (3, R) of ln N*, ln D* and ln loss*, NaN where a draw has no minimum inside.

    params, tokens, loss: (n,) the runs of the budget, in any order. noise: standard deviation of the loss, in nats.
    """
    kept = best_of_each_size(params, loss)
    x, lowest_loss = np.log(params[kept]), loss[kept]
    nothing = np.full((3, draws), np.nan)
    if len(x) < LEAST_SIZES:
        return _rejected(
            flops, len(x), "few_sizes", f"{plural(len(x), 'size')}; an Akima curve needs {LEAST_SIZES}"
        ), nothing
    own, _ = lowest(x, np.log(lowest_loss)[:, None])
    if np.isnan(own[0]):
        side, mend = ("below", "smaller") if lowest_loss[0] < lowest_loss[-1] else ("above", "larger")
        said = f"the lowest point lies at the edge of the sizes tried, or {side} them; add {mend} ones"
        return _rejected(flops, len(x), f"edge_{side}", said), nothing
    error = np.broadcast_to(noise, loss.shape)[kept, None] * (rng or np.random.default_rng(0)).standard_normal(
        (len(x), draws)
    )
    # A draw may not fall to zero: such noise would be as large as the loss.
    log_params, log_loss = lowest(x, np.log(np.maximum(lowest_loss[:, None] + error, 1e-9)))
    inside = np.isfinite(log_params)
    share = float(inside.mean())
    if share < LEAST_INSIDE:
        return _rejected(
            flops, len(x), "unstable", f"only {share:.0%} of the noise draws have their lowest point inside"
        ), nothing
    log_tokens = tokens_between(x, np.log(tokens[kept]), log_params)
    low, high = percentiles(np.exp(log_params[inside]))
    spread = max(float(log_params[inside].std()), LEAST_STD * float(np.diff(x).mean()))
    middle = [float(np.exp(np.median(values[inside]))) for values in (log_params, log_tokens, log_loss)]
    made = Valley(
        flops=flops, params=middle[0], tokens=middle[1], loss=middle[2], params_low=float(low), params_high=float(high),
        params_logstd=spread / share, inside=share, sizes=len(x),
    )  # fmt: skip
    return made, np.stack([log_params, log_tokens, log_loss])


def best_of_each_size(params: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Rows of the lowest loss of each size, the smallest size first; sizes within a percent are one."""
    order = np.lexsort([loss, clumps(np.log(params), SAME_SIZE)])
    group = clumps(np.log(params), SAME_SIZE)[order]
    return order[np.flatnonzero(np.diff(group, prepend=-1))]


def lowest(log_params_n: np.ndarray, log_loss_nR: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln N (R,) and ln loss (R,) of the lowest point of each Akima curve; NaN where it is an end of the sizes.

    log_params_n ascends strictly. The curve is read at 25 (n - 1) evenly spaced points.
    """
    grid = np.linspace(log_params_n[0], log_params_n[-1], FINE * (len(log_params_n) - 1))
    curve = Akima1DInterpolator(log_params_n, log_loss_nR, axis=0)(grid)
    at = curve.argmin(0)
    inside = (at > 0) & (at < len(grid) - 1)
    return np.where(inside, grid[at], np.nan), np.where(inside, curve.min(0), np.nan)


def through(flops_B: np.ndarray, optima_B: np.ndarray, logstd_B: np.ndarray | None = None) -> tuple[float, float]:
    """Stage 2: (coefficient, exponent) of optimum = coefficient * C ** exponent.

    Least squares in logs; weights 1 / logstd^2 when the standard deviations of ln optimum are given.
    """
    matrix = np.stack([np.ones(len(flops_B)), np.log(flops_B)], axis=1)
    root = np.ones(len(flops_B)) if logstd_B is None else 1 / np.asarray(logstd_B)
    constant, slope = np.linalg.lstsq(matrix * root[:, None], np.log(optima_B) * root, rcond=None)[0]
    return float(np.exp(constant)), float(slope)


def noise_sd(budgets: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Standard deviation of one run's ln loss, from (params, loss) of each budget, by what no parabola could follow.

    The third divided difference of four neighbouring sizes is zero on any
    parabola; scaled to unit weight it is one draw of the noise (Gasser, Sroka &
    Jennen-Steinmetz 1986, with one more order). Too large where the curve itself
    bends more than a parabola between four sizes. Raises ValueError without four sizes.
    """
    squares = []
    for params, loss in budgets:
        kept = best_of_each_size(params, loss)
        x, y = np.log(params[kept]), np.log(loss[kept])
        for i in range(len(x) - 3):
            away = x[i : i + 4, None] - x[i : i + 4] + np.eye(4)
            weight = 1 / away.prod(1)
            squares.append((weight @ y[i : i + 4]) ** 2 / (weight @ weight))
    if not squares:
        raise ValueError(
            "the noise cannot be estimated: no budget has 4 sizes; give noise, the standard deviation in nats"
        )
    return float(np.sqrt(np.mean(squares)))


def _rejected(flops: float, sizes: int, reason: str, said: str) -> Valley:
    nan = float("nan")
    return Valley(
        flops=flops, params=nan, tokens=nan, loss=nan, params_low=nan, params_high=nan, params_logstd=nan,
        inside=0.0, sizes=sizes, rejected=said, reason=reason,
    )  # fmt: skip

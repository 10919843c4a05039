"""IsoFLOP minima: at each budget a parabola in ln N, then a power law through the minima.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 2. It is biased where the
sizes are not centred on the optimum, or spread far from it (SCIENCE, trap 7):
show it beside the surface fit, never alone.

    >>> from analysis.tables.table import read_table
    >>> sizes, budgets = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.2, 5, 5), [1e18, 1e19, 1e20]))
    >>> params = sizes * (budgets / 120) ** 0.5
    >>> runs = {"N": params, "D": budgets / 6 / params, "C": budgets, "L": 2.5 + 0.05 * np.log(sizes) ** 2}
    >>> round(isoflop(read_table(runs), draws=10).params.exponent.value, 3)
    0.5
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.bootstrap import percentiles
from analysis.clumps import clumps, distinct
from analysis.noise import estimate
from analysis.tables.table import column
from analysis.words import Estimate, plural

SAME_BUDGET = 1.15  # FLOPs within 15% of a group's lowest belong to it
SAME_SIZE = 0.01  # in ln N
LEAST_SIZES = 4  # a parabola through 3 sizes always fits
LEAST_INSIDE = 0.75  # share of the noise draws that must keep a minimum within the grid
MOST_LEVELS = 12  # with more budgets than this, compute is cut into so many equal parts


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The parabola of one budget. Without a usable minimum, `rejected` says why, and `reason` names it."""

    flops: float
    params: float  # at the minimum, NaN when there is none
    tokens: float
    loss: float
    params_low: float  # 95% over the noise
    params_high: float
    coefficients: tuple[float, float, float]  # of ln N: square, slope, constant
    grid: tuple[float, float]  # smallest and largest size tried
    sizes: int
    rejected: str = ""  # a sentence
    reason: str = ""  # "concave", "edge_below", "edge_above" or "flat"

    @property
    def off_centre(self) -> float:
        """How far the minimum lies from the middle of the sizes tried: 0 in the middle, 1 at an end (in ln N)."""
        low, high = np.log(self.grid)
        return float(abs(2 * np.log(self.params) - low - high) / (high - low))


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """optimum = coefficient * C ** exponent, with 95% intervals."""

    coefficient: float
    exponent: Estimate
    draws: np.ndarray  # (R, 2) ln coefficient, exponent; one row of NaN when there are none

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        return self.coefficient * np.asarray(flops) ** self.exponent.value

    def at(self, flops: float) -> Estimate:
        """The value at a budget, with the interval of the draws."""
        low, high = percentiles(np.exp(self.draws[:, 0] + self.draws[:, 1] * np.log(flops)))
        return Estimate(value=float(self(flops)), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class IsoFlop:
    minima: tuple[Minimum, ...]
    params: PowerLaw | None  # None with fewer than 2 usable minima, as the next two
    tokens: PowerLaw | None
    loss: PowerLaw | None  # of the minima: a trend without a floor
    noise_scale: float  # standard deviation about the parabolas, relative to the loss
    passed_over: Mapping[float, int]  # budgets with too few sizes for a parabola, and how many they have

    @property
    def usable(self) -> tuple[Minimum, ...]:
        return tuple(m for m in self.minima if not m.rejected)


def groups(table: pa.Table) -> dict[float, np.ndarray]:
    """Rows of each budget: by the `budget` column where it is set, else by nearness of FLOPs."""
    flops = column(table, "flops")
    budget = column(table, "budget") if "budget" in table.column_names else np.full(len(flops), np.nan)
    found = {}
    for value in np.unique(budget[np.isfinite(budget)]):
        found[float(value)] = np.flatnonzero(budget == value)
    rest = np.flatnonzero(~np.isfinite(budget))
    near = clumps(np.log(flops[rest]), np.log(SAME_BUDGET))
    for index in np.unique(near):
        rows = rest[near == index]
        found[float(np.exp(np.log(flops[rows]).mean()))] = rows
    return {value: found[value] for value in sorted(found)}


def levels(table: pa.Table, most: int = MOST_LEVELS) -> list[np.ndarray]:
    """Rows of each budget, smallest first; equal parts of the range of ln C where these are more than `most`."""
    rows = list(groups(table).values())
    if len(rows) <= most:
        return rows
    logs = np.log(column(table, "flops"))
    part = np.minimum(((logs - logs.min()) / np.ptp(logs) * most).astype(int), most - 1)
    return [np.flatnonzero(part == index) for index in np.unique(part)]


def isoflop(table: pa.Table, *, draws: int = 1000, seed: int = 0) -> IsoFlop:
    """Minima of all budgets, and the power laws through the usable ones.

    The intervals come from fresh noise about the fitted parabolas, with a part
    that the branches of a trunk share (`analysis.noise`). Raises ValueError when
    no budget has enough sizes.
    """
    log_params, loss = np.log(column(table, "params")), column(table, "loss")
    budgets = groups(table)
    sizes = {flops: distinct(log_params[rows], SAME_SIZE) for flops, rows in budgets.items()}
    members = {flops: rows for flops, rows in budgets.items() if sizes[flops] >= LEAST_SIZES}
    if not members:
        raise ValueError(
            f"no budget has {LEAST_SIZES} sizes (at most {max(sizes.values(), default=0)} in "
            f"{plural(len(sizes), 'budget')}); train more sizes at one budget"
        )
    chosen = list(members.values())
    coefficients, samples, scale = _parabolas(table, log_params, loss, chosen, draws, seed)
    sampled = [_vertices(log_params[rows], part) for rows, part in zip(chosen, samples, strict=True)]
    minima = [
        _minimum(table, flops, rows, own, drawn[0])
        for (flops, rows), own, drawn in zip(members.items(), coefficients, sampled, strict=True)
    ]
    used = [i for i, minimum in enumerate(minima) if not minimum.rejected]
    log_flops = np.log([minima[i].flops for i in used])

    def law(name: str, drawn: list[np.ndarray]) -> PowerLaw | None:
        if len(used) < 2:
            return None
        return power_law(log_flops, np.log([getattr(minima[i], name) for i in used]), np.stack(drawn, axis=1))

    return IsoFlop(
        minima=tuple(minima),
        params=law("params", [sampled[i][0] for i in used]),
        tokens=law("tokens", [_tokens_at(table, chosen[i], sampled[i][0]) for i in used]),
        loss=law("loss", [np.log(sampled[i][1]) for i in used]),
        noise_scale=scale,
        passed_over={flops: count for flops, count in sizes.items() if count < LEAST_SIZES},
    )


def lines(x: np.ndarray, y_RB: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """(R, 2) constant and slope of each row's weighted least squares, over its finite points; NaN with fewer than 2.

    x and weights: anything that broadcasts to (R, B).
    """
    here = np.isfinite(y_RB)
    weight, y = np.where(here, weights, 0.0), np.where(here, y_RB, 0.0)
    x = np.where(here, np.broadcast_to(x, y_RB.shape), 0.0)
    total = weight.sum(1, keepdims=True)
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    middle, height = (share * x).sum(1), (share * y).sum(1)
    away = np.where(here, x - middle[:, None], 0.0)
    spread = (share * away**2).sum(1)
    enough = spread > 1e-12 * (1 + middle**2)
    slope = np.divide((share * away * y).sum(1), spread, out=np.full(len(y), np.nan), where=enough)
    return np.stack([height - slope * middle, slope], axis=1)


def power_law(
    log_flops_B: np.ndarray,
    log_optima_B: np.ndarray,
    draws_RB: np.ndarray,
    weights_B: np.ndarray | float = 1.0,
    draws_log_flops: np.ndarray | None = None,
) -> PowerLaw:
    """Least squares in logs; each draw of the optima enters with the budgets in which it is finite, if they are 2.

    draws_log_flops: (R, B) where the draws have compute of their own.
    """
    constant, exponent = lines(log_flops_B, np.asarray(log_optima_B)[None], weights_B)[0]
    drawn = lines(log_flops_B if draws_log_flops is None else draws_log_flops, draws_RB, weights_B)
    drawn = drawn[np.isfinite(drawn).all(1)]
    drawn = drawn if len(drawn) else np.full((1, 2), np.nan)
    low, high = percentiles(drawn[:, 1])
    return PowerLaw(
        coefficient=float(np.exp(constant)),
        exponent=Estimate(value=float(exponent), low=float(low), high=float(high)),
        draws=drawn,
    )


def _parabolas(
    table: pa.Table, log_params: np.ndarray, loss: np.ndarray, chosen: list[np.ndarray], draws: int, seed: int
) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Centred coefficients (B, 3), simulated losses (R, n) of each budget, and the noise relative to the loss."""
    rows = np.concatenate(chosen)
    ends = np.cumsum([len(part) for part in chosen])[:-1]
    block = np.zeros((len(rows), 3 * len(chosen)))
    for i, places in enumerate(np.split(np.arange(len(rows)), ends)):
        block[places, 3 * i : 3 * i + 3] = _powers(log_params[chosen[i]])
    coefficients = np.linalg.lstsq(block, loss[rows], rcond=None)[0]
    fitted = block @ coefficients
    samples, scale = np.broadcast_to(fitted, (draws, len(rows))), np.nan
    if len(rows) > block.shape[1]:
        clusters = [table["cluster"][int(row)].as_py() for row in rows]
        noise = estimate(np.log(loss[rows] / fitted), block / fitted[:, None], clusters)
        scale = noise.scale
        samples = fitted * np.exp(noise.draw(np.random.default_rng(seed), draws))
    return coefficients.reshape(-1, 3), np.split(samples, ends, axis=1), scale


def _powers(log_params: np.ndarray) -> np.ndarray:
    """(n, 3) of ln N - mean: centred, or the columns would be nearly parallel."""
    x = log_params - log_params.mean()
    return np.stack([x**2, x, np.ones_like(x)], axis=1)


def _vertices(log_params: np.ndarray, losses_Rn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln N and loss at the minimum of each draw, both (R,); NaN when concave or outside the grid."""
    square, slope, constant = np.linalg.lstsq(_powers(log_params), losses_Rn.T, rcond=None)[0]
    shift = np.divide(-slope, 2 * square, out=np.full_like(slope, np.nan), where=square > 0)
    vertex = shift + log_params.mean()
    inside = (vertex >= log_params.min()) & (vertex <= log_params.max())
    return np.where(inside, vertex, np.nan), np.where(inside, constant + slope * shift / 2, np.nan)


def _minimum(table: pa.Table, flops: float, rows: np.ndarray, centred: np.ndarray, draws: np.ndarray) -> Minimum:
    log_params = np.log(column(table, "params")[rows])
    square, slope, constant = centred
    mean = log_params.mean()
    vertex = mean - slope / (2 * square) if square > 0 else np.nan
    grid = (float(np.exp(log_params.min())), float(np.exp(log_params.max())))
    inside = float(np.isfinite(draws).mean())
    reason, rejected = "", ""
    if not square > 0:
        reason, rejected = "concave", "the parabola is concave: it has no minimum"
    elif not log_params.min() <= vertex <= log_params.max():
        side, mend = ("below", "smaller") if vertex < mean else ("above", "larger")
        reason, rejected = f"edge_{side}", f"the minimum lies {side} the sizes tried; add {mend} ones"
    elif inside < LEAST_INSIDE:
        said = f"only {inside:.0%} of the noise draws have a minimum within the sizes tried"
        reason, rejected = "flat", f"too flat for its noise: {said}"
    tokens = np.exp(_tokens_at(table, rows, np.array([vertex]))[0])
    finite = draws[np.isfinite(draws)]
    low, high = percentiles(np.exp(finite)) if len(finite) else (np.nan, np.nan)
    return Minimum(
        flops=flops,
        params=float(np.exp(min(vertex, 700.0))),
        tokens=float(tokens),
        loss=float(constant - slope**2 / (4 * square)) if square > 0 else float("nan"),
        params_low=float(low),
        params_high=float(high),
        coefficients=(
            float(square),
            float(slope - 2 * square * mean),
            float(square * mean**2 - slope * mean + constant),
        ),
        grid=grid,
        sizes=distinct(log_params, SAME_SIZE),
        rejected=rejected,
        reason=reason,
    )


def _tokens_at(table: pa.Table, rows: np.ndarray, log_params: np.ndarray) -> np.ndarray:
    return tokens_between(np.log(column(table, "params")[rows]), np.log(column(table, "tokens")[rows]), log_params)


def tokens_between(log_params_n: np.ndarray, log_tokens_n: np.ndarray, at: np.ndarray) -> np.ndarray:
    """ln D of one budget at these ln N: nearly a line of slope -1 between the sizes tried, NaN outside them."""
    order = np.argsort(log_params_n)
    return np.interp(at, log_params_n[order], log_tokens_n[order], left=np.nan, right=np.nan)

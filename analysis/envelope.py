"""The lower envelope of all runs: at each level of compute the lowest loss, then power laws through the winners.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 1. A table of final losses
will do; where a run (one cluster, one size) has rows at many tokens, they are
its training curve, read between rows too. A winner counts when nothing cheaper
does as well, and when it is neither the smallest nor the largest size that was
tried, for then the optimum may lie beyond.

Known bias, the winner's curse: the lowest of several noisy losses lies below
the true lowest one, the more so the more runs compete and the noisier they
are; and the winner is one of the sizes tried, however far apart these are.
`Envelope.curse` says how much the losses are too low by this. Show it beside
the surface fit, never alone.

    >>> from analysis.tables.table import read_table
    >>> sizes, budgets = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.2, 5, 5), [1e18, 1e19, 1e20]))
    >>> params = sizes * (budgets / 120) ** 0.5
    >>> loss = 50 * budgets**-0.06 * (1 + 0.02 * np.log(sizes) ** 2)
    >>> found = envelope(read_table({"N": params, "D": budgets / 6 / params, "C": budgets, "L": loss}))
    >>> round(found.params.exponent.value, 3), round(found.loss.exponent.value, 3)
    (0.5, -0.06)
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.bootstrap import MANY_CLUSTERS
from analysis.clumps import clumps, distinct
from analysis.interpolate import noise_sd
from analysis.isoflop import SAME_SIZE, PowerLaw, groups, levels, power_law
from analysis.tables.table import column
from analysis.words import plural

# R draws, B levels, M candidates, n rows.

MOST_LEVELS = 40
ABSENT = 1e3  # ln loss of a run that was not drawn: beyond any other
LEAST_SIZES = 3  # of a level, for its own smallest and largest to be edges; else those of the table are
MOST_GAP = 0.4  # in ln C, between two rows of one curve that are read in between: half as much bends the loss too far


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The lowest loss of one level of compute."""

    run_id: str
    flops: float
    params: float
    tokens: float
    loss: float
    sizes: int  # that competed
    rejected: str = ""  # why no law goes through it
    reason: str = ""  # "dominated", "edge_below" or "edge_above"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    winners: tuple[Winner, ...]  # a level of compute each, the cheapest first
    params: PowerLaw | None  # None with fewer than 2 usable winners, as the next two
    tokens: PowerLaw | None
    loss: PowerLaw | None  # a trend without a floor
    method: str  # "clusters" or "noise": where the intervals come from
    noise: float  # standard deviation of one run's ln loss; NaN when it is not known
    curse: float  # mean of ln loss that the winners are too low by, from this noise; NaN when it is not known

    @property
    def usable(self) -> tuple[Winner, ...]:
        return tuple(winner for winner in self.winners if not winner.rejected)


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """Who competes at each level: a row, or a place between two rows of a curve. (M,) each, sorted by level."""

    level: np.ndarray
    first: np.ndarray  # row before
    second: np.ndarray  # row after; the same for a row itself
    share: np.ndarray  # of the row after

    def read(self, values: np.ndarray) -> np.ndarray:
        """(..., M) from (..., n): on the line between the two rows."""
        return (1 - self.share) * values[..., self.first] + self.share * values[..., self.second]


def envelope(table: pa.Table, *, noise: float | None = None, draws: int = 1000, seed: int = 0) -> Envelope:
    """Winners of all levels of compute, and the power laws through the usable ones.

    noise: standard deviation of one run's ln loss; estimated from the budgets
    with 4 sizes or more when None. Intervals: with 20 clusters or more these are
    drawn with replacement; with fewer, fresh noise is added to the losses. As the
    best size lies somewhere about the winner, each draw also moves it by up to
    half the distance of the level's sizes. Raises ValueError for fewer than 2 runs.
    """
    if table.num_rows < 2:
        raise ValueError(f"envelope: {plural(table.num_rows, 'run')}; it needs at least 2")
    noise = _noise(table) if noise is None else noise
    log_loss = np.log(column(table, "loss"))
    found = _candidates(table)
    logs = {name: found.read(np.log(column(table, name))) for name in ("flops", "params", "tokens")}
    edges = _edges(found, logs["params"])
    best_1B, loss_1B, usable_1B = _win(found, log_loss[None], logs["params"], edges)
    index = np.unique(table["cluster"].to_pylist(), return_inverse=True)[1]
    clusters = int(index.max()) + 1
    rng = np.random.default_rng(seed)
    noisy = log_loss + (noise if np.isfinite(noise) else 0.0) * rng.standard_normal((draws, len(log_loss)))
    method = "clusters" if clusters >= MANY_CLUSTERS or not np.isfinite(noise) else "noise"
    drawn = noisy
    if method == "clusters":
        chosen = rng.integers(clusters, size=(draws, clusters))
        present = np.stack([np.bincount(row, minlength=clusters) for row in chosen])[:, index] > 0
        drawn = np.where(present, log_loss, ABSENT)
    best_RB, loss_RB, usable_RB = _win(found, drawn, logs["params"], edges)
    shift_RB = _distances(found, logs["params"]) * rng.uniform(-0.5, 0.5, best_RB.shape)
    own, used = best_1B[0], usable_1B[0]
    curse = float((loss_1B - _win(found, noisy, logs["params"], edges)[1])[:, used].mean()) if used.any() else np.nan

    def law(value_B: np.ndarray, drawn_RB: np.ndarray) -> PowerLaw | None:
        if used.sum() < 2:
            return None
        drawn_RB, log_flops = np.where(usable_RB, drawn_RB, np.nan), logs["flops"]
        return power_law(log_flops[own][used], value_B[used], drawn_RB, draws_log_flops=log_flops[best_RB])

    return Envelope(
        winners=tuple(_winners(table, found, logs, own, loss_1B[0], edges)),
        params=law(logs["params"][own], logs["params"][best_RB] + shift_RB),
        tokens=law(logs["tokens"][own], logs["tokens"][best_RB] - shift_RB),
        loss=law(loss_1B[0], loss_RB),
        method=method, noise=noise, curse=curse if np.isfinite(noise) else float("nan"),
    )  # fmt: skip


def _noise(table: pa.Table) -> float:
    params, loss = column(table, "params"), column(table, "loss")
    try:
        return noise_sd([(params[rows], loss[rows]) for rows in groups(table).values()])
    except ValueError:  # no budget has sizes enough: not known, and said so in the result
        return float("nan")


def _candidates(table: pa.Table) -> _Candidates:
    """Every curve at the middle of the levels that it crosses, and every other row at its own level."""
    log_flops, log_params = np.log(column(table, "flops")), np.log(column(table, "params"))
    rows = levels(table, MOST_LEVELS)
    own = np.zeros(len(log_flops), int)
    for level, members in enumerate(rows):
        own[members] = level
    names = np.unique(table["cluster"].to_pylist(), return_inverse=True)[1]
    curves = np.unique(np.stack([names, clumps(log_params, SAME_SIZE)]), axis=1, return_inverse=True)[1].ravel()
    centres = np.array([log_flops[members].mean() for members in rows])
    order = np.lexsort([log_flops, curves])
    places, read = [], set()
    for first, second in itertools.pairwise(order):
        gap = log_flops[second] - log_flops[first]
        if curves[first] != curves[second] or not 0 < gap <= MOST_GAP:
            continue
        for level in np.flatnonzero((centres >= log_flops[first]) & (centres < log_flops[second])):
            places.append((level, first, second, (centres[level] - log_flops[first]) / gap))
            read.add((curves[first], level))
    # A curve competes once at a level: rows beside its middle would have more or less compute than the others.
    places += [(level, row, row, 0.0) for row, level in enumerate(own) if (curves[row], level) not in read]
    level, first, second, share = (np.array(part) for part in zip(*sorted(places), strict=True))
    return _Candidates(level=level, first=first, second=second, share=share)


def _edges(found: _Candidates, log_params_M: np.ndarray) -> np.ndarray:
    """(B, 2) ln N of the smallest and the largest size tried at each level."""
    ends = np.tile([log_params_M.min(), log_params_M.max()], (found.level.max() + 1, 1))
    for level in range(len(ends)):
        here = log_params_M[found.level == level]
        if distinct(here, SAME_SIZE) >= LEAST_SIZES:
            ends[level] = here.min(), here.max()
    return ends


def _distances(found: _Candidates, log_params_M: np.ndarray) -> np.ndarray:
    """(B,) mean distance of the sizes of each level, in ln N; 0 where there are fewer than LEAST_SIZES."""
    distances = np.zeros(found.level.max() + 1)
    for level in range(len(distances)):
        here = log_params_M[found.level == level]
        count = distinct(here, SAME_SIZE)
        distances[level] = np.ptp(here) / (count - 1) if count >= LEAST_SIZES else 0.0
    return distances


def _win(
    found: _Candidates, log_loss_Rn: np.ndarray, log_params_M: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidate and ln loss of each level's winner, and whether a law may go through it; each (R, B)."""
    starts = np.searchsorted(found.level, np.arange(len(edges) + 1))
    losses = found.read(log_loss_Rn)
    best = np.stack([low + losses[:, low:high].argmin(1) for low, high in itertools.pairwise(starts)], axis=1)
    loss = np.take_along_axis(losses, best, axis=1)
    before = np.minimum.accumulate(np.pad(loss, ((0, 0), (1, 0)), constant_values=ABSENT / 2)[:, :-1], axis=1)
    size = log_params_M[best]
    inner = (size > edges[:, 0] + SAME_SIZE) & (size < edges[:, 1] - SAME_SIZE)
    return best, loss, (loss < before) & inner


def _winners(
    table: pa.Table,
    found: _Candidates,
    logs: dict[str, np.ndarray],
    best: np.ndarray,
    loss: np.ndarray,
    edges: np.ndarray,
) -> list[Winner]:
    ids, made = table["run_id"].to_pylist(), []
    for level, at in enumerate(best):
        size, reason, rejected = logs["params"][at], "", ""
        if loss[level] >= loss[:level].min(initial=np.inf):
            reason, rejected = "dominated", "a cheaper run has as low a loss"
        elif size <= edges[level, 0] + SAME_SIZE:
            reason, rejected = "edge_below", "the smallest size tried wins: the optimum may lie below; add smaller ones"
        elif size >= edges[level, 1] - SAME_SIZE:
            reason, rejected = "edge_above", "the largest size tried wins: the optimum may lie above; add larger ones"
        made.append(
            Winner(
                run_id=ids[found.first[at]],
                flops=float(np.exp(logs["flops"][at])),
                params=float(np.exp(size)),
                tokens=float(np.exp(logs["tokens"][at])),
                loss=float(np.exp(loss[level])),
                sizes=distinct(logs["params"][found.level == level], SAME_SIZE),
                rejected=rejected,
                reason=reason,
            )
        )
    return made

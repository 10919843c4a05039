"""Back-test: leave out the largest budgets, fit every law to the rest, and see how far off it would have been.

For each number k of levels of compute: the k largest are dropped, each law is
fitted to what remains, and its predictions of the dropped runs are compared
with what these runs reached. Laws are ranked by this error, never by how well
they fit what they saw (SCIENCE, protocol 18 and 20). An error is

    ln measured loss - ln predicted loss

so a negative one says that larger runs came out better than predicted.

    >>> from analysis.tables.table import read_table
    >>> params, budgets = (grid.ravel() for grid in np.meshgrid([1e7, 4e7, 2e8, 8e8], [1e18, 3e18, 1e19, 3e19, 1e20]))
    >>> tokens = budgets / 6 / params
    >>> loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
    >>> runs = read_table({"N": params, "D": tokens, "C": budgets, "L": loss})
    >>> found = backtest(runs, [catalogue.chinchilla], drop=(1, 2))
    >>> [(trial.drop, round(trial.ratio, 1), bool(trial.rmse < 1e-6)) for trial in found.trials]
    [(1, 3.3, True), (2, 10.0, True)]
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from analysis import laws as catalogue
from analysis.doubt import Doubt
from analysis.engine import starts as starting
from analysis.engine.evaluate import linearise
from analysis.engine.solver import Problem, minimise
from analysis.isoflop import levels
from analysis.law import Law
from analysis.losses import Loss, huber
from analysis.result import at_optimum, robust_scale
from analysis.rows import FitError, Rows, check, read_rows
from analysis.tables.table import column
from analysis.words import percent, plural

# n rows, m dropped rows, P parameters.

DROP = (1, 2, 3)
LARGE = 384  # rows from which starts are screened: only the best go on to the end
SCREENED = (40, 8)  # iterations of all starts, and how many of them go on
AT_ONCE = 2  # laws fitted at the same time: compiling one leaves a core idle
NOISE = 2.0  # standard errors that a difference of errors must exceed
LEAST_CLUSTERS = 3  # of dropped runs, for a standard error
LEAST_COVERAGE = 0.8  # of 95% intervals, below which a note says so


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One law, fitted without the `drop` largest levels of compute."""

    law: str
    drop: int
    ratio: float  # largest compute dropped over the largest kept
    kept: int  # runs fitted
    rows: np.ndarray  # (m,) rows of the table that were dropped
    error: np.ndarray  # (m,) ln measured - ln predicted
    inside: np.ndarray  # (m,) whether the run lies in its 95% interval
    expected: float  # root mean square error that the law's own intervals lead one to expect, in their own units
    converged: bool
    at_bound: tuple[str, ...]  # parameters at the edge of what is allowed
    params: dict[str, float]

    @property
    def bias(self) -> float:
        """Mean signed error."""
        return float(self.error.mean())

    @property
    def rmse(self) -> float:
        return float(np.sqrt((self.error**2).mean()))

    @property
    def coverage(self) -> float:
        """Share of the dropped runs inside their 95% intervals."""
        return float(self.inside.mean())


@dataclass(frozen=True, kw_only=True)
class NotTried:
    """A law that could not be fitted without the `drop` largest levels, and why."""

    law: str
    drop: int
    name: str  # short and stable, such as "too_few_points"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rank:
    """A law over all numbers of dropped levels that every ranked law could be fitted without."""

    law: str
    rmse: float
    bias: float
    coverage: float
    runs: int  # predictions that were compared


@dataclass(frozen=True, kw_only=True)
class Backtest:
    trials: tuple[Trial, ...]  # by law, then by levels dropped
    not_tried: tuple[NotTried, ...]
    ranking: tuple[Rank, ...]  # by held-out error, the smallest first
    compared: tuple[int, ...]  # numbers of dropped levels that the ranking is over
    notes: tuple[Doubt, ...]
    levels: int  # of compute in the table

    def table(self) -> pa.Table:
        """A row a trial: law, dropped, ratio, kept, runs, bias, rmse, expected, coverage."""
        names = ("law", "drop", "ratio", "kept", "bias", "rmse", "expected", "coverage", "converged")
        columns = {name: [getattr(trial, name) for trial in self.trials] for name in names}
        return pa.table(columns | {"runs": [len(trial.error) for trial in self.trials]})

    def summary(self) -> str:
        """A few lines for a terminal."""
        width = max(len(rank.law) for rank in (*self.ranking, *self.trials, *self.not_tried))
        dropped = ", ".join(str(k) for k in self.compared)
        lines = [f"back-test without the largest {dropped} of {self.levels} levels of compute, by held-out error"]
        for rank in self.ranking:
            lines.append(
                f"  {rank.law:<{width}}  rmse {percent(rank.rmse):>6}  mean error {rank.bias:+.2%}  "
                f"95% intervals hold {rank.coverage:.0%} of {plural(rank.runs, 'run')}"
            )
        lines += [f"  {item.law:<{width}}  not fitted without {item.drop}: {item.reason}" for item in self.not_tried]
        return "\n".join([*lines, *(f"  {note.name}: {note.text}" for note in self.notes)])


def default_laws() -> tuple[Law, ...]:
    """What is compared when nothing else is said.

    Chinchilla's form comes last: whoever fits it beside this has compiled it by then.
    """
    return catalogue.kernel, catalogue.kaplan_offset, catalogue.chinchilla


def settled(law: Law, table: pa.Table) -> Law:
    """Farseer's size of reference at the middle of the table: its own is far from a small study's."""
    if law is not catalogue.farseer:
        return law
    return law.fix(N_0=float(np.exp(np.log(column(table, "params")).mean())))


def backtest(
    table: pa.Table, laws: Sequence[Law] | None = None, *, drop: tuple[int, ...] = DROP, loss: Loss | None = None
) -> Backtest:
    """Fit each law without the k largest levels of compute, for each k in `drop`, and predict the dropped runs.

    laws: of one target; `default_laws` when None. loss: Huber's with delta 1e-3
    when None. Intervals are those of one new run, by curvature: they hold if the law does.
    Raises ValueError when no level can be dropped.
    """
    laws = default_laws() if laws is None else tuple(settled(law, table) for law in laws)
    _check_laws(laws)
    parts = levels(table)
    possible = [k for k in sorted(set(drop)) if 0 < k < len(parts)]
    if not possible:
        raise ValueError(f"backtest: drop={drop} of {plural(len(parts), 'level')} of compute; train more budgets")
    folds = {k: np.sort(np.concatenate(parts[-k:])) for k in possible}
    flops = column(table, "flops")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda law: _try(law, table, flops, folds, loss or huber()), laws))
    trials = tuple(trial for tried, _ in found for trial in tried)
    not_tried = tuple(item for _, failed in found for item in failed)
    compared = _common(trials)
    ranking = _rank([trial for trial in trials if trial.drop in compared])
    return Backtest(
        trials=trials, not_tried=not_tried, ranking=ranking, compared=compared, levels=len(parts),
        notes=tuple(_notes(table, trials, ranking, compared, set(drop) - set(possible))),
    )  # fmt: skip


def _check_laws(laws: tuple[Law, ...]) -> None:
    targets, names = {law.target for law in laws}, [law.name for law in laws]
    if len(targets) != 1:
        raise ValueError(f"backtest: laws of {', '.join(sorted(targets)) or 'nothing'}; give laws of one target")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"backtest: two laws are called {twice[0]}; give one another name with dataclasses.replace")


def _try(
    law: Law, table: pa.Table, flops: np.ndarray, folds: dict[int, np.ndarray], loss: Loss
) -> tuple[list[Trial], list[NotTried]]:
    """One law at every fold. What it cannot be fitted to is listed."""
    try:
        rows = read_rows(law, table)
    except ValueError as problem:
        return [], [_not_tried(law, k, problem, "no_column") for k in folds]
    trials, failed, starts = [], [], None
    for k in sorted(folds, reverse=True):  # those that see least come first: their optima give nothing away to the next
        dropped = folds[k]
        kept = np.ones(len(rows), bool)
        kept[dropped] = False
        try:
            check(law, _subset(rows, kept))
            theta, converged, at_bound, starts = _fit(law, rows, kept, loss, starts)
        except ValueError as problem:
            failed.append(_not_tried(law, k, problem, "no_start"))
            continue
        error, inside, expected = _predict(law, rows, kept, loss, theta)
        trials.append(
            Trial(
                law=law.name, drop=k, ratio=float(flops[dropped].max() / flops[kept].max()), kept=int(kept.sum()),
                rows=dropped, error=error, inside=inside, expected=expected, converged=converged, at_bound=at_bound,
                params=dict(zip(law.names, law.values(theta).tolist(), strict=True)),
            )
        )  # fmt: skip
    return trials[::-1], failed[::-1]


def _not_tried(law: Law, drop: int, problem: ValueError, otherwise: str) -> NotTried:
    name = problem.name if isinstance(problem, FitError) else otherwise
    return NotTried(law=law.name, drop=drop, name=name, reason=str(problem))


def _subset(rows: Rows, kept: np.ndarray) -> Rows:
    return Rows(
        columns={name: values[kept] for name, values in rows.columns.items()},
        target=rows.target[kept],
        clusters=tuple(np.array(rows.clusters)[kept]),
        ids=tuple(np.array(rows.ids)[kept]),
    )


def _fit(
    law: Law, rows: Rows, kept: np.ndarray, loss: Loss, near: np.ndarray | None
) -> tuple[np.ndarray, bool, tuple[str, ...], np.ndarray | None]:
    """theta (P,) by the kept rows alone, whether the search ended, what is at a bound, and starts for the next fold.

    The other rows stay in the arrays with weight 0, so that all folds share a
    program. In a large table the law's whole grid is searched only once (near is None).
    """
    seen = _subset(rows, kept)
    unit = starting.units(law, seen.columns, seen.target)
    lower, upper = starting.bounds(law, unit)
    problem = Problem(
        form=law.form, columns=rows.columns, scales_n=np.ones(len(rows)), loss=loss, lower=lower, upper=upper
    )
    measured, counts, large = _measured(law, rows), kept[None].astype(float), len(rows) > LARGE
    starts = near
    if starts is None:
        root = kept.astype(float)
        starts = starting.project(law, starting.grid(law, unit), rows.columns, rows.target, root).theta_RP
        if large:
            iterations, most = SCREENED
            rough = minimise(problem, starts, measured, counts, iterations)
            starts = rough.theta_RP[np.argsort(rough.objective_R, kind="stable")[:most]]
    solution = minimise(problem, starts, measured, counts)
    best = int(np.argmin(solution.objective_R))
    if not np.isfinite(solution.objective_R[best]):
        raise FitError("no_start", f"{law.name}: no start gives a finite value on these rows; check their units")
    theta = solution.theta_RP[best]
    edge = law.free & ((theta <= lower) | (theta >= upper))
    at_bound = tuple(np.array(law.names)[edge].tolist())
    return theta, bool(solution.converged_R[best]), at_bound, solution.theta_RP if large else None


def _measured(law: Law, rows: Rows) -> np.ndarray:
    return np.log(rows.target) if law.in_log else rows.target


def _predict(
    law: Law, rows: Rows, kept: np.ndarray, loss: Loss, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Of the dropped rows: signed errors of ln loss (m,), which lie in their interval (m,), and the expected rmse."""
    value, slope = linearise(law.form, theta, rows.columns)
    residuals = _measured(law, rows) - value
    free = int(law.free.sum())
    if np.isinf(loss.delta):
        scale = float(np.sqrt((residuals[kept] ** 2).sum() / (kept.sum() - free)))
    else:
        scale = robust_scale(residuals[kept], free)
    cov = at_optimum(law, rows, loss, theta, kept.astype(float), scale)["theta_cov"]
    variance = np.einsum("np,pq,nq->n", slope[~kept], cov, slope[~kept]) + scale**2
    inside = np.abs(residuals[~kept]) <= stdtrit(kept.sum() - free, 0.975) * np.sqrt(variance)
    predicted = value[~kept] if law.in_log else np.log(np.maximum(value[~kept], 1e-300))
    return np.log(rows.target[~kept]) - predicted, inside, float(np.sqrt(variance.mean()))


def _common(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Numbers of dropped levels at which every law that was fitted at all was fitted."""
    found: dict[str, set[int]] = {}
    for trial in trials:
        found.setdefault(trial.law, set()).add(trial.drop)
    return tuple(sorted(set.intersection(*found.values()))) if found else ()


def _rank(trials: Sequence[Trial]) -> tuple[Rank, ...]:
    ranks = []
    for name in dict.fromkeys(trial.law for trial in trials):
        own = [trial for trial in trials if trial.law == name]
        error = np.concatenate([trial.error for trial in own])
        ranks.append(
            Rank(
                law=name,
                rmse=float(np.sqrt((error**2).mean())),
                bias=float(error.mean()),
                coverage=float(np.concatenate([trial.inside for trial in own]).mean()),
                runs=len(error),
            )
        )
    return tuple(sorted(ranks, key=lambda rank: rank.rmse))


def _notes(
    table: pa.Table, trials: Sequence[Trial], ranking: Sequence[Rank], compared: tuple[int, ...], skipped: set[int]
) -> list[Doubt]:
    found = []
    if skipped:
        said = f"{', '.join(map(str, sorted(skipped)))} levels could not be dropped: there are not enough"
        found.append(Doubt(name="few_levels", text=said))
    if not ranking:
        return [*found, Doubt(name="not_ranked", text="no number of dropped levels lets all these laws be fitted")]
    best = ranking[0]
    scores = {rank.law: _squares(table, trials, rank.law, compared) for rank in ranking}
    close = [rank.law for rank in ranking[1:] if _within_noise(scores[rank.law], scores[best.law])]
    if close:
        verb = "is" if len(close) == 1 else "are"
        text = f"{', '.join(close)} {verb} within noise of {best.law}: these runs do not tell them apart"
        found.append(Doubt(name="within_noise", text=text))
    if best.coverage < LEAST_COVERAGE:
        text = f"the 95% intervals of {best.law} held only {best.coverage:.0%} of the dropped runs"
        found.append(Doubt(name="overconfident", text=f"{text}: a forecast by it is too sure"))
    for trial in trials:
        if trial.law == best.law and (trial.at_bound or not trial.converged):
            what = f"{', '.join(trial.at_bound)} ran to the edge" if trial.at_bound else "the search did not end"
            found.append(Doubt(name="unsettled", text=f"{trial.law} without {plural(trial.drop, 'level')}: {what}"))
    return found


def _squares(table: pa.Table, trials: Sequence[Trial], law: str, compared: tuple[int, ...]) -> np.ndarray:
    """Squared held-out errors of one law, summed over each cluster of runs; NaN where none was dropped."""
    index = np.unique(table["cluster"].to_pylist(), return_inverse=True)[1]
    total, seen = np.zeros(index.max() + 1), np.zeros(index.max() + 1, bool)
    for trial in trials:
        if trial.law == law and trial.drop in compared:
            np.add.at(total, index[trial.rows], trial.error**2)
            seen[index[trial.rows]] = True
    return np.where(seen, total, np.nan)


def _within_noise(other: np.ndarray, best: np.ndarray) -> bool:
    """Whether the larger errors of one law could be chance, by the scatter of the paired differences over clusters.

    Each difference is relative to the sum, so that one huge error cannot hide behind its own scatter.
    """
    total = other + best
    score = np.divide(other - best, total, out=np.zeros_like(total), where=total > 0)[np.isfinite(total)]
    if len(score) < LEAST_CLUSTERS:
        return True
    return bool(score.mean() <= NOISE * score.std(ddof=1) / np.sqrt(len(score)))

"""Which runs to train next, so that a decision becomes surest for a budget.

A decision is a number g that follows from the law: the best model size at a
target budget, its loss, its tokens per parameter, or the exponent of the best
size. V-optimal design (Atkinson, Donev & Tobias 2007, chapter 10) chooses the
runs after which the variance of g is least (`analysis.information`). The
expected interval is then checked by simulation: fresh noise on all runs, old
and new, a refit, and the decision again.

Runs of one size are branches of one trunk (WSD): the trunk is paid once, up to
where the longest branch begins its cooldown, and every branch pays its own cooldown.

    >>> from analysis import fit, laws
    >>> from analysis.frontier import measure_kappa
    >>> params, flops = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e18, 3e18, 1e19]))
    >>> tokens = flops / (6 * params)
    >>> loss = (1.8 + 480 / params**0.35 + 2100 / tokens**0.37) * np.exp(np.random.default_rng(0).normal(0, 0.003, 12))
    >>> table = {"params": params, "tokens": tokens, "flops": flops, "loss": loss}
    >>> advice = recommend(
    ...     fit(laws.chinchilla, table), table, measure_kappa(table), 5e19, target_flops=1e21, decision="loss"
    ... )
    >>> advice.cost <= 5e19, advice.after.span < advice.before.span
    (True, True)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.bootstrap import Bootstrap
from analysis.decisions import estimate
from analysis.engine.evaluate import values
from analysis.engine.solver import Problem, minimise
from analysis.frontier import Kappa, check_columns, columns_of, exponent, optimum
from analysis.information import Candidates, Information, best_set, candidates, cost, information
from analysis.law import Law
from analysis.result import FitResult, Status
from analysis.tables.read import frame, numbers
from analysis.words import Estimate, flops, plural, short

# R parameter vectors, n rows, P parameters.

DECISIONS = ("params", "loss", "ratio", "exponent")
COOLDOWN = 0.2  # of a run's tokens, after its branch leaves the trunk (Hägele et al. 2024, arXiv:2405.18392)
STEP = 1e-4  # of theta, for the slope of a decision
DRAWS = 200
APART = 1.3  # ratio of the simulated to the expected width from which a note is made
SPENT = 0.8  # of the budget, below which it is said why the rest is left


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run to train."""

    params: float
    tokens: float
    flops: float  # of the run from its first step
    cost: float  # FLOPs that it adds, when it shares the trunk of a longer run of its size
    why: str


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The next runs, and the 95% interval of the decision with and without them."""

    decision: str
    target_flops: float
    budget: float  # FLOPs
    runs: tuple[NextRun, ...]
    cost: float  # FLOPs of all runs together
    before: Estimate
    after: Estimate  # expected
    simulated: Estimate | None  # as `after`, from refits of simulated runs
    notes: tuple[str, ...]

    def describe(self) -> str:
        narrower = _width(self.decision, self.before) / _width(self.decision, self.after)
        lines = [
            f"{plural(len(self.runs), 'run')} for {flops(self.cost)} FLOPs: the interval of the {self.decision} at "
            f"{flops(self.target_flops)} FLOPs becomes {narrower:.2g} times as narrow"
        ]
        lines += [f"  {short(r.params)} parameters, {short(r.tokens)} tokens: {r.why}" for r in self.runs]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def recommend(
    fitted: FitResult | Bootstrap,
    table: Any,
    kappa: Kappa,
    budget_flops: float,
    *,
    target_flops: float,
    decision: str = "params",
    sizes: np.ndarray | None = None,
    most_runs: int = 6,
    cooldown: float = COOLDOWN,
    held: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Recommendation:
    """The best runs for `decision` at target_flops, not more than most_runs, together within budget_flops.

    table: the runs so far, those of the fit, with params and tokens. decision: "params", "loss" or
    "ratio" of the optimum at target_flops, or the "exponent" of its size there. sizes: that may be
    trained; from 0.3 to 3 times those of the table when None. cooldown: share of a run that no other
    can share; 1 when there are no branches. held: values of the law's further columns. draws:
    simulations, none when 0. Raises ValueError for an unknown decision, numbers that cannot be, a
    budget too small for any run, and a target at which the law has no optimum.
    """
    _check(decision, budget_flops, target_flops, most_runs, cooldown)
    fit = fitted.fit if isinstance(fitted, Bootstrap) else fitted
    check_columns(fit.law, held or {})
    runs = frame(table)
    able = candidates(
        numbers(runs, "params"), numbers(runs, "tokens"), kappa, budget_flops, sizes=sizes, cooldown=cooldown
    )
    law = fit.law
    known = information(fit)
    slope_P = _slope(law, fit.theta, decision, target_flops, kappa, held)
    rows = known.rows(law, fit.theta, columns_of(law, able.params, able.tokens, able.flops, held or {}))
    goal = known.direction(slope_P)
    chosen = best_set(known, rows, goal, able, budget_flops, most_runs)
    centre = float(decide(law, fit.theta[None], decision, target_flops, kappa, held)[0])
    before, after = (
        _interval(decision, centre, float(known.variance(rows, goal, able, which)[0]), fit, which.shape[1])
        for which in (np.zeros((1, 0), int), chosen[None])
    )
    simulated = None
    if draws:
        new = columns_of(law, able.params[chosen], able.tokens[chosen], able.flops[chosen], held or {})
        theta = simulate(fit, new, able.size[chosen], known.share, draws=draws, seed=seed)
        decided = decide(law, theta, decision, target_flops, kappa, held)
        simulated = _natural(decision, estimate(np.concatenate([[centre], decided])))
    found = Recommendation(
        decision=decision, target_flops=float(target_flops), budget=float(budget_flops),
        runs=_runs(known, rows, goal, able, chosen), cost=float(cost(able, chosen[None])[0]),
        before=before, after=after, simulated=simulated, notes=(),
    )  # fmt: skip
    return replace(found, notes=_notes(found, fit, known, able, float(numbers(runs, "params").max())))


def decide(
    law: Law, theta_RP: np.ndarray, decision: str, target_flops: float, kappa: Kappa,
    held: Mapping[str, float] | None = None,
) -> np.ndarray:  # fmt: skip
    """(R,) the decision; in logarithms but for the exponent, so that its interval is about symmetric."""
    if decision == "exponent":
        return exponent(law, theta_RP, (target_flops, target_flops))
    best = optimum(law, theta_RP, np.array([float(target_flops)]), kappa, held)
    with np.errstate(divide="ignore"):  # an optimum at the edge of the search: infinite is honest
        logs = {name: np.log(getattr(best, name)[:, 0]) for name in ("params", "tokens", "loss")}
    return logs["tokens"] - logs["params"] if decision == "ratio" else logs[decision]


def simulate(
    fit: FitResult, new: Mapping[str, np.ndarray], trunk: np.ndarray, share: float, *, draws: int, seed: int = 0
) -> np.ndarray:
    """(draws, P) the law refitted to its old and new runs with fresh noise on all.

    new: the law's columns for the new runs; trunk: (m,) index of the trunk of each, which has `share` of
    the noise's variance. Each draw has its own scale, as uncertain as the fit knows it.
    """
    law, rng = fit.law, np.random.default_rng(seed)
    columns = {name: np.concatenate([fit.rows.columns[name], new[name]]) for name in law.columns}
    old = np.unique(fit.rows.clusters, return_inverse=True)[1]
    cluster = np.concatenate([old, old.max() + 1 + trunk.astype(int)])
    weights = np.concatenate([fit.weights, np.ones(len(trunk))])
    scale = np.full(draws, fit.scale)
    if not fit.known_noise:
        scale = scale * np.sqrt(fit.freedom / rng.chisquare(fit.freedom, draws))
    common = rng.standard_normal((draws, cluster.max() + 1))[:, cluster]
    own = rng.standard_normal((draws, len(cluster)))
    noise = scale[:, None] * (np.sqrt(share) * common + np.sqrt(1 - share) * own) / weights
    exact = values(law.form, fit.theta[None], columns)[0]
    problem = Problem(form=law.form, columns=columns, scales_n=weights, loss=fit.loss, lower=fit.lower, upper=fit.upper)
    targets = (np.log(exact) if law.in_log else exact) + noise
    return minimise(problem, np.tile(fit.theta, (draws, 1)), targets).theta_RP


def _slope(
    law: Law, theta: np.ndarray, decision: str, target: float, kappa: Kappa, held: Mapping[str, float] | None
) -> np.ndarray:
    """(P,) of the decision with respect to theta, by central differences."""
    steps = STEP * np.eye(len(theta))
    decided = decide(law, np.concatenate([theta + steps, theta - steps]), decision, target, kappa, held)
    if not np.isfinite(decided).all():
        raise ValueError(
            f"recommend: the fitted law has no optimum at {target:.3g} FLOPs within the search (it lies at its edge), "
            "so no run can be chosen for it; choose another target_flops or another law"
        )
    return (decided[: len(theta)] - decided[len(theta) :]) / (2 * STEP)


def _interval(decision: str, centre: float, variance: float, fit: FitResult, more: int) -> Estimate:
    """By Student's quantile with the freedom that the fit will have."""
    wider = replace(fit, residuals=np.concatenate([fit.residuals, np.zeros(more)]))
    half = wider.quantile() * np.sqrt(variance)
    return _natural(decision, Estimate(value=centre, low=centre - half, high=centre + half))


def _natural(decision: str, estimate: Estimate) -> Estimate:
    if decision == "exponent":
        return Estimate(value=float(estimate.value), low=float(estimate.low), high=float(estimate.high))
    with np.errstate(over="ignore"):
        value, low, high = np.exp([estimate.value, estimate.low, estimate.high]).tolist()
    return Estimate(value=value, low=low, high=high)


def _width(decision: str, interval: Estimate) -> float:
    """Of an interval: in logarithms but for the exponent."""
    if decision == "exponent":
        return interval.span
    return float(np.log(interval.high) - np.log(interval.low)) if interval.low > 0 else np.inf


def _runs(
    known: Information, rows: np.ndarray, goal: np.ndarray, able: Candidates, chosen: np.ndarray
) -> tuple[NextRun, ...]:
    """The chosen runs, the largest first, each with what would be lost without it."""
    full = known.variance(rows, goal, able, chosen[None])[0]
    return tuple(
        NextRun(
            params=float(able.params[index]),
            tokens=float(able.tokens[index]),
            flops=float(able.flops[index]),
            cost=float(able.flops[index] * (1.0 if _longest(able, chosen, index) else able.cooldown)),
            why=_why(able, chosen, index, known.variance(rows, goal, able, np.delete(chosen, at)[None])[0] / full),
        )
        for at, index in enumerate(chosen)
    )


def _why(able: Candidates, chosen: np.ndarray, index: int, growth: float) -> str:
    said = f"without it the interval would be {np.sqrt(growth) - 1:.0%} wider"
    if (able.size[chosen] == able.size[index]).sum() == 1:
        return said
    return said + (
        "; the longest of its trunk" if _longest(able, chosen, index) else "; a branch of a longer run's trunk"
    )


def _longest(able: Candidates, chosen: np.ndarray, index: int) -> bool:
    return able.tokens[index] >= able.tokens[chosen[able.size[chosen] == able.size[index]]].max()


def _notes(
    found: Recommendation, fit: FitResult, known: Information, able: Candidates, largest: float
) -> tuple[str, ...]:
    notes = []
    if len({run.params for run in found.runs}) < len(found.runs):
        notes.append(
            f"runs of one size are branches of one trunk, which is counted once; each branch adds its cooldown, "
            f"{able.cooldown:.0%} of its tokens; {known.share:.0%} of the noise's variance is taken for the trunk's"
            + (" (assumed: no two runs so far share a trunk)" if known.assumed else "")
        )
    beyond = dict.fromkeys(short(run.params) for run in found.runs if run.params > 1.01 * largest)
    if beyond:
        notes.append(f"larger than any size trained so far: {', '.join(beyond)}; the law is taken to hold there")
    if found.cost < SPENT * found.budget:
        notes.append(
            f"{1 - found.cost / found.budget:.0%} of the budget is left: among {plural(len(found.runs), 'run')} of 0.3 "
            "to 3 times the sizes and tokens per parameter so far, no exchange of one tells more by a thousandth"
        )
    if fit.status is not Status.CONVERGED:
        notes.append(f"the fit is {fit.status.value}: the choice depends on it, so choose again after the first runs")
    if found.simulated:
        ratio = _width(found.decision, found.simulated) / _width(found.decision, found.after)
        if not 1 / APART < ratio < APART:
            notes.append(
                f"in simulation the interval is {ratio:.2g} times as wide as expected: the law bends too much within "
                "it for its slopes to tell; trust the simulated one"
            )
    return tuple(notes)


def _check(decision: str, budget: float, target: float, most_runs: int, cooldown: float) -> None:
    if decision not in DECISIONS:
        raise ValueError(f"recommend(decision={decision!r}): must be one of {', '.join(DECISIONS)}")
    for name, value in (("budget_flops", budget), ("target_flops", target)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"recommend({name}={value}): must be finite and positive")
    if most_runs < 1:
        raise ValueError(f"recommend(most_runs={most_runs}): must be at least 1")
    if not 0 < cooldown <= 1:
        raise ValueError(f"recommend(cooldown={cooldown}): a share between 0 and 1; 1 when there are no branches")

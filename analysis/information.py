"""What runs tell about a law, before they are trained, and which set of them tells most for a budget.

A fit by least squares to rows with slopes J and noise of variance v R, where R
holds the share that rows of one trunk have in common, has the covariance

    v (J'J)^-1 (J' R J) (J'J)^-1

A robust loss changes v only (`Loss.variance_factor`). Slopes are turned to the
axes of the Jacobian so far and scaled there, so that J'J is the identity: a
direction that the runs so far leave open is then as exact as any other.
"""

from dataclasses import dataclass

import numpy as np

from analysis.engine.evaluate import Columns, linearise
from analysis.frontier import Kappa
from analysis.law import Law
from analysis.noise import estimate
from analysis.result import FitResult

# C candidate runs, S sets of k of them, Q free parameters.

RANGE = (0.3, 3.0)  # of the sizes and of the tokens per parameter so far
USUAL = (0.05, 0.95)  # quantiles of the tokens per parameter: one odd run does not widen the range
APART_TOKENS = 1.25  # least ratio of the tokens of two runs of one size
SIZES, COUNTS = 12, 14  # of the grid of candidates
ASSUMED_SHARE = 0.5  # of the noise's variance, common to a trunk, when no two runs so far share one
LEAST = 1e-14  # singular value, relative, below which a direction counts as open
PASSES = 20  # of exchanges


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Runs that could be trained. (C,) each."""

    params: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    size: np.ndarray  # index of the size: runs of one size share a trunk
    cooldown: float  # share of a run's tokens that only it pays for


@dataclass(frozen=True, kw_only=True)
class Information:
    """What the runs so far tell."""

    unit: float  # v, the variance of one run's part in a fit
    turn: np.ndarray  # (P, Q) from slopes with respect to theta to the scaled axes
    noise: np.ndarray  # (Q, Q) J' R J of the runs so far, on those axes
    share: float  # of the noise's variance, common to a trunk
    assumed: bool  # the share is not estimated

    def rows(self, law: Law, theta: np.ndarray, columns: Columns) -> np.ndarray:
        """(C, Q) slopes of the candidates."""
        return linearise(law.form, theta, columns)[1] @ self.turn

    def direction(self, slope_P: np.ndarray) -> np.ndarray:
        """(Q,) of a number that depends on theta by slope_P."""
        return slope_P @ self.turn

    def variance(self, rows_CQ: np.ndarray, goal_Q: np.ndarray, able: Candidates, sets_Sk: np.ndarray) -> np.ndarray:
        """(S,) of the number `goal`, after the runs of each set have been added."""
        new = rows_CQ[sets_Sk]
        moved = np.swapaxes(new, 1, 2)
        common = np.where(_same(able, sets_Sk), self.share, 0.0)
        common[:, np.arange(sets_Sk.shape[1]), np.arange(sets_Sk.shape[1])] = 1.0
        right = np.broadcast_to(goal_Q[:, None], (len(new), len(goal_Q), 1))
        found = np.linalg.solve(np.eye(len(goal_Q)) + moved @ new, right)
        middle = self.noise + moved @ common @ new
        return self.unit * (np.swapaxes(found, 1, 2) @ middle @ found)[:, 0, 0]


def information(fit: FitResult) -> Information:
    """From the Jacobian and the residuals of a fit."""
    free = np.flatnonzero(fit.law.free)
    jacobian = fit.jacobian[:, free]
    norms = np.linalg.norm(jacobian, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    left, singular, right = np.linalg.svd(jacobian / norms, full_matrices=False)
    turn = np.zeros((len(fit.theta), len(free)))
    turn[free] = right.T / norms[:, None] / np.maximum(singular, LEAST * singular[0])
    clusters = list(fit.rows.clusters)
    assumed = len(set(clusters)) == len(clusters)
    share = ASSUMED_SHARE if assumed else estimate(fit.residuals * fit.weights, jacobian, clusters).share
    names = np.array(clusters)
    common = np.where(names[:, None] == names, share, 0.0)
    np.fill_diagonal(common, 1.0)
    return Information(
        unit=fit.loss.variance_factor(fit.scale), turn=turn, noise=left.T @ common @ left, share=share, assumed=assumed
    )


def candidates(
    params: np.ndarray, tokens: np.ndarray, kappa: Kappa, budget: float, *, sizes: np.ndarray | None, cooldown: float
) -> Candidates:
    """A grid of runs about those so far, each within the budget.

    Sizes and usual tokens per parameter lie between 0.3 and 3 times those so far, and no run is cheaper than
    the cheapest: further off the law would be taken at its word where nobody has looked, and tiny
    runs, of which it holds least, seem to tell most.
    """
    low, high = RANGE
    if sizes is None:
        sizes = np.geomspace(low * params.min(), high * params.max(), SIZES)
    sizes = np.sort(np.atleast_1d(np.asarray(sizes, float)))
    each = kappa(np.log(sizes)) * sizes
    ratios = np.quantile(tokens / params, USUAL)
    cheapest = (kappa(np.log(params)) * params * tokens).min()
    least = np.maximum(low * ratios[0] * sizes, cheapest / each)
    most = np.minimum(high * ratios[1] * sizes, budget / each)
    usable = np.flatnonzero(most >= least)
    if not usable.size:
        raise ValueError(
            f"no run of {sizes[0]:.3g} to {sizes[-1]:.3g} parameters fits into {budget:.3g} FLOPs; the cheapest "
            f"that the runs so far speak for costs {(each * least).min():.3g}: raise the budget"
        )
    grid = np.geomspace(least[usable], most[usable], COUNTS, axis=1)
    # Two cooldowns of one trunk at nearly the same place would be nearly the same run.
    steps = np.log(most[usable] / least[usable]) / (COUNTS - 1)
    stride = np.ceil(np.log(APART_TOKENS) / np.maximum(steps, 1e-12))
    apart = np.arange(COUNTS) % stride[:, None] == 0
    index, tokens = np.repeat(usable, COUNTS)[apart.ravel()], grid[apart]
    return Candidates(params=sizes[index], tokens=tokens, flops=each[index] * tokens, size=index, cooldown=cooldown)


def cost(able: Candidates, sets_Sk: np.ndarray) -> np.ndarray:
    """(S,) FLOPs of each set: every trunk once, up to the longest cooldown, and every cooldown."""
    same = _same(able, sets_Sk)
    flops = able.flops[sets_Sk]
    longest = np.where(same, flops[:, None, :], 0.0).max(-1, initial=0.0)
    trunk = (1 - able.cooldown) * longest / np.maximum(same.sum(-1), 1)
    return (trunk + able.cooldown * flops).sum(-1)


def best_set(
    known: Information, rows_CQ: np.ndarray, goal_Q: np.ndarray, able: Candidates, budget: float, most: int
) -> np.ndarray:
    """(k,) candidates, at most `most`, that leave the least variance of `goal` within the budget.

    Begun greedily in three ways: most decrease a FLOP, most decrease, and most decrease within an
    equal share of what is left. Then runs are exchanged one by one as long as that helps.
    """
    found = [
        _exchanged(known, rows_CQ, goal_Q, able, budget, most, _greedy(known, rows_CQ, goal_Q, able, budget, most, way))
        for way in ("a FLOP", "all", "share")
    ]
    left = [known.variance(rows_CQ, goal_Q, able, chosen[None])[0] for chosen in found]
    chosen = found[int(np.argmin(left))]
    return chosen[np.lexsort((-able.tokens[chosen], -able.params[chosen]))]


def _greedy(known, rows, goal, able, budget, most, way) -> np.ndarray:
    chosen = np.zeros(0, int)
    for left in range(most, 0, -1):
        spent, now = cost(able, chosen[None])[0], known.variance(rows, goal, able, chosen[None])[0]
        sets = _with_one_more(chosen, len(rows))
        price = cost(able, sets)
        allowed = budget if way != "share" else spent + (budget - spent) / left
        drop = now - known.variance(rows, goal, able, sets)
        score = drop / np.maximum(price - spent, 1e-9 * budget) if way == "a FLOP" else drop
        score = np.where(price <= allowed * (1 + 1e-9), score, -np.inf)
        if not score.max() > 0:
            break
        chosen = sets[score.argmax()]
    return chosen


def _exchanged(known, rows, goal, able, budget, most, chosen) -> np.ndarray:
    """Replace one run, or add one, while the variance falls by a thousandth."""
    now = known.variance(rows, goal, able, chosen[None])[0]
    for _ in range(PASSES):
        groups = [_with_one_more(np.delete(chosen, i), len(rows)) for i in range(len(chosen))]
        groups += [_with_one_more(chosen, len(rows))] if len(chosen) < most else []
        better, best = now * (1 - 1e-3), None
        for sets in groups:
            left = known.variance(rows, goal, able, sets)
            left = np.where(cost(able, sets) <= budget * (1 + 1e-9), left, np.inf)
            if left.min() < better:
                better, best = left.min(), sets[left.argmin()]
        if best is None:
            break
        chosen, now = best, better
    return chosen


def _with_one_more(chosen: np.ndarray, count: int) -> np.ndarray:
    """(S, k + 1) the set with each candidate that is not in it."""
    others = np.setdiff1d(np.arange(count), chosen)
    return np.hstack([np.tile(chosen, (len(others), 1)), others[:, None]])


def _same(able: Candidates, sets_Sk: np.ndarray) -> np.ndarray:
    """(S, k, k) True for two runs of one size."""
    size = able.size[sets_Sk]
    return size[:, :, None] == size[:, None, :]

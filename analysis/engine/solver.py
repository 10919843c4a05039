"""Many small robust fits at once: damped Newton steps, compiled, in double precision.

Minimises, for each problem r of a batch,

    sum_i  count_ri * rho( scale_i * (y_ri - model(theta_r)_i) )

The rows' columns are shared; targets, counts and bounds may differ, so all
starts of a fit, all bootstrap resamples of a table, and all points of a profile
are each one call. A fixed number of lanes runs the compiled steps; a lane whose
problem has ended takes up the next one, so that slow problems hold up nobody.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.engine.double import double
from analysis.engine.evaluate import Columns, model, padded, rounded
from analysis.law import Form
from analysis.losses import Loss

# Shapes: R problems, n rows, P parameters.

ITERATIONS = 300
STEPS = 4  # of each lane between two looks at which have ended
# Of the objective, per step. The objective is flat to second order there: theta
# is then right to about 1e-6 of its standard error.
TOLERANCE = 1e-12
STALLED = 1e-8  # of the objective: a step that rounding keeps from descending ends a search this near to its end
AT_BOUND = 1e-8  # so near to a bound, relative, a parameter that pulls outward is held there
LANE_ROWS = 2048  # lanes times rows: a few arrays that stay in the cache
LARGEST_DELTA = 1e100  # for an infinite one: its product with a residual is still a number
LANES = (8, 64)  # whatever the number of problems: one or a thousand, one compiled program
FIRST_DELTA = 1e-3  # smaller deltas are reached by tens, each from the optimum of the one before


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything but the starts. Bounds are (P,) or (R, P)."""

    form: Form
    columns: Columns
    scales_n: np.ndarray
    loss: Loss
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Solution:
    theta_RP: np.ndarray
    objective_R: np.ndarray
    converged_R: np.ndarray
    slope_R: np.ndarray  # norm of the gradient over the free parameters, in units of the objective


def minimise(
    problem: Problem,
    starts_RP: np.ndarray,
    targets: np.ndarray,
    counts: np.ndarray | None = None,
    iterations: int = ITERATIONS,
) -> Solution:
    """One local minimum for each start. targets: (n,) or (R, n); counts: (R, n), ones when None."""
    total, rows = len(starts_RP), len(problem.scales_n)
    queue = _Queue(
        problem=problem,
        starts=np.asarray(starts_RP, float),
        targets=np.broadcast_to(targets, (total, rows)),
        counts=np.broadcast_to(1.0 if counts is None else counts, (total, rows)),
        iterations=iterations,
    )
    threads = min(len(os.sched_getaffinity(0)), -(-total // queue.lanes))
    if threads == 1:
        queue.work()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(queue.work) for _ in range(threads)]:
                done.result()
    return queue.solution()


class _Queue:
    """Problems that wait, and the results of those that have ended. Several threads may work on it."""

    def __init__(self, *, problem: Problem, starts: Any, targets: Any, counts: Any, iterations: int) -> None:
        total, self.rows = targets.shape
        self.wide = rounded(self.rows)
        self.lanes = int(np.clip(LANE_ROWS // self.wide, *LANES))
        self.problem, self.iterations = problem, iterations
        self.starts, self.targets, self.counts = starts, targets, counts
        self.lower, self.upper = (np.broadcast_to(b, starts.shape) for b in (problem.lower, problem.upper))
        self.columns = {k: padded(np.asarray(v, float), self.wide) for k, v in problem.columns.items()}
        self.scales = padded(problem.scales_n, self.wide)
        self.deltas = _deltas(problem.loss, 1.0 if problem.form.in_log else float(np.median(np.abs(targets))))
        self.lock, self.next = threading.Lock(), 0
        self.theta = starts.copy()
        self.objective, self.slope = np.full(total, np.inf), np.full(total, np.inf)
        self.converged = np.zeros(total, bool)

    def take(self, wanted: int) -> np.ndarray:
        with self.lock:
            new = np.arange(self.next, min(self.next + wanted, len(self.starts)))
            self.next += len(new)
        return new

    def work(self) -> None:
        """Run lanes until no problem waits and none is under way."""
        lanes, parameters = self.lanes, self.starts.shape[1]
        who = np.full(lanes, -1)
        theta = np.repeat(self.starts[:1], lanes, axis=0)
        lower, upper = (np.repeat(bound[:1], lanes, axis=0) for bound in (self.lower, self.upper))
        targets, counts = np.zeros((lanes, self.wide)), np.zeros((lanes, self.wide))
        damping, done, stage, spent = np.ones(lanes), np.ones(lanes, bool), np.zeros(lanes, int), np.zeros(lanes, int)
        assert theta.shape == (lanes, parameters)
        while True:
            idle = np.flatnonzero(who < 0)
            new = self.take(len(idle))
            slots = idle[: len(new)]
            who[slots], lower[slots], upper[slots] = new, self.lower[new], self.upper[new]
            theta[slots] = np.clip(self.starts[new], self.lower[new], self.upper[new])
            targets[slots, : self.rows], counts[slots, : self.rows] = self.targets[new], self.counts[new]
            damping[slots], done[slots], stage[slots], spent[slots] = 1.0, False, 0, 0
            if (who < 0).all():
                return
            with double():
                out = _advance(
                    self.problem.form, self.problem.loss.rho, theta, damping, done, self.columns, self.scales,
                    targets, counts, lower, upper, self.deltas[stage],
                )  # fmt: skip
            theta, objective, damping, done, decrement, slope = (np.array(part) for part in out)
            spent += STEPS
            stalled = damping > 1e12
            done |= stalled & (decrement <= STALLED * objective)
            ended = (who >= 0) & (done | stalled | (spent >= self.iterations))
            onward = ended & (stage < len(self.deltas) - 1)
            stage[onward] += 1
            damping[onward], done[onward], spent[onward] = 1.0, False, 0
            ended &= ~onward
            names = who[ended]
            self.theta[names], self.objective[names], self.slope[names] = theta[ended], objective[ended], slope[ended]
            self.converged[names] = done[ended] & np.isfinite(objective[ended])
            who[ended], done[ended] = -1, True

    def solution(self) -> Solution:
        return Solution(theta_RP=self.theta, objective_R=self.objective, converged_R=self.converged, slope_R=self.slope)


def _deltas(loss: Loss, unit: float) -> np.ndarray:
    """From a delta that a search can see down to the one that is asked for."""
    first = FIRST_DELTA * unit
    if not loss.delta < first / 5:
        return np.array([min(loss.delta, LARGEST_DELTA)])
    steps = int(np.ceil(np.log10(first / loss.delta)))
    return np.geomspace(first, loss.delta, steps + 1)


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    form: Form,
    rho: Callable[[Any, Any], Any],
    theta: Any,
    damping: Any,
    done: Any,
    columns: Any,
    scales: Any,
    targets: Any,
    counts: Any,
    lower: Any,
    upper: Any,
    delta: Any,
) -> Any:
    """STEPS damped Newton steps of every lane."""

    def lane(theta, damping, done, target, count, low, high, delta):
        def residual(theta):
            return scales * (target - model(form, theta, columns))

        def objective(theta):
            total = jnp.where(count > 0, count * rho(residual(theta), delta), 0.0).sum()
            return jnp.where(jnp.isfinite(total), total, jnp.inf)

        def body(_, state):
            theta, value, damping, done, decrement, slope = state
            gradient, hessian, majorant = _derivatives(residual, rho, theta, count, delta)
            step, found, free = _step(theta, gradient, hessian, majorant, damping, low, high)
            trial = jnp.clip(theta + step, low, high)
            tried = objective(trial)
            better = (tried < value) & ~done
            size = jnp.linalg.norm(free)
            decrement, slope = jnp.where(done, decrement, found), jnp.where(done, slope, size)
            # A tiny step is only proof of an optimum when the damping did not make it tiny.
            now = done | (found <= TOLERANCE * value + 1e-26)
            damping = jnp.where(done, damping, jnp.clip(jnp.where(better, damping * 0.2, damping * 6), 1e-9, 1e15))
            return (
                jnp.where(better, trial, theta), jnp.where(better, tried, value), damping, now, decrement, slope
            )  # fmt: skip

        start = (theta, objective(theta), damping, done, jnp.inf, jnp.inf)
        return jax.lax.fori_loop(0, STEPS, body, start)

    return jax.vmap(lane)(theta, damping, done, targets, counts, lower, upper, delta)


def _derivatives(residual: Any, rho: Any, theta: Any, count: Any, delta: Any) -> tuple[Any, Any, Any]:
    """Gradient (P,), exact Hessian (P, P), and the Hessian of the quadratic that touches a robust rho from above."""
    r = residual(theta)
    slopes_nP = jax.jacfwd(residual)(theta)
    pull = jax.vmap(jax.grad(rho), (0, None))(r, delta)
    curve = jax.vmap(jax.grad(jax.grad(rho)), (0, None))(r, delta)
    # Far from zero psi / r; at zero its limit. A flat rho keeps a little weight, or its rows would be lost.
    near = jnp.abs(r) < 1e-200
    soft = jnp.where(near, curve, pull / jnp.where(near, 1.0, r))
    live = count > 0
    slopes_nP = jnp.where(live[:, None], slopes_nP, 0.0)
    pull, curve, soft = (jnp.where(live, count * part, 0.0) for part in (pull, curve, soft))
    bend = jax.jacfwd(jax.grad(lambda t: jnp.vdot(jax.lax.stop_gradient(pull), residual(t))))
    gauss = (slopes_nP * curve[:, None]).T @ slopes_nP
    return pull @ slopes_nP, gauss + bend(theta), (slopes_nP * soft[:, None]).T @ slopes_nP


def _step(theta, gradient, hessian, majorant, damping, low, high) -> tuple[Any, Any, Any]:
    """The damped step, the decrease that the undamped majorant promises, and the gradient of the free parameters.

    The damping matrix is the majorant: with enough of it every step descends,
    and the steps do not depend on the units of the parameters.
    """
    touch = AT_BOUND * (1 + jnp.abs(theta))
    stuck = (low >= high) | ((theta <= low + touch) & (gradient > 0)) | ((theta >= high - touch) & (gradient < 0))
    gradient = jnp.where(stuck, 0.0, gradient)
    free = ~(stuck[:, None] | stuck[None, :])
    eye = jnp.eye(len(theta))
    # Unit diagonal: theta holds logarithms of amounts beside exponents, and solves lose fewer digits.
    unit = jnp.where(stuck, 1.0, jnp.sqrt(jnp.diag(majorant) + 1e-30))
    fill = jnp.where(stuck, 1.0, 1e-12) * eye
    across = unit[:, None] * unit[None, :]
    metric = jnp.where(free, majorant / across, 0.0) + fill
    matrix = jnp.where(free, hessian / across, 0.0) + damping * metric + fill
    right = gradient / unit
    both = jnp.linalg.solve(jnp.stack([matrix, metric]), jnp.stack([right, right])[..., None])[..., 0]
    step, fallback = -both[0], -both[1] / (1 + damping)
    # Where the damped Hessian is not positive, go down the majorant instead.
    good = jnp.isfinite(step).all() & (step @ right < 0)
    step = jnp.where(good, step, jnp.where(jnp.isfinite(fallback), fallback, 0.0))
    decrement = -(fallback @ right) * (1 + damping)
    return step / unit, jnp.where(jnp.isfinite(decrement), decrement, jnp.inf), gradient

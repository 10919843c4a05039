"""Fit a law to a table: residuals in logs, a robust loss, summed, from many starts.

    >>> from analysis import fit, laws
    >>> import numpy as np
    >>> size = np.geomspace(1e6, 1e9, 12)
    >>> result = fit(laws.power_law("loss", "params"), {"params": size, "loss": 20 * size**-0.1})
    >>> round(result.params["b"], 6)
    -0.1

The protocol is that of Hoffmann et al. 2022 (arXiv:2203.15556, appendix D.3),
with what its replication learned (Besiroglu et al. 2024, arXiv:2404.10102):
exact derivatives, a sum and not a mean, several starts, and convergence.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.engine import starts as starting
from analysis.engine.solver import AT_BOUND, Problem, minimise
from analysis.law import Law
from analysis.losses import Loss, huber
from analysis.result import FitResult, Status, at_optimum
from analysis.rows import FitError, Rows, check, read_rows

VANISHED = 1e-3  # largest share of the value that an amount holds in any row when it has run away to nothing


def fit(
    law: Law,
    data: Any,
    loss: Loss | None = None,
    *,
    weights: np.ndarray | None = None,
    noise: np.ndarray | float | None = None,
    starts: np.ndarray | None = None,
    project: bool = True,
    columns: Mapping[str, str] | None = None,
) -> FitResult:
    """Fit `law` to the rows of `data`: a pyarrow table, pandas or polars frame, dict of arrays, or a file's path.

    loss: Huber's with delta 1e-3 when None. weights: (n,) 1 / variance of the
    residual up to a factor; equal when None. noise: known standard deviation of
    each residual, instead of weights; errors are then not estimated from the
    residuals. starts: (R, P) natural values, instead of the law's own grid.
    project: solve for the linear parameters at each start. columns: the table's
    own names, such as {"params": "n_params"}.
    Raises FitError where the rows cannot identify the law.
    """
    rows = read_rows(law, data, columns)
    check(law, rows)
    return fit_rows(law, rows, loss or huber(), weights=weights, noise=noise, starts=starts, project=project)


def fit_rows(
    law: Law,
    rows: Rows,
    loss: Loss,
    *,
    weights: np.ndarray | None = None,
    noise: np.ndarray | float | None = None,
    starts: np.ndarray | None = None,
    project: bool = True,
) -> FitResult:
    """`fit` on rows that are read and checked."""
    root, known = _root_weights(weights, noise, len(rows))
    unit = starting.units(law, rows.columns, rows.target)
    lower, upper = starting.bounds(law, unit)
    natural = starting.grid(law, unit) if starts is None else _given_starts(law, starts)
    if project:
        chosen = starting.project(law, natural, rows.columns, rows.target, root)
    else:
        chosen = starting.unprojected(law, natural)
    problem = Problem(form=law.form, columns=rows.columns, scales_n=root, loss=loss, lower=lower, upper=upper)
    solution = minimise(problem, chosen.theta_RP, np.log(rows.target) if law.in_log else rows.target)
    best = int(np.argmin(solution.objective_R))
    objective = float(solution.objective_R[best])
    if not np.isfinite(objective):
        raise FitError("no_start", f"{law.name}: no start gives a finite value on these rows; check their units")
    same = solution.objective_R <= objective * (1 + 1e-6) + 1e-24
    found = at_optimum(law, rows, loss, solution.theta_RP[best], root, known)
    at_bound = _at_bound(law, solution.theta_RP[best], lower, upper, found["jacobian"])
    status = Status.AT_BOUND if at_bound else Status.CONVERGED
    return FitResult(
        law=law,
        loss=loss,
        rows=rows,
        status=status if solution.converged_R[best] else Status.NOT_CONVERGED,
        at_bound=at_bound,
        objective=objective,
        gradient_norm=float(solution.slope_R[best]),
        starts=int(chosen.count_R.sum()),
        starts_agreeing=float(chosen.count_R[same].sum() / chosen.count_R.sum()),
        lower=lower,
        upper=upper,
        **found,
    )


def _at_bound(law: Law, theta: np.ndarray, lower: np.ndarray, upper: np.ndarray, jacobian: np.ndarray) -> tuple:
    """Parameters at the edge of what is allowed, and amounts that no row feels."""
    touch = 2 * AT_BOUND * (1 + np.abs(theta))
    edge = law.free & ((theta <= lower + touch) | (theta >= upper - touch))
    gone = law.free & law.log & (np.abs(jacobian).max(0) < VANISHED) if law.in_log else np.zeros(len(theta), bool)
    return tuple(name for name, yes in zip(law.names, edge | gone, strict=True) if yes)


def _given_starts(law: Law, starts: np.ndarray) -> np.ndarray:
    natural = np.atleast_2d(np.asarray(starts, float))
    if natural.shape[1:] != (len(law.names),) or not np.isfinite(natural).all() or (natural[:, law.log] <= 0).any():
        raise FitError(
            "bad_starts",
            f"{law.name}: starts of shape {np.shape(starts)}; give (R, {len(law.names)}) finite natural values of "
            f"{', '.join(law.names)}, positive for amounts",
        )
    return natural


def _root_weights(weights: Any, noise: Any, rows: int) -> tuple[np.ndarray, float | None]:
    """Square roots of weights of mean one, so that delta keeps its meaning; and the known noise of weight one."""
    if weights is not None and noise is not None:
        raise FitError("bad_weights", "fit: weights and noise are two ways to say one thing; give one of them")
    given = weights if noise is None else np.broadcast_to(np.asarray(noise, float), (rows,)) ** -2.0
    if given is None:
        return np.ones(rows), None
    given = np.asarray(given, float)
    if given.shape != (rows,) or not np.all(np.isfinite(given)) or not np.all(given > 0):
        raise FitError(
            "bad_weights",
            f"fit: weights of shape {given.shape} for {rows} rows; give one finite positive number a row",
        )
    return np.sqrt(given / given.mean()), None if noise is None else float(given.mean() ** -0.5)

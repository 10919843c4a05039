"""Fits of made-up runs whose truth is known: how often does an interval hold it?"""

from collections.abc import Mapping

import numpy as np

from analysis.engine import starts as starting
from analysis.engine.evaluate import Columns, linearise_many, values
from analysis.engine.solver import Problem, minimise
from analysis.law import Law
from analysis.losses import Loss, squared

# Shapes: R repetitions, n rows, P parameters.


def simulate(
    law: Law, columns: Columns, truth: Mapping[str, float], noise: float, draws: int, seed: int = 0
) -> np.ndarray:
    """(R, n) targets: the law with Gaussian noise, relative to it when the law is fitted in logs."""
    exact = values(law.form, law.theta(truth)[None], columns)[0]
    error = noise * np.random.default_rng(seed).standard_normal((draws, len(exact)))
    return exact * np.exp(error) if law.in_log else exact + error


def refit(
    law: Law, columns: Columns, targets_Rn: np.ndarray, start: Mapping[str, float], loss: Loss | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """theta (R, P) and its standard errors (R, P) for each repetition, each search from `start`.

    Errors are Fisher's, by the residual mean square: right for least squares.
    """
    total, rows = targets_Rn.shape
    unit = starting.units(law, columns, np.median(targets_Rn, axis=0))
    lower, upper = starting.bounds(law, unit)
    problem = Problem(
        form=law.form, columns=columns, scales_n=np.ones(rows), loss=loss or squared(), lower=lower, upper=upper
    )
    goal = np.log(targets_Rn) if law.in_log else targets_Rn
    theta = minimise(problem, np.tile(law.theta(start), (total, 1)), goal).theta_RP
    fitted, slopes = linearise_many(law.form, theta, columns)
    free = np.flatnonzero(law.free)
    scale = np.sqrt(((goal - fitted) ** 2).sum(1) / (rows - len(free)))
    norms = np.linalg.norm(slopes[:, :, free], axis=1)
    unitary = slopes[:, :, free] / norms[:, None]
    inverse = np.linalg.pinv(unitary.swapaxes(1, 2) @ unitary, rcond=1e-15)
    errors = np.zeros_like(theta)
    errors[:, free] = scale[:, None] * np.sqrt(np.einsum("rpp->rp", inverse)) / norms
    return theta, errors

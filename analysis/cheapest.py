"""The cheapest model that reaches a loss, by any fitted law.

    min over N, D of  kappa(N) N (D + D_inf / 3)  with  L(N, D) = loss

D_inf are tokens of inference, which cost a third of those of training: only the
forward pass. With D_inf = 0 it is the compute-optimal model.

    >>> from analysis.frontier import constant
    >>> from analysis.laws.pretraining import chinchilla
    >>> theta = chinchilla.theta(dict(E=1.69, A=406.4, alpha=0.336, B=410.7, beta=0.283))
    >>> one = Arm(law=chinchilla, theta=theta[None], kappa=constant(6.0))
    >>> found = cheapest(one, np.array([2.1]))
    >>> print(f"{found.params[0]:.3g} parameters, {found.tokens[0]:.3g} tokens")
    8.49e+09 parameters, 3.48e+11 tokens
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analysis.engine.evaluate import values
from analysis.frontier import Kappa, at_runs, check_columns, columns_of, lowest, polish
from analysis.law import Law

# R parameter vectors: the fitted one first, then draws. K sizes.

FORWARD = 1 / 3  # of the training FLOPs of a token
PARAMS = (1e2, 1e16)  # between which the cheapest model is searched for
TOKENS = (1e2, 1e20)
SIZES, COUNTS = 73, 93  # of the grid; 0.45 apart in logarithms
NEWTON = 12  # steps to the tokens at which a size reaches a loss
SLOPE = 1e-4  # difference of ln D for a slope
MOST_VALUES = 4_000_000  # evaluated at once: 32 MB an array


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train: its law, the fitted parameters with draws of them, and what a run costs."""

    law: Law
    theta: np.ndarray  # (R, P) the fitted vector, then draws of it; a single one gives no intervals
    kappa: Kappa
    held: Mapping[str, float] = field(default_factory=dict)  # further columns of the law, the same for all runs


@dataclass(frozen=True, kw_only=True)
class Cheapest:
    """(R,) each. Where the loss cannot be reached flops are infinite, params and tokens NaN."""

    params: np.ndarray
    tokens: np.ndarray  # of training
    training_flops: np.ndarray
    flops: np.ndarray  # training and inference


def cheapest(arm: Arm, loss_R: np.ndarray, inference_tokens: float = 0.0) -> Cheapest:
    """The model that reaches a loss (one for each parameter vector) at the least FLOPs of training and inference.

    N is right to 1e-6 of itself. A loss cannot be reached when it lies below the floor, or needs
    more than PARAMS and TOKENS allow.
    """
    check_columns(arm.law, arm.held)
    log_params, log_tokens, edge = _coarse(arm, loss_R, inference_tokens)
    reached = np.isfinite(log_params)
    start = np.where(reached, log_params, np.log(PARAMS[0]))
    near = np.where(reached, log_tokens, np.log(TOKENS[0]))[:, None]

    def cost(points_R3: np.ndarray) -> np.ndarray:
        return _log_cost(arm, points_R3, _reach(arm, loss_R, points_R3, near), inference_tokens)

    x = polish(cost, start, ~reached | edge)[:, None]
    y = _reach(arm, loss_R, x, near)
    training, both = (np.exp(_log_cost(arm, x, y, used))[:, 0] for used in (0.0, inference_tokens))
    return Cheapest(
        params=np.where(reached, np.exp(x[:, 0]), np.nan),
        tokens=np.where(reached, np.exp(y[:, 0]), np.nan),
        training_flops=np.where(reached, training, np.inf),
        flops=np.where(reached, both, np.inf),
    )


def _coarse(arm: Arm, loss_R: np.ndarray, inference_tokens: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R,) ln N and ln D of the cheapest of a grid of sizes, NaN where none reaches the loss; is it the grid's end."""
    sizes, counts = np.linspace(*np.log(PARAMS), SIZES), np.linspace(*np.log(TOKENS), COUNTS)
    x, y = (grid.ravel() for grid in np.meshgrid(sizes, counts, indexing="ij"))
    spent = np.exp(np.log(arm.kappa(x)) + x + y)
    columns = columns_of(arm.law, np.exp(x), np.exp(y), spent, arm.held)
    chunk = max(1, MOST_VALUES // len(x))
    found = []
    for i in range(0, len(arm.theta), chunk):
        loss = values(arm.law.form, arm.theta[i : i + chunk], columns).reshape(-1, SIZES, COUNTS)
        # The fewest tokens that suffice, by a straight line between two counts.
        enough = loss <= loss_R[i : i + chunk, None, None]
        first = enough.argmax(-1)
        after = np.maximum(first, 1)[..., None]
        above, below = (np.take_along_axis(loss, after - k, -1)[..., 0] for k in (1, 0))
        falls = above > below
        drop = np.where(falls, above - below, 1.0)
        share = np.where(falls, np.clip((above - loss_R[i : i + chunk, None]) / drop, 0.0, 1.0), 1.0)
        log_tokens = counts[after[..., 0] - 1] + share * (counts[1] - counts[0])
        log_tokens = np.where(enough.any(-1), log_tokens, np.inf)
        cost = _log_cost(arm, np.broadcast_to(sizes, log_tokens.shape), log_tokens, inference_tokens)
        at, edge = lowest(cost)
        row = np.arange(len(at))
        found.append((np.where(np.isfinite(cost[row, at]), sizes[at], np.nan), log_tokens[row, at], edge))
    log_params, log_tokens, edge = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return log_params, log_tokens, edge


def _reach(arm: Arm, loss_R: np.ndarray, log_params: np.ndarray, log_tokens: np.ndarray) -> np.ndarray:
    """(R, K) ln D at which each size reaches the loss, by Newton's steps in ln D from about there."""
    rows, sizes = log_params.shape
    x = np.repeat(log_params, 2, axis=1)
    y = np.broadcast_to(log_tokens, log_params.shape)
    for _ in range(NEWTON):
        both = np.stack([y - SLOPE, y + SLOPE], axis=-1).reshape(rows, -1)
        spent = np.exp(np.log(arm.kappa(x)) + x + both)
        loss = np.log(at_runs(arm.law, arm.theta, np.exp(x), np.exp(both), spent, arm.held)).reshape(rows, sizes, 2)
        slope = (loss[..., 1] - loss[..., 0]) / (2 * SLOPE)
        # A size that cannot reach the loss runs off to many tokens, which is dear.
        step = np.where(slope < 0, (np.log(loss_R)[:, None] - loss.mean(-1)) / np.where(slope < 0, slope, -1.0), 1.0)
        y = y + np.clip(np.where(np.isfinite(step), step, 1.0), -2.0, 2.0)
    return y


def _log_cost(arm: Arm, log_params: np.ndarray, log_tokens: np.ndarray, inference_tokens: float) -> np.ndarray:
    used = np.log(inference_tokens * FORWARD) if inference_tokens > 0 else -np.inf
    return np.log(arm.kappa(log_params)) + log_params + np.logaddexp(log_tokens, used)

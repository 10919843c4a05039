"""Whole loss curves under any learning-rate schedule.

These laws see a schedule through columns that summarise the learning rates up
to each recorded step. `annealing_columns` and `multi_power_columns` make them
for one run; `stack` puts the curves of several runs into one table.

    >>> import numpy as np
    >>> schedule = np.r_[np.full(800, 1e-3), np.linspace(1e-3, 0, 200)]
    >>> columns = annealing_columns(schedule, np.array([500, 1000]))
    >>> columns["lr_sum"].round(4).tolist(), columns["annealing"].round(4).tolist()
    ([0.5, 0.9], [0.0, 0.0937])

A step is counted from 1: schedule[s - 1] is the rate of the update that makes step s.
"""

from collections.abc import Mapping
from itertools import accumulate

import jax.numpy as jnp
import numpy as np

from analysis.law import amount, exponent, floor, law, power

FLAT = 1e-9  # of the largest rate: a smaller change from step to step is rounding

# Shapes: T steps of a schedule, n recorded steps, K groups of drops.


@law(
    columns=("lr_sum", "annealing"),
    parameters=dict(E=floor(), A=amount(), alpha=exponent(), C=amount()),
    linear=("E", "A", "C"),
    may_be_zero=("annealing",),
)
def tissue(p, x):
    """L = E + A S1^-alpha - C S2

    Tissue et al. 2024, arXiv:2408.11029, who write L0 for E. S1 (column lr_sum) is the
    sum of learning rates so far; S2 (annealing) sums a decaying memory of how much
    the rate has dropped. One model size and batch. Leave out the warm-up's steps.
    """
    return p.E + p.A * power(x.lr_sum, -p.alpha) - p.C * x.annealing


@law(
    columns=("lr_sum", "drops", "rates", "sums"),
    parameters=dict(
        E=floor(), A=amount(), alpha=exponent(0.2, 0.5, 0.8), B=amount(),
        C=amount(0.3, 3, low=1e-6, high=1e6), beta=exponent(0.3, 0.6), gamma=exponent(0.3, 0.6),
    ),
    linear=("E", "A", "B"),
    may_be_zero=("drops", "rates", "sums"),
)  # fmt: skip
def multi_power(p, x):
    """L = E + A S1^-alpha - B sum_k drop_k (1 - (1 + C S_k / rate_k^gamma)^-beta)

    Luo et al. 2025, arXiv:2503.12811, who write L0 for E and S1 + S_W for the column
    lr_sum. Over each drop k of the rate so far (columns of lists: drops, rates, sums):
    drop_k = rate_(k-1) - rate_k, and S_k is the sum of rates from step k on. Published
    by the authors' code for 100M parameters: E 2.651, A 0.601, alpha 0.453, B 437.9, C 2.132,
    beta 0.598, gamma 0.655. One model size and batch.
    """
    # A row of zeros stands for no drop; a rate of zero comes last and has no steps after it.
    rates = jnp.where(x.rates > 0, x.rates, 1.0)
    reach = 1 + p.C * x.sums * power(rates, -p.gamma)
    gained = (x.drops * (1 - power(reach, -p.beta))).sum(-1)
    return p.E + p.A * power(x.lr_sum, -p.alpha) - p.B * gained


def annealing_columns(
    schedule: np.ndarray, steps: np.ndarray, *, decay: float = 0.999, warmup: int = 0
) -> dict[str, np.ndarray]:
    """`lr_sum` and `annealing` (n,) at these steps of a schedule (T,), for `tissue`.

    S1(s) = sum_(i <= s) rate_i;  S2(s) = sum_(i <= s) m_i with m_i = decay m_(i-1) + rate_(i-1) - rate_i

    decay: the paper's lambda, 0.99 to 0.9999, chosen by fits. warmup: its first
    steps add to S1, but its rise is no annealing. ValueError for steps outside the schedule.
    """
    rates, at = _checked(schedule, steps, warmup)
    if not 0 < decay < 1:
        raise ValueError(f"annealing_columns(decay={decay}): must lie between 0 and 1; 0.999 is usual")
    memory = accumulate(_drops(rates, warmup), lambda kept, drop: decay * kept + drop)
    annealing = np.cumsum(np.fromiter(memory, float, len(rates)))
    return {"lr_sum": np.cumsum(rates)[at - 1], "annealing": annealing[at - 1]}


def multi_power_columns(
    schedule: np.ndarray, steps: np.ndarray, *, warmup: int = 0, groups: int = 64
) -> dict[str, np.ndarray]:
    """`lr_sum` (n,) and `drops`, `rates`, `sums` (n, K) at these steps of a schedule (T,), for `multi_power`.

    A schedule that falls at every step has too many drops to carry: neighbours are
    joined into about `groups` groups, each with its drop, mean rate and mean sum. The
    groups are narrow for recent drops, whose effect still grows fast; with 64 the loss
    is right to about 1e-4 nats. A schedule of fewer drops is exact. Rows with fewer
    groups end in zeros.
    """
    rates, at = _checked(schedule, steps, warmup)
    if groups < 1:
        raise ValueError(f"multi_power_columns(groups={groups}): must be 1 or more")
    drops, total = _drops(rates, warmup), np.cumsum(rates)
    rows = [_groups_of_drops(drops[:step], rates[:step], total[:step], groups) for step in at]
    widest = max(1, *(row.shape[1] for row in rows))
    table_n3K = np.stack([np.pad(row, ((0, 0), (0, widest - row.shape[1]))) for row in rows])
    named = dict(zip(("drops", "rates", "sums"), np.moveaxis(table_n3K, 1, 0), strict=True))
    return {"lr_sum": total[at - 1], **named}


def stack(curves: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One table of the curves of several runs; the column `cluster` holds each row's run.

    Points of one curve share its noise: the bootstrap then draws whole runs. Columns
    of lists are filled up with zeros to one length. ValueError when curves differ
    in their columns or a curve's columns differ in length.
    """
    if not curves:
        raise ValueError("stack: no curves; give {run: {column: values}}")
    names = list(next(iter(curves.values())))
    for run, columns in curves.items():
        lengths = {name: len(values) for name, values in columns.items()}
        if set(lengths) != set(names) or len(set(lengths.values())) != 1:
            raise ValueError(
                f"stack: run {run!r} has columns of lengths {lengths}; all runs need {', '.join(names)}, "
                "each with a value for every recorded step"
            )
    table = {name: _joined([np.asarray(columns[name], float) for columns in curves.values()]) for name in names}
    counts = [len(columns[names[0]]) for columns in curves.values()]
    return {**table, "cluster": np.repeat(list(curves), counts)}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    widest = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])


def _checked(schedule: np.ndarray, steps: np.ndarray, warmup: int) -> tuple[np.ndarray, np.ndarray]:
    rates, at = np.asarray(schedule, float), np.asarray(steps)
    if rates.ndim != 1 or not len(rates) or not np.isfinite(rates).all() or (rates < 0).any() or rates[0] <= 0:
        raise ValueError(
            f"schedule of shape {rates.shape}: give a finite rate of zero or more for each step, the first above zero"
        )
    whole = at.ndim == 1 and len(at) and np.issubdtype(at.dtype, np.integer)
    if not whole or at.min() < 1 or at.max() > len(rates):
        raise ValueError(f"steps {at}: give whole numbers from 1 to {len(rates)}, the length of the schedule")
    if not 0 <= warmup < len(rates):
        raise ValueError(f"warmup={warmup}: must be 0 or more and less than the schedule's {len(rates)} steps")
    return rates, at


def _drops(rates: np.ndarray, warmup: int) -> np.ndarray:
    """(T,) by how much each step's rate lies below the one before; zero in the warm-up and where it is rounding."""
    drops = -np.diff(rates, prepend=rates[:1])
    drops[:warmup] = 0.0
    drops[np.abs(drops) < FLAT * rates.max()] = 0.0
    return drops


def _groups_of_drops(drops: np.ndarray, rates: np.ndarray, total: np.ndarray, groups: int) -> np.ndarray:
    """(3, K) drop, rate and sum of rates since, of groups of neighbouring drops seen from the last of these steps."""
    sums = total[-1] - total + rates
    # A drop to zero has no steps after it and no effect.
    at = np.flatnonzero((drops != 0) & (rates > 0))
    drop, rate, since = drops[at], rates[at], sums[at]
    if len(at) <= groups:
        return np.stack([drop, rate, since])
    # The effect is a function of the sum's logarithm that bends slowly: equal widths in it.
    depth = np.log(since / since[-1])
    number = np.minimum((depth / depth[0] * groups).astype(int), groups - 1)
    begins = np.flatnonzero(np.diff(number, prepend=-1) | (np.diff(np.sign(drop), prepend=0) != 0))
    size = np.abs(drop)
    weight = np.add.reduceat(size, begins)
    mean_rate, mean_since = (np.add.reduceat(size * part, begins) / weight for part in (rate, since))
    return np.stack([np.add.reduceat(drop, begins), mean_rate, mean_since])

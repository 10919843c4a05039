"""Runs that differ in their learning rate alone: the curve of each setting, and its best rate.

>>> from analysis.tables.table import read_table
>>> table = read_table([{"N": 1e4, "D": 1e6, "lr": lr, "L": loss} for lr, loss in ((1, 3.2), (2, 3.0), (4, 3.2))])
>>> curve, = rate_curves(table)
>>> round(curve.best, 6), curve.edge
(2.0, '')
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.tables.table import column
from analysis.words import short

# What two runs of one setting agree in, where the table has it; they may differ in rate and seed.
SETTING = ("arm", "objective", "params", "tokens", "dim", "layers", "heads", "batch", "context", "vocab", "schedule")
LEAST_RATES = 3  # for a curve: a parabola


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """Loss against learning rate of one setting; the mean over seeds."""

    arm: str  # "" where the table has none
    label: str  # what sets this curve apart within its arm: its width, its size, its tokens
    flops: float
    lr: np.ndarray  # (K,) rising
    loss: np.ndarray  # (K,)
    best: float  # of a parabola in ln lr through the lowest point and its neighbours; at an edge the lowest point
    edge: str  # "lowest" or "highest" where the best rate tried is the last on that side: it may lie beyond


def rate_curves(table: pa.Table) -> tuple[RateCurve, ...]:
    """A curve for each setting that was trained with at least 3 learning rates, in order of arm and compute."""
    means = [(table.slice(int(rows[0]), 1).to_pylist()[0], *_means(table, rows)) for rows in _settings(table)]
    means = [(first, rates, losses) for first, rates, losses in means if len(rates) >= LEAST_RATES]
    arms = list(dict.fromkeys(first.get("arm") or "" for first, _, _ in means))
    found = []
    for first, rates, losses in means:
        arm = first.get("arm") or ""
        fellows = [other for other, _, _ in means if (other.get("arm") or "") == arm]
        best, edge = _minimum(rates, losses)
        found.append(
            RateCurve(arm=arm, label=_label(first, fellows), flops=first["flops"], lr=rates, loss=losses, best=best,
                      edge=edge)
        )  # fmt: skip
    return tuple(sorted(found, key=lambda curve: (arms.index(curve.arm), curve.flops)))


def tuned(table: pa.Table) -> pa.Table:
    """The rows at the best learning rate of their setting; all rows where the rates were not varied."""
    kept = []
    for rows in _settings(table):
        rates, losses = _means(table, rows)
        kept += rows[column(table, "lr")[rows] == rates[np.argmin(losses)]].tolist() if len(rates) else rows.tolist()
    return table.take(pa.array(sorted(kept), pa.int64()))


def _label(row: dict, fellows: list[dict]) -> str:
    """Width, or size where the table has no widths; tokens as well where the arm has several lengths of one size."""
    named = f"width {row['dim']}" if row.get("dim") else f"N {short(row['params'])}"
    lengths = {other["tokens"] for other in fellows if other["params"] == row["params"]}
    return f"{named}, {short(row['tokens'])} tokens" if len(lengths) > 1 else named


def _settings(table: pa.Table) -> list[np.ndarray]:
    """Rows of each setting, in order of first appearance."""
    names = [name for name in SETTING if name in table.column_names]
    found: dict[tuple, list[int]] = defaultdict(list)
    for index, row in enumerate(table.select(names).to_pylist()):
        found[tuple(row.values())].append(index)
    return [np.array(rows) for rows in found.values()]


def _means(table: pa.Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each learning rate of some rows, rising, and its mean loss; nothing where rates are not given."""
    if "lr" not in table.column_names:
        return np.empty(0), np.empty(0)
    lr, loss = column(table, "lr")[rows], column(table, "loss")[rows]
    rates = np.unique(lr[np.isfinite(lr)])
    return rates, np.array([loss[lr == rate].mean() for rate in rates])


def _minimum(rates: np.ndarray, losses: np.ndarray) -> tuple[float, str]:
    """The best rate, and at which edge of those tried it lies, if at one."""
    lowest = int(np.argmin(losses))
    if lowest in (0, len(rates) - 1):
        return float(rates[lowest]), "highest" if lowest else "lowest"
    near = slice(lowest - 1, lowest + 2)
    square, slope, _ = np.polyfit(np.log(rates[near] / rates[lowest]), losses[near], 2)
    # Two equal neighbours of a lowest point leave a parabola that opens upwards: square is positive or the three equal.
    return float(rates[lowest] * np.exp(-slope / (2 * square))) if square > 0 else float(rates[lowest]), ""

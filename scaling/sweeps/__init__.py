"""Sweeps as values: functions that take a run or a sweep and give a sweep; nothing is trained or read.

A `Sweep` holds the rows that are kept and those that were dropped, each with
its reason. Give it as a `Study`'s `cells`.
"""

from scaling.sweeps.algebra import arm, chain, derive, grid, product, seeds, valid, where, zipped
from scaling.sweeps.budgets import (
    MIN_STEPS,
    WARMUP_FRACTION,
    branches,
    costliest,
    isoflop,
    ladder,
    repeated,
    round_tokens,
)
from scaling.sweeps.halving import Halving, Rung, decided, successive_halving
from scaling.sweeps.rows import Row, Runs, Sweep, sweep_of, vary
from scaling.sweeps.search import Range, random, simplex, sobol

__all__ = [
    "MIN_STEPS",
    "WARMUP_FRACTION",
    "Halving",
    "Range",
    "Row",
    "Rung",
    "Runs",
    "Sweep",
    "arm",
    "branches",
    "chain",
    "costliest",
    "decided",
    "derive",
    "grid",
    "isoflop",
    "ladder",
    "product",
    "random",
    "repeated",
    "round_tokens",
    "seeds",
    "simplex",
    "sobol",
    "successive_halving",
    "sweep_of",
    "valid",
    "vary",
    "where",
    "zipped",
]

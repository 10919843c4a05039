"""Lack of fit: do the residuals look like the seeds' noise, or does the law have the wrong form?

Two signs. The residuals are larger than runs of one cell with other seeds
differ among themselves (the pure-error test of regression); and the residuals
of the largest budgets share a sign, which is where a forecast begins.
The intervals of `analysis.bootstrap` assume that the law holds: they cover
neither.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import fdtrc, stdtrit

from analysis.doubt import Doubt
from analysis.isoflop import levels
from analysis.result import FitResult
from analysis.tables.table import column
from analysis.words import flops, percent, plural

# What makes two runs the same cell, where the table has it.
CELL = ("params", "tokens", "dim", "layers", "heads", "context", "vocab", "tokenizer", "content")
CELL += ("batch", "lr", "schedule")
LARGE_RATIO = 2.0  # residual scale over seed noise, beyond which the form is doubted
LEAST_FREEDOM = 2  # of the repeats, to judge a single budget by them
LEAST_RUNS = 3  # whose mean is judged


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """How much runs of one cell differ by their seed alone."""

    scale: float  # standard deviation of ln loss
    freedom: int  # repeats beyond the first of each cell
    cells: int

    def describe(self) -> str:
        return (
            f"{percent(self.scale)} ({plural(self.cells, 'repeated cell')}, "
            f"{plural(self.freedom, 'degree')} of freedom)"
        )


@dataclass(frozen=True, kw_only=True)
class Level:
    """The residuals of one budget."""

    flops: float
    runs: int
    mean: float  # of ln loss - ln law
    margin: float  # half width of the 95% interval about zero that noise alone gives


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """The two signs of a wrong form."""

    scale: float  # of the residuals, in ln loss
    seeds: SeedNoise | None  # None without repeated cells
    chance: float  # that the law holds and the residuals are so large by chance; 1 without repeats
    levels: tuple[Level, ...]  # by compute, smallest first
    noise_from: str  # what `margin` is made of

    @property
    def ratio(self) -> float:
        """Residual scale over seed noise; NaN without repeats."""
        return self.scale / self.seeds.scale if self.seeds and self.seeds.scale else np.nan

    @property
    def verdict(self) -> str:
        """What the ratio says of the law's form; empty where it says nothing against it."""
        if not self.ratio > LARGE_RATIO:
            return ""
        return "the law's form does not fit these runs" if self.chance < 0.05 else "the law's form seems not to fit"

    @property
    def missed(self) -> Level | None:
        """The largest budget, when its residuals share a sign beyond noise."""
        last = self.levels[-1]
        return last if last.runs >= LEAST_RUNS and abs(last.mean) > last.margin else None

    def warnings(self) -> list[Doubt]:
        found = []
        if self.verdict:
            text = (
                f"the residuals ({percent(self.scale)}) are {self.ratio:.1f} times the seeds' own noise, "
                f"{self.seeds.describe()}, which chance alone would do in {self.chance:.0%} of studies: "
                f"{self.verdict}, and the intervals, which take the residuals for noise, do not cover that"
            )
            found.append(Doubt(name="form_does_not_fit", text=text))
        if self.missed:
            text = (
                f"the law misses the largest budget, {flops(self.missed.flops)} FLOPs, by {self.missed.mean:+.1%} on "
                f"average (noise alone: {percent(self.missed.margin)} either way, {self.noise_from}): "
                f"a forecast beyond it is probably too {'high' if self.missed.mean < 0 else 'low'}"
            )
            found.append(Doubt(name="misses_largest_budget", text=text))
        return found


def measure(fit: FitResult, table: pa.Table) -> Misfit:
    """Both signs, from the residuals of `fit` to the rows of `table`."""
    seeds = seed_noise(table)
    rows = _levels(table)
    within = np.concatenate([fit.residuals[chosen] - fit.residuals[chosen].mean() for chosen in rows])
    noise, freedom, source = fit.scale, fit.freedom, "by the scale of the residuals"
    if len(within) > len(rows):
        freedom = len(within) - len(rows)
        noise, source = float(np.sqrt((within**2).sum() / freedom)), "by the scatter within the budgets"
    if seeds and seeds.freedom >= LEAST_FREEDOM:
        noise, freedom, source = seeds.scale, seeds.freedom, "by the seeds"
    margin = stdtrit(freedom, 0.975) * noise
    compute = np.log(column(table, "flops"))
    return Misfit(
        scale=fit.scale,
        seeds=seeds,
        chance=float(fdtrc(fit.freedom, seeds.freedom, (fit.scale / seeds.scale) ** 2)) if seeds else 1.0,
        levels=tuple(
            Level(
                flops=float(np.exp(compute[chosen].mean())),
                runs=len(chosen),
                mean=float(fit.residuals[chosen].mean()),
                margin=float(margin / np.sqrt(len(chosen))),
            )
            for chosen in rows
        ),
        noise_from=source,
    )


def seed_noise(table: pa.Table) -> SeedNoise | None:
    """Pooled over the cells that were trained with several seeds; None when there are none."""
    cells = defaultdict(list)
    keys = [name for name in CELL if name in table.column_names]
    for row in table.select([*keys, "seed", "loss"]).to_pylist():
        if row["seed"] is not None:
            cells[tuple(row[name] for name in keys)].append((row["seed"], np.log(row["loss"])))
    # One seed twice in a cell: the runs differ in something that the table does not say.
    repeated = [runs for runs in cells.values() if len(runs) > 1 and len({seed for seed, _ in runs}) == len(runs)]
    if not repeated:
        return None
    losses = [np.array([loss for _, loss in runs]) for runs in repeated]
    freedom = sum(len(values) - 1 for values in losses)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in losses)
    return SeedNoise(scale=float(np.sqrt(squares / freedom)), freedom=freedom, cells=len(repeated)) if squares else None


def _levels(table: pa.Table) -> list[np.ndarray]:
    """Rows of each level of compute, smallest first; the last holds enough runs to be judged."""
    rows = levels(table)
    while len(rows) > 1 and len(rows[-1]) < LEAST_RUNS:
        rows[-2:] = [np.concatenate(rows[-2:])]
    return rows

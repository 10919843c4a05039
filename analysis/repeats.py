"""What tokens are worth that are read again: one law for the runs of all arms, those that repeat and those that do not.

Muennighoff et al. 2023, arXiv:2305.16264, section 3: D tokens of which U are
different teach as much as D' = U + U R_D (1 - exp(-(D / U - 1) / R_D)) new ones.
Published is R_D = 15.4, fitted with the law of the runs of one pass held; an
interval of that kind takes the held law for exact. Here that is done too, and
all parameters are fitted at once, whose interval leaves nothing out.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.bootstrap import bootstrap
from analysis.compared_arm import SAME
from analysis.fit import fit
from analysis.laws import chinchilla, data_constrained
from analysis.result import FitResult
from analysis.tables.table import column
from analysis.words import Estimate

AGAIN = 1.5  # passes from which on a run repeats
LEAST_RUNS = 6  # of one pass, as many as its law needs, and of those that repeat
ALIKE = ("family", "objective", "content")  # columns in which runs of one law are the same


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """The law of the runs of all arms together."""

    joint: FitResult  # all parameters at once
    decay: Estimate  # R_D of it
    held: Estimate  # R_D with the law of the runs of one pass held
    runs_of_one_pass: int
    runs_again: int
    most_passes: float

    def worth(self, passes: float) -> Estimate:
        """As many new tokens, in passes, as so many passes are worth; it rises with R_D, and so do its ends."""
        value, low, high = (_worth(passes, end) for end in (self.decay.value, self.decay.low, self.decay.high))
        return Estimate(value=value, low=low, high=high)


def repeats(runs: pa.Table, draws: int, seed: int) -> Repeats | None:
    """None where runs differ in more than sizes and tokens, or do not repeat. Raises FitError where no fit can be."""
    if not _may(runs):
        return None
    passes = column(runs, "tokens") / column(runs, "tokens_unique")
    once, again = passes <= SAME, passes >= AGAIN
    if min(once.sum(), again.sum()) < LEAST_RUNS:
        return None
    base = fit(chinchilla, runs.filter(pa.array(once)))
    joint = fit(data_constrained(chinchilla), runs)
    held = fit(data_constrained(chinchilla.fix(**base.params)), runs)
    return Repeats(
        joint=joint,
        decay=_decay(joint, draws, seed),
        held=_decay(held, draws, seed),
        runs_of_one_pass=int(once.sum()),
        runs_again=int(again.sum()),
        most_passes=float(passes.max()),
    )


def _may(runs: pa.Table) -> bool:
    """Whether one law may hold for all runs: they differ in their sizes and tokens alone."""
    if not {"tokens_unique", *ALIKE} <= set(runs.column_names) or not np.isfinite(column(runs, "tokens_unique")).all():
        return False
    return all(len(set(runs[name].to_pylist())) == 1 for name in ALIKE) and len(set(column(runs, "params"))) > 1


def _decay(found: FitResult, draws: int, seed: int) -> Estimate:
    low, high = bootstrap(found, draws=draws, seed=seed).conf_int()["R_D"]
    return Estimate(value=found.params["R_D"], low=low, high=high)


def _worth(passes: float, decay: float) -> float:
    return float(1 + decay * -np.expm1(-(passes - 1) / decay))

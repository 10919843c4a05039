"""Learning rate and batch size: a published law that the published runs do not give.

Li et al. 2025, "Step Law", arXiv:2503.04715. The authors' bootstrap coefficients
average to the published law. The rule of their script, on their own runs, gives
another one (an open issue of their repository). Both are shown.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis import laws
from analysis.fit import fit
from analysis.losses import squared
from analysis.published.check import Check, compare
from analysis.published.sources import load
from analysis.tables.read import numbers

NAME = "steplaw"
SEQUENCE = 2048  # tokens
NEAR = 0.0025  # of a cell's lowest loss: the plateau that the rule keeps

PUBLISHED = {"lr c": 1.79, "lr N": -0.713, "lr D": 0.307, "batch c": 0.58, "batch D": 0.571}
PRINTED = {"lr c": 0.01, "lr N": 5e-4, "lr D": 5e-4, "batch c": 0.005, "batch D": 5e-4}
MEANS = {"lr c": 1.797, "lr N": -0.7129, "lr D": 0.3075, "batch c": 0.5807, "batch D": 0.5709}
MEAN_DIGITS = {"lr c": 5e-4, "lr N": 5e-5, "lr D": 5e-5, "batch c": 5e-5, "batch D": 5e-5}
INTERVALS = {"lr N": (-0.774, -0.655), "lr D": (0.271, 0.345), "batch D": (0.534, 0.606)}
ERRORS = {name: (high - low) / (2 * 1.96) for name, (low, high) in INTERVALS.items()}
PLATEAU = {"runs": 129, "lr c": 77.7, "lr N": -0.766, "lr D": 0.197, "batch c": 0.2085, "batch D": 0.6125}
PLATEAU_BOTH = {"batch c": 31.3, "batch N": -0.266, "batch D": 0.623}
BEST = {"runs": 17, "lr c": 30.1, "lr N": -0.824, "lr D": 0.288, "batch c": 3.42, "batch D": 0.498}
ISSUE = {"lr c": 79.4, "lr N": -0.7669, "lr D": 0.1967}
ISSUE_BOTH = {"batch c": 34.1, "batch N": -0.2713, "batch D": 0.6238}
SHARE = 0.005

NOT_FROM_THE_RUNS = (
    "the published law is the mean of the authors' bootstrap; the rule of their script on the released runs gives "
    "another one, and the coefficient, exp of an intercept, is the least sure"
)
ISSUES_OWN = (
    "the open issue does not say how its rule differs from the script's: ours are the values of the script's rule, as "
    "checked with other software"
)


def checks(folder: Path) -> tuple[Check, ...]:
    """Every target of the data set."""
    runs, draws = load(folder, NAME), load(folder, f"{NAME}_bootstrap")
    plateau, best = near_best(runs, NEAR), near_best(runs, 0.0)
    ours, both = laws_of(plateau), batch_of_both(plateau)
    relative = dict.fromkeys([*PLATEAU, *PLATEAU_BOTH], SHARE)
    known = dict(documented=True, reason=NOT_FROM_THE_RUNS)
    issue = dict(documented=True, reason=ISSUES_OWN, relative=relative)
    return (
        *_means(draws),
        *compare(NAME, "runs within 0.25% of their cell's best", PLATEAU, ours, relative=relative),
        *compare(NAME, "the same, batch on N and D", PLATEAU_BOTH, both, relative=relative),
        *compare(NAME, "the best run of each cell", BEST, laws_of(best), relative=relative),
        *compare(NAME, "the same runs as the open issue has them", ISSUE, ours, **issue),
        *compare(NAME, "the same runs as the open issue has them", ISSUE_BOTH, both, **issue),
        *compare(NAME, "published, from the released runs", PUBLISHED, ours, absolute=PRINTED, errors=ERRORS, **known),
    )


def _means(draws: pa.Table) -> tuple[Check, ...]:
    """The authors' bootstrap."""
    column = {"lr N": "lr_coefN", "lr D": "lr_coefD", "batch D": "bs_coefD"}
    ours = {name: numbers(draws, theirs).mean() for name, theirs in column.items()}
    ours |= {"lr c": np.exp(numbers(draws, "lr_intercept").mean())}
    ours |= {"batch c": np.exp(numbers(draws, "bs_intercept").mean())}
    where = "means of the released bootstrap"
    ends, targets = {}, {}
    for name, interval in INTERVALS.items():
        for side, level, target in zip(("low", "high"), (0.025, 0.975), interval, strict=True):
            targets[f"{side} end of {name}"] = target
            ends[f"{side} end of {name}"] = np.quantile(numbers(draws, column[name]), level)
    return (
        *compare(NAME, f"published, {where}", PUBLISHED, ours, absolute=PRINTED, errors=ERRORS),
        *compare(NAME, where, MEANS, ours, absolute=MEAN_DIGITS),
        *compare(NAME, "95% of the released bootstrap", targets, ends, absolute=dict.fromkeys(targets, 5e-4)),
    )


def near_best(runs: pa.Table, share: float) -> dict[str, np.ndarray]:
    """Runs whose smoothed loss exceeds the lowest of their cell, one N and one D, by less than this share of it."""
    names = dict(params="params_no_embed", tokens="tokens", lr="lr", loss="smooth_loss", batch="batch_sequences")
    data = {ours: numbers(runs, theirs) for ours, theirs in names.items()}
    cell = np.unique(np.stack([data["params"], data["tokens"]]), axis=1, return_inverse=True)[1].ravel()
    lowest = np.array([data["loss"][cell == i].min() for i in range(cell.max() + 1)])
    excess = data["loss"] / lowest[cell] - 1
    kept = (excess < share) | (excess == 0)
    return {name: values[kept] for name, values in data.items()} | {"batch": data["batch"][kept] * SEQUENCE}


def laws_of(data: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Least squares in logarithms: learning rate on N and D, batch on D."""
    lr, batch = fit(laws.step_law_lr, data, squared()).params, fit(laws.step_law_batch, data, squared()).params
    return {
        "runs": len(data["lr"]), "lr c": lr["c"], "lr N": lr["p_params"], "lr D": lr["p_tokens"],
        "batch c": batch["c"], "batch D": batch["p_tokens"],
    }  # fmt: skip


def batch_of_both(data: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Batch on N and D."""
    # The learning rate's law is that of any target on N and D.
    batch = fit(laws.step_law_lr, data, squared(), columns={"lr": "batch"}).params
    return {"batch c": batch["c"], "batch N": batch["p_params"], "batch D": batch["p_tokens"]}

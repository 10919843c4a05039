"""Llama 3's isoFLOP curves, digitised: approach 2 against approach 3 on the same 133 points.

Grattafiori et al. 2024, arXiv:2407.21783; "Problems with Chinchilla Approach 2", arXiv:2603.22339.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis import laws
from analysis.fit import fit
from analysis.frontier import constant, optimum
from analysis.losses import huber, squared
from analysis.published.check import Check, compare
from analysis.published.sources import against_point, columns, load

NAME = "llama3_isoflop"
BUDGET = 3.8e25  # FLOPs of the 405B model

SURFACES = {
    "approach 3, least squares on L": dict(E=0.6047, A=59.1, B=155.1, alpha=0.3100, beta=0.3136, a=0.5029),
    "approach 3, least squares on ln L": dict(E=0.6021, A=56.2, B=147.3, alpha=0.3068, beta=0.3110, a=0.5034),
    "approach 3, Huber 1e-3 on ln L": dict(E=0.5942, A=38.3, B=160.2, alpha=0.2835, beta=0.3157, a=0.5268),
}
SURFACE_TOLERANCES = dict(
    absolute=dict(E=1e-3, alpha=1e-3, beta=1e-3, a=1e-3), relative=dict(A=0.01, B=0.01, tokens=0.03)
)
ROUNDED = "the paper's two digits: 0.29 C^0.53 is 10.5T tokens at 3.8e25 FLOPs and not its own 16.55T"


def checks(folder: Path) -> tuple[Check, ...]:
    """Every target of the data set."""
    table = load(folder, NAME)
    linear = replace(laws.chinchilla, in_log=False)
    cases = ((linear, squared()), (laws.chinchilla, squared()), (laws.chinchilla, huber()))
    fits = {name: fit(form, table, loss) for name, (form, loss) in zip(SURFACES, cases, strict=True)}
    found = [*_approach_2(table)]
    for name, targets in SURFACES.items():
        values = fits[name].params
        ours = values | dict(a=values["beta"] / (values["alpha"] + values["beta"]))
        found += compare(NAME, name, targets, ours, **SURFACE_TOLERANCES)
        found.append(against_point(NAME, name, fits[name], targets))
    first = fits["approach 3, least squares on L"]
    best = optimum(first.law, first.theta[None], np.array([BUDGET]), constant())
    ours = {"tokens": best.tokens[0, 0]}
    found += compare(NAME, "approach 3, at 3.8e25 FLOPs", {"tokens": 10.2e12}, ours, **SURFACE_TOLERANCES)
    return tuple(found)


def _approach_2(table: pa.Table) -> tuple[Check, ...]:
    """The published law of the minima, and what it says at the budget of the largest model."""
    data = columns(table, flops="flops", tokens="tokens", loss="loss")
    budgets = np.unique(data["flops"])
    minima = [minimum(data["tokens"][data["flops"] == b], data["loss"][data["flops"] == b]) for b in budgets]
    line = fit(laws.power_law("optimum", "flops"), {"flops": budgets, "optimum": minima}, squared())
    tokens = float(line.predict({"flops": [BUDGET]}).value[0])
    ours = {"exponent of D": line.params["b"], "A": line.params["a"], "exponent of N": 1 - line.params["b"]}
    printed = {"exponent of D": 0.5368, "exponent of N": 0.4632, "A": 0.2994}
    ends = {"tokens": tokens, "params": BUDGET / (6 * tokens)}
    rounded = {"tokens": 0.29 * BUDGET**0.53}
    share = {"tokens": 0.03, "params": 0.03}
    return (
        *compare(
            NAME, "approach 2, Open Athena", printed, ours,
            absolute={"exponent of D": 2e-3, "exponent of N": 2e-3}, relative={"A": 0.01},
        ),
        *compare(NAME, "approach 2, the paper", {"exponent of D": 0.53}, ours, absolute={"exponent of D": 0.01}),
        *compare(
            NAME, "approach 2, the paper", {"A": 0.29}, ours, absolute={"A": 5e-3}, documented=True, reason=ROUNDED
        ),
        *compare(NAME, "approach 2, at 3.8e25 FLOPs", {"tokens": 16.1e12}, ends, relative=share),
        *compare(NAME, "the paper, at 3.8e25 FLOPs", {"tokens": 16.55e12, "params": 402e9}, ends, relative=share),
        *compare(
            NAME, "the paper's rounded law at 3.8e25 FLOPs", {"tokens": 16.55e12}, rounded,
            relative=share, documented=True, reason=ROUNDED,
        ),
    )  # fmt: skip


def minimum(tokens: np.ndarray, loss: np.ndarray) -> float:
    """Tokens at the vertex of a parabola in ln tokens."""
    x = np.log(tokens)
    square, slope, _ = np.polyfit(x - x.mean(), loss, 2)
    return float(np.exp(x.mean() - slope / (2 * square)))

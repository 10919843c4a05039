"""Fits to runs of worlds whose law is known: what they find beside the truth, as plain data.

The runs of a table that learns a Zipf world differ in their tokens D, or also in
the number N of contexts that it has rows for. Of one size L = E + b D^-c, with c =
beta = alpha / (1 + alpha). Of several, Chinchilla's joint law, whose exponents are
alpha and beta where the other is plentiful; so the best N for N D = C grows as
C^(beta / (alpha + beta)) = C^(1 / (2 + alpha)). Between, the table's loss is no sum
of a part of N and one of D: that of a context which is rare and has no row is not
lost twice. What this does is seen in fits to expected losses, without noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import laws
from analysis.bootstrap import bootstrap, percentiles
from analysis.fit import fit
from analysis.losses import squared
from analysis.recovery import Recovery, recover
from analysis.result import FitResult

LEAST_RUNS = 6  # that are left when the range of a fit is narrowed
EXPECTED = "of the expected losses in this range"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The runs of one world. n runs."""

    name: str
    sizes: np.ndarray  # (n,) contexts that the table has rows for
    tokens: np.ndarray  # (n,)
    loss: np.ndarray  # (n,) measured, by the records
    expected: np.ndarray  # (n,) computed: the mean over samples of the world
    floor: float  # of the world
    floor_heldout: float  # of the very text on which the runs are measured
    alpha: float  # of Zipf's law

    @property
    def beta(self) -> float:
        return self.alpha / (1 + self.alpha)

    @property
    def several_sizes(self) -> bool:
        return len(set(self.sizes)) > 1

    def rows(self, losses: np.ndarray, first: int = 0) -> dict[str, np.ndarray]:
        columns = {"tokens": self.tokens, "loss": losses}
        columns |= {"params": self.sizes} if self.several_sizes else {}
        return {name: values[first:] for name, values in columns.items()}


def judged(arms: Sequence[Arm]) -> dict[str, Any]:
    """What the fits found beside the truth.

    Fitted twice: as `scaling fit` would, all runs alike, and with the noise that
    runs of one size and length have, known from their spread over the worlds.
    """
    first, noise = arms[0], spread(arms)
    law = laws.chinchilla if first.several_sizes else laws.m2("tokens")
    found = {
        "arms": len(arms),
        "alpha": first.alpha,
        "beta": first.beta,
        "sizes": sorted(set(first.sizes)) if first.several_sizes else [],
        "law": law.formula if first.several_sizes else "L = E + b D^-c",
        "floor": float(np.mean([arm.floor for arm in arms])),
        "losses": _losses(arms),
    }
    for way, options in (("plain", {}), ("noise_known", {"loss": squared(), "noise": noise})):
        fits = [fit(law, arm.rows(arm.loss), **options) for arm in arms]
        exact = [fit(law, arm.rows(arm.expected), **options) for arm in arms]
        found[way] = _recovered(arms, fits, exact)
    return found | ({} if first.several_sizes else {"range": _ranges(first)})


def spread(arms: Sequence[Arm]) -> np.ndarray:
    """(n,) standard deviation of ln loss over samples of the worlds, the luck of the held-out text's floor left out."""
    off = [(arm.loss - arm.floor_heldout + arm.floor - arm.expected) / arm.expected for arm in arms]
    return np.std(off, axis=0, ddof=1)


def _recovered(arms: Sequence[Arm], fits: Sequence[FitResult], exact: Sequence[FitResult]) -> dict[str, Any]:
    """Each thing that is known, by name."""
    names = {"alpha": "exponent of size", "beta": "exponent of tokens"} if arms[0].several_sizes else {"c": "exponent"}
    truth = {"alpha": "alpha", "beta": "beta", "c": "beta"}
    sets = {p: [[getattr(arm, truth[p]) for arm in arms], [f.params[p] for f in exact]] for p in names}
    floors = {
        "floor": [arm.floor for arm in arms],
        "floor of the held-out text": [arm.floor_heldout for arm in arms],
        f"floor {EXPECTED}": [found.params["E"] for found in exact],
    }
    recovered = recover(fits, sets | {"E": list(floors.values())})
    told: dict[str, Any] = {"not_converged": sum(found.status.value != "converged" for found in fits)}
    for parameter, name in names.items():
        both = zip((name, f"{name} {EXPECTED}"), recovered[parameter], strict=True)
        told |= {title: _plain(recovery) for title, recovery in both}
    if arms[0].several_sizes:
        told |= _split(arms, fits, exact)
    return told | {name: _plain(item) for name, item in zip(floors, recovered["E"], strict=True)}


def _split(arms: Sequence[Arm], fits: Sequence[FitResult], exact: Sequence[FitResult]) -> dict[str, Any]:
    """The exponent with which the best size grows, a = beta / (alpha + beta), where cost is N D."""

    def of(params: dict[str, Any]) -> Any:
        return params["beta"] / (params["alpha"] + params["beta"])

    values = np.array([of(found.params) for found in fits])
    draws = [bootstrap(found) for found in fits]
    ends = np.array([percentiles(of(dict(zip(b.fit.law.names, b.theta.T, strict=True)))) for b in draws])  # (n, 2)
    told = {}
    for title, truth in (
        ("exponent of the best size", np.array([1 / (2 + arm.alpha) for arm in arms])),
        (f"exponent of the best size {EXPECTED}", np.array([of(found.params) for found in exact])),
    ):
        told[title] = _plain(Recovery(parameter="a", truth=truth, values=values, ends={"bootstrap": ends}, level=0.95))
    return told


def _losses(arms: Sequence[Arm]) -> list[dict[str, float]]:
    """For each size and number of tokens the mean excess over the floor of the held-out text, beside the expected."""
    first = arms[0]
    measured = np.stack([arm.loss - arm.floor_heldout for arm in arms])
    expected = np.stack([arm.expected - arm.floor for arm in arms])
    error = (measured - expected).std(0, ddof=1) / np.sqrt(len(arms))
    columns = {"tokens": first.tokens, "expected": expected.mean(0), "measured": measured.mean(0), "se": error}
    columns = {"size": first.sizes, **columns} if first.several_sizes else columns
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _ranges(arm: Arm) -> list[dict[str, float]]:
    """Exponent and floor of expected losses when the smallest runs are left out."""
    found = []
    for first in range(len(arm.tokens) - LEAST_RUNS + 1):
        params = fit(laws.m2("tokens"), arm.rows(arm.expected, first)).params
        found.append({"from_tokens": float(arm.tokens[first]), "exponent": params["c"], "floor": params["E"]})
    return found


def _plain(recovery: Recovery) -> dict[str, Any]:
    return {
        "parameter": recovery.parameter,
        "truth": float(recovery.truth.mean()),
        "mean": float(recovery.values.mean()),
        "bias": recovery.bias,
        "bias_se": recovery.bias_se,
        "spread": recovery.spread,
        "coverage": {method: recovery.coverage(method) for method in recovery.ends},
        "width": {method: recovery.width(method) for method in recovery.ends},
        "values": recovery.values.tolist(),
        "ends": {method: ends.tolist() for method, ends in recovery.ends.items()},
    }

"""The loss surface over size and tokens: the fitted law, how sure it is, and the frontier that follows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis import laws
from analysis.bootstrap import Bootstrap, bootstrap, percentiles
from analysis.diagnose import doubts, refits
from analysis.doubt import Doubt
from analysis.fit import fit
from analysis.frontier import Kappa, exponent, measure_kappa, optimum
from analysis.law import Law
from analysis.misfit import Misfit, measure
from analysis.result import FitResult, Status
from analysis.tables.table import column
from analysis.words import Estimate

REACH = 10.0  # the frontier goes on so far beyond the largest run
BUDGETS = 60  # at which the frontier is computed
MOST_DECADES = 10.0  # that the interval of a coefficient may span in a law that is determined


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The optimum against compute, with 95% bands. All arrays (B,)."""

    flops: np.ndarray
    params: np.ndarray
    params_band: np.ndarray  # (2, B)
    tokens: np.ndarray
    tokens_band: np.ndarray
    ratio: np.ndarray  # tokens per parameter
    ratio_band: np.ndarray
    loss: np.ndarray
    loss_band: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The fitted law and what follows from it."""

    fit: FitResult
    boot: Bootstrap
    refits: dict[float, np.ndarray]  # theta by another Huber delta
    kappa: Kappa
    exponent: Estimate  # a in N* ~ (C/kappa)^a
    frontier: Frontier
    conventions: dict[str, float]  # exponent a by the way parameters are counted
    misfit: Misfit
    doubts: tuple[Doubt, ...]

    @property
    def undetermined(self) -> str:
        """Why these runs do not determine the law; empty when they do."""
        if self.fit.status is Status.NOT_CONVERGED:
            return "the search did not end at an optimum"
        if self.fit.status is Status.AT_BOUND:
            names = " and ".join(self.fit.at_bound)
            return f"{names} ran to the edge of what is allowed" + (
                ": no floor shows in these losses" if self.fit.at_bound == ("E",) else ""
            )
        log = self.fit.law.log
        decades = np.subtract(*percentiles(self.boot.theta[:, log])[::-1]) / np.log(10)
        widest = int(np.argmax(decades))
        name = np.array(self.fit.law.names)[log][widest]
        return f"the interval of {name} spans {decades[widest]:.0f} decades" if decades[widest] > MOST_DECADES else ""


def fit_surface(table: pa.Table, law: Law = laws.chinchilla, *, seed: int = 0, draws: int = 1000) -> Surface:
    """The law with its bootstrap, refits at other deltas, and frontier."""
    result = fit(law, table)
    boot = bootstrap(result, seed=seed, draws=draws)
    kappa = measure_kappa(table)
    flops = column(table, "flops")
    best, drawn = _exponents(law, np.concatenate([result.theta[None], boot.theta]), flops)
    low, high = percentiles(drawn)
    return Surface(
        fit=result,
        boot=boot,
        refits=refits(result),
        kappa=kappa,
        exponent=Estimate(value=best, low=float(low), high=float(high)),
        frontier=_frontier(result, boot, kappa, flops),
        conventions=_conventions(law, table, best),
        misfit=measure(result, table),
        doubts=doubts(result, boot.conf_int()),
    )


def _exponents(law: Law, theta_RP: np.ndarray, flops: np.ndarray) -> tuple[float, np.ndarray]:
    values = exponent(law, theta_RP, (float(flops.min()), float(flops.max())))
    return float(values[0]), values[1:]


def _frontier(result: FitResult, boot: Bootstrap, kappa: Kappa, flops: np.ndarray) -> Frontier:
    """From just below the smallest budget to ten times the largest."""
    budgets = np.geomspace(flops.min() / 1.5, flops.max() * REACH, BUDGETS)
    best = optimum(result.law, result.theta[None], budgets, kappa)
    drawn = optimum(result.law, boot.theta, budgets, kappa)
    return Frontier(
        flops=budgets,
        params=best.params[0],
        params_band=np.stack(percentiles(drawn.params)),
        tokens=best.tokens[0],
        tokens_band=np.stack(percentiles(drawn.tokens)),
        ratio=best.tokens[0] / best.params[0],
        ratio_band=np.stack(percentiles(drawn.tokens / drawn.params)),
        loss=best.loss[0],
        loss_band=np.stack(percentiles(drawn.loss)),
    )


def _conventions(law: Law, table: pa.Table, total: float) -> dict[str, float]:
    """Which N is meant moves the exponent as much as any physics (SCIENCE, trap 4)."""
    found = {"all parameters": total}
    if "params_body" in table.column_names:
        other = table.set_column(table.column_names.index("params"), "params", table["params_body"])
        theta = fit(law, other).theta[None]
        found["body only, without embedding and head"] = _exponents(law, theta, column(table, "flops"))[0]
    return found

"""The result as plain data at full precision: fit.json, and `--json` on the command line."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from analysis.analyse import Analysis
from analysis.isoflop import IsoFlop, PowerLaw
from analysis.misfit import Misfit
from analysis.surface import Surface

Ends = dict[str, dict[str, tuple[float, float]]]  # intervals by method, by parameter
METHODS = ("fisher", "profile", "bootstrap")


def three_intervals(analysis: Analysis) -> Ends:
    """The law's 95% intervals by each method, the bootstrap's from the analysis's own draws; empty without a law."""
    if not analysis.law:
        return {}
    boot = analysis.law.boot.conf_int()
    return {name: boot if name == "bootstrap" else analysis.law.fit.conf_int(name) for name in METHODS}


def to_json(analysis: Analysis, ends: Ends | None = None) -> dict[str, Any]:
    """Everything a program may want. No number is rounded; one that is not finite becomes null.

    ends: `three_intervals`, where they are known already.
    """
    ends = three_intervals(analysis) if ends is None else ends
    return plain(
        {
            "schema": 2,
            "runs_fitted": analysis.table.num_rows,
            "left_out": analysis.selection.left_out,
            "seed": analysis.seed,
            "draws": analysis.draws,
            "surface": _surface(analysis.surface, ends) if analysis.surface else None,
            "isoflop": _isoflop(analysis.isoflop) if analysis.isoflop else None,
            "forecast": analysis.forecast,
            "trend": {"flops": analysis.target, **vars(analysis.trend)} if analysis.trend else None,
            "methods": analysis.methods,
            "backtest": analysis.backtest,
            "next_runs": analysis.recommended,
            "not_done": analysis.not_done,
            "warnings": analysis.warnings,
        }
    )


def plain(value: Any) -> Any:
    """Lists, dicts, numbers and strings only."""
    if is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _surface(surface: Surface, ends: Ends) -> dict[str, Any]:
    fit = surface.fit
    return {
        "law": fit.law.name,
        "formula": fit.law.formula,
        "status": fit.status.value,
        "undetermined": surface.undetermined,
        "params": fit.params,
        "theta": dict(zip(fit.law.names, fit.theta, strict=True)),
        "theta_is_log": dict(zip(fit.law.names, fit.law.log, strict=True)),
        "theta_cov_fisher": fit.theta_cov,
        "bse_fisher": fit.bse,
        "conf_int": ends,
        "theta_cov_bootstrap": np.cov(surface.boot.theta.T),
        "bootstrap": surface.boot.describe(),
        "bootstrap_method": surface.boot.method,
        "noise_scale": surface.boot.noise.scale,
        "noise_shared_in_trunk": surface.boot.noise.share,
        "exponent_a": vars(surface.exponent),
        "exponent_a_by_counting": surface.conventions,
        "kappa": vars(surface.kappa),
        "huber_delta": fit.loss.delta,
        "objective_sum": fit.objective,
        "residual_scale": fit.scale,
        "misfit": _misfit(surface.misfit),
        "starts": fit.starts,
        "starts_agreeing": fit.starts_agreeing,
        "condition": fit.condition,
        "leverage": fit.leverage,
        "residuals": fit.residuals,
        "refits": {
            str(delta): dict(zip(fit.law.names, fit.law.values(theta), strict=True))
            for delta, theta in surface.refits.items()
        },
        "frontier": vars(surface.frontier),
    }


def _misfit(found: Misfit) -> dict[str, Any]:
    return {
        "seed_noise": vars(found.seeds) if found.seeds else None,
        "ratio": found.ratio,
        "chance": found.chance,
        "budgets": [vars(level) for level in found.levels],
        "noise_from": found.noise_from,
        "misses_largest_budget": found.missed is not None,
    }


def _isoflop(found: IsoFlop) -> dict[str, Any]:
    def law(power: PowerLaw | None) -> dict[str, Any] | None:
        if power is None:
            return None
        return {"coefficient": power.coefficient, "exponent": vars(power.exponent)}

    return {
        "minima": [vars(m) for m in found.minima],
        "params": law(found.params),
        "tokens": law(found.tokens),
        "loss": law(found.loss),
        "noise_scale": found.noise_scale,
    }

"""Where searches begin: a grid of the non-linear parameters, with the linear ones solved for.

When some parameters enter linearly, the best of them for given others is a
small least-squares problem (variable projection, Golub & Pereyra 1973). Starts
that differ only in such parameters become one. The fit then polishes all
parameters together, with its own loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from analysis.engine.evaluate import Columns, natural_values
from analysis.law import TARGET, Law

FAINT, SMALL = 1e-3, 0.1  # a term whose best share of the target is less than the first begins with the second
MOST_STARTS = 20_000

# Shapes: R starts, n rows, P parameters, K linear parameters.


@dataclass(frozen=True, kw_only=True)
class Starts:
    theta_RP: np.ndarray
    count_R: np.ndarray  # how many of the given starts each one stands for


def units(law: Law, columns: Columns, target: np.ndarray) -> dict[str, float]:
    """What each parameter's bounds and starts are measured in."""

    def mean(values: np.ndarray) -> float:
        size = np.abs(values[values != 0])
        return float(np.exp(np.log(size).mean())) if size.size else 1.0

    known = {"": 1.0, TARGET: mean(target)}
    for parameter in law.parameters.values():
        if parameter.of not in known:
            known[parameter.of] = mean(columns[parameter.of])
    return {name: known[parameter.of] for name, parameter in law.parameters.items()}


def bounds(law: Law, unit: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """(P,) lower and upper bounds of theta. A parameter that is held has both at its value."""
    ends = []
    for name, parameter in law.parameters.items():
        low, high = parameter.low * unit[name], parameter.high * unit[name]
        if name in law.fixed:
            low = high = law.fixed[name]
        if parameter.log:
            # e^-690 and e^690 are the ends of what a float can hold.
            low, high = (float(np.clip(np.log(end) if end > 0 else -690.0, -690.0, 690.0)) for end in (low, high))
        ends.append((low, high))
    low, high = np.array(ends, float).T
    return low, high


def grid(law: Law, unit: Mapping[str, float]) -> np.ndarray:
    """(R, P) natural values: every combination of the parameters' own starts."""
    choices = []
    for name, parameter in law.parameters.items():
        if name in law.fixed:
            choices.append((law.fixed[name],))
        else:
            choices.append(tuple(start * unit[name] for start in parameter.starts))
    count = int(np.prod([len(choice) for choice in choices]))
    if count > MOST_STARTS:
        raise ValueError(f"law {law.name}: its starts make {count:,} combinations; give fewer to each parameter")
    return np.array(list(product(*choices)), float)


def project(law: Law, natural_RP: np.ndarray, columns: Columns, target: np.ndarray, root: np.ndarray) -> Starts:
    """Replace the linear parameters by their weighted least-squares values, amounts kept positive.

    Residuals are taken relative to the target when the law is fitted in logs.
    """
    names = law.names
    linear = [names.index(name) for name in law.linear if name not in law.fixed]
    if not linear:
        return unprojected(law, natural_RP)
    rest = natural_RP.copy()
    rest[:, linear] = 0.0
    rest, count = np.unique(rest, axis=0, return_counts=True)
    probes = np.repeat(rest[None], len(linear) + 1, axis=0)
    for k, index in enumerate(linear, start=1):
        probes[k, :, index] = 1.0
    zero_Rn, *ones = natural_values(law.form, probes.reshape(-1, rest.shape[1]), columns).reshape(*probes.shape[:2], -1)
    weight = root / target if law.in_log else root
    basis_RKn = (np.stack(ones, axis=1) - zero_Rn[:, None]) * weight
    goal_Rn = (target - zero_Rn) * weight
    positive = np.array([law.parameters[names[i]].log for i in linear])
    solved = _least_squares(basis_RKn, goal_Rn, positive)
    size = np.abs(basis_RKn).mean(-1)
    whole = np.abs(target * weight).mean() / np.where(size > 0, size, 1.0)
    rest[:, linear] = np.where(positive & ~(solved > FAINT * whole), SMALL * whole, solved)
    usable = np.isfinite(rest).all(1) & np.isfinite(zero_Rn).all(1) & np.isfinite(basis_RKn).all((1, 2))
    return _merged(law, rest[usable], count[usable].astype(float))


def unprojected(law: Law, natural_RP: np.ndarray) -> Starts:
    """The starts as they are."""
    return _merged(law, natural_RP, np.ones(len(natural_RP)))


def _merged(law: Law, natural_RP: np.ndarray, count_R: np.ndarray) -> Starts:
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.where(law.log, np.log(natural_RP), natural_RP)
    usable = np.isfinite(theta).all(1)
    if not usable.any():
        raise ValueError(f"law {law.name}: no start can be evaluated on these columns; check their units")
    return Starts(theta_RP=theta[usable], count_R=count_R[usable])


def _least_squares(basis_RKn: np.ndarray, goal_Rn: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(R, K) the best coefficients; those marked positive are zero where they would be negative.

    Every choice of which ones are zero is solved, and the best that is allowed is kept: K is small.
    """
    total, count, _ = basis_RKn.shape
    norms = np.sqrt((basis_RKn**2).sum(-1))
    unit = basis_RKn / np.where((norms > 0) & np.isfinite(norms), norms, 1.0)[..., None]
    unit = np.where(np.isfinite(unit), unit, 0.0)
    gram = unit @ unit.swapaxes(1, 2) + 1e-12 * np.eye(count)
    right = (unit @ goal_Rn[..., None])[..., 0]
    best, gain = np.zeros((total, count)), np.zeros(total)
    for chosen in product((True, False), repeat=count):
        on = np.array(chosen)
        if not on.any() or not (on | positive).all():
            continue
        matrix = np.where(on[:, None] & on, gram, 0.0) + np.diag(~on).astype(float)
        found = np.linalg.solve(matrix, np.where(on, right, 0.0)[..., None])[..., 0]
        found[:, ~on] = 0.0
        drop = 2 * (found * right).sum(1) - np.einsum("rk,rkl,rl->r", found, gram, found)
        better = ((found >= 0) | ~positive).all(1) & (drop > gain)
        best[better], gain[better] = found[better], drop[better]
    return best / np.where((norms > 0) & np.isfinite(norms), norms, 1.0)

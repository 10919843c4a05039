"""What to doubt about a fit, by name: each doubt says what was seen and what would mend it."""

from dataclasses import replace
from itertools import product

import numpy as np

from analysis.doubt import Doubt
from analysis.engine.evaluate import linearise
from analysis.engine.solver import Problem, minimise
from analysis.intervals import disagreements
from analysis.law import TARGET
from analysis.result import FitResult, Status
from analysis.words import plural, short

DELTA_RATIOS = (0.03, 3.0)  # of Huber's delta to the residual scale, between which the loss is what it is meant to be
OTHER_DELTAS = (0.1, 10.0)  # times the delta of the fit
WIDE_LOG = np.log(10.0)  # standard error of a logarithm from which an amount is not identified: a decade
HIGH_LEVERAGE = 0.7
OUTLIER = 4.0  # residual scales
MOST_NAMED = 5  # runs in one sentence
SINGULAR = 1e10  # condition number at which a direction is lost to rounding


def doubts(fit: FitResult, boot: dict[str, tuple[float, float]] | None = None) -> tuple[Doubt, ...]:
    """Everything to doubt. boot: bootstrap intervals, if they are known already; they take a second or less."""
    found = [*_search(fit), *_identified(fit), *_delta(fit), *_leverage(fit)]
    if fit.status is Status.CONVERGED and fit.freedom > 0:
        found += _moved(fit) + _intervals(fit, boot or fit.conf_int("bootstrap"))
    return tuple(found)


def unidentified(fit: FitResult) -> tuple[str, ...]:
    """Parameters that these runs do not hold: at a bound, or with an error as large as what they say."""
    error = np.sqrt(np.diag(fit.theta_cov))
    limit = np.where(fit.law.log, WIDE_LOG, np.abs(fit.theta))
    lost = fit.law.free & ~(error < limit)
    return tuple(n for n, gone in zip(fit.law.names, lost, strict=True) if gone or n in fit.at_bound)


def helpful_run(fit: FitResult, parameter: str) -> dict[str, float]:
    """Among runs up to three times beyond the data, the one that would shrink this parameter's error most."""
    columns = {name: values for name, values in fit.rows.columns.items() if values.ndim == 1}
    choices = []
    for name, values in columns.items():
        low, high = values.min(), values.max()
        outward = (low, high) if name in fit.law.may_be_zero else (low / 3, low, np.sqrt(low * high), high, high * 3)
        choices.append(np.unique(outward))
    candidates = np.array(list(product(*choices)), float)
    grid = {name: candidates[:, i] for i, name in enumerate(columns)}
    grid |= {n: np.repeat(v[:1], len(candidates), 0) for n, v in fit.rows.columns.items() if n not in columns}
    free = np.flatnonzero(fit.law.free)
    slopes = linearise(fit.law.form, fit.theta, grid)[1][:, free]
    cov = fit.theta_cov[np.ix_(free, free)] / max(fit.scale, 1e-300) ** 2
    at = list(free).index(fit.law.names.index(parameter))
    moved = slopes @ cov
    gain = moved[:, at] ** 2 / (1 + np.einsum("cp,cp->c", moved, slopes))
    best = int(np.argmax(np.where(np.isfinite(gain), gain, -1.0)))
    return {name: float(values[best]) for name, values in grid.items() if name in columns}


def _search(fit: FitResult) -> list[Doubt]:
    found = []
    if fit.status is Status.NOT_CONVERGED:
        found.append(
            Doubt(
                name="not_converged", text="the search did not end at an optimum; give other starts, or a simpler law"
            )
        )
    for name in fit.at_bound:
        parameter = fit.law.parameters[name]
        what = "vanishes: no run feels it" if parameter.log else "ran to the edge of what is allowed"
        if parameter.of == TARGET and fit.law.log[fit.law.names.index(name)]:
            what = "ran to the edge of what is allowed: no floor shows in these losses"
        found.append(Doubt(name="at_bound", text=f"{name} {what}; its value and its error mean nothing"))
    if fit.starts_agreeing < 0.5:
        text = f"only {fit.starts_agreeing:.0%} of {plural(fit.starts, 'start')} agree on the optimum"
        found.append(Doubt(name="starts_disagree", text=f"{text}: the runs allow several laws; add runs, or bound it"))
    return found


def _identified(fit: FitResult) -> list[Doubt]:
    found = []
    for name in unidentified(fit):
        if name in fit.at_bound:
            continue  # said already; there slopes do not tell what a run would bring
        run = helpful_run(fit, name)
        where = ", ".join(f"{column} {short(value)}" for column, value in run.items())
        found.append(
            Doubt(name="not_identified", text=f"these runs do not hold {name}; a run at {where} would help most")
        )
    if fit.condition > SINGULAR:
        text = f"condition number {fit.condition:.1g}: some parameters act alike on all these runs"
        found.append(Doubt(name="collinear_design", text=text))
    return found


def _delta(fit: FitResult) -> list[Doubt]:
    if np.isinf(fit.loss.delta) or fit.scale == 0:
        return []
    ratio = fit.loss.delta / fit.scale
    if ratio > DELTA_RATIOS[1]:
        said = "far above the residuals: this is plain least squares, and outliers count in full"
    elif ratio < DELTA_RATIOS[0]:
        said = "far below the residuals: this is nearly least absolute deviations"
    else:
        return []
    return [Doubt(name="delta_regime", text=f"delta {fit.loss.delta:g} lies {said} (residual scale {fit.scale:.2g})")]


def _leverage(fit: FitResult) -> list[Doubt]:
    share = np.clip(fit.leverage, 0.0, 1.0)
    weighted = np.abs(fit.residuals * fit.weights) / max(fit.scale, 1e-300)
    typical = fit.law.free.sum() / len(share)
    steering = np.flatnonzero((share > HIGH_LEVERAGE) & (share > typical))
    outlying = np.flatnonzero((weighted > OUTLIER) & (share > typical))
    found = []
    for rows, one, many in (
        (steering, "decides some parameter almost alone", "decide some parameter almost alone"),
        (outlying, "lies far off and steers the fit", "lie far off and steer the fit"),
    ):
        if len(rows):
            order = rows[np.argsort(-share[rows], kind="stable")]
            named = ", ".join(fit.rows.ids[i] for i in order[:MOST_NAMED])
            more = f" and {len(order) - MOST_NAMED} more" if len(order) > MOST_NAMED else ""
            said = f"{plural(len(order), 'run')} {one if len(order) == 1 else many}: {named}{more}"
            text = f"{said}; train again, or fit without, and compare"
            found.append(Doubt(name="leverage", text=text))
    return found


def refits(fit: FitResult) -> dict[float, np.ndarray]:
    """theta (P,) with other deltas, each from this fit's optimum."""
    if np.isinf(fit.loss.delta):
        return {}
    target, found = np.log(fit.rows.target) if fit.law.in_log else fit.rows.target, {}
    for factor in OTHER_DELTAS:
        loss = replace(fit.loss, delta=fit.loss.delta * factor)
        problem = Problem(
            form=fit.law.form, columns=fit.rows.columns, scales_n=fit.weights, loss=loss, lower=fit.lower,
            upper=fit.upper,
        )  # fmt: skip
        found[loss.delta] = minimise(problem, fit.theta[None], target).theta_RP[0]
    return found


def _moved(fit: FitResult) -> list[Doubt]:
    """Exponents that another delta moves by more than a standard error."""
    error, found = np.sqrt(np.diag(fit.theta_cov)), []
    for delta, theta in refits(fit).items():
        for i in np.flatnonzero(fit.law.free & ~fit.law.log & (error > 0)):
            steps = (theta[i] - fit.theta[i]) / error[i]
            if abs(steps) > 1:
                text = (
                    f"{fit.law.names[i]} moves to {theta[i]:.4g} with delta {delta:g}, {abs(steps):.1f} standard errors"
                )
                found.append(Doubt(name="delta_sensitive", text=f"{text}: a few runs decide it; look at the leverage"))
    return found


def _intervals(fit: FitResult, boot: dict[str, tuple[float, float]]) -> list[Doubt]:
    others = {"profile": fit.conf_int("profile"), "bootstrap": boot}
    return [
        Doubt(
            name="intervals_disagree",
            text=f"the {method} interval of {name} is {ratio:.1f} times as wide as Fisher's: report the wider one",
        )
        for name, method, ratio in disagreements(fit, others)
    ]

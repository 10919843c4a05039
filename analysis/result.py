"""A fitted law: numbers at full precision, with what is needed to doubt them."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtri, stdtrit

from analysis.doubt import Doubt
from analysis.engine.evaluate import linearise
from analysis.law import Law
from analysis.losses import Loss, absolute, huber, squared
from analysis.rows import Rows, read_column
from analysis.tables.read import frame
from analysis.words import bracket, plural

FAR = 300.0  # extrapolation ratio in compute beyond which a warning stands


class Status(Enum):
    CONVERGED = "converged"
    AT_BOUND = "at a bound"  # a parameter ran to the edge: the data do not hold it
    NOT_CONVERGED = "not converged"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A value for each row, with an interval when one was asked for."""

    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A fitted law. Nothing is rounded. n rows, P parameters.

    `bse` and `cov` are Fisher's: the inverse of J'J times the variance factor of
    the loss, for independent residuals of `scale`. Runs that share a trunk are
    not independent, and some lie far off: `conf_int()` allows for both.
    """

    law: Law
    loss: Loss
    rows: Rows
    status: Status
    at_bound: tuple[str, ...]  # parameters that ran to the edge of what is allowed
    params: dict[str, float]
    theta: np.ndarray  # (P,) ln of amounts, other parameters as they are
    theta_cov: np.ndarray  # (P, P); zero for parameters that are held
    objective: float  # the loss, summed
    gradient_norm: float  # of the objective with respect to the free part of theta
    starts: int
    starts_agreeing: float  # share of starts that end within 1e-6 of the objective, relative
    residuals: np.ndarray  # (n,) ln target - ln law, or target - law
    jacobian: np.ndarray  # (n, P) of ln law or law with respect to theta, each row times its weight
    leverage: np.ndarray  # (n,) diagonal of the hat matrix; sums to the number of free parameters
    scale: float  # robust standard deviation of the weighted residuals, corrected for P; or the known noise
    known_noise: bool
    condition: float  # of the Jacobian of the free parameters with unit columns
    weights: np.ndarray  # (n,) square root of the relative weight of each row
    lower: np.ndarray  # (P,) bounds of theta
    upper: np.ndarray

    @property
    def cov(self) -> np.ndarray:
        """(P, P) covariance of `params`, by the delta method."""
        slope = np.where(self.law.log, self.law.values(self.theta), 1.0)
        return self.theta_cov * slope[:, None] * slope

    @property
    def bse(self) -> dict[str, float]:
        return dict(zip(self.law.names, np.sqrt(np.diag(self.cov)).tolist(), strict=True))

    @property
    def freedom(self) -> int:
        """Rows less free parameters."""
        return len(self.residuals) - int(self.law.free.sum())

    def quantile(self, level: float = 0.95) -> float:
        """Half width of an interval in standard errors: Student's, or normal when the noise is known."""
        return float(ndtri((1 + level) / 2) if self.known_noise else stdtrit(self.freedom, (1 + level) / 2))

    def conf_int(self, method: str = "bootstrap", level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Interval of each parameter. method: "bootstrap" (by cluster), "profile" (likelihood) or "fisher"."""
        from analysis.intervals import conf_int  # it needs the solver, and the solver's user needs this

        return conf_int(self, method, level)

    def predict(self, data: Any, interval: str | None = None, level: float = 0.95) -> Prediction:
        """The law at each row. interval: None, "law" (of the curve) or "run" (of one new run)."""
        if interval not in (None, "law", "run"):
            raise ValueError(f"predict(interval={interval!r}): must be None, 'law' or 'run'")
        table = frame(data)
        columns = {name: read_column(table, name) for name in self.law.columns}
        centre, slope = linearise(self.law.form, self.theta, columns)
        back = np.exp if self.law.in_log else np.asarray
        doubts = _far(self.rows, columns)
        if interval is None:
            return Prediction(value=back(centre), doubts=doubts)
        variance = np.einsum("np,pq,nq->n", slope, self.theta_cov, slope)
        half = self.quantile(level) * np.sqrt(variance + (interval == "run") * self.scale**2)
        return Prediction(value=back(centre), low=back(centre - half), high=back(centre + half), doubts=doubts)

    def warnings(self, boot: dict[str, tuple[float, float]] | None = None) -> tuple[Doubt, ...]:
        """What to doubt, each with its name and a sentence. boot: bootstrap intervals, if they are known already."""
        from analysis.diagnose import doubts

        return doubts(self, boot)

    def summary(self) -> str:
        """A few lines for a terminal."""
        errors, intervals = self.bse, self.conf_int()  # by bootstrap
        width = max(6, *(len(name) for name in self.params))
        lines = [f"{self.law.formula}   ({plural(len(self.residuals), 'run')}, {self.status.value})"]
        for name, value in self.params.items():
            said = f"  {name:<{width}} {value:>12.6g}"
            held = name in self.law.fixed
            lines.append(said + ("  held" if held else f"  se {errors[name]:>10.3g}  95% {bracket(*intervals[name])}"))
        lines.append(
            f"  objective {self.objective:.6e} ({self.loss.describe()}, summed); residual scale {self.scale:.3g}; "
            f"{self.starts_agreeing:.0%} of {self.starts} starts agree; condition {self.condition:.3g}"
        )
        lines += [f"  {doubt.name}: {doubt.text}" for doubt in self.warnings(intervals)]
        return "\n".join(lines)

    def table(self, method: str = "bootstrap", level: float = 0.95) -> pa.Table:
        """A row a parameter: parameter, value, se, low, high. `.to_pandas()` makes a frame of it."""
        ends, errors = self.conf_int(method, level), self.bse
        return pa.table(
            {
                "parameter": list(self.params),
                "value": list(self.params.values()),
                "se": [errors[name] for name in self.params],
                "low": [ends[name][0] for name in self.params],
                "high": [ends[name][1] for name in self.params],
            }
        )

    def to_json(self) -> str:
        """Everything but the law's function, at full precision."""
        plain = {
            "law": self.law.name,
            "formula": self.law.formula,
            "parameters": list(self.law.names),
            "fixed": dict(self.law.fixed),
            "loss": {"name": self.loss.name, "delta": self.loss.delta},
            "rows": {
                "columns": self.rows.columns, "target": self.rows.target,
                "clusters": self.rows.clusters, "ids": self.rows.ids,
            },
            "status": self.status.value,
            "params": self.params,
            **{name: getattr(self, name) for name in _FIELDS},
        }  # fmt: skip
        return json.dumps(plain, default=lambda value: value.tolist())

    @classmethod
    def from_json(cls, text: str, law: Law, loss: Loss | None = None) -> "FitResult":
        """Back from `to_json`. A function cannot be stored: give the law (and a loss of your own) again."""
        plain = json.loads(text)
        if plain["parameters"] != list(law.names):
            raise ValueError(f"this fit is of {plain['formula']} ({plain['law']}), and not of {law.formula}")
        known = {made.name: made for made in (squared(), absolute())}
        if loss is None:
            named, delta = plain["loss"]["name"], plain["loss"]["delta"]
            loss = huber(delta) if named == "Huber" else known.get(named)
        if loss is None or loss.name != plain["loss"]["name"]:
            raise ValueError(f"this fit used the loss {plain['loss']['name']!r}; give it again with loss=")
        rows = plain["rows"]
        arrays = {n: np.array(plain[n], float) for n in _FIELDS if isinstance(plain[n], list) and n != "at_bound"}
        return cls(
            law=law.fix(**plain["fixed"]) if plain["fixed"] else law,
            loss=loss,
            rows=Rows(
                columns={name: np.array(values, float) for name, values in rows["columns"].items()},
                target=np.array(rows["target"], float),
                clusters=tuple(rows["clusters"]),
                ids=tuple(rows["ids"]),
            ),
            status=Status(plain["status"]),
            params=plain["params"],
            at_bound=tuple(plain["at_bound"]),
            **{name: arrays.get(name, plain[name]) for name in _FIELDS if name != "at_bound"},
        )


_FIELDS = (
    "at_bound", "theta", "theta_cov", "objective", "gradient_norm", "starts", "starts_agreeing", "residuals",
    "jacobian", "leverage", "scale", "known_noise", "condition", "weights", "lower", "upper",
)  # fmt: skip


def _far(rows: Rows, columns: dict[str, np.ndarray]) -> tuple[Doubt, ...]:
    """A doubt when a row lies more than FAR times beyond the fitted ones, in compute where it is known."""

    def reach(values: dict[str, np.ndarray]) -> np.ndarray:
        scales = [values[name] for name in ("params", "tokens") if name in values]
        if "flops" in values:
            scales = [values["flops"]]
        return np.prod(scales, axis=0) if scales else np.ones(1)

    ratio = float(np.max(reach(columns)) / np.max(reach(rows.columns)))
    if not ratio > FAR:
        return ()
    text = f"the largest row lies {ratio:,.0f} times beyond the fitted ones in compute (warned about above {FAR:g}): "
    return (Doubt(name="extrapolation", text=f"{text}its interval holds only if the law keeps its form"),)


def robust_scale(residuals: np.ndarray, parameters: int) -> float:
    """Standard deviation from the median of the n - P largest absolute residuals.

    With delta far below the noise the fit passes through about P points; left
    in, their zeros would make the noise of a small study look three times too small.
    """
    largest = np.sort(np.abs(residuals))[min(parameters, len(residuals) - 1) :]
    return float(np.median(largest) / ndtri(0.75))


def at_optimum(
    law: Law, rows: Rows, loss: Loss, theta: np.ndarray, root: np.ndarray, known: float | None
) -> dict[str, Any]:
    """The fields of a result that follow from the optimum."""
    value, slope = linearise(law.form, theta, rows.columns)
    residuals = (np.log(rows.target) if law.in_log else rows.target) - value
    jacobian = slope * root[:, None]
    free = np.flatnonzero(law.free)
    norms = np.linalg.norm(jacobian[:, free], axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    left, singular, right = np.linalg.svd(jacobian[:, free] / norms, full_matrices=False)
    scale = known if known is not None else _scale(loss, residuals * root, len(free))
    inverse = (right.T / np.maximum(singular, 1e-14) ** 2) @ right / norms[:, None] / norms
    cov = np.zeros((len(theta), len(theta)))
    cov[np.ix_(free, free)] = inverse * loss.variance_factor(scale)
    return {
        "params": dict(zip(law.names, law.values(theta).tolist(), strict=True)),
        "theta": theta,
        "theta_cov": cov,
        "residuals": residuals,
        "jacobian": jacobian,
        "leverage": (left**2).sum(1),
        "scale": scale,
        "known_noise": known is not None,
        "condition": float(singular[0] / max(singular[-1], 1e-300)),
        "weights": root,
    }


def _scale(loss: Loss, weighted: np.ndarray, parameters: int) -> float:
    """The usual root of the residual mean square for least squares; robust for a robust loss."""
    if np.isinf(loss.delta):
        return float(np.sqrt((weighted**2).sum() / max(len(weighted) - parameters, 1)))
    return robust_scale(weighted, parameters)

"""From the loss to what a model can do: task error and accuracy.

`error_from_loss` and `accuracy_from_loss` are fitted to the quantity itself and
not to its logarithm: its noise does not grow with it.

A two-stage forecast joins two fits: loss from size and data, accuracy from loss.

    >>> import numpy as np
    >>> from analysis import fit
    >>> loss = np.linspace(2.0, 4.0, 9)
    >>> task = {"loss": loss, "accuracy": 0.25 + 0.7 / (1 + np.exp(4 * (loss - 2.8)))}
    >>> found = fit(accuracy_from_loss, task)
    >>> round(found.params["b"], 4), round(found.params["L0"], 4)
    (0.25, 2.8)

`laws.chain(loss_fit, found).predict({"params": [7e9], "tokens": [2e12]}, interval="law")`
is then the accuracy of a model that is not trained yet.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.engine.evaluate import values, values_each
from analysis.law import TARGET, amount, exponent, floor, law, power, real
from analysis.result import FitResult, Prediction
from analysis.tables.read import frame, numbers

__all__ = ["Chain", "accuracy_from_loss", "bounded_error", "chain", "error_from_loss", "shifted_power"]

DRAWS = 4000  # ends of 95% intervals then move by about 2% of their width from seed to seed

# Shapes: R draws, n rows, P parameters.


@law(
    columns=("loss",),
    parameters=dict(epsilon=amount(), k=amount(), gamma=amount(0.2, 0.5, 1, 2, 5, low=1e-3, high=100)),
    target="error",
    linear=("epsilon", "k"),
    in_log=False,
)
def error_from_loss(p, x):
    """Err = epsilon - k exp(-gamma L)

    Gadre et al. 2024, arXiv:2403.08540. Err is the error averaged over many tasks
    (1 - accuracy), L the loss on one validation set, in nats per token. They fit by
    least squares on the error itself: give `loss=squared()`. Published for 17 tasks
    against C4 (epsilon, k, gamma): trained on C4 0.850, 2.08, 0.756; RedPajama
    0.857, 2.21, 0.715; RefinedWeb 0.865, 2.21, 0.707.
    """
    return p.epsilon - p.k * jnp.exp(-p.gamma * x.loss)


@law(
    columns=("loss",),
    parameters=dict(
        a=amount(low=1e-6, high=10), b=amount(),
        k=real(-30, -10, -3, -1, low=-300, high=300), L0=amount(0.7, 0.85, 1.0, 1.2, low=1e-3, high=1e3, of="loss"),
    ),
    target="accuracy",
    linear=("a", "b"),
    in_log=False,
)  # fmt: skip
def accuracy_from_loss(p, x):
    """Acc = b + a / (1 + exp(-k (L - L0)))

    Bhagia et al. 2024, arXiv:2412.04403, the second of two stages. L is the loss on
    the task itself (of the right answer, there in bits per byte) or on any fixed
    set. a and -a, k and -k, b and a + b say the same; here a is positive, so that k
    is negative where accuracy falls with the loss, b is the accuracy at a very high
    loss (chance) and a + b that at a very low one. Where the data show only one bend,
    hold the other end: `accuracy_from_loss.fix(b=0.25)` for four choices.
    """
    # tanh and not exp: it does not overflow far from the bend.
    return p.b + p.a * (1 + jnp.tanh(p.k * (x.loss - p.L0) / 2)) / 2


@law(
    columns=("params", "tokens"),
    parameters=dict(
        N0=amount(1e-3, 0.3, of="params"), alpha=exponent(0.3, 0.8),
        D0=amount(1e-3, 0.3, of="tokens"), beta=exponent(0.3, 0.8),
        c=amount(0.3, low=1e-4, high=10, of=TARGET), epsilon0=amount(1.5, 4, low=0.5, high=1e3, of=TARGET),
    ),
    target="error",
)  # fmt: skip
def bounded_error(p, x):
    """Err = e / sqrt(1 + (e / epsilon0)^2) with e = (N0 / N)^alpha + (D0 / D)^beta + c

    Rosenfeld et al. 2020, arXiv:1909.12673: a power law under the envelope of a
    random guess. Err is a classification error or a loss; epsilon0 is that of the
    guess. It is known beforehand, 1 - 1 / classes: `bounded_error.fix(epsilon0=0.9)`.
    N counts all parameters; D is the number of examples or tokens. They write
    epsilon0 |e / (e - i eta)|; only e / eta shows in it, so eta is epsilon0 here, and
    e is the error that the law would give without the bound. Their a and b are
    D0^beta and N0^alpha, all three coefficients in units of eta / epsilon0.
    """
    free = power(p.N0 / x.params, p.alpha) + power(p.D0 / x.tokens, p.beta) + p.c
    return free / jnp.sqrt(1 + (free / p.epsilon0) ** 2)


@law(
    columns=("flops",),
    parameters=dict(a=floor(), b=amount(), c=exponent(0.1, 0.25, 0.5, 0.8, 1.2), d=amount(1e-3, 0.03, 1, of="flops")),
    target="error",
    linear=("a", "b"),
)
def shifted_power(p, x):
    """Err = a + b (C + d)^-c

    Zhai et al. 2021, arXiv:2106.04560, for vision transformers: a is the error at
    infinite compute, d the compute below which more of it helps little. C is the
    training compute of the best model for it, in FLOPs here; b depends on that unit.
    """
    return p.a + p.b * power(x.flops + p.d, -p.c)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Two fits in a row: what the first predicts is the column that the second reads."""

    loss_fit: FitResult
    task_fit: FitResult

    def predict(
        self, data: Any, interval: str | None = None, level: float = 0.95, *, draws: int = DRAWS, seed: int = 0
    ) -> Prediction:
        """The task's value at each row of `data`, which holds the columns of the first law.

        interval: None, "law" (both curves are uncertain) or "run" (also the noise
        of one new run, in the loss and in the task). Both fits are drawn from
        their own normal approximation, with Student's tails where the noise was
        estimated, and taken as independent of each other.
        """
        if interval not in (None, "law", "run"):
            raise ValueError(f"predict(interval={interval!r}): must be None, 'law' or 'run'")
        table = frame(data)
        columns = {name: numbers(table, name) for name in self.loss_fit.law.columns}
        value = self._second(self.task_fit.theta[None], values(*_best(self.loss_fit), columns))[0]
        if interval is None:
            return Prediction(value=value)
        rng = np.random.default_rng(seed)
        between = values(self.loss_fit.law.form, _draw(self.loss_fit, draws, rng), columns)
        theta = _draw(self.task_fit, draws, rng)
        if interval == "run":
            between = _disturb(self.loss_fit, between, rng)
        tasks = self._second(theta, between)
        if interval == "run":
            tasks = _disturb(self.task_fit, tasks, rng)
        tail = (1 - level) / 2
        low, high = np.quantile(tasks, [tail, 1 - tail], axis=0)
        return Prediction(value=value, low=low, high=high)

    def _second(self, theta_RP: np.ndarray, between_Rn: np.ndarray) -> np.ndarray:
        law = self.task_fit.law
        return values_each(law.form, theta_RP, {law.columns[0]: between_Rn})


def chain(loss_fit: FitResult, task_fit: FitResult) -> Chain:
    """Join a fit of the loss and a fit of a task against that loss (Bhagia et al. 2024, arXiv:2412.04403).

    The second law must read one column, the target of the first.
    """
    first, second = loss_fit.law, task_fit.law
    if second.columns != (first.target,):
        raise ValueError(
            f"chain: {second.name} reads {', '.join(second.columns)}, but {first.name} gives {first.target}; "
            f"the second law must read {first.target} alone"
        )
    for fitted in (loss_fit, task_fit):
        if not np.isfinite(fitted.theta_cov).all():
            raise ValueError(
                f"chain: the fit of {fitted.law.name} has no finite standard errors; "
                "hold what it cannot identify with law.fix(...) and fit again"
            )
    return Chain(loss_fit=loss_fit, task_fit=task_fit)


def _best(fitted: FitResult) -> tuple[Any, np.ndarray]:
    return fitted.law.form, fitted.theta[None]


def _draw(fitted: FitResult, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(R, P) parameters as likely as the fit says, within their bounds."""
    # Student: the same normal direction divided by how far the noise may be from its estimate.
    spread = 1.0 if fitted.known_noise else np.sqrt(fitted.freedom / rng.chisquare(fitted.freedom, (draws, 1)))
    # By eigenvectors: parameters that are held make the covariance singular.
    size, direction = np.linalg.eigh(fitted.theta_cov)
    root = direction * np.sqrt(np.maximum(size, 0))
    theta = fitted.theta + spread * (rng.standard_normal((draws, len(size))) @ root.T)
    return np.clip(theta, fitted.lower, fitted.upper)


def _disturb(fitted: FitResult, values_Rn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same values with the noise of one run each."""
    error = fitted.scale * rng.standard_normal(values_Rn.shape)
    return values_Rn * np.exp(error) if fitted.law.in_log else values_Rn + error

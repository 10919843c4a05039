"""What a residual costs. A loss is always summed over the rows, never averaged (SCIENCE, trap 2).

>>> huber(1e-3).describe()
'Huber, delta 0.001'
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.engine.double import double

GRID = np.linspace(-9.0, 9.0, 4001)  # standard normal residuals at which expectations are summed
TINY_DELTA = 1e-7  # of `absolute`: no data are so exact


@dataclass(frozen=True)
class Loss:
    """The cost rho(r, delta) of a residual r, with rho(0) = 0; delta is in units of the residual.

    A loss of one's own: Loss("log-cosh", lambda r, delta: delta**2 * jnp.log(jnp.cosh(r / delta)), delta=1e-3).
    rho is traced by JAX; write it for arrays.
    """

    name: str
    rho: Callable[[Any, Any], Any]
    delta: float = math.inf

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(
                f"{self.name} loss: delta={self.delta}: must be positive; squared() is the limit of large delta"
            )

    def describe(self) -> str:
        return self.name if math.isinf(self.delta) else f"{self.name}, delta {self.delta:g}"

    def moments(self, scale: float) -> tuple[float, float]:
        """E psi^2 and E psi' for Gaussian residuals of this scale, where psi is the slope of rho.

        E psi' = E r psi / scale^2 (Stein). The empirical moments would be
        noisier: with 20 rows few lie within a small delta.
        """
        if scale <= 0 or math.isinf(self.delta):
            return scale**2, 1.0
        with double():
            slope = np.asarray(_slope(self.rho, GRID * scale, self.delta))
        chance = np.exp(-(GRID**2) / 2)
        chance /= chance.sum()
        return float(chance @ slope**2), float(chance @ (GRID * scale * slope)) / scale**2

    def variance_factor(self, scale: float) -> float:
        """Variance of the estimate over that of least squares with unit noise: E psi^2 / (E psi')^2.

        It tends to scale^2 for a large delta of Huber's loss and to (pi/2) scale^2 for a small one.
        """
        square, slope = self.moments(scale)
        return square / slope**2 if slope > 0 else scale**2


def huber(delta: float = 1e-3) -> Loss:
    """Quadratic up to delta, linear beyond. Hoffmann et al. 2022 take 1e-3 of ln loss."""
    return squared() if math.isinf(delta) else Loss("Huber", _huber, delta)


def squared() -> Loss:
    """r^2 / 2: least squares, the limit of Huber's loss, and so the same compiled program."""
    return Loss("least squares", _huber)


def absolute() -> Loss:
    """|r|, rounded within 1e-7 so that derivatives exist: least absolute deviations."""
    return Loss("least absolute deviations", _absolute, TINY_DELTA)


@partial(jax.jit, static_argnums=0)
def _slope(rho: Callable[[Any, Any], Any], residuals: Any, delta: Any) -> Any:
    return jax.vmap(jax.grad(rho), (0, None))(residuals, delta)


def _huber(r: Any, delta: Any) -> Any:
    size = jnp.abs(r)
    return jnp.where(size <= delta, r * r / 2, delta * (size - delta / 2))


def _absolute(r: Any, delta: Any) -> Any:
    return _huber(r, delta) / delta

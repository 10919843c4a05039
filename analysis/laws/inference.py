"""What is gained after training: repeated samples, and optimisation against a reward model.

>>> import numpy as np
>>> from analysis import fit
>>> samples = np.array([1, 10, 100, 1000, 10000.0])
>>> found = fit(coverage, {"samples": samples, "coverage": np.exp(-2 * samples**-0.3)})
>>> round(found.params["a"], 4), round(found.params["b"], 4)
(-2.0, -0.3)
>>> round(float(best_of_n_kl(16)), 4)
1.8351
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.law import amount, exponent, floor, law, power, real

__all__ = ["best_of_n_kl", "coverage", "reward_best_of_n", "reward_rl", "train_to_test"]


@law(
    columns=("samples",),
    parameters=dict(
        a=real(-0.3, -1, -3, -10, low=-1e4, high=-1e-6), b=real(-0.1, -0.3, -0.7, low=-3, high=-1e-3)
    ),
    target="coverage",
    in_log=False,
)  # fmt: skip
def coverage(p, x):
    """c = exp(a k^b)

    Brown et al. 2024, arXiv:2407.21787. c is the share of problems that at least one
    of k samples solves (pass@k), a and b are negative: ln c falls as a power of k.
    Fitted to c itself, so that a share of 0 may be in the table. -b is also the
    exponent of the tail of hard problems (Schaeffer et al. 2025).
    """
    return jnp.exp(p.a * power(x.samples, p.b))


@law(
    columns=("params", "tokens", "samples"),
    parameters=dict(
        E=floor(), A=amount(), alpha=exponent(0.2, 0.5, 1.0), B=amount(), beta=exponent(0.2, 0.5, 1.0),
        G=amount(), gamma=exponent(0.2, 0.5, 1.0),
    ),
    linear=("E", "A", "B", "G"),
)  # fmt: skip
def train_to_test(p, x):
    """L = E + A / N^alpha + B / D^beta + G / k^gamma

    Roberts et al. 2026, arXiv:2604.01411: L is a loss of the task
    when k samples are drawn for each problem, N the parameters and D the tokens of
    pre-training. With one k it is `chinchilla`.
    """
    return p.E + p.A * power(x.params, -p.alpha) + p.B * power(x.tokens, -p.beta) + p.G * power(x.samples, -p.gamma)


@law(
    columns=("kl",),
    parameters=dict(alpha=real(1.0), beta=real(0.1)),
    target="reward",
    linear=("alpha", "beta"),
    may_be_zero=("kl",),
    in_log=False,
)
def reward_best_of_n(p, x):
    """R = d (alpha - beta d) with d = sqrt(KL)

    Gao et al. 2022, arXiv:2210.10760: the gold reward when the best of n samples by a
    proxy reward model is taken. R is measured from the initial policy, whose R is 0;
    KL, in nats, is the divergence from it (`best_of_n_kl`). R is largest at
    d = alpha / (2 beta). alpha and beta depend on the size of the reward model.
    """
    distance = jnp.sqrt(x.kl)
    return distance * (p.alpha - p.beta * distance)


@law(
    columns=("kl",),
    parameters=dict(alpha=real(1.0), beta=real(0.1)),
    target="reward",
    linear=("alpha", "beta"),
    in_log=False,
)
def reward_rl(p, x):
    """R = d (alpha - beta ln d) with d = sqrt(KL)

    Gao et al. 2022, arXiv:2210.10760: as `reward_best_of_n`, when a policy is trained
    against the proxy by reinforcement learning. KL must be positive: leave the
    initial policy out. R is largest at d = exp(alpha / beta - 1).
    """
    distance = jnp.sqrt(x.kl)
    return distance * (p.alpha - p.beta * jnp.log(distance))


def best_of_n_kl(samples: Any) -> np.ndarray:
    """KL = ln n - (n - 1) / n: nats between the best of n samples and one sample.

    Gao et al. 2022, arXiv:2210.10760 (after Stiennon et al. 2020). Raises ValueError below one sample.
    """
    n = np.asarray(samples, float)
    if not (n >= 1).all():
        raise ValueError(f"best_of_n_kl: {float(np.min(n)):g} samples; n must be at least 1")
    return np.log(n) - (n - 1) / n

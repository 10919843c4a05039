"""Loss against model size, data, steps and compute.

Everywhere L is the loss in nats per token, N parameters, D tokens seen in
training, C training FLOPs. The columns are `loss`, `params`, `tokens`, `flops`,
`steps_min`. Each law says which N its source counts: hand in that count as `params`.

    >>> import numpy as np
    >>> from analysis import fit
    >>> params, tokens = (grid.ravel() for grid in np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11]))
    >>> loss = 1.69 + 406.4 / params**0.34 + 410.7 / tokens**0.28
    >>> found = fit(chinchilla, {"params": params, "tokens": tokens, "loss": loss})
    >>> round(found.params["alpha"], 4), round(found.params["beta"], 4)
    (0.34, 0.28)
"""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.law import amount, exponent, floor, law, power, real

SMALL = exponent(0.05, 0.2, 0.5)  # Kaplan's exponents lie near 0.1; with an offset they are near 0.4


@law(columns=("params",), parameters=dict(N_c=amount(1, 1e2, 1e4, 1e6, of="params"), alpha_N=SMALL))
def kaplan_size(p, x):
    """L = (N_c / N)^alpha_N

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.1: models trained to convergence
    on enough data. N without embeddings. Published: N_c 8.8e13, alpha_N 0.076.
    """
    return power(p.N_c / x.params, p.alpha_N)


@law(columns=("tokens",), parameters=dict(D_c=amount(1, 1e2, 1e4, 1e6, of="tokens"), alpha_D=SMALL))
def kaplan_data(p, x):
    """L = (D_c / D)^alpha_D

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.2: large models stopped early on
    D tokens of data. Published: D_c 5.4e13 tokens, alpha_D 0.095.
    """
    return power(p.D_c / x.tokens, p.alpha_D)


@law(columns=("flops",), parameters=dict(C_c=amount(1, 1e2, 1e4, 1e6, of="flops"), alpha_C=SMALL))
def kaplan_compute(p, x):
    """L = (C_c / C)^alpha_C

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.3: the best loss for a budget.
    C in FLOPs here, in PF-days there (1 PF-day = 8.64e19 FLOPs). C = 6 N D with
    N without embeddings. Published for C_min, the compute at a batch far below
    the critical one (`least_flops`): 3.1e8 PF-days = 2.7e28 FLOPs, alpha_C 0.050;
    for C as spent: 1.6e7 PF-days = 1.4e27 FLOPs, 0.057.
    """
    return power(p.C_c / x.flops, p.alpha_C)


@law(
    columns=("params", "tokens"),
    parameters=dict(
        N_c=amount(1e2, 1e5, of="params"), alpha_N=exponent(0.07, 0.25),
        D_c=amount(1e2, 1e5, of="tokens"), alpha_D=exponent(0.07, 0.25),
    ),
)  # fmt: skip
def kaplan(p, x):
    """L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5: early stopping on D tokens. N
    without embeddings. Published: N_c 6.4e13, alpha_N 0.076, D_c 1.8e13, alpha_D 0.103.
    """
    return power(power(p.N_c / x.params, p.alpha_N / p.alpha_D) + p.D_c / x.tokens, p.alpha_D)


@law(
    columns=("params", "tokens"),
    parameters=dict(
        E=floor(), N_c=amount(0.1, 10, of="params"), alpha_N=exponent(0.2, 0.5),
        D_c=amount(0.1, 10, of="tokens"), alpha_D=exponent(0.2, 0.5),
    ),
    linear=("E",),
)  # fmt: skip
def kaplan_offset(p, x):
    """L = E + ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D

    Brandfonbrener et al. 2024, arXiv:2411.12925, who write A, B, alpha, beta for
    N_c, D_c, alpha_N, alpha_D. N with embeddings and head. Published for
    SmolLM-corpus: E 1.5340, N_c 7.788e7, D_c 1.063e9, alpha_N 0.4181, alpha_D 0.4549.
    """
    return p.E + kaplan.function(p, x)


@law(
    columns=("params", "steps_min"),
    parameters=dict(
        N_c=amount(1, 1e2, 1e4, of="params"), alpha_N=exponent(0.07, 0.3),
        S_c=amount(0.1, 1, 10, of="steps_min"), alpha_S=exponent(0.3, 0.8),
    ),
)  # fmt: skip
def kaplan_steps(p, x):
    """L = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.6: learning curves on unlimited
    data. N without embeddings. S_min is the number of updates that would have
    sufficed at a batch far above the critical one (`least_steps`). Published:
    N_c 6.5e13, alpha_N 0.077, S_c 2.1e3 steps, alpha_S 0.76.
    """
    return power(p.N_c / x.params, p.alpha_N) + power(p.S_c / x.steps_min, p.alpha_S)


@law(
    columns=("loss",),
    parameters=dict(B_star=amount(), alpha_B=exponent(0.1, 0.2, 0.5, low=0.02)),
    target="critical_batch",
    linear=("B_star",),
)
def critical_batch(p, x):
    """B_crit = B_star / L^(1 / alpha_B)

    Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4 (after McCandlish et al. 2018):
    the batch, in tokens, at which a run takes twice its least steps and twice its
    least compute. Published: B_star 2e8 tokens, alpha_B 0.21.
    """
    return p.B_star * power(x.loss, -1 / p.alpha_B)


def least_steps(steps: np.ndarray, batch: np.ndarray, critical: np.ndarray) -> np.ndarray:
    """S_min = S / (1 + B_crit / B): updates that would have sufficed at a very large batch.

    Kaplan et al. 2020, eq. 5.4. batch and critical in the same unit, tokens.
    """
    return steps / (1 + critical / batch)


def least_flops(flops: np.ndarray, batch: np.ndarray, critical: np.ndarray) -> np.ndarray:
    """C_min = C / (1 + B / B_crit): compute that would have sufficed at a very small batch.

    Kaplan et al. 2020, eq. 5.5. batch and critical in the same unit, tokens.
    """
    return flops / (1 + batch / critical)


@law(
    columns=("params", "tokens"),
    parameters=dict(E=floor(), A=amount(), alpha=exponent(), B=amount(), beta=exponent()),
    linear=("E", "A", "B"),
)
def chinchilla(p, x):
    """L = E + A / N^alpha + B / D^beta

    Hoffmann et al. 2022, arXiv:2203.15556, eq. 2 and section D.2. N with embeddings.
    Published with more digits: E 1.6934, A 406.4, B 410.7, alpha 0.3392, beta 0.2849. Their data
    refitted by Besiroglu et al. 2024, arXiv:2404.10102: 1.8172, 482.01, 2085.43, 0.3478, 0.3658.
    """
    return p.E + p.A * power(x.params, -p.alpha) + p.B * power(x.tokens, -p.beta)


@law(
    columns=("params", "tokens"),
    parameters=dict(
        E=floor(), A=amount(), alpha=exponent(0.1, 0.25, 0.5, 0.8), B=amount(), beta=exponent(0.1, 0.25, 0.5, 0.8),
        k=exponent(1.0, low=0.05, high=5.0),
    ),
    linear=("E", "A", "B"),
)  # fmt: skip
def kernel(p, x):
    """L = E + (A / N^alpha + B / D^beta)^k

    The "Skaling" kernel of 2026; k = 1 is `chinchilla`, where the search begins.
    N with embeddings. Published: k from 0.31 to 0.77 on three public sets. An
    L-shaped design (one size on much data, one data set for many sizes) cannot
    tell k from A and B: it needs runs at several D / N for several sizes.
    """
    return p.E + power(p.A * power(x.params, -p.alpha) + p.B * power(x.tokens, -p.beta), p.k)


@law(
    columns=("params", "tokens"),
    parameters=dict(
        E=floor(), e=real(-0.05), gamma=real(-0.2, 0.2, low=-2, high=2),
        B=amount(), b=real(-0.3, 0.3), beta=real(0.0, low=-2, high=2),
        S=amount(0.2, 0.4), s=real(-0.05, 0.05), alpha=real(0.0, low=-2, high=2),
        N_0=amount(1, of="params"),
    ),
    linear=("E", "B"),
)  # fmt: skip
def farseer(p, x):
    """L = E exp(e h_gamma) + B exp(b h_beta) D^(-S exp(s h_alpha)), h_g = ((N / N_0)^g - 1) / g

    "Farseer", Li et al. 2025, arXiv:2506.10972: floor, coefficient and exponent of the
    data term all vary with N. It is their exp(a3 N^gamma + b3) + exp(a2 N^beta + b2)
    D^(-exp(a1 N^alpha + b1)), written so that a search can find it: E, B and S are
    the values at N_0 parameters, and e, b, s the slopes of their logarithms in ln N there.
    `farseer_as_published` turns them into a1 ... b3. N_0 is held at 1e9: where your models
    are far smaller, hold it among them, `farseer.fix(N_0=1e6)`. N without embeddings.
    Nine parameters: it needs many sizes, each at many D.
    """
    size = jnp.log(x.params / p.N_0)
    slope = p.S * jnp.exp(p.s * _bent(size, p.alpha))
    coefficient = p.B * jnp.exp(p.b * _bent(size, p.beta))
    return p.E * jnp.exp(p.e * _bent(size, p.gamma)) + coefficient * power(x.tokens, -slope)


farseer = farseer.fix(N_0=1e9)


def _bent(size: Any, exponent: Any) -> Any:
    """(exp(exponent * size) - 1) / exponent, which is `size` where the exponent is zero."""
    grown = exponent * size
    near = jnp.abs(grown) < 1e-3  # there four terms of the series are exact to 1e-14
    far = jnp.where(near, 1.0, grown)
    series = 1 + grown / 2 * (1 + grown / 3 * (1 + grown / 4))
    return size * jnp.where(near, series, jnp.expm1(far) / far)


def farseer_as_published(values: Mapping[str, float]) -> dict[str, float]:
    """a1, b1, alpha, a2, b2, beta, a3, b3, gamma of the paper from the parameters of `farseer`.

    ValueError for an exponent of zero: the paper's form reaches that limit only with infinite a and b.
    """
    found = {}
    for i, (top, slope, power_of_size) in enumerate((("S", "s", "alpha"), ("B", "b", "beta"), ("E", "e", "gamma")), 1):
        bend = values[power_of_size]
        if bend == 0:
            raise ValueError(
                f"farseer_as_published: {power_of_size} is 0, a power of N that the paper's form does not have"
            )
        found[f"a{i}"] = values[slope] / bend * values["N_0"] ** -bend
        found[f"b{i}"] = math.log(values[top]) - values[slope] / bend
        found[power_of_size] = bend
    return found


@law(
    columns=("params", "tokens"),
    parameters=dict(E=floor(), a=amount(), b=amount(), eta=exponent(0.02, 0.05, 0.1, 0.2, 0.4)),
    linear=("E", "a", "b"),
)
def overtraining(p, x):
    """L = E + (a M^eta + b M^-eta) C^-eta with M = D / N and C = 6 N D

    Gadre et al. 2024, arXiv:2403.08540. N with embeddings; M is tokens per
    parameter, not the multiple of 20. It is `chinchilla` with alpha = beta = 2 eta.
    Published (E, a, b, eta): C4 1.51, 141, 190, 0.121; RedPajama 1.84, 212, 367,
    0.136; RefinedWeb 1.73, 157, 246, 0.127, by least squares on the loss itself:
    for that, `dataclasses.replace(overtraining, in_log=False)`.
    """
    ratio, flops = x.tokens / x.params, 6 * x.params * x.tokens
    return p.E + (p.a * power(ratio, p.eta) + p.b * power(ratio, -p.eta)) * power(flops, -p.eta)


def overtraining_as_chinchilla(values: Mapping[str, float]) -> dict[str, float]:
    """The parameters of `chinchilla` that say the same as these of `overtraining`.

    A = a 6^-eta, B = b 6^-eta, alpha = beta = 2 eta.
    """
    shrink, both = 6 ** -values["eta"], 2 * values["eta"]
    return dict(E=values["E"], A=values["a"] * shrink, alpha=both, B=values["b"] * shrink, beta=both)

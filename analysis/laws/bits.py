"""Training and serving with few bits.

>>> from analysis.laws.pretraining import chinchilla
>>> precision(("weight",)).columns
('params', 'tokens', 'weight_bits')
>>> precision(("weight",)).names
('E', 'A', 'alpha', 'B', 'beta', 'gamma_weight')
>>> precision().columns
('params', 'tokens', 'weight_bits', 'activation_bits', 'kv_bits')
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jax.numpy as jnp

from analysis.law import Law, amount, exponent, law, power
from analysis.laws.pretraining import chinchilla

__all__ = ["effective_params", "post_training", "precision"]

PARTS = ("weight", "activation", "kv")


def precision(parts: tuple[str, ...] = PARTS, base: Law = chinchilla) -> Law:
    """`base` with N replaced by what the parameters are worth when some parts have few bits.

    N' = N product_i (1 - exp(-P_i / gamma_i))

    Kumar et al. 2024, arXiv:2411.04330. P_i are the bits of weights, activations and
    the key-value cache while training, in the columns weight_bits, activation_bits and
    kv_bits; name only the parts that vary, since the others are identified by nothing.
    base: any law of `params`; theirs is `chinchilla`, with N as that law counts it.
    """
    if not parts or len(set(parts)) < len(parts):
        raise ValueError(f"precision(parts={parts}): name each part once, and at least one, such as ('weight',)")
    if "params" not in base.columns:
        raise ValueError(f"precision(base={base.name}): it has no column params; it has {', '.join(base.columns)}")
    return _precision(tuple(parts), base)


@lru_cache
def _precision(parts: tuple[str, ...], base: Law) -> Law:
    scale = amount(1.0, 3.0, low=0.05, high=50) if len(parts) == 1 else amount(2.0, low=0.05, high=50)
    factors = " ".join(f"(1 - exp(-P_{part} / gamma_{part}))" for part in parts)
    return replace(
        base,
        name=f"precision of {base.name}",
        doc=f"{base.formula} at N' = N {factors}\n\nKumar et al. 2024, arXiv:2411.04330. The base law:\n{base.doc}",
        function=_function(base.function, parts),
        columns=(*base.columns, *(f"{part}_bits" for part in parts)),
        parameters=MappingProxyType({**base.parameters, **{f"gamma_{part}": scale for part in parts}}),
    )


@lru_cache  # by function: laws that differ in bounds or held values share what is compiled
def _function(base: Callable[[Any, Any], Any], parts: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    def at_precision(p: SimpleNamespace, x: SimpleNamespace) -> Any:
        worth = x.params
        for part in parts:
            worth = effective_params(worth, getattr(x, f"{part}_bits"), getattr(p, f"gamma_{part}"))
        return base(p, SimpleNamespace(**{**vars(x), "params": worth}))

    return at_precision


def effective_params(params: Any, bits: Any, gamma: Any) -> Any:
    """N (1 - exp(-P / gamma)): what N parameters are worth when one part has P bits."""
    return -params * jnp.expm1(-bits / gamma)


@law(
    columns=("params", "tokens", "bits"),
    parameters=dict(
        C_T=amount(), gamma_D=exponent(0.2, 0.6), gamma_N=exponent(0.2, 0.6),
        gamma_post=amount(0.3, 1, 3, low=0.02, high=50),
    ),
    target="degradation",
    linear=("C_T",),
)  # fmt: skip
def post_training(p, x):
    """delta = C_T D^gamma_D / N^gamma_N exp(-P / gamma_post)

    Kumar et al. 2024, arXiv:2411.04330. delta, the column `degradation`, is the loss
    after the weights of a trained model are rounded to P `bits`, less the loss before:
    it grows with the tokens D seen in training. N as in `chinchilla`. delta must be
    positive: leave out bits at which nothing is lost.
    """
    return p.C_T * power(x.tokens, p.gamma_D) * power(x.params, -p.gamma_N) * jnp.exp(-x.bits / p.gamma_post)

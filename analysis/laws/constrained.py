"""Data seen more than once: what repeated tokens, and parameters beyond what the data can fill, are worth.

Muennighoff et al. 2023, arXiv:2305.16264. The column `tokens` counts tokens seen,
`tokens_unique` the different ones among them.

    >>> from analysis.laws.pretraining import chinchilla
    >>> data_constrained(chinchilla).columns
    ('params', 'tokens', 'tokens_unique')
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jax.numpy as jnp

from analysis.law import Law, amount

SUMMANDS = ("A", "alpha", "B", "beta")  # from these follows which N suits which D


@lru_cache
def data_constrained(base: Law, excess_params: bool = False) -> Law:
    """Any law of `tokens`, with tokens replaced by what they are worth.

    D' = U + U R_D (1 - exp(-(D / U - 1) / R_D))

    U is tokens_unique, D / U the epochs, R_D how many repetitions bring a token's
    worth down by 1 - 1/e. With excess_params the same is done to N: U_N is the
    optimal N for U tokens under the base law, which must have A, alpha, B and beta
    as `chinchilla` does, and R_N the decay. Published: R_D 15.39, R_N 5.31, on the
    base A exp(6.2554), B exp(7.3050), alpha = beta = 0.35266, E exp(0.62548). There the
    base was fitted first, to runs of one epoch, and held: `data_constrained(chinchilla.fix(...))`.
    """
    missing = [name for name in (("params", "tokens") if excess_params else ("tokens",)) if name not in base.columns]
    if missing:
        raise ValueError(
            f"data_constrained({base.name}): it has no column {missing[0]}; it has {', '.join(base.columns)}"
        )
    lacking = [name for name in SUMMANDS if name not in base.parameters]
    if excess_params and lacking:
        raise ValueError(
            f"data_constrained({base.name}, excess_params=True): it has no parameter {lacking[0]}, so the N that "
            "suits a number of tokens is not known; take chinchilla or kernel, or excess_params=False"
        )
    added = {"R_D": amount(3, 15)} | ({"R_N": amount(5)} if excess_params else {})
    return replace(
        base,
        name=f"data-constrained {base.name}",
        doc=f"{_formula(base, excess_params)}\n\nMuennighoff et al. 2023, arXiv:2305.16264. The base law:\n{base.doc}",
        function=_function(base.function, excess_params),
        columns=(*base.columns, "tokens_unique"),
        parameters=MappingProxyType({**base.parameters, **added}),
    )


def _formula(base: Law, excess_params: bool) -> str:
    changed = " and N' = U_N + U_N R_N (1 - exp(-(N / U_N - 1) / R_N))" if excess_params else ""
    primed = "N', D'" if excess_params else "D'"
    return f"{base.formula} at {primed}, D' = U + U R_D (1 - exp(-(D / U - 1) / R_D)){changed}"


@lru_cache  # by function: laws that differ in bounds or held values share what is compiled
def _function(base: Callable[[Any, Any], Any], excess_params: bool) -> Callable[[Any, Any], Any]:
    def constrained(p: SimpleNamespace, x: SimpleNamespace) -> Any:
        unique = jnp.minimum(x.tokens_unique, x.tokens)
        worth = {"tokens": effective(x.tokens, unique, p.R_D)}
        if excess_params:
            worth["params"] = effective(x.params, _suited(p, x.params, unique), p.R_N)
        return base(p, SimpleNamespace(**{**vars(x), **worth}))

    return constrained


def effective(seen: Any, unique: Any, decay: Any) -> Any:
    """What `seen` is worth when only `unique` of it is new: between unique and (1 + decay) unique."""
    return unique * (1 - decay * jnp.expm1(-(seen / unique - 1) / decay))


def _suited(p: SimpleNamespace, params: Any, unique: Any) -> Any:
    """The optimal N for so many tokens, where alpha A / N^alpha = beta B / D^beta; at most `params`.

    In logarithms, because alpha may be small. The search for starts asks with A
    or B = 0: then no parameter is in excess.
    """
    usable = (p.A > 0) & (p.B > 0)
    share = jnp.log(jnp.where(usable, p.alpha * p.A, 1.0) / jnp.where(usable, p.beta * p.B, 1.0))
    suited = jnp.where(usable, (share + p.beta * jnp.log(unique)) / p.alpha, jnp.log(params))
    return jnp.exp(jnp.minimum(jnp.log(params), suited))

"""The best learning rate and batch, as power laws of size, data or compute.

The target is an optimum that was found for each cell by a sweep: one row a cell.
Batches are in tokens.

    >>> deepseek_lr.formula
    'lr = c flops^p_flops'
"""

from dataclasses import replace
from functools import lru_cache

from analysis.law import Law, amount, law, power, real


@lru_cache
def product_law(target: str, columns: tuple[str, ...]) -> Law:
    """target = c times a power of each column. The exponent of column `tokens` is the parameter `p_tokens`.

    ValueError without columns.
    """
    if not columns:
        raise ValueError(f"product_law({target!r}, ()): name at least one column")
    exponents = {f"p_{column}": real(0.0, low=-10, high=10) for column in columns}

    @law(columns=columns, target=target, parameters=dict(c=amount(), **exponents), linear=("c",))
    def product_law(p, x):
        """y = c x1^p1 x2^p2 ...

        A plane in logarithms; the exponents have either sign.
        """
        value = p.c
        for column in columns:
            value = value * power(getattr(x, column), getattr(p, f"p_{column}"))
        return value

    formula = f"{target} = c " + " ".join(f"{column}^p_{column}" for column in columns)
    return replace(product_law, doc=f"{formula}\n\nA plane in logarithms; the exponents have either sign.\n")


def _of(base: Law, name: str, source: str) -> Law:
    return replace(base, name=name, doc=f"{base.formula}\n\n{source}\n")


step_law_lr = _of(
    product_law("lr", ("params", "tokens")),
    "Step Law learning rate",
    "Step Law, Li et al. 2025, arXiv:2503.04715: peak learning rate of AdamW. N without embeddings.\n"
    "Published: c 1.79, p_params -0.713, p_tokens 0.307.",
)
step_law_batch = _of(
    product_law("batch", ("tokens",)),
    "Step Law batch",
    "Step Law, Li et al. 2025, arXiv:2503.04715: batch in tokens. Published: c 0.58, p_tokens 0.571.",
)
deepseek_lr = _of(
    product_law("lr", ("flops",)),
    "DeepSeek learning rate",
    "DeepSeek LLM 2024, arXiv:2401.02954: peak learning rate. C = M D with M = 72 layers dim^2 + 12 layers dim\n"
    "context, the FLOPs of a token without embeddings. Published: c 0.3118, p_flops -0.125.",
)
deepseek_batch = _of(
    product_law("batch", ("flops",)),
    "DeepSeek batch",
    "DeepSeek LLM 2024, arXiv:2401.02954: batch in tokens. C = M D as in deepseek_lr.\n"
    "Published: c 0.2920, p_flops 0.3271.",
)

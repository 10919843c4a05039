"""What a model has from elsewhere: pre-training on other data, fine-tuning, a teacher.

>>> finetuning().columns, finetuning("tokens").columns
(('params', 'finetune_tokens'), ('tokens', 'finetune_tokens'))
>>> finetuning() is finetuning("params")
True
"""

from dataclasses import replace
from functools import lru_cache

import jax.numpy as jnp

from analysis.law import Law, amount, exponent, floor, law, power, real

__all__ = ["distillation", "finetuning", "transferred_data"]

EITHER_SIGN = exponent(0.3, low=-3.0, high=3.0)  # one start is enough: in logarithms the law is linear


@law(
    columns=("finetune_tokens", "params"),
    parameters=dict(k=amount(), alpha=EITHER_SIGN, beta=EITHER_SIGN),
    target="transferred_tokens",
    linear=("k",),
)
def transferred_data(p, x):
    """D_T = k D_F^alpha N^beta

    Hernandez et al. 2021, arXiv:2102.01293. D_T, effective data transferred: how much
    more fine-tuning data a model trained from scratch would need for the same loss.
    D_F is the fine-tuning data, in the same unit as D_T (characters there; k depends on
    it), N the parameters without embeddings. Only where data is short: D_F far below
    what N could use. Published for text to Python: k 1.9e4, alpha 0.18, beta 0.38.
    """
    return p.k * power(x.finetune_tokens, p.alpha) * power(x.params, p.beta)


def finetuning(column: str = "params") -> Law:
    """Loss after fine-tuning, against the amount of fine-tuning data and one other column.

    column: params, tokens (of pre-training), lora_rank, prompt_length, or any other.
    Zhang et al. 2024 find the exponent of params above that of tokens, and those of
    LoRA's rank and of the prompt's length near 0.
    """
    return _finetuning(column)


@lru_cache
def _finetuning(column: str) -> Law:
    @law(
        columns=(column, "finetune_tokens"),
        # A rank may help nothing or do harm: an exponent at a bound of 0 would have no standard error.
        parameters=dict(
            E=floor(), A=amount(), alpha=exponent(0.03, 0.1, 0.3, 0.8, low=-1.0),
            beta=exponent(0.03, 0.1, 0.3, 0.8),
        ),
        linear=("E", "A"),
    )  # fmt: skip
    def finetuning(p, x):
        """L = A / (X^alpha D_f^beta) + E

        Zhang et al. 2024, arXiv:2402.17193. D_f is the fine-tuning data, in tokens
        here, L the loss on the task. The two gains multiply. E and alpha belong to
        the task and the way of tuning.
        """
        return p.A * power(getattr(x, column), -p.alpha) * power(x.finetune_tokens, -p.beta) + p.E

    return replace(finetuning, doc=finetuning.doc.replace("X^alpha", f"{column}^alpha"))


@law(
    columns=("params", "tokens", "teacher_loss", "supervised_loss"),
    parameters=dict(
        A=amount(), alpha=exponent(0.3, 0.6), B=amount(), beta=exponent(0.3, 0.6),
        gamma=exponent(1.0, low=0.05, high=5.0), c0=real(1.0, low=-20, high=20), c1=amount(1, 10, high=1e6),
        d1=amount(1.0, low=0.05, high=20), f1=amount(0.05, 0.3, low=1e-3, high=10),
    ),
    linear=("A", "B"),
    # Losses span too little for the test whether one column follows the others by a power law.
    may_be_zero=("teacher_loss", "supervised_loss"),
)  # fmt: skip
def distillation(p, x):
    """L_S = L_T + L_T^-c0 (1 + (L_T / (L_1 d1))^(1 / f1))^(-c1 f1) (A / N^alpha + B / D^beta)^gamma

    Busbridge et al. 2025, arXiv:2502.08606. L_S is the student's loss, N its
    parameters, D the tokens it is distilled on; L_T, `teacher_loss`, the teacher's
    loss; L_1, `supervised_loss`, what the same student would reach on D tokens
    without a teacher: fit a law to such runs first, `kernel` as in the paper, and
    predict that column with it. A search begins at gamma = 1.
    """
    # ln(1 + e^z) without overflow: f1 is small, and z is divided by it.
    bend = jnp.logaddexp(0.0, jnp.log(x.teacher_loss / (x.supervised_loss * p.d1)) / p.f1)
    gap = power(x.teacher_loss, -p.c0) * jnp.exp(-p.c1 * p.f1 * bend)
    return x.teacher_loss + gap * power(p.A * power(x.params, -p.alpha) + p.B * power(x.tokens, -p.beta), p.gamma)

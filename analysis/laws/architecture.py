"""What a model is made of: experts, sparse weights, a vocabulary, an encoder and a decoder.

>>> import numpy as np
>>> halved = compression([1e3, 4e3, 16e3, 64e3], [0.5, 0.4, 0.32, 0.27])
>>> float(np.round(halved(8e3), 3))
0.357
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis.law import amount, exponent, floor, law, power, real

__all__ = ["Compression", "compression", "encoder_decoder", "granular_moe", "routing", "sparsity", "vocabulary"]

FEW = exponent(0.1, 0.3, 0.7)  # where a law has three exponents
LN10 = float(np.log(10))


@law(
    columns=("params", "experts"),
    parameters=dict(
        a=real(-0.1), b=real(-0.1), c=real(0.0), d=real(1.0),
        E_start=amount(1.5, 4, low=1, high=15), E_max=amount(30, 300, 3000, low=16, high=1e6),
    ),
)  # fmt: skip
def routing(p, x):
    """log L = a log N + b log E' + c log N log E' + d, 1/E' = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max

    Clark et al. 2022, arXiv:2202.01169; logarithms to base 10. N counts the
    parameters that one token meets (those of the dense model), E the experts of a
    routed layer, 1 for a dense model. E' grows with E from E_start to E_max: the
    first few experts help less, and very many help no more. All runs see the same
    tokens. The size beyond which experts do not help is 10^(-b / c). E_start is
    kept below 15 and E_max above 16.
    """
    shift = 1 / (1 / p.E_start - 1 / p.E_max)
    experts = -jnp.log10(1 / (x.experts - 1 + shift) + 1 / p.E_max)
    size = jnp.log10(x.params)
    return jnp.exp(LN10 * (p.a * size + p.b * experts + p.c * size * experts + p.d))


@law(
    columns=("params", "tokens", "granularity"),
    parameters=dict(
        c=floor(), g=amount(), gamma=exponent(0.3, 0.6, 1.2), a=amount(), alpha=FEW, b=amount(), beta=FEW
    ),
    linear=("c", "g", "a", "b"),
)  # fmt: skip
def granular_moe(p, x):
    """L = c + (g / G^gamma + a) / N^alpha + b / D^beta

    Krajewski et al. 2024, arXiv:2402.07871, for one expansion rate (64 there): how
    many times the parameters exceed those that a token meets. N counts all experts.
    G, the granularity, is the number of times that an expert is smaller than the
    dense layer it replaces. Published, with Huber's loss and delta 0.1: c 0.47, g 2.1,
    gamma 0.58, a 18.1, alpha 0.115, b 30.8, beta 0.147.
    """
    return (
        p.c + (p.g * power(x.granularity, -p.gamma) + p.a) * power(x.params, -p.alpha) + p.b * power(x.tokens, -p.beta)
    )


@law(
    columns=("params_nonzero", "tokens", "sparsity"),
    parameters=dict(
        c=floor(), a_S=amount(), b_S=exponent(0.5, 1.0, 2.0, low=1e-2, high=20.0), c_S=amount(), b_N=FEW,
        B=amount(), b_D=FEW,
    ),
    linear=("c", "a_S", "c_S", "B"),
    may_be_zero=("sparsity",),
)  # fmt: skip
def sparsity(p, x):
    """L = (a_S (1 - S)^b_S + c_S) / N^b_N + B / D^b_D + c

    Frantar et al. 2023, arXiv:2309.08520. S is the share of weights that are zero,
    from 0 to below 1, N the number of those that are not zero, D the training data.
    They write (a_D / D)^b_D: a_D = B^(1 / b_D). At S = 0 it is `chinchilla` with
    A = a_S + c_S. a_S and c_S are only told apart by runs of high sparsity.
    """
    dense = power(1 - x.sparsity, p.b_S)
    return (p.a_S * dense + p.c_S) * power(x.params_nonzero, -p.b_N) + p.B * power(x.tokens, -p.b_D) + p.c


@law(
    columns=("params_body", "params_vocab", "tokens"),
    parameters=dict(E=amount(), A1=amount(), alpha1=FEW, A2=amount(), alpha2=FEW, B=amount(), beta=FEW),
    target="unigram_loss",
    linear=("E", "A1", "A2", "B"),
    in_log=False,
)
def vocabulary(p, x):
    """L_u = -E + A1 / N_nv^alpha1 + A2 / N_v^alpha2 + B / D^beta

    Tao et al. 2024, arXiv:2407.13623. L_u is the loss less that of a unigram model
    with the same tokenizer, in nats per token: below 0, and comparable between
    vocabularies. N_nv counts parameters outside the vocabulary, N_v = vocabulary size
    times width. D is in tokens, but runs are compared at equal text: D is H characters
    times the tokens that a character gives under that vocabulary (`compression`).
    They hold alpha1 = beta, and find N_v growing as N_nv^0.83.
    """
    model = p.A1 * power(x.params_body, -p.alpha1) + p.A2 * power(x.params_vocab, -p.alpha2)
    return model + p.B * power(x.tokens, -p.beta) - p.E


@dataclass(frozen=True, kw_only=True)
class Compression:
    """Tokens that a character of text gives, a ln^2 V + b ln V + c, for a vocabulary of V.

    Tao et al. 2024, arXiv:2407.13623; their released code has a 0.00639222,
    b -0.15811069, c 1.20470122 for SlimPajama and byte-pair encoding.
    """

    a: float
    b: float
    c: float

    def __call__(self, vocab: Any) -> np.ndarray:
        """The ratio for each vocabulary size. Beyond the lowest point of the parabola it stays there."""
        log = np.log(np.asarray(vocab, float))
        if self.a > 0:
            log = np.minimum(log, -self.b / (2 * self.a))
        return self.a * log**2 + self.b * log + self.c


def compression(vocab: Any, tokens_per_character: Any) -> Compression:
    """Fit the parabola by least squares; ValueError with fewer than three vocabulary sizes."""
    sizes, ratio = np.asarray(vocab, float), np.asarray(tokens_per_character, float)
    if sizes.shape != ratio.shape or len(np.unique(sizes)) < 3:
        raise ValueError(
            f"compression: {sizes.shape} vocabulary sizes, {len(np.unique(sizes))} of them different, and "
            f"{ratio.shape} ratios; give one ratio for each of at least 3 sizes"
        )
    a, b, c = np.polyfit(np.log(sizes), ratio, 2).tolist()
    return Compression(a=a, b=b, c=c)


@law(
    columns=("params_encoder", "params_decoder"),
    parameters=dict(E=floor(), A=amount(), p_e=exponent(), p_d=exponent()),
    linear=("E", "A"),
)
def encoder_decoder(p, x):
    """L = A / (N_e^p_e N_d^p_d) + E

    Ghorbani et al. 2021, arXiv:2109.07740, for translation on plenty of data. N_e and
    N_d are the parameters of encoder and decoder without embeddings. They write
    alpha (N_e0 / N_e)^p_e (N_d0 / N_d)^p_d for a base model (N_e0, N_d0):
    A = alpha N_e0^p_e N_d0^p_d. The best split of a budget gives the encoder the share
    p_e / (p_e + p_d) of the parameters.
    """
    return p.A * power(x.params_encoder, -p.p_e) * power(x.params_decoder, -p.p_d) + p.E

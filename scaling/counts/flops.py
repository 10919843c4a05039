"""FLOPs of training, a token of text, by named conventions.

A multiply-add is 2 FLOPs, and a backward pass costs twice its forward pass:
each matrix product Y = XW is followed by two of the same size, one for the
gradient of X and one for that of W. What is counted is what is computed: an
objective may read the tokens of its text twice, or predict only some of them.
"""

from dataclasses import dataclass, fields
from functools import cache

from scaling.config import ModelConfig, ObjectiveConfig, lengths
from scaling.config.fields import strict
from scaling.counts.parameters import NEXT_TOKEN
from scaling.counts.sides import Causal
from scaling.counts.work import work

TRAIN_PASSES = 3  # one forward, and a backward worth two


@strict
@dataclass(frozen=True, kw_only=True)
class Flops:
    """Training FLOPs (forward and backward) under each convention; a multiply-add is 2."""

    kaplan: float
    chinchilla: float
    deepseek: float
    exact: float


def forward_flops_per_token(
    model: ModelConfig, objective: ObjectiveConfig = NEXT_TOKEN, *, causal: Causal = "full"
) -> float:
    """FLOPs of the products of one forward pass, a token of text: the mean over a sequence.

    The embedding look-up is no product; norms, softmax and activations are not
    counted. causal: "full" counts the whole square of attention scores, which
    the plain implementation computes; "half" counts only the tokens seen, of a
    plain decoder the triangle with its diagonal, (context + 1) / 2 a token.
    """
    done = work(model, objective, causal)
    return (done.products + done.scores + done.logits) / lengths(model, objective).text


@cache
def flops_per_token(model: ModelConfig, objective: ObjectiveConfig = NEXT_TOKEN, *, causal: Causal = "full") -> Flops:
    """Training FLOPs a token of text under each convention; `causal` bears on `exact` only.

    kaplan      6 N, N without embeddings and head (arXiv:2001.08361, section
                2.1), of experts those that a token visits. Each part of the
                body counts as often as it is applied a token of text: an
                encoder for each source position, a decoder for each of its own
    chinchilla  the terms of arXiv:2203.15556, appendix F: embedding as a product,
                projections, whole score square, softmax, MLP, logits; times 3
    deepseek    M = 72 L d^2 + 12 L d T (arXiv:2401.02954, equation 2) of each
                stack and position; cross-attention adds 24 L d^2 + 12 L d S.
                It knows no other shape of MLP, and no experts
    exact       the matrix products of this very architecture, times 3

    Chinchilla's terms are taken of the matrices that exist: with grouped keys
    or SwiGLU they differ from the paper's, which has neither. The paper's own
    ratios to 6 N D (table A4) come out only without embedding and logits.

    Recurrent layers have no terms in DeepSeek's formula: there it is exact
    without the head. Of word vectors, which have no body, all four are exact;
    n-grams compute no products: 0.
    """
    text, whole = lengths(model, objective).text, work(model, objective, "full")
    full = whole.products + whole.scores + whole.logits
    return Flops(
        kaplan=TRAIN_PASSES * whole.applied / text,
        chinchilla=TRAIN_PASSES * (full + whole.softmax + whole.embedding) / text,
        deepseek=TRAIN_PASSES * whole.regular / text,
        exact=TRAIN_PASSES * forward_flops_per_token(model, objective, causal=causal),
    )


def train_flops(
    model: ModelConfig, tokens: int, objective: ObjectiveConfig = NEXT_TOKEN, *, causal: Causal = "full"
) -> Flops:
    """Training FLOPs of `tokens` tokens of text in whole sequences, under each convention of `flops_per_token`."""
    if tokens < 0:
        raise ValueError(f"train_flops: tokens={tokens} is negative; give the number of tokens trained on")
    each = flops_per_token(model, objective, causal=causal)
    return Flops(**{f.name: getattr(each, f.name) * tokens for f in fields(Flops)})

"""How many numbers a model learns, by part."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from scaling.config import (
    ModelConfig,
    NextToken,
    NgramConfig,
    ObjectiveConfig,
    RecurrentConfig,
    ReplacedTokens,
    TransformerConfig,
    Word2VecConfig,
)
from scaling.config.fields import strict
from scaling.config.generator import generator
from scaling.counts import recurrent, weights

NEXT_TOKEN = NextToken()


@strict
@dataclass(frozen=True, kw_only=True)
class Params:
    """Parameters of a model, counted by part."""

    total: int  # everything trained
    body: int  # without embedding, positions and an untied head
    embedding: int  # token, position and token type embeddings
    head: int  # the unembedding: its matrix's size, whether or not it is shared with the embedding, and its bias
    active: int  # used for one token; equals total in a dense model


class Count(NamedTuple):
    """Parameters of one part of the body."""

    total: int
    active: int  # used for one token: all, but for the experts that it does not visit

    @classmethod
    def sum(cls, counts: Iterable["Count"]) -> "Count":
        counts = list(counts)
        return cls(sum(count.total for count in counts), sum(count.active for count in counts))


class Bodies(NamedTuple):
    """The body's parts, by what each is applied to. Layers that are lent to an encoder stand in both stacks."""

    encoder: Count  # to each position that the encoder reads
    decoder: Count  # to each position of the decoder
    predicted: Count  # to each token to predict
    sentence: Count  # to each sequence


@cache
def params(model: ModelConfig, objective: ObjectiveConfig = NEXT_TOKEN) -> Params:
    """Every trained number: matrices, biases, norms, embeddings, learned positions and heads.

    The objective matters where it brings parameters of its own: ELECTRA's
    generator and detection head. n-grams are counted, not trained, and how
    many a model holds depends on its text: 0 is given.
    """
    if isinstance(model, NgramConfig):
        return Params(total=0, body=0, embedding=0, head=0, active=0)
    table = model.vocab * model.dim
    if isinstance(model, Word2VecConfig):  # a vector a token as centre, and one as neighbour
        return Params(total=2 * table, body=0, embedding=table, head=table, active=2 * table)
    if isinstance(model, RecurrentConfig):
        body = recurrent.body(model).total
        total = body + table + (0 if model.tied else table)
        return Params(total=total, body=body, embedding=table, head=table, active=total)
    own = _transformer(model)
    return _with_generator(own, model, objective) if isinstance(objective, ReplacedTokens) else own


def bodies(model: TransformerConfig) -> Bodies:
    """The body of a transformer: everything but embeddings and the unembedding."""
    read, written = model.depth_of_encoder, model.depth_of_decoder
    dense = model.dim**2 + model.dim * model.biases + norm(model)
    pooled = model.dim**2 + model.dim + 2 * model.dim + 2
    nothing = Count(0, 0)
    return Bodies(
        encoder=_stack(model, read, cross=False) if read else nothing,
        decoder=_stack(model, written, cross=model.architecture == "encoder_decoder") if written else nothing,
        predicted=Count(dense, dense) if model.head_transform else nothing,
        sentence=Count(pooled, pooled) if model.sentence_head else nothing,
    )


def detection(model: TransformerConfig) -> int:
    """ELECTRA's judge of every position: a linear map and one logit, each with its bias."""
    return model.dim**2 + model.dim + model.dim + 1


def norm(model: TransformerConfig) -> int:
    return model.dim * (2 if model.norm == "layernorm" and model.biases else 1)


def _transformer(model: TransformerConfig) -> Params:
    body = Count.sum(bodies(model))
    if model.shared_layers:
        lent = Count.sum(_layer(model, layer, cross=False) for layer in range(model.layers))
        body = Count(body.total - lent.total, body.active - lent.active)
    table = model.vocab * model.dim
    stacks = bool(model.depth_of_encoder) + bool(model.depth_of_decoder)
    positions = stacks * model.context * model.dim if model.positions == "learned" else 0
    embedding = table + positions + model.token_types * model.dim
    bias = model.vocab if model.head_bias else 0
    total = body.total + embedding + (0 if model.tied else table) + bias
    return Params(
        total=total,
        body=body.total,
        embedding=embedding,
        head=table + bias,
        active=total - body.total + body.active,
    )


def _with_generator(own: Params, model: TransformerConfig, objective: ReplacedTokens) -> Params:
    """The generator's own tables count as embeddings, and so does its projection of the model's."""
    small = generator(model, objective)
    its, lent = _transformer(small), small.vocab * small.dim
    projection, judge = model.dim * small.dim, detection(model)
    return Params(
        total=own.total + its.total - lent + projection + judge,
        body=own.body + its.body + judge,
        embedding=own.embedding + its.embedding - lent + projection,
        head=own.head + its.head - lent,
        active=own.active + its.active - lent + projection + judge,
    )


def _stack(model: TransformerConfig, depth: int, *, cross: bool) -> Count:
    """Layers and what stands before and after them."""
    ends = norm(model) * ((model.norm_place != "post") + model.embedding_norm)
    ends += model.position_buckets * model.heads if model.positions == "t5" else 0
    return Count.sum([Count(ends, ends), *(_layer(model, layer, cross=cross) for layer in range(depth))])


def _layer(model: TransformerConfig, layer: int, *, cross: bool) -> Count:
    """Attention, in a decoder with a source cross-attention, and an MLP or experts, each with its norms."""
    norms = norm(model) * (2 if model.norm_place == "sandwich" else 1)
    attention = weights.attention(model) + _attention_vectors(model) + norms
    around = attention * (2 if cross else 1) + norms + _mlp_biases(model, layer)
    return Count(around + weights.mlp(model, layer), around + weights.mlp(model, layer, active=True))


def _attention_vectors(model: TransformerConfig) -> int:
    """Biases of the projections, norms of queries and keys."""
    projected = (model.heads + 2 * model.key_heads) * model.head_dim
    biases = projected * (model.biases or model.qkv_biases) + model.dim * model.biases
    return biases + (2 * model.head_dim if model.qk_norm else 0)


def _mlp_biases(model: TransformerConfig, layer: int) -> int:
    """Of an MLP, or of the shared expert: routed experts have none."""
    if not model.biases:
        return 0
    width = model.hidden_dim
    if model.has_experts(layer):
        if not model.moe.shared:
            return 0
        width = model.moe.shared * model.expert_dim
    return (2 if model.gated else 1) * width + model.dim

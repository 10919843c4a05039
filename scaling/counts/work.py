"""The forward work on one sequence, by kind; `flops` makes conventions of it."""

from typing import NamedTuple

from scaling.config import (
    Lengths,
    Masked,
    ModelConfig,
    NgramConfig,
    ObjectiveConfig,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    TransformerConfig,
    Word2VecConfig,
    lengths,
)
from scaling.config.generator import generator
from scaling.counts import recurrent, weights
from scaling.counts.parameters import bodies, detection
from scaling.counts.sides import Causal, Side, sides

CENTRES = 32  # of a block in `models.word2vec`
NOISE_DRAWS = 64  # its negatives a sequence, at least


class Work(NamedTuple):
    """FLOPs of one forward pass over a sequence; the last two are what two conventions take them for."""

    products: int = 0  # with the body's matrices
    linear: int = 0  # of these, linear maps of layers: what is rounded where a run computes with 8 bits
    scores: int = 0  # queries with keys, and weights with values
    logits: int = 0  # products with the unembedding
    softmax: int = 0  # of the scores: subtract the maximum, exponentiate, divide
    embedding: int = 0  # the look-ups, were they products
    applied: int = 0  # 2 a parameter of the body for each position that it is applied to: Kaplan's 2 N a token
    regular: int = 0  # DeepSeek's M without the backward pass: 24 L d^2 + 4 L d T a position

    def plus(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(self, other, strict=True)))


class WordPlaces(NamedTuple):
    """What `models.word2vec` computes of one sequence, in blocks of centres."""

    centres: int
    around: int  # tokens in reach of a block, summed over blocks
    draws: int  # negatives
    near: int  # scores of centres with tokens around them
    far: int  # and with negatives


def word_places(model: Word2VecConfig, objective: SkipGram) -> WordPlaces:
    """Whole blocks: also of centres beyond the text, and of pairs out of each other's reach."""
    blocks = -(-lengths(model, objective).text // CENTRES)
    reach, draws = CENTRES + 2 * objective.window, max(NOISE_DRAWS, objective.negatives)
    centres = blocks * CENTRES
    return WordPlaces(centres, blocks * reach, draws, centres * reach, centres * draws)


def work(model: ModelConfig, objective: ObjectiveConfig, causal: Causal) -> Work:
    """The forward work on one sequence. Raises ValueError where the model cannot learn the objective."""
    found = lengths(model, objective)
    if isinstance(model, NgramConfig):
        return Work()
    if isinstance(model, Word2VecConfig):
        places = word_places(model, objective)
        scores = 2 * model.dim * (places.near + places.far)
        return Work(products=scores, applied=scores, regular=scores)
    if isinstance(model, RecurrentConfig):
        return _recurrent(model, found)
    if isinstance(objective, ReplacedTokens):
        return _detector(model, objective, causal)
    return _transformer(model, sides(model, objective), found.predicted, causal)


def _recurrent(model: RecurrentConfig, found: Lengths) -> Work:
    """Each layer's products at each token. What the backward pass computes again is not counted, as nowhere.

    A batch of far more tokens than the vocabulary computes fewer: it looks up
    what the first layer makes of a token. Counted is what the model defines.
    """
    parts = zip(recurrent.body(model), (found.positions, found.source, 1), strict=True)
    counted = [(times * part.weights, times * part.vectors) for part, times in parts]
    products = 2 * sum(multiplied for multiplied, _ in counted)
    across = found.positions * found.source
    return Work(
        products=products,
        scores=4 * model.dim * across,  # the score of a tanh, and the mean of annotations
        logits=2 * found.predicted * model.vocab * model.dim,
        softmax=3 * across,
        embedding=2 * (found.positions + found.source) * model.vocab * model.dim,
        applied=2 * sum(map(sum, counted)),
        regular=products + 4 * model.dim * across,
    )


def _transformer(model: TransformerConfig, stacks: tuple[Side, ...], predicted: int, causal: Causal) -> Work:
    parts = bodies(model)
    pooled = model.dim**2 + 2 * model.dim if model.sentence_head else 0
    head = predicted * model.dim**2 * model.head_transform + pooled
    applied = predicted * parts.predicted.active + parts.sentence.active
    for side in stacks:
        applied += side.positions * (parts.decoder if side.causal else parts.encoder).active
    return Work(
        products=sum(_products(model, side) for side in stacks) + 2 * head,
        linear=sum(_linear(model, side) for side in stacks),
        scores=sum(4 * model.heads * model.head_dim * _pairs(model, side, causal) for side in stacks),
        logits=2 * predicted * model.vocab * model.dim,
        softmax=sum(3 * model.heads * _pairs(model, side, "full") for side in stacks),
        embedding=sum(2 * side.positions * model.vocab * model.dim for side in stacks),
        applied=2 * applied,
        regular=sum(_regular(model, side) for side in stacks),
    )


def _detector(model: TransformerConfig, objective: ReplacedTokens, causal: Causal) -> Work:
    """ELECTRA: the generator predicts the masked tokens, the model judges all positions and has no logits.

    Left out is the projection of the embedding table, which is made once a
    batch and not for each sequence.
    """
    text = lengths(model, objective).text
    stacks = sides(model, objective)
    small = generator(model, objective)
    masked = lengths(small, Masked(text=text, rate=objective.rate))
    proposed = _transformer(small, stacks, masked.predicted, causal)
    judged = 2 * stacks[0].positions * (model.dim**2 + model.dim)
    told = 2 * stacks[0].positions * detection(model)
    return _transformer(model, stacks, 0, causal).plus(proposed).plus(Work(products=judged, applied=told))


def _products(model: TransformerConfig, side: Side) -> int:
    """Every matrix on every position; a cross-attention makes its keys and values of the source."""
    mlps = sum(weights.mlp(model, layer, active=True) for layer in range(side.layers))
    return _attentions(model, side) + 2 * side.positions * mlps


def _linear(model: TransformerConfig, side: Side) -> int:
    """The same without routers and what they route to, which are no plain linear maps."""
    mlps = sum(weights.mlp_of_all(model, layer) for layer in range(side.layers))
    return _attentions(model, side) + 2 * side.positions * mlps


def _attentions(model: TransformerConfig, side: Side) -> int:
    cross = 0
    if side.source:
        each = 2 * model.dim * model.head_dim
        cross = each * (model.heads * side.positions + model.key_heads * side.source)
    return 2 * side.layers * (weights.attention(model) * side.positions + cross)


def _pairs(model: TransformerConfig, side: Side, causal: Causal) -> int:
    """Pairs of query and key in all layers."""
    own = sum(side.pairs(model.window_of(layer), causal) for layer in range(side.layers))
    return own + side.layers * side.positions * side.source


def _regular(model: TransformerConfig, side: Side) -> int:
    depth, width = side.layers, model.dim
    cross = 8 * depth * width**2 + 4 * depth * width * side.source if side.source else 0
    return side.positions * (24 * depth * width**2 + 4 * depth * width * side.positions + cross)

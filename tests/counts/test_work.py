"""What is counted is what the compiled functions multiply."""

import math
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from scaling.config import (
    Denoising,
    Masked,
    MixtureOfDenoisers,
    ModelConfig,
    NextToken,
    NgramConfig,
    ObjectiveConfig,
    Prefix,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    SpanCorruption,
    TransformerConfig,
    Word2VecConfig,
    lengths,
)
from scaling.config.generator import generator
from scaling.counts import work as counting
from scaling.counts.sides import sides
from scaling.counts.work import Work, work
from scaling.models import attention, word2vec
from scaling.training.losses import Knowledge, Task, Tokens, init, losses

BATCH = 3
MANY = {"vocab": 60, "dim": 12, "layers": 2, "heads": 2, "context": 24}
T5_LIKE = {"architecture": "encoder_decoder", "positions": "t5", "activation": "relu"}
BERT_LIKE = {"architecture": "encoder", "head_transform": True, "head_bias": True, "norm": "layernorm", "biases": True}
CASES = {
    "decoder": (TransformerConfig(**MANY), NextToken()),
    "grouped keys, wide heads": (TransformerConfig(**MANY, kv_heads=1, head_size=10, qk_norm=True), NextToken()),
    "window": (TransformerConfig(**MANY, window=5, global_every=2, attention_softcap=9.0), NextToken()),
    "shorter text": (TransformerConfig(**MANY, tied=False, activation="gelu"), NextToken(text=9)),
    "decoder on spans": (TransformerConfig(**MANY), SpanCorruption()),
    "prefix model": (TransformerConfig(architecture="prefix", **MANY), Prefix(prefix=5)),
    "prefix model on denoisers": (TransformerConfig(architecture="prefix", **MANY), MixtureOfDenoisers()),
    "masked": (TransformerConfig(**BERT_LIKE, **MANY), Masked()),
    "pairs of texts": (
        TransformerConfig(**BERT_LIKE, sentence_head=True, token_types=2, **MANY),
        Masked(next_sentence=True),
    ),
    "encoder and decoder": (TransformerConfig(**T5_LIKE, encoder_layers=3, **MANY), SpanCorruption()),
    "shared layers": (TransformerConfig(**T5_LIKE, shared_layers=True, **MANY), Prefix()),
    "denoising": (TransformerConfig(**T5_LIKE, kv_heads=1, **MANY), Denoising(noise="delete")),
    "rnn": (RecurrentConfig(vocab=60, dim=12, layers=2, context=24, cell="rnn"), NextToken()),
    "lstm": (RecurrentConfig(vocab=60, dim=12, layers=2, context=24), NextToken()),
    "recurrent encoder and decoder": (
        RecurrentConfig(vocab=60, dim=12, layers=2, context=24, architecture="encoder_decoder"),
        Prefix(text=30, prefix=20),
    ),
    "word vectors": (Word2VecConfig(vocab=60, dim=12, context=50), SkipGram()),
}


def inner(equation: jax.extend.core.JaxprEqn) -> Iterator[tuple[jax.extend.core.Jaxpr, int]]:
    """The programs within one operation, and how often each runs."""
    assert equation.primitive.name != "while", "how often its body runs is not known"
    for value in equation.params.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            program = getattr(part, "jaxpr", part)
            if hasattr(program, "eqns"):
                yield program, equation.params["length"] if equation.primitive.name == "scan" else 1


def products(program: jax.extend.core.Jaxpr) -> int:
    """FLOPs of all matrix products of a traced function."""
    total = 0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)
        total += sum(times * products(program) for program, times in inner(equation))
    return total


def multiplied(model: ModelConfig, objective: ObjectiveConfig) -> int:
    """FLOPs of the products that the loss of one batch takes, attention written as its definition says."""
    shape, found = jax.ShapeDtypeStruct, lengths(model, objective)
    task = Task(model, objective, found.specials, smoothed=False)
    window = shape((BATCH, found.text + 1), np.int32)
    tokens = Tokens(window, shape((BATCH, 2), np.uint32), None, window)
    known = Knowledge(noise_V=shape((model.vocab,), np.float32))
    params = jax.eval_shape(lambda: init(task, 0))
    return products(jax.make_jaxpr(lambda *given: losses(task, *given))(params, tokens, known).jaxpr)


def looked_up(model: ModelConfig, objective: ObjectiveConfig) -> int:
    """T5's biases of all distances are looked up by a product with zeros and ones, once a batch for each stack."""
    if getattr(model, "positions", None) != "t5":
        return 0
    return sum(2 * (2 * side.positions - 1) * model.position_buckets * model.heads for side in sides(model, objective))


def forward(done: Work) -> int:
    return done.products + done.scores + done.logits


@pytest.fixture(autouse=True)
def plain_attention(monkeypatch):
    monkeypatch.setattr(attention, "attend", attention.attend_plainly)


@pytest.mark.parametrize(("model", "objective"), CASES.values(), ids=CASES)
def test_every_product_of_the_real_loss_is_counted(model, objective):
    counted = BATCH * forward(work(model, objective, "full"))
    assert multiplied(model, objective) == counted + looked_up(model, objective)


def test_every_product_of_electra_is_counted_but_for_the_projected_table():
    model = TransformerConfig(**BERT_LIKE, **MANY)
    objective = ReplacedTokens()
    small = generator(model, objective)
    table = 2 * model.vocab * model.dim * small.dim  # made once a batch
    assert multiplied(model, objective) == BATCH * forward(work(model, objective, "full")) + table


def test_the_blocks_of_word_vectors_are_those_of_the_model():
    assert counting.CENTRES == word2vec.BLOCK
    assert counting.NOISE_DRAWS == word2vec.NOISE_DRAWS


def test_counting_n_grams_multiplies_nothing():
    assert work(NgramConfig(vocab=60), NextToken(), "full") == Work()


def test_a_part_of_the_body_counts_as_often_as_it_is_applied():
    model = TransformerConfig(**T5_LIKE, **MANY)
    one = work(model, Prefix(text=10, prefix=4), "full").applied
    more_source = work(model, Prefix(text=11, prefix=5), "full").applied
    more_target = work(model, Prefix(text=11, prefix=4), "full").applied
    encoder, decoder = more_source - one, more_target - one
    assert one == 4 * encoder + 7 * decoder
    assert encoder < decoder  # which has cross-attention

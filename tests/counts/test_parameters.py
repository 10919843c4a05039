"""Parameters are counted by part, and their sum is what the real models hold."""

from dataclasses import replace

import jax
import pytest
from hypothesis import given, settings

from scaling.config import (
    Experts,
    ModelConfig,
    NgramConfig,
    RecurrentConfig,
    ReplacedTokens,
    TransformerConfig,
    Word2VecConfig,
)
from scaling.counts import matrices, params
from scaling.models import electra, families, word2vec
from tests.counts.shapes import BASE, BERT_LIKE, GPT2, SMALL, decoders, examples, transformers

GPT3 = replace(GPT2, dim=12288, layers=96, heads=96, context=2048)
ENCODER = TransformerConfig(architecture="encoder", **BASE, **BERT_LIKE)


def leaves(tree: object) -> int:
    """Numbers in a tree of shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def held(model: ModelConfig) -> int:
    """Numbers that the real model's parameters have; nothing is computed."""
    return leaves(jax.eval_shape(lambda: families.init(model, 0)))


@pytest.mark.parametrize(
    ("dim", "layers", "heads", "published"),
    [
        (768, 12, 12, 124_439_808),
        (1024, 24, 16, 354_823_168),
        (1280, 36, 20, 774_030_080),
        (1600, 48, 25, 1_557_611_200),
    ],
)
def test_the_four_sizes_of_gpt2_have_their_published_parameters(dim, layers, heads, published):
    assert params(replace(GPT2, dim=dim, layers=layers, heads=heads)).total == published


def test_the_matrices_of_gpt3_hold_175_181_291_520_parameters():
    of = matrices(GPT3)
    assert of.attention == 4 * 14_495_514_624
    assert of.mlp == 2 * 57_982_058_496
    assert of.embedding == of.unembedding == 617_558_016
    assert of.attention + of.mlp + of.embedding + of.unembedding == 175_181_291_520


@settings(derandomize=True, deadline=None, max_examples=15)
@given(transformers())
def test_parameters_are_the_sizes_of_all_arrays_of_the_real_model(model):
    assert params(model).total == held(model)


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_of_recurrent_models_are_the_sizes_of_all_their_arrays(architecture, cell, tied):
    model = RecurrentConfig(vocab=30, dim=8, layers=3, cell=cell, architecture=architecture, tied=tied)
    counted = params(model)
    assert counted.total == counted.active == held(model)
    assert counted.total == counted.body + counted.embedding + (0 if tied else counted.head)


@pytest.mark.parametrize("share", [0.25, 1 / 3, 1.0])
def test_parameters_under_electra_include_the_generator_and_what_judges(share):
    objective = ReplacedTokens(generator_share=share)
    model = replace(ENCODER, token_types=2, head_transform=True, head_bias=True, layers=2)
    counted = params(model, objective)
    assert counted.total == leaves(jax.eval_shape(lambda: electra.init(model, objective, 0)))
    assert counted.total == counted.body + counted.embedding + 2 * model.vocab  # both heads are tied, with a bias
    assert counted.total > params(model).total


def test_parameters_of_word_vectors_are_two_tables():
    model = Word2VecConfig(vocab=30, dim=8)
    assert params(model).total == 2 * 30 * 8 == leaves(jax.eval_shape(lambda: word2vec.init(model, 0)))


def test_counted_n_grams_are_no_trained_parameters():
    counted = params(NgramConfig(vocab=30))
    assert counted.total == counted.body == counted.active == 0


@examples
@given(transformers())
def test_total_is_body_and_embedding_and_a_head_of_its_own(model):
    counted = params(model)
    table = model.vocab * model.dim
    own = (0 if model.tied else table) + (model.vocab if model.head_bias else 0)
    assert counted.total == counted.body + counted.embedding + own
    assert counted.head == table + (model.vocab if model.head_bias else 0)
    untied, tied = params(replace(model, tied=False)), params(replace(model, tied=True))
    assert untied.total - tied.total == table


@examples
@given(transformers())
def test_only_experts_are_inactive(model):
    counted = params(model)
    assert params(replace(model, moe=None)).active == params(replace(model, moe=None)).total
    if model.moe is None:
        assert counted.active == counted.total
    else:
        all_visited = params(replace(model, moe=replace(model.moe, active=model.moe.experts)))
        assert counted.total == all_visited.total == all_visited.active >= counted.active


@examples
@given(decoders())
def test_every_layer_adds_the_same(model):
    one, two, three = (params(replace(model, layers=layers)).total for layers in (1, 2, 3))
    assert three - two == two - one


def test_one_layer_of_experts_counted_by_hand():
    moe = Experts(experts=4, active=2, dim=5, shared=3)
    model = TransformerConfig(vocab=10, dim=6, layers=1, heads=1, moe=moe, mlp_dim=7)
    attention, norms, router = 4 * 36, 3 * 6, 6 * 4
    expert, shared = 3 * 6 * 5, 3 * 6 * 15
    counted = params(model)
    assert counted.total == attention + norms + router + 4 * expert + shared + 60
    assert counted.total - counted.active == 2 * expert


def test_finer_experts_are_as_many_parameters_visited_and_held():
    coarse = replace(SMALL, mlp_dim=128, moe=Experts(experts=8, active=2))
    fine = replace(SMALL, mlp_dim=128, moe=Experts(experts=32, active=8, dim=32))
    router = SMALL.layers * SMALL.dim * (32 - 8)
    assert params(fine).total == params(coarse).total + router
    assert params(fine).active == params(coarse).active + router


def test_shared_layers_are_counted_once():
    model = replace(SMALL, architecture="encoder_decoder", positions="none")
    apart, shared = params(model), params(replace(model, shared_layers=True))
    encoder = SMALL.layers * (params(replace(SMALL, layers=2)).body - params(replace(SMALL, layers=1)).body)
    assert apart.total - shared.total == encoder

"""FLOPs by convention: published numbers come out, and every family and objective is counted as it computes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.config import (
    Experts,
    Masked,
    NextToken,
    NgramConfig,
    Prefix,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    TransformerConfig,
    Word2VecConfig,
)
from scaling.counts import flops_per_token, forward_flops_per_token, matrices, params, train_flops
from scaling.models.published import published
from tests.counts.shapes import BASE, GPT2, SMALL, decoders, examples, objective_for, transformers

GPT3 = replace(GPT2, dim=12288, layers=96, heads=96, context=2048)
CONVENTIONS = ("kaplan", "chinchilla", "deepseek", "exact")


@examples
@given(decoders())
def test_every_layer_adds_the_same(model):
    one, two, three = (replace(model, layers=layers) for layers in (1, 2, 3))
    for causal in ("full", "half"):
        first, second, third = (forward_flops_per_token(m, causal=causal) for m in (one, two, three))
        assert third - second == second - first
    assert flops_per_token(three).deepseek == 3 * flops_per_token(one).deepseek


@examples
@given(decoders())
def test_half_the_scores_are_no_more_flops_than_all_of_them(model):
    full, half = forward_flops_per_token(model), forward_flops_per_token(model, causal="half")
    assert half <= full
    # A token sees (T + 1) / 2 keys in the mean: one of two products leaves dim * (T - 1) FLOPs uncounted.
    assert full - half == 2 * model.layers * model.dim * (model.context - 1)


def test_half_is_the_mean_over_the_positions_of_what_each_token_sees():
    model = replace(SMALL, context=5)
    without = forward_flops_per_token(model) - model.layers * 4 * model.dim * model.context
    seen = sum(model.layers * 4 * model.dim * keys for keys in range(1, 6)) / 5
    assert forward_flops_per_token(model, causal="half") == without + seen


def test_a_window_spares_only_what_is_counted_by_what_is_seen():
    windowed = replace(SMALL, window=3, global_every=2)
    assert forward_flops_per_token(windowed) == forward_flops_per_token(SMALL)
    pairs = sum(min(keys, 3) for keys in range(1, 129)) / 128
    spared = 2 * 4 * SMALL.dim * (129 / 2 - pairs)  # two layers of four
    halves = (forward_flops_per_token(model, causal="half") for model in (SMALL, windowed))
    assert next(halves) - next(halves) == pytest.approx(spared, rel=1e-12)  # sums of a few thousand in float64


def test_exact_flops_of_a_small_model_counted_by_hand():
    model = TransformerConfig(
        vocab=10, dim=4, layers=1, heads=2, kv_heads=1, context=3, mlp_dim=5, activation="swiglu", tied=False
    )
    # query and output 4x4, key and value 4x2; three MLP matrices 4x5; head 4x10; scores and values over 3 keys.
    products = 2 * (2 * 16 + 2 * 8 + 3 * 20 + 40) + 2 * (2 * 4 * 3)
    assert forward_flops_per_token(model) == products
    assert flops_per_token(model).exact == 3 * products


@examples
@given(transformers(), st.integers(0, 10**9))
def test_a_run_costs_its_tokens_times_the_flops_of_one(model, tokens):
    objective = objective_for(model)
    one, run = flops_per_token(model, objective), train_flops(model, tokens, objective)
    for convention in CONVENTIONS:
        assert getattr(one, convention) > 0
        assert getattr(run, convention) == getattr(one, convention) * tokens


@examples
@given(transformers())
def test_only_the_exact_convention_knows_of_causality(model):
    objective = objective_for(model)
    full, half = (flops_per_token(model, objective, causal=causal) for causal in ("full", "half"))
    assert replace(full, exact=0.0) == replace(half, exact=0.0)
    assert half.exact <= full.exact


def test_negative_tokens_are_refused():
    with pytest.raises(ValueError, match="tokens=-1 is negative"):
        train_flops(SMALL, -1)


def test_kaplan_counts_six_a_parameter_without_embedding_and_head():
    untied = replace(SMALL, tied=False, positions="learned")
    assert flops_per_token(untied).kaplan == flops_per_token(SMALL).kaplan == 6 * params(SMALL).body


def test_gpt3_took_its_published_3_14e23_flops():
    """Brown et al. 2020, arXiv:2005.14165, table D.1: 6 N on 300 billion tokens, N with embeddings."""
    run = train_flops(published("gpt-3-175b"), 300 * 10**9)
    assert run.kaplan == pytest.approx(3.14e23, rel=5e-3)  # without embeddings: 0.4% less
    assert run.exact == pytest.approx(3.14e23, rel=0.03)  # with scores: 3% more


def test_kaplan_counts_of_experts_those_that_a_token_visits():
    model = replace(SMALL, moe=Experts(experts=8, active=2))
    counted = params(model)
    assert flops_per_token(model).kaplan == 6 * (counted.body - counted.total + counted.active)


def test_experts_cost_what_is_visited_and_the_router_whatever_the_capacity():
    dense = forward_flops_per_token(SMALL)
    model = replace(SMALL, moe=Experts(experts=8, active=2, shared=1))
    mlp, router = 3 * 64 * SMALL.hidden_dim, 64 * 8
    assert forward_flops_per_token(model) == dense + 4 * 2 * (2 * mlp + router)
    assert forward_flops_per_token(replace(model, moe=replace(model.moe, capacity=1.0))) == (
        forward_flops_per_token(model)
    )


@examples
@given(decoders())
def test_chinchilla_adds_softmax_and_an_embedding_product_to_the_exact_count(model):
    counted = flops_per_token(model)
    added = 3 * model.layers * model.heads * model.context + 2 * model.vocab * model.dim
    assert counted.chinchilla == counted.exact + 3 * added


def test_deepseek_equals_exact_without_head_for_the_architecture_it_was_written_for():
    plain = replace(GPT3, activation="gelu", tied=True)
    counted = flops_per_token(plain)
    assert counted.deepseek == counted.exact - 6 * matrices(plain).unembedding
    assert counted.deepseek == 72 * 96 * 12288**2 + 12 * 96 * 12288 * 2048


def test_deepseek_adds_cross_attention_to_a_decoder_with_a_source():
    model = TransformerConfig(architecture="encoder_decoder", activation="gelu", **BASE)
    text = 100
    counted = flops_per_token(model, Prefix(text=text, prefix=50))
    unembedded = 6 * 51 * matrices(model).unembedding / text
    # Keys and values are made of 50 source positions, and not of the decoder's 51.
    made_elsewhere = 6 * model.layers * 2 * model.dim**2 / text
    assert counted.deepseek == pytest.approx(counted.exact - unembedded + made_elsewhere, rel=1e-12)  # float64


@pytest.mark.parametrize(
    ("layers", "dim", "published"),
    [
        (8, 512, 352e6),
        (12, 768, 963e6),
        (24, 1024, 3.02e9),
        (24, 2048, 9.66e9),
        (32, 4096, 45.1e9),
        (40, 5120, 85.6e9),
        (80, 8192, 419e9),
    ],
)
def test_deepseek_flops_a_token_are_those_of_its_table_3(layers, dim, published):
    model = TransformerConfig(vocab=102_400, dim=dim, layers=layers, heads=dim // 64, context=4096)
    # Printed with three digits.
    assert flops_per_token(model).deepseek == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize(
    ("layers", "dim", "heads", "total_millions", "published"),
    [
        (10, 640, 10, 73, 1.03),
        (20, 1024, 16, 305, 1.10),
        (24, 1280, 10, 552, 1.08),
        (26, 1792, 14, 1100, 1.04),
        (28, 2048, 16, 1600, 1.03),
        (40, 3584, 28, 6800, 0.99),
    ],
)
def test_chinchilla_terms_give_the_published_ratios_to_six_n_d(layers, dim, heads, total_millions, published):
    """Hoffmann et al. 2022, arXiv:2203.15556, table A4, with 2048 tokens and 32,000 pieces.

    Two things had to be found out. Their N holds a projection of relative
    positions (dim^2 a layer, as in Transformer-XL), which this decoder has
    not. And their ratios leave out both the embedding product and the logits,
    though appendix F lists them: with them the first row would be 1.58.
    """
    model = TransformerConfig(vocab=32000, dim=dim, layers=layers, heads=heads, context=2048, activation="gelu")
    total = params(model).total + layers * dim**2
    # N is printed rounded to a million below a billion, else to a hundred million.
    assert total / 1e6 == pytest.approx(total_millions, abs=1 if total < 1e9 else 50)
    without_vocabulary = flops_per_token(model).chinchilla - 3 * (2 + 2) * model.vocab * dim
    # Printed with two decimals.
    assert without_vocabulary / (6 * total) == pytest.approx(published, abs=0.005)


T5_BASE = replace(published("t5-base"), context=1024)
TABLE_2 = {
    # P and M of Raffel et al. 2020, arXiv:1910.10683, table 2; what this model's parameters and FLOPs are of them.
    "encoder and decoder": (T5_BASE, 2, 1, 7 / 3, 1.08),
    "shared": (replace(T5_BASE, shared_layers=True), 1, 1, 4 / 3, 1.08),
    "six layers": (replace(T5_BASE, layers=6), 1, 1 / 2, 7 / 6, 0.59),
    "language model": (replace(T5_BASE, architecture="decoder"), 1, 1, 1, 1),
    "prefix language model": (replace(T5_BASE, architecture="prefix"), 1, 1, 1, 1),
}


@pytest.mark.parametrize(("model", "printed_p", "printed_m", "p", "m"), TABLE_2.values(), ids=TABLE_2)
def test_the_five_architectures_of_t5_have_the_parameters_and_flops_of_its_table_2(model, printed_p, printed_m, p, m):
    """Source and target of 512 tokens each; P and M are those of a decoder with the twelve layers.

    The paper rounds away the cross-attention: a third of a decoder layer's 12
    dim^2. So a decoder with a source has P / 3 more parameters (with six
    layers P / 6), half of which meet each token of the text, and M / 6 more
    products. Against that, two sides of 512 have three squares of scores with
    a quarter of the area of one side of 1024, and the logits are the same.
    """
    objective = Prefix(text=1024, prefix=512)
    decoder = TABLE_2["language model"][0]
    body = params(model).body / params(decoder).body
    exact = flops_per_token(model, objective).exact / flops_per_token(decoder, objective).exact
    assert body == pytest.approx(p, rel=1e-3)  # norms and relative positions are no third
    assert exact == pytest.approx(m, abs=5e-3)  # two digits are given
    assert body == pytest.approx(printed_p, rel=1 / 3 + 1e-3)
    assert exact == pytest.approx(printed_m, rel=0.2)


def test_a_masked_model_pays_for_the_logits_of_masked_tokens_only():
    model = TransformerConfig(architecture="encoder", **BASE)
    few, many = (forward_flops_per_token(model, Masked(text=100, rate=rate)) for rate in (0.15, 0.3))
    # Differences of ten million in float64.
    assert many - few == pytest.approx(15 * 2 * model.vocab * model.dim / 100, rel=1e-9)


def test_flops_are_those_of_the_positions_that_are_read_a_token_of_text():
    model = TransformerConfig(architecture="encoder", **BASE)
    counted = flops_per_token(model, Masked(text=50))
    assert counted.kaplan == 6 * params(model).body * 52 / 50  # a class token before and a separator after the text


def test_replaced_tokens_cost_a_model_without_logits_and_a_generator():
    model = TransformerConfig(architecture="encoder", **BASE)
    masked, replaced = Masked(text=100), ReplacedTokens(text=100, generator_share=0.5)
    logits = 15 * 2 * model.vocab * model.dim
    body = 100 * forward_flops_per_token(model, masked) - logits
    both = 100 * forward_flops_per_token(model, replaced)
    judge = 102 * 2 * (model.dim**2 + model.dim)
    generator = both - body - judge
    # Half as wide: a quarter of the products, half of the scores and logits.
    assert 0.25 * (body + logits) < generator < 0.5 * (body + logits)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_a_recurrent_language_model_applies_its_whole_body_to_each_token(cell):
    model = RecurrentConfig(vocab=50, dim=8, layers=3, cell=cell)
    counted, table = flops_per_token(model), model.vocab * model.dim
    gates = {"rnn": 1, "lstm": 4}[cell]
    assert counted.kaplan == 6 * params(model).body
    assert counted.deepseek == 6 * 3 * (2 * gates * 8**2)
    assert counted.exact == counted.deepseek + 6 * table
    assert counted.chinchilla == counted.exact + 6 * table


def test_word_vectors_cost_the_same_by_all_conventions_and_n_grams_nothing():
    vectors = flops_per_token(Word2VecConfig(vocab=50, dim=8), SkipGram())
    assert vectors.kaplan == vectors.chinchilla == vectors.deepseek == vectors.exact > 0
    counted = flops_per_token(NgramConfig(vocab=50), NextToken())
    assert all(getattr(counted, convention) == 0 for convention in CONVENTIONS)

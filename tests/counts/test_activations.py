"""What a step keeps for its backward pass, by both ways to count."""

from dataclasses import replace

import numpy as np
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
    TransformerConfig,
)
from scaling.config.generator import generator
from scaling.counts import activation_bytes_per_token, activations
from scaling.counts.activations import Block, activation_bytes
from scaling.counts.sides import Side
from scaling.models import attention_cpu, grouped
from scaling.models.sight import EVERYTHING, Pattern, Sight
from tests.counts.shapes import BASE, SMALL, decoders, examples, objective_for, transformers


@examples
@given(transformers())
def test_activations_shrink_with_bfloat16_and_with_fused_attention(model):
    objective = objective_for(model)
    plain = activation_bytes_per_token(model, objective)
    fused = activation_bytes_per_token(model, objective, fused_attention=True)
    assert 0 < activation_bytes_per_token(model, objective, precision="bfloat16", fused_attention=True) < fused
    assert activation_bytes_per_token(model, objective, precision="bfloat16") <= plain
    if model.moe is None:  # a CPU computes what is within an expert again, an accelerator keeps it
        assert fused < plain


@examples
@given(decoders())
def test_with_flash_attention_a_token_costs_the_same_in_every_context(model):
    one = replace(model, context=1)
    each = activation_bytes_per_token(model, fused_attention=True)
    assert each == activation_bytes_per_token(one, fused_attention=True)


@pytest.mark.parametrize("heads", [4, 8])
def test_activations_of_a_gpt_layer_agree_with_the_published_count(heads):
    """Korthikanti et al. 2022, arXiv:2205.05198, section 4: 34 s b h + 5 a s^2 b bytes a layer in 16 bits.

    Theirs includes dropout, which this decoder has not: two masks (2 s b h).
    With flash attention nothing of the scores' square is kept, but one
    float32 a head and position.
    """
    model = TransformerConfig(vocab=2, dim=64, layers=1, heads=heads, context=8, activation="gelu")
    head = 2 * 2 * 64 + 8 * 2
    layer = activation_bytes_per_token(model, precision="bfloat16", fused_attention=True) - head
    assert layer == (34 - 2) * 64 + 4 * heads


@examples
@given(st.integers(1, 300), st.booleans(), st.none() | st.integers(1, 300), st.booleans())
def test_blocks_are_those_of_attention_on_a_cpu(positions, causal, window, prefixed):
    sight = Sight(prefix_B=np.array([1])) if prefixed else EVERYTHING
    real = attention_cpu._blocks(Pattern(causal, window), sight, positions, positions)
    side = Side(layers=1, positions=positions, causal=causal, prefix=1 if prefixed else 0)
    counted = activations._blocks(side, window)
    assert counted == [Block(stop - start, last - first) for start, stop, first, last in real]


@examples
@given(st.integers(1, 200), st.integers(1, 200))
def test_blocks_of_cross_attention_see_the_whole_source(positions, source):
    real = attention_cpu._blocks(Pattern(causal=False), EVERYTHING, positions, source)
    counted = activations._blocks_across(Side(layers=1, positions=positions, causal=True, source=source))
    assert counted == [Block(stop - start, last - first) for start, stop, first, last in real]


def test_the_sizes_of_blocks_are_those_of_the_models():
    assert activations.QUERIES == attention_cpu.BLOCK
    assert activations.LARGEST_VISIT_BLOCK == grouped.LARGEST_BLOCK_CPU


@pytest.mark.parametrize("fused", [True, False])
def test_every_layer_and_every_branch_keeps_its_own(fused):
    def kept(model: TransformerConfig) -> int:
        return activation_bytes(model, objective_for(model), precision="float32", fused_attention=fused)

    one, two, three = (kept(replace(SMALL, layers=layers)) for layers in (1, 2, 3))
    assert three - two == two - one > 0
    assert kept(replace(SMALL, norm_place="sandwich")) > kept(SMALL)
    assert kept(replace(SMALL, qk_norm=True)) > kept(SMALL)
    assert kept(replace(SMALL, kv_heads=1)) < kept(SMALL)
    assert kept(replace(SMALL, activation="gelu", mlp_dim=SMALL.hidden_dim)) < kept(SMALL)
    shared = replace(SMALL, moe=Experts(experts=4, active=1, shared=1))
    assert kept(shared) > kept(replace(shared, moe=Experts(experts=4, active=1)))


def test_a_window_keeps_fewer_weights_on_a_cpu():
    model = replace(SMALL, context=512)
    assert activation_bytes_per_token(replace(model, window=64)) < activation_bytes_per_token(model)


def test_only_predicted_tokens_have_logits():
    model = TransformerConfig(architecture="encoder", **BASE)
    few, many = (
        activation_bytes(model, Masked(text=100, rate=rate), precision="float32", fused_attention=False)
        for rate in (0.15, 0.3)
    )
    assert many - few == 15 * 2 * model.vocab * 4


def test_a_source_is_kept_beside_the_target():
    model = TransformerConfig(architecture="encoder_decoder", **BASE)
    short, long = (
        activation_bytes(model, Prefix(text=60, prefix=prefix), precision="float32", fused_attention=True)
        for prefix in (20, 40)
    )
    decoder = TransformerConfig(**BASE)
    alone = activation_bytes(decoder, Prefix(text=60, prefix=20), precision="float32", fused_attention=True)
    assert short > alone
    assert long != short


def test_of_electras_two_models_the_larger_counts():
    model = TransformerConfig(architecture="encoder", **{**BASE, "vocab": 20_000})
    masked, replaced = Masked(text=100), ReplacedTokens(text=100, generator_share=1.0)
    small = generator(model, replaced)
    assert activation_bytes_per_token(model, replaced) == activation_bytes_per_token(small, masked)
    assert activation_bytes_per_token(model, ReplacedTokens(text=100)) < activation_bytes_per_token(model, masked)


def test_a_longer_recurrence_keeps_more_and_counting_n_grams_keeps_nothing():
    short, long = (RecurrentConfig(vocab=60, dim=8, layers=2, context=context) for context in (10, 20))
    kept = [activation_bytes(m, NextToken(), precision="float32", fused_attention=False) for m in (short, long)]
    assert kept[1] == 2 * kept[0] > 0
    assert activation_bytes_per_token(NgramConfig(vocab=60)) == 0

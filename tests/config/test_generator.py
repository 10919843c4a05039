"""ELECTRA's generator is a narrower model of the same depth."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import Experts, ReplacedTokens, TransformerConfig
from scaling.config.generator import generator

ENCODER = TransformerConfig(
    architecture="encoder", vocab=99, dim=768, layers=12, heads=12, activation="gelu", sentence_head=True, tied=False
)


def test_a_third_of_bert_base_is_the_published_generator():
    """Clark et al. 2020, arXiv:2003.10555, table 6: a third of the width, MLP and heads for the base size."""
    small = generator(ENCODER, ReplacedTokens(generator_share=1 / 3))
    assert (small.dim, small.hidden_dim, small.heads, small.head_dim) == (256, 1024, 4, 64)
    assert (small.layers, small.context, small.vocab) == (12, ENCODER.context, 99)
    assert small.tied
    assert not small.sentence_head


def test_a_whole_share_is_the_model_itself_with_a_tied_head():
    small = generator(ENCODER, ReplacedTokens(generator_share=1.0))
    assert (small.dim, small.hidden_dim, small.heads, small.head_dim) == (768, 3072, 12, 64)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.floats(0.01, 1.0),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 20),
    st.sampled_from(["rope", "sinusoidal"]),
)
def test_every_share_gives_a_valid_generator_no_larger_than_the_model(share, key_heads, group, size, positions):
    heads = key_heads * group
    model = TransformerConfig(
        architecture="encoder",
        vocab=9,
        dim=2 * size * heads,
        layers=2,
        heads=heads,
        kv_heads=key_heads,
        positions=positions,
        moe=Experts(experts=3),
    )
    small = generator(model, ReplacedTokens(generator_share=share))
    assert small.dim <= model.dim
    assert small.heads <= model.heads
    assert small.key_heads <= model.key_heads
    assert small.head_dim == model.head_dim
    assert small.moe is None


def test_only_an_encoder_has_a_generator():
    with pytest.raises(ValueError, match="generator for architecture='decoder': replaced tokens are learned by"):
        generator(TransformerConfig(vocab=9, dim=8, layers=1, heads=1), ReplacedTokens())

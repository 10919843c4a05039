"""Pairs of query and key are those that the masks of attention allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.config import Masked, NextToken, Prefix, SpanCorruption, TransformerConfig
from scaling.counts.sides import Side, sides
from scaling.models.sight import EVERYTHING, Pattern, Sight
from tests.counts.shapes import BASE, examples

sizes = st.integers(1, 40)


def allowed(pattern: Pattern, sight: Sight, positions: int) -> np.ndarray:
    """Which query may see which key."""
    every, queries_T1 = slice(0, positions), np.arange(positions)[:, None]
    return sight.allowed(pattern.static_allowed(queries_T1, np.arange(positions)), every, every)


@examples
@given(sizes, st.booleans(), st.none() | sizes)
def test_pairs_seen_are_those_that_the_mask_allows(positions, causal, window):
    side = Side(layers=1, positions=positions, causal=causal)
    assert side.pairs(window, "half") == np.sum(allowed(Pattern(causal, window), EVERYTHING, positions))
    assert side.pairs(window, "full") == positions**2


@examples
@given(sizes, st.none() | sizes, st.data())
def test_a_prefix_is_seen_by_every_position(positions, window, data):
    prefix = data.draw(st.integers(0, positions))
    side = Side(layers=1, positions=positions, causal=True, prefix=prefix)
    opened = Sight(prefix_B=np.array([prefix]))
    assert side.pairs(window, "half") == np.sum(allowed(Pattern(True, window), opened, positions))


def test_an_encoder_decoder_has_two_sides_and_the_decoder_reads_the_source():
    model = TransformerConfig(architecture="encoder_decoder", encoder_layers=2, **BASE)
    read, written = sides(model, Prefix(text=100, prefix=60))
    assert (read.layers, read.positions, read.causal, read.source) == (2, 60, False, 0)
    assert (written.layers, written.positions, written.causal, written.source) == (6, 41, True, 60)


def test_one_stack_reads_source_and_target_in_one_line():
    model = TransformerConfig(architecture="prefix", **BASE)
    (side,) = sides(model, Prefix(text=100, prefix=60))
    assert (side.positions, side.prefix, side.causal) == (100, 60, True)
    (side,) = sides(TransformerConfig(**BASE), SpanCorruption(text=100))
    assert side.prefix == 0


def test_a_model_that_cannot_learn_the_objective_has_no_sides():
    with pytest.raises(ValueError, match="objective 'masked' with architecture='decoder'"):
        sides(TransformerConfig(**BASE), Masked())
    with pytest.raises(ValueError, match="objective 'next_token' with architecture='encoder'"):
        sides(TransformerConfig(architecture="encoder", **BASE), NextToken())

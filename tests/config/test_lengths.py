"""Known answers: T5's published lengths, BERT's, and what each architecture makes of a pair."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import (
    Completion,
    Denoising,
    Masked,
    MixtureOfDenoisers,
    NextToken,
    Prefix,
    SpanCorruption,
    TransformerConfig,
    lengths,
)

DECODER = TransformerConfig(vocab=100, dim=8, layers=1, heads=1, context=512)
BOTH = replace(DECODER, architecture="encoder_decoder")
ENCODER = replace(DECODER, architecture="encoder")


def test_span_corruption_has_the_lengths_of_t5():
    # Raffel et al. 2020's code: inputs of 512 and targets of 114 from 568 tokens, end tokens included.
    found = lengths(BOTH, SpanCorruption())
    assert (found.text, found.source, found.positions, found.predicted) == (568, 512, 114, 114)


def test_a_decoder_reads_source_and_target_as_one_text():
    found = lengths(DECODER, SpanCorruption(text=100))
    pair = lengths(BOTH, SpanCorruption(text=100))
    assert found.source == 0
    assert found.positions == pair.source + pair.positions - 1
    assert found.predicted == pair.predicted


def test_a_masked_text_gives_room_to_its_special_tokens():
    assert lengths(ENCODER, Masked()).text == 510
    assert lengths(ENCODER, Masked(rate=0.15)).predicted == 76  # 15% of 510
    assert lengths(ENCODER, Masked(next_sentence=True)).text == 509


def test_a_prefix_is_halved_between_encoder_and_decoder():
    found = lengths(BOTH, Prefix(text=100))
    assert (found.source, found.positions, found.predicted) == (50, 51, 51)
    assert lengths(replace(DECODER, architecture="prefix"), Prefix(text=100)).predicted == 51


def test_the_next_token_fills_the_context():
    assert lengths(DECODER, NextToken()).text == lengths(DECODER, NextToken()).predicted == 512


@given(
    context=st.integers(4, 400),
    objective=st.sampled_from([SpanCorruption(), MixtureOfDenoisers(), Denoising(), Prefix()]),
    architecture=st.sampled_from(["decoder", "prefix", "encoder_decoder"]),
)
@settings(deadline=None)
def test_the_text_is_the_longest_that_fits(context, objective, architecture):
    model = replace(DECODER, context=context, architecture=architecture)
    try:
        found = lengths(model, objective)
    except ValueError as error:
        assert "no text fits" in str(error)
        return
    assert 0 < max(found.source, found.positions) <= context
    assert found.predicted <= found.positions
    assert lengths(model, replace(objective, text=found.text)) == found
    with pytest.raises(ValueError, match="lower the objective's text, or raise context"):
        lengths(model, replace(objective, text=3 * context))


def test_a_prompt_and_its_completion_fill_both_sides_in_every_shape():
    found = lengths(BOTH, Completion(shapes=4))
    assert (found.text, found.source, found.positions, found.specials) == (1024, 512, 512, 1)
    found = lengths(BOTH, Completion(prompt=48, shapes=4))
    assert (found.text, found.source, found.positions) == (560, 48, 512)
    with pytest.raises(
        ValueError, match=r"'completion' on text=96 tokens: the prompt must be .* 2 \*\* \(shapes - 1\)"
    ):
        lengths(BOTH, Completion(text=96, prompt=36, shapes=4))


def test_a_text_that_leaves_nothing_to_predict_is_refused():
    with pytest.raises(ValueError, match="the prefix must be shorter than the text"):
        lengths(DECODER, Prefix(text=10, prefix=10))

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaling.config import (
    Denoising,
    Masked,
    MixtureOfDenoisers,
    NextToken,
    Prefix,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    SpanCorruption,
    Word2VecConfig,
    lengths,
)
from scaling.config.lengths import noise_tokens
from scaling.objectives.build import example, needs_marks, needs_pairs
from tests.objectives.made import MARKS, ORDINARY, SPECIALS, TEXT, compiled, made, model, windows

ENCODER = [
    Masked(),
    Masked(whole_words=True),
    Masked(next_sentence=True),
    Masked(whole_words=True, next_sentence=True),
    ReplacedTokens(),
]
PAIRS = [
    Prefix(),
    SpanCorruption(),
    SpanCorruption(rate=0.5, mean_span=8.0),
    MixtureOfDenoisers(),
    *(Denoising(noise=noise, permute_sentences=p) for noise in ("mask", "delete", "infill") for p in (False, True)),
]
CASES = [
    ("decoder", NextToken()),
    *(("encoder", objective) for objective in ENCODER),
    *((architecture, objective) for architecture in ("decoder", "prefix", "encoder_decoder") for objective in PAIRS),
]
# One case of each layout and each kind of padding.
REAL = [
    ("decoder", NextToken(text=TEXT)),
    ("encoder", Masked(text=TEXT)),
    ("encoder", Masked(text=TEXT, next_sentence=True)),
    ("prefix", SpanCorruption(text=TEXT)),
    ("prefix", Prefix(text=TEXT)),
    ("decoder", MixtureOfDenoisers(text=TEXT)),
    ("prefix", Denoising(text=TEXT)),
    ("encoder_decoder", Denoising(text=TEXT)),
]
names = [f"{architecture}-{objective.kind}" for architecture, objective in REAL]


def shapes(model, objective, rows=3):
    """The example's shapes, traced but not computed, and the lengths."""
    found = lengths(model, objective)
    window_BW = jax.ShapeDtypeStruct((rows, found.text + 1), jnp.int32)
    keys_B = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows))
    make = partial(example, model, objective, max(SPECIALS, found.specials))
    return jax.eval_shape(make, window_BW, keys_B, MARKS, window_BW), found


def check_shapes(architecture, objective, context):
    made, found = shapes(model(architecture, context), objective)
    predicted = noise_tokens(found.text, objective.rate) if objective.kind == "replaced_tokens" else found.predicted
    assert made.inputs.tokens_BT.shape == (3, found.positions)
    assert made.targets_BK.shape == made.weights_BK.shape == made.places_BK.shape == (3, predicted)
    assert made.inputs.tokens_BT.dtype == made.targets_BK.dtype == made.places_BK.dtype == jnp.int32
    assert made.weights_BK.dtype == jnp.float32
    assert (made.inputs.source_BS is None) == (architecture != "encoder_decoder")
    if architecture == "encoder_decoder":
        assert made.inputs.source_BS.shape == (3, found.source)
    assert (made.inputs.prefix_B is None) == (architecture != "prefix")
    assert (made.next_B is None) == (not needs_pairs(objective))


@pytest.mark.parametrize(("architecture", "objective"), CASES)
def test_shapes_are_those_that_lengths_says(architecture, objective):
    check_shapes(architecture, objective, context=48)


@given(
    case=st.sampled_from(CASES),
    context=st.integers(4, 90),
    rate=st.floats(0.01, 0.99),
    mean_span=st.floats(1, 20),
    text=st.none() | st.integers(2, 60),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_shapes_are_those_that_lengths_says_for_any_rate_and_context(case, context, rate, mean_span, text):
    architecture, objective = case
    given = {"rate": rate, "mean_span": mean_span, "text": text}
    objective = replace(objective, **{name: value for name, value in given.items() if hasattr(objective, name)})
    try:
        lengths(model(architecture, context), objective)
    except ValueError:  # nothing fits
        assume(False)
    check_shapes(architecture, objective, context)


def test_recurrent_models_read_the_same_layouts():
    for architecture in ("decoder", "encoder_decoder"):
        recurrent = RecurrentConfig(vocab=ORDINARY + SPECIALS, dim=8, layers=1, architecture=architecture, context=64)
        for objective in (SpanCorruption(), Prefix()):
            of_transformer, _ = shapes(model(architecture, 64), objective)
            assert shapes(recurrent, objective)[0] == of_transformer


@pytest.mark.parametrize(("architecture", "objective"), [case for case in REAL if case[0] != "encoder"])
def test_a_place_comes_just_before_the_token_it_predicts(architecture, objective):
    found = made(architecture, objective)
    tokens, places = found.inputs.tokens_BT, found.places_BK
    inside = (places + 1 < tokens.shape[1]) & (found.weights_BK > 0)
    after = np.take_along_axis(tokens, np.minimum(places + 1, tokens.shape[1] - 1), axis=1)
    # The last token of a row is predicted and never read.
    inside &= np.append(found.weights_BK[:, 1:] > 0, np.zeros((len(tokens), 1), bool), axis=1)
    np.testing.assert_array_equal(after[inside], found.targets_BK[inside])
    assert inside.any()
    if architecture == "prefix":
        np.testing.assert_array_equal(places[:, 0], found.inputs.prefix_B - 1)


@pytest.mark.parametrize(("architecture", "objective"), REAL, ids=names)
def test_tokens_are_of_the_vocabulary_and_places_of_the_sequence(architecture, objective):
    found = made(architecture, objective)
    for tokens in (found.inputs.tokens_BT, found.targets_BK, found.inputs.source_BS):
        assert tokens is None or (tokens.min() >= 0 and tokens.max() < ORDINARY + found.lengths.specials)
    assert found.places_BK.min() >= 0 and found.places_BK.max() < found.lengths.positions
    assert set(np.unique(found.weights_BK)) <= {0, 1}
    assert (found.weights_BK.sum(axis=1) <= found.lengths.predicted).all()
    if objective.kind != "ul2":
        assert (found.weights_BK == 1).all()


def leaves(found):
    return jax.tree.leaves((found.inputs, found.targets_BK, found.weights_BK, found.places_BK))


@pytest.mark.parametrize(("architecture", "objective"), REAL, ids=names)
def test_a_row_depends_on_its_own_window_and_key_alone(architecture, objective):
    before = made(architecture, objective)
    # Rows in reverse, one of them of another window.
    window = windows(TEXT)[::-1].copy()
    window[5] = windows(TEXT, seed=2)[5]
    keys = jax.random.split(jax.random.key(0), len(window))[::-1]
    after = compiled(architecture, objective)(window, keys, MARKS, windows(TEXT, seed=1)[::-1])
    for one, other in zip(leaves(before), leaves(after), strict=True):
        np.testing.assert_array_equal(np.delete(one, -6, axis=0), np.delete(np.asarray(other)[::-1], -6, axis=0))
    assert compiled(architecture, objective)._cache_size() == 1


def test_rows_of_one_text_are_corrupted_each_in_its_own_way():
    window = np.tile(windows(TEXT)[:1], (512, 1))
    keys = jax.random.split(jax.random.key(3), 512)
    found = compiled("encoder", Masked(text=TEXT))(window, keys, MARKS, window)
    # Nine places of 61: two rows of 512 hardly ever choose the same.
    assert len(np.unique(found.inputs.tokens_BT, axis=0)) == 512


def test_what_is_missing_is_named():
    keys, window = jax.random.split(jax.random.key(0), 2), windows(8, rows=2)
    with pytest.raises(ValueError, match=r"'masked' with words or sentences, but marks=None; give marks\("):
        example(model("encoder"), Masked(text=8, whole_words=True), SPECIALS, window, keys)
    with pytest.raises(ValueError, match="'masked' with next_sentence, but other_BW=None; give another window"):
        example(model("encoder"), Masked(text=8, next_sentence=True), SPECIALS, window, keys)
    with pytest.raises(ValueError, match=r"'skip_gram' makes no examples.*word2vec.losses"):
        example(Word2VecConfig(vocab=300, dim=4), SkipGram(text=8), 0, window, keys)


def test_only_words_and_sentences_need_marks_and_only_next_sentence_needs_pairs():
    for objective in (NextToken(), *ENCODER, *PAIRS, SkipGram()):
        words = getattr(objective, "whole_words", False) or getattr(objective, "permute_sentences", False)
        assert needs_marks(objective) == words
        assert needs_pairs(objective) == getattr(objective, "next_sentence", False)

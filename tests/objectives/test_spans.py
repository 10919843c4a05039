from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import SPECIALS, MixtureOfDenoisers, SpanCorruption
from scaling.config.lengths import noise_spans, noise_tokens, span_lengths, ul2_denoisers, ul2_lengths
from scaling.models.inputs import PADDING
from scaling.objectives.spans import noise_mask
from scaling.objectives.special_tokens import sentinel, special
from tests.objectives.made import ORDINARY, ROWS, TEXT, assert_share, made, quick_jit

END = special(ORDINARY, "end")
MODES = {special(ORDINARY, mode): mode for mode in ("regular", "extreme", "sequential")}
T5 = SpanCorruption(text=TEXT)
UL2 = MixtureOfDenoisers(text=TEXT)
mask_rows = quick_jit(jax.vmap(noise_mask, in_axes=(0, 0, None, None)))


def masks(rows, text, noise, spans, seed=0):
    drawn = np.random.default_rng(seed).integers(0, 1 << 32, (2, rows, text), np.uint32)
    return np.asarray(mask_rows(*jnp.asarray(drawn), noise, spans))


def count_spans(mask):
    return (np.diff(mask.astype(int), prepend=0, axis=-1) == 1).sum(axis=-1)


def is_sentinel(token):
    return token >= ORDINARY + len(SPECIALS)


def restored(source, target):
    """The text that a source and a target, without their end tokens, were made from."""
    spans, text = {}, []
    for token in target:
        if is_sentinel(token):
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    for token in source:
        text += spans.pop(token) if is_sentinel(token) else [token]
    assert not spans, "a span of the target without its sentinel in the source"
    return text


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_mask_has_exactly_its_noise_in_exactly_its_spans_and_begins_with_text(data):
    noise = data.draw(st.integers(1, 11))
    spans = data.draw(st.integers(1, min(noise, 12 - noise)))
    mask = masks(5, 12, noise, spans, seed=data.draw(st.integers(0, 1000)))
    assert (mask.sum(axis=1) == noise).all()
    assert (count_spans(mask) == spans).all()
    assert not mask[:, 0].any() and mask[:, -1].all()


def test_every_way_to_cut_the_text_is_as_likely():
    counts = Counter("".join("x" if noisy else "." for noisy in row) for row in masks(4000, 6, 3, 2))
    assert set(counts) == {".x..xx", ".xx..x", "..x.xx", "..xx.x"}
    for one in counts.values():
        assert_share(one / 4000, 1 / 4, 4000)


def test_a_single_span_is_the_end_of_the_text():
    assert masks(5, 12, 2, 1).tolist() == [[False] * 10 + [True] * 2] * 5


def test_source_and_target_restore_the_text_and_end_with_the_end():
    found = made("encoder_decoder", T5)
    assert found.inputs.source_BS.shape[1] == span_lengths(TEXT, 0.15, 3.0)[0]
    assert (found.inputs.source_BS[:, -1] == END).all() and (found.targets_BK[:, -1] == END).all()
    for source, target, text in zip(found.inputs.source_BS, found.targets_BK, found.text_BT, strict=True):
        assert restored(source[:-1], target[:-1]) == text.tolist()


def test_sentinels_ascend_and_no_other_special_token_stands_in_a_pair():
    found = made("encoder_decoder", T5)
    expected = [sentinel(ORDINARY, index) for index in range(noise_spans(TEXT, 0.15, 3.0))] + [END]
    for side in (found.inputs.source_BS, found.targets_BK):
        for row in side:
            np.testing.assert_array_equal(row[row >= ORDINARY], expected)


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.5, 3.0), (0.5, 1.0)])
def test_the_rate_and_the_mean_span_are_those_asked_for(rate, mean):
    noise, spans = noise_tokens(500, rate), noise_spans(500, rate, mean)
    assert noise / 500 == pytest.approx(rate, abs=0.5 / 500)  # rounded to whole tokens,
    assert noise / spans == pytest.approx(mean, rel=0.5 / spans)  # and to whole spans
    mask = masks(8, 500, noise, spans)
    assert mask.mean() == noise / 500
    assert mask.sum() / count_spans(mask).sum() == noise / spans


def test_every_target_of_t5_bears_loss():
    found = made("encoder_decoder", T5)
    assert (found.weights_BK.sum(axis=1) == found.lengths.predicted).all()
    assert found.inputs.source_documents_BS is None


def denoisers_of(found):
    """Which of the seven made each row, and its source and target without mode, end and fillers."""
    places = {(d.noise, d.spans if d.marked else 0, d.mode): which for which, d in enumerate(ul2_denoisers(TEXT))}
    rows = []
    for row in range(ROWS):
        source = found.inputs.source_BS[row][found.inputs.source_documents_BS[row] != PADDING]
        target = found.targets_BK[row][found.weights_BK[row] > 0]
        assert source[-1] == END and target[-1] == END
        sentinels = is_sentinel(source).sum()
        key = len(target) - 1 - sentinels, sentinels, MODES[source[0]]
        rows.append((places[key], source[1:-1], target[:-1]))
    return rows


def test_ul2_restores_the_text_whatever_the_denoiser():
    found = made("encoder_decoder", UL2)
    for (which, source, target), text in zip(denoisers_of(found), found.text_BT, strict=True):
        sequential = ul2_denoisers(TEXT)[which].mode == "sequential"
        assert (([*source, *target]) if sequential else restored(source, target)) == text.tolist()


def test_ul2s_denoisers_are_equally_likely():
    counts = Counter(which for which, _, _ in denoisers_of(made("encoder_decoder", UL2)))
    # At 61 tokens no two of the seven are alike.
    assert set(counts) == set(range(7))
    for which in range(7):
        assert_share(counts[which] / ROWS, 1 / 7, ROWS)


def test_ul2s_fillers_stand_behind_the_end_and_bear_no_loss():
    found = made("encoder_decoder", UL2)
    padding = found.inputs.source_documents_BS == PADDING
    for fillers in (padding, found.weights_BK == 0):
        assert (np.diff(fillers.astype(int), axis=1) >= 0).all() and fillers.any() and not fillers[:, 0].any()
    assert (found.inputs.source_BS[padding] == END).all()
    assert found.inputs.source_BS.shape[1] == ul2_lengths(TEXT)[0]
    assert (~padding).all(axis=1).any() and found.weights_BK.all(axis=1).any()  # the lengths are reached


def test_one_sequence_of_ul2_is_as_long_as_its_longest_denoiser():
    found = made("decoder", UL2)
    read = found.places_BK[:, 0] + found.weights_BK.sum(axis=1)  # source and target without its last token
    assert read.max() == found.lengths.positions
    assert found.lengths.positions < sum(ul2_lengths(TEXT)) - 1


def test_two_tokens_of_text_suffice():
    found = made("encoder_decoder", replace(UL2, text=2), rows=32)
    first, second = found.text_BT.T
    unmarked = found.inputs.source_BS[:, 0] == special(ORDINARY, "sequential")
    np.testing.assert_array_equal(found.inputs.source_BS[:, 1], first)
    np.testing.assert_array_equal(np.where(unmarked, found.targets_BK[:, 0], found.targets_BK[:, 1]), second)

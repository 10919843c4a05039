from collections import Counter
from dataclasses import replace
from math import exp

import numpy as np
import pytest

from scaling.config import Denoising
from scaling.config.lengths import infill_masks, noise_tokens
from scaling.models.inputs import PADDING
from scaling.objectives.special_tokens import special
from tests.objectives.made import MARKS, ORDINARY, ROWS, TEXT, assert_share, made

MASK, END = special(ORDINARY, "mask"), special(ORDINARY, "end")
NOISE = noise_tokens(TEXT, 0.3)
MASKED = Denoising(text=TEXT, noise="mask")
DELETED = Denoising(text=TEXT, noise="delete")
INFILLED = Denoising(text=TEXT)
PERMUTED = Denoising(text=TEXT, permute_sentences=True)


def sources(found):
    """The source of each row without its end and its padding."""
    for row, source in enumerate(found.inputs.source_BS):
        if found.inputs.source_documents_BS is not None:
            source = source[found.inputs.source_documents_BS[row] != PADDING]
        assert source[-1] == END
        yield source[:-1]


def span_lengths_of(source, text):
    """The tokens that each run of masks stands for, and the length of the run."""
    place = {token: index for index, token in enumerate(text)}
    kept = [-1, *(place[token] for token in source if token != MASK), len(text)]
    runs = [0]
    for token in source:
        if token == MASK:
            runs[-1] += 1
        else:
            runs.append(0)
    gaps = np.diff(kept) - 1
    return [(gap, run) for gap, run in zip(gaps, runs, strict=True) if gap or run]


@pytest.mark.parametrize("objective", [MASKED, DELETED, INFILLED, PERMUTED])
def test_the_whole_text_is_predicted_and_its_end(objective):
    found = made("encoder_decoder", objective)
    np.testing.assert_array_equal(found.targets_BK[:, :-1], found.text_BT)
    assert (found.targets_BK[:, -1] == END).all() and (found.weights_BK == 1).all()


def test_exactly_the_noise_is_masked_and_the_rest_is_the_text():
    found = made("encoder_decoder", MASKED)
    shown = np.stack(list(sources(found)))
    assert ((shown == MASK).sum(axis=1) == NOISE).all()
    assert ((shown == MASK) | (shown == found.text_BT)).all()


def test_exactly_the_noise_is_deleted_and_the_rest_keeps_its_order():
    found = made("encoder_decoder", DELETED)
    deleted = np.zeros(TEXT)
    for source, text in zip(sources(found), found.text_BT, strict=True):
        stays = np.isin(text, source)
        np.testing.assert_array_equal(text[stays], source)
        deleted += ~stays
    assert deleted.sum() == NOISE * ROWS
    for count in deleted:
        assert_share(count / ROWS, NOISE / TEXT, ROWS)


def test_masks_of_infilling_stand_for_exactly_the_noise_and_the_rest_keeps_its_order():
    found = made("encoder_decoder", INFILLED)
    for source, text in zip(sources(found), found.text_BT, strict=True):
        stays = np.isin(text, source)
        np.testing.assert_array_equal(text[stays], source[source != MASK])
        assert (~stays).sum() == NOISE
        assert all(run > 0 for _, run in span_lengths_of(source, text)), "tokens are missing without a mask"


def test_infilled_spans_are_poisson():
    # A long text of many spans: the last, which is cut, weighs little. 145 tokens of noise, about 49 spans a row.
    found = made("encoder_decoder", Denoising(text=290, rate=0.5), rows=128)
    noise = noise_tokens(290, 0.5)
    spans = np.array([(source == MASK).sum() for source in sources(found)])
    # n spans hold the noise when their sum first reaches it: a renewal of mean 3 and variance 3. The mean excess of
    # the last, which is cut off, is (E[X^2] / E[X] - 1) / 2 = 1.5.
    assert noise / 3 + 1.5 / 3 == pytest.approx(spans.mean(), abs=5 * np.sqrt(noise / 9 / len(spans)))
    alone = [
        gap
        for source, text in zip(sources(found), found.text_BT, strict=True)
        for gap, run in span_lengths_of(source, text)
        if run == 1
    ]
    # The cut span is one of about 50, and 0.5 shorter than 3 on average: less than 0.02 of the mean.
    assert np.mean(alone) == pytest.approx(3, abs=0.02 + 5 * np.sqrt(3 / len(alone)))
    assert np.mean(np.array(alone) == 0) == pytest.approx(exp(-3), abs=exp(-3) / 40 + 5 * np.sqrt(exp(-3) / len(alone)))


def test_a_mask_may_stand_anywhere():
    found = made("encoder_decoder", INFILLED)
    ends = np.array([[source[0] == MASK, source[-1] == MASK] for source in sources(found)])
    share = np.mean([np.mean(source == MASK) for source in sources(found)])
    for at_end in ends.mean(axis=0):
        assert_share(at_end, share, ROWS)


def test_padding_of_infilling_stands_behind_the_end_and_is_never_needed_beyond_its_room():
    found = made("encoder_decoder", INFILLED)
    padding = found.inputs.source_documents_BS == PADDING
    assert (np.diff(padding.astype(int), axis=1) >= 0).all() and not padding[:, 0].any()
    assert (found.inputs.source_BS[padding] == END).all()
    masks = (found.inputs.source_BS == MASK).sum(axis=1)
    assert masks.max() < infill_masks(TEXT, 0.3, 3.0)


def test_infilling_of_mostly_empty_spans_still_takes_exactly_the_noise():
    found = made("encoder_decoder", Denoising(text=20, rate=0.9, mean_span=0.5), rows=64)
    for source, text in zip(sources(found), found.text_BT, strict=True):
        assert (~np.isin(text, source)).sum() == noise_tokens(20, 0.9)


def sentences_of(text):
    ends = np.flatnonzero(MARKS.ends_sentence_V[text])
    return [tuple(part) for part in np.split(text, ends + 1) if len(part)]


def test_sentences_are_permuted_as_wholes():
    found = made("encoder_decoder", replace(PERMUTED, noise="mask", rate=0.001))  # one token is masked
    moved = 0
    for source, text in zip(sources(found), found.text_BT, strict=True):
        (masked,) = np.flatnonzero(source == MASK)
        (missing,) = set(text.tolist()) - set(source.tolist())
        source = source.copy()
        source[masked] = missing
        rest, order = source.tolist(), []
        by_first = {sentence[0]: sentence for sentence in sentences_of(text)}
        while rest:
            sentence = by_first.pop(rest[0])
            assert tuple(rest[: len(sentence)]) == sentence
            rest, order = rest[len(sentence) :], [*order, sentence]
        assert not by_first
        moved += order != sentences_of(text)
    assert moved > 0.9 * ROWS  # about nine sentences: an order is hardly ever the text's


def test_every_sentence_comes_first_equally_often():
    found = made("encoder_decoder", replace(PERMUTED, noise="mask", rate=0.001))
    firsts, expected = Counter(), Counter()
    for source, text in zip(sources(found), found.text_BT, strict=True):
        starts = [sentence[0] for sentence in sentences_of(text)]
        firsts[starts.index(source[0]) if source[0] in starts else -1] += 1
        for index in range(len(starts)):
            expected[index] += 1 / len(starts)
    for index in range(4):
        # One row in 61 has its first token masked.
        assert firsts[index] / ROWS == pytest.approx(
            expected[index] / ROWS, abs=1 / TEXT + 5 * np.sqrt(expected[index]) / ROWS
        )


def test_permuted_text_is_noised_after_it_is_permuted():
    found = made("encoder_decoder", PERMUTED)
    for source, text in zip(sources(found), found.text_BT, strict=True):
        kept = [token for token in source.tolist() if token != MASK]
        assert len(kept) == TEXT - NOISE and set(kept) <= set(text.tolist())


def test_two_tokens_of_text_suffice():
    found = made("encoder_decoder", Denoising(text=2), rows=32)
    for source, text in zip(sources(found), found.text_BT, strict=True):
        assert np.isin(text, source).sum() == 1

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import Masked
from scaling.config.lengths import noise_tokens
from scaling.objectives.masked import whole_words
from scaling.objectives.special_tokens import special
from tests.objectives.made import MARKS, ORDINARY, ROWS, TEXT, assert_share, made, quick_jit

MASK, CLASS, SEPARATOR = (special(ORDINARY, name) for name in ("mask", "class", "separator"))
SINGLE = Masked(text=TEXT)
PAIRED = Masked(text=TEXT, next_sentence=True)
WORDS = Masked(text=TEXT, whole_words=True)
CAPACITY = noise_tokens(TEXT, 0.15)

words_rows = quick_jit(jax.vmap(whole_words, in_axes=(0, 0, None)))


def at(tokens_BT, places_BK):
    return np.take_along_axis(tokens_BT, places_BK, axis=1)


def unmasked(found):
    """The inputs with the targets in their places."""
    tokens_BT = found.inputs.tokens_BT.copy()
    rows, columns = np.nonzero(found.weights_BK)
    tokens_BT[rows, found.places_BK[rows, columns]] = found.targets_BK[rows, columns]
    return tokens_BT


def test_exactly_the_capacity_is_predicted_no_place_twice():
    found = made("encoder", SINGLE)
    assert found.places_BK.shape == (ROWS, CAPACITY) and (found.weights_BK == 1).all()
    assert (np.diff(found.places_BK, axis=1) > 0).all()


def test_targets_restore_the_text_between_its_special_tokens():
    restored = unmasked(made("encoder", SINGLE))
    assert (restored[:, 0] == CLASS).all() and (restored[:, -1] == SEPARATOR).all()
    np.testing.assert_array_equal(restored[:, 1:-1], made("encoder", SINGLE).text_BT)


def test_every_token_of_the_text_is_as_likely_chosen():
    counts = np.bincount(made("encoder", SINGLE).places_BK.reshape(-1), minlength=TEXT + 2)
    assert counts[0] == counts[-1] == 0
    for count in counts[1:-1]:
        assert_share(count / ROWS, CAPACITY / TEXT, ROWS)


def test_of_the_chosen_eight_tenths_are_masked_one_is_random_one_stays():
    found = made("encoder", SINGLE)
    shown = at(found.inputs.tokens_BT, found.places_BK)
    stays = shown == found.targets_BK
    assert_share((shown == MASK).mean(), 0.8, shown.size)
    # A random token is in one of 300 cases the one that stood there.
    assert_share(stays.mean(), 0.1 + 0.1 / ORDINARY, shown.size)
    random = shown[~stays & (shown != MASK)]
    assert random.max() < ORDINARY
    # Uniform from 0 to 299: the mean of n has a standard error of 300 / sqrt(12 n).
    assert random.mean() == pytest.approx((ORDINARY - 1) / 2, abs=5 * ORDINARY / np.sqrt(12 * len(random)))


def test_what_is_not_chosen_is_untouched():
    found = made("encoder", SINGLE)
    changed = found.inputs.tokens_BT != unmasked(found)
    np.put_along_axis(changed, found.places_BK, False, axis=1)
    assert not changed.any()


def test_all_shares_can_be_changed():
    found = made("encoder", replace(SINGLE, mask_share=0.0, random_share=0.0), rows=16)
    np.testing.assert_array_equal(found.inputs.tokens_BT, unmasked(found))


def test_half_of_the_pairs_follow_and_the_others_come_from_another_text():
    found = made("encoder", PAIRED)
    assert_share(found.next_B.mean(), 0.5, ROWS)
    restored = unmasked(found)
    first, second = restored[:, 1:31], restored[:, 32:63]
    np.testing.assert_array_equal(first, found.text_BT[:, :30])
    follows = found.next_B == 1
    np.testing.assert_array_equal(second[follows], found.text_BT[follows, 30:])
    np.testing.assert_array_equal(second[~follows], found.other_BW[~follows, 30:-1])


def test_pairs_are_framed_and_typed():
    found = made("encoder", PAIRED)
    for place, token in ((0, CLASS), (31, SEPARATOR), (63, SEPARATOR)):
        assert (found.inputs.tokens_BT[:, place] == token).all()
        assert not (found.places_BK == place).any()
    assert (found.inputs.types_BT == np.repeat([0, 1], [32, 32])).all()
    assert (found.weights_BK == 1).all()


def test_whole_words_are_chosen_or_left():
    found = made("encoder", WORDS)
    begins = MARKS.begins_word_V[found.text_BT]
    begins[:, 0] = True
    chosen = np.zeros_like(begins)
    rows, columns = np.nonzero(found.weights_BK)
    chosen[rows, found.places_BK[rows, columns] - 1] = True
    for row in range(ROWS):
        for word in np.split(chosen[row], np.flatnonzero(begins[row])[1:]):
            assert word.all() or not word.any()
    np.testing.assert_array_equal(chosen.sum(axis=1), found.weights_BK.sum(axis=1))


def test_fillers_of_whole_words_change_nothing():
    found = made("encoder", WORDS)
    assert 0 < (found.weights_BK == 0).mean() < 0.05  # words of mean 3: there is nearly always one that fits
    np.testing.assert_array_equal(unmasked(found)[:, 1:-1], found.text_BT)
    assert (found.places_BK < found.lengths.positions).all() and (found.targets_BK < ORDINARY).all()


def chosen_words(begins, capacity, seed=0):
    """What is chosen of 24 tokens in a thousand rows alike."""
    words = np.random.default_rng(seed).integers(0, 1 << 32, (1000, 24), np.uint32)
    return np.asarray(words_rows(jnp.asarray(words), np.broadcast_to(begins, (1000, 24)), capacity))


def test_words_of_one_length_are_taken_while_they_fit():
    chosen = chosen_words(np.arange(24) % 3 == 0, 8)
    assert (chosen.sum(axis=1) == 6).all()
    for share in chosen.mean(axis=0):
        assert_share(share, 2 / 8, 1000)


def test_a_word_too_long_for_the_rest_gives_way_to_shorter_ones():
    begins = np.arange(24) % 3 == 0
    begins[6:] = True
    chosen = chosen_words(begins, 8)
    assert (chosen.sum(axis=1) == 8).all()


def test_a_text_of_one_long_word_bears_no_loss():
    assert not chosen_words(np.arange(24) == 0, 8).any()


@given(begins=st.lists(st.booleans(), min_size=24, max_size=24), capacity=st.integers(1, 23), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_never_more_than_the_capacity_and_no_word_is_left_that_would_fit(begins, capacity, seed):
    begins = np.array([True, *begins[1:]])
    chosen = chosen_words(begins, capacity, seed)[:20]
    assert (chosen.sum(axis=1) <= capacity).all()
    for row in chosen:
        left = [len(word) for word in np.split(row, np.flatnonzero(begins)[1:]) if not word.any()]
        assert not left or min(left) > capacity - row.sum()


def test_two_tokens_of_text_suffice_for_a_pair():
    found = made("encoder", replace(PAIRED, text=2), rows=32)
    assert found.places_BK.shape == (32, 1) and (found.weights_BK == 1).all()
    assert set(np.unique(found.places_BK)) == {1, 3}


def test_no_special_token_but_the_mask_stands_in_the_text_and_none_is_a_target():
    for objective in (SINGLE, PAIRED, WORDS):
        found = made("encoder", objective)
        assert found.targets_BK.max() < ORDINARY
        special_ids = np.sort(found.inputs.tokens_BT * (found.inputs.tokens_BT >= ORDINARY), axis=1)
        frame = 3 if objective is PAIRED else 2
        assert ((special_ids == CLASS) | (special_ids == SEPARATOR)).sum() == frame * ROWS
        assert np.isin(special_ids, [0, MASK, CLASS, SEPARATOR]).all()

from dataclasses import replace

import numpy as np
import pytest

from scaling.config import Denoising, Masked, Prefix, SkipGram, Word2VecConfig
from scaling.training.feed import Feed, keys


def masked(run, **options):
    """The small run as a masked one."""
    pairs = options.get("next_sentence", False)
    model = replace(run.model, vocab=262, architecture="encoder", sentence_head=pairs)
    data = replace(run.data, specials=5)
    text = 16 - (3 if pairs else 2)
    return replace(run, model=model, data=data, objective=Masked(**options), tokens=text * 4 * 30)


def test_no_two_places_and_no_two_seeds_share_a_key():
    places = np.concatenate([np.arange(5000), 2**32 + np.arange(5000)])
    drawn = np.concatenate([keys(seed, places) for seed in (0, 1, 2)])
    assert drawn.dtype == np.uint32
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_a_batch_is_a_function_of_seed_and_step(pinned):
    run, store = pinned
    first, again, later, other = (
        Feed(each, store).step(step) for each, step in ((run, 3), (run, 3), (run, 4), (replace(run, seed=1), 3))
    )
    np.testing.assert_array_equal(first.window_BW, again.window_BW)
    np.testing.assert_array_equal(first.keys_B2, again.keys_B2)
    for different in (later, other):
        assert (first.window_BW != different.window_BW).any()
        assert (first.keys_B2 != different.keys_B2).any()


def test_every_run_of_a_length_is_measured_on_the_same_text_corrupted_in_the_same_way(pinned):
    run, store = pinned
    rows = np.arange(4)
    one, two = (Feed(each, store).heldout_rows(rows) for each in (run, replace(run, seed=5)))
    np.testing.assert_array_equal(one.window_BW, two.window_BW)
    np.testing.assert_array_equal(one.keys_B2, two.keys_B2)


def test_a_window_is_the_text_of_the_objective_and_one_token_more(pinned):
    run, store = pinned
    assert Feed(run, store).step(0).window_BW.shape == (4, 17)
    assert Feed(masked(run), store).step(0).window_BW.shape == (4, 15)


def test_pairs_are_other_windows_of_the_same_split(pinned):
    run, store = pinned
    assert Feed(masked(run), store).step(0).others_BW is None
    found = Feed(masked(run, next_sentence=True), store).step(0)
    assert found.others_BW.shape == found.window_BW.shape
    assert (found.others_BW != found.window_BW).any(axis=1).all()


def test_words_and_sentences_are_marked_where_an_objective_asks(pinned):
    run, store = pinned
    assert Feed(run, store).knowledge.marks is None
    whole = Feed(masked(run, whole_words=True), store).knowledge.marks
    assert whole.begins_word_V.shape == (262,)
    both = replace(run.model, vocab=260, architecture="encoder_decoder")
    denoising = Denoising(permute_sentences=True, text=8)
    bart = replace(run, model=both, data=replace(run.data, specials=3), objective=denoising)
    assert Feed(bart, store).knowledge.marks.ends_sentence_V.any()


def test_negatives_are_drawn_by_the_unigram_counts_to_the_power_of_three_quarters(pinned):
    run, store = pinned
    words = replace(run, model=Word2VecConfig(vocab=257, dim=8, context=16), objective=SkipGram())
    noise_V = Feed(words, store).knowledge.noise_V
    counts = np.bincount(store.train, minlength=257).astype(float)
    common = np.argsort(counts)[-2:]
    assert noise_V.sum() == pytest.approx(1.0, rel=1e-5)
    assert noise_V[common[0]] / noise_V[common[1]] == pytest.approx((counts[common[0]] / counts[common[1]]) ** 0.75)


def test_only_a_prefix_is_told_from_its_beginning(pinned):
    run, store = pinned
    prefix = replace(run, model=replace(run.model, architecture="prefix"), objective=Prefix())
    assert Feed(prefix, store).step(0).window_BW.shape == (4, 17)

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from scaling.config import NgramConfig, ZipfWorld
from scaling.data import worlds
from scaling.data.worlds import zipf
from scaling.data.worlds.tabular import answer_shares, expected_log, expected_loss
from scaling.models import ngram

SMALL = ZipfWorld(documents=400, facts=50, contexts=30, alpha=0.8, answers=3, noise=0.3)


def stream(world, first, last):
    """Code points of some documents, the end of each as -1."""
    texts = (worlds.document(world, index)[1] for index in range(first, last))
    return np.concatenate([np.array([*map(ord, text), -1]) for text in texts])


def test_contexts_come_as_often_as_zipf_says_and_most_get_their_right_answer():
    known = zipf.law(SMALL)
    text = "".join(text for _, text in worlds.documents(SMALL))
    facts = len(text) // 2
    found = Counter(text[::2])
    share = np.array([found[chr(point)] for point in known.characters_K]) / facts
    # Five standard errors of a share.
    assert np.all(np.abs(share - known.chances_K) < 5 * np.sqrt(known.chances_K / facts))
    right = {chr(point): chr(97 + a) for point, a in zip(known.characters_K, known.answers_K, strict=True)}
    hits = np.mean([right[context] == answer for context, answer in zip(text[::2], text[1::2], strict=True)])
    assert hits == pytest.approx(1 - 0.3 + 0.1, abs=5 * np.sqrt(0.16 / facts))
    assert facts / 400 == pytest.approx(50, abs=5 * 50 / np.sqrt(400))  # geometric: spread and mean are alike


def test_the_floor_is_the_mean_surprise_of_a_reader_that_knows_the_law():
    points = stream(SMALL, 0, 400)
    surprise = zipf.nats(SMALL, points[:-1], points[1:])
    error = surprise.std() / np.sqrt(len(surprise))
    assert surprise.mean() == pytest.approx(worlds.floor(SMALL).nats_per_token, abs=4 * error)
    size = len("".join(text for _, text in worlds.documents(SMALL)).encode()) / len(points)
    assert worlds.floor(SMALL).bytes / worlds.floor(SMALL).tokens == pytest.approx(size, rel=0.01)


def test_the_surprises_are_those_of_probabilities_that_sum_to_one():
    after = np.arange(-1, SMALL.code_points)
    for before in (-1, ord("b"), 0x100, 0x11D):
        chances = np.exp(-zipf.nats(SMALL, np.full(after.shape, before), after))
        assert chances.sum() == pytest.approx(1.0)


def test_the_expected_logarithm_of_a_count_is_that_of_the_binomial_distribution():
    draws = 40
    for q in (1e-6, 0.01, 0.37, 0.9, 1.0):
        n = np.arange(draws + 1)
        chance = np.array([1.0])
        for _ in range(draws):
            chance = np.convolve(chance, [1 - q, q])
        for added in (1e-4, 1.0):
            # The interpolation's error on its grid, largest where ln(n + 1e-4) bends most.
            assert expected_log(draws, added)(q) == pytest.approx(chance @ np.log(n + added), abs=1e-6)


def test_the_expected_loss_is_the_mean_of_measured_ones():
    vocab, tokens, kappa = 1 + SMALL.code_points, 1000, 0.7
    points = stream(SMALL, 0, 400)
    heldout = points[20_000:]
    model = NgramConfig(vocab=vocab, order=2, pseudocounts=kappa)
    off = []
    for sample in range(20):
        counts = ngram.count(model, [points[None, sample * tokens : (sample + 1) * tokens + 1] + 1])
        loss = ngram.table_losses(counts, heldout[None] + 1, kappa).mean()
        off.append(loss - zipf.nats(SMALL, heldout[:-1], heldout[1:]).mean())
    expected = expected_loss(SMALL, tokens, vocab, kappa) - worlds.floor(SMALL).nats_per_token
    assert np.mean(off) == pytest.approx(expected, abs=4 * np.std(off) / np.sqrt(20))
    assert np.std(off) / np.sqrt(20) < 0.05 * expected  # so that the test can fail


def test_the_expected_loss_of_a_table_with_rows_for_some_contexts_is_the_mean_of_measured_ones():
    world = replace(SMALL, characters="by_rank")
    vocab, tokens, kappa, kept = 1 + world.code_points, 1000, 0.7, 6
    points = stream(world, 0, 400)
    heldout = points[20_000:]
    # A token is its code point plus one: those of the answers and of the first contexts have rows.
    model = NgramConfig(vocab=vocab, order=2, pseudocounts=kappa, rows=1 + 0x100 + kept)
    off = []
    for sample in range(20):
        counts = ngram.count(model, [points[None, sample * tokens : (sample + 1) * tokens + 1] + 1])
        loss = ngram.table_losses(counts, heldout[None] + 1, kappa).mean()
        off.append(loss - zipf.nats(world, heldout[:-1], heldout[1:]).mean())
    ranks = np.arange(world.contexts)
    expected = expected_loss(world, tokens, vocab, kappa, ranks < kept) - worlds.floor(world).nats_per_token
    error = np.std(off) / np.sqrt(20)
    # How many of the held-out facts are of contexts without rows varies too: their loss is higher by about ln vocab.
    rare, facts = zipf.law(world).chances_K[kept:].sum(), len(heldout) / 2
    luck = np.log(vocab) / 2 * np.sqrt(rare * (1 - rare) / facts)
    assert np.mean(off) == pytest.approx(expected, abs=4 * np.hypot(error, luck))
    assert np.hypot(error, luck) < 0.05 * expected  # so that the test can fail
    assert expected_loss(world, tokens, vocab, kappa, ranks >= 0) == expected_loss(world, tokens, vocab, kappa)


def test_with_data_without_end_rows_for_some_contexts_cost_a_power_of_their_number():
    # All that is lost is what the others hold: the sum of their chances, times ln V less the entropy of an answer.
    world = ZipfWorld(facts=1000, characters="by_rank")
    sizes, vocab, ranks = np.array([8, 32, 128]), 257 + world.code_points, np.arange(world.contexts)
    floor = worlds.floor(world).nats_per_token
    excess = [expected_loss(world, 1e7, vocab, 1.0, ranks < size) - floor for size in sizes]
    chances = np.array([0.1 / 8] * 7 + [0.9 + 0.1 / 8])
    gap = np.log(vocab) + chances @ np.log(chances)
    rare = np.array([zipf.law(world).chances_K[size:].sum() for size in sizes])
    # 1e7 tokens leave an excess of 0.006 of their own, and none beyond.
    over = excess - rare * gap / worlds.floor(world).tokens
    assert (over > 0).all() and (over < 0.006).all()
    slopes = np.diff(np.log(rare)) / np.diff(np.log(sizes))
    np.testing.assert_allclose(slopes, -world.alpha, rtol=0.05)  # a sum from 8 on in place of an integral


def test_by_rank_the_commonest_context_has_the_first_character():
    ranked = replace(SMALL, characters="by_rank")
    assert zipf.law(ranked).characters_K.tolist() == list(range(0x100, 0x100 + 30))
    assert zipf.law(SMALL).characters_K.tolist() != zipf.law(ranked).characters_K.tolist()
    # Which contexts come is the same; what they look like is not.
    rank = {chr(point): k for k, point in enumerate(zipf.law(SMALL).characters_K.tolist())}
    assert [rank[c] for c in worlds.document(SMALL, 3)[1][::2]] == [
        ord(c) - 0x100 for c in worlds.document(ranked, 3)[1][::2]
    ]


def test_a_table_that_has_read_nothing_guesses():
    # One fact in a million is too little to learn from: every context is new.
    world = ZipfWorld(contexts=40_000, alpha=0.01, facts=1000)
    assert expected_loss(world, 8, 50_000, 1.0) == pytest.approx(np.log(50_000), rel=0.05)


@pytest.mark.parametrize("alpha", [0.75, 1.0, 1.5])
def test_the_excess_falls_with_hutters_exponent(alpha):
    world = ZipfWorld(alpha=alpha, facts=1000)
    tokens, vocab = np.array([2e4, 2e5]), 257 + world.code_points
    excess = [expected_loss(world, count, vocab, 1.0) - worlds.floor(world).nats_per_token for count in tokens]
    slope = -np.diff(np.log(excess))[0] / np.diff(np.log(tokens))[0]
    # A sum in place of an integral, and the end of the contexts: within 2% for these worlds, alpha = 0.75 the worst.
    assert slope == pytest.approx(world.beta, rel=0.02)


def test_more_noise_raises_the_floor_and_answers_share_what_is_given():
    noisier = ZipfWorld(documents=1, facts=50, contexts=30, noise=0.6)
    assert worlds.floor(noisier).nats_per_token > worlds.floor(ZipfWorld(contexts=30, facts=50)).nats_per_token
    assert answer_shares(SMALL).sum() == pytest.approx(1.0)

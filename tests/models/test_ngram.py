from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from scaling.config import NgramConfig
from scaling.models import ngram

MODEL = NgramConfig(vocab=7, order=4, context=12)


def text(rows, length, vocab=7, seed=0):
    """Windows of a skewed source whose tokens depend on the one before."""
    draw = np.random.default_rng(seed)
    steps = draw.geometric(0.5, (rows, length))
    return (np.cumsum(steps, axis=1) * 3 % vocab).astype(np.int32)


def smoothed(windows, model=MODEL):
    return ngram.smooth(ngram.count(model, [windows]))


class Literal:
    """The textbook's equations on dictionaries, one probability at a time."""

    def __init__(self, windows, model):
        self.vocab, self.order = model.vocab, model.order
        raw = defaultdict(Counter)
        for row in windows.tolist():
            for end in range(1, len(row)):  # the last token of the n-gram
                for order in range(1, min(self.order, end + 1) + 1):
                    raw[order][tuple(row[end - order + 1 : end + 1])] += 1
        befores = defaultdict(lambda: defaultdict(set))
        for order in range(2, self.order + 1):
            for gram in raw[order]:
                befores[order - 1][gram[1:]].add(gram[0])
        self.raw = raw
        self.continued = {order: {g: len(found) for g, found in grams.items()} for order, grams in befores.items()}

    def probability(self, context, token):
        context = tuple(context)[max(0, len(context) - self.order + 1) :]
        return self._smoothed(self.raw[len(context) + 1], context, token)

    def _smoothed(self, counts, context, token):
        shorter = 1 / self.vocab
        if context:
            shorter = self._smoothed(self.continued.get(len(context), {}), context[1:], token)
        children = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == context}
        if not children:
            return shorter
        once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        kept = max(children.get(token, 0) - discount, 0)
        return (kept + discount * len(children) * shorter) / sum(children.values())


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [1, 30])
def test_probabilities_are_those_of_the_textbook(order, rows):
    model = NgramConfig(vocab=7, order=order)
    windows, asked = text(rows, 9), text(20, 11, seed=1)
    literal = Literal(windows, model)
    expected = [[-np.log(literal.probability(row[:t], row[t])) for t in range(1, 11)] for row in asked.tolist()]
    # The same sums in float64, in another order.
    np.testing.assert_allclose(ngram.losses(smoothed(windows, model), asked), expected, rtol=1e-12)


@pytest.mark.parametrize("rows", [0, 1, 200])
def test_probabilities_sum_to_one_in_seen_and_unseen_contexts(rows):
    trained = smoothed(text(rows, 12))
    contexts = np.random.default_rng(2).integers(0, 7, (50, 6))
    every = np.concatenate([np.repeat(contexts, 7, axis=0), np.tile(np.arange(7), 50)[:, None]], axis=1)
    probabilities = np.exp(-ngram.losses(trained, every)[:, -1]).reshape(50, 7)
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)  # float64


def test_a_model_that_has_seen_nothing_is_uniform():
    np.testing.assert_allclose(ngram.losses(smoothed(text(0, 12)), text(2, 5)), np.log(7), rtol=1e-12)


def test_counts_do_not_depend_on_how_the_text_comes_in_parts(monkeypatch):
    windows = text(64, 12)
    whole = ngram.count(MODEL, [windows])
    monkeypatch.setattr(ngram, "CHUNK_TOKENS", 30)
    parts = ngram.count(MODEL, (windows[start : start + 5] for start in range(0, 64, 5)))
    for name, array in ngram.to_arrays(whole).items():
        np.testing.assert_array_equal(ngram.to_arrays(parts)[name], array, err_msg=name)


def test_counts_survive_being_written_as_arrays(tmp_path):
    counts = ngram.count(MODEL, [text(16, 12)])
    np.savez(tmp_path / "counts.npz", **ngram.to_arrays(counts))
    with np.load(tmp_path / "counts.npz") as arrays:
        back = ngram.from_arrays(dict(arrays))
    asked = text(4, 12, seed=1)
    np.testing.assert_array_equal(ngram.losses(ngram.smooth(back), asked), ngram.losses(ngram.smooth(counts), asked))


def test_the_size_is_the_number_of_different_n_grams():
    windows = np.array([[0, 1, 2, 1, 2], [0, 1, 2, 1, 2]])
    # Predicted tokens 1, 2; pairs 01, 12, 21; triples 012, 121, 212; fours 0121, 1212.
    assert ngram.size(ngram.count(MODEL, [windows])) == 2 + 3 + 3 + 2
    assert ngram.size(ngram.empty(MODEL)) == 0


def test_no_n_gram_crosses_the_beginning_of_a_sequence():
    counts = ngram.count(NgramConfig(vocab=7, order=2), [np.array([[0, 1], [2, 3]])])
    assert counts.keys[0].tolist() == [0 * 7 + 1, 2 * 7 + 3]
    assert counts.counts[0].tolist() == [0, 1, 0, 1, 0, 0, 0]


def test_long_n_grams_of_a_large_vocabulary_are_kept_apart():
    model = NgramConfig(vocab=200_000, order=6)  # 106 bits an n-gram
    rows = np.array([[199_999, 3, 150_000, 199_998, 0, 7, 199_999, 3]] * 2)
    counts = ngram.count(model, [rows])
    assert [len(keys) for keys in counts.keys] == [6, 6, 5, 4, 3]
    # Every n-gram is seen twice, so D = 1/2 everywhere and at least half of its share is kept.
    assert (ngram.losses(ngram.smooth(counts), rows)[:, -1] < -np.log(0.5)).all()


def test_more_text_predicts_better():
    asked = text(100, 20, seed=9)
    found = [ngram.losses(smoothed(text(rows, 20)), asked).mean() for rows in (1, 10, 100, 1000)]
    assert found == sorted(found, reverse=True)


def test_the_entropy_of_a_markov_source_is_reached_and_not_passed():
    vocab, draw = 6, np.random.default_rng(0)
    transitions = draw.dirichlet(np.full(vocab, 0.4), size=vocab)
    stationary = np.linalg.matrix_power(transitions, 200)[0]
    entropy = -(stationary[:, None] * transitions * np.log(transitions)).sum()
    chain = [0]
    for uniform in draw.random(120_000):
        chain.append(int(np.searchsorted(transitions[chain[-1]].cumsum()[:-1], uniform)))
    windows = np.array(chain[:120_000]).reshape(-1, 50)
    trained = smoothed(windows[:2000], NgramConfig(vocab=vocab, order=3))
    held_out = ngram.losses(trained, windows[2000:])
    # 20,000 tokens: the standard error of their mean is 0.7% of it.
    assert held_out.mean() == pytest.approx(entropy, rel=0.02)


def test_tokens_outside_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match=r"tokens from 0 to 7 with NgramConfig.vocab=7; vocab must be"):
        ngram.count(MODEL, [np.array([[0, 7]])])
    with pytest.raises(ValueError, match=r"tokens from -1 to 3"):
        ngram.losses(smoothed(text(1, 12)), np.array([[-1, 3]]))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_table_of_contexts_is_that_of_dirichlets_prior(order):
    model, window, kappa = NgramConfig(vocab=7, order=order, pseudocounts=1.5), text(4, 9), 1.5
    counts = ngram.count(model, [text(30, 12, seed=1)])
    raw = Literal(text(30, 12, seed=1), model).raw
    for row, losses in zip(window.tolist(), ngram.table_losses(counts, window, kappa), strict=True):
        for place in range(1, len(row)):
            context = tuple(row[max(0, place - order + 1) : place])
            seen = {gram[-1]: count for gram, count in raw[len(context) + 1].items() if gram[:-1] == context}
            expected = (seen.get(row[place], 0) + kappa / 7) / (sum(seen.values()) + kappa)
            assert losses[place - 1] == pytest.approx(-np.log(expected))


def test_a_table_guesses_after_a_token_that_has_no_row_and_is_as_before_after_the_others():
    model, window = NgramConfig(vocab=7, order=2, pseudocounts=1.5), text(4, 9)
    whole = ngram.table_losses(ngram.count(model, [text(30, 12, seed=1)]), window, 1.5)
    some = ngram.count(replace(model, rows=3), [text(30, 12, seed=1)])
    losses = ngram.table_losses(some, window, 1.5)
    kept = window[:, :-1] < 3
    assert kept.any() and not kept.all()
    np.testing.assert_array_equal(losses[kept], whole[kept])
    np.testing.assert_allclose(losses[~kept], np.log(7))
    assert (some.keys[0] // 7).max() == 2 and ngram.size(some) < ngram.size(ngram.count(model, [text(30, 12, seed=1)]))


def test_a_table_without_counts_is_uniform():
    np.testing.assert_allclose(ngram.table_losses(ngram.empty(MODEL), text(3, 10), 1.0), np.log(7))

"""A model trained on a list in its order is caught; one that was not is called contaminated at the stated rate."""

import numpy as np
import pytest

from scaling.config import NgramConfig
from scaling.data.contamination import order_test
from scaling.models import ngram

MODEL = NgramConfig(vocab=50, order=3, context=256)


def drawn(seed: int, examples: int = 200) -> list[np.ndarray]:
    """Examples of 12 tokens."""
    return list(np.random.default_rng(seed).integers(0, MODEL.vocab, (examples, 12)))


def trained_on(*texts: np.ndarray):
    """log-probability of examples by a trigram model of these texts and of 60,000 other tokens."""
    background = np.random.default_rng(9).integers(0, MODEL.vocab, 60_000)
    windows = [np.concatenate([[0], text])[None] for text in (background, *texts)]
    counts = ngram.empty(MODEL)
    for window in windows:
        counts = ngram.merge(counts, ngram.count(MODEL, [window]))
    smoothed = ngram.smooth(counts)
    return lambda examples: -float(ngram.losses(smoothed, np.concatenate(examples)[None]).sum())


def test_a_model_trained_on_the_list_in_its_order_is_caught():
    for seed in range(3):
        examples = drawn(seed)
        found = order_test(trained_on(np.concatenate(examples)), examples, shards=20, shuffles=5, seed=seed)
        assert found.p_value < 0.01
        assert found.nats > 0
        assert found.differences.shape == (20,)


def test_a_model_that_saw_the_examples_in_another_order_or_not_at_all_is_not():
    examples = drawn(0)
    other = [examples[place] for place in np.random.default_rng(5).permutation(len(examples))]
    for model in (trained_on(np.concatenate(other)), trained_on()):
        assert order_test(model, examples, shards=20, shuffles=5).p_value > 0.05


def test_models_that_saw_nothing_are_called_contaminated_as_often_as_the_level_says():
    """Examples that are one token each and a model of random bigrams: 1,000 lists, all orders equally likely."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(1000):
        nats = rng.normal(size=(30, 30))
        score = lambda order, nats=nats: float(nats[order[:-1], order[1:]].sum())  # noqa: E731
        examples = list(rng.permutation(np.repeat(np.arange(30), 4)))
        found.append(order_test(score, examples, shards=12, shuffles=5, seed=seed).p_value)
    for level in (0.01, 0.05, 0.2):
        # Four standard errors of a binomial share, and a tenth of the level for differences not quite normal.
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=4 * np.sqrt(level / 1000) + level / 10)


def test_a_model_without_memory_finds_all_orders_the_same():
    found = order_test(lambda order: float(len(order)), list(range(40)), shards=20)
    assert (found.p_value, found.nats) == (1.0, 0.0)


def test_the_result_is_the_same_every_time():
    nats = np.random.default_rng(0).normal(size=(9, 9))
    examples = [number % 9 for number in range(60)]
    one, other = (
        order_test(lambda order: float(nats[order[:-1], order[1:]].sum()), examples, shards=10) for _ in range(2)
    )
    np.testing.assert_array_equal(one.differences, other.differences)


@pytest.mark.parametrize(
    ("shards", "shuffles", "message"),
    [(1, 5, "at least 2 shards"), (5, 0, "1 shuffle"), (6, 5, "at most 5 shards")],
)
def test_too_little_to_compare_is_refused(shards, shuffles, message):
    with pytest.raises(ValueError, match=message):
        order_test(len, list(range(10)), shards=shards, shuffles=shuffles)

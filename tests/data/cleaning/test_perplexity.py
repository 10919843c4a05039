"""Perplexity by n-grams: planted noise is found, a document's perplexity is its own."""

import math

import numpy as np
import pytest

from scaling.config.cleaning_quality import Perplexity
from scaling.data.cleaning import perplexity as module
from scaling.data.cleaning.perplexity import learned, nats_a_byte, perplexity
from scaling.data.sources import DataError
from tests.data.cleaning.runner import kept, placed, run

WORDS = ["the", "a", "of", "quick", "brown", "fox", "river", "stone", "walks", "under", "hill", "never", "winter"]


def sentence(rng: np.random.Generator, noise: float = 0.0, words: int = 60) -> str:
    """Words of a small stock; a share `noise` of the letters is any letter."""
    text = np.array(list(" ".join(rng.choice(WORDS, words))))
    where = rng.random(len(text)) < noise
    text[where] = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), where.sum())
    return "".join(text)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("reference") / "good.txt", np.random.default_rng(1)
    path.write_text("\n".join(sentence(rng) for _ in range(100)))
    return str(path)


def corpus(share_of_noise: int) -> list:
    """200 documents; in one of so many a quarter of the letters is noise."""
    rng = np.random.default_rng(2)
    return placed([sentence(rng, 0.25 if index % share_of_noise == 0 else 0.0) for index in range(200)])


def test_planted_noise_is_found_with_a_reference(reference, tmp_path):
    verdicts = run(perplexity(Perplexity(reference=(reference,), below=0.75)), corpus(4), tmp_path / "run")
    assert kept(verdicts) == [index for index in range(200) if index % 4]  # recall 1, no false positive
    assert {verdict.reason for verdict in verdicts if verdict.text is None} == {"perplexity out of bounds"}


def test_noise_is_found_by_the_corpus_itself_where_it_is_rare(tmp_path):
    stay = kept(run(perplexity(Perplexity(own=True, below=0.9)), corpus(10), tmp_path / "run"))
    assert stay == [index for index in range(200) if index % 10]


def test_middle_and_tail_are_the_rest_of_the_head(reference, tmp_path):
    documents, found = corpus(3), []
    for above, below in ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)):
        step = perplexity(Perplexity(reference=(reference,), above=above, below=below))
        found.append(kept(run(step, documents, tmp_path / f"{above}")))
    assert sorted(found[0] + found[1] + found[2]) == list(range(200)) and [len(part) for part in found] == [67, 66, 67]
    assert set(found[2]) == set(range(0, 200, 3))


@pytest.mark.parametrize("own", [True, False])
def test_shards_and_their_order_change_nothing(own, reference, tmp_path):
    step = perplexity(Perplexity(own=own, reference=() if own else (reference,)))
    found = [kept(run(step, corpus(3), tmp_path / str(shard), shard, seed)) for shard, seed in ((200, None), (7, 3))]
    assert found[0] == found[1]


def test_a_documents_perplexity_is_its_own_however_it_is_cut(monkeypatch):
    rng, config = np.random.default_rng(3), Perplexity(own=True, order=4)
    texts = [sentence(rng, 0.1, words).encode() for words in (1, 40, 200)]
    model = learned((sentence(rng).encode() for _ in range(20)), config)
    whole = nats_a_byte(model, texts, config)
    alone = [nats_a_byte(model, [text], config)[0] for text in texts]
    monkeypatch.setattr(module, "PIECE", 17)
    pieces = nats_a_byte(model, texts, config)
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_allclose(pieces, whole, rtol=1e-12)  # sums of some hundred float64 in another order


def test_random_bytes_cost_what_they_must():
    """Letters drawn evenly from 16: no model can say more than ln 16 of them, and one that has seen enough says it."""
    rng, config = np.random.default_rng(4), Perplexity(own=True, order=2)
    texts = [bytes(rng.integers(97, 113, size=20_000).astype(np.uint8)) for _ in range(2)]
    (found,) = nats_a_byte(learned(texts[:1], config), texts[1:], config)
    # 256 contexts' counts, (16 - 1) * 16 free ones, each costs 1 / (2 * 20,000) nats: 0.006; fluctuations are less.
    assert found == pytest.approx(math.log(16), abs=0.02)


def test_a_model_learns_no_more_than_it_may():
    config = Perplexity(own=True, most_bytes=100)
    texts = iter([b"a" * 60, b"b" * 60, b"c" * 60])
    counts = learned(texts, config).counts.counts[0]
    assert counts[ord("a")] == 60 and counts[ord("b")] == 40 and counts[ord("c")] == 0
    assert next(texts) == b"c" * 60  # what is not learned from is not read


def test_too_few_documents_to_learn_from_are_said(tmp_path):
    with pytest.raises(DataError, match="too few documents to learn from one half"):
        run(perplexity(Perplexity(own=True)), placed(["only one"]), tmp_path / "run")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "or set own=True"),
        ({"own": True, "reference": ("x",)}, "or set own=True"),
        ({"own": True, "above": 0.5, "below": 0.5}, "`above` the smaller"),
        ({"own": True, "below": 1.5}, "shares from 0 to 1"),
        ({"own": True, "order": 1}, "must lie between 2 and 8"),
        ({"own": True, "most_bytes": 0}, "must be positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Perplexity(**wrong)

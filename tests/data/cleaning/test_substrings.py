"""Repeated spans: every one of the stated length is cut but its first place, and no shorter one is touched."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config.cleaning_duplicates import DuplicateSubstrings
from scaling.data.cleaning.substrings import duplicate_substrings, without
from tests.data.cleaning.runner import kept, placed, run


def own_words(count: int, rng: np.random.Generator) -> list[str]:
    return [f"{word:x}" for word in rng.integers(1 << 62, size=count)]


def by_search(texts: list[str], words: int) -> list[str]:
    """What should be left, by looking through all runs in their order; of texts whose words are parted by spaces."""
    first, left = {}, []
    for index, text in enumerate(texts):
        found, cut = text.split(), set()
        for place in range(len(found) - words + 1):
            start = first.setdefault(tuple(found[place : place + words]), (index, place))
            if start[0] < index or start[1] + words <= place:
                cut.update(range(place, place + words))
        left.append(" ".join(word for place, word in enumerate(found) if place not in cut))
    return left


def test_planted_spans_are_cut_to_the_word_and_shorter_ones_stay(tmp_path):
    rng = np.random.default_rng(0)
    span, short = own_words(70, rng), own_words(49, rng)
    texts, own = [], []
    for document in range(40):
        begin, middle, end = own_words(30, rng), own_words(20, rng), own_words(30, rng)
        # Whole, or its first or last 50 words, in capitals and with punctuation: the same words.
        part = [span, span[:50], span[20:]][document % 3] if document else span
        texts.append(" ".join([*begin, ", ".join(part).upper(), *middle, *short, *end]))
        own.append([*begin, *middle, *short, *end])
    verdicts = run(duplicate_substrings(DuplicateSubstrings()), placed(texts), tmp_path / "run")
    assert verdicts[0].text == texts[0]
    assert [verdict.text.split() for verdict in verdicts[1:]] == own[1:]  # recall 39 of 39, and not a word too many
    assert {verdict.reason for verdict in verdicts[1:]} == {"repeated span"}
    assert verdicts[1].counts["characters of repeated spans"] == len(texts[1]) - len(verdicts[1].text)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="ab ", max_size=40), min_size=1, max_size=6), st.integers(1, 4))
def test_what_is_left_is_what_a_search_through_all_runs_leaves(tmp_path_factory, texts, words):
    step = duplicate_substrings(DuplicateSubstrings(words=words))
    verdicts = run(step, placed(texts), tmp_path_factory.mktemp("spans") / "run", shard=2)
    assert [" ".join((verdict.text or "").split()) for verdict in verdicts] == by_search(texts, words)


def test_of_a_word_repeated_many_times_one_span_stays(tmp_path):
    (verdict,) = run(duplicate_substrings(DuplicateSubstrings(words=5)), placed(["la " * 100]), tmp_path / "run")
    assert verdict.text.split() == ["la"] * 5


def test_a_document_that_is_one_repeated_span_is_dropped(tmp_path):
    texts = ["a b c d. ", "x y", "(A B C D)"]
    verdicts = run(duplicate_substrings(DuplicateSubstrings(words=4)), placed(texts), tmp_path / "run", shard=1)
    assert kept(verdicts) == [0, 1]


def test_no_words_meet_over_a_gap():
    assert without("un, deux, trois. quatre", np.array([1]), 1) == "un,  , trois. quatre"
    assert without("été\n雪山\n fin", np.array([0, 1]), 2) == "\n\n fin"

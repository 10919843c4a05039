"""Shares of repeated text, against counts by the plainest means."""

from collections import Counter

import numpy as np
import pytest

from scaling.config.cleaning_heuristics import GopherRepetition
from scaling.data.cleaning import repetition
from scaling.data.sources import Document

NEVER = {
    "duplicate_lines": 1.0,
    "duplicate_paragraphs": 1.0,
    "duplicate_line_characters": 1.0,
    "duplicate_paragraph_characters": 1.0,
    "top_ngrams": (1.0,) * 3,
    "duplicate_ngrams": (1.0,) * 6,
}


def reason(text: str, **changes) -> str:
    verdict = repetition.repetition(GopherRepetition(**changes))(Document(name="d", text=text))
    assert (verdict.text is None) == bool(verdict.reason)
    return verdict.reason


def distinct(count: int, size: int = 5) -> list[str]:
    return [f"w{number:0{size - 1}d}" for number in range(count)]


@pytest.mark.parametrize(
    ("same", "other", "expected"), [(4, 7, ""), (5, 7, "repeated lines")]  # 3 of 11 lines stood before, and 4 of 12
)  # fmt: skip
def test_lines_that_stood_before_may_be_three_tenths(same, other, expected):
    lines = ["same"] * same + [f"a longer line {number}" for number in range(other)]
    assert reason("\n".join(lines), **(NEVER | {"duplicate_lines": 0.3})) == expected
    assert reason("\n\n  ".join(lines), **(NEVER | {"duplicate_lines": 0.3})) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(20, ""), (21, "too many characters in repeated lines")]
)  # of 100 characters, and of 102
def test_characters_of_repeated_lines_may_be_a_fifth(size, expected):
    lines = ["x" * size] * 2 + ["y" * 30, "z" * 30]
    assert reason("\n".join(lines), **(NEVER | {"duplicate_line_characters": 0.2})) == expected


@pytest.mark.parametrize("between", ["\n\n", "\n\n\n", "\n \n", "\n \n\n", "\n\n\t\n"])
@pytest.mark.parametrize(("same", "expected"), [(4, ""), (5, "repeated paragraphs")])
def test_paragraphs_are_parted_by_empty_lines(same, expected, between):
    parts = ["one line\nand another"] * same + [f"a long paragraph {number}" for number in range(7)]
    assert reason(between.join(parts), **(NEVER | {"duplicate_paragraphs": 0.3})) == expected


@pytest.mark.parametrize(("size", "expected"), [(20, ""), (21, "too many characters in repeated paragraphs")])
def test_characters_of_repeated_paragraphs_may_be_a_fifth(size, expected):
    parts = ["x" * size] * 2 + ["y" * 30, "z" * 30]
    assert reason("\n\n".join(parts), **(NEVER | {"duplicate_paragraph_characters": 0.2})) == expected


@pytest.mark.parametrize(("n", "share"), [(2, 0.2), (3, 0.18), (4, 0.16)])
def test_the_commonest_phrase_may_have_just_its_share(n, share):
    """A phrase twice among distinct words of the same length: 2 n words in all words."""
    whole = {2: 20, 3: 34, 4: 50}[n]  # 2 n / whole: 0.2, 0.176, 0.16
    for words, expected in ((whole, ""), (whole - 2, f"one {n}-gram too often")):
        other = distinct(words - 2 * n)
        phrase = [f"p{number}xyz" for number in range(n)]
        half = len(other) // 2
        text = " ".join([*phrase, *other[:half], *phrase, *other[half:]])
        only = tuple(share if length == n else 1.0 for length in (2, 3, 4))
        assert reason(text, **(NEVER | {"top_ngrams": only})) == expected


@pytest.mark.parametrize(("n", "share"), [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)])
def test_repeated_phrases_may_have_just_their_share(n, share):
    """The second place of a phrase counts: n words of `whole`."""
    whole = int(n / share) + (n / share % 1 > 0)
    for words, expected in ((whole, ""), (whole - 3, f"too many characters in repeated {n}-grams")):
        phrase, other = [f"p{number:04d}" for number in range(n)], distinct(words - 2 * n)
        text = " ".join([*phrase, *other, *phrase])
        only = tuple(share if length == n else 1.0 for length in range(5, 11))
        assert reason(text, **(NEVER | {"duplicate_ngrams": only})) == expected


def plainly(words: list[str]) -> dict[int, float]:
    """The shares by sets and counters, position by position."""
    shares, total = {}, sum(map(len, words))
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts, covered = Counter(grams), set()
        if n <= 4:
            best = max((c for c in counts.values() if c > 1), default=0)
            longest = max((sum(map(len, g)) for g, c in counts.items() if c == best and best), default=0)
            tops = [g for g, c in counts.items() if c == best and sum(map(len, g)) == longest and best]
            where = [i for i, g in enumerate(grams) if tops and g == tops[0]]
        else:
            where = [i for i, g in enumerate(grams) if g in grams[:i]]
        for i in where:
            covered |= set(range(i, i + n))
        shares[n] = sum(len(words[i]) for i in covered) / total
    return shares


@pytest.mark.parametrize("seed", range(40))
def test_the_quick_way_finds_what_the_plain_one_does(seed):
    random = np.random.default_rng(seed)
    vocabulary = [f"{'w' * int(random.integers(1, 7))}{number}" for number in range(int(random.integers(2, 60)))]
    words = list(random.choice(vocabulary, int(random.integers(1, 150))))
    block = words[: int(random.integers(0, 20))]
    words += block * int(random.integers(0, 3))
    shares = plainly(words)
    for n, share in shares.items():
        for most, broken in ((share + 1e-9, False), (share - 1e-9, True)):
            if not 0 <= most <= 1:
                continue
            tops = tuple(most if n == m else 1.0 for m in (2, 3, 4))
            longer = tuple(most if n == m else 1.0 for m in range(5, 11))
            found = reason(" ".join(words), **(NEVER | {"top_ngrams": tops, "duplicate_ngrams": longer}))
            assert bool(found) == broken, (n, share)


@pytest.mark.parametrize("space", [" ", "\t", "\x1c", "\x85", "\xa0", "\u2003", "\u3000"])
@pytest.mark.parametrize("letter", ["w", "é", "字", "\U0001d54f"])
@pytest.mark.parametrize(("copies", "expected"), [(3, ""), (4, "one 2-gram too often")])
def test_characters_and_white_space_need_not_be_of_ascii(space, letter, copies, expected):
    # Two words of 5 characters, so many times, among 20 others: 30 of 130 characters, or 40 of 140.
    twin = [letter * 5, letter * 4 + "x"]
    words = [word for number in range(copies) for word in (f"{letter}{number:04d}", *twin)]
    words += [f"{letter}{number:04d}" for number in range(100, 120 - copies)]
    assert reason(space.join(words), **(NEVER | {"top_ngrams": (0.25, 1.0, 1.0)})) == expected


@pytest.mark.parametrize("bits", [0, 4, 40])  # the lowest are where places are put to sort with the keys
@pytest.mark.parametrize("seed", range(10))
def test_keys_that_recur_are_found_whatever_bits_they_differ_in(bits, seed):
    random = np.random.default_rng(seed)
    keys = random.integers(0, 12, int(random.integers(0, 40))).astype(np.uint64) << np.uint64(bits)
    places, kinds, first = repetition._recurring(keys)
    every = Counter(keys.tolist())
    assert places.tolist() == [place for place, key in enumerate(keys.tolist()) if every[key] > 1]
    assert first.tolist() == [key not in keys[:place] for place, key in zip(places, keys[places], strict=True)]
    assert len(set(zip(kinds.tolist(), keys[places].tolist(), strict=True))) == len(set(kinds.tolist())) == first.sum()


def test_prose_passes_and_no_words_are_no_repetition():
    assert reason("") == reason("   \n") == reason("one") == ""
    assert reason(" ".join(distinct(300))) == ""


def test_the_published_thresholds_drop_a_page_of_copies():
    assert reason("buy now\n" * 20) == "repeated lines"
    assert reason("la la " * 50) == "one 2-gram too often"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duplicate_lines": 1.5}, r"GopherRepetition\.duplicate_lines=1\.5: must lie between 0 and 1"),
        ({"top_ngrams": (0.1,)}, r"GopherRepetition\.top_ngrams=\(0\.1,\): must be 3 shares between 0 and 1"),
        ({"duplicate_ngrams": (2.0,) * 6}, r"must be 6 shares between 0 and 1"),
    ],
)
def test_shares_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GopherRepetition(**changes)

"""Documents that repeat themselves (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1).

Characters are those of words, lines or paragraphs without the white space
between them.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count

import numpy as np

from scaling.config.cleaning_heuristics import GopherRepetition
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import Document

PARAGRAPHS = re.compile(r"\n(?:[^\S\n]*\n)+")  # what lies between two of them: one empty line or more
FEWEST, TOP, MOST = 2, 4, 10  # words: a top n-gram has 2 to 4, a duplicate one 5 to 10
HASH = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits mixed: 2^64 over the golden ratio


def repetition(rule: GopherRepetition) -> Local:
    """Drops documents of which too large a share is repeated; the first broken rule is the reason."""

    def judge(document: Document) -> Verdict:
        reason = _lines(document.text, rule) or _paragraphs(document.text, rule) or _ngrams(document.text, rule)
        return Verdict(text=None, reason=reason) if reason else Verdict(text=document.text)

    return judge


def _lines(text: str, rule: GopherRepetition) -> str:
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    return _parts(lines, "lines", rule.duplicate_lines, rule.duplicate_line_characters)


def _paragraphs(text: str, rule: GopherRepetition) -> str:
    paragraphs = [part for part in map(str.strip, PARAGRAPHS.split(text)) if part]
    return _parts(paragraphs, "paragraphs", rule.duplicate_paragraphs, rule.duplicate_paragraph_characters)


def _parts(parts: Sequence[str], name: str, most_parts: float, most_characters: float) -> str:
    once = set(parts)
    if len(once) == len(parts):
        return ""
    if len(parts) - len(once) > most_parts * len(parts):
        return f"repeated {name}"
    characters = sum(map(len, parts))
    twice = characters - sum(map(len, once))
    return f"too many characters in repeated {name}" if twice > most_characters * characters else ""


def _ngrams(text: str, rule: GopherRepetition) -> str:
    """The reason for which its n-grams drop a document, or ""."""
    words = text.split()
    if not words:
        return ""
    number: dict[str, int] = defaultdict(count().__next__)
    same = np.fromiter(map(number.__getitem__, words), np.int64, len(words))  # equal for equal words
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    most = {n: share * int(sizes.sum()) for n, share in _thresholds(rule).items()}
    # No n-gram has more characters than n times those of the word that has most.
    word = np.bincount(same, sizes).max()
    if all(n * word <= most[n] for n in range(FEWEST, TOP + 1)) and _few_repeated(same, sizes, min(most.values())):
        return ""
    return _repeated_ngrams(same, sizes, most)


def _few_repeated(same: np.ndarray, sizes: np.ndarray, most: float) -> bool:
    """Whether (TOP + 1)-grams that occur twice hold so many characters at most; then longer ones do as well."""
    starts = len(same) - TOP
    if starts < 2:
        return True
    words = same.astype(np.uint64)
    keys = words[:starts].copy()
    for later in range(1, TOP + 1):
        # Modulo 2^64; two n-grams with one key would only lead to the longer way.
        keys = keys * HASH + words[later : later + starts]
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return not twice.size or _covered(np.flatnonzero(np.isin(keys, twice)), TOP + 1, sizes) <= most


def _repeated_ngrams(same: np.ndarray, sizes: np.ndarray, most: dict[int, float]) -> str:
    """As `_ngrams`, length by length, until n-grams that occur twice hold too little for any length left.

    That can only fall with n.
    """
    places = np.flatnonzero(np.bincount(same)[same] > 1)
    same = same[places]
    for n in range(FEWEST, MOST + 1):
        places, same, first = _repeated(places, same)
        if not places.size:
            return ""
        if n <= TOP and _top(places, same, n, sizes) > most[n]:
            return f"one {n}-gram too often"
        if n > TOP and _covered(places[~first], n, sizes) > most[n]:
            return f"too many characters in repeated {n}-grams"
        if _covered(places, n, sizes) <= min(most[m] for m in range(n, MOST + 1)):
            return ""
    return ""


def _thresholds(rule: GopherRepetition) -> dict[int, float]:
    return dict(enumerate((*rule.top_ngrams, *rule.duplicate_ngrams), start=FEWEST))


def _repeated(places: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From (n-1)-grams that occur at least twice, the n-grams that do.

    places: where they begin, ascending. same: a number for each, equal for
    equal ones. Returns both for the n-grams, and which of these are the first of their kind.
    """
    follows = places[1:] == places[:-1] + 1  # an n-gram that occurs twice begins and ends with such (n-1)-grams
    places, left, right = places[:-1][follows], same[:-1][follows], same[1:][follows]
    if not places.size:
        return places, left, np.zeros(0, bool)
    kinds, first = _numbered(left * (int(same.max()) + 1) + right)
    often = np.bincount(kinds)[kinds] > 1
    return places[often], kinds[often], first[often]


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each value, equal for equal ones, and whether it is the first of its kind."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]]
    kinds, first = np.empty(len(values), np.int64), np.empty(len(values), bool)
    kinds[order], first[order] = np.cumsum(begins) - 1, begins
    return kinds, first


def _top(places: np.ndarray, same: np.ndarray, n: int, sizes: np.ndarray) -> int:
    """Characters in the n-gram that occurs most often; of several in the longest."""
    counts = np.bincount(same)
    often = np.flatnonzero(counts[same] == counts.max())
    ends = np.r_[0, np.cumsum(sizes)]
    longest = often[np.argmax(ends[places[often] + n] - ends[places[often]])]
    return _covered(places[same == same[longest]], n, sizes)


def _covered(places: np.ndarray, n: int, sizes: np.ndarray) -> int:
    """Characters of the words in n-grams that begin at these places, each word counted once."""
    edges = np.zeros(len(sizes) + 1, np.int64)
    edges[places] += 1
    edges[places + n] -= 1
    return int(sizes[np.cumsum(edges[:-1]) > 0].sum())

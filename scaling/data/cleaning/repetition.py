"""Documents that repeat themselves (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1).

Characters are those of words, lines or paragraphs without the white space
between them. Words and n-grams are compared by hashes of 64 bits: of a
document of 100,000 words two differing ones agree once in 10^9 documents.
"""

import re
from collections.abc import Sequence

import numpy as np

from scaling.config.cleaning_heuristics import GopherRepetition
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.cleaning.words import constants, strings_of
from scaling.data.sources import Document

PARAGRAPHS = re.compile(r"\n(?:[^\S\n]*\n)+")  # what lies between two of them: one empty line or more
FEWEST, TOP, MOST = 2, 4, 10  # words: a top n-gram has 2 to 4, a duplicate one 5 to 10
HASH = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits mixed: 2^64 over the golden ratio
WIDE_SPACE = re.compile(r"[^\S\x00-\x7f]")  # white space that is not of ASCII
BYTES = constants(256, seed=3)  # what each byte counts for the hash of a word
BYTES[[byte for byte in range(128) if chr(byte).isspace()]] = 0


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
    words, sizes = _words(text)
    ends = np.concatenate([[0], np.cumsum(sizes)])  # characters before each word, and of all
    most = {n: share * int(ends[-1]) for n, share in _thresholds(rule).items()}
    return _frequent(words, ends, most) or _repeated_ngrams(words, ends, most)


def _words(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each word its hash, uint64, and its characters, int64."""
    plain = text if text.isascii() else WIDE_SPACE.sub(" ", text)
    buffer = np.frombuffer(plain.encode(errors="surrogatepass") + b" ", np.uint8)
    starts, ends, hashes = strings_of(buffer, BYTES)
    if text.isascii():
        return hashes, ends - starts
    before = np.cumsum((buffer & 0xC0) != 0x80)  # bytes that begin a character, up to each and with it
    return hashes, before[ends - 1] - before[starts] + 1


def _keys(words: np.ndarray, n: int) -> np.ndarray:
    """A hash of the n-gram that begins at each word but the last n - 1."""
    starts = max(0, len(words) - n + 1)
    keys = words[:starts]
    for later in range(1, n):
        keys = keys * HASH + words[later : later + starts]  # modulo 2^64
    return keys


def _frequent(words: np.ndarray, ends: np.ndarray, most: dict[int, float]) -> str:
    """The reason for which its most frequent n-grams of FEWEST to TOP words drop a document, or ""."""
    often = len(words)
    for n in range(FEWEST, TOP + 1):
        starts = len(words) - n + 1
        if starts < 2:
            return ""
        longest = int((ends[n:] - ends[:-n]).max())
        # None occurs oftener than the most frequent of fewer words does.
        if often * longest <= most[n]:
            continue
        keys = _keys(words, n)
        often, frequent = _most_frequent(keys)
        if often < 2:
            return ""
        if often * longest > most[n] and _top(keys, frequent, n, ends) > most[n]:
            return f"one {n}-gram too often"
    return ""


def _most_frequent(keys: np.ndarray) -> tuple[int, np.ndarray]:
    """How often the most frequent key occurs, and all keys that do so, ascending."""
    ordered = np.sort(keys)
    lasts = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(keys) - 1)
    counts = np.diff(lasts, prepend=-1)
    often = counts.max()
    return int(often), ordered[lasts[counts == often]]


def _top(keys: np.ndarray, frequent: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters in the n-gram that occurs most often; of several in the longest, the first of these."""
    places = np.flatnonzero(np.isin(keys, frequent))
    longest = places[np.argmax(ends[places + n] - ends[places])]
    return _covered(np.flatnonzero(keys == keys[longest]), n, ends)


def _repeated_ngrams(words: np.ndarray, ends: np.ndarray, most: dict[int, float]) -> str:
    """The reason for which n-grams of TOP + 1 to MOST words that occur again drop a document, or "".

    Length by length, until n-grams that occur twice hold too little for any
    length left: that can only fall with n.
    """
    n, keys, least = TOP + 1, _keys(words, TOP + 1), min(most[n] for n in range(TOP + 1, MOST + 1))
    if len(keys) < 2:
        return ""
    ordered = np.sort(keys)
    # Twice as many at most occur more than once as are equal to the one before. Sorting alone is quick.
    if 2 * np.count_nonzero(ordered[1:] == ordered[:-1]) * int((ends[n:] - ends[:-n]).max()) <= least:
        return ""
    order = np.argsort(keys)
    same = ordered[1:] == ordered[:-1]
    places = np.sort(order[np.append(same, False) | np.insert(same, 0, False)])
    kinds, first = None, None
    while places.size and _covered(places, n, ends) > min(most[m] for m in range(n, MOST + 1)):
        if kinds is None:
            kinds, first = _numbered(keys[places])
        if _covered(places[~first], n, ends) > most[n]:
            return f"too many characters in repeated {n}-grams"
        if n == MOST:
            break
        n, (places, kinds, first) = n + 1, _repeated(places, kinds)
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


def _covered(places: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters of the words in n-grams that begin at these places, ascending, each word counted once.

    ends: characters before each word, and of all.
    """
    nexts = np.append(places[1:], len(ends) - 1)
    return int((ends[np.minimum(places + n, nexts)] - ends[places]).sum())

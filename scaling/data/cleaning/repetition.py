"""Documents that repeat themselves (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1).

Characters are those of words, lines or paragraphs without the white space
between them. Words and n-grams are compared by hashes of 64 bits: of a
document of 100,000 words two differing ones agree once in 10^9 documents.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from scaling.config.cleaning_heuristics import GopherRepetition
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.cleaning.runs import SPACE, with_plain_space
from scaling.data.cleaning.words import constants, strings_of
from scaling.data.sources import Document

PARAGRAPHS = re.compile(r"\n(?:[^\S\n]*\n)+")  # what lies between two of them: one empty line or more
FEWEST, TOP, MOST = 2, 4, 10  # words: a top n-gram has 2 to 4, a duplicate one 5 to 10
HASH = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits mixed: 2^64 over the golden ratio
BYTES = constants(256, seed=3)  # what each byte counts for the hash of a word
BYTES[list(SPACE)] = 0


def repetition(rule: GopherRepetition) -> Local:
    """Drops documents of which too large a share is repeated; the first broken rule is the reason."""

    def judge(document: Document) -> Verdict:
        reason = _lines_and_paragraphs(document.text, rule) or _ngrams(document.text, rule)
        return Verdict(text=None, reason=reason) if reason else Verdict(text=document.text)

    return judge


def _lines_and_paragraphs(text: str, rule: GopherRepetition) -> str:
    """The reason for which its lines or its paragraphs drop a document, or ""."""
    lines = text.split("\n")
    stripped = list(map(str.strip, lines))
    reason = _parts(_filled(stripped), "lines", rule.duplicate_lines, rule.duplicate_line_characters)
    if reason:
        return reason
    # Mostly no line has white space alone, and a plain split is several times as fast.
    plain = lines.count("") == stripped.count("")
    paragraphs = _filled(map(str.strip, text.split("\n\n") if plain else PARAGRAPHS.split(text)))
    return _parts(paragraphs, "paragraphs", rule.duplicate_paragraphs, rule.duplicate_paragraph_characters)


def _filled(parts: Iterable[str]) -> list[str]:
    return list(filter(None, parts))


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
    buffer = np.frombuffer(with_plain_space(text) + b" ", np.uint8)
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
    often = len(words)  # none occurs more often; nor than the most frequent of fewer words does
    for n in range(FEWEST, TOP + 1):
        if len(words) < n + 1 or often < 2:
            return ""
        longest = int((ends[n:] - ends[:-n]).max())
        enough = int(most[n] // longest) + 1  # times, before which it cannot hold too much
        if often < enough:
            continue
        keys = _keys(words, n)
        ordered = np.sort(keys)
        if not (ordered[enough - 1 :] == ordered[: len(ordered) - enough + 1]).any():
            often = enough - 1
            continue
        often, frequent = _most_frequent(ordered)
        if often > 1 and _top(keys, frequent, n, ends) > most[n]:
            return f"one {n}-gram too often"
    return ""


def _most_frequent(ordered: np.ndarray) -> tuple[int, np.ndarray]:
    """How often the most frequent of ordered keys occurs, and all keys that do so, ascending."""
    lasts = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts = np.diff(lasts, prepend=-1)
    often = counts.max()
    return int(often), ordered[lasts[counts == often]]


def _top(keys: np.ndarray, frequent: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters in the n-gram that occurs most often; of several in the longest, the first of these."""
    places = np.flatnonzero(np.isin(keys, frequent))
    longest = places[np.argmax(ends[places + n] - ends[places])]
    return _covered(np.flatnonzero(keys == keys[longest]), n, ends)


def _repeated_ngrams(words: np.ndarray, ends: np.ndarray, most: dict[int, float]) -> str:
    """The reason for which n-grams of TOP + 1 to MOST words that stood before drop a document, or "".

    Length by length, until they hold too little for any length left: an
    n-gram that stood before is made of shorter ones that did, so that what
    they hold can only fall with n.
    """
    places, kinds, first = _recurring(_keys(words, TOP + 1))
    for n in range(TOP + 1, MOST + 1):
        held = _covered(places[~first], n, ends)
        if held > most[n]:
            return f"too many characters in repeated {n}-grams"
        if held <= min(most[m] for m in range(n, MOST + 1)):
            return ""
        # An n-gram that occurs twice begins and ends with (n-1)-grams that do.
        follows = np.flatnonzero(places[1:] == places[:-1] + 1)
        pairs = kinds[follows] * (int(kinds.max()) + 1) + kinds[follows + 1]
        among, kinds, first = _recurring(pairs.astype(np.uint64) * HASH)
        places = places[follows[among]]
    return ""


def _thresholds(rule: GopherRepetition) -> dict[int, float]:
    return dict(enumerate((*rule.top_ngrams, *rule.duplicate_ngrams), start=FEWEST))


def _recurring(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where keys stand that occur more than once, ascending.

    For each of them a number, equal for equal ones, and whether it is the first of its kind.
    """
    order, again = _ordered(keys)
    held = np.flatnonzero(again[:-1] | again[1:])
    back = np.argsort(order[held])
    held = held[back]
    return order[held], np.cumsum(~again)[held], ~again[held]


def _ordered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of keys in the order of the keys, equal ones ascending, and whether each equals the one before it.

    The second has one more, which is False.
    """
    # A place takes the lowest bits of its key: numbers are sorted several times as fast as their order is found.
    bits = np.uint64(len(keys).bit_length())
    packed = np.sort((keys >> bits << bits) | np.arange(len(keys), dtype=np.uint64))
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    packed >>= bits
    again = np.zeros(len(keys) + 1, bool)
    again[1:-1] = packed[1:] == packed[:-1]
    same = np.flatnonzero(again)
    if (keys[order[same]] != keys[order[same - 1]]).any():  # in the bits that the places took
        order = np.argsort(keys, kind="stable")
        again[1:-1] = keys[order[1:]] == keys[order[:-1]]
    return order, again


def _covered(places: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters of the words in n-grams that begin at these places, ascending, each word counted once.

    ends: characters before each word, and of all.
    """
    nexts = np.append(places[1:], len(ends) - 1)
    return int((ends[np.minimum(places + n, nexts)] - ends[places]).sum())

"""Words of texts as 64-bit hashes, and hashes of runs of words: the same on every machine and in every process.

A word is a run of letters and digits, in small letters; the characters of
scripts that part no words, such as Chinese or Thai, are words by themselves.
Everything else parts words and is forgotten. All work is done on whole arrays
of bytes, at about 100 MB/s.

A string x_0 x_1 ... has the hash sum_i T[x_i] P^i modulo 2^64, T random and P
odd, so that the hash of any part of a text is a difference of two running
sums, times a power of 1/P (Karp & Rabin 1987); then its bits are mixed.

Letters: B bytes, W words, D documents, G runs of words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PIECE = 1 << 18  # bytes hashed at once: what is needed for them fits into a processor's cache
GROUP_CHARACTERS = 1 << 22  # of documents taken together: bounds memory, unless one document is longer

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# First and last character of the blocks of Thai and Lao, Myanmar, Khmer, kana and Chinese characters.
_ALONE = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, eq=False)
class Words:
    """The words of D documents, one after another."""

    hashes: np.ndarray  # (W,) uint64
    offsets: np.ndarray  # (D + 1,) int64: where each document's words begin

    @cached_property
    def _sums(self) -> np.ndarray:
        """(W + 1,): running sums of hash times power."""
        return _running(self.hashes * _powers(len(self.hashes), _WORD_BASE))

    def joined(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Hashes of the runs of words from starts up to ends, (G,) uint64."""
        inverse = _powers(len(self.hashes) + 1, pow(_WORD_BASE, -1, 1 << 64))
        return mixed((self._sums[ends] - self._sums[starts]) * inverse[starts])

    def runs(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All runs of `length` words within a document: its row, the run's place in it, the run's hash; each (G,)."""
        counts = np.maximum(np.diff(self.offsets) - length + 1, 0)
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = self.offsets[rows] + places
        return rows, places, self.joined(starts, starts + length)


def words_of(texts: Sequence[str]) -> Words:
    """The words of some documents, hashed."""
    parts = [_plain(text) for text in texts]
    buffer = np.frombuffer(b"\n".join(parts) + b"\n", np.uint8)
    limits = np.cumsum([0] + [len(part) + 1 for part in parts])  # of each document's bytes
    starts, _, hashes = strings_of(buffer, _BYTES)
    return Words(hashes, np.searchsorted(starts, limits))


def strings_of(buffer: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The strings of a buffer of bytes: where each begins and ends, int64, and its hash, uint64; each (W,).

    values: what each of the 256 bytes counts for a hash; those that count 0
    part strings, and the buffer ends with one of them.
    """
    found = list(_hashed(buffer, values))
    if len(found) == 1:
        return found[0]
    starts, ends, hashes = zip(*found, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(hashes)


def spans_of(text: str) -> np.ndarray:
    """Where each word lies in a text, as characters from and up to, (W, 2); as many words as `words_of` hashes."""
    if text.isascii():
        letters = _IS_LETTER.take(np.frombuffer(text.encode(), np.uint8))
        return np.flatnonzero(np.diff(letters, prepend=False, append=False)).reshape(-1, 2)
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)
    kinds = _kinds_of(codes)
    letters, alone = kinds != _BETWEEN, kinds == _BY_ITSELF
    joined = letters[1:] & letters[:-1] & ~alone[1:] & ~alone[:-1]  # a character and the one before it are of one word
    starts = letters & ~np.insert(joined, 0, False)
    ends = letters & ~np.append(joined, False)
    return np.stack([np.flatnonzero(starts), np.flatnonzero(ends) + 1], axis=1)


def merged(starts: np.ndarray, words: int, spans: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of characters that runs of words cover, joined where they overlap or touch.

    starts: the first word of each run, ascending. words: of a run. spans: of all words of the text.
    """
    first = starts[np.diff(starts, prepend=starts[0] - words - 1) > words]
    last = starts[np.diff(starts, append=starts[-1] + words + 1) > words] + words - 1
    return list(zip(spans[first, 0].tolist(), spans[last, 1].tolist(), strict=True))


def groups(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Texts in their order, some millions of characters at a time, and the number of the first of them."""
    first, held, size = 0, [], 0
    for text in texts:
        if held and size + len(text) > GROUP_CHARACTERS:
            yield first, held
            first, held, size = first + len(held), [], 0
        held.append(text)
        size += len(text)
    if held:
        yield first, held


def mixed(hashes: np.ndarray) -> np.ndarray:
    """A permutation of 64-bit numbers in which every bit depends on all (SplitMix64, Steele et al. 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def constants(count: int, seed: int) -> np.ndarray:
    """(count,) uint64 that look random: the generator of the same paper."""
    return mixed((np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15))


class _Letters(dict):
    """What a character not of ASCII becomes: small, standing alone, or a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        word = f" {character} " if _stands_alone(code) else character.lower()
        self[code] = word if character.isalnum() else " "
        return self[code]


_LETTERS = _Letters()
_BYTE_BASE, _WORD_BASE = 0xD6E8FEB86659FD93, 0xA0761D6478BD642F  # odd, therefore with an inverse

# What each byte counts: nothing if it parts words; all that is not ASCII is a letter by now.
_BYTES = constants(256, seed=1)
_BYTES[[byte for byte in range(128) if not chr(byte).isalnum()]] = 0
_BYTES[ord("A") : ord("Z") + 1] = _BYTES[ord("a") : ord("z") + 1]
_IS_LETTER = _BYTES != 0


def _stands_alone(code: int) -> bool:
    return any(first <= code <= last for first, last in _ALONE)


_UNKNOWN, _BETWEEN, _IN_WORD, _BY_ITSELF = range(4)
_known_kinds = np.full(0x110000, _UNKNOWN, np.uint8)  # of each character; found out when it is first met


def _kinds_of(codes: np.ndarray) -> np.ndarray:
    """Of each character whether it parts words, is of one, or is one by itself."""
    kinds = _known_kinds.take(codes)
    new = set(codes[kinds == _UNKNOWN].tolist())
    if not new:
        return kinds
    for code in new:
        word = _BY_ITSELF if _stands_alone(code) else _IN_WORD
        _known_kinds[code] = word if chr(code).isalnum() else _BETWEEN
    return _known_kinds.take(codes)


_known_powers: dict[int, np.ndarray] = {}


def _powers(count: int, base: int) -> np.ndarray:
    """base^0, base^1, ... modulo 2^64, (count,) uint64."""
    known = _known_powers.get(base)
    if known is None or len(known) < count:
        steps = np.full(max(PIECE, 1 << (count - 1).bit_length()), base, np.uint64)  # seldom made anew
        steps[0] = 1
        known = np.cumprod(steps)
        if len(known) <= 8 * PIECE:  # what a huge document needs is not kept
            _known_powers[base] = known
    return known[:count]


def _running(values: np.ndarray) -> np.ndarray:
    sums = np.empty(len(values) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(values, out=sums[1:])
    return sums


def _plain(text: str) -> bytes:
    """A text in which words are runs of ASCII letters and digits and of bytes above 127."""
    if not text.isascii():
        text = _NOT_ASCII.sub(lambda found: found.group().translate(_LETTERS), text)
    return text.encode(errors="replace")


def _hashed(buffer: np.ndarray, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """`strings_of` a buffer that ends with a byte between strings, piece by piece."""
    begin, is_letter = 0, values != 0
    while begin < len(buffer):
        end = _cut(buffer, begin, is_letter)
        starts, ends, hashes = _hashed_piece(buffer[begin:end], values, is_letter)
        yield starts + begin, ends + begin, hashes
        begin = end


def _cut(buffer: np.ndarray, begin: int, is_letter: np.ndarray) -> int:
    """The end of a piece: after a byte between strings."""
    size = PIECE
    while begin + size < len(buffer):
        between = np.flatnonzero(~is_letter.take(buffer[begin : begin + size]))
        if len(between):
            return begin + int(between[-1]) + 1
        size *= 2
    return len(buffer)


def _hashed_piece(
    piece: np.ndarray, values: np.ndarray, is_letter: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    letters = is_letter.take(piece)  # three times as fast as indexing
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    edges += 1
    if letters[0]:
        edges = np.concatenate([[0], edges])
    starts, ends = edges[::2], edges[1::2]  # in turn, for the last byte is no letter
    counted = values.take(piece)
    sums = _running(np.multiply(counted, _powers(len(piece), _BYTE_BASE), out=counted))
    inverse = _powers(len(piece), pow(_BYTE_BASE, -1, 1 << 64))
    return starts, ends, mixed((sums[ends] - sums[starts]) * inverse[starts])

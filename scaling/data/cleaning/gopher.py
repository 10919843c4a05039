"""The rules by which MassiveText's web pages were chosen (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1).

Cheap rules come first, and none is worked out further than it takes to know
on which side of its threshold a document lies.
"""

import re
from collections.abc import Iterator

from scaling.config.cleaning import Lengths
from scaling.config.cleaning_heuristics import GopherQuality
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.cleaning.runs import (
    lines,
    with_plain_space,
    words_and_spaces,
    words_with_ascii_letter,
    words_with_letter_at_most,
)
from scaling.data.sources import Document

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = tuple("•‣⁃▶►◦■□▪▫●○–*-")
ELLIPSES = ("...", "…")
LETTER = re.compile(r"[^\W\d_]")
BEGINNINGS = (400, 4000)  # characters that mostly have stop words enough


def lengths(rule: Lengths) -> Local:
    """Drops documents of too few or too many words; a word is what stands between white space."""

    def judge(document: Document) -> Verdict:
        words, _ = words_and_spaces(with_plain_space(document.text))
        return _verdict(document, _amiss_in_length(words, rule))

    return judge


def quality(rule: GopherQuality) -> Local:
    """Drops documents that break one of the rules of quality; the first broken one is the reason."""

    def judge(document: Document) -> Verdict:
        raw = with_plain_space(document.text)
        words, spaces = words_and_spaces(raw)
        reason = (
            _amiss_in_length(words, rule)
            or _amiss_in_words(words, spaces, document.text, raw, rule)
            or _amiss_in_lines(document.text, raw, rule)
        )
        return _verdict(document, reason)

    return judge


def _verdict(document: Document, reason: str) -> Verdict:
    return Verdict(text=None, reason=reason) if reason else Verdict(text=document.text)


def _amiss_in_length(words: int, rule: Lengths | GopherQuality) -> str:
    if words < rule.least_words:
        return "too few words"
    return "too many words" if words > rule.most_words else ""


def _amiss_in_words(count: int, spaces: int, text: str, raw: bytes, rule: GopherQuality) -> str:
    characters = len(text) - spaces
    if characters < rule.least_mean_word * count:
        return "words too short"
    if characters > rule.most_mean_word * count:
        return "words too long"
    if text.count("#") > rule.most_symbols * count:
        return "too many hash signs"
    if sum(map(text.count, ELLIPSES)) > rule.most_symbols * count:
        return "too many ellipses"
    if not _letters_suffice(text, raw, rule.least_words_with_letter * count):
        return "too many words without a letter"
    return "" if _stop_words(text, rule.least_stop_words) else "too few stop words"


def _letters_suffice(text: str, raw: bytes, least: float) -> bool:
    """Whether so many words have a letter."""
    if words_with_ascii_letter(raw) >= least:
        return True
    if text.isascii() or words_with_letter_at_most(raw) < least:
        return False
    words = text.split()
    plain = " ".join(word for word in words if word.isascii()).encode()
    foreign = sum(1 for word in words if not word.isascii() and LETTER.search(word))
    return words_with_ascii_letter(plain) + foreign >= least


def _stop_words(text: str, least: int) -> bool:
    return any(len(STOP_WORDS.intersection(part)) >= least for part in _beginnings(text))


def _beginnings(text: str) -> Iterator[list[str]]:
    """The words of the text's beginning, of more of it, and of all, in small letters."""
    for size in BEGINNINGS:
        if size < len(text):
            yield text[:size].lower().split()[:-1]  # without a word that may be cut in two
    yield text.lower().split()


def _amiss_in_lines(text: str, raw: bytes, rule: GopherQuality) -> str:
    count = lines(raw)
    bullets, ellipses = sum(map(text.count, BULLETS)), sum(map(text.count, ELLIPSES))
    # Wherever they stand, too few of them settle it.
    if bullets <= rule.most_bullet_lines * count and ellipses <= rule.most_ellipsis_lines * count:
        return ""
    stripped = [line for line in map(str.strip, text.split("\n")) if line]
    if sum(line.startswith(BULLETS) for line in stripped) > rule.most_bullet_lines * count:
        return "too many lines with a bullet"
    ends = sum(line.endswith(ELLIPSES) for line in stripped)
    return "too many lines that end in an ellipsis" if ends > rule.most_ellipsis_lines * count else ""

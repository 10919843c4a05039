"""The rules by which MassiveText's web pages were chosen (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1).

Cheap rules come first, and none is worked out further than it takes to know
on which side of its threshold a document lies.
"""

import re

from scaling.config.cleaning import Lengths
from scaling.config.cleaning_heuristics import GopherQuality
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import Document

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = tuple("•‣⁃▶►◦■□▪▫●○–*-")
ELLIPSES = ("...", "…")
LETTER = re.compile(r"[^\W\d_]")
NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha() and not chr(code).isspace())


def lengths(rule: Lengths) -> Local:
    """Drops documents of too few or too many words; a word is what stands between white space."""

    def judge(document: Document) -> Verdict:
        return _verdict(document, _amiss_in_length(len(document.text.split()), rule))

    return judge


def quality(rule: GopherQuality) -> Local:
    """Drops documents that break one of the rules of quality; the first broken one is the reason."""

    def judge(document: Document) -> Verdict:
        words = document.text.split()
        reason = _amiss_in_length(len(words), rule) or _amiss_in_words(words, document.text, rule)
        return _verdict(document, reason or _amiss_in_lines(document.text, rule))

    return judge


def _verdict(document: Document, reason: str) -> Verdict:
    return Verdict(text=None, reason=reason) if reason else Verdict(text=document.text)


def _amiss_in_length(words: int, rule: Lengths | GopherQuality) -> str:
    if words < rule.least_words:
        return "too few words"
    return "too many words" if words > rule.most_words else ""


def _amiss_in_words(words: list[str], text: str, rule: GopherQuality) -> str:
    count, characters = len(words), len("".join(words))
    if characters < rule.least_mean_word * count:
        return "words too short"
    if characters > rule.most_mean_word * count:
        return "words too long"
    if text.count("#") > rule.most_symbols * count:
        return "too many hash signs"
    if sum(map(text.count, ELLIPSES)) > rule.most_symbols * count:
        return "too many ellipses"
    if not _letters_suffice(words, text, rule.least_words_with_letter * count):
        return "too many words without a letter"
    return "" if _stop_words(words, rule.least_stop_words) else "too few stop words"


def _letters_suffice(words: list[str], text: str, least: float) -> bool:
    """Whether so many words have a letter."""
    if _with_ascii_letter(text) >= least:
        return True
    if text.isascii():
        return False
    foreign = [word for word in words if not word.isascii()]
    plain = " ".join(word for word in words if word.isascii())
    return _with_ascii_letter(plain) + sum(1 for word in foreign if LETTER.search(word)) >= least


def _with_ascii_letter(text: str) -> int:
    """How many words have one; fewer where white space is not of ASCII."""
    # What is left of words when everything but ASCII letters is taken from the text: done in one go over the bytes.
    return len(text.encode("ascii", "ignore").translate(None, NO_LETTERS).split())


def _stop_words(words: list[str], least: int) -> bool:
    # Mostly the beginning tells.
    return any(len(STOP_WORDS.intersection(map(str.lower, part))) >= least for part in (words[:200], words))


def _bullets_exceed(lines: list[str], most: float) -> bool:
    """Whether more lines than so many begin with a bullet; looks no further than it takes to know that they do not."""
    left = len(lines)
    for line in lines:
        if not line.startswith(BULLETS):
            left -= 1
            if left <= most:
                return False
    return True


def _amiss_in_lines(text: str, rule: GopherQuality) -> str:
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if lines and _bullets_exceed(lines, rule.most_bullet_lines * len(lines)):
        return "too many lines with a bullet"
    if sum(map(text.count, ELLIPSES)) > rule.most_ellipsis_lines * len(lines):
        ends = sum(line.endswith(ELLIPSES) for line in lines)
        return "too many lines that end in an ellipsis" if ends > rule.most_ellipsis_lines * len(lines) else ""
    return ""

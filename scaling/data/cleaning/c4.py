"""The rules by which the Colossal Clean Crawled Corpus was cut (Raffel et al. 2020, arXiv:1910.10683, section 2.2)."""

import re
from dataclasses import dataclass
from pathlib import Path

from scaling.config.cleaning_heuristics import C4
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import DataError, Document

ENDS = (".", "!", "?", '"', "”", "’", "»")
POLICY = re.compile("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|javascript")
MARKERS = re.compile(r"\[(?:\d{1,3}|edit|citation needed)\]")  # of an encyclopedia
WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"[.!?][\"”’»')\]]*(?!\S)")


def c4(rule: C4) -> Local:
    """Cuts lines, then drops what has too little left, or what no page of prose has."""
    bad = _bad_words(rule.bad_words)

    def judge(document: Document) -> Verdict:
        text = document.text
        lower = text.lower()
        if "lorem ipsum" in lower:
            return Verdict(text=None, reason="lorem ipsum")
        if not rule.braces and ("{" in text or "}" in text):
            return Verdict(text=None, reason="curly bracket")
        if bad is not None and bad.within(lower):
            return Verdict(text=None, reason="bad word")
        return _cut(text, rule)

    return judge


def _cut(text: str, rule: C4) -> Verdict:
    """Only the lines that are sentences; counts the others by what is amiss with them."""
    left, counts = [], {}
    for line in text.split("\n"):
        amiss = _amiss(line, rule)
        if not amiss:
            left.append(MARKERS.sub("", line))
        elif line.strip():
            counts[amiss] = counts.get(amiss, 0) + 1
    kept = "\n".join(left)
    if len(SENTENCE_END.findall(kept)) < rule.least_sentences:
        return Verdict(text=None, reason="too few sentences", counts=counts)
    return Verdict(text=kept, reason="lines cut" if kept != text else "", counts=counts)


def _amiss(line: str, rule: C4) -> str:
    if rule.terminal_punctuation and not line.rstrip().endswith(ENDS):
        return "lines without a mark at their end"
    if len(line.split()) < rule.least_line_words:
        return "lines of few words"
    return "lines on scripts and policies" if POLICY.search(line.lower()) else ""


@dataclass(frozen=True)
class BadWords:
    """A list of words and phrases in small letters."""

    words: frozenset[str]
    phrases: tuple[str, ...]  # whatever is more or less than one word

    def within(self, text: str) -> bool:
        """Whether one of them stands in a text, not as a part of a longer word."""
        if not self.words.isdisjoint(WORD.findall(text)):
            return True
        found = (phrase for phrase in self.phrases if phrase in text)  # which is quick, and mostly no
        return any(re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) for phrase in found)


def _bad_words(path: str) -> BadWords | None:
    """A file's words and phrases; None without a file."""
    if not path:
        return None
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"C4.bad_words={path!r}: cannot be read ({error}); give a file of words, one a line") from None
    entries = {word for line in lines if (word := line.strip().lower())}
    if not entries:
        raise DataError(f"C4.bad_words={path!r}: no word in it; give a file of words, one a line")
    words = frozenset(filter(WORD.fullmatch, entries))
    return BadWords(words=words, phrases=tuple(sorted(entries - words)))

"""What documents are like, from a sample of them: their languages and their commonest phrases."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scaling.data.cleaning import shards
from scaling.data.cleaning.language import identify, sample
from scaling.data.cleaning.private_data import starred
from scaling.data.sources import DataError

MOST_SHARDS = 32  # evenly over the corpus
MOST_DOCUMENTS = 2000
CHARACTERS = 10_000  # of a document, from all parts of it
LENGTHS = (1, 2, 3)  # words of a phrase
SHOWN = 12  # phrases of a length


@dataclass(frozen=True, kw_only=True)
class Survey:
    """documents: how many were looked at. languages: of how many of them; None without a model to tell."""

    documents: int
    languages: dict[str, int] | None
    phrases: dict[int, list[tuple[str, int]]]  # by words; how often each occurs


def survey(folder: Path) -> Survey:
    """Of the shards in a folder; the same documents are chosen each time, and before cleaning as after it."""
    phrases: dict[int, Counter[str]] = {length: Counter() for length in LENGTHS}
    languages: Counter[str] | None = Counter()
    count = 0
    for text in _sampled(folder):
        count += 1
        text = starred(sample(text, CHARACTERS))
        languages = _with_language(languages, text)
        words = text.split()
        for length in LENGTHS:
            phrases[length].update(
                " ".join(phrase) for phrase in zip(*(words[i:] for i in range(length)), strict=False)
            )
    return Survey(
        documents=count,
        languages=None if languages is None else dict(_most(languages)),
        phrases={length: _most(counter) for length, counter in phrases.items()},
    )


def _sampled(folder: Path) -> Iterator[str]:
    every = shards.shards(folder)
    chosen = [every[i * len(every) // MOST_SHARDS] for i in range(MOST_SHARDS)] if len(every) > MOST_SHARDS else every
    rows = sum(shards.rows(path) for path in chosen)
    for path in chosen:
        for placed in shards.read(path):
            name = hashlib.sha256(placed.document.name.encode()).digest()[:8]
            if int.from_bytes(name, "big") * rows < MOST_DOCUMENTS << 64:
                yield placed.document.text


def _with_language(languages: Counter[str] | None, text: str) -> Counter[str] | None:
    if languages is None:
        return None
    try:
        languages[identify(sample(text, 1000))[0]] += 1
    except DataError:  # the package is not installed
        return None
    return languages


def _most(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]

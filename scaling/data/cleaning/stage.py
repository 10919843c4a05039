"""The cleaned documents of a data set: its source cut into shards once, and every recipe beside them.

datasets/<name>-<key>/documents/          the source as shards, for all recipes
                      cleaned-<recipe>/   documents/, cleaning.json, and the corpus and the stores made of them
"""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from scaling.config import Source
from scaling.data.cleaning import shards
from scaling.data.cleaning.account import Account
from scaling.data.sources import Document, documents


def cut(source: Source, home: Path, report: Callable[[str], None]) -> Path:
    """The source's shards in `home`/documents, made unless they are there; a part that is there is gone on with."""
    whole, part = home / "documents", home / ".documents.partial"
    if not whole.exists():
        report(f"cutting {home.name} into shards")
        part.mkdir(parents=True, exist_ok=True)
        shards.split(documents(source), part)
        part.rename(whole)
    return whole


def walk_over(folder: Path, account: Account) -> Callable[[], Iterator[Document]]:
    """A walk over the cleaned documents in `folder`, and in front of them those that were no text."""

    def walk() -> Iterator[Document]:
        no_text = (Document(name=name, text=None) for name in account.not_utf8_names)
        return chain(no_text, shards.walk(folder / "documents"))

    return walk

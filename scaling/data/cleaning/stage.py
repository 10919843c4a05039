"""The cleaned documents of a data set: its source cut into shards once, and every recipe beside them.

datasets/<name>-<key>/documents/          the source as shards, for all recipes
                      cleaned-<recipe>/   documents/, cleaning.json, and the corpus and the stores made of them
"""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
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
    """A walk over the cleaned documents in `folder`, and in front of them those that were left out before."""

    def walk() -> Iterator[Document]:
        return chain(_left_out(account), shards.walk(folder / "documents"))

    return walk


def _left_out(account: Account) -> Iterator[Document]:
    """As many documents without text as there were; only the first ten of each fault have their names."""
    for fault, found in account.skipped.items():
        for name in chain(found.names, repeat("", found.documents - len(found.names))):
            yield Document(name=name, text=None, fault=fault)

"""Documents that were left out: how many, why, and the first of them by name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scaling.data.sources.document import Document

NAMED = 10  # of each fault


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """The documents with one fault."""

    documents: int
    names: list[str]  # the first ten


@dataclass
class Skips:
    """A count that grows while documents are read; `by_fault` is what it found."""

    by_fault: dict[str, Skipped] = field(default_factory=dict)

    def fit(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that have a text; the others are counted and named."""
        for document in documents:
            if document.text is None:
                self.add(document)
            else:
                yield document

    def add(self, document: Document) -> None:
        """Count a document that has no text."""
        before = self.by_fault.get(document.fault, Skipped(documents=0, names=[]))
        names = [*before.names, document.name] if len(before.names) < NAMED else before.names
        self.by_fault[document.fault] = Skipped(documents=before.documents + 1, names=names)


def of_all(parts: dict[str, dict[str, Skipped]]) -> dict[str, Skipped]:
    """What several parts left out, together; a document is called by its part's name, if that has one, and its own."""
    found: dict[str, Skipped] = {}
    for part, by_fault in parts.items():
        for fault, skipped in by_fault.items():
            before = found.get(fault, Skipped(documents=0, names=[]))
            names = [*before.names, *(f"{part}:{name}" if part else name for name in skipped.names)]
            found[fault] = Skipped(documents=before.documents + skipped.documents, names=names[:NAMED])
    return found


def told(skipped: dict[str, Skipped]) -> list[str]:
    """A line for each fault, the most frequent first: `2 not UTF-8: a.txt, b.txt`."""
    by_count = sorted(skipped.items(), key=lambda item: (-item[1].documents, item[0]))
    return [
        f"{found.documents:,} {fault}: {', '.join(found.names)}{', ...' if found.documents > len(found.names) else ''}"
        for fault, found in by_count
    ]

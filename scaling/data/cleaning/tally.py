"""What a cleaning step did: documents and bytes by reason, things counted, and a few examples.

Tallies of shards are added in the shards' order, so that the examples are the
corpus's first ones however it was cut into shards.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scaling.data.cleaning.contract import Placed, Verdict
from scaling.data.cleaning.private_data import starred
from scaling.data.cleaning.shards import text_bytes
from scaling.data.sources import Document

EXAMPLES = 3  # of each reason
EXCERPT = 300  # characters of an example


@dataclass(kw_only=True)
class Amount:
    """Documents, and the bytes of UTF-8 in them."""

    documents: int = 0
    bytes: int = 0

    def add(self, documents: int, size: int) -> None:
        self.documents += documents
        self.bytes += size


@dataclass(kw_only=True)
class Group:
    """The documents to which one rule did the same. lost: what went of them; examples: name, before and after."""

    documents: int = 0
    lost_bytes: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)


@dataclass(kw_only=True)
class Tally:
    """The documents that came to a step and what became of them."""

    given: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)
    dropped: dict[str, Group] = field(default_factory=dict)  # by reason
    changed: dict[str, Group] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # as the step's verdicts name them
    unchanged: list[dict[str, str]] = field(default_factory=list)  # examples

    def see(self, document: Document, verdict: Verdict) -> None:
        """Add one document and its verdict."""
        size = text_bytes(document.text)
        self.given.add(1, size)
        for name, count in verdict.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if verdict.text is None:
            _into(self.dropped, verdict.reason, size, document, "")
        elif verdict.text != document.text:
            left = text_bytes(verdict.text)
            self.kept.add(1, left)
            _into(self.changed, verdict.reason, size - left, document, verdict.text)
        else:
            self.kept.add(1, size)
            if len(self.unchanged) < EXAMPLES:
                self.unchanged.append(_example(document, ""))

    def add(self, later: "Tally") -> None:
        """Add what was seen of documents that stand later in the corpus."""
        self.given.add(later.given.documents, later.given.bytes)
        self.kept.add(later.kept.documents, later.kept.bytes)
        for mine, its in ((self.dropped, later.dropped), (self.changed, later.changed)):
            for reason, group in its.items():
                ours = mine.setdefault(reason, Group())
                ours.documents += group.documents
                ours.lost_bytes += group.lost_bytes
                ours.examples = (ours.examples + group.examples)[:EXAMPLES]
        for name, count in later.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.unchanged = (self.unchanged + later.unchanged)[:EXAMPLES]

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Tally":
        """The tally of which `dataclasses.asdict` made these values."""
        amounts = {name: Amount(**values[name]) for name in ("given", "kept")}
        groups = {
            name: {reason: Group(**group) for reason, group in values[name].items()} for name in ("dropped", "changed")
        }
        return cls(**{**values, **amounts, **groups})


@dataclass(kw_only=True)
class Sizes:
    """How long documents are: how many have their bytes' base-2 logarithm in each half, and their sum.

    by_half: 2 log2(bytes), rounded down, as text, because JSON's names are; "" is the empty document.
    """

    total: Amount = field(default_factory=Amount)
    by_half: dict[str, int] = field(default_factory=dict)

    def see(self, documents: Iterable[Placed]) -> None:
        for placed in documents:
            size = text_bytes(placed.document.text)
            self.total.add(1, size)
            # Of whole numbers alone: 2 log2(n) rounded down is the length of n^2 in bits, less one.
            half = str((size * size).bit_length() - 1) if size else ""
            self.by_half[half] = self.by_half.get(half, 0) + 1

    def add(self, other: "Sizes") -> None:
        self.total.add(other.total.documents, other.total.bytes)
        for half, count in other.by_half.items():
            self.by_half[half] = self.by_half.get(half, 0) + count

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Sizes":
        """The sizes of which `dataclasses.asdict` made these values."""
        return cls(total=Amount(**values["total"]), by_half=values["by_half"])


def _into(groups: dict[str, Group], reason: str, lost: int, document: Document, after: str) -> None:
    group = groups.setdefault(reason, Group())
    group.documents += 1
    group.lost_bytes += lost
    if len(group.examples) < EXAMPLES:
        group.examples.append(_example(document, after))


def _example(document: Document, after: str) -> dict[str, str]:
    """A document's name and beginning; of a changed one where it first differs, before and after.

    Whatever is private is hidden, so that a changed text may look the same before and after.
    """
    before = document.text
    if not after:
        return {"name": document.name, "before": _excerpt(before, 0), "after": ""}
    start = max(0, _first_difference(before, after) - EXCERPT // 3)
    return {"name": document.name, "before": _excerpt(before, start), "after": _excerpt(after, start)}


def _excerpt(text: str, start: int) -> str:
    """So many characters from a place on."""
    # Hidden with what is around it: of an address that is cut in two, half would stay.
    first = max(0, start - EXCERPT)
    return starred(text[first : start + 2 * EXCERPT])[start - first :][:EXCERPT]


def _first_difference(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:  # equal up to `low`, and known to differ by `high`
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low

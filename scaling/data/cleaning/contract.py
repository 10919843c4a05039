"""What a cleaning step is to the engine that runs it.

A step that looks at one document at a time is a function from a document to a
verdict. A step that compares documents is three functions: `sketch` says of
every document what must be known of it, `decide` reads all sketches, `apply`
gives the verdicts. The engine calls the first and the last shard by shard, in
any order and in many processes, so both depend on nothing but what they are
given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from scaling.data.sources import Document


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a step makes of a document. text: what is left of it, None if it is dropped.

    reason: the rule that dropped or changed it, in a few fixed words; "" if
    nothing was changed. counts: what was found in it, such as
    {"e-mail addresses": 2}; summed over documents for the report.
    """

    text: str | None
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A document and its place in the source's order, which no other has."""

    index: int
    document: Document


Local = Callable[[Document], Verdict]


@dataclass(frozen=True, kw_only=True)
class Global:
    """A step that compares documents.

    sketch: a table of a shard's documents with a column `index`. decide: reads
    the sketches, one Parquet file a shard in the shards' order, and writes its
    decision into the given, empty folder; its memory must not grow with the
    corpus. apply: a verdict for each document, in their order, by the decision
    in that folder.

    drops: whether all it does is to drop the documents that `dropped.parquet`
    in its decision names. Such steps in a row are sketched in one pass, before
    any of them is decided; `decide` then gets as a third argument the decisions
    of those before it, whose documents count no more.
    """

    sketch: Callable[[Sequence[Placed]], pa.Table]
    decide: Callable[..., None]  # (sketches, folder) or, if it drops, (sketches, folder, decisions before)
    apply: Callable[[Sequence[Placed], Path], list[Verdict]]
    drops: bool = False

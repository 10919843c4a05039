"""Training text that overlaps with evaluation sets, after appendix C of Brown et al. 2020 (arXiv:2005.14165).

The evaluation sets must fit into memory as 8 bytes a word; the corpus need
not. Examples of fewer words than an overlap's are not looked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from scaling.config import Source
from scaling.config.cleaning_duplicates import Decontaminate
from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.cleaning.tables import database, places_by_index, read, sketch_table, write
from scaling.data.cleaning.words import groups, merged, spans_of, words_of
from scaling.data.sources import DataError, documents

HITS = "hits.parquet"  # index of a document and the place of the first word of an overlap
REASON = "evaluation text"
_SCHEMA = pa.schema([("index", pa.int64()), ("place", pa.uint32()), ("key", pa.uint64())])
_BITS = 22  # of a key, looked up before the key itself is searched for
_KINDS = {".jsonl": "jsonl", ".parquet": "parquet", ".txt": "text"}


def decontaminate(config: Decontaminate) -> Global:
    """Raises DataError if a path holds no evaluation set, or none has an example that is long enough."""
    _evaluation(config)
    return Global(
        sketch=partial(_sketch, config=config),
        decide=partial(_decide, config=config),
        apply=partial(_apply, config=config),
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The runs of words of all examples."""

    keys: np.ndarray  # (G,) uint64, ascending
    some: np.ndarray  # (2^_BITS,) bool: whether any key begins with these bits

    def holds(self, keys: np.ndarray) -> np.ndarray:
        """The places in `keys` of those that are an example's."""
        likely = np.flatnonzero(self.some.take((keys >> np.uint64(64 - _BITS)).astype(np.int64)))
        found = np.minimum(np.searchsorted(self.keys, keys[likely]), len(self.keys) - 1)
        return likely[self.keys[found] == keys[likely]]


@cache
def _evaluation(config: Decontaminate) -> Evaluation:
    keys = [np.zeros(0, np.uint64)]
    for _, texts in groups(_texts(config.paths, config.field)):
        keys.append(np.unique(words_of(texts).runs(config.words)[2]))
    found = np.unique(np.concatenate(keys))
    if not len(found):
        raise DataError(
            f"Decontaminate.paths={config.paths}: no example has {config.words} words; "
            "lower Decontaminate.words or mend the paths"
        )
    some = np.zeros(1 << _BITS, bool)
    some[(found >> np.uint64(64 - _BITS)).astype(np.int64)] = True
    return Evaluation(found, some)


def _texts(paths: Sequence[str], field: str) -> Iterator[str]:
    for path in paths:
        source = Source(kind=_KINDS[Path(path).suffix], path=path, field=field)
        yield from (document.text for document in documents(source) if document.text is not None)


def _sketch(shard: Sequence[Placed], *, config: Decontaminate) -> pa.Table:
    evaluation, parts = _evaluation(config), []
    for first, texts in groups(placed.document.text for placed in shard):
        rows, places, keys = words_of(texts).runs(config.words)
        hits = evaluation.holds(keys)
        indices = np.array([placed.index for placed in shard[first : first + len(texts)]], np.int64)
        parts.append([indices[rows[hits]], places[hits].astype(np.uint32), keys[hits]])
    return sketch_table(_SCHEMA, parts)


def _decide(sketches: Sequence[Path], folder: Path, *, config: Decontaminate) -> None:
    with database(sketches, folder) as connection:
        write(
            connection,
            f"""
            SELECT index, place FROM sketch JOIN (
                SELECT key FROM (SELECT DISTINCT key, index FROM sketch)
                GROUP BY key HAVING count(*) <= {config.most_documents}
            ) USING (key) ORDER BY index, place
            """,
            folder / HITS,
        )


def _apply(shard: Sequence[Placed], folder: Path, *, config: Decontaminate) -> list[Verdict]:
    hits = places_by_index(read(folder / HITS, shard))
    return [_verdict(placed.document.text, hits.get(placed.index), config) for placed in shard]


def _verdict(text: str, starts: np.ndarray | None, config: Decontaminate) -> Verdict:
    if starts is None:
        return Verdict(text=text)
    counts = {"overlaps with evaluation sets": len(starts)}
    if config.mode == "drop":
        return Verdict(text=None, reason=REASON, counts=counts)
    pieces = _pieces(text, merged(starts, config.words, spans_of(text)), config)
    whole = 0 < len(pieces) <= config.most_pieces
    return Verdict(text="\n".join(pieces) if whole else None, reason=REASON, counts=counts)


def _pieces(text: str, overlaps: Sequence[tuple[int, int]], config: Decontaminate) -> list[str]:
    """What is left between the overlaps and their margins, if it is long enough."""
    begins = [0, *(stop + config.margin for _, stop in overlaps)]
    ends = [*(max(0, start - config.margin) for start, _ in overlaps), len(text)]
    pieces = [text[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return [piece for piece in pieces if piece and len(piece) >= config.least_piece]

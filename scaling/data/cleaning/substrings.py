"""Spans of many words that a corpus repeats: all but the first are cut.

Lee et al. find them with a suffix array, which needs several times the corpus
in memory or a merge of arrays on disk. Here every run of `words` words has a
64-bit hash, and DuckDB groups the hashes on disk: the same spans are found,
since a longer one is made of runs, and memory does not grow with the corpus.
On disk lie about two bytes for every byte of text while a decision is made.
That two different runs share a hash happens once in 10^19 pairs.

The first place of a run is that of the lowest document index, then of the
lowest place. A run that overlaps with its own first place is left alone: of a
word repeated a thousand times, `words` stay.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from scaling.config.cleaning_duplicates import DuplicateSubstrings
from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.cleaning.tables import SPILT, database, parted_by_key, places_by_index, read, sketch_table, write
from scaling.data.cleaning.words import groups, merged, spans_of, words_of

CUT = "cut.parquet"  # index of a document and the place of the first word of a repeated run
_SCHEMA = pa.schema([("index", pa.int64()), ("place", pa.uint32()), ("key", pa.uint64())])
REASON = "repeated span"


def duplicate_substrings(config: DuplicateSubstrings) -> Global:
    return Global(
        sketch=partial(_sketch, words=config.words),
        decide=partial(_decide, words=config.words),
        apply=partial(_apply, words=config.words),
    )


def without(text: str, starts: np.ndarray, words: int) -> str:
    """A text without the runs of `words` words that begin at the words `starts`, ascending.

    A space stands in the gap, or a line end if the gap held one, so that no words meet that did not.
    """
    kept, end = [], 0
    for begin, stop in merged(starts, words, spans_of(text)):
        kept.append(text[end:begin])
        kept.append("\n" if "\n" in text[begin:stop] else " ")
        end = stop
    return "".join([*kept, text[end:]])


def _sketch(shard: Sequence[Placed], *, words: int) -> pa.Table:
    parts = []
    for first, texts in groups(placed.document.text for placed in shard):
        rows, places, keys = words_of(texts).runs(words)
        indices = np.array([placed.index for placed in shard[first : first + len(texts)]], np.int64)
        parts.append([indices[rows], places.astype(np.uint32), keys])
    return sketch_table(_SCHEMA, parts)


def _decide(sketches: Sequence[Path], folder: Path, *, words: int) -> None:
    # One number for index and place: a minimum of numbers needs far less memory than one of pairs.
    position = "(index << 32) + place"
    with database(sketches, folder) as connection:
        connection.execute("CREATE TABLE cut (index BIGINT, place UINTEGER)")
        for part in parted_by_key(connection, "SELECT key, index, place FROM sketch", folder / SPILT / "keys"):
            connection.execute(
                f"""
                INSERT INTO cut SELECT index, place FROM {part}
                JOIN (SELECT key, min({position}) AS first FROM {part} GROUP BY key HAVING count(*) > 1) USING (key)
                WHERE {position} >= first + {words}
                """
            )
        write(connection, "SELECT index, place FROM cut ORDER BY index, place", folder / CUT)


def _apply(shard: Sequence[Placed], folder: Path, *, words: int) -> list[Verdict]:
    cuts = places_by_index(read(folder / CUT, shard))
    return [_verdict(placed.document.text, cuts.get(placed.index), words) for placed in shard]


def _verdict(text: str, starts: np.ndarray | None, words: int) -> Verdict:
    if starts is None:
        return Verdict(text=text)
    kept = without(text, starts, words)
    return Verdict(
        text=kept if len(spans_of(kept)) else None,  # punctuation alone is no text
        reason=REASON,
        counts={"characters of repeated spans": len(text) - len(kept)},
    )

"""Lines and paragraphs that a corpus holds too often."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from scaling.config.cleaning_duplicates import DuplicateLines, DuplicateParagraphs
from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.cleaning.tables import SPILT, database, parted_by_key, places_by_index, read, sketch_table, write

CUT = "cut.parquet"  # index of a document and the number of a line or paragraph in it
_SCHEMA = pa.schema([("index", pa.int64()), ("place", pa.int32()), ("key", pa.uint64())])
_BLANK = re.compile(r"\n[^\S\n]*\n\s*")  # one blank line or more, with the indentation after them
_PUNCTUATION = bytes(b for b in range(128) if unicodedata.category(chr(b)).startswith("P"))
_DIGITS = bytes.maketrans(b"123456789\x1c\x1d\x1e\x1f", b"000000000    ")  # the last four part words of a str


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a text is cut into; joined, the parts are the text."""

    name: str
    parts: Callable[[str], list[str]]


def duplicate_lines(config: DuplicateLines) -> Global:
    return _repeated(config, Unit(name="lines", parts=_lines))


def duplicate_paragraphs(config: DuplicateParagraphs) -> Global:
    return _repeated(config, Unit(name="paragraphs", parts=_paragraphs))


def normal(text: str) -> bytes:
    """Small letters, every digit 0, no punctuation, no accents (CCNet)."""
    if not text.isascii():
        text = unicodedata.normalize("NFD", text).translate(_FORMS)
    return text.lower().encode(errors="replace").translate(_DIGITS, _PUNCTUATION)


def _repeated(config: DuplicateLines | DuplicateParagraphs, unit: Unit) -> Global:
    return Global(
        sketch=partial(_sketch, config=config, unit=unit),
        decide=partial(_decide, config=config),
        apply=partial(_apply, unit=unit),
    )


def _sketch(shard: Sequence[Placed], *, config: DuplicateLines | DuplicateParagraphs, unit: Unit) -> pa.Table:
    rows = [
        (placed.index, place, key)
        for placed in shard
        for place, key in _keys(unit.parts(placed.document.text), config.least_words)
    ]
    return sketch_table(_SCHEMA, [tuple(zip(*rows, strict=True))] if rows else [])


def _keys(parts: list[str], least_words: int) -> Iterator[tuple[int, int]]:
    """Places and 64-bit keys, as CCNet has them, of the parts that are long enough."""
    least_characters = 2 * least_words - 1
    for place, part in enumerate(parts):
        # Normal form has no more words than the part itself, so that most parts are settled cheaply.
        if len(part) >= least_characters and len(part.split()) >= least_words:
            words = normal(part).split()
            if len(words) >= least_words:
                key = hashlib.sha1(b" ".join(words), usedforsecurity=False).digest()
                yield place, int.from_bytes(key[:8], "big")


def _decide(sketches: Sequence[Path], folder: Path, *, config: DuplicateLines | DuplicateParagraphs) -> None:
    total = "sum(times)" if config.count == "times" else "count(*)"
    spared = "AND NOT (index = first AND place = first_place)" if config.keep_first else ""
    with database(sketches, folder) as connection:
        connection.execute("CREATE TABLE cut (index BIGINT, place INTEGER)")
        for part in parted_by_key(connection, "SELECT key, index, place FROM sketch", folder / SPILT / "keys"):
            connection.execute(
                f"""
                INSERT INTO cut WITH by_document AS (
                    SELECT key, index, min(place) AS place, count(*) AS times FROM {part} GROUP BY key, index
                ), too_often AS (
                    SELECT key, min(index) AS first, arg_min(place, index) AS first_place
                    FROM by_document GROUP BY key HAVING {total} > {config.most}
                )
                SELECT index, place FROM {part} JOIN too_often USING (key) WHERE true {spared}
                """
            )
        write(connection, "SELECT index, place FROM cut ORDER BY index, place", folder / CUT)


def _apply(shard: Sequence[Placed], folder: Path, *, unit: Unit) -> list[Verdict]:
    cuts = places_by_index(read(folder / CUT, shard))
    return [_verdict(placed.document.text, cuts.get(placed.index), unit) for placed in shard]


def _verdict(text: str, places: np.ndarray | None, unit: Unit) -> Verdict:
    if places is None:
        return Verdict(text=text)
    cut = set(places.tolist())
    kept = "".join(part for place, part in enumerate(unit.parts(text)) if place not in cut)
    return Verdict(
        text=kept if kept.strip() else None, reason=f"repeated {unit.name}", counts={f"repeated {unit.name}": len(cut)}
    )


def _lines(text: str) -> list[str]:
    *whole, last = text.split("\n")
    return [line + "\n" for line in whole] + [last]


def _paragraphs(text: str) -> list[str]:
    """Each with the blank lines after it."""
    ends = [found.end() for found in _BLANK.finditer(text)]
    return [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]


class _Forms(dict):
    """Of decomposed characters: punctuation and accents go, digits become 0, all spaces the same one."""

    def __missing__(self, code: int) -> int | str | None:
        character, kind = chr(code), unicodedata.category(chr(code))
        if kind[0] == "P" or kind == "Mn":
            found = None
        elif kind == "Nd":
            found = "0"
        else:
            found = " " if character.isspace() else code
        self[code] = found
        return found


_FORMS = _Forms()

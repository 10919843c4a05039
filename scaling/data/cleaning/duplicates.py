"""Documents with the same text or the same address: of each set the one that comes first stays."""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa

from scaling.config.cleaning_duplicates import DuplicateURLs, ExactDuplicates
from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.cleaning.tables import DROPPED, database, read, sketch_table, write
from scaling.data.sources import Document

_SCHEMA = pa.schema([("index", pa.int64()), ("key", pa.binary(32))])
_UNRESERVED = re.compile(r"%(?:2[dDeE]|3\d|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_PORTS = {"http": 80, "https": 443}


def exact_duplicates(config: ExactDuplicates) -> Global:
    """By SHA-256 of the text."""
    return Global(
        sketch=partial(_sketch, key=_text),
        decide=decide_first,
        apply=partial(drop, reason="same text as an earlier document"),
        drops=True,
    )


def duplicate_urls(config: DuplicateURLs) -> Global:
    """By SHA-256 of the address in its normal form."""
    return Global(
        sketch=partial(_sketch, key=_address),
        decide=decide_first,
        apply=partial(drop, reason="same address as an earlier document"),
        drops=True,
    )


def normal_url(url: str) -> str:
    """An address without what does not tell places apart; "" if there is none.

    Scheme and fragment go, and the port where it is the scheme's own; the
    host is in small letters; dots in a path are followed, escapes of
    characters that need none are undone, all others are in capitals. What
    is no address comes back as it is.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # brackets that hold no address, a port that is no number
        return url
    if not host:
        return url
    port = "" if port in (None, _PORTS.get(parts.scheme)) else f":{port}"
    query = f"?{_escaped(parts.query)}" if parts.query else ""
    return f"{host}{port}{_without_dots(_escaped(parts.path))}{query}"


def decide_first(sketches: Sequence[Path], folder: Path, before: Sequence[Path] = ()) -> None:
    """Of documents with one key all go but that of the lowest index."""
    with database(sketches, folder, before) as connection:
        write(
            connection,
            """
            SELECT index, first FROM sketch
            JOIN (SELECT key, min(index) AS first FROM sketch GROUP BY key HAVING count(*) > 1) USING (key)
            WHERE index > first ORDER BY index
            """,
            folder / DROPPED,
        )


def drop(shard: Sequence[Placed], folder: Path, *, reason: str) -> list[Verdict]:
    """Documents of the decision go, all others stay as they are."""
    gone = set(read(folder / DROPPED, shard)["index"].to_pylist())
    return [
        Verdict(text=None, reason=reason) if placed.index in gone else Verdict(text=placed.document.text)
        for placed in shard
    ]


def _sketch(shard: Sequence[Placed], *, key: Callable[[Document], str]) -> pa.Table:
    keyed = [(placed.index, key(placed.document)) for placed in shard]
    rows = [(index, hashlib.sha256(value.encode(errors="replace")).digest()) for index, value in keyed if value]
    return sketch_table(_SCHEMA, [tuple(zip(*rows, strict=True))] if rows else [])


def _text(document: Document) -> str:
    return document.text


def _address(document: Document) -> str:
    return normal_url(document.url)


def _escaped(part: str) -> str:
    """RFC 3986, section 6.2.2.1 and 6.2.2.2."""
    part = _UNRESERVED.sub(lambda found: unquote(found.group()), part)
    part = re.sub(r"%[0-9a-fA-F]{2}", lambda found: found.group().upper(), part)
    return quote(part, safe="%/?:@!$&'()*+,;=~")


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4; an empty path is the root."""
    kept: list[str] = []
    steps = path.split("/")[1:]
    for step in steps:
        if step == "..":
            del kept[-1:]
        elif step != ".":
            kept.append(step)
    if steps and steps[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)

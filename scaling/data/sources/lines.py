"""Documents in files and in lines of files, read with bounded memory."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from scaling.config import Source
from scaling.data.sources.document import DataError, Document, document, faulty, named_fields, of_row, text_fields
from scaling.data.sources.places import File, at_most, place, until_damage

TEXT_PART_BYTES = 1 << 15  # of the `text` kind: about 300 lines of prose
TRIED = 100  # documents that may be faulty before the settings are


def whole_files(source: Source) -> Iterator[Document]:
    """A file is a document."""
    for file in place(source).files():
        yield from until_damage(file, _whole(file, source.most_bytes))


def text_parts(source: Source) -> Iterator[Document]:
    """Files cut at line ends."""
    for file in place(source).files():
        yield from until_damage(file, _parts(file, source.most_bytes))


def jsonl_lines(source: Source) -> Iterator[Document]:
    """A line of a file is a document. Named fields that none of the first has are refused."""
    unseen, tried = set(named_fields(source).values()), 0
    for file in place(source).files():
        for name, line in _numbered(file, source.most_bytes):
            if isinstance(line, Document):
                yield line
                continue
            values, found = _parsed(name, line, file, source)
            yield found
            if unseen and values:
                unseen, tried = unseen - values.keys(), tried + 1
                if tried == TRIED:
                    _require_seen(unseen, source)
    if tried:
        _require_seen(unseen, source)


def bounded_lines(file: BinaryIO, most_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Every line and its length in bytes; of one longer than `most_bytes` only the beginning is kept."""
    while line := file.readline(most_bytes + 1):
        length, end = len(line), line
        while length > most_bytes and end and not end.endswith(b"\n"):
            end = file.readline(1 << 16)
            length += len(end)
        yield line, length


def _whole(file: File, most_bytes: int) -> Iterator[Document]:
    with file.open() as stream:
        yield document(file.name, at_most(stream, most_bytes), most_bytes)


def _parts(file: File, most_bytes: int) -> Iterator[Document]:
    part, start = bytearray(), 0
    with file.open() as stream:
        for line, length in bounded_lines(stream, most_bytes):
            if part and len(part) + length > TEXT_PART_BYTES:
                yield document(f"{file.name}:{start:012d}", bytes(part), most_bytes)
                start, part = start + len(part), bytearray()
            if length > most_bytes:
                yield faulty(f"{file.name}:{start:012d}", "too long")
                start += length
            else:
                part += line
    if part or not start:
        yield document(f"{file.name}:{start:012d}", bytes(part), most_bytes)


def _numbered(file: File, most_bytes: int) -> Iterator[tuple[str, bytes | Document]]:
    """The lines of a file that are not empty, each with its name; a fault in place of those too long or damaged."""

    def lines() -> Iterator[Document | tuple[str, bytes]]:
        with file.open() as stream:
            for number, (line, length) in enumerate(bounded_lines(stream, most_bytes), start=1):
                name = f"{file.name}:{number}"
                if length > most_bytes:
                    yield faulty(name, "too long")
                elif line.strip():
                    yield name, line

    for found in until_damage(file, lines()):
        yield (found.name, found) if isinstance(found, Document) else found


def _parsed(name: str, line: bytes, file: File, source: Source) -> tuple[dict[str, Any], Document]:
    """The fields of a line, and the document that it is."""
    where = f"{file.where}, line {name.rpartition(':')[2]}"
    try:
        values = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return {}, faulty(name, "not UTF-8")
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a ValueError
        return {}, faulty(name, "not JSON", f"{where}: not JSON ({error}); mend or remove that line")
    if not isinstance(values, dict):
        detail = f"{where}: holds a {type(values).__name__}, not an object with fields"
        return {}, faulty(name, "not an object", detail)
    for setting, field in text_fields(source).items():
        if field not in values:
            detail = f"{where}: no field {field!r}; it has {sorted(values)[:20]}; set Source.{setting} to one of them"
            return values, faulty(name, "no such field", detail)
        if not isinstance(text := values[field], str | None):
            found = type(text).__name__
            detail = f"{where}: field {field!r} holds a {found}, not text; choose another Source.{setting}"
            return values, faulty(name, "not text", detail)
    return values, of_row(name, values, source)


def _require_seen(unseen: set[str], source: Source) -> None:
    if unseen:
        raise DataError(
            f"{source.path}: no field {sorted(unseen)[0]!r} in its first objects; set the field of Source "
            "that names it to one that is there, or to ''"
        )

"""Any source as documents, and what tells that it changed."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from scaling.config import Source, to_dict
from scaling.data import worlds
from scaling.data.sources.document import DataError, Document, faulty
from scaling.data.sources.lines import TRIED, jsonl_lines, text_parts, whole_files
from scaling.data.sources.pages import html_files, warc_pages
from scaling.data.sources.places import Local, interpreter, is_url, place
from scaling.data.sources.tables import parquet_rows, tfds_examples

READING = 2  # rises when the same files give other documents


def documents(source: Source) -> Iterator[Document]:
    """Every document of a source, in an order that depends only on its content.

    stdlib: Python files of the interpreter's standard library, without
    installed packages. packages: Python files of the packages installed beside
    it. folder: every file below `path` that is not hidden. text: a file, or
    the .txt files of a folder, cut at line ends into documents of about
    32 KiB, so that one file can be split. jsonl: a line is a document.
    parquet: a row is one. html: a page is one, by its main text. warc: so is
    every page that the archive holds, or text extracted from it (WET). tfds:
    an example of the data set's own `train` split is one. world: drawn from
    its law.

    Files are decompressed if their names end in .gz, .bz2, .xz or .zst. What a
    damaged file gives before its damage is used. A document that is not fit
    for use comes with a fault and without a text. Raises DataError if the
    source is not there, cannot be read, or if its first hundred documents have
    nothing but faults that come from a wrong setting or a damaged file.
    """
    first, wrong, sound = None, 0, False
    for found in _first_of_each_id(source, _read(source)):
        sound = sound or found.text is not None
        if not sound and found.detail:
            first, wrong = first or found, wrong + 1
            if wrong == TRIED:
                raise DataError(f"{first.detail} (and {wrong - 1} more like it, before any text)")
        yield found
    if first is not None and not sound:
        raise DataError(first.detail)


def fingerprint(source: Source) -> str:
    """Hash of what a source holds by names, sizes and times of change; reads no text.

    For the standard library and the packages their versions take the place of
    the times, which differ between installations of one version.
    """
    if source.kind == "world":
        return hashlib.sha256(json.dumps([worlds.VERSION, to_dict(source.world)]).encode()).hexdigest()
    settings, files = asdict(source), place(source)
    if not source.prompt_field:  # there was none once: what was prepared then is found
        del settings["prompt_field"]
    if isinstance(files, Local) and source.kind not in ("stdlib", "packages", "tfds"):
        settings["path"] = str(Path(source.path).expanduser().resolve())
    installed = source.kind in ("stdlib", "packages")
    facts = [READING, settings, interpreter() if installed else "", _versions(files.root) if installed else ""]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name in files.names:
        stamp = files.stamp(name)
        digest.update(json.dumps([name, stamp[:1] if installed else stamp]).encode())
    return digest.hexdigest()


def readable_name(source: Source) -> str:
    """A short name for folders and messages, without characters that a path cannot hold."""
    if source.kind in ("stdlib", "packages"):
        return f"{source.kind}-{interpreter()}"
    if source.kind == "world":
        return f"{source.world.kind}-{source.world.seed}"
    if source.kind == "tfds":
        stem = source.path
    elif is_url(source.path):
        stem = Path(source.path.rstrip("/:").rpartition("/")[2] or source.kind).stem
    else:
        stem = Path(source.path).resolve().stem
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in stem)[:40]


def _read(source: Source) -> Iterator[Document]:
    match source.kind:
        case "stdlib" | "packages" | "folder":
            return whole_files(source)
        case "text":
            return text_parts(source)
        case "jsonl":
            return jsonl_lines(source)
        case "parquet":
            return parquet_rows(source)
        case "html":
            return html_files(source)
        case "warc":
            return warc_pages(source)
        case "tfds":
            return tfds_examples(source)
        case "world":
            return (Document(name=name, text=text) for name, text in worlds.documents(source.world))


def _first_of_each_id(source: Source, found: Iterator[Document]) -> Iterator[Document]:
    """Documents whose id came before become faults. The ids seen are kept in a temporary file, not in memory."""
    if not source.id_field:
        yield from found
        return
    ids = sqlite3.connect("", isolation_level=None)  # "": a file that is removed when it is closed
    try:
        ids.execute("PRAGMA journal_mode = OFF")
        ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        ids.execute("BEGIN")
        for document in found:
            key = hashlib.sha256(document.name.encode()).digest()[:16]
            new = document.text is None or ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount
            yield document if new else faulty(document.name, "duplicated id")
    finally:
        ids.close()


def _versions(root: str) -> list[list[str]]:
    """Of the packages installed below a folder."""
    from importlib import metadata  # here, because every process that cleans imports this module, and none asks this

    return sorted([found.name or "", found.version] for found in metadata.distributions(path=[root]))

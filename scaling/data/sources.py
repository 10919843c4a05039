"""Where documents come from: named texts out of files, tables or a TFDS data set.

`documents(source)` walks a source in a fixed order. `fingerprint(source)` says
whether it changed without reading any text.
"""

import hashlib
import json
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scaling.config import Source, to_dict
from scaling.data import worlds

TEXT_PART_BYTES = 1 << 15  # of the `text` kind: about 300 lines of prose


class DataError(ValueError):
    """Data that cannot be used; the message says where they are and how to mend them."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text and its name, unique within its source; `text` is None if it is not valid UTF-8.

    What is not known of the others is "". url: where it was found. language:
    an ISO 639 code. licence: as its source names it.
    """

    name: str
    text: str | None
    url: str = ""
    language: str = ""
    licence: str = ""


def documents(source: Source) -> Iterator[Document]:
    """Every document of a source, in an order that depends only on its content.

    stdlib: Python files of the interpreter's standard library, without
    installed packages. folder: every file below `path` that is not hidden.
    text: a file, or the .txt files of a folder, cut at line ends into
    documents of about 32 KiB, so that one file can be split. jsonl: a line
    is a document. parquet: a row is one. tfds: an example of the data set's
    own `train` split is one. world: drawn from its law.

    Raises DataError if the source is not there or lacks the named field.
    """
    match source.kind:
        case "stdlib" | "folder":
            root, paths = _listing(source)
            for path in paths:
                yield _document(path.relative_to(root).as_posix(), path.read_bytes())
        case "text":
            yield from _text_parts(source)
        case "jsonl":
            yield from _jsonl_lines(source)
        case "parquet":
            yield from _parquet_rows(source)
        case "tfds":
            yield from _tfds_examples(source)
        case "world":
            yield from (Document(name=name, text=text) for name, text in worlds.documents(source.world))


def fingerprint(source: Source) -> str:
    """Hash of what a source holds by names, sizes and times of change; reads no text.

    For the standard library the interpreter's version takes the place of the
    times, which differ between installations of one version.
    """
    if source.kind == "world":
        return hashlib.sha256(json.dumps([worlds.VERSION, to_dict(source.world)]).encode()).hexdigest()
    root, paths = _listing(source)
    where = source.path if source.kind in ("stdlib", "tfds") else str(Path(source.path).expanduser().resolve())
    facts: list = [source.kind, where, source.field]
    if source.kind == "stdlib":
        facts.append(platform.python_version())
    for path in paths:
        stat = path.stat()
        changed = 0 if source.kind == "stdlib" else stat.st_mtime_ns
        facts.append([path.relative_to(root).as_posix(), stat.st_size, changed])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def readable_name(source: Source) -> str:
    """A short name for folders and messages, without characters that a path cannot hold."""
    if source.kind == "stdlib":
        return f"stdlib-{platform.python_version()}"
    if source.kind == "world":
        return f"{source.world.kind}-{source.world.seed}"
    stem = source.path if source.kind == "tfds" else Path(source.path).resolve().stem
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in stem)[:40]


def tfds_folder() -> Path:
    """Where TFDS keeps its data sets unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def _listing(source: Source) -> tuple[Path, list[Path]]:
    """The files of a source, sorted by name, and the folder their names start from."""
    match source.kind:
        case "stdlib":
            root = Path(sysconfig.get_paths()["stdlib"])
            return root, _below(root, ".py", without=("site-packages", "dist-packages"))
        case "tfds":
            # `name/config:version`: everything of that name, whichever version is taken
            root = tfds_folder() / source.path.split("/")[0].split(":")[0]
            return root, _below(root, "")
    path = Path(source.path).expanduser()
    if path.is_file():
        return path.parent, [path]
    if not path.is_dir():
        raise DataError(f"Source(kind={source.kind!r}): {path} is neither a file nor a folder; mend Source.path")
    return path, _below(path, {"folder": "", "text": ".txt", "jsonl": ".jsonl", "parquet": ".parquet"}[source.kind])


def _below(root: Path, suffix: str, without: tuple[str, ...] = ()) -> list[Path]:
    found = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in without]
        found += [Path(folder, name) for name in files if name.endswith(suffix) and not name.startswith(".")]
    # By text, not by path parts, so that the order is the same on every system.
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _document(name: str, value: bytes | str) -> Document:
    try:
        if isinstance(value, bytes):
            return Document(name=name, text=value.decode())
        value.encode()  # a lone surrogate is a str, but no text
        return Document(name=name, text=value)
    except UnicodeError:
        return Document(name=name, text=None)


def _text_parts(source: Source) -> Iterator[Document]:
    root, paths = _listing(source)
    for path in paths:
        name, part, start = path.relative_to(root).as_posix(), bytearray(), 0
        with path.open("rb") as file:
            for line in file:
                if part and len(part) + len(line) > TEXT_PART_BYTES:
                    yield _document(f"{name}:{start:012d}", bytes(part))
                    start, part = start + len(part), bytearray()
                part += line
        yield _document(f"{name}:{start:012d}", bytes(part))


def _jsonl_lines(source: Source) -> Iterator[Document]:
    root, paths = _listing(source)
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    name = f"{path.relative_to(root).as_posix()}:{number}"
                    yield _jsonl_document(name, line, f"{path}, line {number}", source.field)


def _jsonl_document(name: str, line: bytes, where: str, field: str) -> Document:
    try:
        values = json.loads(line)
    except UnicodeDecodeError:
        return Document(name=name, text=None)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error}); mend or remove that line") from None
    if not isinstance(values, dict):
        raise DataError(f"{where}: holds a {type(values).__name__}, not an object with fields")
    if field not in values:
        raise DataError(f"{where}: no field {field!r}; it has {sorted(values)}; set Source.field to one of them")
    if not isinstance(values[field], str):
        raise DataError(
            f"{where}: field {field!r} holds a {type(values[field]).__name__}, not text; choose another Source.field"
        )
    return _document(name, values[field])


def _parquet_rows(source: Source) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    root, paths = _listing(source)
    for path in paths:
        name, row = path.relative_to(root).as_posix(), 0
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: not a whole Parquet file ({error}); write it again") from None
        with file:
            columns = file.schema_arrow.names
            if source.field not in columns:
                raise DataError(
                    f"{path}: no column {source.field!r}; it has {columns}; set Source.field to one of them"
                )
            for batch in file.iter_batches(batch_size=1024, columns=[source.field]):
                # As bytes, because a Parquet string may hold invalid UTF-8.
                for value in _as_bytes(batch.column(0), path, source.field):
                    yield _document(f"{name}:{row}", value)
                    row += 1


def _as_bytes(column, path: Path, field: str) -> list[bytes]:
    import pyarrow as pa

    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(kind(column.type) for kind in kinds):
        raise DataError(f"{path}: column {field!r} holds {column.type}, not text; choose another Source.field")
    if column.null_count:
        raise DataError(f"{path}: column {field!r} has {column.null_count} empty cells; remove those rows")
    return column.cast(pa.large_binary()).to_pylist()


def _tfds_examples(source: Source) -> Iterator[Document]:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(source.path, data_dir=tfds_folder())
    except tfds.core.DatasetNotFoundError:
        raise DataError(
            f"Source(kind='tfds', path={source.path!r}): TFDS knows no such data set, in its catalogue or in "
            f"{tfds_folder()}; mend Source.path, or set TFDS_DATA_DIR to where the data set lies"
        ) from None
    except AssertionError as error:  # a version or config that it does not have
        raise DataError(
            f"Source(kind='tfds', path={source.path!r}): {str(error).rstrip('.')}; mend Source.path"
        ) from None
    if not builder.is_prepared():
        builder.download_and_prepare(file_format="array_record")
    if "train" not in builder.info.splits:
        raise DataError(f"{source.path}: has no split 'train', only {sorted(builder.info.splits)}; choose another")
    try:
        examples = builder.as_data_source(split="train")
    except NotImplementedError:
        raise DataError(
            f"{source.path}: prepared as {builder.info.file_format} in {builder.data_dir}, which needs TensorFlow; "
            "prepare it again with file_format='array_record'"
        ) from None
    for index in range(len(examples)):
        example = examples[index]
        value = example.get(source.field)
        if not isinstance(value, bytes | str):
            raise DataError(
                f"{source.path}, example {index}: no text feature {source.field!r}; "
                f"it has {sorted(example)}; set Source.field to one of them"
            )
        yield _document(f"train:{index}", value)

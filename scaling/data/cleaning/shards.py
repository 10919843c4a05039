"""Documents on disk between two cleaning steps: Parquet files of about 4 MB of text, in the source's order."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scaling.data.cleaning.columns import numbers, strings
from scaling.data.cleaning.contract import Placed
from scaling.data.sources import DataError, Document

SHARD_BYTES = 1 << 22  # of text, as UTF-8; a document is never cut, so a longer one makes a longer shard
GROUP_ROWS, SKETCH_ROWS = 1024, 1 << 17  # of a row group: of documents, of small rows about them
REPEATED = ["language", "licence"]  # columns in which many values are the same
SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("name", pa.string()),
        ("text", pa.large_string()),  # null if it is not fit for use
        ("fault", pa.string()),  # why
        ("url", pa.string()),
        ("language", pa.string()),
        ("licence", pa.string()),
    ]
)


def split(documents: Iterable[Document], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a source's documents as shards into `folder`, which may hold the first of them already."""
    start = sum(map(rows, shards(folder)))
    number, batch, size = len(shards(folder)), [], 0
    for index, document in enumerate(documents):
        if index < start:
            continue
        batch.append(Placed(index=index, document=document))
        size += text_bytes(document.text or "")
        if size >= shard_bytes:
            write(folder / shard_name(number), batch)
            number, batch, size = number + 1, [], 0
    if batch or number == 0:  # of nothing, one empty shard
        write(folder / shard_name(number), batch)


def shard_name(number: int) -> str:
    return f"{number:06d}.parquet"


def shards(folder: Path) -> list[Path]:
    """The shards of a folder, in the documents' order."""
    return sorted(folder.glob("[0-9]*.parquet"))


def rows(path: Path) -> int:
    """How many documents a shard holds."""
    return pq.read_metadata(path).num_rows


def write(path: Path, documents: Iterable[Placed]) -> None:
    """A shard, whole or not at all."""
    held = list(documents)
    indices = numbers([placed.index for placed in held], pa.int64())
    texts = [
        strings([getattr(placed.document, field.name) for placed in held], field.type) for field in list(SCHEMA)[1:]
    ]
    write_table(path, pa.table([indices, *texts], schema=SCHEMA), GROUP_ROWS)


def write_table(path: Path, table: pa.Table, group_rows: int = SKETCH_ROWS) -> None:
    """A Parquet file, whole or not at all: the name appears when the bytes are on the disk."""
    # Two processes may write one file, when one was cut off from who started it; both write the same bytes.
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # A third of the text's size. zstd makes a quarter of it, for 5% more of the time of a whole cleaning.
        pq.write_table(table, part, compression="lz4", row_group_size=group_rows, use_dictionary=REPEATED)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> list[Placed]:
    """The documents of a shard; those that have no text are left out."""
    try:
        table = _table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a whole shard ({error}); delete its folder and prepare again") from None
    names = [name for name in SCHEMA.names if name not in ("index", "fault")]
    values = zip(table.column("index").to_pylist(), *(table.column(name).to_pylist() for name in names), strict=True)
    return [
        Placed(index=index, document=Document(**dict(zip(names, row, strict=True))))
        for index, *row in values
        if row[names.index("text")] is not None
    ]


def _table(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:  # `pq.read_table` would import half a second of other ways to read
        return file.read()


def walk(folder: Path) -> Iterator[Document]:
    """Every document of the shards in a folder, in order."""
    for path in shards(folder):
        for placed in read(path):
            yield placed.document


def faulty(folder: Path) -> Iterator[Document]:
    """The documents that have no text but a fault."""
    column = SCHEMA.get_field_index("text")
    for path in shards(folder):
        with pq.ParquetFile(path) as file:
            groups = [(number, file.metadata.row_group(number)) for number in range(file.num_row_groups)]
            held = [number for number, group in groups if group.num_rows and group.column(column).statistics.null_count]
            found = file.read_row_groups(held, ["name", "fault"]).to_pylist()
        yield from (Document(text=None, **row) for row in found if row["fault"])


def text_bytes(text: str) -> int:
    """Its size as UTF-8."""
    return len(text) if text.isascii() else len(text.encode())

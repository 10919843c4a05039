"""Tables that are larger than memory: DuckDB over the sketches' files, and decisions read back for one shard.

DuckDB is held to MEMORY and two threads, and writes what does not fit into a
folder beside the decision, so that a decision costs the same memory for
every corpus. Results are sorted where they are written: they do not depend
on how the work was spread.
"""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaling.data.cleaning.columns import as_numpy, keys, numbers
from scaling.data.cleaning.contract import Placed
from scaling.data.sources import DataError

if TYPE_CHECKING:
    import duckdb

MEMORY = "256MB"
THREADS = 2
DROPPED = "dropped.parquet"  # index of each document that goes, and of the one it repeats
SPILT = "spilt"  # folder of what does not fit into memory; gone when a decision is made
ROWS = 1 << 16  # of a row group: what is read too much for a shard
ROWS_AT_ONCE, MOST_PARTS = 1 << 17, 512  # of a table that is grouped by its keys


@contextmanager
def database(
    sketches: Sequence[Path], folder: Path, before: Sequence[Path] = ()
) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A connection with the sketches as the view `sketch`; what it spills lies in `folder` while it is open.

    before: decisions whose dropped documents are left out of the view. Raises DataError if there is no sketch.
    """
    if not sketches:
        raise DataError(f"{folder}: no documents to compare; mend Source.path")
    spilt = folder / SPILT
    spilt.mkdir()
    connection = needed("duckdb").connect(
        config={
            "memory_limit": MEMORY,
            "threads": THREADS,
            "temp_directory": str(spilt),
            "preserve_insertion_order": False,
        }
    )
    try:
        connection.execute("SET enable_progress_bar = false")
        gone = "".join(f" ANTI JOIN read_parquet({quoted(decision / DROPPED)}) USING (index)" for decision in before)
        files = ", ".join(map(quoted, sketches))
        connection.execute(f"CREATE VIEW sketch AS SELECT * FROM read_parquet([{files}]) AS made{gone}")
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spilt, ignore_errors=True)


def parted_by_key(
    connection: "duckdb.DuckDBPyConnection", rows: str, folder: Path, at_once: int = ROWS_AT_ONCE
) -> list[str]:
    """The rows of a query with a column `key` in parts, on disk unless one is enough: what has one key is in one part.

    Grouping all rows at once takes memory for every key, and DuckDB keeps
    much of it although it may spill. Gives what to read each part from;
    parts are of about `at_once` rows, or larger where these would be too many.
    """
    [(count,)] = connection.execute(f"SELECT count(*) FROM ({rows})").fetchall()  # all, or the result stays open
    parts = min(MOST_PARTS, 1 + count // at_once)
    if parts == 1:
        return [f"({rows}) AS piece"] if count else []
    connection.execute(f"SET partitioned_write_flush_threshold = {2048 * parts}")
    connection.execute(
        f"COPY (SELECT key % {parts} AS part, * FROM ({rows})) TO {quoted(folder)} "
        f"(FORMAT parquet, PARTITION_BY (part), ROW_GROUP_SIZE {ROWS})"
    )
    found = [folder / f"part={part}" for part in range(parts)]
    return [f"read_parquet({quoted(part / '*.parquet')}) AS piece" for part in found if part.exists()]


def write(connection: "duckdb.DuckDBPyConnection", query: str, path: Path, group_rows: int = ROWS) -> None:
    """The rows of a query as a Parquet file."""
    connection.execute(f"COPY ({query}) TO {quoted(path)} (FORMAT parquet, ROW_GROUP_SIZE {group_rows})")


def read(path: Path, shard: Sequence[Placed]) -> pa.Table:
    """The rows of a decision, sorted by `index`, that are about a shard's documents, or lie between them."""
    if not shard:
        return pq.read_schema(path).empty_table()
    indices = [placed.index for placed in shard]
    first, last = min(indices), max(indices)
    with pq.ParquetFile(path) as file:
        groups = [number for number in range(file.num_row_groups) if _meets(file, number, first, last)]
        table = file.read_row_groups(groups)
    begin, end = np.searchsorted(as_numpy(table["index"]), [first, last + 1]).tolist()
    return table.slice(begin, end - begin)


def _meets(file: pq.ParquetFile, group: int, first: int, last: int) -> bool:
    """Whether a row group may have documents of an index from first to last."""
    column = file.metadata.row_group(group).column(file.schema_arrow.get_field_index("index"))
    return column.statistics.min <= last and column.statistics.max >= first


def places_by_index(table: pa.Table) -> dict[int, np.ndarray]:
    """The places, ascending, of each document that a table with columns index and place, sorted by them, names."""
    indices, starts = np.unique(as_numpy(table["index"]), return_index=True)
    places = np.split(as_numpy(table["place"]).astype(np.int64), starts[1:])
    return dict(zip(indices.tolist(), places, strict=False))  # of no rows numpy makes one empty part


def sketch_table(schema: pa.Schema, parts: Sequence[Sequence[Any]]) -> pa.Table:
    """A table of the schema from parts of it, each a sequence of columns; there may be none."""
    batches = [
        pa.record_batch([_column(c, f.type) for c, f in zip(part, schema, strict=True)], schema) for part in parts
    ]
    return pa.Table.from_batches(batches, schema)


def import_ahead() -> None:
    """Import DuckDB, which takes a quarter of a second, while workers are busy; if it is missing, `needed` says so.

    The first connection takes longer than those that follow, so it is made here too.
    """

    def run() -> None:
        with suppress(DataError):
            needed("duckdb").connect().close()

    threading.Thread(target=run).start()


@cache
def needed(package: str) -> ModuleType:
    """A package of the extra `data`, or DataError if it is not installed."""
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise DataError(f"cleaning needs the package {package}: pip install 'scaling-lab[data]'") from None


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    return keys(values, kind) if pa.types.is_fixed_size_binary(kind) else numbers(values, kind)


def quoted(path: Path) -> str:
    """A path as a string of SQL."""
    return "'" + str(path).replace("'", "''") + "'"

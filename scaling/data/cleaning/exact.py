"""Documents whose text another one has already."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.sources import DataError

LOSERS = "losers.parquet"
MEMORY = "512MB"  # of the group-by; what is more goes to a file


def duplicates() -> Global:
    """Of documents with the same text the one with the lowest index stays."""
    return Global(sketch=_sketch, decide=_decide, apply=_apply)


def _sketch(documents: Sequence[Placed]) -> pa.Table:
    digests = [hashlib.sha256(placed.document.text.encode()).digest()[:16] for placed in documents]
    indices = [placed.index for placed in documents]
    return pa.table({"index": pa.array(indices, pa.int64()), "digest": pa.array(digests, pa.binary())})


def _decide(sketches: Sequence[Path], folder: Path) -> None:
    try:
        import duckdb
    except ImportError:
        raise DataError("ExactDuplicates needs the package duckdb: pip install 'scaling-lab[data]'") from None
    settings = {"memory_limit": MEMORY, "temp_directory": str(folder / "spill"), "threads": "2"}
    with duckdb.connect(config=settings) as database:
        database.execute(
            f"COPY (SELECT index FROM (SELECT index, min(index) OVER (PARTITION BY digest) AS first "
            f"FROM read_parquet(?)) WHERE index != first ORDER BY index) TO '{folder / LOSERS}' (FORMAT parquet)",
            [[str(path) for path in sketches]],
        )


def _apply(documents: Sequence[Placed], folder: Path) -> list[Verdict]:
    if not documents:
        return []
    # A shard's documents lie between two indices, and so do those of them that go.
    between = [("index", ">=", documents[0].index), ("index", "<=", documents[-1].index)]
    losers = set(pq.read_table(folder / LOSERS, filters=between)["index"].to_pylist())
    same = Verdict(text=None, reason="same text as an earlier document")
    return [same if placed.index in losers else Verdict(text=placed.document.text) for placed in documents]

"""A run's curve: one row a step, appended while it trains, compacted to Parquet when it ends.

While the run goes on the rows are JSON lines, written by one process; a torn
last line, left by a crash, is dropped on reading. Columns: step (1 after the
first update), tokens, flops (exact convention), loss (nats a loss-bearing
token, on the batch before the update), lr, grad_norm (before clipping),
step_seconds, auxiliary (what is learned beside the loss and not part of it),
dropped (share of the visits to experts that found no slot). A run that skipped
steps has one more: skipped (1 where the update was not taken, else 0).
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.disk import writing
from scaling.record import RecordError

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("step", "tokens", "flops", "loss", "lr", "grad_norm", "step_seconds", "auxiliary", "dropped")
SKIPPED = "skipped"


class CurveWriter:
    """Appends rows; on a resumed run, first drops those after the checkpoint it starts from."""

    def __init__(self, path: Path, after_step: int):
        rows = read_live(path)
        kept = [row for row in rows if row["step"] <= after_step]
        self.dropped_seconds = sum(row["step_seconds"] for row in rows if row["step"] > after_step)
        self._path, temporary = path, path.with_suffix(".tmp")
        with writing(path):
            temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
            os.replace(temporary, path)
            self._file = path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        with writing(self._path):
            self._file.write(_line(row))

    def flush(self) -> None:
        """What was written survives this process."""
        with writing(self._path):
            self._file.flush()

    def sync(self) -> None:
        """What was written survives this machine."""
        self.flush()
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


def read_live(path: Path) -> list[dict[str, Any]]:
    """Rows of a running curve; [] when there is none yet."""
    if not path.exists():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last newline is torn
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            row = {name: math.nan if values[name] is None else values[name] for name in COLUMNS}
            rows.append(row | {SKIPPED: values[SKIPPED]} if SKIPPED in values else row)
        except (json.JSONDecodeError, KeyError, TypeError):
            problem = f"line {number} is no row of a curve: {line[:80]!r}; delete the run's folder and train it again"
            raise RecordError(path, problem) from None
    return rows


def last_live(path: Path) -> dict[str, Any] | None:
    """The last row of a running curve that can be read, from the file's end; None if there is none."""
    rows = tail_live(path, size=1000)
    return rows[-1] if rows else None


def tail_live(path: Path, size: int) -> list[dict[str, Any]]:
    """The whole rows in the last `size` bytes of a running curve, but none that cannot be read."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(start)
            lines = file.read().decode("utf-8", errors="replace").split("\n")[:-1]  # what follows is torn
    except FileNotFoundError:
        return []
    rows = []
    for line in lines[1:] if start else lines:  # the first is cut off
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # training says what is wrong with it; looking on must not fail
    return rows


def first_live(path: Path) -> dict[str, Any] | None:
    """The first row of a running curve: where this run's own steps begin; None if there is none."""
    try:
        with path.open("rb") as file:
            line = file.readline(10_000)
        return json.loads(line) if line.endswith(b"\n") else None
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def compact(live: Path, final: Path) -> None:
    """Turn the JSON lines into Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = read_live(live)
    types = {"step": pa.int64(), "tokens": pa.int64(), SKIPPED: pa.int64()}
    columns = COLUMNS
    if any(SKIPPED in row for row in rows):
        columns, rows = (*COLUMNS, SKIPPED), [{SKIPPED: 0} | row for row in rows]
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in columns])
    temporary = final.with_suffix(".tmp")
    with writing(final):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
        os.replace(temporary, final)


def read_final(path: Path, columns: Sequence[str] | None = None) -> "pyarrow.Table":
    """The curve of a run that has ended; RecordError where the file is damaged. columns: some of them alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        problem = f"not a whole curve ({error}); delete the run's folder and train it again, or restore this file"
        raise RecordError(path, problem) from None


def _line(row: dict[str, Any]) -> str:
    # JSON has no NaN: a non-finite value is null.
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
    return json.dumps(finite) + "\n"

"""Runs as a table with canonical columns.

Canonical columns: run_id, status, params, tokens, flops, loss, loss_se,
cluster, seed, budget, schedule, message. In a record's row `params` is the total
and `flops` the exact count; the other conventions stand beside them.

`analysis.tables.files` and `analysis.tables.read` read tables of any columns; `analysis.tables.selection`
leaves out what may not be fitted, `analysis.tables.units` refuses what cannot be a run.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.tables.files import read_file
from analysis.tables.manifest import Manifest, PlannedRun, read_manifest
from analysis.tables.read import NUMBERS, frame, missing_column, numbers
from analysis.tables.records import flatten, from_records
from analysis.tables.selection import NOT_TRAINED, REQUIRED, LeftOut, Selection, select
from analysis.tables.units import FLOPS_RULE
from scaling.disk import write_atomic

__all__ = [
    "FLOPS_RULE",
    "LeftOut",
    "Manifest",
    "PlannedRun",
    "Selection",
    "canonical",
    "column",
    "flatten",
    "from_records",
    "group_by",
    "read_manifest",
    "read_table",
    "select",
    "table_hash",
    "write_csv",
]

NUMERIC = (*REQUIRED, "loss_se", "budget", "seed")
TEXT = ("run_id", "status", "cluster", "schedule", "message")
MADE_UP = re.compile(r"row \d+")  # the run_id of a row that was given none


def read_table(source: Any, columns: Mapping[str, str] | None = None) -> pa.Table:
    """Runs from a file, a folder, a frame or a dict of arrays (`analysis.tables.read.frame`), with canonical columns.

    Needs the columns params, tokens and loss (or N, D and L). columns: our name
    -> the table's, such as {"params": "n_params"}. Without flops (or C) they are
    6 N D, and the column `flops_rule` says so. loss_se, cluster, budget, seed,
    status, run_id, schedule, decayed and progress are used when they are there.

        >>> table = read_table({"n_params": [1e6], "D": [2e7], "loss": [3.5]}, {"params": "n_params"})
        >>> table["flops"].to_pylist(), table["run_id"].to_pylist()
        ([120000000000000.0], ['row 1'])
    """
    is_path = isinstance(source, str | Path)
    return canonical(read_file(source) if is_path else source, str(source) if is_path else "table", columns)


def canonical(data: Any, where: str, columns: Mapping[str, str] | None = None) -> pa.Table:
    """A table of runs: check what is required, and give every canonical column a place and a type.

    where: what the table is called in errors, which are ValueErrors.
    """
    try:
        table = frame(data, columns)
        if not table.num_rows:
            raise ValueError("has no rows")
        return _typed(_with_flops(table))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def column(table: pa.Table, name: str) -> np.ndarray:
    """(n,) one number a row, as float64; a missing value is NaN. ValueError where there is none (`numbers`)."""
    values = numbers(table, name)
    if values.ndim > 1:
        raise ValueError(f"column {name} holds lists of {values.shape[1]}; it needs one number a row")
    return values


def group_by(table: pa.Table, name: str) -> dict[str, pa.Table]:
    """The rows of each value of a column, in order of first appearance.

    ValueError when the column is missing, has an empty cell, or has one value only.

        >>> {arm: part.num_rows for arm, part in group_by(pa.table({"arm": ["a", "b", "a"]}), "arm").items()}
        {'a': 2, 'b': 1}
    """
    if name not in table.column_names:
        raise ValueError(missing_column(name, table.column_names))
    values = ["" if value is None else str(value) for value in table[name].to_pylist()]
    if "" in values:
        raise ValueError(f"column {name}, row {values.index('') + 1}: no value; every run needs a group")
    found: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        found.setdefault(value, []).append(index)
    if len(found) < 2:
        said = f"only one value ({next(iter(found))!r})" if found else "no rows"
        raise ValueError(f"column {name} has {said}; a comparison needs two groups")
    return {value: table.take(pa.array(rows)) for value, rows in found.items()}


def table_hash(table: pa.Table) -> str:
    """SHA-256 of what a table says, at full precision; the order of rows and columns does not matter.

    1 and 1.0 are one value. Empty columns, and run ids made up from row numbers, say nothing.

        >>> table_hash(pa.table({"N": [1, 2]})) == table_hash(pa.table({"N": [2.0, 1.0]}))
        True
    """
    amounts, texts = {}, {}
    for name, kind in sorted(zip(table.column_names, table.schema.types, strict=True), key=lambda pair: pair[0]):
        if any(test(kind) for test in NUMBERS):
            values = numbers(table, name) + 0.0  # -0.0 becomes 0.0
            values[np.isnan(values)] = np.nan  # NaN has many bit patterns
            amounts |= {} if np.isnan(values).all() else {name: values}
        else:
            values = _said(table, name)
            texts |= {name: values} if any(values) else {}
    matrix = np.stack([np.zeros(table.num_rows), *amounts.values()], axis=1).astype(">f8")
    cells = zip(*texts.values(), strict=True) if texts else [()] * table.num_rows
    rows = sorted(
        hashlib.sha256(row.tobytes() + json.dumps(cell, default=str).encode()).digest()
        for row, cell in zip(matrix, cells, strict=True)
    )
    return hashlib.sha256(json.dumps([list(amounts), list(texts)]).encode() + b"".join(rows)).hexdigest()


def write_csv(table: pa.Table, path: Path) -> None:
    """All columns, numbers with every digit; a list becomes JSON."""
    import pyarrow.csv  # here: reading a folder needs no CSV

    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_nested(kind):
            table = _put(table, name, pa.array([json.dumps(value) for value in table[name].to_pylist()]))
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    write_atomic(path, sink.getvalue().to_pybytes().decode())


def _with_flops(table: pa.Table) -> pa.Table:
    """Refuse a table without the required columns; fill in missing FLOPs."""
    names = table.column_names
    if "status" in names and set(table["status"].to_pylist()) <= NOT_TRAINED:
        return table  # no run left a record: nothing to count
    for name in ("params", "tokens", "loss"):
        if name not in names:
            needed = "a table of runs needs params, tokens, loss, and better flops too"
            raise ValueError(f"{missing_column(name, names)}; {needed}")
    if "flops" not in names:
        flops = 6 * column(table, "params") * column(table, "tokens")
        table = table.append_column("flops", pa.array(flops))
        return table.append_column(FLOPS_RULE, pa.array(["6 N D"] * table.num_rows))
    return table


def _typed(table: pa.Table) -> pa.Table:
    rows = table.num_rows
    for name in NUMERIC:
        values = column(table, name) if name in table.column_names else np.full(rows, np.nan)
        table = _put(table, name, pa.array(values, pa.float64(), from_pandas=True))  # NaN is no value
    ids = _texts(table, "run_id", [f"row {i + 1}" for i in range(rows)])
    _check_ids(table, ids)
    defaults = {"run_id": ids, "status": ["finished"] * rows, "cluster": ids}
    for name in TEXT:
        table = _put(table, name, pa.array(_texts(table, name, defaults.get(name, [""] * rows)), pa.string()))
    front = [*TEXT, *NUMERIC]
    return table.select(front + [name for name in table.column_names if name not in front])


def _check_ids(table: pa.Table, ids: list[str]) -> None:
    repeated, count = Counter(ids).most_common(1)[0]
    if count == 1:
        return
    tokens = numbers(table, "tokens")[[name == repeated for name in ids]]
    mend = "give each its own"
    if len(set(tokens)) == count:
        mend = "where they are checkpoints of one run, keep its end, or rename run_id to cluster to fit them all"
    raise ValueError(f"run_id {repeated!r} stands in {count} rows; {mend}")


def _texts(table: pa.Table, name: str, default: list[str]) -> list[str]:
    if name not in table.column_names:
        return default
    given = table[name].to_pylist()
    return [d if value is None else str(value) for value, d in zip(given, default, strict=True)]


def _put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


def _said(table: pa.Table, name: str) -> list[Any]:
    """A column that holds no numbers, without what follows from the order of rows."""
    values = [value or None for value in table[name].to_pylist()]
    if name == "run_id":
        return [None if MADE_UP.fullmatch(str(value)) else value for value in values]
    if name == "cluster" and "run_id" in table.column_names:  # by default the run id
        return [None if v == i else v for v, i in zip(values, table["run_id"].to_pylist(), strict=True)]
    return values

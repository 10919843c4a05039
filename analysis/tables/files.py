"""Tables of runs on disk, as they stand: CSV, TSV, Parquet, JSON lines, JSON, and folders of runs.

Nothing is renamed, checked for sense or evaluated here: a cell is a number or a text.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.tables import wandb_runs

TORN = b"torn_lines"  # schema metadata: how many unfinished last lines were left out
KINDS = ".csv, .tsv, .parquet, .jsonl or .json"


def read_file(path: Path | str) -> pa.Table:
    """A file of runs, a folder of run records, or a wandb export (its CSV, or a folder of offline runs).

    JSON lines may have different keys; their columns are the union. A last line
    without a line end that is no JSON was cut off while it was written: it is left
    out, and the schema metadata `torn_lines` counts it. ValueError says what
    cannot be read and how to mend it.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a folder of runs, or a {KINDS} file")
    suffix = path.suffix.lower()
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_lines}
    readers[".json"] = _read_json
    if suffix not in readers:
        raise ValueError(f"{path}: cannot read {suffix or 'a file without a suffix'}; use {KINDS}")
    if not path.stat().st_size:
        raise ValueError(f"{path}: is empty; it needs a header and rows")
    table = readers[suffix](path)
    if not table.num_rows:
        raise ValueError(f"{path}: has {'a header but ' * bool(table.num_columns)}no rows")
    return table


def from_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The union of keys (Arrow by itself takes those of the first row only); `{"a": {"b": 1}}` is the column a.b."""
    flat = [dict(_flat(row)) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return pa.table({name: array([row.get(name) for row in flat]) for name in names})


def array(values: list[Any]) -> pa.Array:
    """One column. Numbers beside "NaN" or "inf" are numbers; values of several kinds become text.

    A column that nobody asks for must not stop the reading; who asks for numbers
    is told the row that holds none (`analysis.tables.read.numbers`).
    """
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):
        return _of_several_kinds(values)  # or integers beyond 64 bits


def _of_several_kinds(values: list[Any]) -> pa.Array:
    try:
        return pa.array([_number(value) for value in values], pa.float64())
    except ValueError:
        texts = [value if isinstance(value, str | None) else json.dumps(value, default=str) for value in values]
        return pa.array(texts, pa.string())


def plain_types(table: pa.Table) -> pa.Table:
    """Nested columns as columns of their own (a.b), and texts as Arrow can select rows of them (polars' are views)."""
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type) or pa.types.is_dictionary(field.type):
            text = pa.string() if pa.types.is_string_view(field.type) else field.type.value_type
            table = table.set_column(place, field.name, table[place].cast(text))
    return table


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _read_folder(path: Path) -> pa.Table:
    if any(path.glob("*/record.json")) or any(path.glob("*/config.json")):
        from analysis.tables.records import from_records  # here: reading a file needs no run schema

        return from_records(path)
    found = wandb_runs.read_folder(path)
    if found is None:
        raise ValueError(
            f"{path}: holds no run (no */record.json, no */config.json, no wandb offline-run-*); "
            "launch the study first, or give the folder that holds the runs"
        )
    return from_rows(found)


def _read_csv(path: Path) -> pa.Table:
    import pyarrow.csv  # here: reading a folder needs no CSV

    options = pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        table = pyarrow.csv.read_csv(path, parse_options=options)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a table of separated values with a header line ({error})") from None
    names = [name.strip() for name in table.column_names]
    for name, kind in zip(names, table.schema.types, strict=True):
        if pa.types.is_binary(kind):
            raise ValueError(f"{path}: column {name} is not UTF-8 text; save the file as UTF-8")
    return wandb_runs.from_page(table.rename_columns(names), str(path))


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet

    try:
        return plain_types(pyarrow.parquet.read_table(path))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file ({error})") from None


def _read_lines(path: Path) -> pa.Table:
    text = _text(path)
    lines = text.split("\n")  # not splitlines: U+2028 may stand inside a JSON text
    rows, torn = [], 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(_object(json.loads(line), f"{path}: line {number}"))
        except json.JSONDecodeError as error:
            if number < len(lines) or not rows:
                raise ValueError(f"{path}: line {number} is not JSON ({error}); remove or complete it") from None
            torn += 1
    table = from_rows(wandb_runs.from_objects(rows))
    return table.replace_schema_metadata({TORN: str(torn)}) if torn else table


def _read_json(path: Path) -> pa.Table:
    """A list of objects, or objects one after the other as `wandb leet inspect --summary --json` prints them."""
    text, decoder, at, found = _text(path).strip(), json.JSONDecoder(), 0, []
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON ({error}); give a list of objects, one for each run") from None
        found += value if isinstance(value, list) else [value]
        at += len(text[at:]) - len(text[at:].lstrip())
    rows = [_object(value, f"{path}: entry {number}") for number, value in enumerate(found, start=1)]
    return from_rows(wandb_runs.from_objects(rows))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} holds a {type(value).__name__}, not an object")
    return value

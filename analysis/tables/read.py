"""Anybody's table as an Arrow table, and its columns as numbers.

>>> from analysis.tables.read import frame, numbers
>>> table = frame({"n_params": [1e6, 2e6], "loss": [3.5, 3.2]}, columns={"params": "n_params"})
>>> numbers(table, "params")
array([1000000., 2000000.])
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.tables.files import array, from_rows, plain_types, read_file

LETTERS = {"N": "params", "D": "tokens", "C": "flops", "L": "loss"}  # as the papers write them
ALSO = {  # what others call the same thing
    "params": ("param", "parameters", "size"),
    "tokens": ("token", "data"),
    "flops": ("flop", "compute"),
    "loss": ("nll", "entropy"),
}
MOST_NAMED = 12
NEAR = 0.6  # likeness of two names, 0 to 1, from which one may be meant by the other
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)


def frame(data: Any, columns: Mapping[str, str] | None = None) -> pa.Table:
    """A table of any columns, from whatever holds one.

    data: a pyarrow Table, a pandas or polars frame (anything with the Arrow
    stream or the dataframe protocol), a dict of columns (arrays (n,), or (n, K)
    which become lists), a list of dicts, or a path (`analysis.tables.files.read_file`).
    columns: our name -> the table's name. N, D, C and L are params, tokens, flops
    and loss where no column has that name already. Raises ValueError.
    """
    table = _as_table(data)
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise ValueError(f"column {twice[0]} stands there twice; keep one")
    return _letters(_mapped(table, columns or {}))


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """One column as float64: (n,), or (n, K) where every cell is a list of K numbers; a missing value is NaN.

    Raises ValueError for a column that is not there (close names are offered) and
    for a cell that is no number (its row is named, counted from 1).
    """
    if name not in table.column_names:
        raise ValueError(missing_column(name, table.column_names))
    values = table[name].combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return _matrix(values, name)
    if any(
        test(kind) for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    ):
        return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.array([_number(value, name, row) for row, value in enumerate(values.to_pylist(), start=1)], float)


def missing_column(name: str, have: Sequence[str]) -> str:
    """What is missing, which columns have names like it, and how to say that one of them is meant."""
    near = close_names(name, have)
    separator = len(have) == 1 and next((mark for mark in (";", "\t", "|") if mark in have[0]), "")
    if separator:
        return f"no column {name!r}; the header is one text, {have[0]!r}: separate its columns with commas"
    meant = f"; did you mean {' or '.join(near)}? It has" if near else "; it has"
    more = f" and {len(have) - MOST_NAMED} more" if len(have) > MOST_NAMED else ""
    other = near[0] if near else "NAME"
    return (
        f"no column {name!r}{meant} {', '.join(have[:MOST_NAMED])}{more}. "
        f'Map one: columns={{"{name}": "{other}"}} in Python, --column {name}={other} in the shell'
    )


def close_names(name: str, have: Sequence[str]) -> list[str]:
    """At most three of `have` that look like `name` or say the same, the likest first."""
    words = {name.lower(), *ALSO.get(name, ())}

    def likeness(other: str) -> float:
        if name in ALSO and other in ALSO:
            return 0.0  # a table that has tokens does not mean params by it
        parts = re.split(r"[^a-z0-9]+", other.lower())
        ratio = max(difflib.SequenceMatcher(None, name.lower(), text).ratio() for text in (other.lower(), parts[-1]))
        exact = 2 * (name.lower() in parts) or bool(words & set(parts))
        return ratio + (exact or NEAR * any(word in other.lower() for word in words))

    return [other for other in sorted(have, key=likeness, reverse=True) if likeness(other) >= NEAR][:3]


def _as_table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return plain_types(data)
    if isinstance(data, str | Path):
        return read_file(data)
    if isinstance(data, Mapping):
        return _from_arrays(data)
    if isinstance(data, list | tuple) and all(isinstance(row, Mapping) for row in data):
        return from_rows(data)
    try:
        if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
            return plain_types(pa.table(data))
        if hasattr(data, "__dataframe__"):
            import pyarrow.interchange

            return plain_types(pyarrow.interchange.from_dataframe(data))
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"this {type(data).__name__} cannot be read as a table: {error}") from None
    raise ValueError(
        f"a {type(data).__name__} is no table; give a pyarrow Table, a pandas or polars frame, a dict of arrays, "
        "a list of dicts or a path"
    )


def _from_arrays(data: Mapping[str, Any]) -> pa.Table:
    found = {str(name): _column(values, str(name)) for name, values in data.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"columns of different lengths ({said}); every run needs a value in each")
    return pa.table(found)


def _column(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, list | tuple | range):
        return array(list(values))
    values = np.asarray(values)
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    if values.ndim != 1:
        raise ValueError(f"column {name} has shape {values.shape}; give (n,) or (n, K)")
    return array(values.tolist()) if values.dtype == object else pa.array(values)


def _mapped(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """Theirs renamed to ours; a column that had our name already gives way."""
    if not columns:
        return table
    for ours, theirs in columns.items():
        if theirs not in table.column_names:
            problem = missing_column(theirs, table.column_names).split(". Map one")[0]
            raise ValueError(f"columns: {ours} should be read from {theirs}, but there is {problem}")
    kept = [name for name in table.column_names if name not in columns and name not in columns.values()]
    sources = {**columns, **{name: name for name in kept}}
    return pa.table({ours: table[theirs] for ours, theirs in sources.items()}, metadata=table.schema.metadata)


def _letters(table: pa.Table) -> pa.Table:
    names = [LETTERS[n] if LETTERS.get(n, n) not in table.column_names else n for n in table.column_names]
    if names == table.column_names:
        return table
    return table.rename_columns(names).replace_schema_metadata(table.schema.metadata)


def _matrix(values: pa.Array, name: str) -> np.ndarray:
    cells = values.to_pylist()
    width = next((len(cell) for cell in cells if cell is not None), 0)
    for row, cell in enumerate(cells, start=1):
        if cell is None or len(cell) != width:
            raise ValueError(f"column {name}, row {row}: {len(cell or ())} values where others have {width}")
    flat = [[_number(value, name, row) for value in cell] for row, cell in enumerate(cells, start=1)]
    return np.array(flat, float).reshape(len(cells), width)


def _number(value: Any, name: str, row: int) -> float:
    if value is None or value == "":
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"column {name}, row {row}: {value!r} is no number") from None

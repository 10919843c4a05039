"""Columns of Arrow from and to numpy and str.

Arrow's own ways import pandas where it is installed, which takes half a second.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def numbers(values: Sequence[int] | Sequence[float] | np.ndarray, kind: pa.DataType) -> pa.Array:
    """Numbers of that type."""
    held = np.ascontiguousarray(values, str(kind))
    return pa.Array.from_buffers(kind, len(held), [None, pa.py_buffer(held)])


def strings(values: Sequence[str | bytes | None], kind: pa.DataType) -> pa.Array:
    """Texts, or bytes of varied length, of that type; None is null."""
    held = [value.encode() if isinstance(value, str) else value or b"" for value in values]
    offsets = np.zeros(len(held) + 1, np.int64 if kind in (pa.large_string(), pa.large_binary()) else np.int32)
    np.cumsum(np.fromiter(map(len, held), np.int64, len(held)), out=offsets[1:])
    nulls = np.fromiter((value is None for value in values), bool, len(held))
    valid = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
    return pa.Array.from_buffers(kind, len(held), [valid, pa.py_buffer(offsets), pa.py_buffer(b"".join(held))])


def keys(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """Bytes of one length, of that type."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(b"".join(values))])


def as_numpy(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers without nulls, as they lie in memory."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(whole)

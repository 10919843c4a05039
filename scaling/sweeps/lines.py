"""On which line of a TOML file a value stands; `tomllib` gives values alone."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]  # keys, and places in arrays


def lines_of(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every key, table and array element of a valid file.

    A number or string within an array that spans lines is told by its array's line.
    """
    found: dict[Path, int] = {(): 1}
    tables: dict[Path, int] = {}  # arrays of tables, and how many elements each has so far
    here: Path = ()
    for first, chunk, values in _statements(text):
        if chunk.lstrip().startswith("["):
            here = _header(values, tables, many=chunk.lstrip().startswith("[["))
            for end in range(1, len(here) + 1):
                found.setdefault(here[:end], first)
        else:
            _record(values, here, chunk, first, 0, found)
    return found


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line, text and values of each statement: the fewest lines that are TOML by themselves."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        end, values = start + 1, _parsed(lines[start : start + 1])
        while values is None and end < len(lines):
            end += 1
            values = _parsed(lines[start:end])
        if values:
            yield start + 1, "\n".join(lines[start:end]), values
        start = end


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:  # a statement that goes on: the file as a whole is valid
        return None


def _header(values: dict[str, Any], tables: dict[Path, int], *, many: bool) -> Path:
    """The path that a table's header names: within arrays of tables, their last element."""
    path: Path = ()
    while values:
        key, inner = next(iter(values.items()))
        values = inner[0] if isinstance(inner, list) else inner
        path = (*path, key)
        if many and not values:
            tables[path] = tables.get(path, 0) + 1
        if path in tables:
            path = (*path, tables[path] - 1)
    return path


def _record(value: Any, path: Path, chunk: str, first: int, at: int, found: dict[Path, int]) -> int:
    """Note the lines of all keys below `path`, in the order in which they are written; returns how far it read."""
    found.setdefault(path, first + chunk.count("\n", 0, at))
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        if isinstance(key, str):
            written = re.compile(rf"""(?<![\w-])["']?{re.escape(key)}["']?\s*[.=]""").search(chunk, at)
            at = written.start() if written else at
            found[(*path, key)] = first + chunk.count("\n", 0, at)
            at = written.end() if written else at
        elif isinstance(below, dict | list):  # an element begins at its bracket
            at = max(at, chunk.find("{" if isinstance(below, dict) else "[", at))
        at = _record(below, (*path, key), chunk, first, at, found)
    return at

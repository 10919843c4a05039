"""Values of a TOML file that know where they stand, so that what is wrong is told with its line."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from scaling.sweeps.lines import Path as Keys
from scaling.sweeps.lines import lines_of
from scaling.sweeps.rows import there_are


class FileError(ValueError):
    """What a file says is wrong: the message names file and line."""


@dataclass(frozen=True)
class Source:
    """A file and its lines."""

    name: str
    lines: dict[Keys, int]


@dataclass(frozen=True)
class Node:
    """A value and its place."""

    value: Any
    keys: Keys
    source: Source

    def fail(self, text: str) -> NoReturn:
        keys = self.keys
        while keys not in self.source.lines:
            keys = keys[:-1]
        raise FileError(f"{self.source.name}, line {self.source.lines[keys]}: {_said(self.keys)}{text}")

    def __getitem__(self, key: str | int) -> "Node":
        return Node(self.value[key], (*self.keys, key), self.source)

    def table(self, known: Iterable[str] | None = None, required: Iterable[str] = ()) -> dict[str, "Node"]:
        """Its entries. known: the names there may be; None allows any."""
        if not isinstance(self.value, dict):
            self.fail(f"{self.value!r} is no table; write name = value pairs in braces")
        for name in self.value if known is not None else ():
            if name not in (names := list(known)):
                self[name].fail(f"no such name; {there_are(name, names)}")
        missing = [name for name in required if name not in self.value]
        if missing:
            self.fail(f"{missing[0]} is missing")
        return {name: self[name] for name in self.value}

    def items(self) -> list["Node"]:
        """Its elements; there is at least one."""
        if not isinstance(self.value, list) or not self.value:
            self.fail(f"{self.value!r} is no list; write its values in brackets, and a table's name in two: [[sweep]]")
        return [self[place] for place in range(len(self.value))]

    def read(self, kind: Any) -> Any:
        """The value as what it must be: a number, a text, one of several words, a config. Nothing is converted.

        A whole number may be written as 1e6, as long as it is one.
        """
        from pydantic import TypeAdapter, ValidationError

        _check_names(self, kind)
        try:
            return TypeAdapter(kind).validate_json(json.dumps(_whole(self.value), default=str), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = self._at(first["loc"])
            if first["type"] == "missing":
                place.fail(f"{first['loc'][-1]} is missing")
            said = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"]
            found = "" if first["type"] == "value_error" else f" (found {place.value!r})"
            place.fail(f"{said}{found}{_nearest_word(first)}")

    def _at(self, place: tuple[str | int, ...]) -> "Node":
        """The value at a place of a validation error, whose names of union members are left out."""
        node = self
        for part in place:
            inside = part in node.value if isinstance(node.value, dict) else isinstance(node.value, list)
            node = node[part] if inside else node
        return node


def load(path: Path) -> Node:
    """A file's values. Raises FileError for one that is missing or no TOML, OSError for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileError(f"{path}: no such file; a study in a file is named by its path") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{path}: not TOML: {error}") from None
    return Node(values, (), Source(str(path), lines_of(text)))


def _said(keys: Keys) -> str:
    """model.dim of [base] as base.model.dim; the third step as sweep 3."""
    words = ""
    for key in keys:
        words += f" {key + 1}" if isinstance(key, int) else f"{'.' if words else ''}{key}"
    return f"{words}: " if words else ""


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: what is written 1e6 is the whole number that it is."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_names(node: Node, kind: Any) -> None:
    """Refuse a name that no field of a config has, with the nearest that one has."""
    config = _config_of(kind, node.value)
    if config is None or not isinstance(node.value, dict):
        return
    hints = get_type_hints(config, include_extras=True)
    for name, entry in node.table([f.name for f in fields(config)]).items():
        _check_names(entry, hints[name])


def _config_of(kind: Any, value: Any) -> type | None:
    """The config that a value must be of a kind: of several, the one whose `kind` it names, or the first."""
    if isinstance(kind, type):
        return kind if is_dataclass(kind) else None
    members = [found for member in get_args(kind) if (found := _config_of(member, value))]
    named = value.get("kind") if isinstance(value, dict) else None
    defaults = [{f.name: f.default for f in fields(member)}.get("kind") for member in members]
    return members[defaults.index(named)] if named in defaults else next(iter(members), None)


def _nearest_word(error: dict[str, Any]) -> str:
    """Of a word that is none of those allowed, the one that was probably meant."""
    if error["type"] != "literal_error":
        return ""
    words = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    found = get_close_matches(str(error["input"]), words, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""

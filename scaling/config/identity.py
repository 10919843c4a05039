"""A config as plain data, back again, and its hash."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

RUN_ID_LENGTH = 16  # hex digits: 64 bits, a collision in 1e6 runs has odds of 3e-8

_KEPT = "_run_id"  # among a run's attributes
_SCALARS = (int, str, float, bool, type(None))
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_unchanged: set[tuple[Any, ...]] = set()  # signatures of runs whose types validation leaves as they are


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain data, every field visible."""
    return {f.name: _plain(getattr(config, f.name), to_dict) for f in fields(config)}


def to_json(config: Any) -> str:
    """What `json.dumps` makes of `to_dict`; thousands of runs share a few models and data sets, said once each."""
    said = {f.name: getattr(config, f.name) for f in fields(config)}
    return "{" + ", ".join(f'"{name}": {_value_json(value)}' for name, value in said.items()) + "}"


def _value_json(value: Any) -> str:
    if type(value) is int:  # of thousands of runs nearly all that differs
        return str(value)
    return _part_json(value) if is_dataclass(value) else json.dumps(_plain(value, to_dict))


@lru_cache(maxsize=1024)
def _part_json(part: Any) -> str:
    return json.dumps(to_dict(part))


def from_dict(kind: type[T], values: dict[str, Any], where: str) -> T:
    """The config that `to_dict` wrote, validated; `where` names the file for the error."""
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or kind.__name__
        if first["type"] == "value_error":  # ours: it already says what was found
            raise ValueError(f"{where}: {first['ctx']['error']}") from None
        raise ValueError(f"{where}: {path}: {first['msg']} (found {first['input']!r})") from None


def hashed_payload(config: Any) -> dict[str, Any]:
    """The fields that decide what is learned and differ from their frozen default.

    Leaving out defaults lets a later version add a field and keep old ids.
    """
    payload = {}
    for f in fields(config):
        value = getattr(config, f.name)
        hashed = f.metadata.get("hashed", "unless default")
        is_default = f.default is not MISSING and value == f.default
        if hashed == "always" or (hashed == "unless default" and not is_default):
            payload[f.name] = _plain(value, hashed_payload)
    return payload


def _plain(value: Any, of: Callable[[Any], dict[str, Any]]) -> Any:
    """A field's value as JSON gives it back, with `of` each config in it."""
    if isinstance(value, tuple):
        return [_plain(element, of) for element in value]
    return of(value) if is_dataclass(value) else value


def run_id(run: Any) -> str:
    """SHA-256 of the canonical JSON of what is learned, cut to 16 hex digits."""
    kept = vars(run)  # where cached properties are kept too: a run never changes
    if _KEPT not in kept:
        kept[_KEPT] = _run_id(run)
    return kept[_KEPT]


def _run_id(run: Any) -> str:
    members, values = _members(type(run)), vars(run)
    given = {name: values[name] for name, _ in members}
    parts = {name: _part(value) for name, value in given.items() if type(value) not in _SCALARS}
    scalars = _canonical(type(run), given, parts)
    said = []
    for name, default in members:
        value = parts[name][0] if name in parts else scalars[name]
        if default is MISSING or (value is not default and value != default):
            said.append(f'"{name}":{parts[name][1] if name in parts else _scalar_json(value)}')
    text = "{" + ",".join(said) + "}"
    return hashlib.sha256(text.encode()).hexdigest()[:RUN_ID_LENGTH]


@cache
def _members(kind: type) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a config's fields, by name."""
    return tuple(sorted(((f.name, f.default) for f in fields(kind)), key=itemgetter(0)))


def _scalar_json(value: Any) -> str:
    return str(value) if type(value) is int else _json(value)


@cache
def _part(config: Any) -> tuple[Any, str]:
    """A part of a run, validated, and its hashed payload. Thousands of runs share a few models and data sets."""
    canonical = from_dict(type(config), to_dict(config), "run_id")
    return canonical, _json(hashed_payload(canonical))


def _canonical(kind: type, given: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """The fields of a run as validation leaves them: it turns 1 into 1.0 where a float is meant, for both are one run.

    What it says of numbers depends on their types alone, and parts are validated
    by themselves: one run of each combination of types and words is validated.
    """
    signature = (kind, *[value if isinstance(value, str) else type(value) for value in given.values()])
    if signature in _unchanged:
        return given
    canonical = from_dict(kind, given | {name: part[0] for name, part in parts.items()}, "run_id")
    found = {name: getattr(canonical, name) for name in given}
    if all(type(value) is type(given[name]) for name, value in found.items()):
        _unchanged.add(signature)
    return found


@cache
def _adapter(kind: type) -> "TypeAdapter":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)

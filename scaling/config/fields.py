"""What all config dataclasses are made of: frozen, strict, checked, and hashed where they decide what is learned.

Pydantic reads what is said here, but only where configs are read from plain
data; a program that builds its configs itself does without it.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args

T = TypeVar("T")

_HASH = "_hash"  # among the attributes


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(kind: type[T]) -> type[T]:
    """A frozen dataclass that is hashed once: thousands of runs are looked up by the same few models and data sets."""
    kind = dataclass(frozen=True, kw_only=True)(kind)
    of_fields = kind.__hash__

    def __hash__(self: Any) -> int:
        kept = vars(self)
        if _HASH not in kept:
            kept[_HASH] = of_fields(self)
        return kept[_HASH]

    def __getstate__(self: Any) -> dict[str, Any]:
        # Hashes of texts differ from process to process: what is copied or sent elsewhere is hashed anew.
        return {name: value for name, value in vars(self).items() if name != _HASH}

    kind.__hash__, kind.__getstate__ = __hash__, __getstate__
    return kind


def strict(kind: type[T]) -> type[T]:
    """Unknown fields are refused where a config is read: what `pydantic.with_config` notes on a class."""
    kind.__pydantic_config__ = {"extra": "forbid"}
    return kind


@dataclass(frozen=True)
class ToldApartByKind:
    """Of a union whose members have a field `kind`: it says which is meant. Where it is missing, `default` is."""

    default: str

    def __get_pydantic_core_schema__(self, union: Any, handler: Any) -> Any:
        from pydantic import Discriminator, Tag

        members = tuple(Annotated[member, Tag(self.kind_of(member))] for member in get_args(union))
        return handler.generate_schema(Annotated[Union[members], Discriminator(self.kind_of)])  # noqa: UP007

    def kind_of(self, value: Any) -> str:
        return value.get("kind", self.default) if isinstance(value, dict) else getattr(value, "kind", self.default)


def require(condition: bool, found: str, mend: str) -> None:
    """Raise a ValueError that says what was found and how to mend it."""
    if not condition:
        raise ValueError(f"{found}: {mend}")


def require_positive(config: Any, *names: str) -> None:
    """The named fields are positive; None, where a field allows it, is left alone."""
    for name in names:
        value = getattr(config, name)
        if value is not None:
            require(value > 0, f"{type(config).__name__}.{name}={value}", "must be positive")


def unhashed(default: Any) -> Any:
    """A field that does not decide what is learned: a place or a permission."""
    return field(default=default, metadata={"hashed": "never"})


def file_path(default: str | tuple[str, ...] = "") -> Any:
    """Files that a cleaning step reads, one path or several: places. What they hold is part of its folder's key."""
    return field(default=default, metadata={"hashed": "never", "file": True})


def tag(name: str) -> Any:
    """The name of a config that is one of several kinds: hashed even though it is the only value it can take."""
    return field(default=name, metadata={"hashed": "always"})

"""What all config dataclasses are made of: frozen, strict, checked, and hashed where they decide what is learned."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, with_config

frozen = dataclass(frozen=True, kw_only=True)
strict = with_config(ConfigDict(extra="forbid"))


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


def tag(name: str) -> Any:
    """The name of a config that is one of several kinds: hashed even though it is the only value it can take."""
    return field(default=name, metadata={"hashed": "always"})

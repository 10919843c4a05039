"""What is said about runs or a fit without refusing them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A warning. `name` is the same for the same reason in every table; the text says it with its values."""

    name: str
    text: str

    def __str__(self) -> str:
        return self.text
